"""Bytes between two parties, bounded: pipes, and what an exec or a forwarded connection is made of.

One party asks for streams, the other one serves them and makes them; what lies between may delay or cut them. A pipe
that is full makes its writer wait, so a reader that is slow slows the writer down, through every hop.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Self

from kubeloop.runtime.errors import Unreachable
from kubeloop.runtime.limits import PIPE_BYTES_MAX, PIPE_READ_BYTES_MAX
from kubeloop.runtime.network import Connection, Network

Deliver = Callable[..., None]


class Pipe:
    """One direction. It takes data as long as less than `bytes_max` wait in it, also data that makes it more than full.

    on_room: called when a writer who was told that it is full may go on. on_closed: when nobody reads any more.
    """

    __slots__ = (
        "_bytes", "_chunks", "_closed", "_deliver", "_ended", "_error", "_full", "_over", "_reader", "_writers",
        "bytes_max", "on_closed", "on_room",
    )  # fmt: skip

    def __init__(self, bytes_max: int = PIPE_BYTES_MAX) -> None:
        self.bytes_max = bytes_max
        self.on_room: Callable[[], None] | None = None
        self.on_closed: Callable[[], None] | None = None
        self._chunks: deque[bytes] = deque()
        self._bytes = 0
        self._full = False
        self._over = False  # the writer has said that nothing more comes
        self._ended = False  # and the reader's end has heard of it
        self._closed = False
        self._error: Exception | None = None
        self._reader: asyncio.Future[None] | None = None
        self._writers: list[asyncio.Future[None]] = []
        self._deliver: Deliver = _at_once

    def carry(self, deliver: Deliver) -> None:
        """From now on what the writer does reaches the reader by `deliver(callback, *args)`."""
        self._deliver = deliver

    # who writes

    @property
    def closed(self) -> bool:
        """Nobody reads any more: what is written is dropped."""
        return self._closed

    @property
    def over(self) -> bool:
        """The writer has said that nothing more comes."""
        return self._over

    @property
    def full(self) -> bool:
        """Whether a writer should wait."""
        return self._full and not self._closed and not self._over

    def feed(self, data: bytes) -> bool:
        """Puts it in at once. False: it is full now, wait for `on_room` before the next. Dropped when nobody reads."""
        if self._closed or self._over:
            return True
        if data:
            self._bytes += len(data)
            self._deliver(self._arrive, data)
        self._full = self._bytes >= self.bytes_max
        return not self._full

    async def write(self, data: bytes) -> None:
        """As feed, waiting for room before. Raises BrokenPipeError when nobody reads any more."""
        while self._bytes >= self.bytes_max and not self._closed and not self._over:
            self._full = True
            waiting = asyncio.get_running_loop().create_future()
            self._writers.append(waiting)
            await waiting
        if self._closed or self._over:
            raise self._error or BrokenPipeError("nobody reads any more")
        self.feed(data)

    def end(self, error: Exception | None = None) -> None:
        """Nothing more comes; with `error` it broke, and the reader is told why. Only the first call counts."""
        if not self._over:
            self._over = True
            self._deliver(self._end, error)
            self._release()

    def abort(self, error: Exception) -> None:
        """Broken for both at once: what waits in it is lost."""
        self._over = True
        self._drop()
        self._end(error)
        self._release()

    # who reads

    async def read(self, bytes_max: int = PIPE_READ_BYTES_MAX) -> bytes:
        """What is there, at most `bytes_max`; waits for something. b"" at the end. Raises what it broke with."""
        while not self._chunks:
            if self._closed:
                return b""
            if self._ended:
                if self._error is not None:
                    raise self._error
                return b""
            if self._reader is not None and not self._reader.done():
                raise RuntimeError("two readers of one pipe")
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader
        chunk = self._chunks.popleft()
        if len(chunk) > bytes_max:
            self._chunks.appendleft(chunk[bytes_max:])
            chunk = chunk[:bytes_max]
        self._bytes -= len(chunk)
        if self._full and self._bytes <= self.bytes_max // 2:
            self._release()
        return chunk

    async def read_all(self, bytes_max: int) -> bytes:
        """Everything until the end, of which at most `bytes_max` are kept."""
        kept = bytearray()
        while data := await self.read():
            kept += data[: bytes_max - len(kept)]
        return bytes(kept)

    def close(self) -> None:
        """Who reads has gone. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self._drop()
        _wake(self._reader)
        self._release()
        if self.on_closed is not None and not self._over:
            self.on_closed()

    # between

    def _arrive(self, data: bytes) -> None:
        if not self._closed:
            self._chunks.append(data)
            _wake(self._reader)

    def _end(self, error: Exception | None) -> None:
        if not self._ended:
            self._ended, self._error = True, error
            _wake(self._reader)

    def _drop(self) -> None:
        self._chunks.clear()
        self._bytes = 0

    def _release(self) -> None:
        self._full = False
        writers, self._writers = self._writers, []
        for waiting in writers:
            _wake(waiting)
        if self.on_room is not None and not self._over and not self._closed:
            self.on_room()


