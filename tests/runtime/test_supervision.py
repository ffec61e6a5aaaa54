"""Crashes, restarts, stops, hosts."""

import asyncio
import gc
import weakref
from typing import Any, ClassVar

import pytest

from kubeloop.runtime.actor import Actor, ActorStopped, RestartLimitExceeded
from kubeloop.runtime.simulation import simulate
from kubeloop.runtime.supervisor import RestartPolicy, judge
from kubeloop.runtime.system import System


class Worker(Actor):
    """Notes what happens to it in `story`; crashes when asked to."""

    def __init__(self, story: list[str], on_stop_seconds: float = 0) -> None:
        self.story = story
        self.on_stop_seconds = on_stop_seconds

    async def on_start(self) -> None:
        self.story.append("start")
        self.defer(lambda: self.story.append("first deferred"))
        self.defer(lambda: self.story.append("last deferred"))

    async def on_message(self, message: Any) -> Any:
        match message:
            case "crash":
                raise ValueError("boom")
            case "crash in child":
                self.spawn(self.crash_later)
            case "child":
                self.spawn(self.child)
            case ("wait", seconds):
                await self.context.clock.sleep(seconds)
                self.story.append("waited")
        return message

    async def crash_later(self) -> None:
        await self.context.clock.sleep(1)
        raise ValueError("child boom")

    async def child(self) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            self.story.append("child ended")

    async def on_stop(self) -> None:
        await self.context.clock.sleep(self.on_stop_seconds)
        self.story.append("on_stop")


class ConcurrentWorker(Worker):
    concurrent: ClassVar[bool] = True


both = pytest.mark.parametrize("kind", [Worker, ConcurrentWorker])
DEFERRED = ["last deferred", "first deferred"]


def run(scenario: Any, **options: Any) -> Any:
    async def main() -> Any:
        async with System(**options) as system:
            return await scenario(system)

    return simulate(main(), seed=1)


async def refused(ask: Any) -> str:
    with pytest.raises(ActorStopped) as caught:
        await ask
    return str(caught.value)


@both
def test_a_crash_in_a_handler_answers_actor_stopped_and_a_new_life_follows(kind: type[Worker]) -> None:
    async def scenario(system: System) -> None:
        story: list[str] = []
        ref = await system.start(lambda: kind(story), name="worker", host="a")
        assert "boom" in await refused(ref.ask("crash"))
        assert "does not run" in await refused(ref.ask("hello"))
        await asyncio.sleep(0.2)
        assert await ref.ask("hello") == "hello"
        assert story == ["start", *DEFERRED, "start"]
        (statistics,) = system.statistics()
        assert (statistics.state, statistics.restarts) == ("running", 1)

    run(scenario)


@both
def test_a_crash_in_a_child_crashes_the_actor(kind: type[Worker]) -> None:
    async def scenario(system: System) -> None:
        story: list[str] = []
        ref = await system.start(lambda: kind(story), name="worker", host="a")
        await ref.ask("child")
        await ref.ask("crash in child")
        await asyncio.sleep(2)
        assert story == ["start", *DEFERRED, "child ended", "start"]

    run(scenario)


@both
def test_a_crash_answers_every_pending_ask(kind: type[Worker]) -> None:
    async def scenario(system: System) -> None:
        ref = await system.start(lambda: kind([]), name="worker", host="a")
        answers = [system.spawn(refused, ref.ask(("wait", 5))) for _ in range(3)]
        await asyncio.sleep(1)
        system.crash("worker")
        for answer in answers:
            assert await answer == "worker crashed"
        assert system.clock.monotonic() == 1

    run(scenario)


def test_what_is_told_before_a_crash_is_lost_with_it() -> None:
    async def scenario(system: System) -> None:
        story: list[str] = []
        ref = await system.start(lambda: Worker(story), name="worker", host="a")
        for message in ("crash", ("wait", 0)):
            ref.tell_nowait(message)
        await asyncio.sleep(5)
        assert story == ["start", *DEFERRED, "start"]

    run(scenario)


