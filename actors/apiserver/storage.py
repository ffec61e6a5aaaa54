"""etcd for the API server: one watch over the prefix feeds every resource's cache, and says how far the caches are.

`revision` is that of the last change below the prefix. etcd's own may be higher, since others write there too; nothing
here waits for a revision unless a change below the prefix is known to have it, nor for longer than a few seconds.

A watch that ends is resumed behind that revision, so caches and watchers live on. Where that cannot be (etcd has
compacted it, or is another one than before), all is forgotten: watchers are closed, the next use loads again.
"""

import asyncio
import posixpath
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from typing import Any

from kubeloop.actors.api import errors
from kubeloop.actors.api.errors import StatusError
from kubeloop.actors.apiserver import limits
from kubeloop.actors.apiserver.resource_store import ResourceStore, set_resource_version
from kubeloop.actors.etcd.messages import KV, CompactedError, Event, WatchHandle, prefix_range_end
from kubeloop.runtime.actor import Unreachable

PREFIX = "/registry"
Pending = tuple[ResourceStore, str, Any, bytes]  # store, the cache's key, object, its bytes


def normalised(prefix: str) -> str:
    """As kube-apiserver reads --etcd-prefix: a clean absolute path, with a slash at the end.

    >>> normalised("registry"), normalised("/a//b/../c/"), normalised("")
    ('/registry/', '/a/c/', '/')
    """
    path = posixpath.normpath("/" + prefix.lstrip("/"))
    return path if path == "/" else path + "/"


