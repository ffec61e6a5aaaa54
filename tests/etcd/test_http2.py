"""HTTP/2 as RFC 9113 has it: frames in, frames out, and the right error for whatever is wrong."""

import asyncio
import struct

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from kubeloop.actors.etcd.wire.http2_frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HAS_PRIORITY,
    HEADERS,
    PADDED,
    PING,
    PREFACE,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    ErrorCode,
    Http2Limits,
    frame,
)
from tests.etcd.http2_peer import GREETING, OK, REQUEST, EchoStream, Peer, SilentStream, settings

INT = struct.Struct(">I").pack
HEAD = b"\x83\x86\x04\x05/echo\x01\x04etcd"  # POST, http, :path /echo, :authority etcd: nothing is indexed
OPEN_1 = frame(HEADERS, END_HEADERS, 1, HEAD)
PARTLY_1 = frame(HEADERS, 0, 1, HEAD)


@pytest.fixture(autouse=True)
async def _in_a_loop() -> None:
    """Every connection lives in a running loop."""


CONNECTION_ERRORS: dict[str, tuple[bytes, ErrorCode]] = {
    "a frame longer than the maximum": (frame(DATA, 0, 1, b"x" * 16_385), ErrorCode.FRAME_SIZE_ERROR),
    "an unknown frame longer than the maximum": (frame(99, 0, 1, b"x" * 16_385), ErrorCode.FRAME_SIZE_ERROR),
    "DATA of stream 0": (frame(DATA, 0, 0, b"x"), ErrorCode.PROTOCOL_ERROR),
    "DATA of a stream never opened": (frame(DATA, 0, 1, b"x"), ErrorCode.PROTOCOL_ERROR),
    "DATA of a stream of the server's": (OPEN_1 + frame(DATA, 0, 2, b"x"), ErrorCode.PROTOCOL_ERROR),
    "DATA that is all padding and more": (OPEN_1 + frame(DATA, PADDED, 1, b"\x05abcd"), ErrorCode.PROTOCOL_ERROR),
    "padded DATA of no bytes": (OPEN_1 + frame(DATA, PADDED, 1), ErrorCode.PROTOCOL_ERROR),
    "HEADERS of stream 0": (frame(HEADERS, END_HEADERS, 0, HEAD), ErrorCode.PROTOCOL_ERROR),
    "HEADERS of an even stream": (frame(HEADERS, END_HEADERS, 2, HEAD), ErrorCode.PROTOCOL_ERROR),
    "HEADERS with too much padding": (
        frame(HEADERS, END_HEADERS | PADDED, 1, b"\xff" + HEAD),
        ErrorCode.PROTOCOL_ERROR,
    ),
    "HEADERS too short for its priority": (
        frame(HEADERS, END_HEADERS | HAS_PRIORITY, 1, b"\0\0\0"),
        ErrorCode.FRAME_SIZE_ERROR,
    ),
    "HEADERS that depend on themselves": (
        frame(HEADERS, END_HEADERS | HAS_PRIORITY, 1, INT(1) + b"\0" + HEAD),
        ErrorCode.PROTOCOL_ERROR,
    ),
    "a block that HPACK cannot read": (frame(HEADERS, END_HEADERS, 1, b"\xff\xff\xff"), ErrorCode.COMPRESSION_ERROR),
    "an index beyond the table": (frame(HEADERS, END_HEADERS, 1, b"\xfe"), ErrorCode.COMPRESSION_ERROR),
    "index 0": (frame(HEADERS, END_HEADERS, 1, b"\x80"), ErrorCode.COMPRESSION_ERROR),
    "a table larger than allowed": (frame(HEADERS, END_HEADERS, 1, b"\x3f\xff\xff\x03"), ErrorCode.COMPRESSION_ERROR),
    "a table size after a field": (frame(HEADERS, END_HEADERS, 1, b"\x83\x20"), ErrorCode.COMPRESSION_ERROR),
    "a string cut short": (frame(HEADERS, END_HEADERS, 1, b"\x00\x7fabc"), ErrorCode.COMPRESSION_ERROR),
    "HEADERS of a closed stream": (
        OPEN_1 + frame(DATA, END_STREAM, 1, b"x") + OPEN_1,
        ErrorCode.STREAM_CLOSED,
    ),
    "HEADERS of a lower stream": (frame(HEADERS, END_HEADERS, 5, HEAD) + OPEN_1, ErrorCode.STREAM_CLOSED),
    "DATA within a header block": (PARTLY_1 + frame(DATA, 0, 1, b"x"), ErrorCode.PROTOCOL_ERROR),
    "an unknown frame within a header block": (PARTLY_1 + frame(99, 0, 1), ErrorCode.PROTOCOL_ERROR),
    "PING within a header block": (PARTLY_1 + frame(PING, 0, 0, b"8 bytes."), ErrorCode.PROTOCOL_ERROR),
    "CONTINUATION of another stream": (PARTLY_1 + frame(CONTINUATION, 0, 3, HEAD), ErrorCode.PROTOCOL_ERROR),
    "CONTINUATION of no block": (OPEN_1 + frame(CONTINUATION, END_HEADERS, 1, HEAD), ErrorCode.PROTOCOL_ERROR),
    "a header block without end": (
        PARTLY_1 + frame(CONTINUATION, 0, 1, b"x" * 16_384) * 5,
        ErrorCode.ENHANCE_YOUR_CALM,
    ),
    "CONTINUATION of nothing without end": (PARTLY_1 + frame(CONTINUATION, 0, 1) * 70, ErrorCode.ENHANCE_YOUR_CALM),
    "PRIORITY of stream 0": (frame(PRIORITY, 0, 0, bytes(5)), ErrorCode.PROTOCOL_ERROR),
    "PRIORITY of 4 bytes": (frame(PRIORITY, 0, 1, bytes(4)), ErrorCode.FRAME_SIZE_ERROR),
    "RST_STREAM of stream 0": (frame(RST_STREAM, 0, 0, INT(8)), ErrorCode.PROTOCOL_ERROR),
    "RST_STREAM of a stream never opened": (frame(RST_STREAM, 0, 7, INT(8)), ErrorCode.PROTOCOL_ERROR),
    "RST_STREAM of 3 bytes": (OPEN_1 + frame(RST_STREAM, 0, 1, b"abc"), ErrorCode.FRAME_SIZE_ERROR),
    "SETTINGS of a stream": (frame(SETTINGS, 0, 1), ErrorCode.PROTOCOL_ERROR),
    "SETTINGS of 5 bytes": (frame(SETTINGS, 0, 0, b"12345"), ErrorCode.FRAME_SIZE_ERROR),
    "an acknowledgement with settings": (frame(SETTINGS, ACK, 0, bytes(6)), ErrorCode.FRAME_SIZE_ERROR),
    "push that is neither on nor off": (settings(enable_push=2), ErrorCode.PROTOCOL_ERROR),
    "a window above 2^31-1": (settings(initial_window_size=1 << 31), ErrorCode.FLOW_CONTROL_ERROR),
    "frames too small": (settings(max_frame_size=16_383), ErrorCode.PROTOCOL_ERROR),
    "frames too large": (settings(max_frame_size=1 << 24), ErrorCode.PROTOCOL_ERROR),
    "PUSH_PROMISE": (frame(PUSH_PROMISE, END_HEADERS, 1, INT(2) + HEAD), ErrorCode.PROTOCOL_ERROR),
    "PING of a stream": (frame(PING, 0, 1, bytes(8)), ErrorCode.PROTOCOL_ERROR),
    "PING of 7 bytes": (frame(PING, 0, 0, bytes(7)), ErrorCode.FRAME_SIZE_ERROR),
    "GOAWAY of a stream": (frame(GOAWAY, 0, 1, bytes(8)), ErrorCode.PROTOCOL_ERROR),
    "GOAWAY of 7 bytes": (frame(GOAWAY, 0, 0, bytes(7)), ErrorCode.FRAME_SIZE_ERROR),
    "WINDOW_UPDATE of 3 bytes": (frame(WINDOW_UPDATE, 0, 0, b"abc"), ErrorCode.FRAME_SIZE_ERROR),
    "WINDOW_UPDATE by 0": (frame(WINDOW_UPDATE, 0, 0, INT(0)), ErrorCode.PROTOCOL_ERROR),
    "WINDOW_UPDATE beyond 2^31-1": (frame(WINDOW_UPDATE, 0, 0, INT((1 << 31) - 1)), ErrorCode.FLOW_CONTROL_ERROR),
    "WINDOW_UPDATE of a stream never opened": (frame(WINDOW_UPDATE, 0, 9, INT(1)), ErrorCode.PROTOCOL_ERROR),
    "settings that widen a window beyond 2^31-1": (
        OPEN_1 + frame(WINDOW_UPDATE, 0, 1, INT(1 << 30)) + settings(initial_window_size=(1 << 31) - 1),
        ErrorCode.FLOW_CONTROL_ERROR,
    ),
}


