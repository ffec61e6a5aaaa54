"""The parts without a cluster: asking and telling actors, the work queue."""

import asyncio
from time import perf_counter
from typing import Any, ClassVar

from bench.workload import Measurement
from kubeloop.runtime.actor import Actor
from kubeloop.runtime.clock import Clock
from kubeloop.runtime.system import System
from kubeloop.runtime.workqueue import WorkQueue


class Echo(Actor):
    concurrent: ClassVar[bool] = True

    async def on_message(self, message: Any) -> Any:
        return message


class Counter(Actor):
    """Sets `full` when it has heard a message that is the last of its burst."""

    def __init__(self, last: int) -> None:
        self.last = last
        self.full = asyncio.Event()

    async def on_message(self, message: Any) -> None:
        if message == self.last:
            self.full.set()


async def ask(messages: int) -> Measurement:
    """Microseconds that asking a concurrent actor costs beyond calling its handler."""
    async with System() as system:
        echo = Echo()
        ref = await system.start(lambda: echo, name="echo", host="a")
        before = perf_counter()
        for number in range(messages):
            await echo.on_message(number)
        called = perf_counter()
        for number in range(messages):
            await ref.ask(number)
        asked = perf_counter()
    return Measurement(((asked - called) - (called - before)) / messages * 1e6)


async def tell(messages: int, burst: int = 1000) -> Measurement:
    """Microseconds a message that is told, put into the mailbox, and handled; bursts of some hundreds."""
    async with System() as system:
        counter = Counter(last=burst - 1)
        ref = await system.start(lambda: counter, name="counter", host="a")
        before = perf_counter()
        for _ in range(messages // burst):
            counter.full.clear()
            for number in range(burst):
                ref.tell_nowait(number)
            await counter.full.wait()
        seconds = perf_counter() - before
    return Measurement(seconds / (messages // burst * burst) * 1e6)


async def work_queue(keys: int) -> Measurement:
    """Microseconds a key that is added, taken and done."""
    queue = WorkQueue(Clock())
    names = [f"default/app-{number}" for number in range(keys)]
    before = perf_counter()
    for name in names:
        queue.add(name)
    for _ in names:
        queue.done(queue.get_nowait())
    return Measurement((perf_counter() - before) / keys * 1e6)