class Storage:
    """All resources' stores. `in_step`: the caches are as new as etcd, always; so it is with an etcd in process."""

    def __init__(self, kv: KV, prefix: str = PREFIX) -> None:
        self.kv = kv
        self.prefix = normalised(prefix)
        self.prefix_bytes = self.prefix.encode()
        self.revision = 0
        self.in_step = False
        self.epoch = 0  # how often all was forgotten
        self.pending: dict[bytes, Pending] = {}  # writes that the watch has not told of yet
        self.stores: dict[bytes, ResourceStore] = {}
        self.on_first_write: Callable[[bytes, int], None] | None = None  # (key, revision)
        self.on_next_write: Callable[[], None] | None = None  # called once
        self.on_disconnected: Callable[[Exception | None], object] | None = None
        self._connection: Connection | None = None
        self._attempt: Attempt | None = None
        self._waiting: list[tuple[int, int, asyncio.Event]] = []  # a heap: (revision, order, who waits)
        self._order = count()
        self._key_waiters: dict[bytes, list[asyncio.Event]] = {}

    def add(self, store: ResourceStore) -> ResourceStore:
        self.stores[store.prefix_bytes] = store
        return store

    def remove(self, store: ResourceStore) -> None:
        store.unload(None)
        self.stores.pop(store.prefix_bytes, None)

    # the watch

    async def connect(self) -> None:
        """Watch, from where the last watch ended. Raises what etcd answers, to all who wait for it."""
        while self._connection is None:
            attempt = self._attempt
            if attempt is not None:
                await attempt.over.wait()
                if attempt.error is not None:
                    raise attempt.error
                continue
            attempt = self._attempt = Attempt()
            try:
                await self._open()
            except Exception as error:
                attempt.error = error
                raise
            finally:
                self._attempt = None
                attempt.over.set()

    async def _open(self) -> None:
        revision = await self.etcd_revision()
        if revision < self.revision:
            self._forget(None)  # another etcd, or one that was restored from a backup
        if not self.revision:
            self.revision = revision
        connection = Connection(self)
        try:
            connection.watch = await self.kv.watch(
                self.prefix_bytes,
                prefix_range_end(self.prefix_bytes),
                sink=self._on_events,
                on_closed=connection.on_closed,
                start_revision=self.revision + 1,
            )
        except CompactedError as error:
            self._forget(error)
            return
        if connection.ended:
            raise Unreachable(f"the watch ended as it began: {connection.error}")
        self._connection = connection
        self.in_step = self.kv.synchronous

    async def etcd_revision(self) -> int:
        """etcd's own, now. Reads what kube-apiserver's health check reads: a key that is not there."""
        return (await self.kv.range(self.prefix_bytes + b"health")).revision

    def disconnected(self, connection: "Connection", error: Exception | None) -> None:
        if connection is self._connection:
            self._connection = None
            self.in_step = False
            if self.on_disconnected is not None:
                self.on_disconnected(error)

    def close(self) -> None:
        connection, self._connection = self._connection, None
        self.in_step = False
        if connection is not None and connection.watch is not None:
            connection.watch.cancel()
        for store in list(self.stores.values()):
            store.unload(None)

    def _forget(self, error: Exception | None) -> None:
        self.epoch += 1
        self.revision = 0
        for store in list(self.stores.values()):
            store.unload(error)
        for _, _, waiter in self._waiting:
            waiter.set()
        self._waiting.clear()
        self._wake(list(self._key_waiters))

    # waiting

    async def wait_fresh(self, revision: int) -> None:
        """Return once the caches hold the change that took `revision`, or after some seconds without it."""
        if self.revision >= revision:
            return
        waiter = asyncio.Event()
        heappush(self._waiting, (revision, next(self._order), waiter))
        await _wait(waiter)

    async def wait_changed(self, store: ResourceStore, name: str, revision: int) -> None:
        """Return once the cache holds another version of a key than `revision` (0: than that it is not there).

        For a key of which etcd is known to have another version. Raises 504 after some seconds.
        """
        key = (store.prefix + name).encode()
        late = asyncio.get_running_loop().time() + limits.cache_lag_seconds_max
        while store.loaded and store.revision_of(name) == revision:
            if asyncio.get_running_loop().time() >= late:
                raise out_of_time()
            waiter = asyncio.Event()
            self._key_waiters.setdefault(key, []).append(waiter)
            await _wait(waiter)

    def _wake(self, keys: list[bytes]) -> None:
        for key in keys:
            for waiter in self._key_waiters.pop(key, ()):
                waiter.set()

    # events

    def _on_events(self, events: list[Event]) -> None:
        """One transaction. Its revision is known to whoever is told of it."""
        revision = events[0].kv.mod_revision
        if revision <= self.revision:
            return  # told before
        self.revision = revision
        for event in events:
            kv = event.kv
            if event.type == "PUT":
                pending = self.pending.get(kv.key)
                if pending is not None and pending[3] == kv.value:
                    del self.pending[kv.key]
                    store, name, obj, value = pending
                    if store.loaded and revision > store.loaded_revision:
                        set_resource_version(obj, revision)
                        store.cache.put(store.entry_of(name, revision, value, obj))
                        if not store.written:
                            self._first_write(store, kv.key, revision)
                        continue
            found = self.find(kv.key)
            if event.type == "PUT" and (found is None or not found.written):
                self._first_write(found, kv.key, revision)
            if found is not None and found.wants(event):
                self._apply(found, event)
        waiting = self._waiting
        while waiting and waiting[0][0] <= revision:
            heappop(waiting)[2].set()
        if self._key_waiters:
            self._wake([event.kv.key for event in events])
        if self.on_next_write is not None:
            on_next_write, self.on_next_write = self.on_next_write, None
            on_next_write()

    def _apply(self, store: ResourceStore, event: Event) -> None:
        try:
            store.apply(event)
        except StatusError as error:
            store.unload(error)  # whoever uses this resource is told which key is damaged; the others go on

    def _first_write(self, store: ResourceStore | None, key: bytes, revision: int) -> None:
        """`store` None: of a resource that nobody asked this server for yet."""
        if store is not None:
            store.written = True
        if self.on_first_write is not None:
            self.on_first_write(key, revision)

    def find(self, key: bytes) -> ResourceStore | None:
        """The store whose prefix the key has: /registry/pods/ or /registry/services/specs/."""
        end = key.find(b"/", len(self.prefix_bytes)) + 1
        store = self.stores.get(key[:end])
        if store is None and end:
            store = self.stores.get(key[: key.find(b"/", end) + 1])
        return store


class Attempt:
    """To connect, under way; `error` when it has failed. Without one, look again: it succeeded or was called off."""

    def __init__(self) -> None:
        self.over = asyncio.Event()
        self.error: Exception | None = None


class Connection:
    """One life of the watch."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self.watch: WatchHandle | None = None
        self.ended = False
        self.error: Exception | None = None

    def on_closed(self, error: Exception | None) -> None:
        self.ended, self.error = True, error
        self._storage.disconnected(self, error)


def out_of_time() -> StatusError:
    """504 in the words of a request whose time is over."""
    return errors.timeout("request did not complete within requested timeout - context deadline exceeded")


async def _wait(event: asyncio.Event) -> None:
    """For the event, but not for ever. Without a cancel scope, which a handler must not enter before it has waited."""
    timer = asyncio.get_running_loop().call_later(limits.cache_lag_seconds_max, event.set)
    try:
        await event.wait()
    finally:
        timer.cancel()
