"""The System: every actor, every host, one task group. Leaving its `async with` ends all of them."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from types import TracebackType
from typing import Any, Literal, Self

from msgspec import Struct

from kubeloop.runtime import garbage
from kubeloop.runtime.actor import Actor, ActorRef, ActorStopped, Context
from kubeloop.runtime.clock import Clock
from kubeloop.runtime.faults import Fault, Injected
from kubeloop.runtime.incarnation import Incarnation
from kubeloop.runtime.limits import STOP_GRACE_SECONDS
from kubeloop.runtime.log import Logger, get_logger
from kubeloop.runtime.network import Network
from kubeloop.runtime.supervisor import RestartPolicy as RestartPolicy
from kubeloop.runtime.supervisor import Supervisor
from kubeloop.runtime.tasks import Child, name_of, start_coroutine

State = Literal["absent", "starting", "running", "stopping", "stopped", "backoff", "down", "failed"]
VIRTUAL_EPOCH_SECONDS = 1_767_225_600.0  # 2026-01-01T00:00:00Z
ALIVE: tuple[State, ...] = ("starting", "running", "backoff")


class ActorStatistics(Struct, frozen=True):
    """One actor at one moment. mailbox: messages that wait; messages: handled in this life; children: tasks it owns."""

    name: str
    host: str
    state: State
    mailbox: int
    restarts: int
    messages: int
    children: int


class Slot:
    """The place of an actor: what outlives its crashes."""

    __slots__ = (
        "crashes",
        "factory",
        "failures",
        "host",
        "live",
        "log",
        "name",
        "policy",
        "restarts",
        "starting",
        "state",
        "system",
        "timer",
    )

    def __init__(self, name: str, system: "System") -> None:
        self.name = name
        self.system = system
        self.host = ""
        self.state: State = "absent"
        self.live: Incarnation | None = None  # takes messages
        self.starting: Incarnation | None = None  # in on_start: told messages wait
        self.factory: Callable[[], Actor] | None = None
        self.policy = DEFAULT_POLICY
        self.restarts = 0
        self.crashes: tuple[float, ...] = ()
        self.failures: tuple[float, ...] = ()
        self.timer: asyncio.TimerHandle | None = None
        self.log: Logger = NO_LOG


class Host:
    """A machine; `ended` while it is down, so that references held by its outside users fall silent."""

    __slots__ = ("ended", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.ended = False


DEFAULT_POLICY = RestartPolicy()
NO_LOG = get_logger()


class System:
    """The supervisors' root.

    clock: by default the wall clock; in a virtual-time loop one that begins at 2026-01-01 with the loop's seed.
    Raises from `async with`: RestartLimitExceeded when an actor crashed too often; what a child of the System raised.
    """

    def __init__(self, *, clock: Clock | None = None, seed: int | None = None) -> None:
        self._clock = clock
        self._seed = seed
        self.clock: Clock
        self.network: Network
        self.loop: asyncio.AbstractEventLoop
        self.supervisor = Supervisor(self)
        self.closing = False
        self._slots: dict[str, Slot] = {}
        self._started: dict[str, Slot] = {}  # in start order
        self._hosts: dict[str, Host] = {}
        self._tasks: dict[asyncio.Task[Any], None] = {}
        self._woken: list[tuple[Incarnation, Child]] | None = None
        self._host_task: asyncio.Task[Any]
        self._failure: Exception | None = None

    async def __aenter__(self) -> Self:
        self.loop = asyncio.get_running_loop()
        virtual = getattr(self.loop, "virtual", False)
        if self._clock is None:
            self._clock = Clock(seed=self._seed, epoch=VIRTUAL_EPOCH_SECONDS if virtual else None)
        self.clock = self._clock
        self.network = Network(self.clock)
        self._delivery = self.clock.stream("delivery") if virtual else None
        task = asyncio.current_task()
        assert task is not None
        self._host_task = task
        garbage.relax()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        try:
            if error is None or isinstance(error, Exception):
                await self._stop_all()
        except asyncio.CancelledError:
            if self._failure is None:
                raise
        finally:
            try:
                await self._end_all()
            finally:
                garbage.restore()
        if self._failure is not None and self._host_task.uncancel() == 0:
            raise self._failure from self._failure.__cause__
        return None

    # actors

    async def start(
        self, factory: Callable[[], Actor], *, name: str, host: str, restart: RestartPolicy = DEFAULT_POLICY
    ) -> ActorRef:
        """Starts an actor, waits for its on_start, and returns a reference as seen from its own host.

        Raises what on_start raises, and the actor is not restarted then; ValueError when that name is taken;
        ActorStopped when the host is down, or the actor is killed meanwhile (then its supervisor restarts it).
        """
        slot = self.slot(name)
        if slot.state not in ("absent", "stopped", "failed"):
            raise ValueError(f"an actor named {name!r} is {slot.state} already")
        if self._host(host).ended or self.closing:
            raise ActorStopped(f"{host} is down" if not self.closing else "the system is closing")
        slot.factory, slot.host, slot.policy = factory, host, restart
        slot.log = get_logger(clock=self.clock, actor=name, host=host)
        slot.restarts, slot.crashes, slot.failures = 0, (), ()
        self._started.pop(name, None)
        self._started[name] = slot
        life = self._new_life(slot)
        errors: list[Exception] = []

        async def on_start() -> None:
            try:
                await life.actor.on_start()
            except Exception as error:
                errors.append(error)

        child = life.spawn(on_start, (), "on_start")
        try:
            await asyncio.wait([child.task])
        finally:
            if not life.ended and (errors or not child.done()):
                slot.starting = None
                slot.state = "stopped"
                life.end(f"{name} did not start")
        if errors:
            raise errors[0]
        if life.ended:
            raise ActorStopped(f"{name} was killed while it started")
        self._opened(slot, life)
        return self.ref(name, source_host=host)

    def boot(self, slot: Slot) -> Child:
        """A new life of an actor, started in the background; a failing on_start is a crash."""
        life = self._new_life(slot)
        return life.spawn(self._boot, (slot, life), "on_start")

    async def _boot(self, slot: Slot, life: Incarnation) -> None:
        await life.actor.on_start()
        if not life.ended:
            self._opened(slot, life)
            slot.log.info("actor_restarted", restarts=slot.restarts)

    def _new_life(self, slot: Slot) -> Incarnation:
        assert slot.factory is not None
        actor = slot.factory()
        life = Incarnation(actor, slot, self)
        actor.context = Context(slot.name, slot.host, self)
        actor.incarnation = life
        slot.starting = life
        slot.state = "starting"
        return life

    def _opened(self, slot: Slot, life: Incarnation) -> None:
        slot.starting = None
        slot.live = life
        slot.state = "running"
        life.open()

    async def stop(self, name: str) -> None:
        """Stops an actor gracefully: the message in hand is finished, waiting ones are answered with ActorStopped, then
        on_stop. Nothing happens when it does not run. What on_stop raises is logged."""
        slot = self._known(name)
        if slot.timer is not None:
            slot.timer.cancel()
            slot.timer = None
        life = slot.live or slot.starting
        slot.state = "stopped" if life is None else "stopping"
        if life is None:
            return
        was_running = life is slot.live
        slot.live = slot.starting = None
        try:
            if was_running:
                await self._finish(life)
        finally:
            if not life.ended:
                slot.state = "stopped"
                tasks = [task for task in life.end(f"{name} stopped") if task is not asyncio.current_task()]
                if tasks:
                    await asyncio.wait(tasks)

    async def _finish(self, life: Incarnation) -> None:
        try:
            if life.busy:
                await life.wait_idle(STOP_GRACE_SECONDS)
            if type(life.actor).on_stop is not Actor.on_stop:
                async with asyncio.timeout(STOP_GRACE_SECONDS):
                    await life.actor.on_stop()
        except Exception as error:
            life.slot.log.exception("actor_stop_failed", exc_info=error)

    def crash(self, name: str) -> None:
        """kill -9: no on_stop, its memory is lost, asks get ActorStopped, deferred callbacks run.

        Its supervisor restarts it with backoff. Nothing happens when it does not run.
        """
        slot = self._known(name)
        life = slot.live or slot.starting
        slot.starting = None
        if life is not None:
            life.crash(None)

    def _known(self, name: str) -> Slot:
        slot = self._started.get(name)
        if slot is None:
            raise ValueError(f"no actor named {name!r} was started")
        return slot

    # hosts

    def crash_host(self, host: str) -> None:
        """The power goes: its actors crash in their start order and stay down, its connections are cut."""
        self._host(host).ended = True
        for slot in self._on(host):
            if slot.timer is not None:
                slot.timer.cancel()
                slot.timer = None
            life = slot.live or slot.starting
            slot.starting = None
            if slot.state in ALIVE:
                slot.state = "down"
            if life is not None:
                life.end(f"{host} crashed")
        self.network.host_down(host)

    async def start_host(self, host: str) -> None:
        """Restarts the actors that went down with the host, each after the one before has started (or crashed)."""
        self._host(host).ended = False
        self.network.host_up(host)
        for slot in self._on(host):
            if slot.state == "down":
                slot.restarts += 1
                await asyncio.wait([self.boot(slot).task])

    def _on(self, host: str) -> list[Slot]:
        return [slot for slot in self._started.values() if slot.host == host]

    def _host(self, name: str) -> Host:
        host = self._hosts.get(name)
        if host is None:
            host = self._hosts[name] = Host(name)
        return host

    def inject(self, fault: Fault) -> Injected:
        """Applies a fault (see runtime.faults); the handle's heal() ends it."""
        return Injected(fault, fault.apply(self))

    # references, tasks, numbers

    def slot(self, name: str) -> Slot:
        slot = self._slots.get(name)
        if slot is None:
            slot = self._slots[name] = Slot(name, self)
        return slot

    def ref(self, name: str, *, source_host: str) -> ActorRef:
        """An actor, started or not yet, as seen from a host."""
        return ActorRef(self.slot(name), self._host(source_host), source_host)

    def spawn(self, function: Callable[..., Awaitable[Any]], *args: Any, name: str = "") -> Child:
        """A child task of the System. Its exception ends the System."""
        if self.closing:
            raise ActorStopped("the system is closing")
        child = Child(name or name_of(function))
        child._task = self.create_task(start_coroutine(function, args), child.name)
        child._task.add_done_callback(self._child_ended)
        return child

    def _child_ended(self, task: "asyncio.Task[Any]") -> None:
        self.task_ended(task)
        if not task.cancelled() and isinstance(error := task.exception(), Exception):
            self.fail(error)

    def create_task(self, coroutine: Coroutine[Any, Any, Any], name: str) -> "asyncio.Task[Any]":
        """The one place where tasks are made, the one group that owns them. Whoever calls it calls task_ended."""
        task = self.loop.create_task(coroutine, name=name)
        self._tasks[task] = None
        return task

    def task_ended(self, task: "asyncio.Task[Any]") -> None:
        del self._tasks[task]

    def wake(self, life: Incarnation, child: Child) -> None:
        """A mailbox got its first message. In virtual time the seed decides who of those woken together runs first."""
        if self._delivery is None:
            if life.concurrent:
                self.loop.call_soon(life.start_drain, child)
            else:
                life.start_drain(child)
        elif self._woken is None:
            self._woken = [(life, child)]
            self.loop.call_soon(self._start_drains)
        else:
            self._woken.append((life, child))

    def _start_drains(self) -> None:
        woken, self._woken = self._woken or [], None
        if self._delivery is not None and len(woken) > 1:
            self._delivery.shuffle(woken)
        for life, child in woken:
            life.start_drain(child)

    def fail(self, error: Exception) -> None:
        """Ends the System: what runs in its `async with` is cancelled, and that raises the (first) error."""
        if self._failure is None and not self.closing:
            self._failure = error
            self._host_task.cancel()

    def statistics(self) -> tuple[ActorStatistics, ...]:
        """Every actor that was ever started, in start order."""
        return tuple(_statistics(slot) for slot in self._started.values())

    # the end

    async def _stop_all(self) -> None:
        for name in reversed(list(self._started)):
            await self.stop(name)

    async def _end_all(self) -> None:
        """Ends what still lives, and waits until every task is over, even when cancelled meanwhile."""
        self.closing = True
        for slot in reversed(list(self._started.values())):
            life = slot.live or slot.starting
            slot.starting = None
            if slot.timer is not None:
                slot.timer.cancel()
                slot.timer = None
            if life is not None:
                slot.state = "stopped"
                life.end("the system ended")
        cancelled: asyncio.CancelledError | None = None
        for task in list(self._tasks):
            task.cancel()
        while self._tasks:
            try:
                await asyncio.wait(list(self._tasks))
            except asyncio.CancelledError as error:
                cancelled = error
                for task in list(self._tasks):
                    task.cancel()
        if cancelled is not None:
            raise cancelled


def _statistics(slot: Slot) -> ActorStatistics:
    life = slot.live or slot.starting
    if life is None:
        return ActorStatistics(slot.name, slot.host, slot.state, 0, slot.restarts, 0, 0)
    mailbox = 0 if life.mailbox is None else len(life.mailbox)
    return ActorStatistics(slot.name, slot.host, slot.state, mailbox, slot.restarts, life.handled, len(life.children))
