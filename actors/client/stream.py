"""`client.watch`: a push watch, turned into an async iterator with a bounded buffer."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Self

from kubeloop.actors.api import errors
from kubeloop.actors.api.errors import StatusError
from kubeloop.actors.apiserver.messages import WatchEvent, WatchHandle, WatchSink
from kubeloop.actors.client import limits

Open = Callable[[WatchSink], Awaitable[WatchHandle]]


class _Buffer:
    """The sink of one watch: holds what the consumer has not taken yet. Knows nothing of its reader."""

    __slots__ = ("closed", "error", "events", "handle", "waiter")

    def __init__(self) -> None:
        self.events: deque[WatchEvent] = deque()
        self.waiter: asyncio.Future[None] | None = None
        self.handle: WatchHandle | None = None
        self.closed = False
        self.error: Exception | None = None

    def on_event(self, event: WatchEvent) -> None:
        if self.closed:
            return
        if len(self.events) >= limits.watch_events_buffered_max:
            text = f"the watch is closed: its consumer is {len(self.events)} events behind"
            self.on_closed(errors.too_many_requests(text))
            self.cancel()
            return
        self.events.append(event)
        self._wake()

    def on_closed(self, error: Exception | None) -> None:
        if not self.closed:
            self.closed, self.error = True, error
            self._wake()

    def cancel(self) -> None:
        self.closed = True
        if self.handle is not None:
            self.handle.cancel()
            self.handle = None

    def _wake(self) -> None:
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)


class WatchStream:
    """WatchEvents as they come. The watch opens with the first step, and ends with the iterator.

    Leaving the loop is enough: nobody else holds the iterator, so it is collected and the watch with it; a timeout or
    cancellation while it waits ends it too. `aclose`, or `async with`, says so explicitly.
    """

    def __init__(self, open: Open) -> None:
        self._open = open
        self._buffer: _Buffer | None = None
        self._ended = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> WatchEvent:
        """Raises StatusError for an ERROR event, and what closed the watch when it did not end by itself."""
        if self._ended:
            raise StopAsyncIteration
        buffer = self._buffer
        if buffer is None:
            buffer = self._buffer = _Buffer()
            try:
                buffer.handle = await self._open(buffer)
            except BaseException:
                self._ended = True
                raise
        while not buffer.events:
            if buffer.closed:
                self._end()
                if buffer.error is not None:
                    raise buffer.error
                raise StopAsyncIteration
            buffer.waiter = asyncio.get_running_loop().create_future()
            try:
                await buffer.waiter
            except BaseException:
                self._end()
                raise
        event = buffer.events.popleft()
        if event.type == "ERROR":
            self._end()
            raise StatusError(event.object)
        return event

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        self._end()

    async def aclose(self) -> None:
        """Ends the watch; nothing happens when it has ended."""
        self._end()

    def __del__(self) -> None:
        self._end()

    def _end(self) -> None:
        self._ended = True
        if self._buffer is not None:
            self._buffer.cancel()
