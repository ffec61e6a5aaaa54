"""The base of every controller: what it watches, whose key an event queues, and one `reconcile(key)`.

    class MyController(Controller):
        NAME = "my-controller"
        RESOURCE = "configmaps"            # its own objects: each change queues "namespace/name"
        OWNS = ("pods",)                   # dependents: each change queues the controller owner's key

        async def reconcile(self, key: str) -> Result | None:
            ...look at the world, write what differs, return

Handlers look at an event only to find keys; `reconcile` looks at the world only. An exception means again with backoff.
Informers are shared by all controllers of one manager. A controller at rest owns no task and no timer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, ClassVar

from kubeloop.actors.api import meta
from kubeloop.actors.api.errors import StatusError
from kubeloop.actors.api.resources import ResourceType, resource_for
from kubeloop.actors.apiserver.messages import UserInfo
from kubeloop.actors.client.client import Client
from kubeloop.actors.client.events import EventRecorder
from kubeloop.actors.client.informer import Informer, InformerFactory
from kubeloop.actors.client.reconcile import ReconcileLoop, Result
from kubeloop.actors.controller_manager import indexes
from kubeloop.runtime.actor import Actor
from kubeloop.runtime.clock import Clock
from kubeloop.runtime.log import Logger
from kubeloop.runtime.workqueue import WorkQueue

NAMESPACE = "kube-system"  # of the controllers' service accounts

# Events that only move numbers of a status are gathered: after a look at N objects the next look waits N times this.
GATHER_SECONDS_PER_OBJECT = 20e-6
GATHER_FREE_OBJECTS = 100
GATHER_SECONDS_MAX = 1.0
# A pod that is lost is replaced sooner: together with those that are lost while a look would take.
URGENT_SECONDS_PER_OBJECT = 2e-6

STORED_RESOURCES = ResourceType(  # see kubeloop.actors.apiserver.stored_resources
    group="internal.kubeloop.dev",
    version="v1",
    kind="StoredResource",
    plural="storedresources",
    singular="storedresource",
    namespaced=False,
)


ChangeHandler = Callable[[Any | None, Any | None], None]
OwnerKind = tuple[str, str]
"""apiVersion and kind of a controller owner."""


class _Owned:
    """Handlers of one resource's changes by the kind of the owner that controls the object."""

    __slots__ = ("handlers",)

    def __init__(self) -> None:
        self.handlers: dict[OwnerKind, list[ChangeHandler]] = {}

    def on_change(self, old: Any | None, new: Any | None) -> None:
        after = meta.controller_of(new) if new is not None else None
        before = meta.controller_of(old) if old is not None else None
        if before is None and after is None:
            return
        kinds = dict.fromkeys((one.api_version or "", one.kind or "") for one in (after, before) if one is not None)
        for kind in kinds:
            for handler in self.handlers.get(kind, ()):
                handler(old, new)


