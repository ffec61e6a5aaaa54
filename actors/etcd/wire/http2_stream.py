"""One stream of an HTTP/2 connection: a request and its answer, with flow control in both directions.

A reader subclasses `Stream` and overrides what it wants to hear of: `request_received`, `data_received`, `cancelled`,
`writable`. All are called synchronously.
"""

from collections import deque
from typing import TYPE_CHECKING

from kubeloop.actors.etcd.wire.http2_frames import (
    DATA,
    END_HEADERS,
    END_STREAM,
    FRAME_HEADER,
    HEADERS,
    ErrorCode,
)
from kubeloop.actors.etcd.wire.http2_headers import Head

if TYPE_CHECKING:
    from kubeloop.actors.etcd.wire.http2 import Http2Connection

WAITING_BYTES_HIGH = 65_536
"""Bytes of one stream that may wait before its writer is asked to wait, too."""


class Stream:
    """`remote_ended`: the request is complete. `closed`: nothing comes or goes any more; writes are dropped."""

    __slots__ = (
        "_consumed",
        "_offset",
        "_trailers",
        "_waiting",
        "closed",
        "connection",
        "content_left",
        "head",
        "id",
        "receive_window",
        "remote_ended",
        "send_window",
        "waiting_bytes",
        "wants_room",
    )

    def __init__(self, connection: "Http2Connection", stream_id: int, head: Head) -> None:
        self.connection = connection
        self.id = stream_id
        self.head = head
        self.remote_ended = False
        self.closed = False
        self.receive_window = connection.limits.stream_window_bytes
        self.send_window = connection.peer_window_bytes
        self.content_left = head.content_length
        self.waiting_bytes = 0
        self.wants_room = False
        self._consumed = 0
        self._waiting: deque[bytes] | None = None
        self._offset = 0
        self._trailers: bytes | None = None

    # what the reader overrides

    def request_received(self) -> None:
        """The head has come."""

    def data_received(self, data: bytes, ended: bool) -> None:
        """A piece of the body; `ended`: it is the last one."""

    def cancelled(self) -> None:
        """The client, or the connection's end, closed the stream before its answer was complete."""

    def writable(self) -> None:
        """There is room again after `write` answered False."""

    # reading

    def consumed(self, size: int) -> None:
        """So many bytes of the body are dealt with: the client may send as many more."""
        self._consumed += size
        if 2 * self._consumed >= self.connection.limits.stream_window_bytes and not self.remote_ended:
            self.connection.widen(self.id, self._consumed)
            self.receive_window += self._consumed
            self._consumed = 0

    # writing

    def write_headers(self, block: bytes, *, end: bool = False) -> None:
        """Begin the answer; with `end` it is all of it. `block` must fit a frame of 16 KiB."""
        if self.closed:
            return
        flags = END_HEADERS | END_STREAM if end else END_HEADERS
        self.connection.send(FRAME_HEADER.pack(len(block) << 8 | HEADERS, flags, self.id) + block)
        if end:
            self.connection.finished(self)

    def write(self, data: bytes) -> bool:
        """Send a piece of the body as the windows allow. False: enough waits now, `writable` is called later."""
        size = len(data)
        if self.closed or not size:
            return True
        connection = self.connection
        if not self._waiting and connection.has_room(size) and size <= self.send_window:
            self.send_window -= size
            connection.send_window -= size
            connection.send(FRAME_HEADER.pack(size << 8 | DATA, 0, self.id) + data)
            return True
        if self._waiting is None:
            self._waiting = deque()
        self._waiting.append(data)
        self.waiting_bytes += size
        connection.enqueued(self, size)
        self.wants_room = self.waiting_bytes >= WAITING_BYTES_HIGH
        return not self.wants_room

    def end(self, trailers: bytes = b"") -> None:
        """End the answer, after what waits; without trailers as an empty DATA frame."""
        if self.closed:
            return
        if self._waiting:
            self._trailers = trailers
            return
        if trailers:
            self.write_headers(trailers, end=True)
        else:
            self.connection.send(FRAME_HEADER.pack(DATA, END_STREAM, self.id))
            self.connection.finished(self)

    def respond(self, headers: bytes, data: bytes, trailers: bytes) -> None:
        """A whole answer at once."""
        if self.closed:
            return
        connection = self.connection
        size = len(data)
        if not connection.has_room(size) or size > self.send_window:
            self.write_headers(headers)
            self.write(data)
            self.end(trailers)
            return
        connection.send_window -= size
        pack = FRAME_HEADER.pack
        stream_id = self.id
        connection.send(
            b"".join(
                (
                    pack(len(headers) << 8 | HEADERS, END_HEADERS, stream_id),
                    headers,
                    pack(size << 8 | DATA, 0, stream_id),
                    data,
                    pack(len(trailers) << 8 | HEADERS, END_HEADERS | END_STREAM, stream_id),
                    trailers,
                )
            )
        )
        connection.finished(self)

    def reset(self, code: ErrorCode) -> None:
        """End the stream at once with RST_STREAM."""
        if not self.closed:
            self.connection.reset(self, code)

    # for the connection

    def send_some(self) -> int:
        """Send one frame of what waits and return its size; 0 when the stream's window is shut."""
        connection, waiting = self.connection, self._waiting
        assert waiting
        room = min(self.send_window, connection.send_window, connection.peer_frame_bytes_max)
        if room <= 0:
            return 0
        first, offset = waiting[0], self._offset
        part = first[offset : offset + room] if offset or len(first) > room else first
        size = len(part)
        if offset + size == len(first):
            waiting.popleft()
            self._offset = 0
        else:
            self._offset = offset + size
        self.send_window -= size
        connection.send_window -= size
        self.waiting_bytes -= size
        connection.send(FRAME_HEADER.pack(size << 8 | DATA, 0, self.id) + part)
        if not waiting and self._trailers is not None:
            self.end(self._trailers)
        elif self.wants_room and 2 * self.waiting_bytes < WAITING_BYTES_HIGH:
            self.wants_room = False
            self.writable()
        return size

    def drop(self) -> int:
        """Close: nothing that waits is sent. Returns how many bytes that was."""
        self.closed = True
        self._waiting = None
        self._trailers = None
        dropped, self.waiting_bytes = self.waiting_bytes, 0
        return dropped
