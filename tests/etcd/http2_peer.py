"""The other side of `Http2Connection` in one process: a transport that keeps what is written, and frames by hand."""

import asyncio
import struct
from typing import Any, NamedTuple

from hpack import Decoder, Encoder

from kubeloop.actors.etcd.wire.http2 import Http2Connection
from kubeloop.actors.etcd.wire.http2_frames import (
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    ErrorCode,
    Http2Limits,
    frame,
    settings_payload,
)
from kubeloop.actors.etcd.wire.http2_headers import Head
from kubeloop.actors.etcd.wire.http2_stream import Stream

REQUEST = (
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", b"/echo"),
    (b":authority", b"etcd"),
    (b"te", b"trailers"),
)
GREETING = PREFACE + frame(SETTINGS, 0, 0)
OK = b"\x88"


class Frame(NamedTuple):
    kind: int
    flags: int
    stream_id: int
    payload: bytes


def read_frames(data: bytes) -> tuple[list[Frame], bytes]:
    """The complete frames in `data`, and the rest."""
    frames = []
    while len(data) >= 9:
        length = int.from_bytes(data[:3], "big")
        if len(data) < 9 + length:
            break
        kind, flags, stream_id = data[3], data[4], int.from_bytes(data[5:9], "big")
        frames.append(Frame(kind, flags, stream_id, data[9 : 9 + length]))
        data = data[9 + length :]
    return frames, data


class KeepingTransport(asyncio.Transport):
    """Keeps what is written. Not taken (`taken = False`), it fills like the buffer of a socket nobody reads."""

    def __init__(self) -> None:
        super().__init__()
        self.protocol: asyncio.Protocol
        self.writes: list[bytes] = []
        self.unread = 0
        self.taken = True
        self.high = 65_536
        self.ended = ""
        self.has_ended = asyncio.Event()

    def write(self, data: Any) -> None:
        self.writes.append(bytes(data))
        if not self.taken:
            before, self.unread = self.unread, self.unread + len(data)
            if before <= self.high < self.unread:
                self.protocol.pause_writing()

    def take(self) -> None:
        """The client reads all that there is."""
        self.taken = True
        if self.unread > self.high:
            self.unread = 0
            self.protocol.resume_writing()

    def get_write_buffer_size(self) -> int:
        return self.unread

    def is_closing(self) -> bool:
        return bool(self.ended)

    def close(self) -> None:
        self.ended = self.ended or "closed"
        self.has_ended.set()

    def abort(self) -> None:
        self.ended = "aborted"
        self.has_ended.set()


class Peer:
    """A client of one `Http2Connection`, whose requests `accept` answers. It has greeted unless `greet` is False."""

    def __init__(self, *, limits: Http2Limits | None = None, greet: bool = True, stream: type[Stream] | None = None):
        self.streams: list[Stream] = []
        self._class = stream or EchoStream
        self.connection = Http2Connection(self._accept, limits=limits or Http2Limits())
        self.transport = KeepingTransport()
        self.transport.protocol = self.connection
        self.encoder = Encoder()
        self.decoder = Decoder()
        self.seen: list[Frame] = []
        self._rest = b""
        self._next_id = -1
        self.connection.connection_made(self.transport)
        if greet:
            self.send(GREETING)
            self.read()

    def _accept(self, connection: Http2Connection, stream_id: int, head: Head) -> Stream:
        stream = self._class(connection, stream_id, head)
        self.streams.append(stream)
        return stream

    def send(self, *data: bytes) -> None:
        self.connection.data_received(b"".join(data))

    def read(self) -> list[Frame]:
        """The frames written since the last call."""
        data = self._rest + b"".join(self.transport.writes)
        self.transport.writes.clear()
        frames, self._rest = read_frames(data)
        self.seen += frames
        return frames

    def request(self, body: bytes | None = b"", *, end: bool = True, **fields: bytes) -> int:
        """Send a request; returns its stream's id. Body None is a request that ends with its head."""
        self._next_id += 2
        headers = [*REQUEST, *((name.replace("_", "-").encode(), value) for name, value in fields.items())]
        block = self.encoder.encode(headers)
        flags = END_HEADERS | (END_STREAM if body is None else 0)
        self.send(frame(HEADERS, flags, self._next_id, block))
        if body is not None:
            self.send(frame(DATA, END_STREAM if end else 0, self._next_id, body))
        return self._next_id

    def answer(self, stream_id: int) -> bytes:
        """The DATA that came on a stream so far."""
        self.read()
        return b"".join(one.payload for one in self.seen if one.kind == DATA and one.stream_id == stream_id)

    def goaway(self) -> tuple[ErrorCode, str] | None:
        """The error with which the connection was ended, if it was."""
        self.read()
        for one in self.seen:
            if one.kind == GOAWAY:
                return ErrorCode(struct.unpack(">I", one.payload[4:8])[0]), one.payload[8:].decode()
        return None

    def resets(self) -> dict[int, ErrorCode]:
        self.read()
        return {
            one.stream_id: ErrorCode(int.from_bytes(one.payload, "big")) for one in self.seen if one.kind == RST_STREAM
        }


class EchoStream(Stream):
    """Answers with the body, when all of it is there."""

    __slots__ = ("body", "ended", "reset_by_client")

    def __init__(self, connection: Http2Connection, stream_id: int, head: Head) -> None:
        super().__init__(connection, stream_id, head)
        self.body = b""
        self.ended = False
        self.reset_by_client = False

    def data_received(self, data: bytes, ended: bool) -> None:
        self.body += data
        self.consumed(len(data))
        if ended:
            self.ended = True
            self.respond(OK, self.body or b"-", OK)

    def cancelled(self) -> None:
        self.reset_by_client = True


class SilentStream(EchoStream):
    """Takes nothing and says nothing."""

    __slots__ = ()

    def data_received(self, data: bytes, ended: bool) -> None:
        self.body += data
        self.ended = ended


def settings(**values: int) -> bytes:
    """A SETTINGS frame: `settings(initial_window_size=1)`."""
    numbers = {
        "header_table_size": 1,
        "enable_push": 2,
        "max_concurrent_streams": 3,
        "initial_window_size": 4,
        "max_frame_size": 5,
    }
    return frame(SETTINGS, 0, 0, settings_payload({numbers[name]: value for name, value in values.items()}))
