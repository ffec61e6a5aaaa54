"""kube-apiserver: the gateway and gatekeeper. All processes and users speak to the cluster through it, only it to etcd.

Concurrent: each message is handled at once, in the asker's own stack as long as nothing has to wait.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from msgspec import Struct

from kubeloop.actors.api import errors
from kubeloop.actors.api.errors import StatusError
from kubeloop.actors.api.resources import resource_for
from kubeloop.actors.apiserver import (
    bootstrap,
    chain,
    custom_resources,
    freshness,
    health,
    limits,
    metrics_storage,
    virtual,
)
from kubeloop.actors.apiserver.authorization import Authorizer
from kubeloop.actors.apiserver.call import NeedsCache, Route, unknown_resource
from kubeloop.actors.apiserver.chain import Handler
from kubeloop.actors.apiserver.compaction import CompactNow, Compactor
from kubeloop.actors.apiserver.config import ApiServerConfig
from kubeloop.actors.apiserver.custom_resources import CleanUp, CustomResources, Describe, Establish
from kubeloop.actors.apiserver.etcd_status import status_of
from kubeloop.actors.apiserver.handlers.watch import bookmark_of
from kubeloop.actors.apiserver.leases import Leases
from kubeloop.actors.apiserver.messages import Access, Request, UserInfo, WatchEvent, WatchRequest
from kubeloop.actors.apiserver.rbac.impersonation import Impersonation
from kubeloop.actors.apiserver.routes import Routes
from kubeloop.actors.apiserver.storage import Storage
from kubeloop.actors.etcd.messages import KV, EtcdError
from kubeloop.runtime.actor import Actor, ActorStopped, ReplyError, UnknownMessage, Unreachable
from kubeloop.runtime.backoff import Backoff
from kubeloop.runtime.streams import StreamSet

RECONNECT = Backoff(initial_seconds=0.02, max_seconds=1.0)
AWAY = ("UNAVAILABLE", "DEADLINE_EXCEEDED")  # codes of an etcd that may be back in a moment


class SendBookmarks(Struct, frozen=True):
    """The actor's message to itself: tell watchers that asked for bookmarks how far they are."""


class Measure(Struct, frozen=True):
    """Answer: a metrics Registry of what is stored."""


class CheckHealth(Struct, frozen=True):
    """Answer: name of a check -> "" when healthy, else what is wrong; in the order to show them."""


