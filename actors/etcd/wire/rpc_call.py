"""One gRPC call: messages out of DATA frames, a handler that runs, a status at the end.

A unary handler is driven by hand: one that does not wait is answered within the call that read its request, and one
that waits costs a callback of the future that it waits for. A task each made a durable put a quarter dearer. A
streaming handler is a task, and a child of the actor.
"""

from asyncio import CancelledError, Future, TimerHandle, get_running_loop
from collections import deque
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from kubeloop.actors.etcd.messages import EtcdError
from kubeloop.actors.etcd.wire.http2 import Http2Connection
from kubeloop.actors.etcd.wire.http2_headers import Head
from kubeloop.actors.etcd.wire.http2_stream import Stream
from kubeloop.actors.etcd.wire.rpc_words import (
    HEADERS,
    PREFIX_BYTES,
    TRAILERS_OK,
    Method,
    RpcError,
    decompressed,
    prefixed,
    status_trailers,
    text,
    timeout_seconds,
    too_large,
)
from kubeloop.runtime.actor import ActorStopped
from kubeloop.runtime.tasks import Child

if TYPE_CHECKING:
    from kubeloop.actors.etcd.wire.rpc import RpcServer

INBOX_BYTES_MAX = 65_536  # of messages that a streaming handler has not taken; then the client waits
TIMEOUT_SECONDS_MAX = 1e8  # longer is no deadline


class Call(Stream):
    """What unary and streaming calls have in common. `finished`: the status is decided."""

    __slots__ = ("_buffer", "_method", "_server", "_timer", "finished", "responding")

    def __init__(
        self, connection: Http2Connection, stream_id: int, head: Head, server: "RpcServer", method: Method
    ) -> None:
        super().__init__(connection, stream_id, head)
        self.finished = False
        self.responding = False  # the head of the answer is out
        self._server = server
        self._method = method
        self._buffer: bytearray | None = None
        self._timer: TimerHandle | None = None

    def take(self, message: bytes, last: bool) -> None:
        """A request message; `last`: the client has ended its half with it. Raises RpcError."""
        raise NotImplementedError

    def requests_ended(self) -> None:
        """The client has ended its half. Raises RpcError."""
        raise NotImplementedError

    def stop_handler(self) -> None:
        """Nobody waits for the answer any more."""
        raise NotImplementedError

    def acknowledge(self, size: int) -> None:
        """So many bytes have come: let the client send more, now or later."""
        self.consumed(size)

    # the request comes in

    def request_received(self) -> None:
        self._method.started.value += 1

    def data_received(self, data: bytes, ended: bool) -> None:
        try:
            self._collect(data, ended)
        except RpcError as error:
            self.give_up(error.code, str(error))

    def _collect(self, data: bytes, ended: bool) -> None:
        """Take messages out of what has come so far."""
        buffer = self._buffer
        if buffer is None:
            buffer = self._buffer = bytearray()
        buffer += data
        self._hold(len(data))
        bytes_max = self._server.message_bytes_max
        while len(buffer) >= PREFIX_BYTES:
            size = int.from_bytes(buffer[1:PREFIX_BYTES], "big")
            if size > bytes_max:
                raise too_large(size, bytes_max)
            end = size + PREFIX_BYTES
            if len(buffer) < end:
                break
            flag, message = buffer[0], bytes(buffer[PREFIX_BYTES:end])
            del buffer[:end]
            self._hold(-end)
            if flag:
                encoding = text(self.head.headers.get(b"grpc-encoding", b"identity"))
                message = decompressed(message, flag, encoding, bytes_max)
            last = ended and not buffer
            self.take(message, last)
            if last or self.finished:
                return
        if not ended:
            self.acknowledge(len(data))
        elif buffer:
            raise RpcError("INTERNAL", "unexpected EOF")
        else:
            self.requests_ended()

    def _hold(self, size: int) -> None:
        connection = self.connection
        connection.held_bytes += size
        if connection.held_bytes > connection.limits.held_bytes_max:
            raise RpcError("RESOURCE_EXHAUSTED", "too many bytes of incomplete requests on this connection")

    def parsed(self, message: bytes) -> Any:
        """Raises RpcError."""
        try:
            return self._method.parse(message)
        except Exception as error:  # google.protobuf's DecodeError, which is not imported here
            raise RpcError("INTERNAL", f"grpc: error unmarshalling request: {error}") from None

    # the call ends

    def finish(self, code: str, message: str = "") -> None:
        """End the call with a status, after what it has sent so far."""
        if self.finished:
            return
        self.settle(code)
        trailers = status_trailers(code, message)
        if self.responding:
            self.end(trailers)
        else:
            self.responding = True
            self.write_headers(HEADERS + trailers, end=True)

    def fail(self, error: Exception) -> None:
        """End the call with what its handler raised."""
        if isinstance(error, (RpcError, EtcdError)):
            self.finish(error.code, str(error))
        elif isinstance(error, ActorStopped):
            self.finish("UNAVAILABLE", "etcdserver: server stopped")
        else:
            method = f"{self._method.service}/{self._method.name}"
            self._server.log().exception("grpc_call_failed", exc_info=error, method=method)
            self.finish("INTERNAL", f"{type(error).__name__}: {error}")

    def give_up(self, code: str, message: str) -> None:
        """End the call with a status, and its handler."""
        self.finish(code, message)
        self.stop_handler()

    def settle(self, code: str) -> None:
        """The status is decided: nothing is waited for any more."""
        self.finished = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._buffer is not None:
            self.connection.held_bytes -= len(self._buffer)
            self._buffer = None
        self._server.count(self._method, code)

    def cancelled(self) -> None:
        if not self.finished:
            self.settle("CANCELLED")
        self.stop_handler()

    def watch_deadline(self) -> None:
        """Give up when the client's grpc-timeout is over."""
        timeout = self.head.headers.get(b"grpc-timeout")
        if timeout is None:
            return
        seconds = timeout_seconds(timeout)
        if seconds is None:
            self.give_up("INTERNAL", f"malformed grpc-timeout: {text(timeout)}")
        elif seconds < TIMEOUT_SECONDS_MAX:
            loop = get_running_loop()
            self._timer = loop.call_later(seconds, self.give_up, "DEADLINE_EXCEEDED", "context deadline exceeded")


