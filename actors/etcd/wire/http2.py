"""HTTP/2, the server's side (RFC 9113), as an asyncio protocol.

Why not `h2`: a gRPC server in Python is bound by the cost of a frame, and this one only ever sees a few kinds. Reading
a request of two frames and writing its answer of three costs a few microseconds; whatever one turn of the loop
produces goes out in one write. Server push, priorities and CONNECT, which gRPC does not use, are refused or ignored.
"""

import asyncio
from collections.abc import Callable
from typing import TypeAlias, cast

from kubeloop.actors.etcd.wire.http2_frames import (
    ACK,
    DEFAULT_FRAME_BYTES_MAX,
    DEFAULT_WINDOW_BYTES,
    END_HEADERS,
    END_STREAM,
    FRAME_HEADER,
    FRAME_HEADER_BYTES,
    GOAWAY,
    HAS_PRIORITY,
    PADDED,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    SETTINGS_INITIAL_WINDOW_SIZE,
    SETTINGS_MAX_CONCURRENT_STREAMS,
    SETTINGS_MAX_FRAME_SIZE,
    SETTINGS_MAX_HEADER_LIST_SIZE,
    UINT32,
    WINDOW_BYTES_MAX,
    ConnectionFailure,
    ErrorCode,
    Http2Limits,
    StreamFailure,
    frame,
    read_settings,
    settings_payload,
    without_padding,
    without_priority,
)
from kubeloop.actors.etcd.wire.http2_headers import BadHeaders, Head, HeaderReader
from kubeloop.actors.etcd.wire.http2_stream import Stream
from kubeloop.actors.etcd.wire.http2_writer import FrameWriter

RESETS_REMEMBERED_MAX = 1_000
DEFAULT_LIMITS = Http2Limits()

Accept: TypeAlias = "Callable[[Http2Connection, int, Head], Stream]"


