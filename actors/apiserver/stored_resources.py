"""Which built-in resources have ever held an object, as a resource that can be listed and watched.

    GET /apis/internal.kubeloop.dev/v1/storedresources        (not in discovery; a real API server answers 404)

A garbage collector has to watch every resource that holds objects. Most clusters use a fraction of the kinds, and a
watch of one that nobody uses costs its module's import and its cache; this tells the collector which ones are worth
it. A name ("deployments.apps") appears with the first write below its prefix and stays.
"""

from typing import Any

import msgspec

from kubeloop.actors.api.resources import ResourceType
from kubeloop.actors.apiserver.registry.catalog import SERVED
from kubeloop.actors.apiserver.registry.kind import Kind
from kubeloop.actors.apiserver.resource_store import ResourceStore, set_resource_version
from kubeloop.actors.apiserver.storage import Storage
from kubeloop.actors.apiserver.watch_cache import Entry
from kubeloop.actors.etcd.messages import prefix_range_end

STORED_RESOURCES = ResourceType(
    group="internal.kubeloop.dev",
    version="v1",
    kind="StoredResource",
    plural="storedresources",
    singular="storedresource",
    namespaced=False,
)
KIND = Kind(resource=STORED_RESOURCES, verbs=("list", "watch"))


class StoredResources(ResourceStore):
    """Its entries come from the other resources' keys; it has none of its own."""

    def __init__(self, storage: Storage) -> None:
        super().__init__(storage, STORED_RESOURCES.name, namespaced=False, type=None)
        self.derived = True
        self._names: dict[bytes, str] = {}  # prefix -> plural.group
        for served in SERVED:
            if "list" in served.verbs:
                prefix = storage.prefix_bytes + served.storage_prefix.encode() + b"/"
                self._names.setdefault(prefix, served.resource.name)
        self._early: dict[str, int] | None = None
        storage.on_first_write = self._on_first_write

    async def load(self) -> None:
        if self.loaded:
            return
        storage = self.storage
        await storage.connect()
        epoch, self._early = storage.epoch, {}
        entries: dict[str, Entry] = {}
        start, end, revision = storage.prefix_bytes, prefix_range_end(storage.prefix_bytes), 0
        while True:  # from the first key of one resource to the first behind it
            found = await storage.kv.range(start, end, revision=revision, limit=1, keys_only=True)
            revision = revision or found.revision
            if not found.kvs:
                break
            prefix = self._prefix_of(found.kvs[0].key)
            name = self._names.get(prefix)
            if name is not None:
                entries[name] = entry_of(name, found.kvs[0].mod_revision)
            start = prefix_range_end(prefix)
        if epoch != storage.epoch:
            return await self.load()
        if not self.loaded:
            self.cache.load(entries, revision)
            self.loaded, self.loaded_revision = True, revision
            early, self._early = self._early, None
            for name, mod_revision in (early or {}).items():
                self._appear(name, mod_revision)

    def _prefix_of(self, key: bytes) -> bytes:
        """/registry/pods/ of a pod's key; two parts below /registry/ where one is no resource's."""
        first = key[: key.find(b"/", len(self.storage.prefix_bytes)) + 1]
        return first if first in self._names else key[: key.find(b"/", len(first)) + 1] or key

    def _on_first_write(self, key: bytes, revision: int) -> None:
        name = self._names.get(self._prefix_of(key))
        if name is None:
            return
        if self.loaded:
            self._appear(name, revision)
        elif self._early is not None:
            self._early.setdefault(name, revision)

    def _appear(self, name: str, revision: int) -> None:
        if name not in self.cache.entries:
            self.cache.put(entry_of(name, revision))


def entry_of(name: str, revision: int) -> Entry:
    obj: dict[str, Any] = {
        "apiVersion": STORED_RESOURCES.api_version,
        "kind": STORED_RESOURCES.kind,
        "metadata": {"name": name},
    }
    value = msgspec.json.encode(obj)
    set_resource_version(obj, revision)
    return Entry(name, "", revision, value, obj)
