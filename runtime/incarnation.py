"""One life of an actor: from its start until it stops or crashes. A restart makes a new one.

An idle life owns no task, no future and no mailbox. What it does own when it is busy is kept here, so that its end
finds everything: messages that wait, asks without an answer, child tasks, timers, deferred callbacks.
"""

import asyncio
import itertools
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import TYPE_CHECKING, Any

from kubeloop.runtime.errors import ActorStopped, MailboxFull, ReplyError, Unreachable
from kubeloop.runtime.later import Later
from kubeloop.runtime.limits import DRAIN_MESSAGES_MAX
from kubeloop.runtime.mailbox import Ask, Mailbox, fail
from kubeloop.runtime.tasks import Child, name_of, start_coroutine

if TYPE_CHECKING:
    from kubeloop.runtime.actor import Actor
    from kubeloop.runtime.system import Slot, System

TIMERS_SWEEP_MIN = 64


class Incarnation:
    __slots__ = (
        "_deferred",
        "_drain",
        "_in_hand",
        "_timer_numbers",
        "_timers",
        "_timers_sweep",
        "actor",
        "children",
        "concurrent",
        "ended",
        "handle",
        "handled",
        "in_flight",
        "in_flight_max",
        "mailbox",
        "slot",
        "started",
        "system",
    )

    def __init__(self, actor: "Actor", slot: "Slot", system: "System") -> None:
        self.actor = actor
        self.slot = slot
        self.system = system
        self.concurrent = actor.concurrent
        self.handle = actor.on_message
        self.handled = 0  # messages taken in hand
        self.in_flight = 0  # messages of a concurrent actor that wait for something
        self.in_flight_max = actor.mailbox_messages_max
        self.started = False
        self.ended = False
        self.mailbox: Mailbox | None = None
        self.children: dict[asyncio.Task[Any], Child] = {}
        self._timer_numbers = itertools.count()
        self._drain: Child | None = None
        self._in_hand: Ask | None = None
        self._timers: dict[int, asyncio.TimerHandle] | None = None
        self._timers_sweep = TIMERS_SWEEP_MIN
        self._deferred: list[Callable[[], None]] | None = None

    # messages come in

    def put_nowait(self, message: Any) -> None:
        """Raises ActorStopped, MailboxFull."""
        if self.ended:
            raise ActorStopped(f"{self.slot.name} does not run")
        mailbox = self.mailbox
        if mailbox is None:
            mailbox = self.mailbox = Mailbox(self.slot.name, self.actor.mailbox_messages_max)
        mailbox.put_nowait(message)
        if self._drain is None and self.started:
            self._wake()

    async def put(self, message: Any) -> None:
        """Waits for room. Raises ActorStopped."""
        while True:
            try:
                self.put_nowait(message)
                return
            except MailboxFull:
                assert self.mailbox is not None
                await self.mailbox.wait_for_room()

    async def ask(self, message: Any, source_host: str) -> Any:
        """The answer of on_message. Raises its ReplyError; ActorStopped when this life ends, Unreachable when cut."""
        if not self.concurrent or self.in_flight >= self.in_flight_max:
            return await self._ask_through_mailbox(message, source_host)
        self.handled += 1
        coroutine = self.handle(message)
        try:
            waits_for = coroutine.send(None)
        except StopIteration as done:
            answer = done.value
            return await self.answered(answer.future, source_host) if type(answer) is Later else answer
        except ReplyError:
            raise
        except Exception as error:
            self.crash(error)
            raise ActorStopped(f"{self.slot.name} crashed: {error!r}") from error
        return await self.answer_later(coroutine, waits_for, source_host)

    async def _ask_through_mailbox(self, message: Any, source_host: str) -> Any:
        if self._drain is not None and not self.concurrent and asyncio.current_task() is self._drain._task:
            raise RuntimeError(f"{self.slot.name} asks itself while it handles a message: it would wait for ever")
        ask = Ask(message, self.system.loop.create_future())
        await self.put(ask)
        return await self.answered(ask.reply, source_host)

    async def answer_later(self, coroutine: Coroutine[Any, Any, Any], waits_for: Any, source_host: str) -> Any:
        """Runs the rest of a handler that was driven to its first suspension as a child, and waits for its answer."""
        if self.ended:
            coroutine.close()
            raise ActorStopped(f"{self.slot.name} ended before it answered")
        reply: asyncio.Future[Any] = self.system.loop.create_future()
        child = self._spawn_rest(coroutine, waits_for, reply)
        try:
            return await self.answered(reply, source_host)
        except (asyncio.CancelledError, Unreachable):
            child.cancel()  # nobody waits for the answer any more
            raise

    async def answered(self, reply: "asyncio.Future[Any]", source_host: str) -> Any:
        """Waits for the reply, on a connection that can be cut when the asker is on another host."""
        host = self.slot.host
        if source_host == host:
            return await reply

        def on_cut() -> None:
            fail(reply, Unreachable(f"the connection from {source_host} to {host} was cut"))

        connection = self.system.network.open(source_host, host, on_cut)
        try:
            return await reply
        finally:
            connection.close()

    def _spawn_rest(
        self, coroutine: Coroutine[Any, Any, Any], waits_for: Any, reply: "asyncio.Future[Any] | None"
    ) -> Child:
        self.in_flight += 1
        return self._adopt(self._rest(coroutine, waits_for, reply), Child("message", reply))

    async def _rest(
        self, coroutine: Coroutine[Any, Any, Any], waits_for: Any, reply: "asyncio.Future[Any] | None"
    ) -> None:
        try:
            answer = await _resume(coroutine, waits_for)
            if type(answer) is Later:
                answer = await answer.future
        except ReplyError as error:
            self._refuse(reply, error)
        except Exception as error:
            self.crash(error)
        else:
            if reply is not None and not reply.done():
                reply.set_result(answer)
        finally:
            self.in_flight -= 1

    def _pass_on(self, answer: "asyncio.Future[Any]", reply: "asyncio.Future[Any] | None") -> None:
        error: BaseException | None = ActorStopped(f"{self.slot.name} gave no answer")
        if not answer.cancelled():
            error = answer.exception()
        if isinstance(error, ReplyError):
            self._refuse(reply, error)
        elif reply is None or reply.done():
            pass
        elif error is None:
            reply.set_result(answer.result())
        else:
            reply.set_exception(error)

    def _refuse(self, reply: "asyncio.Future[Any] | None", error: ReplyError) -> None:
        if reply is None:
            self.actor.context.log.warning("told_message_refused", error=repr(error))
        else:
            fail(reply, error)

    # messages are handled

    def open(self) -> None:
        """on_start has returned: from now on messages are handled."""
        self.started = True
        if self.mailbox is not None and len(self.mailbox):
            self._wake()

    def _wake(self) -> None:
        child = self._drain = Child("mailbox")
        self.system.wake(self, child)

    def start_drain(self, child: Child) -> None:
        """Called by the loop. A concurrent actor's drain, which seldom waits, becomes a task only when it does."""
        if self.ended:
            return
        if not self.concurrent:
            self._adopt(self._drain_in_order(), child)
            return
        drain = self._drain_concurrent()
        try:
            waits_for = drain.send(None)
        except StopIteration:
            return
        self._adopt(_resumed(drain, waits_for), child)

    async def _drain_in_order(self) -> None:
        in_a_row = 0
        while (mailbox := self.mailbox) is not None and len(mailbox):
            message = mailbox.get()
            self.handled += 1
            try:
                if type(message) is Ask:
                    await self._answer(message)
                else:
                    answer = await self.handle(message)
                    if type(answer) is Later:
                        await answer.future
            except ReplyError as error:
                self._refuse(None, error)
            except Exception as error:
                self.crash(error)
            if self.ended:
                return
            in_a_row += 1
            if in_a_row >= DRAIN_MESSAGES_MAX:
                in_a_row = 0
                await asyncio.sleep(0)
        self._rest_idle()

    async def _answer(self, ask: Ask) -> None:
        if ask.reply.done():
            return  # cancelled while it waited
        self._in_hand = ask
        try:
            answer = await self.handle(ask.message)
            if type(answer) is Later:
                answer = await answer.future
        except ReplyError as error:
            fail(ask.reply, error)
        except Exception as error:
            fail(ask.reply, ActorStopped(f"{self.slot.name} crashed: {error!r}"))
            raise
        else:
            if not ask.reply.done():
                ask.reply.set_result(answer)
        finally:
            self._in_hand = None

    async def _drain_concurrent(self) -> None:
        in_a_row = 0
        while (mailbox := self.mailbox) is not None and len(mailbox):
            if self.in_flight >= self.in_flight_max:
                await self._wait_for_flight()
                continue
            message = mailbox.get()
            reply = message.reply if type(message) is Ask else None
            if reply is None or not reply.done():
                self._begin(message.message if reply is not None else message, reply)
            if self.ended:
                return
            in_a_row += 1
            if in_a_row >= DRAIN_MESSAGES_MAX:
                in_a_row = 0
                await asyncio.sleep(0)
        self._rest_idle()

    def _begin(self, message: Any, reply: "asyncio.Future[Any] | None") -> None:
        """Drives one message of a concurrent actor to its end or first suspension."""
        self.handled += 1
        coroutine = self.handle(message)
        try:
            waits_for = coroutine.send(None)
        except StopIteration as done:
            answer = done.value
            if type(answer) is Later:
                answer.future.add_done_callback(lambda future: self._pass_on(future, reply))
            elif reply is not None and not reply.done():
                reply.set_result(answer)
        except ReplyError as error:
            self._refuse(reply, error)
        except Exception as error:
            if reply is not None:
                fail(reply, ActorStopped(f"{self.slot.name} crashed: {error!r}"))
            self.crash(error)
        else:
            if self.ended:
                coroutine.close()
                return
            child = self._spawn_rest(coroutine, waits_for, reply)
            if reply is not None:
                reply.add_done_callback(lambda _: child.cancel() if reply.cancelled() else None)

    async def _wait_for_flight(self) -> None:
        tasks = [task for task, child in self.children.items() if child is not self._drain]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)

    def _rest_idle(self) -> None:
        self._drain = None
        if self.mailbox is not None and self.mailbox.unused:
            self.mailbox = None

    # what this life owns

    def spawn(self, function: Callable[..., Awaitable[Any]], args: tuple[Any, ...], name: str) -> Child:
        """A child task; its exception crashes the actor. Raises ActorStopped when this life is over."""
        if self.ended:
            raise ActorStopped(f"{self.slot.name} does not run")
        return self._adopt(start_coroutine(function, args), Child(name or name_of(function)))

    def begin(self, function: Callable[..., Coroutine[Any, Any, Any]], args: tuple[Any, ...], name: str) -> None:
        """Runs a child in the caller's stack to its first suspension; only one that waits becomes a task."""
        if self.ended:
            raise ActorStopped(f"{self.slot.name} does not run")
        coroutine = function(*args)
        try:
            waits_for = coroutine.send(None)
        except StopIteration:
            return
        except Exception as error:
            self.crash(error)
            return
        if self.ended:
            coroutine.close()
            return
        self._adopt(_resumed(coroutine, waits_for), Child(name or name_of(function)))

    def _adopt(self, coroutine: Coroutine[Any, Any, Any], child: Child) -> Child:
        task = child._task = self.system.create_task(coroutine, f"{self.slot.name}: {child.name}")
        self.children[task] = child
        task.add_done_callback(self._child_ended)
        return child

    def _child_ended(self, task: "asyncio.Task[Any]") -> None:
        del self.children[task]
        self.system.task_ended(task)
        if not task.cancelled() and isinstance(error := task.exception(), Exception):
            self.crash(error)

    def tell_later(self, delay_seconds: float, message: Any) -> asyncio.TimerHandle:
        if self.ended:
            raise ActorStopped(f"{self.slot.name} does not run")
        timers = self._timers
        if timers is None:
            timers = self._timers = {}
        elif len(timers) >= self._timers_sweep:
            for number in [number for number, timer in timers.items() if timer.cancelled()]:
                del timers[number]
            self._timers_sweep = max(TIMERS_SWEEP_MIN, 2 * len(timers))
        number = next(self._timer_numbers)
        timers[number] = timer = self.system.loop.call_later(delay_seconds, self._time_is_up, number, message)
        return timer

    def _time_is_up(self, number: int, message: Any) -> None:
        assert self._timers is not None
        del self._timers[number]
        if self.mailbox is None:
            self.mailbox = Mailbox(self.slot.name, self.actor.mailbox_messages_max)
        self.mailbox.put_always(message)
        if self._drain is None and self.started:
            self._wake()

    def defer(self, callback: Callable[[], None]) -> None:
        if self._deferred is None:
            self._deferred = []
        self._deferred.append(callback)

    # the end

    def crash(self, error: Exception | None) -> None:
        """Ends this life at once; the supervisor decides what follows. `error` None: killed from outside."""
        if self.ended:
            if error is not None:
                self.actor.context.log.exception("ended_actor_failed", exc_info=error)
            return
        self.end(f"{self.slot.name} crashed" + (f": {error!r}" if error is not None else ""))
        self.system.supervisor.crashed(self.slot, error)

    @property
    def busy(self) -> bool:
        return self._drain is not None

    async def wait_idle(self, timeout_seconds: float) -> None:
        """Returns when the message in hand is done, or cancelled because it took too long.

        What waits behind it is answered with ActorStopped.
        """
        if self.mailbox is not None:
            self.mailbox.close(f"{self.slot.name} stopped")
        drain = self._drain
        if drain is not None and drain._task is not None and drain._task is not asyncio.current_task():
            _, late = await asyncio.wait([drain._task], timeout=timeout_seconds)
            if late:
                self.actor.context.log.warning("message_cancelled_by_stop", waited_seconds=timeout_seconds)
                drain.cancel()
                await asyncio.wait([drain._task])

    def end(self, reason: str) -> list["asyncio.Task[Any]"]:
        """Answers, cancels, closes everything. Returns the child tasks that are not over yet."""
        self.ended = True
        if self.slot.live is self:
            self.slot.live = None
        if self.mailbox is not None:
            self.mailbox.close(reason)
            self.mailbox = None
        if self._in_hand is not None:
            fail(self._in_hand.reply, ActorStopped(reason))
        for timer in (self._timers or {}).values():
            timer.cancel()
        self._timers = None
        tasks = []
        for task, child in list(self.children.items()):
            if child.reply is not None:
                fail(child.reply, ActorStopped(reason))
            if not task.done():
                task.cancel()
                tasks.append(task)
        for callback in reversed(self._deferred or ()):
            try:
                callback()
            except Exception as error:
                self.actor.context.log.exception("deferred_callback_failed", exc_info=error)
        self._deferred = None
        return tasks


async def _resumed(coroutine: Coroutine[Any, Any, Any], waits_for: Any) -> Any:
    """`_resume` for a task, which since Python 3.12 takes no generator."""
    return await _resume(coroutine, waits_for)


@types.coroutine
def _resume(coroutine: Coroutine[Any, Any, Any], waits_for: Any) -> Generator[Any, Any, Any]:
    """Awaits a coroutine that was started by hand and stopped at `waits_for`."""
    while True:
        try:
            sent = yield waits_for
        except GeneratorExit:
            coroutine.close()
            raise
        except BaseException as error:
            step: Callable[[Any], Any] = coroutine.throw
            value: Any = error
        else:
            step, value = coroutine.send, sent
        try:
            waits_for = step(value)
        except StopIteration as answer:
            return answer.value
