"""Limits of the API server. Every name ends in its unit."""

request_body_bytes_max = 3 * 1024 * 1024  # kube-apiserver's --max-request-body-bytes default
protobuf_depth_max = 100  # messages within each other in a body
patch_operations_max = 10_000  # operations of one JSON patch
patch_retries_max = 5  # attempts of a patch that lost the race for its object
delete_retries_max = 100  # attempts of an unconditional delete that lost the race
name_suffix_attempts_max = 8  # names tried for one generateName
history_events_max = 10_000  # events kept by resource for watches that resume
list_slice_items = 500  # objects encoded between two yields to the loop
gzip_bytes_min = 128 * 1024  # answers from this size on are compressed, as kube-apiserver's
range_keys_max = 10_000  # keys of one answer of etcd's when a cache is filled
cache_lag_seconds_max = 3.0  # how long a request waits for the cache to hear of what etcd has
etcd_health_seconds_max = 2.0  # --etcd-healthcheck-timeout
etcd_start_seconds_max = 20.0  # how long a server that starts waits for its etcd
watch_buffer_events_max = 20_000  # events a slow HTTP watcher may lag behind before it is cut
watch_buffer_bytes_max = 64 * 1024 * 1024
watch_timeout_seconds_min = 1800.0  # --min-request-timeout: a watch without timeoutSeconds lives this long, up to twice
bookmark_interval_seconds = 60.0
continue_token_age_seconds_max = 300.0
event_ttl_seconds = 3600
compaction_interval_seconds = 300.0  # --etcd-compaction-interval
service_account_token_seconds_max = 1 << 32
