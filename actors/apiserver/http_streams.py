"""exec and attach over WebSocket: the client's channels on one side, the kubelet's streams on the other.

With v5 a client is connected before the kubelet is asked, and hears of its refusal on the error channel, as from a
real server, which translates v5 for its kubelets; the older protocols hear of it as an HTTP error.
"""

import json
from typing import TYPE_CHECKING, Any

import anyio
import msgspec

from kubeloop.actors.api import errors
from kubeloop.actors.api.errors import StatusError
from kubeloop.actors.apiserver import channels as ch
from kubeloop.actors.apiserver import limits
from kubeloop.actors.apiserver.channels import Channels
from kubeloop.actors.apiserver.connections import ConnectResponse, KubeletRefused, Way
from kubeloop.actors.apiserver.http_answer import send_text
from kubeloop.actors.apiserver.messages import Request, StreamOptions, UserInfo
from kubeloop.actors.apiserver.path import ResourcePath, verb_of
from kubeloop.runtime.streams import Pipe, Streams

if TYPE_CHECKING:
    from aiohttp import web

    from kubeloop.actors.apiserver.http import HttpServer

SUCCESS: dict[str, Any] = {"metadata": {}, "status": "Success"}
SPDY = (
    "SPDY is not served, only WebSocket: kubectl uses it by itself since 1.31 (before, set the environment variables "
    "KUBECTL_REMOTE_COMMAND_WEBSOCKETS=true and KUBECTL_PORT_FORWARD_WEBSOCKETS=true), other clients ask for the "
    "subprotocol v5.channel.k8s.io or v4.channel.k8s.io"
)


def check_upgrade(request: "web.BaseRequest") -> None:
    """Raises 400 for a request that is no WebSocket's."""
    if ch.is_websocket(request):
        return
    if request.headers.get("Upgrade", "").upper().startswith("SPDY/"):
        raise errors.bad_request(f"unable to upgrade: {SPDY}")
    raise errors.bad_request("Upgrade request required")


async def serve(
    server: "HttpServer", request: "web.BaseRequest", where: ResourcePath, user: UserInfo
) -> "web.StreamResponse":
    """pods/exec, pods/attach and pods/portforward. Raises StatusError."""
    from kubeloop.actors.apiserver import http_forward

    verb = verb_of(request.method, where, False)
    if verb is None:
        raise errors.method_not_supported()
    message = Request(
        verb,
        where.group,
        where.version,
        where.resource,
        where.namespace,
        where.name,
        where.subresource,
        StreamOptions(**ch.query_options(request.query)),
        user=user,
        user_agent=request.headers.get("User-Agent", "unknown"),
    )
    answer: ConnectResponse = await server.apiserver.ask(message)
    if where.subresource == "portforward":
        return await http_forward.port_forward(server, request, answer.body, message.body.ports)
    return await remote_command(server, request, answer.body)


async def remote_command(server: "HttpServer", request: "web.BaseRequest", way: Way) -> "web.StreamResponse":
    """Connects a client with a command or a container. Raises StatusError before it is connected."""
    check_upgrade(request)
    protocol = ch.negotiate(request, ch.REMOTE_COMMAND)
    streams = None
    if protocol != ch.V5:
        try:
            streams = await way.open()
        except KubeletRefused as refused:
            return send_text(request, refused.code, refused.text)
    try:
        websocket = await ch.accept(request, protocol)
        session = Session(Channels(websocket, protocol))
        async with ch.guarded(websocket, server.log):
            await session.begin(ch.STDOUT if way.message.stdout else ch.STDERR if way.message.stderr else ch.ERROR)
            if streams is None:
                streams = await session.open(way)
            if streams is not None:
                await session.run(streams)
    finally:
        if streams is not None:
            streams.close()
    return websocket


class Session:
    """One client connected with streams."""

    def __init__(self, channels: Channels) -> None:
        self._channels = channels
        self._sizes = b""

    async def begin(self, channel: int) -> None:
        """An empty message says that the client is connected."""
        await self._channels.send(channel, b"")

    async def open(self, way: Way) -> Streams | None:
        """The streams; None, and the client is told why, when there are none."""
        try:
            return await way.open()
        except KubeletRefused as refused:
            await self.end(refused.status().status)
        except StatusError as error:
            await self.end(error.status)
        return None

    async def run(self, streams: Streams) -> None:
        """Until the command has ended, or the client has gone."""
        status: dict[str, Any] | None = None
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._input, streams, group.cancel_scope)
                async with anyio.create_task_group() as outputs:
                    for channel, pipe in ((ch.STDOUT, streams.stdout), (ch.STDERR, streams.stderr)):
                        if pipe is not None:
                            outputs.start_soon(self._output, channel, pipe)
                status = await self._outcome(streams)
                group.cancel_scope.cancel()
        except* ConnectionError:
            status = None  # the client has gone
        if status is not None:
            await self.end(status)

    async def end(self, status: dict[str, Any]) -> None:
        """Tell how it ended, close, and wait until the client has read it."""
        try:
            await self._send_status(status)
            await self._channels.websocket.close()
        except ConnectionError:
            pass  # it has gone

    async def _send_status(self, status: dict[str, Any]) -> None:
        if self._channels.protocol in ch.WITH_STATUS:
            await self._channels.send(ch.ERROR, msgspec.json.encode(status))
        elif status["status"] != "Success":
            await self._channels.send(ch.ERROR, str(status.get("message", "")).encode())

    async def _output(self, channel: int, pipe: Pipe) -> None:
        try:
            while data := await pipe.read():
                await self._channels.send(channel, data)
        except ConnectionError:
            raise
        except Exception:
            return  # the streams broke: `wait` says why

    async def _outcome(self, streams: Streams) -> dict[str, Any]:
        try:
            return status_of(await streams.wait())
        except StatusError as error:
            return error.status
        except Exception as error:
            return errors.internal_error(f"error executing command in container: {error}").status

    # what the client sends

    async def _input(self, streams: Streams, scope: anyio.CancelScope) -> None:
        while (message := await self._channels.receive()) is not None:
            channel, data = message
            if channel == ch.RESIZE:
                self._resize(streams, data)
            elif streams.stdin is None:
                continue
            elif channel == ch.STDIN:
                await ch.write(self._channels.websocket, streams.stdin, data)
            elif channel == ch.CLOSE and data[:1] == bytes((ch.STDIN,)) and self._channels.protocol == ch.V5:
                streams.stdin.end()
        scope.cancel()

    def _resize(self, streams: Streams, data: bytes) -> None:
        """Sizes are JSON objects one behind the other; a message may hold a part of one."""
        self._sizes = (self._sizes + data)[-limits.stream_size_bytes_max :]
        decoder, text = json.JSONDecoder(), self._sizes.decode(errors="replace").lstrip()
        while text:
            try:
                size, end = decoder.raw_decode(text)
            except (ValueError, RecursionError):
                break
            text = text[end:].lstrip()
            if isinstance(size, dict):
                width, height = (_uint16(size.get(name)) for name in ("Width", "Height"))
                streams.resize(width, height)
        self._sizes = text.encode()


def _uint16(value: Any) -> int:
    return value if isinstance(value, int) and 0 <= value < 1 << 16 else 0


def status_of(exit_code: int) -> dict[str, Any]:
    """What the error channel says of a command that has ended."""
    if exit_code == 0:
        return SUCCESS
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: command terminated with exit code {exit_code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(exit_code)}]},
    }