class Streams:
    """What a command, or a connection, is between who asked for it and who serves it.

    `stdin` goes to who serves, `stdout` and `stderr` come from it; None where there is none. A connection has stdin and
    stdout. Who serves them sets `on_resize(width, height)` and `on_close()`: the asker has gone, or was cut off.
    """

    __slots__ = (
        "_closed", "_connections", "_deliver_back", "_deliver_there", "_error", "_exit_code", "_finished", "_over",
        "_waiters", "claimed", "on_close", "on_resize", "stderr", "stdin", "stdout", "when_over",
    )  # fmt: skip

    def __init__(self, *, stdin: bool = True, stdout: bool = True, stderr: bool = False) -> None:
        self.stdin = Pipe() if stdin else None
        self.stdout = Pipe() if stdout else None
        self.stderr = Pipe() if stderr else None
        self.on_resize: Callable[[int, int], None] | None = None
        self.on_close: Callable[[], None] | None = None
        self.when_over: list[Callable[[Streams], None]] = []
        self.claimed = False  # the asker has got them: an answer may be lost on its way
        self._exit_code = 0
        self._error: Exception | None = None
        self._finished = False  # who serves has said how it ended
        self._over = False  # and the asker's end has heard of it
        self._closed = False
        self._waiters: list[asyncio.Future[None]] = []
        self._connections: tuple[Connection, ...] = ()
        self._deliver_there: Deliver = _at_once
        self._deliver_back: Deliver = _at_once

    # who asked

    def resize(self, width: int, height: int) -> None:
        """The terminal's size in characters."""
        self._deliver_there(self._resize, width, height)

    @property
    def over(self) -> bool:
        """How it ended is known: `wait` does not wait."""
        return self._over

    async def wait(self) -> int:
        """How it ended: the exit code. Raises what it failed with. Read the pipes to their ends before."""
        while not self._over:
            waiting = asyncio.get_running_loop().create_future()
            self._waiters.append(waiting)
            await waiting
        if self._error is not None:
            raise self._error
        return self._exit_code

    def close(self) -> None:
        """Who asked has gone: nothing is read any more, a command is ended. Idempotent."""
        if self._closed:
            return
        self._closed = True
        if self.stdin is not None:
            self.stdin.end()
        for pipe in (self.stdout, self.stderr):
            if pipe is not None:
                pipe.close()
        if not self._finished and self.on_close is not None:
            self.on_close()
        self._end(0, None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        self.close()

    # who serves

    @property
    def closed(self) -> bool:
        """The asker has gone."""
        return self._closed

    @property
    def finished(self) -> bool:
        """Who serves has said how it ended."""
        return self._finished

    def finish(self, exit_code: int = 0, error: Exception | None = None) -> None:
        """It has ended, or failed with `error`: output ends, nothing more is read. Only the first call counts."""
        if self._finished:
            return
        self._finished = True
        for pipe in (self.stdout, self.stderr):
            if pipe is not None:
                pipe.end()
        if self.stdin is not None:
            self.stdin.close()
        self._deliver_back(self._end, exit_code, error)

    def abort(self, error: Exception) -> None:
        """Broken for both at once."""
        if self._over:
            return
        for pipe in (self.stdin, self.stdout, self.stderr):
            if pipe is not None:
                pipe.abort(error)
        finished, self._finished = self._finished, True
        if not finished and not self._closed and self.on_close is not None:
            self._closed = True
            self.on_close()
        self._end(0, error)

    # between

    def carry(self, network: Network, asker: str, server: str) -> None:
        """Let the network between two hosts delay and cut it. Raises Unreachable when there is no way now."""
        if asker == server or self._connections or self._over:
            return

        def cut() -> None:
            self.abort(Unreachable(f"the connection from {asker} to {server} was cut"))

        there = network.open(server, asker, cut)
        back = network.open(asker, server, cut)
        self._connections = (there, back)
        self._deliver_there, self._deliver_back = there.deliver, back.deliver
        if self.stdin is not None:
            self.stdin.carry(there.deliver)
        for pipe in (self.stdout, self.stderr):
            if pipe is not None:
                pipe.carry(back.deliver)

    def close_unclaimed(self) -> None:
        """For who served them, some time later: an asker that never got them does not close them."""
        if not self.claimed:
            self.close()

    def _resize(self, width: int, height: int) -> None:
        if self.on_resize is not None and not self._finished:
            self.on_resize(width, height)

    def _end(self, exit_code: int, error: Exception | None) -> None:
        if self._over:
            return
        self._over = True
        self._exit_code, self._error = exit_code, error
        waiters, self._waiters = self._waiters, []
        for waiting in waiters:
            _wake(waiting)
        for connection in self._connections:
            connection.close()
        observers, self.when_over = self.when_over, []
        for observer in observers:
            observer(self)


class StreamSet:
    """The streams that pass through one process, at most `streams_max`; when it ends they break."""

    __slots__ = ("_streams", "streams_max")

    def __init__(self, streams_max: int) -> None:
        self.streams_max = streams_max
        self._streams: dict[Streams, None] = {}

    def __len__(self) -> int:
        return len(self._streams)

    @property
    def full(self) -> bool:
        return len(self._streams) >= self.streams_max

    def add(self, streams: Streams) -> None:
        """Until they are over."""
        if streams.over:
            return
        self._streams[streams] = None
        streams.when_over.append(self._forget)

    def abort(self, error: Exception) -> None:
        for streams in list(self._streams):
            streams.abort(error)

    def _forget(self, streams: Streams) -> None:
        self._streams.pop(streams, None)


def _at_once(callback: Callable[..., Any], *args: Any) -> None:
    callback(*args)


def _wake(waiting: "asyncio.Future[None] | None") -> None:
    if waiting is not None and not waiting.done():
        waiting.set_result(None)
