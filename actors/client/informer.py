"""client-go's informer: a local, indexed copy of the objects of one kind, kept up to date by list and watch.

Follows the "efficient detection of changes" section of the API concepts page: list, watch from the list's revision,
go on from the last revision seen, list again after 410. In process an informer owns no task while it watches.
"""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, NoReturn, TypeVar, overload

from kubeloop.actors.api import meta
from kubeloop.actors.api.errors import StatusError, is_expired
from kubeloop.actors.api.resources import ResourceType, resource_for
from kubeloop.actors.apiserver.messages import WatchEvent, WatchHandle
from kubeloop.actors.client import limits
from kubeloop.actors.client.client import Client
from kubeloop.runtime.actor import ActorStopped
from kubeloop.runtime.backoff import Backoff
from kubeloop.runtime.clock import Clock
from kubeloop.runtime.log import get_logger
from kubeloop.runtime.tasks import Spawner

T = TypeVar("T")
Handler = Callable[[Any | None, Any | None], None]
IndexFunction = Callable[[Any], Iterable[str]]
RECONNECT = Backoff(initial_seconds=limits.reconnect_initial_seconds, max_seconds=limits.reconnect_max_seconds)


class Informer(Generic[T]):
    """The objects as last heard of. Handlers are called synchronously with (old, new), each change once, in order.

    A handler added later is first called with (None, object) for every object that is there. Handlers must not block;
    what one raises crashes the informer's owner. The objects are shared: never change one.

    >>> import asyncio
    >>> from kubeloop import Cluster, InformerFactory
    >>> async def main():
    ...     async with Cluster(nodes=2) as cluster:
    ...         factory = InformerFactory(cluster.client, cluster.system, cluster.system.clock)
    ...         nodes = factory.informer("nodes")
    ...         nodes.add_index("os", lambda node: [node.metadata.labels["kubernetes.io/os"]])
    ...         await factory.start()
    ...         return nodes.get("node-1").metadata.name, len(nodes), len(nodes.by_index("os", "none"))
    >>> asyncio.run(main())
    ('node-1', 2, 0)
    """

    def __init__(
        self,
        client: Client,
        resource: ResourceType,
        namespace: str | None,
        options: dict[str, str],
        spawner: Spawner,
        clock: Clock,
    ) -> None:
        self.resource = resource
        self._client = client
        self._namespace = namespace
        self._options = options
        self._spawner = spawner
        self._clock = clock
        self._objects: dict[str, T] = {}
        self._namespaces: dict[str, dict[str, T]] | None = None  # made when somebody lists one namespace
        self._handlers: list[Handler] = []
        self._indexes: dict[str, _Index] = {}
        self._watch: WatchHandle | None = None
        self._revision = ""
        self._failures = 0
        self._stopped = False
        self._opening = False
        self._opened_at = 0.0
        self._closed_while_opening: list[Exception | None] = []
        self._synced: asyncio.Event | None = None  # made when somebody waits: there may be 100,000 informers
        self.has_synced = False

    # reading

    def __len__(self) -> int:
        return len(self._objects)

    def __iter__(self) -> Iterator[T]:
        return iter(list(self._objects.values()))

    def get(self, key: str) -> T | None:
        """By "namespace/name", or "name" of a cluster-scoped kind."""
        return self._objects.get(key)

    def list(self, namespace: str | None = None, selector: Any = None) -> builtins.list[T]:
        """`selector`: a LabelSelector of `api.selectors`, or anything with `matches(labels)`."""
        objects: Iterable[T] = self._objects.values()
        if namespace is not None:
            objects = self._of_namespace(namespace).values()
        if selector is None:
            return [*objects]
        return [obj for obj in objects if selector.matches(meta.labels(obj))]

    def _of_namespace(self, namespace: str) -> dict[str, T]:
        if self._namespaces is None:
            self._namespaces = {}
            for key, obj in self._objects.items():
                self._namespaces.setdefault(key.rpartition("/")[0], {})[key] = obj
        return self._namespaces.get(namespace) or {}

    def keys(self) -> Iterable[str]:
        return self._objects.keys()

    def add_index(self, name: str, function: IndexFunction, *, reads: Callable[[Any], Any] | None = None) -> None:
        """`function(object)` gives the values under which `by_index(name, value)` finds it.

        reads: the part of an object, besides its key, that `function` looks at. It is not called again for a version
        that has the very same part as the one before.
        """
        if name not in self._indexes:
            index = self._indexes[name] = _Index(function, reads)
            for key, obj in self._objects.items():
                index.change(key, None, obj)

    def by_index(self, name: str, value: str) -> builtins.list[T]:
        """In the order in which the objects came. Raises KeyError for an index that was never added."""
        keys = self._indexes[name].keys.get(value)
        return [self._objects[key] for key in keys] if keys else []

    def count_by_index(self, name: str, value: str) -> int:
        """How many objects `by_index` would give, without collecting them."""
        keys = self._indexes[name].keys.get(value)
        return len(keys) if keys else 0

    def index_values(self, name: str) -> int:
        """How many values of that index find something."""
        return len(self._indexes[name].keys)

    def add_handler(self, handler: Handler) -> None:
        self._handlers.append(handler)
        for obj in [*self._objects.values()]:
            handler(None, obj)

    # list and watch

    async def start(self) -> None:
        """Lists and watches; returns when the first list is in. Waits as long as no API server answers."""
        while not self._stopped:
            try:
                await self._list_and_watch()
                return
            except (StatusError, OSError, TimeoutError) as error:
                await self._wait_after(error)

    async def wait_for_sync(self) -> None:
        """Returns when the first list is in, or the informer is stopped."""
        if self.has_synced or self._stopped:
            return
        if self._synced is None:
            self._synced = asyncio.Event()
        await self._synced.wait()

    def _wake_waiters(self) -> None:
        if self._synced is not None:
            self._synced.set()

    def stop(self) -> None:
        self._stopped = True
        self._wake_waiters()
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    async def _list_and_watch(self) -> None:
        found = await self._client.list(
            self.resource,
            self._namespace,
            label_selector=self._options.get("labelSelector"),
            field_selector=self._options.get("fieldSelector"),
            resource_version=None if self.has_synced else "0",  # what a server has at hand is new enough to begin with
        )
        self._replace(found.items)
        self._revision = found.resource_version
        await self._open_watch()
        self.has_synced = True
        self._wake_waiters()

    async def _open_watch(self) -> None:
        options = {**self._options, "resourceVersion": self._revision, "allowWatchBookmarks": "true"}
        self._opening = True
        self._closed_while_opening.clear()
        try:
            watch = await self._client.open_watch(self.resource, self._namespace, self, options)
        finally:
            self._opening = False
        self._opened_at = self._clock.monotonic()
        if self._stopped:
            watch.cancel()
        elif self._closed_while_opening:
            watch.cancel()
            self._lost(self._closed_while_opening[0])
        else:
            self._watch = watch

    def on_event(self, event: WatchEvent) -> None:
        """WatchSink."""
        if self._stopped:
            return
        type_, obj = event.type, event.object
        if type_ == "ERROR":
            self._lost(StatusError(obj))
            return
        if type(obj) is dict:
            version, key = meta.resource_version(obj), meta.key(obj)
        else:  # what `meta` does, without the calls: every delivery comes by here
            metadata = obj.metadata
            version, space, name = metadata.resource_version, metadata.namespace, metadata.name or ""
            key = f"{space}/{name}" if space else name
        self._revision = version or self._revision
        if type_ == "BOOKMARK":
            return
        old = self._objects.get(key)
        self._failures = 0
        if type_ == "DELETED":
            if old is not None:
                self._change(key, obj, None)
        elif old is None or meta.resource_version(old) != version:
            self._change(key, old, obj)

    def on_closed(self, error: Exception | None) -> None:
        """WatchSink."""
        self._lost(error)

    def _lost(self, error: Exception | None) -> None:
        if self._stopped:
            return
        if self._opening:
            self._closed_while_opening.append(error)
            return
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        self._spawner.spawn(self._resume, error, name=f"informer {self.resource.plural}")

    async def _resume(self, error: Exception | None) -> None:
        """Watches again from the last revision; lists again when that one is gone, or we were told so.

        At once when the watch ended by itself or its revision is gone, unless that happens again and again.
        """
        relist = error is not None and is_expired(error)
        ended_early = self._clock.monotonic() - self._opened_at < limits.watch_seconds_min
        if not ended_early:
            self._failures = 0
        if ended_early or (error is not None and not relist):
            await self._wait_after(error)
        while not self._stopped and self._watch is None:
            try:
                if relist:
                    await self._list_and_watch()
                else:
                    await self._open_watch()
                return
            except (StatusError, OSError, TimeoutError) as again:
                relist = relist or isinstance(again, StatusError)
                await self._wait_after(again)

    async def _wait_after(self, error: Exception | None) -> None:
        self._failures += 1
        delay = RECONNECT.delay_seconds(self._failures - 1) * self._clock.random.uniform(0.8, 1.2)
        get_logger().debug("informer_reconnects", resource=self.resource.plural, error=str(error), delay_seconds=delay)
        await self._clock.sleep(delay)

    def _replace(self, objects: Iterable[T]) -> None:
        """The world after a new list: what is new, what changed, what went meanwhile."""
        listed = {meta.key(obj): obj for obj in objects}
        for key in [key for key in self._objects if key not in listed]:
            self._change(key, self._objects[key], None)
        for key, obj in listed.items():
            old = self._objects.get(key)
            if old is None:
                self._change(key, None, obj)
            elif meta.uid(old) != meta.uid(obj):
                self._change(key, old, None)
                self._change(key, None, obj)
            elif meta.resource_version(old) != meta.resource_version(obj):
                self._change(key, old, obj)

    def _change(self, key: str, old: T | None, new: T | None) -> None:
        indexed = self._objects.get(key)
        if new is None:
            self._objects.pop(key, None)
        else:
            self._objects[key] = new
        if self._namespaces is not None:
            space = self._namespaces.setdefault(key.rpartition("/")[0], {})
            if new is None:
                space.pop(key, None)
            else:
                space[key] = new
        try:
            for index in self._indexes.values():
                index.change(key, indexed, new)
            for handler in self._handlers:
                handler(old, new)
        except Exception as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        """A handler failed inside the API server's delivery: it is its owner that crashes, not the API server."""
        self.stop()
        try:
            self._spawner.spawn(_raise, error, name=f"informer {self.resource.plural}")
        except ActorStopped:
            pass


