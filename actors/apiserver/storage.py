"""etcd for the handlers: one watch over /registry/ feeds every resource's cache; writes compare the mod revision.

A value is the object's JSON without resourceVersion. The object that was encoded for a write is found again by the
identity of its bytes when the store's watch tells of the write, so nothing written here is ever decoded.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from kubeloop.actors.api import codec, meta
from kubeloop.actors.apiserver.leases import Leases
from kubeloop.actors.apiserver.watch_cache import Entry, WatchCache
from kubeloop.actors.etcd.messages import KV, CasResult, EtcdError, Event, WatchHandle, prefix_range_end

REGISTRY = b"/registry/"
LEASE_NOT_FOUND = "NOT_FOUND"
force_setattr = msgspec.structs.force_setattr


def set_resource_version(obj: Any, revision: int) -> None:
    """Only for an object whose metadata nobody else holds yet: one just built or decoded here."""
    if type(obj) is dict:
        obj["metadata"]["resourceVersion"] = str(revision)
    else:
        force_setattr(obj.metadata, "resource_version", str(revision))


def touch(obj: Any, revision: int) -> Any:
    return meta.replace_metadata(obj, resource_version=str(revision))


def encode_dict(obj: dict[str, Any]) -> bytes:
    """A custom resource's stored form: apiVersion, kind and metadata first."""
    head = {"apiVersion": obj.get("apiVersion", ""), "kind": obj.get("kind", ""), "metadata": obj.get("metadata", {})}
    return msgspec.json.encode({**head, **{key: value for key, value in obj.items() if key not in head}})


class ResourceStore:
    """One resource's keys in etcd with their cache. `type` None: custom resources, kept as dicts."""

    def __init__(
        self,
        storage: "Storage",
        prefix: str,
        *,
        namespaced: bool,
        type: type | None,
        index_field: str = "",
        index_value: Callable[[Any], str] | None = None,
    ) -> None:
        self.storage = storage
        self.prefix = f"/registry/{prefix}/"
        self.prefix_bytes = self.prefix.encode()
        self.namespaced = namespaced
        self.type = type
        self.encode: Callable[[Any], bytes] = encode_dict if type is None else codec.encode
        self.cache = WatchCache(touch=touch, index_field=index_field, index_value=index_value)
        self.loaded = False
        self.leases: Leases | None = None  # for objects that expire
        self.written = False  # a write below its prefix has been seen
        self._loading: list[Event] | None = None
        self._load_done: asyncio.Event | None = None

    async def load(self) -> None:
        """Fill the cache from the store, once. Later events come by the watch."""
        if self.loaded:
            return
        if self._load_done is not None:
            await self._load_done.wait()
            return await self.load()
        self._load_done = asyncio.Event()
        self._loading = []
        try:
            await self.storage.connect()
            found = await self.storage.kv.range(self.prefix_bytes, prefix_range_end(self.prefix_bytes))
            entries = {}
            for kv in found.kvs:
                entry = self.decode_entry(kv.key, kv.value, kv.mod_revision)
                entries[entry.key] = entry
            self.cache.load(entries, found.revision)
            self.storage.advance(found.revision)
            self.loaded = True
            for event in self._loading:
                if event.kv.mod_revision > found.revision:
                    self.storage.apply(self, event)
        finally:
            self._loading = None
            done, self._load_done = self._load_done, None
            done.set()

    def unload(self, error: Exception | None) -> None:
        """Forget everything (the store is gone): watchers are closed, the next use loads again."""
        self.loaded = False
        for watcher in self.cache.watchers:
            self.cache.watchers.remove(watcher)
            watcher.close(error)
        self.cache.load({}, 0)

    def wants(self, event: Event) -> bool:
        if self.loaded:
            return True
        if self._loading is not None:
            self._loading.append(event)
        return False

    def decode_entry(self, key: bytes, value: bytes, revision: int) -> Entry:
        name = key[len(self.prefix_bytes) :].decode()
        obj = msgspec.json.decode(value) if self.type is None else codec.decode(value, self.type)
        set_resource_version(obj, revision)
        return Entry(name, name.partition("/")[0] if self.namespaced else "", revision, value, obj)

    # writing: each returns None when the key is not at the revision that was expected

    def create(self, key: str, obj: Any, value: bytes | None = None) -> Coroutine[Any, Any, Entry | None]:
        return self._put(key, obj, 0, value)

    def replace(self, old: Entry, obj: Any, value: bytes | None = None) -> Coroutine[Any, Any, Entry | None]:
        return self._put(old.key, obj, old.revision, value)

    async def _put(self, key: str, obj: Any, mod_revision: int, value: bytes | None = None) -> Entry | None:
        storage = self.storage
        if value is None:
            value = self.encode(obj)
        pending = storage.pending
        pending[id(value)] = (self, key, obj, value)
        try:
            if self.leases is None:
                result = await storage.kv.put_if((self.prefix + key).encode(), value, mod_revision)
            else:
                result = await self._put_leased(self.leases, (self.prefix + key).encode(), value, mod_revision)
        finally:
            pending.pop(id(value), None)
        if not result.succeeded:
            return None
        if storage.revision < result.revision:
            await storage.wait_fresh(result.revision)
        entry = self.cache.entries.get(key)
        if entry is None or entry.revision != result.revision:  # overtaken by a later write already
            assert result.kv is not None
            entry = self.decode_entry(result.kv.key, result.kv.value, result.revision)
        return entry

    async def _put_leased(self, leases: Leases, key: bytes, value: bytes, mod_revision: int) -> CasResult:
        """With a lease of which etcd knows."""
        kv = self.storage.kv
        try:
            return await kv.put_if(key, value, mod_revision, lease=await leases.current())
        except EtcdError as error:
            if error.code != LEASE_NOT_FOUND:
                raise
        leases.forget()
        return await kv.put_if(key, value, mod_revision, lease=await leases.current())

    async def delete(self, old: Entry) -> int | None:
        """The revision of the deletion, or None when the key had changed."""
        storage = self.storage
        result = await storage.kv.delete_if((self.prefix + old.key).encode(), old.revision)
        if not result.succeeded:
            return None
        if storage.revision < result.revision:
            await storage.wait_fresh(result.revision)
        return result.revision


