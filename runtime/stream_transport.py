"""An asyncio transport on two pipes, so that protocols made for sockets (HTTP) speak over streams."""

import asyncio
from typing import Any

from kubeloop.runtime.streams import Pipe


class PipeTransport(asyncio.Transport):
    """What comes out of `incoming` goes to the protocol, what the protocol writes into `outgoing`.

    It reads while `run` runs, which ends with the connection; whoever made it runs it.
    """

    def __init__(self, incoming: Pipe, outgoing: Pipe, protocol: Any) -> None:
        super().__init__()
        self._incoming = incoming
        self._outgoing = outgoing
        self._protocol = protocol
        self._closing = False
        self._lost = False
        self._reading = True
        self._resumed: asyncio.Future[None] | None = None
        outgoing.on_room = self._room
        outgoing.on_closed = self.abort
        protocol.connection_made(self)

    async def run(self) -> None:
        """Reads until the other side ends, or this one is closed."""
        error: Exception | None = None
        half_closed = False
        try:
            while not self._closing:
                data = await self._incoming.read()
                while not self._reading and not self._closing:
                    self._resumed = asyncio.get_running_loop().create_future()
                    await self._resumed
                if self._closing:
                    break
                if data:
                    self._protocol.data_received(data)
                else:
                    half_closed = bool(self._protocol.eof_received())  # then it still writes, and closes
                    break
        except ConnectionError as broken:
            error = broken
        except Exception as broken:
            error = ConnectionResetError(str(broken))
        finally:
            if not half_closed:
                self._lose(error)

    def _room(self) -> None:
        if not self._lost:
            self._protocol.resume_writing()

    def _lose(self, error: Exception | None) -> None:
        self._closing = True
        self._outgoing.end()
        self._incoming.close()
        if not self._lost:
            self._lost = True
            self._protocol.connection_lost(error)

    # asyncio.Transport

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self._closing and data and not self._outgoing.feed(bytes(data)):
            self._protocol.pause_writing()

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._outgoing.end()
            self._wake()
            asyncio.get_running_loop().call_soon(self._lose, None)

    def abort(self) -> None:
        self.close()

    def is_closing(self) -> bool:
        return self._closing

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self._outgoing.end()

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        self._reading = True
        self._wake()

    def is_reading(self) -> bool:
        return self._reading and not self._closing

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """The pipe has its own."""

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        protocol: asyncio.BaseProtocol = self._protocol
        return protocol

    def _wake(self) -> None:
        if self._resumed is not None and not self._resumed.done():
            self._resumed.set_result(None)
