"""Port-forwarding over WebSocket, both ways that clients know.

- `SPDY/3.1+portforward.k8s.io` (kubectl, client-go; KEP-4006): the messages are the bytes of a SPDY connection, on
  which the client opens two streams for each of its connections: one for data, one for errors.
- `v4.channel.k8s.io` or none (the Python clients): two channels for each port named in the query, data and errors, for
  one connection each. The first message of a channel is its port, two bytes, the low one first.
"""

from typing import TYPE_CHECKING

import anyio
from msgspec.structs import replace

from kubeloop.actors.api import errors
from kubeloop.actors.api.errors import StatusError
from kubeloop.actors.apiserver import channels as ch
from kubeloop.actors.apiserver.connections import KubeletRefused, Way
from kubeloop.actors.apiserver.http_answer import send_text
from kubeloop.actors.apiserver.spdy_tunnel import Tunnel
from kubeloop.runtime.streams import Streams

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiohttp import web

    from kubeloop.actors.apiserver.http import HttpServer

TUNNEL = "SPDY/3.1+portforward.k8s.io"


async def port_forward(
    server: "HttpServer", request: "web.BaseRequest", way: Way, ports: "Sequence[int]"
) -> "web.StreamResponse":
    """Raises StatusError before the client is connected."""
    from kubeloop.actors.apiserver.http_streams import check_upgrade

    try:
        await way.ask(
            way.message
        )  # is the pod there? What a kubelet refuses, clients hear of before they are connected
    except KubeletRefused as refused:
        return send_text(request, refused.code, refused.text)
    check_upgrade(request)
    protocol = ch.negotiate(request, (*ch.PORT_FORWARD, TUNNEL))
    if protocol == TUNNEL:
        websocket = await ch.accept(request, protocol)
        async with ch.guarded(websocket, server.log):
            await Tunnel(websocket, Ports(way)).run()
        return websocket
    if not ports:
        raise errors.bad_request('query parameter "ports" is required')
    if len(ports) > ch.PORTS_MAX:
        raise errors.bad_request(f"{len(ports)} ports: one connection has channels for {ch.PORTS_MAX}")
    websocket = await ch.accept(request, protocol)
    async with ch.guarded(websocket, server.log):
        await forward_channels(ch.Channels(websocket, protocol), Ports(way), ports)
        await websocket.close()
    return websocket


class Ports:
    """Opens connections to the ports of one pod."""

    def __init__(self, way: Way) -> None:
        self._way = way

    async def open(self, port: int) -> Streams:
        """Raises PortError."""
        try:
            return await self._way.open(replace(self._way.message, port=port))
        except KubeletRefused as refused:
            raise self.error(port, refused.text) from None
        except StatusError as error:
            raise self.error(port, error.message) from None

    def error(self, port: int, text: str) -> "PortError":
        message = self._way.message
        return PortError(f"error forwarding port {port} to pod {message.pod}, uid {message.uid}: {text}")


class PortError(Exception):
    """What a client is told of a connection that failed."""


async def forward_channels(channels: ch.Channels, ports: Ports, numbers: "Sequence[int]") -> None:
    """Until every connection has ended, or the client has gone."""
    opened: dict[int, Streams] = {}
    try:
        for index, port in enumerate(numbers):
            for channel in (2 * index, 2 * index + 1):
                await channels.send(channel, port.to_bytes(2, "little"))
        async with anyio.create_task_group() as group:
            ready = anyio.Event()
            group.start_soon(_take, channels, opened, ready, group.cancel_scope)
            async with anyio.create_task_group() as outputs:
                for index, port in enumerate(numbers):
                    try:
                        opened[2 * index] = await ports.open(port)
                    except PortError as error:
                        await channels.send(2 * index + 1, str(error).encode())
                        continue
                    outputs.start_soon(_give, channels, 2 * index, opened[2 * index], ports, port)
                ready.set()
            group.cancel_scope.cancel()
    except* ConnectionError:
        pass  # the client has gone
    finally:
        for streams in opened.values():
            streams.close()


async def _take(
    channels: ch.Channels, opened: dict[int, Streams], ready: anyio.Event, scope: anyio.CancelScope
) -> None:
    await ready.wait()
    while (message := await channels.receive()) is not None:
        channel, data = message
        streams = opened.get(channel)
        if streams is not None and streams.stdin is not None:
            await ch.write(channels.websocket, streams.stdin, data)
    scope.cancel()


async def _give(channels: ch.Channels, channel: int, streams: Streams, ports: Ports, port: int) -> None:
    assert streams.stdout is not None
    try:
        while data := await streams.stdout.read():
            await channels.send(channel, data)
    except ConnectionError:
        raise
    except Exception as error:
        await channels.send(channel + 1, str(ports.error(port, str(error))).encode())
    streams.close()