@pytest.mark.parametrize("what", CONNECTION_ERRORS)
async def test_what_breaks_the_connection_is_answered_by_goaway(what: str) -> None:
    data, code = CONNECTION_ERRORS[what]
    peer = Peer(stream=EchoStream if "closed" in what else SilentStream)
    peer.send(data)
    goaway = peer.goaway()
    assert goaway is not None and goaway[0] == code, goaway
    assert peer.transport.ended == "closed"
    assert all(isinstance(stream, EchoStream) and stream.closed for stream in peer.streams)


def block(*fields: tuple[bytes, bytes]) -> bytes:
    return b"".join(b"\0" + bytes((len(name),)) + name + bytes((len(value),)) + value for name, value in fields)


def without(name: bytes) -> tuple[tuple[bytes, bytes], ...]:
    return tuple(field for field in REQUEST if field[0] != name)


MALFORMED: dict[str, bytes] = {
    "no :method": block(*without(b":method")),
    "no :path": block(*without(b":path")),
    "no :scheme": block(*without(b":scheme")),
    "an empty :path": block((b":path", b""), *without(b":path")),
    ":path twice": block((b":path", b"/"), *REQUEST),
    "a response's pseudo-header": block((b":status", b"200"), *REQUEST),
    "a pseudo-header after a field": block((b"te", b"trailers"), *REQUEST),
    "an upper case name": block(*REQUEST, (b"Te", b"trailers")),
    "an empty name": block(*REQUEST, (b"", b"x")),
    "a space in a name": block(*REQUEST, (b"a b", b"x")),
    "connection": block(*REQUEST, (b"connection", b"close")),
    "transfer-encoding": block(*REQUEST, (b"transfer-encoding", b"chunked")),
    "te other than trailers": block(*without(b"te"), (b"te", b"gzip")),
    "a line feed in a value": block(*REQUEST, (b"x", b"a\nb")),
    "a zero byte in a value": block(*REQUEST, (b"x", b"a\0b")),
    "a value that begins with a space": block(*REQUEST, (b"x", b" a")),
    "a content-length that is no number": block(*REQUEST, (b"content-length", b"ten")),
}


