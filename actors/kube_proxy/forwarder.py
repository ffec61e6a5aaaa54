"""Real TCP to services without root: listens on a loopback address, copies bytes to an endpoint and back.

Linux lets nobody answer for a cluster IP without root. So each node's proxy gives every service an address of its own
in the node's loopback range, and the kubelet tells containers that address in the service's variables. Ports below 1024
may need root too: then the port is 10000 higher, and a taken one is replaced by a free one; the variables say so.
"""

import asyncio
import errno
import socket
import sys
from collections.abc import Callable, Sequence
from typing import Any

from kubeloop.actors.kube_proxy.tables import Endpoint

CONNECT_SECONDS = 5.0
CONNECTIONS_MAX = 10_000  # of one proxy; more are reset
PRIVILEGED_OFFSET = 10_000
Spawn = Callable[..., Any]
Choose = Callable[[str], Sequence[Endpoint]]


def bind(host: str, port: int) -> socket.socket:
    """A bound socket that does not listen: connecting to it is refused. OSError when nothing can be bound."""
    candidates = (port, port + PRIVILEGED_OFFSET if port < 1024 else 0, 0)
    for number in candidates:
        bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if sys.platform != "win32":
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            bound.bind((host, number))
        except OSError as error:
            bound.close()
            if number == 0 or error.errno not in (errno.EACCES, errno.EPERM, errno.EADDRINUSE):
                raise
            continue
        bound.setblocking(False)
        return bound
    raise OSError(errno.EADDRINUSE, f"no port for {host}:{port}")


class Pipe(asyncio.Protocol):
    """One side of a forwarded connection; what it reads goes to its peer."""

    def __init__(
        self, on_made: "Callable[[Pipe], None] | None" = None, on_lost: Callable[[], None] | None = None
    ) -> None:
        self.transport: Any = None
        self.peer: Pipe | None = None
        self._on_made = on_made
        self._on_lost = on_lost
        self._ended = False
        self._early = b""  # uvloop reads on after a pause in connection_made

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        if self._on_made is not None:
            self.transport.pause_reading()
            self._on_made(self)

    def join(self, peer: "Pipe") -> None:
        self.peer, peer.peer = peer, self
        if self.transport.is_closing():
            peer.transport.close()
            return
        if self._early:
            peer.transport.write(self._early)
            self._early = b""
        if self._ended:
            if peer.transport.can_write_eof():
                peer.transport.write_eof()
        else:
            self.transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        if self.peer is not None:
            self.peer.transport.write(data)
        else:
            self._early += data

    def eof_received(self) -> bool:
        """Half-close: the other direction stays open until its own end."""
        self._ended = True
        peer = self.peer
        if peer is None:
            return True
        if peer._ended:
            peer.transport.close()
            return False
        if peer.transport.can_write_eof():
            peer.transport.write_eof()
        return True

    def pause_writing(self) -> None:
        if self.peer is not None and not self.peer.transport.is_closing():
            self.peer.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.peer is not None and not self.peer.transport.is_closing():
            self.peer.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.peer is not None:
            self.peer.transport.close() if exc is None else self.peer.transport.abort()
        if self._on_lost is not None:
            self._on_lost()


class Listener:
    """One port of one service on this node. A closed one refuses connections but keeps its port."""

    def __init__(
        self,
        host: str,
        port: int,
        choose: Choose,
        spawn: Spawn,
        on_error: Callable[[OSError], None] = lambda error: None,
    ) -> None:
        self._choose = choose
        self._spawn = spawn
        self._on_error = on_error
        self._server: asyncio.Server | None = None
        self._socket: socket.socket | None = bind(host, port)
        self.host, self.port = self._socket.getsockname()[:2]
        self._pipes: dict[int, Pipe] = {}
        self._wanted = False
        self._busy = False

    def set_open(self, wanted: bool) -> None:
        """Listen, or refuse. Connections that are there stay."""
        self._wanted = wanted
        if not wanted and self._server is not None:
            self._server.close()
            self._server = None
            self._socket = bind(self.host, self.port)
        elif wanted and self._server is None and not self._busy:
            self._busy = True
            self._spawn(self._listen, name=f"listen {self.host}:{self.port}")

    async def _listen(self) -> None:
        taken, self._socket = self._socket, None
        loop = asyncio.get_running_loop()
        try:
            if taken is None:
                taken = bind(self.host, self.port)
            server = self._server = await loop.create_server(
                lambda: Pipe(self._accepted), sock=taken, start_serving=False
            )
            await server.start_serving()
        except OSError as error:  # somebody else listens there: a node port of this machine belongs to one proxy
            if self._server is not None:
                self._server.close()
                self._server = None
            self._on_error(error)
        finally:
            self._busy = False
        if not self._wanted:
            self.set_open(False)

    def close(self) -> None:
        """Stop, and reset what is connected: the process has ended."""
        self._wanted = False
        if self._server is not None:
            self._server.close()
            self._server = None
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        for pipe in list(self._pipes.values()):
            pipe.transport.abort()
            if pipe.peer is not None:
                pipe.peer.transport.abort()
        self._pipes.clear()

    def _accepted(self, client: Pipe) -> None:
        if len(self._pipes) >= CONNECTIONS_MAX:
            client.transport.abort()
            return
        self._pipes[id(client)] = client
        client._on_lost = lambda: self._forget(client)
        self._spawn(self._connect, client, name="connection")

    def _forget(self, client: Pipe) -> None:
        self._pipes.pop(id(client), None)

    async def _connect(self, client: Pipe) -> None:
        """Try the endpoints in order; reset the client when none answers."""
        peername = client.transport.get_extra_info("peername")
        loop = asyncio.get_running_loop()
        for endpoint in self._choose(peername[0] if peername else ""):
            if client.transport.is_closing():
                return
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    _, upstream = await loop.create_connection(Pipe, endpoint.address, endpoint.port)
            except (OSError, TimeoutError):
                continue
            client.join(upstream)
            return
        client.transport.abort()
