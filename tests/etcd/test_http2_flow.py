"""HTTP/2 between two sides of unequal speed: windows, back-pressure, floods, and goodbyes."""

import asyncio
import struct

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from kubeloop.actors.etcd.wire.http2 import Http2Connection
from kubeloop.actors.etcd.wire.http2_frames import (
    ACK,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PING,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    ErrorCode,
    Http2Limits,
    frame,
)
from kubeloop.actors.etcd.wire.http2_headers import literal
from kubeloop.actors.etcd.wire.http2_stream import WAITING_BYTES_HIGH, Stream
from tests.etcd.http2_peer import OK, EchoStream, Peer, SilentStream, settings

INT = struct.Struct(">I").pack
WINDOW = 65_535
HEAD = b"\x83\x86\x04\x05/echo"


@pytest.fixture(autouse=True)
async def _in_a_loop() -> None:
    """Every connection lives in a running loop."""


def widen(stream_id: int, size: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, stream_id, INT(size))


def ended(peer: Peer, stream_id: int) -> bool:
    peer.read()
    return any(
        one.stream_id == stream_id and one.flags & END_STREAM for one in peer.seen if one.kind in (DATA, HEADERS)
    )


# the server sends


async def test_data_stop_at_the_streams_window_and_go_on_with_it() -> None:
    peer = Peer(stream=SilentStream)
    peer.send(settings(initial_window_size=10), widen(0, 1_000_000))
    stream_id = peer.request()
    peer.streams[0].respond(OK, b"x" * 25, OK)
    await asyncio.sleep(0)
    assert (len(peer.answer(stream_id)), ended(peer, stream_id)) == (10, False)
    peer.send(widen(stream_id, 14))
    assert (len(peer.answer(stream_id)), ended(peer, stream_id)) == (24, False)
    peer.send(widen(stream_id, 5))
    assert (len(peer.answer(stream_id)), ended(peer, stream_id)) == (25, True)


async def test_more_than_a_frame_goes_out_without_anything_else_to_send() -> None:
    peer = Peer(stream=SilentStream)
    stream_id = peer.request()
    peer.streams[0].write_headers(OK)
    await asyncio.sleep(0)
    peer.streams[0].write(b"x" * 40_000)
    await asyncio.sleep(0)
    assert len(peer.answer(stream_id)) == 40_000


async def test_a_window_may_be_made_negative_by_settings() -> None:
    peer = Peer(stream=SilentStream)
    stream_id = peer.request()
    peer.streams[0].write_headers(OK)
    peer.streams[0].write(b"x" * 100)
    await asyncio.sleep(0)
    peer.send(settings(initial_window_size=50))
    peer.streams[0].write(b"y" * 10)
    peer.send(widen(stream_id, WINDOW - 50 - 50 + 7))  # 65,535 - 100 sent, then 50 instead of 65,535: -50
    await asyncio.sleep(0)
    assert peer.answer(stream_id) == b"x" * 100 + b"y" * 10
    assert peer.streams[0].send_window == WINDOW - 50 - 50 + 7 - 50 - 10


async def test_the_connections_window_is_shared_in_turn() -> None:
    peer = Peer(stream=SilentStream)
    peer.send(settings(initial_window_size=1_000_000))
    big, other = peer.request(), peer.request()
    for stream in peer.streams:
        stream.respond(OK, b"x" * 100_000, OK)
    await asyncio.sleep(0)
    assert len(peer.answer(big)) + len(peer.answer(other)) == WINDOW
    small = peer.request()
    peer.streams[2].respond(OK, b"small", OK)
    for _ in range(9):
        peer.send(widen(0, 16_384))
    sizes = [len(peer.answer(stream_id)) for stream_id in (big, other, small)]
    assert sum(sizes) == 200_005 and [ended(peer, one) for one in (big, other, small)] == [True] * 3
    data = [one.stream_id for one in peer.seen if one.kind == DATA]
    assert data.index(small) < len(data) - 1  # it did not wait for the big ones' end


async def test_frames_are_as_large_as_the_client_takes() -> None:
    peer = Peer(stream=SilentStream)
    peer.send(settings(initial_window_size=1_000_000, max_frame_size=20_000), widen(0, 1_000_000))
    stream_id = peer.request()
    peer.streams[0].respond(OK, b"x" * 50_000, OK)
    await asyncio.sleep(0)
    assert len(peer.answer(stream_id)) == 50_000
    assert [len(one.payload) for one in peer.seen if one.kind == DATA] == [20_000, 20_000, 10_000]


