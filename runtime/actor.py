"""The actor: a process with a name, a host and a mailbox.

A sequential actor (the default) handles one message at a time. A concurrent one handles each at once: asked, its
handler runs inside the asker's call up to its first suspension, so an answer that needs no waiting costs no task and no
future; only the rest of a handler that waits becomes a task. Therefore a concurrent actor's handler must not enter a
cancel scope (anyio.fail_after, asyncio.timeout) before its first suspension: it would bind to the asker's task. Told,
it runs outside of any task until then.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from kubeloop.runtime.clock import Clock
from kubeloop.runtime.errors import ActorStopped as ActorStopped
from kubeloop.runtime.errors import MailboxFull as MailboxFull
from kubeloop.runtime.errors import ReplyError as ReplyError
from kubeloop.runtime.errors import RestartLimitExceeded as RestartLimitExceeded
from kubeloop.runtime.errors import UnknownMessage as UnknownMessage
from kubeloop.runtime.errors import Unreachable as Unreachable
from kubeloop.runtime.incarnation import Incarnation
from kubeloop.runtime.later import Later as Later
from kubeloop.runtime.limits import MAILBOX_MESSAGES_MAX
from kubeloop.runtime.log import Logger, get_logger
from kubeloop.runtime.tasks import Child as Child

if TYPE_CHECKING:
    from kubeloop.runtime.network import Connection, Network
    from kubeloop.runtime.system import Slot, System


class Context:
    """What an actor knows about its surroundings."""

    __slots__ = ("_log", "clock", "host", "name", "system")

    def __init__(self, name: str, host: str, system: "System") -> None:
        self.name = name
        self.host = host
        self.system = system
        self.clock: Clock = system.clock
        self._log: Logger | None = None

    @property
    def network(self) -> "Network":
        return self.system.network

    @property
    def log(self) -> Logger:
        if self._log is None:
            self._log = get_logger(clock=self.clock, actor=self.name, host=self.host)
        return self._log


class Actor:
    concurrent: ClassVar[bool] = False
    mailbox_messages_max: ClassVar[int] = MAILBOX_MESSAGES_MAX
    """Told messages that may wait; also handlers of a concurrent actor that may wait at once."""

    context: Context
    incarnation: Incarnation
    """Both are set before on_start, and not in __init__ yet."""

    async def on_start(self) -> None:
        """Before the first message. What it raises, System.start raises."""

    async def on_message(self, message: Any) -> Any:
        """Handles a message; what it returns answers an ask, a `Later` when it is there.

        Raise ReplyError (UnknownMessage) to answer with an error. Any other exception crashes the actor.
        """
        raise UnknownMessage(message)

    async def on_stop(self) -> None:
        """Graceful stop only, not after a crash. No message comes any more; children still run."""

    def tell_later(self, delay_seconds: float, message: Any) -> asyncio.TimerHandle:
        """Puts a message into the own mailbox after a while, full or not. Called off when the actor ends."""
        return self.incarnation.tell_later(delay_seconds, message)

    def spawn(self, function: Callable[..., Awaitable[Any]], *args: Any, name: str = "") -> Child:
        """A child task that ends with the actor. Its exception crashes the actor."""
        return self.incarnation.spawn(function, args, name)

    def begin(self, function: Callable[..., Coroutine[Any, Any, Any]], *args: Any, name: str = "") -> None:
        """As spawn, but begins at once, in the caller's stack: what never waits costs no task.

        For callbacks of timers. It runs outside of any task until it waits, so it must not enter a cancel scope before.
        """
        self.incarnation.begin(function, args, name)

    def defer(self, callback: Callable[[], None]) -> None:
        """Calls it when the actor stops or crashes, last deferred first, as the OS closes a dead process's sockets."""
        self.incarnation.defer(callback)

    def ref(self, name: str) -> "ActorRef":
        """Another actor as seen from this one's host. It need not run yet; the reference outlives its restarts."""
        incarnation = self.incarnation
        return ActorRef(incarnation.system.slot(name), incarnation, self.context.host)

    @property
    def self_ref(self) -> "ActorRef":
        return self.ref(self.context.name)


class Owner(Protocol):
    """Whoever holds a reference: once it has ended, it says nothing any more."""

    ended: bool