@pytest.mark.parametrize("what", MALFORMED)
async def test_a_malformed_request_costs_its_stream_and_nothing_else(what: str) -> None:
    peer = Peer()
    peer.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, MALFORMED[what]))
    assert peer.resets() == {1: ErrorCode.PROTOCOL_ERROR}
    assert not peer.streams
    peer.send(frame(HEADERS, END_HEADERS, 3, HEAD), frame(DATA, END_STREAM, 3, b"still here"))
    assert peer.answer(3) == b"still here"


STREAM_ERRORS: dict[str, tuple[bytes, ErrorCode]] = {
    "DATA after the end": (frame(DATA, END_STREAM, 1) + frame(DATA, 0, 1, b"x"), ErrorCode.STREAM_CLOSED),
    "HEADERS after the end": (
        frame(DATA, END_STREAM, 1) + frame(HEADERS, END_HEADERS | END_STREAM, 1, HEAD),
        ErrorCode.STREAM_CLOSED,
    ),
    "a second head": (frame(HEADERS, END_HEADERS, 1, HEAD), ErrorCode.PROTOCOL_ERROR),
    "trailers with a pseudo-header": (
        frame(HEADERS, END_HEADERS | END_STREAM, 1, HEAD),
        ErrorCode.PROTOCOL_ERROR,
    ),
    "WINDOW_UPDATE by 0": (frame(WINDOW_UPDATE, 0, 1, INT(0)), ErrorCode.PROTOCOL_ERROR),
    "WINDOW_UPDATE beyond 2^31-1": (frame(WINDOW_UPDATE, 0, 1, INT((1 << 31) - 1)), ErrorCode.FLOW_CONTROL_ERROR),
    "more DATA than its window": (frame(DATA, 0, 1, b"x" * 16_000) * 3, ErrorCode.FLOW_CONTROL_ERROR),
}


