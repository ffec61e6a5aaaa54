"""gRPC over HTTP/2, the server's side: the page "gRPC over HTTP2" of the gRPC documentation.

Texts of refusals are grpc-go's, which real etcd is built on.
"""

from collections.abc import Callable, Mapping
from typing import Any

from kubeloop.actors.etcd.wire.http2 import Http2Connection
from kubeloop.actors.etcd.wire.http2_headers import Head
from kubeloop.actors.etcd.wire.http2_stream import Stream
from kubeloop.actors.etcd.wire.rpc_call import Call, StreamingCall, UnaryCall
from kubeloop.actors.etcd.wire.rpc_words import CODE_LABELS, HEADERS, Method, RpcError, status_trailers, text
from kubeloop.runtime.log import Logger
from kubeloop.runtime.metrics import Registry
from kubeloop.runtime.tasks import Spawner

OTHER = object()


class RpcServer:
    """The methods, and what their calls share.

    spawner: the actor, so that a streaming call ends with it. message_bytes_max: of a request, decompressed.
    `other(connection, stream_id, head)` takes requests that are not gRPC's.
    """

    def __init__(
        self,
        spawner: Spawner,
        methods: list[Method],
        *,
        message_bytes_max: int,
        log: Callable[[], Logger],
        metrics: Registry,
        other: Callable[[Http2Connection, int, Head], Stream],
    ) -> None:
        self.spawner = spawner
        self.message_bytes_max = message_bytes_max
        self.log = log
        self._other = other
        self._methods: Mapping[bytes, Method] = {f"/{m.service}/{m.name}".encode(): m for m in methods}
        self._services = {method.service for method in methods}
        labels = ("grpc_type", "grpc_service", "grpc_method")
        started = metrics.counter("grpc_server_started_total", "Total number of RPCs started on the server.", labels)
        self._handled = metrics.counter(
            "grpc_server_handled_total",
            "Total number of RPCs completed on the server, regardless of success or failure.",
            (*labels, "grpc_code"),
        )
        for method in methods:
            method.started = started.labels(method.kind, method.service, method.name)
            method.handled = {"OK": self._handled.labels(method.kind, method.service, method.name, "OK")}

    def accept(self, connection: Http2Connection, stream_id: int, head: Head) -> Stream:
        """The stream of a request: a call, a refusal, or what `other` makes of it."""
        route = head.route
        if route is None:
            route = head.route = self._route(head)
        if type(route) is Method:
            kind: type[Call] = UnaryCall if route.kind == "unary" else StreamingCall
            return kind(connection, stream_id, head, self, route)
        if route is OTHER:
            return self._other(connection, stream_id, head)
        return Refusal(connection, stream_id, head, route)

    def _route(self, head: Head) -> Any:
        """The method, the error that a request is refused with, or OTHER. Asked once for equal requests."""
        if not head.headers.get(b"content-type", b"").startswith(b"application/grpc"):
            return OTHER
        if head.method != b"POST":
            return RpcError("INTERNAL", f"a gRPC call is a POST, not a {text(head.method)}")
        method = self._methods.get(head.path)
        if method is not None:
            return method
        service, slash, name = text(head.path).removeprefix("/").rpartition("/")
        if not slash or head.path[:1] != b"/":
            return RpcError("UNIMPLEMENTED", f'malformed method name: "{text(head.path)}"')
        if service not in self._services:
            return RpcError("UNIMPLEMENTED", f"unknown service {service}")
        return RpcError("UNIMPLEMENTED", f"unknown method {name} for service {service}")

    def count(self, method: Method, code: str) -> None:
        """One call more has ended with that code."""
        counter = method.handled.get(code)
        if counter is None:
            counter = self._handled.labels(method.kind, method.service, method.name, CODE_LABELS[code])
            method.handled[code] = counter
        counter.value += 1


class Refusal(Stream):
    """A call that has no method: answered before its messages have come."""

    __slots__ = ("_error",)

    def __init__(self, connection: Http2Connection, stream_id: int, head: Head, error: RpcError) -> None:
        super().__init__(connection, stream_id, head)
        self._error = error

    def request_received(self) -> None:
        self.write_headers(HEADERS + status_trailers(self._error.code, str(self._error)), end=True)
