"""`client.watch`: a push watch, turned into an async iterator with a bounded buffer."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from typing import Any

from kubeloop.actors.api import errors
from kubeloop.actors.api.errors import StatusError
from kubeloop.actors.apiserver.messages import Request, WatchEvent
from kubeloop.actors.client import limits
from kubeloop.actors.client.transport import Transport


class WatchStream:
    """The sink of one watch; `events()` opens it and yields what comes."""

    def __init__(self, transport: Transport, request: Request) -> None:
        self._transport = transport
        self._request = request
        self._buffer: deque[WatchEvent] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._closed = False
        self._error: Exception | None = None

    def on_event(self, event: WatchEvent) -> None:
        if len(self._buffer) >= limits.watch_events_buffered_max:
            text = f"the watch of {self._request.resource} is {len(self._buffer)} events behind"
            self.on_closed(errors.too_many_requests(text))
            return
        self._buffer.append(event)
        self._wake()

    def on_closed(self, error: Exception | None) -> None:
        if not self._closed:
            self._closed, self._error = True, error
            self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def events(self) -> AsyncGenerator[Any, None]:
        handle = await self._transport.watch(self._request, self)
        try:
            while True:
                while self._buffer:
                    event = self._buffer.popleft()
                    if event.type == "ERROR":
                        raise StatusError(event.object)
                    yield event
                if self._closed:
                    if self._error is not None:
                        raise self._error
                    return
                self._waiter = asyncio.get_running_loop().create_future()
                await self._waiter
        finally:
            handle.cancel()