class ControllerContext:
    """What the manager hands to its controllers: the client, shared informers, time, and a place for child tasks.

    An informer of a resource that holds no objects costs nothing: it starts with the first one. Our API server tells
    (`signal` lists the names of resources that hold objects); with another API server all start at once.
    """

    def __init__(self, actor: Actor, client: Client) -> None:
        self.actor = actor
        self.client = client
        self.clock: Clock = actor.context.clock
        self.host: str = actor.context.host
        self.log: Logger = actor.context.log
        self.informers = InformerFactory(client, actor, self.clock)
        self.signal: Informer[Any] | None = None
        self._starting: dict[Informer[Any], None] = {}
        self._shared: dict[str, Informer[Any]] = {}
        self._timers: dict[int, asyncio.TimerHandle] = {}
        self._timer_number = 0
        self._owned: dict[str, _Owned] = {}
        actor.defer(self._cancel_timers)
        actor.defer(self.informers.stop)

    def client_of(self, account: str) -> Client:
        """For one controller: in process under its own account, as with --use-service-account-credentials."""
        if self.client.user is None:
            return self.client
        groups = ("system:serviceaccounts", f"system:serviceaccounts:{NAMESPACE}", "system:authenticated")
        return self.client.acting_as(UserInfo(f"system:serviceaccount:{NAMESPACE}:{account}", groups))

    # informers

    def informer(self, resource: Any) -> Informer[Any]:
        type_ = resource if isinstance(resource, ResourceType) else resource_for(resource)
        informer = self.informers.informer(type_)
        self._shared[type_.name] = informer
        return informer

    def index(self, resource: str, name: str, function: Callable[[Any], Sequence[str]]) -> Informer[Any]:
        """The shared informer of `resource`, with that index on it; asking twice is asking once."""
        informer = self.informer(resource)
        informer.add_index(name, function, reads=indexes.READS.get(function))
        return informer

    def watch_owned(self, resource: str, kind: OwnerKind, handler: ChangeHandler) -> Informer[Any]:
        """`handler(old, new)` for objects controlled by that kind of owner, before or after the change.

        The controllers of one resource share one look at who the owner is: most objects concern one of them or none.
        """
        informer = self.informer(resource)
        owned = self._owned.get(resource)
        if owned is None:
            owned = self._owned[resource] = _Owned()
            informer.add_handler(owned.on_change)
        owned.handlers.setdefault(kind, []).append(handler)
        return informer

    async def start(self) -> None:
        """Fills the informers of every resource that holds objects; the others follow with their first object."""
        try:
            await self.client.list(STORED_RESOURCES)
        except StatusError:
            pass  # an API server that does not tell
        else:
            self.signal = self.informers.informer(STORED_RESOURCES)
            self.signal.add_handler(self._on_stored)
            await self.start_informer(self.signal)
        for name, informer in list(self._shared.items()):
            if self.holds_objects(name):
                await self.start_informer(informer)

    def holds_objects(self, resource: str) -> bool:
        """False for a resource, "plural.group", that is known to be empty."""
        return self.signal is None or self.signal.get(resource) is not None

    async def start_informer(self, informer: Informer[Any]) -> None:
        """Returns when it is filled; starting twice is starting once."""
        if informer in self._starting:
            await informer.wait_for_sync()
        else:
            self._starting[informer] = None
            await informer.start()

    def discard(self, name: str) -> None:
        """Nobody serves that resource any more."""
        informer = self._shared.pop(name)
        self._starting.pop(informer, None)
        self.informers.discard(informer)

    def _on_stored(self, old: Any | None, new: Any | None) -> None:
        name = meta.name(new) if new is not None else ""
        informer = self._shared.get(name)
        if old is None and informer is not None and informer not in self._starting:
            self.spawn(self.start_informer, informer, name=f"informer {name}")

    # time and tasks

    def call_later(self, delay_seconds: float, callback: Callable[..., None], *args: Any) -> asyncio.TimerHandle:
        """A timer that ends with the actor."""
        self._timer_number += 1
        number = self._timer_number

        def run() -> None:
            self._timers.pop(number, None)
            callback(*args)

        handle = self.clock.call_later(delay_seconds, run)
        self._timers[number] = handle
        return handle

    def spawn(self, function: Callable[..., Awaitable[Any]], *args: Any, name: str) -> Any:
        return self.actor.spawn(function, *args, name=name)

    def _cancel_timers(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()


class Controller:
    """One level-triggered loop; see the module's docstring."""

    NAME: ClassVar[str]
    ON_BY_DEFAULT: ClassVar[bool] = True
    RESOURCE: ClassVar[str] = ""
    OWNS: ClassVar[Sequence[str]] = ()
    ACCOUNT: ClassVar[str] = ""  # its service account in kube-system, default NAME
    COMPONENT: ClassVar[str] = ""  # the source of its events, default NAME
    WORKERS_MAX: ClassVar[int] = 5

    def __init__(self, context: ControllerContext) -> None:
        self.context = context
        self.client = context.client_of(self.ACCOUNT or self.NAME)
        self.clock = context.clock
        self.events = EventRecorder(self.client, self.COMPONENT or self.NAME, "", context.clock, spawner=context.actor)
        self.queue: WorkQueue = WorkQueue(context.clock, name=self.NAME)
        self.log = context.log.bind(controller=self.NAME)
        self._early: dict[str, None] = {}
        self._started = False
        own = resource_for(self.RESOURCE) if self.RESOURCE else None
        self._own_kind = own.kind if own is not None else ""
        self._own_api_version = "" if own is None else f"{own.group}/{own.version}" if own.group else own.version

    def set_up(self) -> None:
        """Declares watches. Extend it for watches beyond RESOURCE and OWNS; runs before any informer starts."""
        if self.RESOURCE:
            self.informer = self.watch(self.RESOURCE, self.on_own)
        for resource in self.OWNS:
            self.watch_owned(resource, self.on_owned)

    async def reconcile(self, key: str) -> Result | None:
        """Makes the world as the object `key` wants it. The object may be gone."""
        raise AssertionError(f"{self.NAME} queues keys but has no reconcile")

    def start(self) -> None:
        """All caches are filled: begin with what they showed."""
        loop = ReconcileLoop(
            self.NAME, self.reconcile, queue=self.queue, spawner=self.context.actor, workers_max=self.WORKERS_MAX
        )
        self.loop = loop
        self.context.actor.defer(self.queue.shut_down)
        self._started = True
        early, self._early = self._early, {}
        for key in early:
            self.queue.add(key)

    # Watches

    def watch(self, resource: str, handler: Callable[[Any | None, Any | None], None]) -> Informer[Any]:
        """Calls `handler(old, new)` for each change: old None for a new object, new None for one that is gone."""
        informer = self.context.informer(resource)
        informer.add_handler(handler)
        return informer

    def watch_owned(self, resource: str, handler: Callable[[Any | None, Any | None], None]) -> Informer[Any]:
        """As `watch`, but only changes of objects whose controller is, or was, one of this controller's kind."""
        return self.context.watch_owned(resource, (self._own_api_version, self._own_kind), handler)

    def on_own(self, old: Any | None, new: Any | None) -> None:
        self.enqueue(meta.key(new if new is not None else old))

    def on_owned(self, old: Any | None, new: Any | None) -> None:
        """Queues the controller owner, the old one too when it changed hands."""
        keys = dict.fromkeys(self.owner_key(obj) for obj in (old, new) if obj is not None)
        for key in keys:
            if key:
                self.enqueue(key)

    def owner_key(self, obj: Any) -> str:
        """The key of the object's controller, when that is of this controller's kind; else ""."""
        owner = meta.controller_of(obj)
        if owner is None or owner.kind != self._own_kind or owner.api_version != self._own_api_version:
            return ""
        namespace = meta.namespace(obj)
        return f"{namespace}/{owner.name}" if namespace else owner.name or ""

    # The queue

    def enqueue(self, key: str) -> None:
        """Reconcile it as soon as possible."""
        if self._started:
            self.queue.add(key)
        else:
            self._early[key] = None

    def enqueue_after(self, key: str, delay_seconds: float) -> None:
        self.queue.add_after(key, delay_seconds)

    def enqueue_gathered(self, key: str, objects: int, per_object: float = GATHER_SECONDS_PER_OBJECT) -> None:
        """Reconcile it soon: at once when a look costs few `objects`, else with the events of the next while."""
        delay = min(GATHER_SECONDS_MAX, (objects - GATHER_FREE_OBJECTS) * per_object)
        if delay <= 0:
            self.enqueue(key)
        else:
            self.queue.add_after(key, delay)


def split_key(key: str) -> tuple[str, str]:
    """(namespace, name); namespace "" for what has none."""
    namespace, _, name = key.rpartition("/")
    return namespace, name
