"""Virtual time: an asyncio loop whose clock jumps to the next timer as soon as nobody is ready.

A day of waiting takes as long as the work in it. The loop's time begins at 0. Nothing is left to chance but what the
seed decides, which includes the order in which actors that were woken together handle their messages: equal seeds give
equal runs, as long as the code iterates no set of str and uses no thread.

Threads (run_in_executor): time stands still while one of the loop's executor calls runs, so its result arrives at the
virtual moment at which it was called. Threads that the loop does not know of (anyio.to_thread, others that come back
through call_soon_threadsafe) are not waited for while a timer is set; when none is, the loop waits some real seconds
for them before it reports a deadlock. Sockets that are ready are served, but virtual time does not wait for them: real
clients belong in a real loop.
"""

import asyncio
import selectors
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import Any, TypeVar

from kubeloop.runtime.limits import THREAD_GRACE_SECONDS

T = TypeVar("T")


class DeadlockError(RuntimeError):
    """Every task waits, and no timer, thread or socket can wake one."""


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """May be given to asyncio.Runner, pytest-asyncio and anyio as a loop factory."""

    virtual = True

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self._jump = _JumpSelector(self._describe_deadlock)
        super().__init__(self._jump)
        self._jump.ignore = len(self._jump.get_map())  # the loop's own wake-up pipe

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._jump.now

    def call_soon_threadsafe(self, *args: Any, **kwargs: Any) -> asyncio.Handle:  # type: ignore[override]
        self._jump.woken = True
        return super().call_soon_threadsafe(*args, **kwargs)

    def run_in_executor(  # type: ignore[override]
        self, executor: Executor | None, func: Callable[..., T], *args: Any
    ) -> "asyncio.Future[T]":
        future = super().run_in_executor(executor, func, *args)
        self._jump.threads += 1
        future.add_done_callback(self._thread_is_done)
        return future

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Waits for the threads for as long as they take: a time limit would pass at once."""
        await super().shutdown_default_executor()

    def _thread_is_done(self, _: Any) -> None:
        self._jump.threads -= 1

    def _describe_deadlock(self) -> str:
        lines = []
        for task in sorted(asyncio.all_tasks(self), key=lambda task: task.get_name()):
            frames = task.get_stack(limit=1)
            where = f"{frames[-1].f_code.co_filename}:{frames[-1].f_lineno}" if frames else "nowhere"
            lines.append(f"  {task.get_name()} waits in {where}")
        return "deadlock: every task waits and no timer is set\n" + "\n".join(lines)


class _JumpSelector(selectors.DefaultSelector):
    """Instead of waiting for a timeout it moves the clock by it."""

    def __init__(self, describe_deadlock: Callable[[], str]) -> None:
        super().__init__()
        self.now = 0.0
        self.threads = 0
        self.ignore = 0
        self.woken = False  # set by other threads before they write to the wake-up pipe
        self._describe_deadlock = describe_deadlock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if self.threads and (timeout is None or timeout > 0):
            return self._wait(None)
        if self.woken or len(self.get_map()) > self.ignore:
            ready = self._wait(0)
            if ready:
                return ready
        if timeout is None:
            return self._wait_for_strangers()
        if timeout > 0:
            self.now += timeout
        return []

    def _wait(self, timeout: float | None) -> list[tuple[selectors.SelectorKey, int]]:
        self.woken = False
        return super().select(timeout)

    def _wait_for_strangers(self) -> list[tuple[selectors.SelectorKey, int]]:
        """No timer is set: only a thread or a socket could wake a task now."""
        strangers = threading.active_count() > 1 or len(self.get_map()) > self.ignore
        ready = self._wait(THREAD_GRACE_SECONDS if strangers else 0)
        if not ready and not self.woken:
            raise DeadlockError(self._describe_deadlock())
        return ready


def simulate(main: Coroutine[Any, Any, T], *, seed: int) -> T:
    """Runs a coroutine in virtual time from 0 on; returns its result. Raises what it raises, and DeadlockError.

    >>> import asyncio
    >>> from kubeloop import simulate
    >>> async def main():
    ...     await asyncio.sleep(3600)
    ...     return asyncio.get_running_loop().time()
    >>> simulate(main(), seed=1)
    3600.0
    """
    with asyncio.Runner(loop_factory=lambda: VirtualTimeLoop(seed)) as runner:
        return runner.run(main)