@pytest.mark.parametrize("what", STREAM_ERRORS)
async def test_what_breaks_a_stream_is_answered_by_rst_stream(what: str) -> None:
    data, code = STREAM_ERRORS[what]
    peer = Peer(stream=SilentStream, limits=Http2Limits(stream_window_bytes=40_000))
    peer.send(OPEN_1, data)
    assert peer.resets() == {1: code}
    (stream,) = peer.streams
    assert isinstance(stream, SilentStream) and stream.reset_by_client
    peer.send(frame(DATA, 0, 1, b"late"), frame(RST_STREAM, 0, 1, INT(8)), frame(PING, 0, 0, b"8 bytes."))
    assert [one.kind for one in peer.read()] == [PING]


async def test_a_length_other_than_content_length_breaks_the_stream() -> None:
    peer = Peer()
    assert peer.answer(peer.request(b"12345", content_length=b"5")) == b"12345"
    for body in (b"1234", b"123456", None):
        stream_id = peer.request(body, content_length=b"5")
        assert peer.resets()[stream_id] == ErrorCode.PROTOCOL_ERROR


@pytest.mark.parametrize(
    "greeting",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        PREFACE[:10] + b"X",
        PREFACE + frame(PING, 0, 0, bytes(8)),
        PREFACE + frame(SETTINGS, ACK, 0),
        PREFACE + OPEN_1,
    ],
)
async def test_a_client_that_does_not_greet_properly_is_sent_away(greeting: bytes) -> None:
    peer = Peer(greet=False)
    peer.send(greeting)
    assert peer.goaway() is not None
    assert peer.transport.ended


async def test_a_client_that_says_nothing_is_sent_away() -> None:
    peer = Peer(greet=False, limits=Http2Limits(handshake_seconds=0.01))
    peer.send(PREFACE)
    async with asyncio.timeout(5):
        await peer.transport.has_ended.wait()
    goaway = peer.goaway()
    assert goaway is not None and goaway[0] == ErrorCode.SETTINGS_TIMEOUT


async def test_settings_are_sent_first_and_acknowledged() -> None:
    peer = Peer(greet=False, limits=Http2Limits(concurrent_streams_max=7, stream_window_bytes=70_000))
    await asyncio.sleep(0)
    first = peer.read()[0]
    assert (first.kind, first.flags, first.stream_id) == (SETTINGS, 0, 0)
    assert struct.pack(">HI", 3, 7) in first.payload and struct.pack(">HI", 4, 70_000) in first.payload
    peer.send(GREETING)
    assert [(one.kind, one.flags) for one in peer.read()] == [(SETTINGS, ACK)]


