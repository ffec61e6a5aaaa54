"""The channels of a WebSocket: several streams over one connection, each message with its channel's number first.

Follows the Kubernetes page "Kubernetes API: streaming" and KEP-4006. In binary protocols the number is one byte; in
base64 ones it is a digit, and the rest is base64 text. v5 knows a message that closes a channel: 255, then its number.
"""

import base64
import binascii
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio

from kubeloop.actors.api import errors
from kubeloop.actors.apiserver import limits
from kubeloop.runtime.log import Logger
from kubeloop.runtime.streams import Pipe

if TYPE_CHECKING:
    from aiohttp import web

STDIN, STDOUT, STDERR, ERROR, RESIZE = range(5)
CLOSE = 255
V5 = "v5.channel.k8s.io"
V4 = "v4.channel.k8s.io"
V4_BASE64 = "v4.base64.channel.k8s.io"
REMOTE_COMMAND = ("", "channel.k8s.io", "base64.channel.k8s.io", V4, V4_BASE64, V5)
PORT_FORWARD = ("", V4, V4_BASE64)
PORTS_MAX = 127
INTERNAL_ERROR = 1011  # RFC 6455's code
WITH_STATUS = (V4, V4_BASE64, V5)  # their error channel carries a Status, the older ones' a text


def is_websocket(request: "web.BaseRequest") -> bool:
    headers = request.headers
    return headers.get("Upgrade", "").lower() == "websocket" and "upgrade" in headers.get("Connection", "").lower()


def offered(request: "web.BaseRequest") -> list[str]:
    """The subprotocols that a client speaks, in its order."""
    values = request.headers.getall("Sec-WebSocket-Protocol", ())
    return [name for value in values for part in value.split(",") if (name := part.strip())]


def negotiate(request: "web.BaseRequest", supported: Sequence[str]) -> str:
    """The first that both know; "" when the client names none. Raises 403 when there is none."""
    wanted = offered(request) or [""]
    for protocol in wanted:
        if protocol in supported:
            return protocol
    known = ", ".join(name or '""' for name in supported)
    raise errors.failure(403, "Forbidden", f"requested protocol(s) are not supported: {wanted}; supports [{known}]")


async def accept(request: "web.BaseRequest", protocol: str) -> "web.WebSocketResponse":
    """Answers 101. Raises 400 for a handshake that is none."""
    from aiohttp import web

    websocket = web.WebSocketResponse(
        timeout=limits.stream_close_seconds_max,
        protocols=(protocol,) if protocol else (),
        max_msg_size=limits.stream_message_bytes_max,
        compress=False,
    )
    try:
        await websocket.prepare(request)
    except web.HTTPException as error:
        raise errors.bad_request(f"unable to upgrade: {error.text or error.reason}") from None
    return websocket


@asynccontextmanager
async def guarded(websocket: "web.WebSocketResponse", log: Logger) -> AsyncIterator[None]:
    """A mistake of ours is logged and ends the connection: an HTTP answer would come too late."""
    try:
        yield
    except ConnectionError:
        pass  # the client has gone
    except Exception:
        log.exception("stream_failed")
        await websocket.close(code=INTERNAL_ERROR)


async def write(websocket: "web.WebSocketResponse", pipe: Pipe, data: bytes) -> None:
    """Writes what a client sent, waiting for room. What nobody reads any more is dropped, as by a closed socket.

    While it waits nothing is read from the client, so nothing would tell that the client has gone: a ping does.
    Raises ConnectionError then.
    """
    if pipe.over:
        return
    while True:
        try:
            with anyio.move_on_after(limits.stream_ping_seconds):
                return await pipe.write(data)
        except Exception:
            pipe.end()
            return
        await websocket.ping()


class Channels:
    """Messages of an open WebSocket, by channel."""

    def __init__(self, websocket: "web.WebSocketResponse", protocol: str) -> None:
        self.websocket = websocket
        self.protocol = protocol
        self._base64 = "base64" in protocol

    async def send(self, channel: int, data: bytes) -> None:
        """Waits until the client's connection takes it. Raises ConnectionError when it is gone."""
        if self._base64:
            await self.websocket.send_str(chr(ord("0") + channel) + base64.b64encode(data).decode())
        else:
            await self.websocket.send_bytes(bytes((channel,)) + data)

    async def receive(self) -> tuple[int, bytes] | None:
        """Channel and data; (CLOSE, channel) when the client closes one; None when it has gone."""
        from aiohttp import WSMsgType

        while True:
            message = await self.websocket.receive()
            if message.type is WSMsgType.TEXT:
                data = message.data.encode()
            elif message.type is WSMsgType.BINARY:
                data = message.data
            else:
                return None
            found = self._parse(data)
            if found is not None:
                return found

    def _parse(self, data: bytes) -> tuple[int, bytes] | None:
        if not data:
            return None
        if not self._base64:
            return data[0], data[1:]
        try:
            return data[0] - ord("0"), base64.b64decode(data[1:], validate=True)
        except (binascii.Error, ValueError):
            return None


def query_options(query: Any) -> dict[str, Any]:
    """StreamOptions' fields from the query of a request. Raises 400."""
    from kubeloop.actors.apiserver.options import boolean

    found: dict[str, Any] = {name: boolean(query[name]) for name in ("stdin", "tty") if name in query}
    if not any(query.keys()):
        found |= {"stdout": False, "stderr": False}
    found["container"] = query.get("container", "")
    found["command"] = tuple(query.getall("command", ()))
    found["ports"] = tuple(port for text in query.getall("ports", ()) for port in _ports(text))
    return found


def _ports(text: str) -> list[int]:
    if not text:
        raise errors.bad_request('query parameter "ports" cannot be empty')
    found = []
    for part in text.split(","):
        if not (part.isascii() and part.isdigit() and int(part) < 1 << 16):
            raise errors.bad_request(
                f'unable to parse "{text}" as a port: strconv.ParseUint: parsing "{part}": invalid'
            )
        if int(part) < 1:
            raise errors.bad_request(f'port "{text}" must be > 0')
        found.append(int(part))
    return found
