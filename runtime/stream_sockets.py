"""TCP connections as streams: what is written to stdin goes to the socket, what comes from it to stdout."""

import asyncio
from typing import Any

from kubeloop.runtime.streams import Streams
from kubeloop.runtime.tasks import Spawner

CONNECT_SECONDS = 10.0


async def connect(spawner: Spawner, host: str, port: int) -> Streams:
    """Raises OSError, with the words of Go's net package as its text; also in virtual time, which has no network."""
    loop = asyncio.get_running_loop()
    where = f"dial tcp {host}:{port}"
    if getattr(loop, "virtual", False):
        raise OSError(f"{where}: connect: network is unreachable: virtual time has none")
    streams = Streams()
    try:
        making = loop.create_connection(lambda: _Connection(streams), host, port)
        _, connection = await asyncio.wait_for(making, CONNECT_SECONDS)
    except TimeoutError:
        raise TimeoutError(f"{where}: i/o timeout") from None
    except ConnectionRefusedError:
        raise ConnectionRefusedError(f"{where}: connect: connection refused") from None
    except OSError as error:
        raise OSError(f"{where}: connect: {error.strerror or error}") from None
    spawner.spawn(connection.feed, name="socket")
    return streams


class _Connection(asyncio.Protocol):
    """Between a socket and streams; each direction ends by itself."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams
        self._transport: Any = None
        self._paused: asyncio.Future[None] | None = None
        self._over = False  # nothing more is written
        assert streams.stdout is not None
        self._stdout = streams.stdout

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._stdout.on_room = self._resume
        self._streams.on_close = self._transport.abort

    def _resume(self) -> None:
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        if not self._stdout.feed(data):
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        self._stdout.end()
        return not self._over  # the other direction stays open until its own end

    def connection_lost(self, exc: Exception | None) -> None:
        self.resume_writing()
        self._streams.finish(0, exc)

    def pause_writing(self) -> None:
        self._paused = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        paused, self._paused = self._paused, None
        if paused is not None and not paused.done():
            paused.set_result(None)

    async def feed(self) -> None:
        """Copies what comes to the socket, as fast as it takes it, until its end. Whatever breaks ends the socket."""
        stdin = self._streams.stdin
        assert stdin is not None
        try:
            while data := await stdin.read():
                self._transport.write(data)
                if self._paused is not None:
                    await self._paused
            self._over = True
            if self._streams.finished:
                return
            if self._stdout.over:
                self._transport.close()
            elif self._transport.can_write_eof():
                self._transport.write_eof()
        except Exception:
            self._transport.abort()
