import pytest

from kubeloop.actors.client.client import Client
from kubeloop.actors.client.reconcile import ReconcileLoop, Result, TerminalError
from kubeloop.runtime.system import System
from kubeloop.runtime.workqueue import WorkQueue
from tests.client.harness import run


def test_each_key_is_reconciled_and_no_worker_stays() -> None:
    async def test(system: System, client: Client) -> None:
        queue = WorkQueue(system.clock)
        done: list[str] = []

        async def reconcile(key: str) -> None:
            done.append(key)

        loop = ReconcileLoop("test", reconcile, queue=queue, spawner=system)
        for key in ("a", "b", "a"):
            queue.add(key)
        await system.clock.sleep(1)
        assert done == ["a", "b"] and loop.queue is queue and len(queue) == queue.processing == 0

    run(test)


def test_at_most_so_many_keys_are_in_work_at_once() -> None:
    async def test(system: System, client: Client) -> None:
        queue = WorkQueue(system.clock)
        at_once = most = 0

        async def reconcile(key: int) -> None:
            nonlocal at_once, most
            at_once += 1
            most = max(most, at_once)
            await system.clock.sleep(1)
            at_once -= 1

        ReconcileLoop("test", reconcile, queue=queue, spawner=system, workers_max=3)
        for number in range(10):
            queue.add(number)
        await system.clock.sleep(100)
        assert most == 3 and at_once == 0

    run(test)


def test_an_error_brings_the_key_back_with_growing_delays_and_a_terminal_one_does_not() -> None:
    async def test(system: System, client: Client) -> None:
        queue = WorkQueue(system.clock)
        times: list[float] = []
        heard: list[str] = []

        async def reconcile(key: str) -> None:
            if key == "hopeless":
                raise TerminalError("no use")
            times.append(system.clock.monotonic())
            if len(times) < 5:
                raise RuntimeError("not yet")

        ReconcileLoop(
            "test", reconcile, queue=queue, spawner=system, on_error=lambda key, error: heard.append(f"{key}: {error}")
        )
        queue.add("a")
        queue.add("hopeless")
        await system.clock.sleep(60)
        delays = [after - before for before, after in zip(times, times[1:], strict=False)]
        assert delays == pytest.approx([0.005, 0.01, 0.02, 0.04])
        assert heard.count("a: not yet") == 4 and heard.count("hopeless: no use") == 1
        assert queue.retries("a") == 0

    run(test)


def test_a_result_asks_for_another_look_later() -> None:
    async def test(system: System, client: Client) -> None:
        queue = WorkQueue(system.clock)
        looks: list[float] = []

        async def reconcile(key: str) -> Result | None:
            looks.append(system.clock.monotonic())
            return Result(requeue_after_seconds=30) if len(looks) < 3 else None

        ReconcileLoop("test", reconcile, queue=queue, spawner=system)
        began = system.clock.monotonic()
        queue.add("a")
        await system.clock.sleep(600)
        assert [round(look - began) for look in looks] == [0, 30, 60]

    run(test)
