"""client-go's semantics: a key is never worked on twice at once, nor lost."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeloop.runtime.backoff import Backoff
from kubeloop.runtime.clock import Clock
from kubeloop.runtime.simulation import simulate
from kubeloop.runtime.system import System
from kubeloop.runtime.workqueue import QueueShutDown, WorkQueue


def run(scenario: Callable[[WorkQueue], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        return await scenario(WorkQueue(Clock(seed=1, epoch=0.0), name="test"))

    return simulate(main(), seed=1)


def test_a_key_added_twice_is_taken_once() -> None:
    async def scenario(queue: WorkQueue) -> None:
        for key in ("a", "b", "a"):
            queue.add(key)
        assert len(queue) == 2
        assert [await queue.get(), await queue.get()] == ["a", "b"]
        assert queue.get_nowait() is None

    run(scenario)


def test_a_key_added_while_it_is_worked_on_comes_back_when_it_is_done() -> None:
    async def scenario(queue: WorkQueue) -> None:
        queue.add("a")
        assert await queue.get() == "a"
        queue.add("a")
        queue.add("a")
        assert queue.get_nowait() is None
        assert queue.processing == 1
        queue.done("a")
        assert await queue.get() == "a"
        queue.done("a")
        assert queue.get_nowait() is None

    run(scenario)


def test_a_key_added_after_a_delay_counts_the_soonest() -> None:
    async def scenario(queue: WorkQueue) -> None:
        queue.add_after("a", 10)
        queue.add_after("a", 5)
        queue.add_after("a", 7)
        assert queue.delayed == 1
        assert await queue.get() == "a"
        assert queue._clock.monotonic() == 5
        queue.done("a")
        await asyncio.sleep(100)
        assert len(queue) == 0
        queue.add_after("b", 0)
        assert queue.get_nowait() == "b"

    run(scenario)


def test_backoff_is_per_key_and_forgotten_on_success() -> None:
    async def scenario(queue: WorkQueue) -> None:
        async def wait() -> float:
            before = queue._clock.monotonic()
            queue.done(await queue.get())
            return round(queue._clock.monotonic() - before, 6)

        waits = []
        for _ in range(4):
            queue.add_rate_limited("a")
            waits.append(await wait())
        assert waits == [0.005, 0.01, 0.02, 0.04]
        assert queue.retries("a") == 4
        queue.add_rate_limited("b")
        assert await wait() == 0.005
        queue.forget("a")
        assert queue.retries("a") == 0
        queue.add_rate_limited("a")
        assert await wait() == 0.005
        for _ in range(30):
            queue.add_rate_limited("a")
            longest = await wait()
        assert longest == 1000

    run(scenario)


def test_backoff_never_overflows() -> None:
    assert Backoff().delay_seconds(10**9) == 1000
    assert Backoff(initial_seconds=0).delay_seconds(5) == 0
    assert Backoff(factor=1.0).delay_seconds(10**9) == 0.005


def test_on_ready_is_called_when_a_key_becomes_available_and_not_before() -> None:
    async def scenario(queue: WorkQueue) -> None:
        calls: list[float] = []
        queue.on_ready = lambda: calls.append(queue._clock.monotonic())
        queue.add_after("a", 3)
        queue.add("b")
        queue.add("b")
        assert calls == [0]
        queue.get_nowait()
        queue.add("b")
        assert calls == [0]
        queue.done("b")
        assert calls == [0, 0]
        await asyncio.sleep(5)
        assert calls == [0, 0, 3]

    run(scenario)


def test_a_queue_that_is_shut_down_gives_what_it_has_and_takes_no_more() -> None:
    async def scenario(queue: WorkQueue) -> None:
        queue.add("a")
        queue.add_after("late", 5)
        queue.shut_down()
        assert queue.delayed == 0
        queue.add("b")
        queue.add_after("c", 1)
        queue.add_rate_limited("d")
        assert await queue.get() == "a"
        with pytest.raises(QueueShutDown, match="'test'"):
            await queue.get()
        await asyncio.sleep(10)
        assert len(queue) == queue.delayed == 0

    run(scenario)


def test_waiting_getters_are_served_in_turn_and_end_at_shut_down() -> None:
    async def main() -> None:
        async with System() as system:
            queue = WorkQueue(system.clock)
            taken: list[Any] = []

            async def take(name: str) -> None:
                try:
                    taken.append((name, await queue.get()))
                except QueueShutDown:
                    taken.append((name, "down"))

            children = [system.spawn(take, name) for name in ("first", "second", "third")]
            await asyncio.sleep(1)
            queue.add("a")
            queue.add("b")
            await asyncio.sleep(1)
            queue.shut_down()
            for child in children:
                await child
            assert taken == [("first", "a"), ("second", "b"), ("third", "down")]

    simulate(main(), seed=1)


def test_a_getter_cancelled_at_the_moment_it_is_served_passes_its_turn_on() -> None:
    async def main() -> None:
        async with System() as system:
            queue = WorkQueue(system.clock)
            first = system.spawn(queue.get, name="first")
            second = system.spawn(queue.get, name="second")
            await asyncio.sleep(1)
            queue.add("a")
            first.cancel()
            assert await second == "a"

    simulate(main(), seed=1)


@given(st.lists(st.tuples(st.sampled_from(["add", "get", "done"]), st.integers(0, 3)), max_size=60))
def test_no_key_is_in_work_twice_and_every_added_key_is_worked_on_afterwards(steps: list[tuple[str, int]]) -> None:
    queue = WorkQueue(Clock(seed=1, epoch=0.0))
    working: list[int] = []
    owed: dict[int, bool] = {}
    for step, key in steps:
        if step == "add":
            queue.add(key)
            owed[key] = True
        elif step == "get":
            taken = queue.get_nowait()
            if taken is not None:
                assert taken not in working and owed.pop(taken)
                working.append(taken)
        elif working:
            queue.done(working.pop(key % len(working)))
    for key in working:
        queue.done(key)
    while (taken := queue.get_nowait()) is not None:
        assert owed.pop(taken)
        queue.done(taken)
    assert not owed
