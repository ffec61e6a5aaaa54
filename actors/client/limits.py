"""What a client keeps at most."""

watch_events_buffered_max = 100_000
"""Events that a `client.watch` holds for a consumer that is slower than the cluster."""
request_timeout_seconds = 60.0
connect_timeout_seconds = 10.0
watch_line_bytes_max = 16 * 1024 * 1024
events_aggregated_max = 4_096
"""Different events that a recorder remembers, to count repetitions."""
events_burst_max = 25
"""Events that a recorder writes about one object at once; then one every `events_refill_seconds`."""
events_refill_seconds = 300.0
events_similar_max = 10
"""Messages of one reason about one object before they are combined ..."""
events_similar_seconds = 600.0
"""... unless it was quiet for so long."""
reconnect_initial_seconds = 0.05
reconnect_max_seconds = 30.0
watch_seconds_min = 1.0
"""A watch that ends sooner makes its informer wait before the next."""
exec_output_bytes_max = 16 * 1024 * 1024
"""Of stdout, and of stderr, that `client.exec` keeps."""
exec_chunk_bytes = 64 * 1024
