"""What /metrics tells of caches, stored objects and etcd: kept by the stores themselves, read when somebody asks."""

from collections.abc import AsyncIterator, Callable, Mapping
from typing import TYPE_CHECKING

from kubeloop.actors.apiserver.registry import all_resources
from kubeloop.actors.apiserver.resource_store import SECONDS_BUCKETS, ResourceStore
from kubeloop.actors.etcd.messages import EtcdError
from kubeloop.runtime.actor import ActorStopped, ReplyError, Unreachable
from kubeloop.runtime.metrics import Registry

if TYPE_CHECKING:
    from kubeloop.actors.apiserver.actor import ApiServer


async def registry_of(server: "ApiServer") -> Registry:
    """What the stores know of themselves and etcd of their objects."""
    registry = Registry()
    labels = ("group", "resource")
    counters: Mapping[str, tuple[str, Callable[[ResourceStore], float]]] = {
        "apiserver_init_events_total": (
            "Counter of init events processed in watch cache broken by resource type.",
            lambda store: store.cache.init_events,
        ),
        "apiserver_watch_cache_events_received_total": (
            "Counter of events received in watch cache broken by resource type.",
            lambda store: store.cache.changes,
        ),
        "apiserver_watch_cache_events_dispatched_total": (
            "Counter of events dispatched in watch cache broken by resource type.",
            lambda store: store.cache.changes,
        ),
        "apiserver_watch_cache_initializations_total": (
            "Counter of watch cache initializations broken by resource type.",
            lambda store: store.cache.loads,
        ),
    }
    revision = registry.gauge(
        "apiserver_watch_cache_resource_version",
        "[ALPHA] Current resource version of watch cache broken by resource type.",
        labels,
    )
    objects = registry.gauge(
        "apiserver_storage_objects",
        "[STABLE] Number of stored objects at the time of last check split by kind. In case of a fetching error, the "
        "value will be -1.",
        ("resource",),
    )
    resource_objects = registry.gauge(
        "apiserver_resource_objects",
        "[ALPHA] Number of stored objects at the time of last check split by kind. In case of a fetching error, the "
        "value will be -1.",
        labels,
    )
    seconds = registry.histogram(
        "etcd_request_duration_seconds",
        "[ALPHA] Etcd request latency in seconds for each operation and object type.",
        ("group", "operation", "resource"),
        SECONDS_BUCKETS,
    )
    requests = registry.counter(
        "etcd_requests_total",
        "[ALPHA] Etcd request counts for each operation and object type.",
        ("group", "operation", "resource"),
    )
    size = registry.gauge(
        "apiserver_storage_size_bytes",
        "[STABLE] Size of the storage database file physically allocated in bytes.",
        ("storage_cluster_id",),
    )
    try:
        size.labels("etcd-0").set(await server.storage.kv.size_bytes())
    except (EtcdError, ReplyError, ActorStopped, Unreachable):
        pass  # kube-apiserver leaves it out as well
    async for group, resource, store, count in _stored(server):
        objects.labels(f"{resource}.{group}" if group else resource).set(count)
        resource_objects.labels(group, resource).set(count)
        if store is None:
            continue
        for name, (text, read) in counters.items():
            registry.counter(name, f"[ALPHA] {text}", labels).labels(group, resource).inc(read(store))
        revision.labels(group, resource).set(max(store.cache.revision, store.loaded_revision))
        for operation, histogram in store.etcd_seconds.items():
            seconds.adopt((group, operation, resource), histogram)
            requests.labels(group, operation, resource).inc(histogram.count)
    return registry


async def _stored(server: "ApiServer") -> AsyncIterator[tuple[str, str, ResourceStore | None, int]]:
    """(group, resource, its store if it was ever used, how many objects; -1: etcd does not say)."""
    storage = server.storage
    await server.custom_resources.start()
    rows = [*all_resources(), *(row for row, _ in server.custom_resources.described().schemas)]
    seen: set[bytes] = set()
    away = False
    for row in rows:
        prefix = f"{storage.prefix}{row.storage_prefix}/".encode()
        if prefix in seen or "watch" not in row.verbs:
            continue
        seen.add(prefix)
        store = storage.stores.get(prefix)
        count = len(store.cache.entries) if store is not None and store.loaded else -1
        if count < 0 and not away:
            try:
                count = (await storage.kv.range(prefix, prefix[:-1] + b"0", count_only=True)).count
            except (EtcdError, ReplyError, ActorStopped, Unreachable):
                away = True
        yield row.resource.group, row.resource.plural, store, count