@both
def test_timers_of_a_dead_life_do_not_ring(kind: type[Worker]) -> None:
    async def scenario(system: System) -> None:
        story: list[str] = []
        workers: list[Worker] = []

        def factory() -> Worker:
            workers.append(kind(story))
            return workers[-1]

        await system.start(factory, name="worker", host="a")
        workers[0].tell_later(1, ("wait", 0))
        system.crash("worker")
        await asyncio.sleep(5)
        assert len(workers) == 2
        assert "waited" not in story

    run(scenario)


def test_a_dead_actor_cannot_speak_spawn_or_set_timers() -> None:
    async def scenario(system: System) -> None:
        worker = Worker([])
        await system.start(lambda: worker, name="worker", host="a")
        other = await system.start(lambda: Worker([]), name="other", host="a")
        mine = worker.ref("other")
        assert await mine.ask("hello") == "hello"
        await system.stop("worker")
        assert "holder" in await refused(mine.ask("hello"))
        for attempt in (
            lambda: mine.tell_nowait("hello"),
            lambda: worker.spawn(worker.child),
            lambda: worker.tell_later(1, "hello"),
        ):
            with pytest.raises(ActorStopped):
                attempt()
        assert await other.ask("hello") == "hello"

    run(scenario)


def test_restarts_back_off() -> None:
    policy = RestartPolicy(initial_seconds=1, max_seconds=4, factor=2, restarts_max=10, window_seconds=1000)

    async def scenario(system: System) -> None:
        starts: list[float] = []

        class Doomed(Worker):
            async def on_start(self) -> None:
                starts.append(system.clock.monotonic())
                if len(starts) > 1:
                    raise ValueError("does not come up")

        await system.start(lambda: Doomed([]), name="doomed", host="a", restart=policy)
        system.crash("doomed")
        await asyncio.sleep(16)
        assert starts == [0, 1, 3, 7, 11, 15]

    run(scenario)


def test_the_supervisor_gives_up_after_the_limit_and_the_system_ends_with_the_reason() -> None:
    story: list[str] = []

    async def scenario(system: System) -> None:
        policy = RestartPolicy(restarts_max=2)
        await system.start(lambda: Worker(story), name="bystander", host="a")
        ref = await system.start(lambda: Worker([]), name="worker", host="a", restart=policy)
        for _ in range(3):
            await refused(ref.ask("crash"))
            await asyncio.sleep(5)
        story.append("not reached")

    with pytest.raises(RestartLimitExceeded, match=r"worker crashed 3 times .* at most 2 .*boom") as caught:
        run(scenario)
    assert isinstance(caught.value.__cause__, ValueError)
    assert story == ["start", *DEFERRED]


def test_killing_from_outside_does_not_count_towards_the_limit() -> None:
    async def scenario(system: System) -> None:
        ref = await system.start(lambda: Worker([]), name="worker", host="a", restart=RestartPolicy(restarts_max=1))
        for _ in range(5):
            system.crash("worker")
            await asyncio.sleep(60)
        assert await ref.ask("hello") == "hello"

    run(scenario)


def test_judge_forgets_crashes_that_are_older_than_the_window() -> None:
    policy = RestartPolicy(initial_seconds=1, factor=2, restarts_max=2, window_seconds=10)
    assert judge(policy, 100.0, (95.0, 96.0), (95.0, 96.0), own_failure=True).delay_seconds is None
    verdict = judge(policy, 100.0, (89.0, 96.0), (89.0, 96.0), own_failure=True)
    assert verdict.delay_seconds == 2
    assert verdict.failures == (96.0, 100.0)
    assert judge(policy, 100.0, (95.0, 96.0), (95.0, 96.0), own_failure=False).delay_seconds == 4


def test_an_on_start_that_fails_raises_from_start_and_leaves_nothing() -> None:
    story: list[str] = []

    class Doomed(Worker):
        async def on_start(self) -> None:
            await super().on_start()
            self.spawn(self.child)
            await asyncio.sleep(1)
            raise ValueError("no")

    async def scenario(system: System) -> None:
        with pytest.raises(ValueError, match="no"):
            await system.start(lambda: Doomed(story), name="worker", host="a")
        assert system.statistics()[0].state == "stopped"
        await system.start(lambda: Worker([]), name="worker", host="a")

    run(scenario)
    assert story == ["start", *DEFERRED, "child ended"]