class ApiServer(Actor):
    concurrent: ClassVar[bool] = True

    # state

    def __init__(self, kv: KV, *, config: ApiServerConfig | None = None) -> None:
        self.config = config if config is not None else ApiServerConfig()
        self.storage = Storage(kv, self.config.etcd_prefix)
        self.storage.on_disconnected = lambda error: self.begin(self.reconnect, error)
        event_leases = Leases(kv, self.config.event_ttl_seconds, lambda: self.context.clock.monotonic())
        self.resources = Routes(self.storage, {"events": event_leases})
        self.routes = self.resources.by_name
        self.authorizer = Authorizer(self, self.config.authorization_modes)
        self.impersonation = Impersonation(self.authorizer)
        self.custom_resources = CustomResources(self)
        self.compactor = Compactor(
            self.storage,
            self.config.compaction_interval_seconds,
            lambda seconds: self.tell_later(seconds, CompactNow()),
        )
        self.streams = StreamSet(limits.streams_max)  # between clients and kubelets
        self._bookmarks_due = False
        self._derived: dict[tuple[str, Callable[[Sequence[Any]], Any]], tuple[int, Any]] = {}

    async def on_start(self) -> None:
        """Waits a while for an etcd that is away. Raises what etcd answers."""
        self.defer(self.storage.close)
        self.defer(lambda: self.streams.abort(ActorStopped(f"{self.context.name} does not run")))
        self.compactor.begin()
        clock = self.context.clock
        late, failures = clock.monotonic() + limits.etcd_start_seconds_max, 0
        while True:
            try:
                await self.storage.connect()
                if self.config.bootstrap:
                    await bootstrap.create_start_objects(self)
                return
            except (EtcdError, ActorStopped, Unreachable) as error:
                if not is_away(error) or clock.monotonic() >= late:
                    raise
                self.context.log.warning("etcd_is_away", error=str(error))
            await clock.sleep(RECONNECT.delay_seconds(failures))
            failures += 1

    async def reconnect(self, error: Exception | None) -> None:
        """The watch of etcd has ended: until it is resumed caches stand still, and what must be new is refused."""
        self.context.log.warning("etcd_watch_ended", error=str(error))
        failures = 0
        while True:
            try:
                await self.storage.connect()
                break
            except (ReplyError, ActorStopped, Unreachable):
                await self.context.clock.sleep(RECONNECT.delay_seconds(failures))
                failures += 1
        self.context.log.info("etcd_watch_resumed", failures=failures)

    # handled messages

    def describe(self) -> str:
        """What it holds, in words."""
        caches = [store.cache for store in self.storage.stores.values() if store.loaded]
        objects, watches = sum(len(one.entries) for one in caches), sum(len(one.watchers) for one in caches)
        return f"{objects} objects of {sum(bool(one.entries) for one in caches)} resources cached, {watches} watches"

    async def on_message(self, message: Any) -> Any:
        kind = type(message)
        try:
            if kind is Request:
                return await chain.handle(self, message)
            if kind is WatchRequest:
                return await chain.handle_watch(self, message)
            if kind is Access:
                return await self.access(message)
        except StatusError:
            raise
        except (ReplyError, ActorStopped, Unreachable) as error:
            raise status_of(error) from error
        except Exception as error:
            asked = request_of(message)
            self.context.log.exception("request_failed", verb=asked.verb, resource=asked.resource)
            if isinstance(error, RecursionError):
                raise errors.bad_request(f"the body of the request is nested too deep: {error}") from None
            raise errors.internal_error(f"{type(error).__name__}: {error}") from error
        if kind is SendBookmarks:
            return self.send_bookmarks()
        if kind is CompactNow:
            return await self.compactor.compact()
        if kind is Establish:
            return await self.custom_resources.establish(message.name)
        if kind is CleanUp:
            return await self.custom_resources.clean_up(message.name)
        if kind is Describe:
            await self.custom_resources.start()
            return self.custom_resources.described()
        if kind is CheckHealth:
            return health.states(await self.etcd_health(), self.config.bootstrap)
        if kind is Measure:
            return await metrics_storage.registry_of(self)
        raise UnknownMessage(message)

    async def access(self, message: Access) -> UserInfo:
        """Raises 403, and 400 for an impersonation of nobody."""
        user = message.user
        if message.act_as is not None:
            user = await self.impersonation.act_as(user, message.act_as, message.asked)
        await self.authorizer.check(user, message.asked)
        return user

    async def etcd_health(self) -> str:
        """What is wrong with etcd, in kube-apiserver's words; "" nothing."""
        probe = self.spawn(self._probe_etcd)
        done, _ = await asyncio.wait([probe.task], timeout=limits.etcd_health_seconds_max)
        if not done:
            probe.cancel()
        wrong = str(await probe) if done else "context deadline exceeded"
        return f"error getting data from etcd: {wrong}" if wrong else ""

    async def _probe_etcd(self) -> str:
        try:
            await self.storage.etcd_revision()
        except (ActorStopped, ReplyError, Unreachable) as error:
            return str(error)
        return ""

    # what handlers need

    async def find_route(self, group: str, version: str, plural: str) -> Route:
        """The route of a served resource. Raises 404 when there is none."""
        if group == custom_resources.GROUP or not self.resources.has_version(group, version):
            await self.custom_resources.start()
        route = self.resources.find(group, version, plural)
        if route is None:
            raise unknown_resource(self.resources.has_group(group))
        return route

    def virtual_handler(self, request: Request) -> Handler | None:
        return virtual.HANDLERS.get((request.verb, request.group, request.resource))

    def lookup(self, resource: str, namespace: str, name: str) -> Any | None:
        """An object of another resource ("pods", "priorityclasses.scheduling.k8s.io"), None when there is none."""
        entry = self._cached(resource).entries.get(f"{namespace}/{name}" if namespace else name)
        return None if entry is None else entry.object

    def indexed(self, resource: str, value: str) -> Mapping[str, Any]:
        """key -> cache entry of the objects whose indexed field (pods: spec.nodeName) has that value."""
        found: Mapping[str, Any] = self._cached(resource).index.get(value, {})
        return found

    def lookup_all(self, resource: str, namespace: str) -> Sequence[Any]:
        """All objects of another resource, of one namespace or (empty) of all."""
        return [entry.object for entry in self._cached(resource).select(namespace)]

    def derived(self, resource: str, function: Callable[[Sequence[Any]], Any]) -> Any:
        """`function` of all objects of a resource, worked out again only when one of them has changed."""
        cache = self._cached(resource)
        known = self._derived.get((resource, function))
        if known is None or known[0] != cache.revision:
            known = (cache.revision, function(self.lookup_all(resource, "")))
            self._derived[resource, function] = known
        return known[1]

    def revision_of(self, resource: str) -> int:
        """Of the last change of a resource's objects."""
        revision: int = self._cached(resource).revision
        return revision

    def _cached(self, resource: str) -> Any:
        store = self.resources.stores_by_plural.get(resource)
        if store is None:
            type_ = resource_for(resource)
            route = self.resources.find(type_.group, type_.version, type_.plural)
            assert route is not None and route.store is not None, f"{resource} is not stored"
            store = self.resources.stores_by_plural[resource] = route.store
        if not store.loaded:
            raise NeedsCache(store)
        return store.cache

    def schedule_bookmarks(self) -> None:
        if not self._bookmarks_due:
            self._bookmarks_due = True
            self.tell_later(self.config.bookmark_interval_seconds, SendBookmarks())

    def send_bookmarks(self) -> None:
        """To every watcher that asked; the next round is due as long as there is one."""
        self._bookmarks_due = False
        for route in list(self.routes.values()):
            if route.store is None or not route.store.loaded:
                continue
            known = freshness.known_revision(route.store)
            events: dict[int, WatchEvent] = {}
            for watcher in route.store.cache.watchers:
                if watcher.bookmarks:
                    revision = max(known, watcher.after)
                    if revision not in events:
                        metadata = {"resourceVersion": str(revision)}
                        events[revision] = bookmark_of(route.api_version, route.resource.kind, metadata)
                    watcher.sink.on_event(events[revision])
                    self.schedule_bookmarks()


def is_away(error: Exception) -> bool:
    return not isinstance(error, EtcdError) or error.code in AWAY


def request_of(message: Request | WatchRequest | Access) -> Any:
    if isinstance(message, Access):
        return message.asked
    return message.request if isinstance(message, WatchRequest) else message
