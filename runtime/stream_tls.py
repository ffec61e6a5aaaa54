"""TLS over streams: a client's side, without sockets."""

import ssl
from collections.abc import Callable
from typing import Any

import anyio

from kubeloop.runtime.limits import PIPE_READ_BYTES_MAX
from kubeloop.runtime.streams import Pipe


class TlsClient:
    """Encrypts what is written to `outgoing` and decrypts what comes out of `incoming`, while `run` runs."""

    def __init__(self, raw_incoming: Pipe, raw_outgoing: Pipe, context: ssl.SSLContext, hostname: str) -> None:
        self.incoming = Pipe()
        self.outgoing = Pipe()
        self._raw_incoming = raw_incoming
        self._raw_outgoing = raw_outgoing
        self._in = ssl.MemoryBIO()
        self._out = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_hostname=hostname)

    async def handshake(self) -> None:
        """Raises ssl.SSLError, ConnectionError."""
        await self._until_done(self._tls.do_handshake)

    async def run(self) -> None:
        """Both directions, until one ends."""
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._encrypt)
                await self._decrypt()
                group.cancel_scope.cancel()
        except* (ssl.SSLError, OSError) as broken:
            self.incoming.end(ConnectionResetError(str(broken.exceptions[0])))
        finally:
            self.incoming.end()
            self.outgoing.close()
            self._raw_outgoing.end()
            self._raw_incoming.close()

    async def _decrypt(self) -> None:
        while data := await self._until_done(self._tls.read, PIPE_READ_BYTES_MAX):
            await self.incoming.write(data)

    async def _encrypt(self) -> None:
        while data := await self.outgoing.read():
            self._tls.write(data)
            await self._flush()
        try:
            self._tls.unwrap()
        except ssl.SSLError:
            pass  # the other side has not said goodbye yet
        await self._flush()

    async def _until_done(self, function: Callable[..., Any], *arguments: Any) -> Any:
        while True:
            try:
                result = function(*arguments)
                await self._flush()
                return result
            except ssl.SSLWantReadError:
                await self._flush()
                data = await self._raw_incoming.read()
                if data:
                    self._in.write(data)
                else:
                    self._in.write_eof()
            except ssl.SSLZeroReturnError:
                return b""

    async def _flush(self) -> None:
        if self._out.pending:
            await self._raw_outgoing.write(self._out.read())