class UnaryCall(Call):
    """One request, one response."""

    __slots__ = ("_coroutine", "_message", "_waits_for")

    def __init__(
        self, connection: Http2Connection, stream_id: int, head: Head, server: "RpcServer", method: Method
    ) -> None:
        super().__init__(connection, stream_id, head, server, method)
        self._message: bytes | None = None  # complete, but the client has not ended its half
        self._coroutine: Coroutine[Any, Any, bytes] | None = None
        self._waits_for: Future[Any] | None = None

    def data_received(self, data: bytes, ended: bool) -> None:
        if ended and self._buffer is None and len(data) >= PREFIX_BYTES and not data[0]:
            size = len(data) - PREFIX_BYTES  # nearly always: the whole request in one frame
            if size == int.from_bytes(data[1:PREFIX_BYTES], "big") and size <= self._server.message_bytes_max:
                try:
                    self._run(data[PREFIX_BYTES:])
                except RpcError as error:
                    self.finish(error.code, str(error))
                return
        super().data_received(data, ended)

    def take(self, message: bytes, last: bool) -> None:
        if self._message is not None:
            raise RpcError("INTERNAL", "grpc: more than one request message of a unary call")
        if last:
            self._run(message)
        else:
            self._message = message

    def requests_ended(self) -> None:
        if self._message is None:
            raise RpcError("INTERNAL", "grpc: no request message of a unary call")
        self._run(self._message)

    def _run(self, message: bytes) -> None:
        self._coroutine = self._method.handler(self.parsed(message))
        self._advance()
        if self._coroutine is not None:
            self.watch_deadline()

    def _advance(self, future: "Future[Any] | None" = None) -> None:
        coroutine = self._coroutine
        if coroutine is None:
            return  # stopped in the turn in which it need not wait any more
        self._waits_for = None
        try:
            waits_for = coroutine.send(None)
        except StopIteration as answer:
            self._coroutine = None
            self._answer(answer.value)
        except CancelledError:
            self._coroutine = None
            self.finish("CANCELLED", "context canceled")
        except Exception as error:
            self._coroutine = None
            self.fail(error)
        else:
            self._waits_for = waits_for
            waits_for._asyncio_future_blocking = False  # as a task does: somebody takes care of it
            waits_for.add_done_callback(self._advance)

    def _answer(self, message: bytes) -> None:
        if self.finished:
            return
        self.settle("OK")
        self.responding = True
        self.respond(HEADERS, prefixed(message), TRAILERS_OK)

    def stop_handler(self) -> None:
        coroutine, self._coroutine = self._coroutine, None
        if coroutine is not None and self._waits_for is not None:
            self._waits_for.remove_done_callback(self._advance)
            coroutine.close()


