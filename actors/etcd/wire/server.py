"""Listening: etcd's client URLs. One port speaks gRPC (HTTP/2) and plain HTTP, told apart by the first bytes.

Importing this module imports aetcd's message classes, and grpc with them.
"""

import asyncio
import socket
import ssl
from typing import TYPE_CHECKING, TypeAlias, cast
from urllib.parse import urlsplit

try:
    import aetcd.rpc  # type: ignore[import-untyped]  # noqa: F401
    import hpack  # noqa: F401
except ImportError as missing:
    raise ImportError(
        f"etcd's API is served through aetcd and hpack ({missing}): pip install 'kubeloop[etcd]'"
    ) from None

from kubeloop.actors.etcd.actor import EtcdActor
from kubeloop.actors.etcd.options import EtcdOptions
from kubeloop.actors.etcd.wire.http import HttpPages, PageStream, http1_server
from kubeloop.actors.etcd.wire.http2 import DEFAULT_LIMITS, Http2Connection
from kubeloop.actors.etcd.wire.http2_frames import PREFACE, Http2Limits
from kubeloop.actors.etcd.wire.http2_headers import Head
from kubeloop.actors.etcd.wire.http2_stream import Stream
from kubeloop.actors.etcd.wire.rpc import RpcServer
from kubeloop.actors.etcd.wire.rpc_call import StreamingCall
from kubeloop.actors.etcd.wire.services import every_method
from kubeloop.runtime.metrics import Registry

if TYPE_CHECKING:
    from aiohttp import web

GRPC_OVERHEAD_BYTES = 524_288  # etcd lets gRPC read so much more than a request may have, to answer in its own words
BACKLOG = 1_024
STOPPED = "etcdserver: server stopped"

Address: TypeAlias = tuple[str, str, int]


class EtcdServer:
    """The v3 API of an actor that has started, on the client URLs of its options.

    `urls` are the URLs with the ports that were bound. It ends with the actor, and by `close` in peace.
    """

    def __init__(self, etcd: EtcdActor, *, limits: Http2Limits = DEFAULT_LIMITS) -> None:
        self.urls: list[str] = []
        self._etcd = etcd
        self._limits = limits
        self._servers: list[asyncio.Server] = []
        self._connections: dict[Http2Connection | Undecided, None] = {}
        self._emptied: asyncio.Future[None] | None = None
        metrics = Registry()
        self._pages = HttpPages(etcd, metrics)
        self._rpc = RpcServer(
            etcd,
            every_method(etcd, self.urls),
            message_bytes_max=etcd.options.max_request_bytes + GRPC_OVERHEAD_BYTES,
            log=lambda: etcd.context.log,
            metrics=metrics,
            other=self._page,
        )
        self._http1: web.Server

    async def start(self) -> None:
        """Raises ValueError for URLs and TLS options that make no sense, OSError for what cannot be read or bound."""
        options = self._etcd.options
        addresses = [address_of(url) for url in options.listen_client_urls]
        context = tls_context(options) if any(scheme == "https" for scheme, _, _ in addresses) else None
        self._http1 = http1_server(self._pages)
        self._etcd.defer(self.abort)
        for scheme, host, port in addresses:
            bound = await self._listen(host, port, context if scheme == "https" else None)
            self.urls.append(f"{scheme}://{f'[{host}]' if ':' in host else host}:{bound}")

    async def _listen(self, host: str, port: int, context: ssl.SSLContext | None) -> int:
        loop = asyncio.get_running_loop()
        if port == 0:  # a name with several addresses would get a port for each
            host = str((await loop.getaddrinfo(host, 0, type=socket.SOCK_STREAM))[0][4][0])
        server = await loop.create_server(
            lambda: Undecided(self),
            host,
            port,
            ssl=context,
            ssl_handshake_timeout=self.handshake_seconds if context is not None else None,
            reuse_address=True,
            backlog=BACKLOG,
        )
        self._servers.append(server)
        bound: int = server.sockets[0].getsockname()[1]
        return bound

    async def close(self) -> None:
        """Stop listening, end streams with UNAVAILABLE, let requests that wait for the disk have their answers."""
        for server in self._servers:
            server.close()
        for connection in list(self._connections):
            if isinstance(connection, Undecided):
                connection.abort()
                continue
            for stream in list(connection.streams.values()):
                if isinstance(stream, StreamingCall):
                    stream.give_up("UNAVAILABLE", STOPPED)
            connection.leave("server stopped")
        if self._connections:
            self._emptied = asyncio.get_running_loop().create_future()
            await asyncio.wait([self._emptied], timeout=self._limits.goodbye_seconds)
        await self._http1.shutdown(self._limits.goodbye_seconds)
        self.abort()

    def abort(self) -> None:
        """End everything at once, as the end of the process would."""
        for server in self._servers:
            server.close()
        for connection in list(self._connections):
            connection.abort()
        for handler in self._http1.connections:
            if handler.transport is not None:
                handler.transport.abort()

    # for connections

    def opened(self, connection: "Http2Connection | Undecided") -> None:
        self._connections[connection] = None

    def lost(self, connection: "Http2Connection | Undecided") -> None:
        self._connections.pop(connection, None)
        if self._emptied is not None and not self._connections and not self._emptied.done():
            self._emptied.set_result(None)

    def http2(self) -> Http2Connection:
        """A connection that speaks HTTP/2."""
        connection = Http2Connection(self._rpc.accept, limits=self._limits, on_lost=self.lost)
        self.opened(connection)
        return connection

    def http1(self) -> asyncio.Protocol:
        """A connection that speaks HTTP/1.1."""
        return self._http1()

    @property
    def handshake_seconds(self) -> float:
        """A client must have begun to speak by then."""
        return self._limits.handshake_seconds

    def _page(self, connection: Http2Connection, stream_id: int, head: Head) -> Stream:
        return PageStream(connection, stream_id, head, self._pages)