class Storage:
    """All resources' stores. `revision`: every change up to it is in the caches."""

    def __init__(self, kv: KV) -> None:
        self.kv = kv
        self.revision = 0
        self.pending: dict[int, tuple[ResourceStore, str, Any, bytes]] = {}
        self.stores: dict[bytes, ResourceStore] = {}
        self.on_first_write: Callable[[bytes, int], None] | None = None  # (key, revision)
        self.on_next_write: Callable[[], None] | None = None  # called once
        self._watch: WatchHandle | None = None
        self._waiting: list[tuple[int, asyncio.Event]] = []

    def add(self, store: ResourceStore) -> ResourceStore:
        self.stores[store.prefix_bytes] = store
        return store

    def remove(self, store: ResourceStore) -> None:
        store.unload(None)
        self.stores.pop(store.prefix_bytes, None)

    async def connect(self) -> None:
        if self._watch is None:
            self._watch = await self.kv.watch(
                REGISTRY, prefix_range_end(REGISTRY), sink=self._on_events, on_closed=self._on_closed
            )

    def close(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        for store in list(self.stores.values()):
            store.unload(None)

    def advance(self, revision: int) -> None:
        """Every change up to `revision` is in the caches: whoever waits for it goes on."""
        if revision > self.revision:
            self.revision = revision
        if self._waiting:
            for wanted, event in self._waiting:
                if wanted <= revision:
                    event.set()
            self._waiting = [(wanted, event) for wanted, event in self._waiting if wanted > revision]

    async def wait_fresh(self, revision: int) -> None:
        """Return once the caches hold every change up to `revision`."""
        if self.revision < revision:
            event = asyncio.Event()
            self._waiting.append((revision, event))
            await event.wait()

    def _on_events(self, events: list[Event]) -> None:
        for event in events:
            kv = event.kv
            if event.type == "PUT":
                pending = self.pending.pop(id(kv.value), None)
                if pending is not None:
                    store, key, obj, value = pending
                    revision = kv.mod_revision
                    set_resource_version(obj, revision)
                    namespace = key[: key.index("/")] if store.namespaced else ""
                    if revision > self.revision:
                        self.revision = revision
                    store.cache.put(Entry(key, namespace, revision, value, obj))
                    if not store.written:
                        self._first_write(store, kv.key, revision)
                    continue
            found = self.find(kv.key)
            if event.type == "PUT" and (found is None or not found.written):
                self._first_write(found, kv.key, kv.mod_revision)
            if found is not None and found.wants(event):
                self.apply(found, event)
        revision = events[-1].kv.mod_revision
        if self._waiting or revision > self.revision:
            self.advance(revision)
        if self.on_next_write is not None:
            on_next_write, self.on_next_write = self.on_next_write, None
            on_next_write()

    def _first_write(self, store: ResourceStore | None, key: bytes, revision: int) -> None:
        """`store` None: of a resource that nobody asked this server for yet."""
        if store is not None:
            store.written = True
        if self.on_first_write is not None:
            self.on_first_write(key, revision)

    def apply(self, store: ResourceStore, event: Event) -> None:
        kv = event.kv
        if event.type == "PUT":
            store.cache.put(store.decode_entry(kv.key, kv.value, kv.mod_revision))
        else:
            store.cache.remove(kv.key[len(store.prefix_bytes) :].decode(), kv.mod_revision)

    def find(self, key: bytes) -> ResourceStore | None:
        """The store whose prefix the key has: /registry/pods/ or /registry/services/specs/."""
        end = key.find(b"/", len(REGISTRY)) + 1
        store = self.stores.get(key[:end])
        if store is None and end:
            store = self.stores.get(key[: key.find(b"/", end) + 1])
        return store

    def _on_closed(self, error: Exception | None) -> None:
        self._watch = None
        self.revision = 0
        for store in list(self.stores.values()):
            store.unload(error)
        for _, event in self._waiting:
            event.set()
        self._waiting.clear()
