"""Messages: told, asked, refused, cancelled, too many."""

import asyncio
from typing import Any, ClassVar

import pytest

from kubeloop.runtime.actor import Actor, ActorStopped, MailboxFull, ReplyError, UnknownMessage
from kubeloop.runtime.simulation import simulate
from kubeloop.runtime.system import System


class Refused(ReplyError):
    pass


class Echo(Actor):
    """Answers what it is asked; ("wait", seconds) after a while; an exception raises it."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    async def on_message(self, message: Any) -> Any:
        self.heard.append(message)
        match message:
            case Exception():
                raise message
            case ("wait", seconds):
                await self.context.clock.sleep(seconds)
                self.heard.append("waited")
        return message


class ConcurrentEcho(Echo):
    concurrent: ClassVar[bool] = True


both = pytest.mark.parametrize("kind", [Echo, ConcurrentEcho])


def run(scenario: Any, seed: int = 1) -> Any:
    """Runs `scenario(system)` in virtual time."""

    async def main() -> Any:
        async with System() as system:
            return await scenario(system)

    return simulate(main(), seed=seed)


@both
def test_an_ask_is_answered_by_what_the_handler_returns(kind: type[Echo]) -> None:
    async def scenario(system: System) -> None:
        ref = await system.start(kind, name="echo", host="a")
        assert await ref.ask("hello") == "hello"
        assert await ref.ask(("wait", 5)) == ("wait", 5)
        assert system.clock.monotonic() == 5

    run(scenario)


@both
def test_told_messages_are_handled_in_order(kind: type[Echo]) -> None:
    async def scenario(system: System) -> None:
        echo = kind()
        ref = await system.start(lambda: echo, name="echo", host="a")
        for number in range(5):
            ref.tell_nowait(number)
        await ref.tell(5)
        await asyncio.sleep(1)
        assert echo.heard == [0, 1, 2, 3, 4, 5]

    run(scenario)


@both
def test_a_reply_error_is_raised_at_the_asker_and_the_actor_lives_on(kind: type[Echo]) -> None:
    async def scenario(system: System) -> None:
        ref = await system.start(kind, name="echo", host="a")
        with pytest.raises(Refused, match="no"):
            await ref.ask(Refused("no"))
        ref.tell_nowait(Refused("nobody hears this"))
        await asyncio.sleep(1)
        assert system.statistics()[0].restarts == 0
        assert await ref.ask(1) == 1

    run(scenario)


@both
def test_an_unknown_message_is_refused_by_its_type(kind: type[Echo]) -> None:
    class Deaf(Actor):
        concurrent: ClassVar[bool] = kind.concurrent

    async def scenario(system: System) -> None:
        ref = await system.start(Deaf, name="deaf", host="a")
        with pytest.raises(UnknownMessage, match="builtins.int"):
            await ref.ask(1)

    run(scenario)


@both
def test_an_ask_can_time_out(kind: type[Echo]) -> None:
    async def scenario(system: System) -> None:
        ref = await system.start(kind, name="echo", host="a")
        with pytest.raises(TimeoutError):
            await ref.ask(("wait", 5), timeout_seconds=2)
        assert system.clock.monotonic() == 2
        assert await ref.ask(1, timeout_seconds=10) == 1

    run(scenario)


def test_a_sequential_actor_handles_one_message_at_a_time() -> None:
    async def scenario(system: System) -> None:
        ref = await system.start(Echo, name="echo", host="a")
        asks = [system.spawn(ref.ask, ("wait", 1)) for _ in range(3)]
        for ask in asks:
            await ask
        assert system.clock.monotonic() == 3

    run(scenario)


def test_a_concurrent_actor_handles_messages_at_once() -> None:
    async def scenario(system: System) -> None:
        ref = await system.start(ConcurrentEcho, name="echo", host="a")
        asks = [system.spawn(ref.ask, ("wait", 1)) for _ in range(3)]
        for ask in asks:
            await ask
        assert system.clock.monotonic() == 1

    run(scenario)


def test_asking_a_concurrent_actor_that_need_not_wait_costs_no_task_and_no_turn_of_the_loop() -> None:
    class Counting(ConcurrentEcho):
        async def on_message(self, message: Any) -> Any:
            return len(asyncio.all_tasks())

    async def scenario(system: System) -> None:
        ref = await system.start(Counting, name="echo", host="a")
        turned: list[bool] = []
        asyncio.get_running_loop().call_soon(turned.append, True)
        assert await ref.ask(None) == 1
        assert not turned

    run(scenario)


def test_ten_thousand_idle_actors_own_no_task() -> None:
    async def scenario(system: System) -> None:
        refs = [await system.start(Echo, name=f"echo-{n}", host=f"host-{n}") for n in range(10_000)]
        for ref in refs[::100]:
            ref.tell_nowait("hello")
        await asyncio.sleep(1)
        assert len(asyncio.all_tasks()) == 1
        assert sum(statistics.messages for statistics in system.statistics()) == 100
        assert all(slot.live.mailbox is None for slot in map(system.slot, ("echo-0", "echo-1")) if slot.live)

    run(scenario)


def test_a_cancelled_ask_is_not_handled_by_a_sequential_actor() -> None:
    async def scenario(system: System) -> None:
        echo = Echo()
        ref = await system.start(lambda: echo, name="echo", host="a")
        ref.tell_nowait(("wait", 5))
        ask = system.spawn(ref.ask, "too late")
        await asyncio.sleep(1)
        ask.cancel()
        await asyncio.sleep(10)
        assert echo.heard == [("wait", 5), "waited"]

    run(scenario)


def test_cancelling_an_ask_cancels_the_handler_of_a_concurrent_actor() -> None:
    async def scenario(system: System) -> None:
        echo = ConcurrentEcho()
        ref = await system.start(lambda: echo, name="echo", host="a")
        ask = system.spawn(ref.ask, ("wait", 5))
        await asyncio.sleep(1)
        ask.cancel()
        await asyncio.sleep(10)
        assert echo.heard == [("wait", 5)]
        assert system.statistics()[0].children == 0

    run(scenario)


def test_a_full_mailbox_refuses_tell_nowait_and_makes_tell_wait() -> None:
    class Small(Echo):
        mailbox_messages_max: ClassVar[int] = 2

    async def scenario(system: System) -> None:
        echo = Small()
        ref = await system.start(lambda: echo, name="small", host="a")
        await ref.tell(("wait", 5))
        await asyncio.sleep(1)
        ref.tell_nowait(1)
        ref.tell_nowait(2)
        with pytest.raises(MailboxFull, match="small: 2 messages wait, at most 2 may"):
            ref.tell_nowait(3)
        await ref.tell(4)
        assert system.clock.monotonic() == 5
        assert await ref.ask(6) == 6
        assert echo.heard == [("wait", 5), "waited", 1, 2, 4, 6]

    run(scenario)


def test_a_concurrent_actor_handles_no_more_waiting_messages_than_its_limit() -> None:
    class Small(ConcurrentEcho):
        mailbox_messages_max: ClassVar[int] = 2

    async def scenario(system: System) -> None:
        ref = await system.start(Small, name="small", host="a")
        asks = [system.spawn(ref.ask, ("wait", 1)) for _ in range(6)]
        for ask in asks:
            assert await ask == ("wait", 1)
        assert system.clock.monotonic() == 3

    run(scenario)


def test_an_actor_that_does_not_run_answers_actor_stopped() -> None:
    async def scenario(system: System) -> None:
        ref = system.ref("nobody", source_host="a")
        with pytest.raises(ActorStopped, match="nobody does not run"):
            await ref.ask(1)
        with pytest.raises(ActorStopped, match="nobody does not run"):
            ref.tell_nowait(1)
        await system.start(Echo, name="nobody", host="b")
        assert await ref.ask(1) == 1
        assert (ref.name, ref.host) == ("nobody", "b")

    run(scenario)


def test_a_sequential_actor_that_asks_itself_is_told_so() -> None:
    class Narcissus(Actor):
        async def on_message(self, message: Any) -> Any:
            try:
                await self.self_ref.ask("me")
            except RuntimeError as error:
                return str(error)

    async def scenario(system: System) -> None:
        ref = await system.start(Narcissus, name="narcissus", host="a")
        assert "asks itself" in await ref.ask(1)

    run(scenario)


def test_a_concurrent_actor_can_ask_itself_while_it_starts() -> None:
    class Eager(ConcurrentEcho):
        async def on_start(self) -> None:
            self.answer = await self.self_ref.ask("early")

    async def scenario(system: System) -> None:
        eager = Eager()
        await system.start(lambda: eager, name="eager", host="a")
        assert eager.answer == "early"

    run(scenario)


def test_messages_told_to_an_actor_that_starts_wait_for_it() -> None:
    class Slow(Echo):
        async def on_start(self) -> None:
            await self.context.clock.sleep(5)
            self.heard.append("started")

    async def scenario(system: System) -> None:
        slow = Slow()
        start = system.spawn(lambda: system.start(lambda: slow, name="slow", host="a"), name="start")
        await asyncio.sleep(1)
        system.ref("slow", source_host="a").tell_nowait("early")
        await start
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert slow.heard == ["started", "early"]

    run(scenario)


def test_tell_later_brings_a_message_without_a_task_and_can_be_called_off() -> None:
    class Alarm(Echo):
        async def on_start(self) -> None:
            self.tell_later(5, "ring")
            self.tell_later(6, "never").cancel()

    async def scenario(system: System) -> None:
        alarm = Alarm()
        await system.start(lambda: alarm, name="alarm", host="a")
        assert len(asyncio.all_tasks()) == 1
        await asyncio.sleep(4)
        assert alarm.heard == []
        await asyncio.sleep(4)
        assert alarm.heard == ["ring"]

    run(scenario)


def test_cancelled_timers_are_forgotten() -> None:
    async def scenario(system: System) -> None:
        echo = Echo()
        await system.start(lambda: echo, name="echo", host="a")
        for _ in range(10_000):
            echo.tell_later(1000, "never").cancel()
        assert len(echo.incarnation._timers or ()) < 200

    run(scenario)


def test_actors_and_asks_work_in_a_real_loop_as_well() -> None:
    async def main() -> None:
        async with System() as system:
            ref = await system.start(ConcurrentEcho, name="echo", host="a")
            assert await ref.ask("hello") == "hello"
            assert await ref.ask(("wait", 0)) == ("wait", 0)
            sequential = await system.start(Echo, name="sequential", host="a")
            assert await sequential.ask("hello") == "hello"

    asyncio.run(main())


def test_what_begins_inline_becomes_a_child_only_when_it_waits() -> None:
    class Beater(Actor):
        concurrent: ClassVar[bool] = True

        def __init__(self) -> None:
            self.beats: list[tuple[str, float]] = []

        async def beat(self, name: str, seconds: float) -> None:
            self.beats.append((name, 0))
            if seconds:
                await asyncio.sleep(seconds)
                self.beats.append((name, seconds))

        async def fail(self) -> None:
            raise ValueError("beat")

    async def scenario(system: System) -> None:
        beaters = [Beater(), Beater()]
        begun = iter(beaters)
        await system.start(lambda: next(begun), name="beater", host="a")
        beaters[0].begin(beaters[0].beat, "at once", 0.0)
        assert beaters[0].beats == [("at once", 0)]
        assert system.statistics()[0].children == 0
        beaters[0].begin(beaters[0].beat, "waits", 2.0)
        assert system.statistics()[0].children == 1
        await asyncio.sleep(3)
        assert beaters[0].beats[1:] == [("waits", 0), ("waits", 2.0)]
        beaters[0].begin(beaters[0].beat, "cancelled", 60.0)
        beaters[0].begin(beaters[0].fail)
        await asyncio.sleep(61)
        assert beaters[0].beats[3:] == [("cancelled", 0)]
        assert system.statistics()[0].restarts == 1
        with pytest.raises(ActorStopped):
            beaters[0].begin(beaters[0].beat, "too late", 0.0)

    run(scenario)