class Producer(Stream):
    """Writes as long as there is room."""

    __slots__ = ("written",)

    def request_received(self) -> None:
        self.written = 0
        self.write_headers(OK)
        self.writable()

    def writable(self) -> None:
        while self.written < 1_000_000:
            self.written += 10_000
            if not self.write(b"x" * 10_000):
                return
        self.end(OK)


async def test_a_writer_is_asked_to_wait_and_told_to_go_on() -> None:
    peer = Peer(stream=Producer)
    stream_id = peer.request()
    producer = peer.streams[0]
    assert isinstance(producer, Producer)
    assert producer.written <= WINDOW + WAITING_BYTES_HIGH + 20_000
    reads = 0
    while not ended(peer, stream_id):
        before = producer.written
        peer.send(widen(0, 50_000), widen(stream_id, 50_000))
        assert producer.written - before <= 50_000 + WAITING_BYTES_HIGH
        reads += 1
    assert len(peer.answer(stream_id)) == 1_000_000
    assert reads >= 15


async def test_a_socket_that_nobody_reads_stops_data_and_not_control() -> None:
    peer = Peer(stream=Producer)
    peer.send(settings(initial_window_size=(1 << 31) - 1), widen(0, (1 << 31) - 1 - WINDOW))
    peer.transport.taken = False
    stream_id = peer.request()
    producer = peer.streams[0]
    assert isinstance(producer, Producer)
    await asyncio.sleep(0)
    assert producer.written < 1_000_000
    peer.send(frame(PING, 0, 0, b"8 bytes."))
    assert [one.kind for one in peer.read() if one.kind != DATA] == [SETTINGS, HEADERS, PING]
    peer.transport.take()
    await asyncio.sleep(0)
    assert len(peer.answer(stream_id)) == 1_000_000


async def test_a_client_that_asks_and_never_reads_is_cut_off() -> None:
    peer = Peer(limits=Http2Limits(unread_bytes_max=20_000))
    peer.transport.taken = False
    peer.transport.high = 0
    peer.request()
    sent = 0
    while not peer.transport.ended:
        peer.send(frame(PING, 0, 0, b"8 bytes.") * 100)
        sent += 1
        assert sent < 20
    assert peer.transport.ended == "aborted"


async def test_while_too_much_waits_requests_are_refused() -> None:
    peer = Peer(stream=SilentStream, limits=Http2Limits(queued_bytes_max=100_000))
    peer.request()
    peer.streams[0].respond(OK, b"x" * 200_000, OK)
    refused = peer.request()
    assert peer.resets() == {refused: ErrorCode.REFUSED_STREAM}
    peer.send(frame(RST_STREAM, 0, 1, INT(8)))
    assert peer.connection.queued_bytes == 0
    assert peer.request() not in peer.resets()


