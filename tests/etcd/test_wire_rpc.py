"""gRPC over HTTP/2: messages in frames of any size, statuses, deadlines, cancellation, streams of unequal speed."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from kubeloop.actors.etcd.messages import EtcdError
from kubeloop.actors.etcd.wire.http2 import Http2Connection
from kubeloop.actors.etcd.wire.http2_frames import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    RST_STREAM,
    UINT32,
    WINDOW_UPDATE,
    ErrorCode,
    Http2Limits,
    frame,
)
from kubeloop.actors.etcd.wire.http2_headers import Head
from kubeloop.actors.etcd.wire.http2_stream import Stream
from kubeloop.actors.etcd.wire.rpc import RpcServer
from kubeloop.actors.etcd.wire.rpc_call import StreamingCall
from kubeloop.actors.etcd.wire.rpc_words import Method, RpcError, prefixed
from kubeloop.runtime.actor import ActorStopped
from kubeloop.runtime.log import get_logger
from kubeloop.runtime.metrics import Registry
from kubeloop.runtime.system import System
from tests.etcd.http2_peer import OK, Peer

MESSAGE_BYTES_MAX = 1_000


class Rpc(Peer):
    """A client of an RpcServer whose methods are functions of a test."""

    def __init__(self, system: System, handlers: dict[str, tuple[Any, Any]], limits: Http2Limits | None = None) -> None:
        self.metrics = Registry()
        methods = [Method("a.Test", name, kind, parse, handler) for name, (kind, handler) in handlers.items()]
        self.server = RpcServer(
            system,
            methods,
            message_bytes_max=MESSAGE_BYTES_MAX,
            log=get_logger,
            metrics=self.metrics,
            other=lambda connection, stream_id, head: NotGrpc(connection, stream_id, head),
        )
        super().__init__(limits=limits)

    def _accept(self, connection: Http2Connection, stream_id: int, head: Head) -> Stream:
        stream = self.server.accept(connection, stream_id, head)
        self.streams.append(stream)
        return stream

    def call(self, method: str, body: bytes = b"", *, end: bool = True, **fields: bytes) -> int:
        """Send a call with these bytes as its DATA."""
        self._next_id += 2
        headers = [
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":path", method.encode() if method.startswith("/") else f"/a.Test/{method}".encode()),
            (b"content-type", fields.pop("content_type", b"application/grpc")),
            *((name.replace("_", "-").encode(), value) for name, value in fields.items()),
        ]
        flags = END_HEADERS | (END_STREAM if end and not body else 0)
        self.send(frame(HEADERS, flags, self._next_id, self.encoder.encode(headers)))
        for start in range(0, len(body), 16_384):
            last = end and start + 16_384 >= len(body)
            self.send(frame(DATA, END_STREAM if last else 0, self._next_id, body[start : start + 16_384]))
        return self._next_id

    def status(self, stream_id: int) -> tuple[str, str] | None:
        """The code and text with which a call ended."""
        self.read()
        trailers = [one for one in self.seen if one.kind == HEADERS and one.stream_id == stream_id]
        if not trailers or not trailers[-1].flags & END_STREAM:
            return None
        fields = {bytes(name): bytes(value) for name, value in self.decoder.decode(trailers[-1].payload, raw=True)}
        return fields[b"grpc-status"].decode(), fields.get(b"grpc-message", b"").decode()

    def messages(self, stream_id: int) -> list[bytes]:
        data = self.answer(stream_id)
        found = []
        while data:
            size = int.from_bytes(data[1:5], "big")
            found.append(data[5 : 5 + size])
            data = data[5 + size :]
        return found

    def counted(self) -> dict[str, float]:
        """The calls that ended, by code."""
        family = self.metrics.counter(
            "grpc_server_handled_total",
            "Total number of RPCs completed on the server, regardless of success or failure.",
            ("grpc_type", "grpc_service", "grpc_method", "grpc_code"),
        )
        totals: dict[str, float] = {}
        for labels, counter in family:
            totals[labels[3]] = totals.get(labels[3], 0) + counter.value
        return totals


class NotGrpc(Stream):
    __slots__ = ()

    def request_received(self) -> None:
        self.respond(OK, b"not grpc", OK)


def parse(message: bytes) -> bytes:
    if message == b"garbage":
        raise ValueError("no such message")
    return message


async def echo(request: bytes) -> bytes:
    return request.upper()


@pytest.fixture
async def system() -> AsyncIterator[System]:
    async with System() as system:
        yield system


async def test_a_call_that_does_not_wait_is_answered_within_its_frames(system: System) -> None:
    rpc = Rpc(system, {"Echo": ("unary", echo)})
    stream_id = rpc.call("Echo", prefixed(b"hello"))
    assert len(rpc.transport.writes) == 1
    assert rpc.messages(stream_id) == [b"HELLO"]
    assert rpc.status(stream_id) == ("0", "")
    assert rpc.counted() == {"OK": 1}
    assert not rpc.connection.streams


async def test_a_message_may_come_in_any_pieces(system: System) -> None:
    rpc = Rpc(system, {"Echo": ("unary", echo)})
    body = prefixed(b"hello")
    stream_id = rpc.call("Echo", body[:1], end=False)
    for position in range(1, len(body)):
        rpc.send(frame(DATA, 0, stream_id, body[position : position + 1]))
    assert rpc.status(stream_id) is None
    rpc.send(frame(DATA, END_STREAM, stream_id))
    assert (rpc.messages(stream_id), rpc.status(stream_id)) == ([b"HELLO"], ("0", ""))
    assert rpc.connection.held_bytes == 0


async def test_a_large_message_is_put_together(system: System) -> None:
    sizes = []

    async def size(request: bytes) -> bytes:
        sizes.append(len(request))
        return b""

    rpc = Rpc(system, {"Size": ("unary", size)})
    rpc.server.message_bytes_max = 1_000_000
    stream_id = rpc.call("Size", prefixed(b"x" * 1_000_000))
    assert (rpc.status(stream_id), sizes) == (("0", ""), [1_000_000])
    assert rpc.connection.held_bytes == 0
    assert [one for one in rpc.seen if one.kind == WINDOW_UPDATE and one.stream_id == stream_id]


REFUSED: dict[str, tuple[str, bytes, tuple[str, str]]] = {
    "an unknown service": ("/x.Y/Z", prefixed(b""), ("12", "unknown service x.Y")),
    "an unknown method": ("Nope", prefixed(b""), ("12", "unknown method Nope for service a.Test")),
    "no method": ("/Nope", prefixed(b""), ("12", 'malformed method name: "/Nope"')),
    "a message too large": (
        "Echo",
        prefixed(b"x" * 1_001),
        ("8", "grpc: received message larger than max (1001 vs. 1000)"),
    ),
    "a length too large": (
        "Echo",
        b"\0\xff\xff\xff\xffx",
        ("8", "grpc: received message larger than max (4294967295 vs. 1000)"),
    ),
    "a message cut short": ("Echo", prefixed(b"hello")[:-1], ("13", "unexpected EOF")),
    "a prefix cut short": ("Echo", b"\0\0\0", ("13", "unexpected EOF")),
    "no message": ("Echo", b"", ("13", "grpc: no request message of a unary call")),
    "two messages": (
        "Echo",
        prefixed(b"a") + prefixed(b"b"),
        ("13", "grpc: more than one request message of a unary call"),
    ),
    "more than a message": ("Echo", prefixed(b"a") + b"\0", ("13", "unexpected EOF")),
    "a message that is none": (
        "Echo",
        prefixed(b"garbage"),
        ("13", "grpc: error unmarshalling request: no such message"),
    ),
    "compressed without saying how": (
        "Echo",
        b"\1" + prefixed(b"x")[1:],
        ("13", "grpc: compressed flag set with identity or empty encoding"),
    ),
}


@pytest.mark.parametrize("what", REFUSED)
async def test_what_is_wrong_is_said_in_a_status(system: System, what: str) -> None:
    method, body, status = REFUSED[what]
    rpc = Rpc(system, {"Echo": ("unary", echo)})
    stream_id = rpc.call(method, body)
    assert rpc.status(stream_id) == status
    assert rpc.goaway() is None and rpc.connection.held_bytes == 0
    assert rpc.messages(rpc.call("Echo", prefixed(b"next"))) == [b"NEXT"]


async def test_a_refusal_does_not_wait_for_the_rest_of_the_request(system: System) -> None:
    rpc = Rpc(system, {"Echo": ("unary", echo)})
    stream_id = rpc.call("Echo", b"\0\0\x10\0\0", end=False)
    assert rpc.status(stream_id) == ("8", "grpc: received message larger than max (1048576 vs. 1000)")
    assert rpc.resets() == {stream_id: ErrorCode.NO_ERROR}


async def test_gzip_is_taken_and_others_are_named(system: System) -> None:
    rpc = Rpc(system, {"Echo": ("unary", echo)})
    packed = gzip.compress(b"hello")
    body = b"\1" + len(packed).to_bytes(4, "big") + packed
    assert rpc.messages(rpc.call("Echo", body, grpc_encoding=b"gzip")) == [b"HELLO"]
    stream_id = rpc.call("Echo", body, grpc_encoding=b"snappy")
    assert rpc.status(stream_id) == ("12", 'grpc: Decompressor is not installed for grpc-encoding "snappy"')
    assert b"identity,gzip" in rpc.seen[-1].payload


async def test_incomplete_requests_hold_only_so_much(system: System) -> None:
    rpc = Rpc(system, {"Echo": ("unary", echo)}, Http2Limits(held_bytes_max=2_500))
    calls = [rpc.call("Echo", prefixed(b"x" * 999)[:900], end=False) for _ in range(3)]
    assert [rpc.status(one) is None for one in calls] == [True, True, False]
    for stream_id in calls[:2]:
        rpc.send(frame(RST_STREAM, 0, stream_id, UINT32.pack(8)))
    assert rpc.connection.held_bytes == 0


async def test_requests_that_are_not_grpcs_go_elsewhere(system: System) -> None:
    rpc = Rpc(system, {})
    assert rpc.answer(rpc.call("/health", content_type=b"text/plain")) == b"not grpc"


FAILURES: dict[str, tuple[Exception, tuple[str, str]]] = {
    "a status": (RpcError("NOT_FOUND", "none"), ("5", "none")),
    "etcd's error": (EtcdError("etcdserver: too bad", "OUT_OF_RANGE"), ("11", "etcdserver: too bad")),
    "the end": (ActorStopped("etcd stopped"), ("14", "etcdserver: server stopped")),
    "a text with percent": (RpcError("UNKNOWN", "50% ü"), ("2", "50%25 %C3%BC")),
}


@pytest.mark.parametrize("what", FAILURES)
@pytest.mark.parametrize("kind", ["unary", "server_stream", "bidi_stream"])
async def test_what_a_handler_raises_is_the_status(system: System, what: str, kind: str) -> None:
    error, status = FAILURES[what]

    async def fail(request: Any) -> bytes:
        raise error

    rpc = Rpc(system, {"Fail": (kind, fail)})
    stream_id = rpc.call("Fail", prefixed(b""))
    await until(lambda: rpc.status(stream_id) is not None)
    assert rpc.status(stream_id) == status


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not holds():  # noqa: ASYNC110 - turns of the loop, not time
            await asyncio.sleep(0)


class Waiting:
    """A handler that waits for `gate`, and knows how it ended."""

    def __init__(self) -> None:
        self.gate: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.ended = ""

    async def __call__(self, request: Any) -> bytes:
        try:
            answer = await self.gate
            self.ended = "answered"
            return answer
        finally:
            self.ended = self.ended or "cut off"


async def test_a_call_that_waits_is_answered_when_it_need_not_any_more(system: System) -> None:
    waiting = Waiting()
    rpc = Rpc(system, {"Wait": ("unary", waiting)})
    calls = [rpc.call("Wait", prefixed(b"")) for _ in range(3)]
    assert [rpc.status(one) for one in calls] == [None, None, None]
    waiting.gate.set_result(b"done")
    await until(lambda: rpc.status(calls[2]) is not None)
    assert [rpc.messages(one) for one in calls] == [[b"done"]] * 3


async def test_a_cancelled_call_ends_its_handler(system: System) -> None:
    waiting = Waiting()
    rpc = Rpc(system, {"Wait": ("unary", waiting)})
    stream_id = rpc.call("Wait", prefixed(b""))
    rpc.send(frame(RST_STREAM, 0, stream_id, UINT32.pack(8)))
    assert waiting.ended == "cut off"
    waiting.gate.set_result(b"too late")
    await asyncio.sleep(0)
    assert rpc.read() == [] and rpc.counted() == {"OK": 0, "Canceled": 1}


async def test_a_call_may_be_cancelled_just_when_its_wait_is_over(system: System) -> None:
    waiting = Waiting()
    rpc = Rpc(system, {"Wait": ("unary", waiting)})
    stream_id = rpc.call("Wait", prefixed(b""))
    problems: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: problems.append(context))
    waiting.gate.set_result(b"just in time")
    rpc.send(frame(RST_STREAM, 0, stream_id, UINT32.pack(8)))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert (waiting.ended, rpc.read(), problems) == ("cut off", [], [])


async def test_a_lost_connection_ends_its_handlers(system: System) -> None:
    waiting = Waiting()
    rpc = Rpc(system, {"Wait": ("unary", waiting)})
    rpc.call("Wait", prefixed(b""))
    rpc.connection.connection_lost(None)
    assert waiting.ended == "cut off"


@pytest.mark.parametrize("kind", ["unary", "bidi_stream"])
async def test_a_deadline_ends_a_call(system: System, kind: str) -> None:
    waiting = Waiting()
    rpc = Rpc(system, {"Wait": (kind, waiting)})
    in_time, late = (
        rpc.call("Wait", prefixed(b""), grpc_timeout=b"1H"),
        rpc.call("Wait", prefixed(b""), grpc_timeout=b"1m"),
    )
    await until(lambda: rpc.status(late) is not None)
    assert rpc.status(late) == ("4", "context deadline exceeded")
    await until(lambda: waiting.ended == "cut off")
    assert rpc.status(in_time) is None
    assert rpc.status(rpc.call("Wait", prefixed(b""), grpc_timeout=b"soon")) == ("13", "malformed grpc-timeout: soon")
    rpc.connection.connection_lost(None)


# streams


async def test_a_stream_gets_and_sends_messages_in_order(system: System) -> None:
    async def shout(call: StreamingCall) -> None:
        while (request := await call.receive()) is not None:
            await call.send(request.upper())

    rpc = Rpc(system, {"Shout": ("bidi_stream", shout)})
    stream_id = rpc.call("Shout", prefixed(b"a") + prefixed(b"b")[:3], end=False)
    rpc.send(frame(DATA, 0, stream_id, prefixed(b"b")[3:] + prefixed(b"c")))
    await until(lambda: len(rpc.messages(stream_id)) == 3)
    assert rpc.messages(stream_id) == [b"A", b"B", b"C"] and rpc.status(stream_id) is None
    rpc.send(frame(DATA, END_STREAM, stream_id, prefixed(b"d")))
    await until(lambda: rpc.status(stream_id) is not None)
    assert rpc.messages(stream_id)[3:] == [b"D"] and rpc.status(stream_id) == ("0", "")


async def test_a_server_stream_has_one_request(system: System) -> None:
    async def count(call: StreamingCall) -> None:
        for number in range(int(call.request)):
            await call.send(b"%d" % number)

    rpc = Rpc(system, {"Count": ("server_stream", count)})
    stream_id = rpc.call("Count", prefixed(b"3"))
    await until(lambda: rpc.status(stream_id) is not None)
    assert (rpc.messages(stream_id), rpc.status(stream_id)) == ([b"0", b"1", b"2"], ("0", ""))
    assert rpc.status(rpc.call("Count")) == ("13", "grpc: no request message")


async def test_a_stream_that_is_not_read_makes_its_sender_wait(system: System) -> None:
    sent = []

    async def pour(call: StreamingCall) -> None:
        for number in range(100):
            await call.send(b"x" * 10_000)
            sent.append(number)

    rpc = Rpc(system, {"Pour": ("server_stream", pour)})
    stream_id = rpc.call("Pour", prefixed(b"go"))
    for _ in range(50):
        await asyncio.sleep(0)
    assert len(sent) < 20
    for _ in range(40):
        rpc.send(
            frame(WINDOW_UPDATE, 0, 0, UINT32.pack(30_000)), frame(WINDOW_UPDATE, 0, stream_id, UINT32.pack(30_000))
        )
        await asyncio.sleep(0)
    await until(lambda: rpc.status(stream_id) is not None)
    assert rpc.status(stream_id) == ("0", "") and len(rpc.messages(stream_id)) == 100


async def test_a_stream_whose_handler_does_not_read_makes_its_client_wait(system: System) -> None:
    release = asyncio.Event()
    received = []

    async def slow(call: StreamingCall) -> None:
        await release.wait()
        while (request := await call.receive()) is not None:
            received.append(len(request))

    rpc = Rpc(system, {"Slow": ("bidi_stream", slow)}, Http2Limits(stream_window_bytes=65_535))
    stream_id = rpc.call("Slow", prefixed(b"x" * 995), end=False)
    window = 65_535 - 1_000
    sent = 1
    for _ in range(500):
        for one in rpc.read():
            if one.kind == WINDOW_UPDATE and one.stream_id == stream_id:
                window += int.from_bytes(one.payload, "big")
        if window < 1_000:
            break
        window -= 1_000
        sent += 1
        rpc.send(frame(DATA, 0, stream_id, prefixed(b"x" * 995)))
    assert sent < 250
    release.set()
    await until(lambda: len(received) == sent)
    await until(lambda: any(one.kind == WINDOW_UPDATE and one.stream_id == stream_id for one in rpc.read()))
    rpc.send(frame(DATA, END_STREAM, stream_id))
    await until(lambda: rpc.status(stream_id) == ("0", ""))


async def test_a_cancelled_stream_cancels_its_handler(system: System) -> None:
    ended = []

    async def wait(call: StreamingCall) -> None:
        try:
            await call.receive()
        finally:
            ended.append(True)

    rpc = Rpc(system, {"Wait": ("bidi_stream", wait)})
    stream_id = rpc.call("Wait", end=False)
    await asyncio.sleep(0)
    rpc.send(frame(RST_STREAM, 0, stream_id, UINT32.pack(8)))
    await until(lambda: bool(ended))
    assert rpc.counted()["Canceled"] == 1