def test_a_name_is_taken_once() -> None:
    async def scenario(system: System) -> None:
        await system.start(lambda: Worker([]), name="worker", host="a")
        with pytest.raises(ValueError, match="'worker' is running already"):
            await system.start(lambda: Worker([]), name="worker", host="b")
        with pytest.raises(ValueError, match="no actor named 'other'"):
            system.crash("other")

    run(scenario)


def test_a_stop_finishes_the_message_in_hand_and_answers_the_others_with_actor_stopped() -> None:
    async def scenario(system: System) -> None:
        story: list[str] = []
        ref = await system.start(lambda: Worker(story), name="worker", host="a")
        in_hand = system.spawn(ref.ask, ("wait", 5))
        waiting = system.spawn(refused, ref.ask("hello"))
        await asyncio.sleep(1)
        await system.stop("worker")
        assert await in_hand == ("wait", 5)
        assert await waiting == "worker stopped"
        assert story == ["start", "waited", "on_stop", *DEFERRED]
        assert system.statistics()[0].state == "stopped"
        await system.stop("worker")

    run(scenario)


def test_a_stop_cancels_children_after_on_stop_and_waits_for_them() -> None:
    async def scenario(system: System) -> None:
        story: list[str] = []
        ref = await system.start(lambda: Worker(story, on_stop_seconds=3), name="worker", host="a")
        await ref.ask("child")
        await system.stop("worker")
        assert story == ["start", "on_stop", *DEFERRED, "child ended"]
        assert system.clock.monotonic() == 3

    run(scenario)


def test_a_stop_of_a_concurrent_actor_answers_what_is_in_flight_with_actor_stopped() -> None:
    async def scenario(system: System) -> None:
        ref = await system.start(lambda: ConcurrentWorker([]), name="worker", host="a")
        pending = system.spawn(refused, ref.ask(("wait", 1000)))
        await asyncio.sleep(1)
        await system.stop("worker")
        assert await pending == "worker stopped"
        assert system.clock.monotonic() == 1

    run(scenario)


def test_a_stop_does_not_wait_for_ever() -> None:
    async def scenario(system: System) -> None:
        story: list[str] = []
        ref = await system.start(lambda: Worker(story), name="busy", host="a")
        ref.tell_nowait(("wait", 1e6))
        await system.start(lambda: Worker(story, on_stop_seconds=1e6), name="slow", host="a")
        await asyncio.sleep(1)
        await system.stop("busy")
        await system.stop("slow")
        assert story == ["start", "start", "on_stop", *DEFERRED, *DEFERRED]
        assert system.clock.monotonic() < 100

    run(scenario)


def test_an_actor_that_crashes_while_it_is_stopped_stays_stopped() -> None:
    async def scenario(system: System) -> None:
        story: list[str] = []
        ref = await system.start(lambda: Worker(story, on_stop_seconds=10), name="worker", host="a")
        await ref.ask("crash in child")
        await system.stop("worker")
        await asyncio.sleep(100)
        assert story.count("start") == 1
        assert system.statistics()[0].state == "stopped"

    run(scenario)


def test_a_deferred_callback_that_fails_hinders_no_other() -> None:
    async def scenario(system: System) -> None:
        story: list[str] = []
        worker = Worker(story)
        await system.start(lambda: worker, name="worker", host="a")
        worker.defer(lambda: 1 / 0)  # type: ignore[arg-type]
        await system.stop("worker")
        assert story == ["start", "on_stop", *DEFERRED]

    run(scenario)


def test_leaving_the_system_stops_actors_in_reverse_order() -> None:
    story: list[str] = []

    class Named(Actor):
        async def on_stop(self) -> None:
            story.append(self.context.name)

    async def scenario(system: System) -> None:
        for name in ("first", "second", "third"):
            await system.start(Named, name=name, host="a")

    run(scenario)
    assert story == ["third", "second", "first"]