class ActorRef:
    """The address of an actor, seen from a host.

    Its methods raise ActorStopped when the target, or the actor that holds the reference, does not run.
    """

    __slots__ = ("_network", "_owner", "_slot", "_source")

    def __init__(self, slot: "Slot", owner: Owner, source_host: str) -> None:
        self._slot = slot
        self._owner = owner
        self._source = source_host
        self._network = slot.system.network

    @property
    def name(self) -> str:
        return self._slot.name

    @property
    def host(self) -> str:
        """Where the target runs; empty while it was never started."""
        return self._slot.host

    def __repr__(self) -> str:
        return f"<ActorRef {self._slot.name} on {self._slot.host or 'no host'} from {self._source}>"

    async def ask(self, message: Any, timeout_seconds: float | None = None) -> Any:
        """The answer. Raises the handler's ReplyError, ActorStopped, Unreachable, TimeoutError.

        Cancelling it cancels the handler of a concurrent actor; a sequential one drops the message, or ends it unheard.
        """
        slot = self._slot
        life = slot.live
        if life is None or self._owner.ended or not self._network.quiet:
            return await self._with_timeout(self._ask_carefully(message), timeout_seconds)
        if not life.concurrent or life.in_flight >= life.in_flight_max:
            return await self._with_timeout(life.ask(message, self._source), timeout_seconds)
        life.handled += 1
        coroutine = life.handle(message)
        try:
            waits_for = coroutine.send(None)
        except StopIteration as done:
            answer = done.value
            if type(answer) is not Later:
                return answer
            return await self._with_timeout(life.answered(answer.future, self._source), timeout_seconds)
        except ReplyError:
            raise
        except Exception as error:
            life.crash(error)
            raise ActorStopped(f"{slot.name} crashed: {error!r}") from error
        return await self._with_timeout(life.answer_later(coroutine, waits_for, self._source), timeout_seconds)

    async def tell(self, message: Any) -> None:
        """Puts the message into the mailbox, waiting for room. What a bad network loses is lost without a word."""
        if self._network.quiet:
            await self._running().put(message)
        else:
            self.tell_nowait(message)

    def tell_nowait(self, message: Any) -> None:
        """As tell, but raises MailboxFull instead of waiting."""
        life = self._running()
        if self._network.quiet or self._slot.host == self._source:
            life.put_nowait(message)
        else:
            self._network.send(self._source, self._slot.host, self._put_if_running, message)

    def open_connection(self, on_cut: Callable[[], None]) -> "Connection | None":
        """A long-lived connection to the target's host (Network.open); None on one host, where nothing can cut it.

        Raises Unreachable when there is no way now.
        """
        if self._slot.host == self._source:
            return None
        return self._network.open(self._source, self._slot.host, on_cut)

    def _put_if_running(self, message: Any) -> None:
        life = self._slot.live
        try:
            if life is not None:
                life.put_nowait(message)
        except (MailboxFull, ActorStopped):
            pass  # as a datagram that nobody takes

    def _running(self) -> Incarnation:
        if self._owner.ended:
            raise ActorStopped(f"the holder of this reference to {self._slot.name} ended")
        life = self._slot.live or self._slot.starting
        if life is None:
            raise ActorStopped(f"{self._slot.name} does not run")
        return life

    async def _ask_carefully(self, message: Any) -> Any:
        """Every ask that is not between healthy, running actors."""
        slot, network = self._slot, self._network
        if self._owner.ended:
            raise ActorStopped(f"the holder of this reference to {slot.name} ended")
        if self._source == slot.host or network.quiet:
            return await self._askable().ask(message, self._source)
        await network.carry(self._source, slot.host)
        try:
            answer = await self._askable().ask(message, self._source)
        except ReplyError:
            await network.carry(slot.host, self._source)
            raise
        await network.carry(slot.host, self._source)
        return answer

    def _askable(self) -> Incarnation:
        slot = self._slot
        life = slot.live
        if life is None and slot.starting is not None and self._owner is slot.starting:
            life = slot.starting  # an actor that asks itself while it starts
        if life is None:
            raise ActorStopped(f"{slot.name} does not run")
        return life

    @staticmethod
    async def _with_timeout(answer: Awaitable[Any], timeout_seconds: float | None) -> Any:
        if timeout_seconds is None:
            return await answer
        async with asyncio.timeout(timeout_seconds):
            return await answer
