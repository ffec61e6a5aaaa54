"""How requests reach an API server: in process through its actor, or over HTTPS (http.py)."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from kubeloop.actors.apiserver.messages import Request, Response, WatchEvent, WatchHandle, WatchRequest, WatchSink
from kubeloop.runtime.actor import ActorRef, ActorStopped, Unreachable
from kubeloop.runtime.streams import Streams


class ApiServerUnavailable(ConnectionError):
    """No API server answered: it does not run, or the network is cut. The request may have been carried out."""


class Transport(Protocol):
    async def request(self, request: Request) -> Response:
        """The answer. Raises StatusError for a failure Status, ConnectionError when there is no answer."""
        ...

    async def watch(self, request: Request, sink: WatchSink) -> WatchHandle:
        """Opens a watch; raises as `request` does. Afterwards everything comes through the sink."""
        ...

    async def stream(self, request: Request) -> Any:
        """The answer's body as an async iterator of bytes with aclose() (logs)."""
        ...

    async def connect(self, request: Request) -> Streams:
        """The streams of an exec, attach or portforward; the body is StreamOptions. Raises as `request` does."""
        ...

    async def aclose(self) -> None: ...


class InProcessTransport:
    """Straight to the actor: objects go and come as they are, nothing is encoded, a watch owns no task."""

    def __init__(self, apiserver: ActorRef) -> None:
        self._apiserver = apiserver

    async def request(self, request: Request) -> Response:
        try:
            answer: Response = await self._apiserver.ask(request)
        except (ActorStopped, Unreachable) as error:
            raise ApiServerUnavailable(str(error)) from error
        return answer

    async def watch(self, request: Request, sink: WatchSink) -> WatchHandle:
        relay = _Relay(sink)
        try:
            relay.connection = self._apiserver.open_connection(relay.cut)
            handle: WatchHandle = await self._apiserver.ask(WatchRequest(request=request, sink=relay))
        except (ActorStopped, Unreachable) as error:
            relay.close()
            raise ApiServerUnavailable(str(error)) from error
        except BaseException:
            relay.close()
            raise
        relay.handle = handle
        return WatchHandle(cancel=relay.cancel)

    async def stream(self, request: Request) -> Any:
        return (await self.request(request)).body

    async def connect(self, request: Request) -> Streams:
        way = (await self.request(request)).body
        streams: Streams = await way.connect(request.body)
        return streams

    async def aclose(self) -> None:
        """Nothing is held."""


class _Relay:
    """Between the API server and a sink: what a cut connection would do to a watch, this does."""

    __slots__ = ("_closed", "_sink", "connection", "handle")

    def __init__(self, sink: WatchSink) -> None:
        self._sink = sink
        self._closed = False
        self.connection: Any = None
        self.handle: WatchHandle | None = None

    def on_event(self, event: WatchEvent) -> None:
        if self._closed:
            return
        if self.connection is None:
            self._sink.on_event(event)
        else:
            self.connection.deliver(self._deliver, event)

    def _deliver(self, event: WatchEvent) -> None:
        if not self._closed:
            self._sink.on_event(event)

    def on_closed(self, error: Exception | None) -> None:
        if not self._closed:
            self.close()
            self._sink.on_closed(error)

    def cut(self) -> None:
        if not self._closed:
            self.cancel()
            self._sink.on_closed(ApiServerUnavailable("the connection of the watch was cut"))

    def cancel(self) -> None:
        self.close()
        if self.handle is not None:
            self.handle.cancel()

    def close(self) -> None:
        self._closed = True
        if self.connection is not None:
            self.connection.close()


class ServerAddress(msgspec.Struct, frozen=True):
    """Where an API server is, and who we are to it; from a kubeconfig. PEM data as bytes."""

    server: str
    authority: bytes | None = None
    insecure_skip_tls_verify: bool = False
    tls_server_name: str | None = None
    certificate: bytes | None = None
    key: bytes | None = None
    token: str | None = None
    username: str | None = None
    password: str | None = None
    namespace: str = "default"
