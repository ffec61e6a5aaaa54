"""Watches over HTTP: events as lines, written as they come, to a client that must keep up."""

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from kubeloop.actors.api.errors import StatusError
from kubeloop.actors.apiserver import limits, render
from kubeloop.actors.apiserver.http_answer import headers_of
from kubeloop.actors.apiserver.messages import Request, WatchEvent, WatchRequest
from kubeloop.actors.apiserver.metrics import EventSizes
from kubeloop.actors.apiserver.negotiate import JSON, YAML, Representation

if TYPE_CHECKING:
    from aiohttp import web

    from kubeloop.actors.apiserver.http import HttpServer


class Pump:
    """Writes what one turn of the loop brought for all watches of a server, in one callback and no task for each."""

    def __init__(self) -> None:
        self._ready: dict[BufferedSink, None] = {}

    def wake(self, sink: "BufferedSink") -> None:
        if not self._ready:
            asyncio.get_running_loop().call_soon(self._write)
        self._ready[sink] = None

    def _write(self) -> None:
        ready, self._ready = self._ready, {}
        for sink in ready:
            sink.flush()


class BufferedSink:
    """What the cache delivers and the client has not read yet. Too much of it ends the watch.

    A client that keeps up is written to by the `pump`, past aiohttp, which would need a task and five calls for each
    event; for one that does not, `wake` is set, and the request's own task waits for it.
    """

    def __init__(self, render_line: Callable[[WatchEvent], bytes], pump: Pump) -> None:
        self._render = render_line
        self._pump = pump
        self._transport: asyncio.WriteTransport | None = None
        self.lines: deque[bytes] = deque()
        self.size_bytes = 0
        self.closed = False
        self.terminated = False  # it is closed since the client did not keep up
        self.wake = asyncio.Event()

    def attach(self, transport: asyncio.WriteTransport | None) -> None:
        """The connection, for chunks of HTTP/1.1; None while somebody else writes to it."""
        self._transport = transport

    def on_event(self, event: WatchEvent) -> None:
        if self.closed:
            return
        line = self._render(event)
        self.lines.append(line)
        self.size_bytes += len(line)
        if len(self.lines) > limits.watch_buffer_events_max or self.size_bytes > limits.watch_buffer_bytes_max:
            self.lines.clear()
            self.closed = self.terminated = True
            self.wake.set()
        elif self._transport is not None:
            self._pump.wake(self)
        else:
            self.wake.set()

    def on_closed(self, error: Exception | None) -> None:
        self.closed = True
        self.wake.set()

    def take(self) -> bytes:
        """Everything that waits, at once."""
        data = b"".join(self.lines)
        self.lines.clear()
        self.size_bytes = 0
        return data

    def flush(self) -> None:
        """Write what waits as one chunk, unless the client is behind."""
        transport = self._transport
        if transport is None or not self.lines:
            return
        if transport.is_closing() or transport.get_write_buffer_size() > limits.watch_write_buffer_bytes:
            self.wake.set()
            return
        data = self.take() if len(self.lines) > 1 else self.lines.popleft()
        self.size_bytes = 0
        transport.write(b"%x\r\n%b\r\n" % (len(data), data))


async def serve(
    server: "HttpServer",
    request: "web.BaseRequest",
    message: Request,
    representation: Representation,
    printer_columns: Any = None,
) -> "web.StreamResponse":
    """Answers 200 and streams until the timeout, the client's end or the server's; errors before that are Statuses."""
    from aiohttp import HttpVersion11, web

    if "timeoutSeconds" not in message.options:
        low = limits.watch_timeout_seconds_min
        seconds = int(low * (1 + server.clock.random.random()))
        message = msgspec.structs.replace(message, options={**message.options, "timeoutSeconds": str(seconds)})
    sizes = partial(server.metrics.event_sizes, message.group, message.version, message.resource)
    render_line = sized(renderer(server, request, message, representation, printer_columns), sizes)
    sink = BufferedSink(render_line, server.pump)
    try:
        handle = await server.apiserver.ask(WatchRequest(message, sink))
    except StatusError as error:
        if error.code != 410:
            raise
        handle = None
        sink.lines.append(render.line_of("ERROR", error.status))
        sink.on_closed(None)
    content_type = f"{JSON};stream=watch" if representation.stream else JSON
    if representation.media_type == YAML:
        content_type = YAML
    response = web.StreamResponse(status=200, headers=headers_of(request, content_type))
    try:
        await response.prepare(request)
        transport = request.transport if request.version >= HttpVersion11 else None
        while True:
            sink.attach(None)
            while data := sink.take():
                await response.write(data)
            if sink.closed:
                break
            sink.wake.clear()
            sink.attach(transport)
            await sink.wake.wait()
        await response.write_eof()
    finally:
        sink.attach(None)
        if handle is not None:
            handle.cancel()
        if sink.terminated:
            server.metrics.terminated.labels(message.group, message.resource).inc()
    return response


def sized(render_line: Callable[[WatchEvent], bytes], find: Callable[[], EventSizes]) -> Callable[[WatchEvent], bytes]:
    """The renderer, its lines measured for /metrics once there is an event: the resource is served then."""
    sizes: EventSizes | None = None

    def measured(event: WatchEvent) -> bytes:
        nonlocal sizes
        line = render_line(event)
        if sizes is None:
            sizes = find()
        if line is sizes.line:
            sizes.times += 1
        else:
            sizes.add(line)
        return line

    return measured


def renderer(
    server: "HttpServer",
    request: "web.BaseRequest",
    message: Request,
    representation: Representation,
    printer_columns: Any,
) -> Callable[[WatchEvent], bytes]:
    if representation.media_type == YAML:
        return lambda event: (
            render.text({"type": event.type, "object": render.builtins_of(event.object)}, representation, False)
            + b"---\n"
        )
    if representation.as_ == "Table":
        return TableLines(server, request, message, representation, printer_columns)
    if representation.as_:
        version = representation.version
        return lambda event: render.line_of(
            event.type, event.object if event.type == "ERROR" else render.partial(event.object, version)
        )
    return render.watch_line


class TableLines:
    """Each event as a Table of one row; the column definitions come with the first only."""

    def __init__(
        self,
        server: "HttpServer",
        request: "web.BaseRequest",
        message: Request,
        representation: Representation,
        printer_columns: Any,
    ) -> None:
        self._printer_columns = printer_columns
        self._resource = (message.group, message.version, message.resource)
        self._include = request.query.get("includeObject") or "Metadata"
        self._version = representation.version
        self._clock = server.clock
        self._first = True

    def __call__(self, event: WatchEvent) -> bytes:
        from kubeloop.actors.apiserver.table import table_of

        if event.type == "ERROR":
            return render.line_of(event.type, event.object)
        table: dict[str, Any] = table_of(
            self._resource,
            event.object,
            self._clock.now(),
            include_object=self._include,
            version=self._version,
            printer_columns=self._printer_columns,
        )
        if not self._first:
            table["columnDefinitions"] = None
        self._first = False
        return render.line_of(event.type, table)
