"""A queue of keys with the semantics of client-go's work queue (k8s.io/client-go/util/workqueue).

A key added several times before somebody takes it is worked on once. A key that is being worked on is not handed out
again: added meanwhile it is dirty, and comes back when `done` is called. So two workers never hold the same key.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Hashable
from typing import Any

from kubeloop.runtime.backoff import Backoff
from kubeloop.runtime.clock import Clock

CLIENT_GO_BACKOFF = Backoff(initial_seconds=0.005, max_seconds=1000.0)


class QueueShutDown(Exception):
    """The queue was shut down and holds no more keys."""


class WorkQueue:
    """on_ready: called whenever a key becomes available, so that a loop may spawn workers only when there is work.

    No task stands by: a delayed key is one loop timer.
    """

    def __init__(self, clock: Clock, *, name: str = "", backoff: Backoff = CLIENT_GO_BACKOFF) -> None:
        self.name = name
        self.on_ready: Callable[[], None] | None = None
        self._clock = clock
        self._backoff = backoff
        self._queue: deque[Any] = deque()
        self._dirty: set[Any] = set()
        self._processing: set[Any] = set()
        self._failures: dict[Any, int] = {}
        self._timers: dict[Any, asyncio.TimerHandle] = {}
        self._getters: deque[asyncio.Future[None]] = deque()
        self._shut_down = False

    def __len__(self) -> int:
        """Keys that are ready to be taken; neither delayed ones nor those in work."""
        return len(self._queue)

    @property
    def processing(self) -> int:
        """Keys that are in work."""
        return len(self._processing)

    @property
    def delayed(self) -> int:
        """Keys that wait for their time."""
        return len(self._timers)

    def add(self, key: Hashable) -> None:
        """Makes `key` ready, unless it is so already. Nothing happens after shut_down."""
        if key in self._dirty or self._shut_down:
            return
        self._dirty.add(key)
        if key not in self._processing:
            self._make_ready(key)

    def add_after(self, key: Hashable, delay_seconds: float) -> None:
        """Adds `key` after a delay; of several delays of one key the soonest counts."""
        if self._shut_down:
            return
        if delay_seconds <= 0:
            self.add(key)
            return
        earlier = self._timers.get(key)
        if earlier is not None:
            if earlier.when() <= self._clock.monotonic() + delay_seconds:
                return
            earlier.cancel()
        self._timers[key] = self._clock.call_later(delay_seconds, self._time_is_up, key)

    def add_rate_limited(self, key: Hashable) -> None:
        """Adds `key` after its own backoff, which grows with each call until `forget`."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        self.add_after(key, self._backoff.delay_seconds(failures))

    def forget(self, key: Hashable) -> None:
        """Resets the backoff of `key`: it succeeded, or is given up."""
        self._failures.pop(key, None)

    def retries(self, key: Hashable) -> int:
        """How often `key` was added with backoff since it was last forgotten."""
        return self._failures.get(key, 0)

    def get_nowait(self) -> Any | None:
        """The next key, now in work, or None when none is ready."""
        if not self._queue:
            return None
        key = self._queue.popleft()
        self._dirty.discard(key)
        self._processing.add(key)
        return key

    async def get(self) -> Any:
        """Waits for the next key, and marks it as in work until `done`. Raises QueueShutDown when down and empty."""
        while not self._queue:
            if self._shut_down:
                raise QueueShutDown(f"work queue {self.name!r} is shut down")
            getter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._getters.append(getter)
            try:
                await getter
            except BaseException:
                if getter.done() and not getter.cancelled():
                    self._wake_getter()  # this one was called but leaves: the key is the next one's
                raise
        return self.get_nowait()

    def done(self, key: Hashable) -> None:
        """The work on `key` ended, well or not; if it was added meanwhile it is ready again."""
        self._processing.discard(key)
        if key in self._dirty:
            self._make_ready(key)

    def shut_down(self) -> None:
        """Takes no more keys and drops delayed ones; those that are ready can still be taken."""
        self._shut_down = True
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        while self._getters:
            self._wake_getter()

    def _make_ready(self, key: Any) -> None:
        self._queue.append(key)
        if self._getters:
            self._wake_getter()
        if self.on_ready is not None:
            self.on_ready()

    def _wake_getter(self) -> None:
        while self._getters:
            getter = self._getters.popleft()
            if not getter.done():
                getter.set_result(None)
                return

    def _time_is_up(self, key: Any) -> None:
        del self._timers[key]
        self.add(key)