class Http2Connection(FrameWriter):
    """One client. `accept(connection, stream_id, head)` makes the stream of each request that is well-formed.

    held_bytes: of incomplete requests, kept by the streams. `on_lost(connection)` is called once when the connection
    has ended.
    """

    def __init__(
        self,
        accept: Accept,
        *,
        limits: Http2Limits = DEFAULT_LIMITS,
        on_lost: "Callable[[Http2Connection], None] | None" = None,
    ) -> None:
        super().__init__(limits)
        self.streams: dict[int, Stream] = {}
        self.held_bytes = 0
        self._accept = accept
        self._on_lost = on_lost
        self._reader = HeaderReader(limits.header_list_bytes_max)
        self._buffer = b""
        self._preface_left = PREFACE
        self._settled = False  # the client's first SETTINGS have come
        self._block: tuple[int, int, list[bytes]] | None = None  # a header block that goes on in CONTINUATION
        self._last_stream_id = 0
        self._resets: dict[int, None] = {}
        self._receive_window = DEFAULT_WINDOW_BYTES
        self._consumed = 0
        self._leaving = False
        self._closed = False
        self._idle_frames = limits.idle_frames_burst
        self._idle_since = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self._handlers: tuple[Callable[[int, int, bytes], None], ...] = (
            self._data,
            self._headers,
            self._priority,
            self._rst_stream,
            self._settings,
            self._push_promise,
            self._ping,
            self._goaway,
            self._window_update,
            self._continuation,
        )

    # the transport's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are none by class
        limits = self.limits
        settings = {
            SETTINGS_MAX_CONCURRENT_STREAMS: limits.concurrent_streams_max,
            SETTINGS_INITIAL_WINDOW_SIZE: limits.stream_window_bytes,
            SETTINGS_MAX_HEADER_LIST_SIZE: limits.header_list_bytes_max,
        }
        self.send(frame(SETTINGS, 0, 0, settings_payload(settings)))
        more = limits.connection_window_bytes - DEFAULT_WINDOW_BYTES
        if more > 0:
            self.widen(0, more)
            self._receive_window += more
        self._timer = self._loop.call_later(limits.handshake_seconds, self._handshake_overdue)

    def connection_lost(self, error: Exception | None) -> None:
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._end_streams()
        if self._on_lost is not None:
            self._on_lost(self)

    def data_received(self, data: bytes) -> None:
        if self._closed:
            return
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        self._flush_comes = True
        try:
            position = self._read_frames(data)
            if position < len(data):
                self._buffer = data[position:]
        except ConnectionFailure as failure:
            self.fail(failure.code, str(failure))
        except Exception as error:
            self.fail(ErrorCode.INTERNAL_ERROR, type(error).__name__)
            raise
        finally:
            self._flush()

    # reading

    def _read_frames(self, data: bytes) -> int:
        """Handle the frames that are complete; returns where the rest begins."""
        position = self._read_preface(data) if self._preface_left else 0
        size = len(data)
        handlers = self._handlers
        unpack = FRAME_HEADER.unpack_from
        while size - position >= FRAME_HEADER_BYTES:
            length, flags, stream_id = unpack(data, position)
            kind = length & 0xFF
            length >>= 8
            if length > DEFAULT_FRAME_BYTES_MAX:
                raise ConnectionFailure(ErrorCode.FRAME_SIZE_ERROR, f"a frame of {length} bytes")
            start = position + FRAME_HEADER_BYTES
            if size - start < length:
                break
            position = start + length
            if (self._block is not None and kind != 9) or not self._settled:
                self._expect(kind, flags)
            try:
                if kind < 10:
                    handlers[kind](flags, stream_id & WINDOW_BYTES_MAX, data[start:position])
                else:
                    self._idle_frame("frames of unknown types")
            except StreamFailure as failure:
                self._refuse(failure)
            if self._closed:
                return size
        return position

    def _read_preface(self, data: bytes) -> int:
        size = min(len(data), len(self._preface_left))
        if data[:size] != self._preface_left[:size]:
            raise ConnectionFailure(ErrorCode.PROTOCOL_ERROR, "no HTTP/2 connection preface")
        self._preface_left = self._preface_left[size:]
        return size

    def _expect(self, kind: int, flags: int) -> None:
        if self._block is not None:
            raise ConnectionFailure(ErrorCode.PROTOCOL_ERROR, "another frame within a header block")
        if kind != SETTINGS or flags & ACK:
            raise ConnectionFailure(ErrorCode.PROTOCOL_ERROR, "the first frame is not SETTINGS")

    def _data(self, flags: int, stream_id: int, payload: bytes) -> None:
        length = len(payload)
        if length:
            self._receive_window -= length
            if self._receive_window < 0:
                raise ConnectionFailure(ErrorCode.FLOW_CONTROL_ERROR, "more DATA than the connection's window")
            self._consumed += length
            if 2 * self._consumed >= self.limits.connection_window_bytes:
                self.widen(0, self._consumed)
                self._receive_window += self._consumed
                self._consumed = 0
        stream = self.streams.get(stream_id)
        if stream is None or stream.remote_ended:
            self._data_of_no_stream(stream_id)
            return
        stream.receive_window -= length
        if stream.receive_window < 0:
            raise StreamFailure(stream_id, ErrorCode.FLOW_CONTROL_ERROR, "more DATA than the stream's window")
        if flags & PADDED:
            payload = without_padding(payload)
            stream.consumed(length - len(payload))
        ended = flags & END_STREAM != 0
        if ended:
            stream.remote_ended = True
        elif not payload:
            self._idle_frame("empty DATA frames")
        if stream.content_left is not None:
            self._count_content(stream, len(payload), ended)
        stream.data_received(payload, ended)

    def _count_content(self, stream: Stream, size: int, ended: bool) -> None:
        assert stream.content_left is not None
        stream.content_left -= size
        if stream.content_left < 0 or (ended and stream.content_left):
            raise StreamFailure(stream.id, ErrorCode.PROTOCOL_ERROR, "DATA of another length than content-length")

    def _data_of_no_stream(self, stream_id: int) -> None:
        self._check_known("DATA", stream_id)
        if stream_id not in self._resets:  # what was on its way when the stream was reset is not the client's mistake
            self._idle_frame("DATA of closed streams")
            raise StreamFailure(stream_id, ErrorCode.STREAM_CLOSED, "DATA of a closed stream")

    def _check_known(self, name: str, stream_id: int) -> None:
        if stream_id == 0 or stream_id > self._last_stream_id or stream_id % 2 == 0:
            raise ConnectionFailure(ErrorCode.PROTOCOL_ERROR, f"{name} of stream {stream_id}, which was never opened")

    def _headers(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id % 2 == 0:
            raise ConnectionFailure(ErrorCode.PROTOCOL_ERROR, f"HEADERS of stream {stream_id}")
        if flags & PADDED:
            payload = without_padding(payload)
        if flags & HAS_PRIORITY:
            payload = without_priority(stream_id, payload)
        if flags & END_HEADERS:
            self._head(flags, stream_id, payload)
        else:
            self._block = (stream_id, flags, [payload])

    def _continuation(self, flags: int, stream_id: int, payload: bytes) -> None:
        if self._block is None or self._block[0] != stream_id:
            raise ConnectionFailure(ErrorCode.PROTOCOL_ERROR, "CONTINUATION of no header block")
        parts = self._block[2]
        parts.append(payload)
        if len(parts) > 64 or sum(map(len, parts)) > self.limits.header_list_bytes_max:
            raise ConnectionFailure(ErrorCode.ENHANCE_YOUR_CALM, "a header block too large")
        if flags & END_HEADERS:
            headers_flags, self._block = self._block[1], None
            self._head(headers_flags, stream_id, b"".join(parts))

    def _head(self, flags: int, stream_id: int, block: bytes) -> None:
        try:
            head = self._reader.read(block)
        except BadHeaders as error:
            code = ErrorCode.ENHANCE_YOUR_CALM if error.oversized else ErrorCode.COMPRESSION_ERROR
            raise ConnectionFailure(code, str(error)) from None
        if stream_id <= self._last_stream_id:
            self._trailers(flags, stream_id, head)
            return
        self._last_stream_id = stream_id
        if self._leaving:
            self._ignore(stream_id)  # GOAWAY has told the client that this one is not answered
            return
        if head.malformed:
            raise StreamFailure(stream_id, ErrorCode.PROTOCOL_ERROR, head.malformed)
        limits = self.limits
        if len(self.streams) >= limits.concurrent_streams_max or self.queued_bytes > limits.queued_bytes_max:
            raise StreamFailure(stream_id, ErrorCode.REFUSED_STREAM, "too many streams")
        ended = flags & END_STREAM != 0
        if ended and head.content_length:
            raise StreamFailure(stream_id, ErrorCode.PROTOCOL_ERROR, "no DATA, but a content-length")
        stream = self._accept(self, stream_id, head)
        self.streams[stream_id] = stream
        stream.remote_ended = ended
        stream.request_received()
        if ended and not stream.closed:
            stream.data_received(b"", True)

    def _trailers(self, flags: int, stream_id: int, head: Head) -> None:
        stream = self.streams.get(stream_id)
        if stream is None:
            if stream_id in self._resets:
                return
            raise ConnectionFailure(ErrorCode.STREAM_CLOSED, f"HEADERS of stream {stream_id}, which is closed")
        if stream.remote_ended:
            raise StreamFailure(stream_id, ErrorCode.STREAM_CLOSED, "HEADERS after the end of the request")
        if not flags & END_STREAM or head.trailers_malformed:
            raise StreamFailure(stream_id, ErrorCode.PROTOCOL_ERROR, head.trailers_malformed or "a second head")
        stream.remote_ended = True
        if stream.content_left:
            self._count_content(stream, 0, True)
        stream.data_received(b"", True)

    def _priority(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id == 0:
            raise ConnectionFailure(ErrorCode.PROTOCOL_ERROR, "PRIORITY of stream 0")
        if len(payload) != 5:
            raise ConnectionFailure(ErrorCode.FRAME_SIZE_ERROR, f"PRIORITY of {len(payload)} bytes")
        without_priority(stream_id, payload)
        self._idle_frame("PRIORITY frames")

    def _rst_stream(self, flags: int, stream_id: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ConnectionFailure(ErrorCode.FRAME_SIZE_ERROR, f"RST_STREAM of {len(payload)} bytes")
        self._check_known("RST_STREAM", stream_id)
        self._idle_frame("RST_STREAM frames")
        stream = self.streams.get(stream_id)
        if stream is not None:
            self._forget(stream)
            stream.cancelled()

    def _settings(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id:
            raise ConnectionFailure(ErrorCode.PROTOCOL_ERROR, f"SETTINGS of stream {stream_id}")
        if flags & ACK:
            if payload:
                raise ConnectionFailure(ErrorCode.FRAME_SIZE_ERROR, "an acknowledgement with settings")
            return
        for name, value in read_settings(payload):
            if name == SETTINGS_INITIAL_WINDOW_SIZE:
                self._resize_windows(value)
            elif name == SETTINGS_MAX_FRAME_SIZE:
                self.peer_frame_bytes_max = value
        self.send(frame(SETTINGS, ACK, 0))
        if not self._settled:
            self._settled = True
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
        self._idle_frame("SETTINGS frames")
        self._pump()

    def _resize_windows(self, value: int) -> None:
        change = value - self.peer_window_bytes
        self.peer_window_bytes = value
        for stream in self.streams.values():
            stream.send_window += change
            if stream.send_window > WINDOW_BYTES_MAX:
                raise ConnectionFailure(ErrorCode.FLOW_CONTROL_ERROR, "a stream's window above 2^31-1")
            if stream.waiting_bytes and stream.send_window > 0:
                self._sendable[stream] = None

    def _push_promise(self, flags: int, stream_id: int, payload: bytes) -> None:
        raise ConnectionFailure(ErrorCode.PROTOCOL_ERROR, "a client cannot push")

    def _ping(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id:
            raise ConnectionFailure(ErrorCode.PROTOCOL_ERROR, f"PING of stream {stream_id}")
        if len(payload) != 8:
            raise ConnectionFailure(ErrorCode.FRAME_SIZE_ERROR, f"PING of {len(payload)} bytes")
        self._idle_frame("PING frames")
        if not flags & ACK:
            self.send(frame(PING, ACK, 0, payload))

    def _goaway(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id:
            raise ConnectionFailure(ErrorCode.PROTOCOL_ERROR, f"GOAWAY of stream {stream_id}")
        if len(payload) < 8:
            raise ConnectionFailure(ErrorCode.FRAME_SIZE_ERROR, f"GOAWAY of {len(payload)} bytes")
        self._idle_frame("GOAWAY frames")  # its streams are still answered; the client closes

    def _window_update(self, flags: int, stream_id: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ConnectionFailure(ErrorCode.FRAME_SIZE_ERROR, f"WINDOW_UPDATE of {len(payload)} bytes")
        more: int = UINT32.unpack(payload)[0] & WINDOW_BYTES_MAX
        if stream_id == 0:
            self.send_window += more
            if not more or self.send_window > WINDOW_BYTES_MAX:
                code = ErrorCode.FLOW_CONTROL_ERROR if more else ErrorCode.PROTOCOL_ERROR
                raise ConnectionFailure(code, f"WINDOW_UPDATE by {more} to {self.send_window}")
            if self._sendable:
                self._pump()
            return
        stream = self.streams.get(stream_id)
        if stream is None:
            self._check_known("WINDOW_UPDATE", stream_id)
            return
        stream.send_window += more
        if not more or stream.send_window > WINDOW_BYTES_MAX:
            code = ErrorCode.FLOW_CONTROL_ERROR if more else ErrorCode.PROTOCOL_ERROR
            raise StreamFailure(stream_id, code, f"WINDOW_UPDATE by {more} to {stream.send_window}")
        if stream.waiting_bytes and stream.send_window > 0:
            self._sendable[stream] = None
            self._pump()

    def _idle_frame(self, name: str) -> None:
        """Count a frame that does no work; a flood of them ends the connection."""
        self._idle_frames -= 1
        if self._idle_frames >= 0:
            return
        now = self._loop.time()
        earned = int((now - self._idle_since) * self.limits.idle_frames_per_second)
        if earned < 1:
            raise ConnectionFailure(ErrorCode.ENHANCE_YOUR_CALM, f"too many {name}")
        self._idle_since = now
        self._idle_frames = min(earned, self.limits.idle_frames_burst) - 1

    # ends

    def finished(self, stream: Stream) -> None:
        """The answer is complete. A request that is not is of no use any more: RST_STREAM (8.1)."""
        if not stream.remote_ended:
            self.reset(stream, ErrorCode.NO_ERROR)
        else:
            self._forget(stream)

    def reset(self, stream: Stream, code: ErrorCode) -> None:
        """Close a stream with RST_STREAM."""
        self._send_reset(stream.id, code)
        self._forget(stream)

    def _refuse(self, failure: StreamFailure) -> None:
        self._send_reset(failure.stream_id, failure.code)
        stream = self.streams.get(failure.stream_id)
        if stream is not None:
            self._forget(stream)
            stream.cancelled()

    def _send_reset(self, stream_id: int, code: ErrorCode) -> None:
        self.send(frame(RST_STREAM, 0, stream_id, UINT32.pack(code)))
        self._ignore(stream_id)

    def _ignore(self, stream_id: int) -> None:
        """What still comes of a stream that was reset was on its way then."""
        self._resets[stream_id] = None
        if len(self._resets) > RESETS_REMEMBERED_MAX:
            del self._resets[next(iter(self._resets))]

    def _forget(self, stream: Stream) -> None:
        del self.streams[stream.id]
        self.queued_bytes -= stream.drop()
        self._sendable.pop(stream, None)
        if self._leaving and not self.streams:
            self._close()

    def leave(self, text: str = "") -> None:
        """Graceful: GOAWAY, no new requests; the connection ends with its last stream, or after goodbye_seconds."""
        if self._leaving or self._closed:
            return
        self._leaving = True
        self._send_goaway(ErrorCode.NO_ERROR, text)
        if not self.streams:
            self._close()
        elif self._timer is None:
            self._timer = self._loop.call_later(self.limits.goodbye_seconds, self.abort)

    def fail(self, code: ErrorCode, text: str) -> None:
        """GOAWAY with an error, and the end of the connection and of everything on it."""
        if self._closed:
            return
        self._send_goaway(code, text)
        self._close()
        self._end_streams()

    def abort(self) -> None:
        """End the connection without a word."""
        self._closed = True
        self._transport.abort()
        self._end_streams()

    def _send_goaway(self, code: ErrorCode, text: str) -> None:
        payload = UINT32.pack(self._last_stream_id) + UINT32.pack(code) + text.encode()[:256]
        self.send(frame(GOAWAY, 0, 0, payload))

    def _close(self) -> None:
        self._flush()
        self._closed = True
        self._transport.close()
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(self.limits.goodbye_seconds, self._transport.abort)

    def _end_streams(self) -> None:
        streams = list(self.streams.values())
        self.streams.clear()
        self._sendable.clear()
        self.queued_bytes = 0
        for stream in streams:
            if not stream.closed:
                stream.drop()
                stream.cancelled()

    def _handshake_overdue(self) -> None:
        self._timer = None
        self.fail(ErrorCode.SETTINGS_TIMEOUT, "no preface and settings in time")