async def _raise(error: Exception) -> NoReturn:
    raise error


class _Index:
    __slots__ = ("function", "keys", "reads")

    def __init__(self, function: IndexFunction, reads: Callable[[Any], Any] | None) -> None:
        self.function = function
        self.reads = reads
        self.keys: dict[str, dict[str, None]] = {}

    def change(self, key: str, old: Any | None, new: Any | None) -> None:
        reads = self.reads
        if reads is not None and old is not None and new is not None and reads(old) is reads(new):
            return
        before = tuple(self.function(old)) if old is not None else ()
        after = tuple(self.function(new)) if new is not None else ()
        if before == after:
            return
        for value in before:
            keys = self.keys.get(value)
            if keys is not None:
                keys.pop(key, None)
                if not keys:
                    del self.keys[value]
        for value in after:
            self.keys.setdefault(value, {})[key] = None


class InformerFactory:
    """The informers of one process: one a kind and selection, shared by everybody in it.

    >>> import asyncio
    >>> from kubeloop import Cluster, InformerFactory
    >>> async def main():
    ...     async with Cluster(nodes=0) as cluster:
    ...         factory = InformerFactory(cluster.client, cluster.system, cluster.system.clock)
    ...         namespaces = factory.informer("namespaces")
    ...         await factory.start()
    ...         return "default" in namespaces.keys(), factory.informer("namespaces") is namespaces
    >>> asyncio.run(main())
    (True, True)
    """

    def __init__(self, client: Client, spawner: Spawner, clock: Clock) -> None:
        self._client = client
        self._spawner = spawner
        self._clock = clock
        self._informers: dict[tuple[Any, ...], Informer[Any]] = {}
        self._started: dict[Informer[Any], None] = {}

    @overload
    def informer(
        self,
        resource: type[T],
        namespace: str | None = None,
        *,
        field_selector: str | None = None,
        label_selector: str | None = None,
    ) -> Informer[T]: ...
    @overload
    def informer(
        self,
        resource: Any,
        namespace: str | None = None,
        *,
        field_selector: str | None = None,
        label_selector: str | None = None,
    ) -> Informer[Any]: ...
    def informer(
        self,
        resource: Any,
        namespace: str | None = None,
        *,
        field_selector: str | None = None,
        label_selector: str | None = None,
    ) -> Informer[Any]:
        """The shared informer of a type, a name or a ResourceType (of a custom resource); `start` makes it list."""
        found = resource_for(resource)
        selectors = {"fieldSelector": field_selector, "labelSelector": label_selector}
        options = {name: value for name, value in selectors.items() if value is not None}
        key = (found.group, found.version, found.plural, namespace, field_selector, label_selector)
        informer = self._informers.get(key)
        if informer is None:
            informer = Informer(self._client, found, namespace, options, self._spawner, self._clock)
            self._informers[key] = informer
        return informer

    async def start(self) -> None:
        """Starts every informer that is not started yet; returns when all have synced."""
        for informer in list(self._informers.values()):
            if informer in self._started:
                await informer.wait_for_sync()
            else:
                self._started[informer] = None
                await informer.start()

    def discard(self, informer: Informer[Any]) -> None:
        """Stops one that nobody needs any more: its kind is no longer served."""
        informer.stop()
        self._started.pop(informer, None)
        for key in [key for key, each in self._informers.items() if each is informer]:
            del self._informers[key]

    def stop(self) -> None:
        """Ends all watches; what the informers hold stays readable."""
        for informer in self._informers.values():
            informer.stop()