class StreamingCall(Call):
    """Many responses, and of a bidirectional method many requests. `on_writable` is called when there is room again."""

    __slots__ = ("_child", "_inbox", "_inbox_bytes", "_receiver", "_sender", "_withheld", "on_writable", "request")

    def __init__(
        self, connection: Http2Connection, stream_id: int, head: Head, server: "RpcServer", method: Method
    ) -> None:
        super().__init__(connection, stream_id, head, server, method)
        self.on_writable: Callable[[], None] | None = None
        self.request: Any = None  # of a method that only streams its answer
        self._child: Child | None = None
        self._inbox: deque[tuple[Any, int]] = deque()
        self._inbox_bytes = 0
        self._withheld = 0
        self._receiver: Future[None] | None = None
        self._sender: Future[None] | None = None

    def request_received(self) -> None:
        super().request_received()
        if self._method.kind == "bidi_stream":
            self._start()

    def take(self, message: bytes, last: bool) -> None:
        request = self.parsed(message)
        if self._method.kind == "bidi_stream":
            self._inbox.append((request, len(message)))
            self._inbox_bytes += len(message)
            wake(self._receiver)
        elif self.request is None:
            self.request = request
            self._start()

    def requests_ended(self) -> None:
        if self._method.kind == "bidi_stream":
            wake(self._receiver)
        elif self.request is None:
            raise RpcError("INTERNAL", "grpc: no request message")

    def acknowledge(self, size: int) -> None:
        if self._inbox_bytes > INBOX_BYTES_MAX:
            self._withheld += size
        else:
            self.consumed(size)

    def stop_handler(self) -> None:
        if self._child is not None:
            self._child.cancel()

    def _start(self) -> None:
        try:
            self._child = self._server.spawner.spawn(self._run, name=f"grpc {self._method.name}")
        except ActorStopped as error:
            self.fail(error)
            return
        self.watch_deadline()

    async def _run(self) -> None:
        try:
            await self._method.handler(self)
        except Exception as error:
            self.fail(error)
        else:
            self.finish("OK")

    # for the handler

    async def receive(self) -> Any:
        """The client's next message; None when it has ended its half of the call."""
        while not self._inbox:
            if self.remote_ended or self.closed:
                return None
            self._receiver = get_running_loop().create_future()
            await self._receiver
        request, size = self._inbox.popleft()
        self._inbox_bytes -= size
        if self._withheld and 2 * self._inbox_bytes < INBOX_BYTES_MAX:
            withheld, self._withheld = self._withheld, 0
            self.consumed(withheld)
        return request

    def send_nowait(self, message: bytes) -> bool:
        """Send a message as the client's windows allow. False: enough waits; `on_writable` tells when to go on."""
        if not self.responding:
            self.responding = True
            self.write_headers(HEADERS)
        return self.write(prefixed(message))

    async def send(self, message: bytes) -> None:
        """As `send_nowait`, but waits until there is room for more."""
        if not self.send_nowait(message):
            self._sender = get_running_loop().create_future()
            await self._sender

    def writable(self) -> None:
        wake(self._sender)
        if self.on_writable is not None:
            self.on_writable()


def wake(waiter: "Future[None] | None") -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)
