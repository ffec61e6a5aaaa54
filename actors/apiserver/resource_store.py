"""One resource's keys in etcd with their cache. Writes compare the mod revision.

A value is the object's JSON without resourceVersion. The object that was encoded for a write is found again by its
key and bytes when etcd's watch tells of the write, before or after the write is answered: nothing written here is ever
decoded.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

import msgspec

from kubeloop.actors.api import codec, errors, meta
from kubeloop.actors.apiserver import limits
from kubeloop.actors.apiserver.leases import Leases
from kubeloop.actors.apiserver.watch_cache import METADATA_MARK, Entry, WatchCache
from kubeloop.actors.etcd.messages import CasResult, EtcdError, Event, prefix_range_end
from kubeloop.runtime.metrics import Histogram

if TYPE_CHECKING:
    from kubeloop.actors.apiserver.storage import Storage

LEASE_NOT_FOUND = "NOT_FOUND"
# of answer times, as kube-apiserver's
SECONDS_BUCKETS = (0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0) + (
    15.0,
    20.0,
    30.0,
    45.0,
    60.0,
)
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
    """`prefix`: the resource's keys below the storage's. `type` None: custom resources, kept as dicts."""

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
        self.prefix = f"{storage.prefix}{prefix}/"
        self.prefix_bytes = self.prefix.encode()
        self.namespaced = namespaced
        self.type = type
        self.encode: Callable[[Any], bytes] = encode_dict if type is None else codec.encode
        self.cache = WatchCache(touch=touch, index_field=index_field, index_value=index_value)
        self.loaded = False
        self.loaded_revision = 0  # the watch may still tell of changes up to it: the load has shown them
        self.leases: Leases | None = None  # for objects that expire
        self.written = False  # a write below its prefix has been seen
        self.derived = False  # its entries come from other resources' keys
        self.etcd_seconds: dict[str, Histogram] = {}  # operation -> how long etcd took
        self._loading: list[Event] | None = None
        self._load_done: asyncio.Event | None = None

    async def load(self) -> None:
        """Fill the cache from etcd, once. Later events come by the watch. Raises what etcd answers."""
        if self.loaded:
            return
        if self._load_done is not None:
            await self._load_done.wait()
            return await self.load()
        self._load_done = asyncio.Event()
        try:
            while not self.loaded:
                await self._load()
        finally:
            self._loading = None
            done, self._load_done = self._load_done, None
            done.set()

    async def _load(self) -> None:
        """One attempt; in vain when the watch meanwhile began anew."""
        await self.storage.connect()
        epoch = self.storage.epoch
        self._loading = []
        entries: dict[str, Entry] = {}
        start, end, revision, more = self.prefix_bytes, prefix_range_end(self.prefix_bytes), 0, True
        while more:
            asked = _now()
            found = await self.storage.kv.range(start, end, revision=revision, limit=limits.range_keys_max)
            self._observe("list", asked)
            revision = revision or found.revision
            for kv in found.kvs:
                entry = self.decode_entry(kv.key, kv.value, kv.mod_revision)
                entries[entry.key] = entry
            more = found.more and bool(found.kvs)
            if more:
                start = found.kvs[-1].key + b"\0"
        if self.storage.epoch != epoch:
            return
        self.cache.load(entries, revision)
        self.cache.loads += 1
        self.loaded, self.loaded_revision = True, revision
        for event in self._loading:
            self.apply(event)

    def unload(self, error: Exception | None) -> None:
        """Forget everything (etcd is another one): watchers are closed, the next use loads again."""
        self.loaded, self.loaded_revision = False, 0
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

    def apply(self, event: Event) -> None:
        """A change that the watch tells of. Raises ValueError for a value that is no object of this resource."""
        kv = event.kv
        if kv.mod_revision <= self.loaded_revision:
            return
        if event.type == "PUT":
            self.cache.put(self.decode_entry(kv.key, kv.value, kv.mod_revision))
        else:
            self.cache.remove(self.name_of(kv.key), kv.mod_revision)

    def name_of(self, key: bytes) -> str:
        """etcd's key -> the cache's: NAMESPACE/NAME."""
        return key[len(self.prefix_bytes) :].decode()

    def entry_of(self, name: str, revision: int, value: bytes, obj: Any) -> Entry:
        return Entry(name, name[: name.index("/")] if self.namespaced else "", revision, value, obj)

    def decode_entry(self, key: bytes, value: bytes, revision: int) -> Entry:
        """Raises 500 for a value that is no object of this resource."""
        try:
            obj = msgspec.json.decode(value) if self.type is None else codec.decode(value, self.type)
            if not meta.name(obj):
                raise ValueError("it has no name")
            if METADATA_MARK not in value:  # written by somebody else
                value = self.encode(obj)
            set_resource_version(obj, revision)
            return self.entry_of(self.name_of(key), revision, value, obj)
        except (msgspec.MsgspecError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise errors.internal_error(f"unable to decode {key.decode(errors='replace')}: {error}") from None

    def revision_of(self, name: str) -> int:
        """The revision of a key in the cache; 0: it is not there."""
        entry = self.cache.entries.get(name)
        return 0 if entry is None else entry.revision

    # writing: each returns None when the key is not at the revision that was expected

    def create(self, key: str, obj: Any, value: bytes | None = None) -> Coroutine[Any, Any, Entry | None]:
        return self._put(key, obj, 0, value)

    def replace(self, old: Entry, obj: Any, value: bytes | None = None) -> Coroutine[Any, Any, Entry | None]:
        return self._put(old.key, obj, old.revision, value)

    async def _put(self, key: str, obj: Any, mod_revision: int, value: bytes | None = None) -> Entry | None:
        storage = self.storage
        if value is None:
            value = self.encode(obj)
        etcd_key = (self.prefix + key).encode()
        storage.pending[etcd_key] = pending = (self, key, obj, value)
        asked = _now()
        try:
            if self.leases is None:
                result = await storage.kv.put_if(etcd_key, value, mod_revision)
            else:
                result = await self._put_leased(self.leases, etcd_key, value, mod_revision)
            self._observe("update" if mod_revision else "create", asked)
            if result.succeeded and storage.revision < result.revision:
                await storage.wait_fresh(result.revision)
        finally:
            if storage.pending.get(etcd_key) is pending:
                del storage.pending[etcd_key]
        if not result.succeeded:
            await self._lost_race(key, mod_revision)
            return None
        entry = self.cache.entries.get(key)
        if entry is None or entry.revision != result.revision:  # overtaken by a later write already
            entry = self.decode_entry(etcd_key, value, result.revision)
        return entry

    async def _put_leased(self, leases: Leases, key: bytes, value: bytes, mod_revision: int) -> CasResult:
        """With a lease of which etcd knows."""
        kv = self.storage.kv
        lease = await leases.current()
        try:
            return await kv.put_if(key, value, mod_revision, lease=lease)
        except EtcdError as error:
            if error.code != LEASE_NOT_FOUND:
                raise
        leases.forget(lease)
        return await kv.put_if(key, value, mod_revision, lease=await leases.current())

    async def delete(self, old: Entry) -> int | None:
        """The revision of the deletion, or None when the key had changed."""
        storage = self.storage
        asked = _now()
        result = await storage.kv.delete_if((self.prefix + old.key).encode(), old.revision)
        self._observe("delete", asked)
        if not result.succeeded:
            await self._lost_race(old.key, old.revision)
            return None
        if storage.revision < result.revision:
            await storage.wait_fresh(result.revision)
        return result.revision

    def _observe(self, operation: str, asked: float) -> None:
        histogram = self.etcd_seconds.get(operation)
        if histogram is None:
            histogram = self.etcd_seconds[operation] = Histogram(SECONDS_BUCKETS)
        histogram.observe(_now() - asked)

    async def _lost_race(self, key: str, revision: int) -> None:
        """Whoever tries again finds the version that won."""
        if not self.loaded:
            await self.load()
        elif self.revision_of(key) == revision:
            await self.storage.wait_changed(self, key, revision)


def _now() -> float:
    return asyncio.get_running_loop().time()
