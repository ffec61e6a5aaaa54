"""exec, attach and port-forward over WebSocket, as streams: the client's side of channel protocols v5 and v4."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import aiohttp
import anyio
import msgspec

from kubeloop.actors.api import errors
from kubeloop.actors.api.errors import StatusError
from kubeloop.actors.apiserver.messages import Request, StreamOptions
from kubeloop.actors.client.transport import ApiServerUnavailable
from kubeloop.runtime.streams import Pipe, Streams

STDIN, STDOUT, STDERR, ERROR, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255
V5, V4 = "v5.channel.k8s.io", "v4.channel.k8s.io"
MESSAGE_BYTES_MAX = 32 << 20


def query_of(request: Request) -> list[tuple[str, str]]:
    """PodExecOptions, PodAttachOptions or PodPortForwardOptions as a query."""
    options: StreamOptions = request.body
    if request.subresource == "portforward":
        return [("ports", str(port)) for port in options.ports]
    query = [("command", part) for part in options.command]
    if options.container:
        query.append(("container", options.container))
    return query + [(name, str(getattr(options, name)).lower()) for name in ("stdin", "stdout", "stderr", "tty")]


def protocols_of(request: Request) -> Sequence[str]:
    return (V4,) if request.subresource == "portforward" else (V5, V4)


def streams_of(request: Request) -> Streams:
    """The pipes that the answer will fill."""
    options: StreamOptions = request.body
    if request.subresource == "portforward":
        return Streams()
    return Streams(stdin=options.stdin, stdout=options.stdout, stderr=options.stderr and not options.tty)


class Pump:
    """Between one WebSocket and its streams, until one of both ends."""

    def __init__(self, websocket: aiohttp.ClientWebSocketResponse, request: Request, streams: Streams) -> None:
        self._websocket = websocket
        self._streams = streams
        self._forwarding = request.subresource == "portforward"
        self._announced = 0  # channels of a forwarded port that have told their port
        self._status: dict[str, Any] | None = None
        self._text = b""

    async def run(self) -> None:
        error: Exception | None = None
        try:
            async with anyio.create_task_group() as group:

                def resize(width: int, height: int) -> None:
                    group.start_soon(self._resize, width, height)

                self._streams.on_resize = resize
                self._streams.on_close = group.cancel_scope.cancel
                if self._streams.stdin is not None:
                    group.start_soon(self._send, self._streams.stdin)
                await self._receive()
                group.cancel_scope.cancel()
        except* (ConnectionError, aiohttp.ClientError) as broken:
            error = ApiServerUnavailable(str(broken.exceptions[0]))
        finally:
            self._streams.on_resize = self._streams.on_close = None
            self._finish(error)
            with anyio.CancelScope(shield=True):
                await self._websocket.close()

    async def _send(self, stdin: Pipe) -> None:
        try:
            while data := await stdin.read():
                await self._websocket.send_bytes(bytes((STDIN,)) + data)
        except (ConnectionError, aiohttp.ClientError):
            return  # `_receive` sees it too
        if self._websocket.protocol == V5:  # elsewhere a channel ends with the connection only
            await self._websocket.send_bytes(bytes((CLOSE, STDIN)))

    async def _resize(self, width: int, height: int) -> None:
        size = msgspec.json.encode({"Width": width, "Height": height})
        await self._websocket.send_bytes(bytes((RESIZE,)) + size)

    async def _receive(self) -> None:
        async for message in self._websocket:
            if message.type is not aiohttp.WSMsgType.BINARY or not message.data:
                continue
            channel, data = message.data[0], message.data[1:]
            if self._forwarding:
                await self._take_forwarded(channel, data)
            else:
                await self._take(channel, data)

    async def _take(self, channel: int, data: bytes) -> None:
        pipe = {STDOUT: self._streams.stdout, STDERR: self._streams.stderr}.get(channel)
        if pipe is not None and data:
            await _give(pipe, data)
        elif channel == ERROR and data:
            self._status = msgspec.json.decode(data)

    async def _take_forwarded(self, channel: int, data: bytes) -> None:
        assert self._streams.stdout is not None
        if self._announced < 2:
            self._announced += 1
        elif channel == 0:
            await _give(self._streams.stdout, data)
        else:
            self._text += data

    def _finish(self, error: Exception | None) -> None:
        if self._text:
            self._streams.finish(0, errors.internal_error(self._text.decode(errors="replace")))
        elif self._status is not None:
            self._streams.finish(*_outcome(self._status))
        elif error is not None or not self._forwarding:
            self._streams.finish(0, error or ApiServerUnavailable("the connection ended before the command did"))
        else:
            self._streams.finish()


async def _give(pipe: Pipe, data: bytes) -> None:
    try:
        await pipe.write(data)
    except BrokenPipeError:
        pass  # not read any more


def _outcome(status: dict[str, Any]) -> tuple[int, Exception | None]:
    if status.get("status") == "Success":
        return 0, None
    for cause in (status.get("details") or {}).get("causes") or ():
        if cause.get("reason") == "ExitCode":
            return int(cause["message"]), None
    return 0, StatusError({"code": 500, **status})
