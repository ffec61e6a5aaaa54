"""The half of an HTTP/2 connection that writes: windows, the transport's back-pressure, and one write a turn.

Bytes that the client's windows or its socket do not take wait in their stream; here is only which streams could send.
"""

import asyncio
from typing import TYPE_CHECKING

from kubeloop.actors.etcd.wire.http2_frames import (
    DEFAULT_FRAME_BYTES_MAX,
    DEFAULT_WINDOW_BYTES,
    UINT32,
    WINDOW_UPDATE,
    Http2Limits,
    frame,
)

if TYPE_CHECKING:
    from kubeloop.actors.etcd.wire.http2_stream import Stream

FLUSH_BYTES = 262_144


class FrameWriter(asyncio.Protocol):
    """send_window: bytes of DATA that the client takes now, of all streams together. queued_bytes: of DATA that wait.
    peer_*: what the client's settings say."""

    def __init__(self, limits: Http2Limits) -> None:
        self.limits = limits
        self.send_window = DEFAULT_WINDOW_BYTES
        self.peer_window_bytes = DEFAULT_WINDOW_BYTES
        self.peer_frame_bytes_max = DEFAULT_FRAME_BYTES_MAX
        self.queued_bytes = 0
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._unread_bytes = 0
        self._flush_comes = False
        self._paused = False
        self._sendable: dict[Stream, None] = {}  # streams with bytes that wait and a window that is open

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._unread_bytes = 0
        self._pump()

    def send(self, data: bytes) -> None:
        """Whole frames, for the end of this turn of the loop."""
        self._out.append(data)
        self._out_bytes += len(data)
        if not self._flush_comes:
            self._flush_soon()

    def _flush_soon(self) -> None:
        self._flush_comes = True
        self._loop.call_soon(self._flush)

    def has_room(self, size: int) -> bool:
        """Whether a DATA frame of that size may go now, as far as the connection is concerned."""
        return (
            size <= self.send_window
            and size <= self.peer_frame_bytes_max
            and not self._paused
            and self._out_bytes < FLUSH_BYTES
        )

    def widen(self, stream_id: int, size: int) -> None:
        """Let the client send so many bytes more."""
        self.send(frame(WINDOW_UPDATE, 0, stream_id, UINT32.pack(size)))

    def enqueued(self, stream: "Stream", size: int) -> None:
        """Bytes of a stream wait."""
        self.queued_bytes += size
        if stream.send_window > 0:
            self._sendable[stream] = None
            if self.send_window > 0 and not self._paused and not self._flush_comes:
                self._flush_soon()  # it waits for its turn only

    def _pump(self) -> None:
        """Send what waits, one frame a stream in turn, until a window or the transport is full."""
        sendable = self._sendable
        while sendable and self.send_window > 0 and not self._paused:
            stream = next(iter(sendable))
            del sendable[stream]
            self.queued_bytes -= stream.send_some()
            if stream.waiting_bytes and stream.send_window > 0:
                sendable[stream] = None
            if self._out_bytes >= FLUSH_BYTES:
                self._write_out()

    def _flush(self) -> None:
        """The end of a turn."""
        self._flush_comes = False
        self._write_out()
        if self._sendable:
            self._flush_comes = True
            self._pump()
            self._flush_comes = False
            self._write_out()

    def _write_out(self) -> None:
        if not self._out or self._transport.is_closing():
            return
        data = self._out[0] if len(self._out) == 1 else b"".join(self._out)
        self._out.clear()
        self._out_bytes = 0
        if self._paused:  # what is not DATA goes out all the same, but a client that never reads gets only so much
            self._unread_bytes += len(data)
            if self._unread_bytes > self.limits.unread_bytes_max:
                self._transport.abort()
                return
        self._transport.write(data)
