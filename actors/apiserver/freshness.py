"""Reads that must be as new as etcd, from a cache that hears of changes a little later.

Follows "Resource versions" and "Consistent reads" of the API concepts page. With an etcd in process the cache is never
behind. With another etcd, a read asks it which keys of the range are newer than the cache, or missing, and waits for
the watch to tell of them; so it costs etcd a small answer, and no object is decoded twice. A write needs none of this:
etcd refuses it when it was made from an old version.
"""

from collections.abc import Mapping
from typing import Any

from kubeloop.actors.api.errors import StatusError
from kubeloop.actors.apiserver.call import Call
from kubeloop.actors.apiserver.options import resource_version
from kubeloop.actors.apiserver.resource_store import ResourceStore
from kubeloop.actors.etcd.messages import Range, RangeResult, prefix_range_end


def known_revision(store: ResourceStore) -> int:
    """The cache holds every change up to it."""
    return max(store.storage.revision, store.cache.revision)


async def check_exists(store: ResourceStore, wanted: int) -> None:
    """Raises 504 for a revision that is still to come."""
    known = known_revision(store)
    if wanted > known:
        known = await store.storage.etcd_revision()  # others' writes take revisions too
        if wanted > known:
            raise too_large(wanted, known)


async def refresh(store: ResourceStore, version: str, *, namespace: str = "", name: str = "") -> int:
    """Return when the cache is as new as a read at `resourceVersion` demands, and a revision that it has reached.

    "" is as new as etcd, "0" whatever there is, else not older. Of one key `name`, a namespace, or the whole resource.
    Raises 504 for a version that is still to come.
    """
    wanted, known = resource_version(version), known_revision(store)
    if version == "0" or 0 < wanted <= known or (not wanted and store.storage.in_step) or store.derived:
        return known
    await store.storage.connect()
    if name:
        reached = await refresh_key(store, name)
    else:
        reached = await refresh_range(store, namespace)
    if wanted > reached:
        raise too_large(wanted, reached)
    if not store.loaded:
        await store.load()
    return max(reached, known_revision(store))


async def refresh_key(store: ResourceStore, name: str) -> int:
    before = store.revision_of(name)
    found = await range_(store, Range((store.prefix + name).encode(), keys_only=True))
    if (found.kvs[0].mod_revision if found.kvs else 0) != before:
        await store.storage.wait_changed(store, name, before)
    return found.revision


async def refresh_range(store: ResourceStore, namespace: str) -> int:
    """Changed keys are told from their revisions, deleted ones from their number."""
    storage = store.storage
    prefix = f"{store.prefix}{namespace}/".encode() if namespace else store.prefix_bytes
    end = prefix_range_end(prefix)
    found = await range_(store, Range(prefix, end, keys_only=True, min_mod_revision=storage.revision + 1))
    for kv in found.kvs:
        name = store.name_of(kv.key)
        before = store.revision_of(name)
        if before < kv.mod_revision:
            await storage.wait_changed(store, name, before)
    if storage.revision < found.revision and store.cache.count(namespace) != found.count:
        everything = await range_(store, Range(prefix, end, keys_only=True))
        there = {store.name_of(kv.key) for kv in everything.kvs}
        for entry in list(store.cache.select(namespace)):
            if entry.key not in there:
                await storage.wait_changed(store, entry.key, entry.revision)
    return found.revision


async def range_(store: ResourceStore, op: Range) -> RangeResult:
    """A read with the options that `KV.range` has not."""
    result = await store.storage.kv.txn(success=(op,))
    found = result.responses[0]
    assert isinstance(found, RangeResult)
    return found


async def caught_up(call: Call, error: StatusError) -> bool:
    """After a 404 or 409: whether it was the cache that was behind. It is not any more; the request may run again."""
    details: Mapping[str, Any] = error.status.get("details") or {}
    name, plural, group = details.get("name"), details.get("kind"), details.get("group", "")
    if not name or not plural:
        return False
    found = call.server.resources.stores_by_plural.get(f"{plural}.{group}" if group else plural)
    own = call.route.resource
    store = call.stored if plural in (own.plural, own.kind) else found
    if store is None or not store.loaded:
        return False
    key = f"{call.namespace}/{name}" if store.namespaced else name
    before = store.revision_of(key)
    await refresh_key(store, key)
    return store.revision_of(key) != before


def too_large(wanted: int, current: int) -> StatusError:
    status = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": f"Too large resource version: {wanted}, current: {current}",
        "reason": "Timeout",
        "details": {
            "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
            "retryAfterSeconds": 1,
        },
        "code": 504,
    }
    return StatusError(status)
