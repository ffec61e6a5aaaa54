"""The WebSocket side of exec, attach and port-forward, message by message."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from kubeloop import Cluster
from kubeloop.actors.apiserver import limits
from kubeloop.actors.apiserver.spdy import RST_STREAM, SYN_REPLY, Reader, Writer
from kubeloop.actors.container_runtime.actor import ContainerRuntimeActor
from kubeloop.actors.container_runtime.sim import SimBackend, SimContext
from kubeloop.actors.container_runtime.sim_answers import SimSession
from tests.apiserver.test_proxy import session
from tests.container_runtime.harness import until

POD = """
apiVersion: v1
kind: Pod
metadata: {name: web}
spec: {containers: [{name: web, image: web}]}
"""
URL = "/api/v1/namespaces/default/pods/web"
TUNNEL = "SPDY/3.1+portforward.k8s.io"


def behavior(context: SimContext) -> None:
    async def talk(talking: SimSession) -> int:
        while data := await talking.read():
            if data == b"size":
                data = str(talking.size).encode()
            if data == b"stop":
                await asyncio.Event().wait()
            await talking.write(data)
        return len(talking.command)

    async def echo(connection: SimSession) -> None:
        while data := await connection.read():
            await connection.write(f"{connection.port}:".encode() + data)

    context.on_session(talk)
    context.on_stream(echo)


pytestmark = pytest.mark.kubeloop(nodes=1, behaviors={"web": behavior})


@asynccontextmanager
async def serving(cluster: Cluster) -> AsyncIterator[aiohttp.ClientSession]:
    await cluster.apply(POD)
    await cluster.wait("pod/web", "Ready")
    async with session(cluster) as api:
        yield api


@asynccontextmanager
async def connected(
    api: aiohttp.ClientSession, path: str = "exec?command=a&stdin=1", *protocols: str
) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    async with api.ws_connect(f"{URL}/{path}", protocols=protocols or ("v5.channel.k8s.io",)) as websocket:
        yield websocket


def sessions(cluster: Cluster) -> int:
    """Streams that the runtime has open."""
    live = cluster.system.slot("container-runtime/node-1").live
    assert live is not None and isinstance(live.actor, ContainerRuntimeActor)
    assert isinstance(live.actor.backend, SimBackend)
    return sum(len(one.sessions) for one in live.actor.backend._containers.values() if one.sessions is not None)


async def test_channels_carry_input_output_sizes_and_the_end(cluster: Cluster) -> None:
    async with serving(cluster) as api, connected(api) as websocket:
        assert websocket.protocol == "v5.channel.k8s.io"
        assert await websocket.receive_bytes() == b"\x01"  # connected
        await websocket.send_bytes(b"\x00hello")
        assert await websocket.receive_bytes() == b"\x01hello"
        await websocket.send_bytes(b'\x04{"Width":80,"He')
        await websocket.send_bytes(b'\x04ight":24}\n{"Width": 90, "Height": 25}')
        await websocket.send_bytes(b"\x00size")
        assert await websocket.receive_bytes() == b"\x01(90, 25)"
        await websocket.send_bytes(b"\xff\x00")
        status = json.loads((await websocket.receive_bytes())[1:])
        assert status["reason"] == "NonZeroExitCode" and status["details"]["causes"] == [
            {"reason": "ExitCode", "message": "1"}
        ]
        assert (await websocket.receive()).type is aiohttp.WSMsgType.CLOSE and websocket.close_code == 1000
    await until(lambda: sessions(cluster) == 0)


async def test_messages_that_make_no_sense_are_passed_over(cluster: Cluster) -> None:
    async with serving(cluster) as api, connected(api) as websocket:
        assert await websocket.receive_bytes() == b"\x01"
        for rubbish in (
            b"", b"\x01to stdout", b"\x03", b"\x09x", b"\xff", b"\xff\x09", b"\x04{", b"\x04[1]", b"\x00",
            b'\x04{"Width":-1,"Height":"x"}', b"\x04" + b"[" * 5000, b"\x04\xff\xfe", b"\xfe" * 100,
        ):  # fmt: skip
            await websocket.send_bytes(rubbish)
        await websocket.send_str("\x00text")
        assert await websocket.receive_bytes() == b"\x01text"


async def test_base64_protocols_are_text(cluster: Cluster) -> None:
    async with serving(cluster) as api:
        for protocol in ("base64.channel.k8s.io", "v4.base64.channel.k8s.io"):
            async with connected(api, "exec?command=a&stdin=1", protocol) as websocket:
                assert await websocket.receive_str() == "1"
                await websocket.send_str("0!not base64")
                await websocket.send_str("0" + base64.b64encode(b"\xffhello").decode())
                assert await websocket.receive_str() == "1" + base64.b64encode(b"\xffhello").decode()


async def test_without_a_protocol_it_is_the_first_one(cluster: Cluster) -> None:
    async with serving(cluster) as api:
        async with api.ws_connect(f"{URL}/exec?command=a&stdin=1") as websocket:
            assert await websocket.receive_bytes() == b"\x01"
            assert websocket.protocol is None
            await websocket.send_bytes(b"\x00x")
            assert await websocket.receive_bytes() == b"\x01x"


async def test_a_client_that_goes_while_nobody_reads_its_input_frees_everything(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "stream_ping_seconds", 0.05)
    async with serving(cluster) as api:
        async with connected(api) as websocket:
            await websocket.receive_bytes()
            await websocket.send_bytes(b"\x00stop")
            sending = asyncio.create_task(flood(websocket))
            await until(lambda: sending.done() or full(cluster))
            sending.cancel()
            assert websocket._response.connection is not None
            transport = websocket._response.connection.transport
            assert transport is not None
            transport.abort()
        await until(lambda: sessions(cluster) == 0)


async def flood(websocket: aiohttp.ClientWebSocketResponse) -> None:
    for _ in range(1000):
        await websocket.send_bytes(b"\x00" + bytes(64 * 1024))


def full(cluster: Cluster) -> bool:
    live = cluster.system.slot("kubelet/node-1").live
    assert live is not None
    return any(one.stdin is not None and one.stdin.full for one in live.actor.streams._streams)  # type: ignore[attr-defined]


REFUSED: list[tuple[str, tuple[str, ...], int]] = [
    ("exec?command=a", ("v9.channel.k8s.io",), 403),
    ("exec?command=a", (TUNNEL,), 403),
    ("exec", ("v4.channel.k8s.io",), 400),
    ("exec?command=a&container=no", ("v4.channel.k8s.io",), 400),
    ("portforward", ("v4.channel.k8s.io",), 400),
    ("portforward?ports=", ("v4.channel.k8s.io",), 400),
    ("portforward?ports=0", ("v4.channel.k8s.io",), 400),
    ("portforward?ports=65536", ("v4.channel.k8s.io",), 400),
    ("portforward?ports=x", ("v4.channel.k8s.io",), 400),
    ("portforward?" + "&".join(f"ports={number}" for number in range(1, 200)), ("v4.channel.k8s.io",), 400),
    ("portforward?ports=1", ("v5.channel.k8s.io",), 403),
    ("eviction", ("v4.channel.k8s.io",), 405),
]


async def test_handshakes_that_cannot_be_are_refused(cluster: Cluster) -> None:
    async with serving(cluster) as api:
        for path, protocols, code in REFUSED:
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                async with connected(api, path, *protocols):
                    pass
            assert refused.value.status == code, path
        for headers, message in (
            ({}, "Upgrade request required"),
            ({"Connection": "Upgrade", "Upgrade": "SPDY/3.1"}, "SPDY is not served, only WebSocket"),
            ({"Connection": "Upgrade", "Upgrade": "websocket"}, "unable to upgrade"),
        ):
            async with api.get(f"{URL}/exec?command=a", headers=headers) as answer:
                assert answer.status == 400 and message in (await answer.json())["message"]
        async with api.put(f"{URL}/exec?command=a") as answer:
            assert answer.status == 405


async def test_a_message_that_is_too_large_ends_the_connection(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "stream_message_bytes_max", 1000)
    async with serving(cluster) as api, connected(api) as websocket:
        await websocket.receive_bytes()
        await websocket.send_bytes(bytes(2000))
        closed = await websocket.receive()
        assert (closed.type, closed.data) == (aiohttp.WSMsgType.CLOSE, aiohttp.WSCloseCode.MESSAGE_TOO_BIG)
    await until(lambda: sessions(cluster) == 0)


async def test_streams_are_limited(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(cluster) as api:
        live = cluster.system.slot("kubelet/node-1").live
        assert live is not None
        live.actor.streams.streams_max = 1  # type: ignore[attr-defined]
        async with connected(api) as first:
            await first.receive_bytes()
            async with connected(api) as second:
                assert await second.receive_bytes() == b"\x01"
                status = json.loads((await second.receive_bytes())[1:])
                assert "no more are accepted" in status["message"]
        await until(lambda: sessions(cluster) == 0)
        async with connected(api) as third:
            await third.receive_bytes()
            await third.send_bytes(b"\x00x")
            assert await third.receive_bytes() == b"\x01x"


async def test_forwarded_ports_have_a_pair_of_channels_each(cluster: Cluster) -> None:
    async with serving(cluster) as api:
        async with connected(api, "portforward?ports=80,443&ports=8080", "v4.channel.k8s.io") as websocket:
            heard = [await websocket.receive_bytes() for _ in range(6)]
            assert heard == [
                bytes((channel,)) + port.to_bytes(2, "little")
                for channel, port in enumerate((80, 80, 443, 443, 8080, 8080))
            ]
            for channel, port in ((4, 8080), (0, 80)):
                await websocket.send_bytes(bytes((channel,)) + b"x")
                assert await websocket.receive_bytes() == bytes((channel,)) + f"{port}:x".encode()
            assert sessions(cluster) == 3
        await until(lambda: sessions(cluster) == 0)


class Tunnelled:
    """A client of the SPDY tunnel."""

    def __init__(self, websocket: aiohttp.ClientWebSocketResponse) -> None:
        self.websocket = websocket
        self.writer = Writer()
        self._reader = Reader()
        self._frames: list[Any] = []

    async def send(self, *frames: bytes) -> None:
        for frame in frames:
            for start in range(0, len(frame), 7):  # frames and messages have nothing to do with each other
                await self.websocket.send_bytes(frame[start : start + 7])

    async def receive(self) -> Any:
        while not self._frames:
            self._frames += self._reader.feed(await self.websocket.receive_bytes())
        return self._frames.pop(0)

    async def open(self, number: int, port: int, request: int) -> None:
        for offset, kind in enumerate(("error", "data")):
            headers = {"streamtype": kind, "port": str(port), "requestid": str(request)}
            await self.send(self.writer.syn_stream(number + 2 * offset, headers))
            assert (await self.receive()).type == SYN_REPLY


@asynccontextmanager
async def tunnel(cluster: Cluster) -> AsyncIterator[Tunnelled]:
    async with serving(cluster) as api, connected(api, "portforward", TUNNEL) as websocket:
        yield Tunnelled(websocket)


async def test_a_tunnel_carries_many_connections(cluster: Cluster) -> None:
    async with tunnel(cluster) as client:
        await client.open(1, 80, 0)
        await client.open(5, 81, 1)
        await client.send(client.writer.data(7, b"b"), client.writer.data(3, b"a"))
        heard = sorted([(one.number, one.data) for one in (await client.receive(), await client.receive())])
        assert heard == [(3, b"80:a"), (7, b"81:b")]
        await client.send(client.writer.ping(1))
        assert (await client.receive()).number == 1
        await client.send(client.writer.data(3, b"", fin=True))
        ends = [await client.receive(), await client.receive()]
        assert [(one.number, one.flags, one.data) for one in ends] == [(1, 1, b""), (3, 1, b"")]
        assert sessions(cluster) == 1
        await client.send(client.writer.rst_stream(7, 5))
        await until(lambda: sessions(cluster) == 0)


async def test_streams_that_break_the_rules_are_reset(cluster: Cluster) -> None:
    async with tunnel(cluster) as client:
        headers = {"streamtype": "data", "port": "80", "requestid": "1"}
        for number, wrong in (
            (1, {**headers, "port": ""}),
            (3, {**headers, "port": "65536"}),
            (5, {**headers, "streamtype": "other"}),
            (7, {}),
            (8, headers),
        ):
            await client.send(client.writer.syn_stream(number, wrong))
            frame = await client.receive()
            assert (frame.type, frame.number) == (RST_STREAM, number)
        await client.send(client.writer.syn_stream(9, headers))
        assert (await client.receive()).type == SYN_REPLY
        await client.send(client.writer.syn_stream(11, headers))  # a second data stream of the same request
        assert (await client.receive()).type == RST_STREAM
        await client.send(client.writer.data(99, b"nobody's"), client.writer.rst_stream(99, 5))
        await client.websocket.send_bytes(b"\x80\x02\x00\x01\x00\x00\x00\x00")  # SPDY/2
        assert (await client.websocket.receive()).type is not aiohttp.WSMsgType.TEXT
    await until(lambda: sessions(cluster) == 0)


async def test_a_client_that_goes_ends_what_it_tunnelled(cluster: Cluster) -> None:
    async with tunnel(cluster) as client:
        await client.open(1, 80, 0)
        await until(lambda: sessions(cluster) == 1)
    await until(lambda: sessions(cluster) == 0)