async def test_frames_may_come_in_any_pieces() -> None:
    """One byte at a time, with padding, priority fields, CONTINUATION, unknown frames and trailers."""
    head = frame(HEADERS, PADDED | HAS_PRIORITY, 1, b"\x03" + INT(0) + b"\x10" + HEAD[:3] + bytes(3))
    story = b"".join(
        (
            GREETING,
            head,
            frame(CONTINUATION, 0, 1, HEAD[3:7]),
            frame(CONTINUATION, END_HEADERS, 1, HEAD[7:]),
            frame(200, 0xFF, 1, b"whatever"),
            frame(PRIORITY, 0, 9, INT(3) + b"\0"),
            frame(DATA, PADDED, 1, b"\x02ab\0\0"),
            frame(DATA, 0, 1, b"cd"),
            frame(HEADERS, END_HEADERS | END_STREAM, 1, block((b"x-checksum", b"1"))),
        )
    )
    whole, pieces = Peer(greet=False), Peer(greet=False)
    whole.send(story)
    for position in range(len(story)):
        pieces.send(story[position : position + 1])
    assert whole.answer(1) == pieces.answer(1) == b"abcd"
    assert whole.goaway() is None and pieces.goaway() is None


async def test_a_ping_is_answered_and_an_answer_is_not() -> None:
    peer = Peer()
    peer.send(frame(PING, 0, 0, b"8 bytes."), frame(PING, ACK, 0, b"not mine"))
    assert [(one.kind, one.flags, one.payload) for one in peer.read()] == [(PING, ACK, b"8 bytes.")]


async def test_everything_of_one_turn_goes_out_in_one_write() -> None:
    peer = Peer()
    peer.send(*(frame(HEADERS, END_HEADERS | END_STREAM, 2 * n + 1, HEAD) for n in range(50)))
    assert len(peer.transport.writes) == 1
    peer.read()
    waiting = Peer(stream=SilentStream)
    ids = [waiting.request() for _ in range(20)]
    for stream in waiting.streams:
        stream.respond(OK, b"later", OK)
    assert waiting.transport.writes == []
    await asyncio.sleep(0)
    assert len(waiting.transport.writes) == 1
    assert [waiting.answer(stream_id) for stream_id in ids] == [b"later"] * 20


async def test_a_request_beyond_the_most_is_refused_and_may_be_tried_again() -> None:
    peer = Peer(stream=SilentStream, limits=Http2Limits(concurrent_streams_max=2))
    first, _, third = peer.request(), peer.request(), peer.request()
    assert peer.resets() == {third: ErrorCode.REFUSED_STREAM}
    peer.streams[0].respond(OK, b"done", OK)
    await asyncio.sleep(0)
    assert peer.answer(first) == b"done"
    fourth = peer.request()
    assert fourth not in peer.resets()


async def test_an_answer_before_the_end_of_its_request_stops_the_request() -> None:
    peer = Peer(stream=SilentStream)
    stream_id = peer.request(b"half", end=False)
    peer.streams[0].respond(OK, b"enough", OK)
    await asyncio.sleep(0)
    assert peer.answer(stream_id) == b"enough"
    assert peer.resets() == {stream_id: ErrorCode.NO_ERROR}
    peer.send(frame(DATA, END_STREAM, stream_id, b"other half"))
    assert peer.goaway() is None and peer.read() == []


@hypothesis_settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200), st.lists(st.tuples(st.integers(0, 11), st.binary(max_size=30)), max_size=12))
def test_no_bytes_make_it_raise(noise: bytes, frames: list[tuple[int, bytes]]) -> None:
    """Random frames of known types with random flags and payloads, then noise."""

    async def main() -> None:
        peer = Peer(limits=Http2Limits(stream_window_bytes=100, connection_window_bytes=65_535))
        peer.request(b"x", end=False)
        for kind, payload in frames:
            flags, stream_id = (payload[0], payload[-1] % 8) if payload else (0, 0)
            peer.send(frame(kind, flags, stream_id, payload))
        peer.send(noise)
        if peer.goaway() is None:
            assert peer.transport.ended == ""
        peer.connection.connection_lost(None)

    asyncio.run(main())
