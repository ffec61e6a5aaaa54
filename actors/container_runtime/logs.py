"""A container's log: a bounded ring of timestamped lines, and streams that read and follow it."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable

from kubeloop.actors.container_runtime.messages import ReadLog
from kubeloop.runtime.clock import format_rfc3339

Line = tuple[float, bytes, str]  # unix time, without its end, stdout or stderr
LOG_BYTES_MAX = 1 << 20
LINE_BYTES_MAX = 16 << 10  # as CRI log files: longer lines are split


class LogBuffer:
    """The last LOG_BYTES_MAX bytes that a container wrote, by line, stdout and stderr in the order of arrival."""

    __slots__ = ("_bytes", "_dropped", "_lines", "_partial", "closed", "followers")

    def __init__(self) -> None:
        self._lines: deque[Line] = deque()
        self._partial: dict[str, bytes] = {}
        self._bytes = 0
        self._dropped = 0
        self.closed = False
        self.followers: list[Callable[[], None]] = []

    def write(self, stream: str, data: bytes, now: float) -> None:
        """Append raw bytes of one stream; a line counts once its end has come."""
        data = self._partial.pop(stream, b"") + data
        *lines, rest = data.split(b"\n")
        for line in lines:
            self._append(line, stream, now)
        while len(rest) > LINE_BYTES_MAX:
            self._append(rest[:LINE_BYTES_MAX], stream, now)
            rest = rest[LINE_BYTES_MAX:]
        if rest:
            self._partial[stream] = rest
        if lines:
            self._wake()

    def close(self, now: float) -> None:
        """The container is dead: unfinished lines count, followers end."""
        for stream, rest in self._partial.items():
            self._append(rest, stream, now)
        self._partial.clear()
        self.closed = True
        self._wake()

    def end(self) -> int:
        """Sequence number one past the last line."""
        return self._dropped + len(self._lines)

    def lines_from(self, sequence: int) -> list[Line]:
        first = max(0, sequence - self._dropped)
        return list(self._lines)[first:] if first < len(self._lines) else []

    def _append(self, line: bytes, stream: str, now: float) -> None:
        self._lines.append((now, line, stream))
        self._bytes += len(line) + 1
        while self._bytes > LOG_BYTES_MAX:
            self._bytes -= len(self._lines.popleft()[1]) + 1
            self._dropped += 1

    def _wake(self) -> None:
        for follower in tuple(self.followers):
            follower()


def format_line(timestamp: float, line: bytes, *, timestamps: bool) -> bytes:
    """A line as `kubectl logs` prints it; nanoseconds are printed as a real runtime does."""
    if not timestamps:
        return line + b"\n"
    nanoseconds = int((timestamp - int(timestamp)) * 1e9)
    return f"{format_rfc3339(int(timestamp))[:-1]}.{nanoseconds:09d}Z ".encode() + line + b"\n"


def select_lines(lines: list[Line], *, tail_lines: int | None, since: float | None, stream: str) -> list[Line]:
    """`stream`: stdout or stderr; "" both."""
    if stream:
        lines = [line for line in lines if line[2] == stream]
    if since is not None:
        lines = [line for line in lines if line[0] >= since]
    if tail_lines is not None:
        lines = lines[-tail_lines:] if tail_lines > 0 else []
    return lines


class BufferStream:
    """A LogStream over a LogBuffer."""

    def __init__(
        self,
        buffer: LogBuffer,
        *,
        follow: bool = False,
        tail_lines: int | None = None,
        since: float | None = None,
        timestamps: bool = False,
        limit_bytes: int | None = None,
        stream: str = "",
    ) -> None:
        self._buffer = buffer
        self._follow = follow
        self._tail_lines = tail_lines
        self._since = since
        self._timestamps = timestamps
        self._left = limit_bytes
        self._stream = stream
        self._closed = False
        self._waiting: asyncio.Future[None] | None = None

    @classmethod
    def of(cls, buffer: LogBuffer, request: ReadLog) -> "BufferStream":
        """The stream that a ReadLog asks for."""
        return cls(
            buffer,
            follow=request.follow,
            tail_lines=request.tail_lines,
            since=request.since,
            timestamps=request.timestamps,
            limit_bytes=request.limit_bytes,
            stream=request.stream,
        )

    async def __aiter__(self) -> AsyncIterator[bytes]:
        sequence = self._buffer.end()
        lines, stream = self._buffer.lines_from(0), self._stream
        chosen = select_lines(lines, tail_lines=self._tail_lines, since=self._since, stream=stream)
        while True:
            chunk = b"".join(format_line(at, line, timestamps=self._timestamps) for at, line, _ in chosen)
            if self._left is not None:
                chunk = chunk[: self._left]
                self._left -= len(chunk)
            if chunk:
                yield chunk
            if not self._follow or self._closed or self._left == 0:
                return
            if self._buffer.end() == sequence:
                if self._buffer.closed:
                    return
                await self._more()
            chosen = select_lines(self._buffer.lines_from(sequence), tail_lines=None, since=None, stream=stream)
            sequence = self._buffer.end()

    async def _more(self) -> None:
        waiting = self._waiting = asyncio.get_running_loop().create_future()

        def wake() -> None:
            if not waiting.done():
                waiting.set_result(None)

        self._buffer.followers.append(wake)
        try:
            await waiting
        finally:
            self._buffer.followers.remove(wake)

    async def aclose(self) -> None:
        self._closed = True
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)
