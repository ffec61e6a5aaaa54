"""Virtual time: it jumps, it repeats, it reports deadlocks."""

import asyncio
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from kubeloop.runtime import simulation
from kubeloop.runtime.actor import Actor
from kubeloop.runtime.faults import Crash, Delay, Drop
from kubeloop.runtime.simulation import DeadlockError, VirtualTimeLoop, simulate
from kubeloop.runtime.system import System


def test_a_day_passes_in_no_time() -> None:
    async def main() -> float:
        await asyncio.sleep(86_400)
        return asyncio.get_running_loop().time()

    before = time.perf_counter()
    assert simulate(main(), seed=1) == 86_400
    assert time.perf_counter() - before < 5


def test_a_deadlock_is_reported_with_the_tasks_that_wait() -> None:
    async def main() -> None:
        await asyncio.Event().wait()

    with pytest.raises(DeadlockError, match=r"(?s)no timer is set.*Task-\d+ waits in .*test_simulation.py:\d+"):
        simulate(main(), seed=1)


def test_time_stands_still_while_an_executor_call_runs() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        ticks: list[float] = []
        timer = loop.call_later(1, ticks.append, 1.0)
        release = threading.Event()
        loop.call_soon(release.set)
        assert await loop.run_in_executor(None, release.wait, 10)
        assert loop.time() == 0
        assert not ticks
        timer.cancel()

    simulate(main(), seed=1)


def test_threads_that_the_loop_does_not_know_are_waited_for_when_nothing_else_could_happen() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert await anyio.to_thread.run_sync(lambda: 7) == 7
        done = asyncio.Event()
        thread = threading.Thread(target=lambda: loop.call_soon_threadsafe(done.set))
        thread.start()
        await done.wait()
        thread.join()

    simulate(main(), seed=1)


def test_a_deadlock_beside_an_idle_thread_is_reported_after_the_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulation, "THREAD_GRACE_SECONDS", 0.01)
    release = threading.Event()
    thread = threading.Thread(target=release.wait)
    thread.start()
    try:
        with pytest.raises(DeadlockError):
            simulate(asyncio.Event().wait(), seed=1)
    finally:
        release.set()
        thread.join()


def test_anyio_lives_in_virtual_time() -> None:
    async def main() -> None:
        with anyio.move_on_after(50) as scope:
            await anyio.sleep(100)
        assert scope.cancelled_caught
        assert anyio.current_time() == 50
        with pytest.raises(TimeoutError):
            with anyio.fail_after(5):
                await anyio.sleep_forever()
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep, 10)
        assert anyio.current_time() == 65

    simulate(main(), seed=1)


def test_anyio_can_be_told_to_use_the_loop() -> None:
    async def main() -> float:
        await anyio.sleep(1000)
        return anyio.current_time()

    assert anyio.run(main, backend_options={"loop_factory": lambda: VirtualTimeLoop(3)}) == 1000


def test_sockets_that_are_ready_are_served_in_virtual_time() -> None:
    async def main() -> bytes:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(await reader.read(5))
            writer.close()
            await writer.wait_closed()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
        writer.write(b"hello")
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()
        return answer

    assert simulate(main(), seed=1) == b"hello"


def test_the_clock_of_a_system_in_virtual_time_begins_in_2026_and_has_the_loops_seed() -> None:
    async def main() -> tuple[str, str]:
        async with System() as system:
            await system.clock.sleep(61)
            return system.clock.now_rfc3339(), system.clock.uuid4()

    first = simulate(main(), seed=1)
    assert first[0] == "2026-01-01T00:01:01Z"
    assert first == simulate(main(), seed=1)
    assert first != simulate(main(), seed=2)


class Player(Actor):
    """Passes balls on at random; its trace is the order of things."""

    def __init__(self, trace: list[str], players: int) -> None:
        self.trace = trace
        self.players = players

    async def on_message(self, message: Any) -> Any:
        clock = self.context.clock
        self.trace.append(f"{clock.monotonic():.6f} {self.context.name} {message}")
        if message < 30:
            target = self.ref(f"player-{clock.random.randrange(self.players)}")
            try:
                await target.tell(message + 1)
            except Exception as error:
                self.trace.append(f"lost: {error}")
            if clock.random.random() < 0.3:
                await clock.sleep(clock.random.random())


async def play() -> list[str]:
    trace: list[str] = []
    async with System() as system:
        for number in range(10):
            await system.start(lambda: Player(trace, 10), name=f"player-{number}", host=f"host-{number % 3}")
        system.inject(Delay("host-1", min_seconds=0, max_seconds=1))
        system.inject(Drop("host-2", probability=0.1))
        for number in range(10):
            system.ref(f"player-{number}", source_host="host-0").tell_nowait(number)
        await asyncio.sleep(5)
        system.inject(Crash("player-3"))
        await asyncio.sleep(500)
    return trace


def test_equal_seeds_give_equal_traces_and_other_seeds_others() -> None:
    traces = [simulate(play(), seed=seed) for seed in (1, 1, 2)]
    assert len(traces[0]) > 50
    assert traces[0] == traces[1]
    assert traces[0] != traces[2]


def test_the_seed_decides_which_of_several_woken_actors_runs_first() -> None:
    async def main() -> list[str]:
        order: list[str] = []

        class Runner(Actor):
            async def on_message(self, message: Any) -> None:
                order.append(self.context.name)

        async with System() as system:
            refs = [await system.start(Runner, name=str(number), host="a") for number in range(6)]
            for ref in refs:
                ref.tell_nowait("go")
            await asyncio.sleep(1)
        return order

    orders = {tuple(simulate(main(), seed=seed)) for seed in range(10)}
    assert len(orders) > 5
    assert all(sorted(order) == list("012345") for order in orders)


def test_equal_seeds_give_equal_traces_whatever_the_hash_seed(tmp_path: Path) -> None:
    code = (
        "import importlib.util, sys; spec = importlib.util.spec_from_file_location('game', sys.argv[1]);"
        "game = importlib.util.module_from_spec(spec); spec.loader.exec_module(game);"
        "print(chr(10).join(game.simulate(game.play(), seed=5)))"
    )
    outputs = []
    for hash_seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", code, __file__],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        outputs.append(done.stdout)
    assert outputs[0].count("\n") > 50
    assert outputs[0] == outputs[1]
