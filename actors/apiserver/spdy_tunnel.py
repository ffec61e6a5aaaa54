"""The server's side of a SPDY connection in a WebSocket, for port-forwarding: pairs of streams, one connection each.

A client opens an error stream and a data stream with the same `requestid`. Both end when the connection does; what went
wrong is written to the error stream before. A pair that is not complete after PAIR_SECONDS is refused.
"""

from typing import TYPE_CHECKING, Any

import anyio

from kubeloop.actors.apiserver import limits, spdy
from kubeloop.actors.apiserver.channels import write
from kubeloop.runtime.streams import Pipe, Streams

if TYPE_CHECKING:
    from aiohttp import web

    from kubeloop.actors.apiserver.http_forward import Ports

PAIR_SECONDS = 30.0


class Pair:
    """`data` and `error` are stream numbers; 0: not there yet. `incoming`: what the client sends."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.data = 0
        self.error = 0
        self.incoming = Pipe()
        self.complete = anyio.Event()
        self.streams: Streams | None = None


class Tunnel:
    def __init__(self, websocket: "web.WebSocketResponse", ports: "Ports") -> None:
        self._websocket = websocket
        self._ports = ports
        self._reader = spdy.Reader()
        self._writer = spdy.Writer()
        self._sending = anyio.Lock()
        self._pairs: dict[str, Pair] = {}
        self._by_data: dict[int, Pair] = {}  # by number of the data stream
        self._last = 0
        self._group: Any = None

    async def run(self) -> None:
        """Until the client has gone, or breaks the rules."""
        try:
            async with anyio.create_task_group() as group:
                self._group = group
                await self._receive()
                group.cancel_scope.cancel()
        except* ConnectionError:
            pass  # the client has gone
        finally:
            for pair in self._pairs.values():
                if pair.streams is not None:
                    pair.streams.close()
        await self._websocket.close()

    async def _receive(self) -> None:
        from aiohttp import WSMsgType

        while True:
            message = await self._websocket.receive()
            if message.type is not WSMsgType.BINARY:
                return
            try:
                for frame in self._reader.feed(message.data):
                    if not await self._handle(frame):
                        return
            except spdy.SpdyError:
                await self._send(self._writer.goaway(self._last, 1))
                return

    async def _send(self, *frames: bytes) -> None:
        async with self._sending:
            for frame in frames:
                await self._websocket.send_bytes(frame)

    async def _handle(self, frame: spdy.Frame) -> bool:
        """False: the client says that it is over."""
        number = frame.number
        if frame.type == 0:
            await self._data(frame)
        elif frame.type == spdy.SYN_STREAM:
            await self._open(frame)
        elif frame.type == spdy.RST_STREAM:
            pair = self._by_data.get(number)
            if pair is not None:
                pair.incoming.end(ConnectionResetError("the client has reset its stream"))
                if pair.streams is not None:
                    pair.streams.close()
        elif frame.type == spdy.PING and number % 2:
            await self._send(self._writer.ping(number))
        return frame.type != spdy.GOAWAY

    async def _data(self, frame: spdy.Frame) -> None:
        pair = self._by_data.get(frame.number)
        if pair is None or pair.incoming.over:
            return  # an error stream's, which the client does not write to, or one that has ended
        if frame.data:
            await write(self._websocket, pair.incoming, frame.data)
        if frame.flags & spdy.FIN:
            pair.incoming.end()

    async def _open(self, frame: spdy.Frame) -> None:
        number, headers = frame.number, frame.headers
        port, kind = headers.get("port", ""), headers.get("streamtype", "")
        bad = number % 2 == 0 or number <= self._last or kind not in ("error", "data")
        if bad or not (port.isascii() and port.isdigit() and 0 < int(port) < 1 << 16):
            return await self._send(self._writer.rst_stream(number, spdy.REFUSED_STREAM))
        self._last = number
        request = headers.get("requestid") or str(number if kind == "error" else number - 2)
        pair = self._pairs.get(request)
        if pair is None:
            if len(self._pairs) >= limits.forwarded_connections_max:
                return await self._send(self._writer.rst_stream(number, spdy.REFUSED_STREAM))
            pair = self._pairs[request] = Pair(int(port))
            self._group.start_soon(self._forward, request, pair)
        if getattr(pair, kind):
            return await self._send(self._writer.rst_stream(number, spdy.PROTOCOL_ERROR))
        setattr(pair, kind, number)
        if kind == "data":
            self._by_data[number] = pair
            if frame.flags & spdy.FIN:
                pair.incoming.end()
        await self._send(self._writer.syn_reply(number, {}))
        if pair.data and pair.error:
            pair.complete.set()

    async def _forward(self, request: str, pair: Pair) -> None:
        """One connection, from its pair of streams to its end."""
        text = ""
        try:
            with anyio.move_on_after(PAIR_SECONDS) as waiting:
                await pair.complete.wait()
            if waiting.cancelled_caught:
                text = f"(request={request}) timed out waiting for streams"
            else:
                text = await self._connect(pair)
        finally:
            del self._pairs[request]
            self._by_data.pop(pair.data, None)
            pair.incoming.close()
        frames = [self._writer.data(pair.error, text.encode())] if text and pair.error else []
        frames += [self._writer.data(number, b"", fin=True) for number in (pair.error, pair.data) if number]
        await self._send(*frames)

    async def _connect(self, pair: Pair) -> str:
        """What went wrong, "" nothing."""
        from kubeloop.actors.apiserver.http_forward import PortError

        try:
            streams = pair.streams = await self._ports.open(pair.port)
        except PortError as error:
            return str(error)
        assert streams.stdin is not None
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._copy_in, pair.incoming, streams.stdin)
                text = await self._copy_out(pair, streams)
                group.cancel_scope.cancel()
        finally:
            streams.close()
        return text

    async def _copy_out(self, pair: Pair, streams: Streams) -> str:
        assert streams.stdout is not None
        while True:
            try:
                data = await streams.stdout.read(spdy.DATA_BYTES_MAX)
                if not data:
                    if streams.over:
                        await streams.wait()  # raises what it broke with
                    return ""
            except Exception as error:
                return str(self._ports.error(pair.port, str(error)))
            await self._send(self._writer.data(pair.data, data))

    async def _copy_in(self, incoming: Pipe, stdin: Pipe) -> None:
        try:
            while data := await incoming.read():
                await stdin.write(data)
        except Exception:
            pass  # either side has gone: the other direction says so
        stdin.end()