@hypothesis_settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 70_000),
    st.lists(st.integers(1, 40_000), min_size=1, max_size=4),
    st.lists(st.tuples(st.integers(0, 4), st.integers(1, 30_000)), max_size=30),
)
def test_nothing_is_lost_and_no_window_overrun(initial: int, sizes: list[int], updates: list[tuple[int, int]]) -> None:
    """Whatever the windows, every answer comes whole and in order, and never more of it than was allowed."""

    async def main() -> None:
        peer = Peer(stream=SilentStream)
        peer.send(settings(initial_window_size=initial))
        ids = [peer.request() for _ in sizes]
        for stream, size in zip(peer.streams, sizes, strict=True):
            stream.respond(OK, bytes(range(256)) * (size // 256) + b"x" * (size % 256), OK)
        allowed = {0: WINDOW, **dict.fromkeys(ids, initial)}

        def check() -> None:
            received = {stream_id: len(peer.answer(stream_id)) for stream_id in ids}
            assert sum(received.values()) <= allowed[0]
            assert all(received[stream_id] <= allowed[stream_id] for stream_id in ids)

        check()
        for target, size in updates:
            stream_id = 0 if target == 0 or target > len(ids) else ids[target - 1]
            peer.send(widen(stream_id, size))
            allowed[stream_id] += size
            check()
        for stream_id in (0, *ids):
            peer.send(widen(stream_id, 200_000))
            allowed[stream_id] += 200_000
        await asyncio.sleep(0)
        check()
        for stream_id, size in zip(ids, sizes, strict=True):
            assert peer.answer(stream_id) == bytes(range(256)) * (size // 256) + b"x" * (size % 256)
        assert peer.connection.queued_bytes == 0 and not peer.connection.streams
        assert peer.goaway() is None

    asyncio.run(main())


# the server receives


@pytest.mark.parametrize("padding", [0, 200])
async def test_windows_are_widened_in_time_for_a_body_of_any_size(padding: int) -> None:
    peer = Peer(limits=Http2Limits(stream_window_bytes=65_535, connection_window_bytes=100_000))
    await asyncio.sleep(0)
    peer.read()
    windows = {0: WINDOW, 1: WINDOW}

    def read() -> None:
        for one in peer.read():
            if one.kind == WINDOW_UPDATE:
                windows[one.stream_id] += int.from_bytes(one.payload, "big")

    for one in peer.seen:
        if one.kind == WINDOW_UPDATE:
            windows[one.stream_id] += int.from_bytes(one.payload, "big")
    peer.request(end=False)
    for number in range(60):
        body = b"x" * 10_000
        padded = bytes((padding,)) + body + bytes(padding)
        assert min(windows.values()) >= len(padded), f"stuck at {number}"
        windows[0] -= len(padded)
        windows[1] -= len(padded)
        peer.send(frame(DATA, 0x08, 1, padded))
        read()
    peer.send(frame(DATA, END_STREAM, 1))
    stream = peer.streams[0]
    assert isinstance(stream, EchoStream) and len(stream.body) == 600_000


async def test_a_reader_that_does_not_read_stops_its_own_stream_only() -> None:
    peer = Peer(stream=SilentStream, limits=Http2Limits(stream_window_bytes=65_535, connection_window_bytes=120_000))
    peer.request(end=False)
    for _ in range(4):
        peer.send(frame(DATA, 0, 1, b"x" * 16_000))
    assert [one.stream_id for one in peer.read() if one.kind == WINDOW_UPDATE] == [0]  # not stream 1
    other = peer.request(b"y" * 16_000)
    assert other not in peer.resets()
    peer.streams[0].consumed(64_000)
    await asyncio.sleep(0)
    assert [(one.stream_id, one.payload) for one in peer.read() if one.kind == WINDOW_UPDATE] == [(1, INT(64_000))]


async def test_more_data_than_the_connections_window_ends_it() -> None:
    peer = Peer(stream=SilentStream, limits=Http2Limits(stream_window_bytes=1 << 20, connection_window_bytes=65_535))
    peer.connection._consumed = -(1 << 20)  # never widened again
    peer.request(end=False)
    for _ in range(5):
        peer.send(frame(DATA, 0, 1, b"x" * 16_000))
    goaway = peer.goaway()
    assert goaway is not None and goaway[0] == ErrorCode.FLOW_CONTROL_ERROR


# floods

FLOODS = {
    "pings": frame(PING, 0, 0, bytes(8)),
    "settings": frame(SETTINGS, 0, 0),
    "empty data": frame(DATA, 0, 1),
    "priorities": frame(PRIORITY, 0, 1, INT(3) + b"\0"),
    "unknown frames": frame(77, 0, 0),
    "goaways": frame(GOAWAY, 0, 0, bytes(8)),
}


@pytest.mark.parametrize("what", FLOODS)
async def test_a_flood_of_frames_that_do_no_work_ends_the_connection(what: str) -> None:
    peer = Peer(stream=SilentStream, limits=Http2Limits(idle_frames_burst=50, idle_frames_per_second=1))
    peer.request(b"x", end=False)
    peer.send(FLOODS[what] * 40)
    assert peer.goaway() is None
    peer.send(FLOODS[what] * 40)
    goaway = peer.goaway()
    assert goaway is not None and goaway[0] == ErrorCode.ENHANCE_YOUR_CALM


async def test_rapid_resets_end_the_connection() -> None:
    peer = Peer(stream=SilentStream, limits=Http2Limits(idle_frames_burst=50, idle_frames_per_second=1))
    for _ in range(60):
        stream_id = peer.request()
        peer.send(frame(RST_STREAM, 0, stream_id, INT(8)))
    goaway = peer.goaway()
    assert goaway is not None and goaway[0] == ErrorCode.ENHANCE_YOUR_CALM
    assert len(peer.streams) < 60 and not peer.connection.streams


async def test_who_sends_them_slowly_may_go_on_for_ever() -> None:
    peer = Peer(limits=Http2Limits(idle_frames_burst=5, idle_frames_per_second=1_000_000))
    for _ in range(100):
        peer.send(frame(PING, 0, 0, bytes(8)) * 5)
    assert peer.goaway() is None


@pytest.mark.parametrize("indexed", [True, False])
async def test_a_header_bomb_ends_the_connection(indexed: bool) -> None:
    peer = Peer(limits=Http2Limits(header_list_bytes_max=10_000))
    bomb = b"\x40\x01x\x7f\xe1\x06" + b"v" * 992  # x: 992 times v, added to the table
    again = b"\xbe" if indexed else b"\x7e\x00"
    peer.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, HEAD + bomb + again * 100))
    goaway = peer.goaway()
    assert goaway is not None and goaway[0] == ErrorCode.ENHANCE_YOUR_CALM or not indexed


# goodbyes


async def test_leaving_lets_what_is_under_way_end() -> None:
    peer = Peer(stream=SilentStream)
    stream_id = peer.request()
    peer.connection.leave("bye")
    await asyncio.sleep(0)
    assert peer.goaway() == (ErrorCode.NO_ERROR, "bye")
    assert peer.seen[-1].payload[:4] == INT(stream_id)
    peer.request()
    assert len(peer.streams) == 1 and not peer.transport.is_closing()
    peer.streams[0].respond(OK, b"last", OK)
    assert peer.answer(stream_id) == b"last"
    assert peer.transport.ended == "closed"


async def test_leaving_ends_even_if_a_stream_does_not() -> None:
    peer = Peer(stream=SilentStream, limits=Http2Limits(goodbye_seconds=0.01))
    peer.request()
    peer.connection.leave()
    async with asyncio.timeout(5):
        await peer.transport.has_ended.wait()
    assert peer.transport.ended == "aborted"
    stream = peer.streams[0]
    assert isinstance(stream, SilentStream) and stream.reset_by_client


async def test_leaving_without_streams_is_at_once() -> None:
    peer = Peer()
    peer.connection.leave()
    assert peer.transport.ended == "closed"


async def test_a_lost_connection_cancels_its_streams_once() -> None:
    lost: list[Http2Connection] = []
    peer = Peer(stream=SilentStream)
    peer.connection._on_lost = lost.append
    peer.request()
    peer.connection.connection_lost(None)
    stream = peer.streams[0]
    assert isinstance(stream, SilentStream) and stream.reset_by_client and stream.closed
    assert lost == [peer.connection]
    stream.write(b"into the void")
    stream.end()
    assert peer.connection.queued_bytes == 0


async def test_a_reset_stream_takes_no_writes() -> None:
    peer = Peer(stream=SilentStream)
    stream_id = peer.request()
    peer.send(frame(RST_STREAM, 0, stream_id, INT(8)))
    stream = peer.streams[0]
    stream.respond(OK, b"x", OK)
    stream.reset(ErrorCode.CANCEL)
    await asyncio.sleep(0)
    assert peer.answer(stream_id) == b"" and peer.resets() == {}


async def test_settings_are_acknowledged_while_others_wait() -> None:
    peer = Peer(stream=SilentStream)
    peer.send(settings(initial_window_size=0))
    stream_id = peer.request()
    peer.streams[0].respond(OK, b"waits", OK)
    peer.read()
    peer.send(settings(initial_window_size=3))
    kinds = [(one.kind, one.flags) for one in peer.read()]
    assert (SETTINGS, ACK) in kinds
    assert peer.answer(stream_id) == b"wai"


def test_literals_have_the_length_that_hpack_wants() -> None:
    from hpack import Decoder

    for size in (0, 1, 126, 127, 128, 254, 255, 16_383, 16_510, 40_000):
        value = b"v" * size
        assert list(Decoder(100_000).decode(literal(b"name", value), raw=True)) == [(b"name", value)]