class Undecided(asyncio.Protocol):
    """A connection until its first bytes say what it speaks."""

    def __init__(self, server: EtcdServer) -> None:
        self._server = server
        self._seen = b""
        self._transport: asyncio.Transport
        self._timer: asyncio.TimerHandle

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are none by class
        connection = transport.get_extra_info("socket")
        if connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # finds clients that are gone
        self._timer = asyncio.get_running_loop().call_later(self._server.handshake_seconds, self.abort)
        self._server.opened(self)

    def data_received(self, data: bytes) -> None:
        seen = self._seen = self._seen + data
        if len(seen) < len(PREFACE) and PREFACE.startswith(seen):
            return
        self._leave()
        protocol = self._server.http2() if seen.startswith(PREFACE) else self._server.http1()
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        protocol.data_received(seen)

    def connection_lost(self, error: Exception | None) -> None:
        self._leave()

    def _leave(self) -> None:
        self._timer.cancel()
        self._server.lost(self)

    def abort(self) -> None:
        self._transport.abort()


def address_of(url: str) -> Address:
    """Scheme, host and port of a client URL. Raises ValueError in etcd's words."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https"):
        raise ValueError(f"URL scheme must be http or https: {url}")
    try:
        port = parts.port
    except ValueError:
        port = None
    if port is None or not parts.hostname:
        raise ValueError(f'URL address does not have the form "host:port": {url}')
    if parts.path or parts.query or parts.fragment:
        raise ValueError(f"URL must not contain a path: {url}")
    return parts.scheme, parts.hostname, port


def tls_context(options: EtcdOptions) -> ssl.SSLContext:
    """As etcd's: TLS 1.2 or newer, and client certificates when they are demanded or their CA is named."""
    if not options.cert_file or not options.key_file:
        url = next(url for url in options.listen_client_urls if url.startswith("https:"))
        raise ValueError(
            f"TLS key/cert (--cert-file, --key-file) must be provided for client url {url} with HTTPS scheme"
        )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2", "http/1.1"])
    context.load_cert_chain(options.cert_file, options.key_file)
    if options.trusted_ca_file or options.client_cert_auth:
        context.verify_mode = ssl.CERT_REQUIRED
        if options.trusted_ca_file:
            context.load_verify_locations(options.trusted_ca_file)
        else:
            context.load_default_certs(ssl.Purpose.CLIENT_AUTH)
    return context