def test_an_error_in_the_body_comes_out_as_it_is_after_a_graceful_stop() -> None:
    story: list[str] = []

    async def scenario(system: System) -> None:
        await system.start(lambda: Worker(story), name="worker", host="a")
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        run(scenario)
    assert story == ["start", "on_stop", *DEFERRED]


def test_a_cancelled_body_ends_everything_without_on_stop() -> None:
    story: list[str] = []

    async def body() -> None:
        async with System() as system:
            ref = await system.start(lambda: Worker(story), name="worker", host="a")
            await ref.ask("child")
            await asyncio.sleep(1000)

    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await body()
        assert len(asyncio.all_tasks()) == 1

    simulate(main(), seed=1)
    assert story == ["start", *DEFERRED, "child ended"]


def test_a_failing_child_of_the_system_ends_it_with_that_error() -> None:
    async def fail() -> None:
        await asyncio.sleep(1)
        raise KeyError("child")

    async def scenario(system: System) -> None:
        system.spawn(fail)
        await asyncio.sleep(1000)

    with pytest.raises(KeyError, match="child"):
        run(scenario)


def test_nothing_is_left_of_a_system() -> None:
    kept: list[Any] = []

    async def scenario(system: System) -> None:
        worker = Worker([])
        kept.append(weakref.ref(worker))
        kept.append(weakref.ref(system.clock.random))
        await system.start(lambda: worker, name="worker", host="a")
        worker.tell_later(1e6, "never")
        worker.spawn(worker.child)

    async def main() -> None:
        async with System() as system:
            await scenario(system)
        del system
        gc.collect()
        assert len(asyncio.all_tasks()) == 1
        assert [ref() for ref in kept] == [None, None]

    simulate(main(), seed=1)


def test_the_actors_of_a_crashed_host_stay_down_until_it_starts_and_start_in_order() -> None:
    async def scenario(system: System) -> None:
        story: list[str] = []

        class Named(Actor):
            async def on_start(self) -> None:
                story.append(self.context.name)

            async def on_message(self, message: Any) -> Any:
                return message

        for name, host in (("a1", "a"), ("b1", "b"), ("a2", "a")):
            await system.start(Named, name=name, host=host)
        ref = system.ref("a1", source_host="b")
        from_a = system.ref("b1", source_host="a")
        story.clear()
        system.crash("a2")
        system.crash_host("a")
        await asyncio.sleep(1000)
        assert [s.state for s in system.statistics()] == ["down", "running", "down"]
        await refused(ref.ask(1))
        await refused(from_a.ask(1))
        with pytest.raises(ActorStopped, match="a is down"):
            await system.start(Named, name="a3", host="a")
        await system.start_host("a")
        assert story == ["a1", "a2"]
        assert await ref.ask(1) == await from_a.ask(1) == 1

    run(scenario)


def test_an_actor_that_was_stopped_does_not_come_back_with_its_host() -> None:
    async def scenario(system: System) -> None:
        await system.start(lambda: Worker([]), name="worker", host="a")
        await system.stop("worker")
        system.crash_host("a")
        await system.start_host("a")
        assert system.statistics()[0].state == "stopped"

    run(scenario)


def test_an_actor_killed_while_it_starts_is_restarted_and_start_says_so() -> None:
    async def scenario(system: System) -> None:
        class Slow(Worker):
            async def on_start(self) -> None:
                await asyncio.sleep(10)

        start = system.spawn(refused, system.start(lambda: Slow([]), name="slow", host="a"))
        await asyncio.sleep(1)
        system.crash("slow")
        assert await start == "slow was killed while it started"
        await asyncio.sleep(11)
        assert system.statistics()[0].state == "running"

    run(scenario)


def test_a_child_can_be_awaited_by_many_and_cancelled() -> None:
    async def scenario(system: System) -> None:
        async def work() -> int:
            await asyncio.sleep(1)
            return 7

        child = system.spawn(work, name="work")
        assert await child == 7
        assert await child == 7
        assert child.done() and repr(child) == "<Child work done>"
        other = system.spawn(work)
        other.cancel()
        with pytest.raises(Exception, match="was cancelled"):
            await other

    run(scenario)
