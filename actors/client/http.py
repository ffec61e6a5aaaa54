"""HTTPS to any API server: kubeloop's, or a real one. aiohttp is imported with this module, and not before."""

from __future__ import annotations

import asyncio
import ssl
import tempfile
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import msgspec

from kubeloop.actors.api import codec, errors
from kubeloop.actors.api.errors import StatusError
from kubeloop.actors.api.meta_v1 import ListMeta
from kubeloop.actors.api.resources import UnknownResource, resource_for
from kubeloop.actors.apiserver.messages import ObjectListing, Request, Response, WatchEvent, WatchHandle, WatchSink
from kubeloop.actors.client import http_streams, limits
from kubeloop.actors.client.transport import ApiServerUnavailable, ServerAddress
from kubeloop.runtime.streams import Streams

METHODS = {
    "get": "GET",
    "list": "GET",
    "watch": "GET",
    "create": "POST",
    "update": "PUT",
    "patch": "PATCH",
    "delete": "DELETE",
    "deletecollection": "DELETE",
}


class HttpTransport:
    def __init__(self, address: ServerAddress) -> None:
        self._address = address
        self._session: aiohttp.ClientSession | None = None
        self._tasks: dict[asyncio.Task[None], None] = {}  # of watches and streams

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            headers = {"User-Agent": "kubeloop", "Accept": "application/json"}
            if self._address.token:
                headers["Authorization"] = f"Bearer {self._address.token}"
            auth = None
            if self._address.username:
                auth = aiohttp.BasicAuth(self._address.username, self._address.password or "")
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=limits.connect_timeout_seconds)
            connector = aiohttp.TCPConnector(ssl=ssl_context(self._address), limit=0)
            self._session = aiohttp.ClientSession(connector=connector, headers=headers, auth=auth, timeout=timeout)
        return self._session

    async def request(self, request: Request) -> Response:
        body, content_type = encode_body(request)
        timeout = aiohttp.ClientTimeout(total=limits.request_timeout_seconds)
        try:
            async with self._send(request, body, content_type, timeout) as answer:
                raw = await answer.read()
                if answer.status >= 400:
                    raise status_error(answer.status, raw)
                warnings = answer.headers.getall("Warning", [])
                return Response(code=answer.status, body=decode_body(request, raw), warnings=warnings)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ApiServerUnavailable(f"{self._address.server}: {error or type(error).__name__}") from error

    async def watch(self, request: Request, sink: WatchSink) -> WatchHandle:
        options = {**request.options, "watch": "true"}
        request = msgspec.structs.replace(request, options=options)
        try:
            answer = await self._send(request, None, "", None)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ApiServerUnavailable(f"{self._address.server}: {error or type(error).__name__}") from error
        if answer.status >= 400:
            raise status_error(answer.status, await answer.read())
        task = asyncio.get_running_loop().create_task(self._pump(answer, sink))
        self._own(task)
        return WatchHandle(cancel=lambda: _cancel(task))

    async def _pump(self, answer: aiohttp.ClientResponse, sink: WatchSink) -> None:
        """Hands each line of a watch to its sink; the one task that a watch over HTTPS has."""
        error: Exception | None = None
        try:
            lines = Lines(limits.watch_line_bytes_max)
            async for chunk in answer.content.iter_any():
                for line in lines.feed(chunk):
                    sink.on_event(decode_event(line))
        except (aiohttp.ClientError, TimeoutError, OSError) as broken:
            error = ApiServerUnavailable(f"{self._address.server}: {broken or type(broken).__name__}")
        except Exception as wrong:
            error = wrong
        finally:
            answer.close()
        sink.on_closed(error)

    async def stream(self, request: Request) -> Any:
        try:
            answer = await self._send(request, None, "", None)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ApiServerUnavailable(f"{self._address.server}: {error or type(error).__name__}") from error
        if answer.status >= 400:
            raise status_error(answer.status, await answer.read())
        return _Body(answer)

    async def connect(self, request: Request) -> Streams:
        streams = http_streams.streams_of(request)
        try:
            websocket = await self._open_session().ws_connect(
                self._url(request),
                params=http_streams.query_of(request),
                protocols=http_streams.protocols_of(request),
                max_msg_size=http_streams.MESSAGE_BYTES_MAX,
                compress=0,
                **self._server_hostname(),
            )
        except aiohttp.WSServerHandshakeError as error:
            raise await self._refusal(request, error) from None
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ApiServerUnavailable(f"{self._address.server}: {error or type(error).__name__}") from error
        pump = http_streams.Pump(websocket, request, streams)
        self._own(asyncio.get_running_loop().create_task(pump.run()))
        return streams

    async def _refusal(self, request: Request, error: aiohttp.WSServerHandshakeError) -> StatusError:
        """Why there is no WebSocket: a handshake's answer has no body, so the same is asked without one."""
        query, timeout = http_streams.query_of(request), aiohttp.ClientTimeout(total=limits.request_timeout_seconds)
        session, url = self._open_session(), self._url(request)
        async with session.get(url, params=query, timeout=timeout, **self._server_hostname()) as answer:
            raw = await answer.read()
        return status_error(answer.status if answer.status >= 400 else error.status, raw)

    def _own(self, task: asyncio.Task[None]) -> None:
        self._tasks[task] = None
        task.add_done_callback(lambda done: self._tasks.pop(done, None))

    def _url(self, request: Request) -> str:
        return self._address.server + path_of(request)

    def _server_hostname(self) -> dict[str, Any]:
        name = self._address.tls_server_name
        return {"server_hostname": name} if name else {}

    def _send(
        self, request: Request, body: bytes | None, content_type: str, timeout: aiohttp.ClientTimeout | None
    ) -> Any:
        headers = {"Content-Type": content_type} if body is not None else None
        url = self._url(request)
        arguments: dict[str, Any] = {"params": dict(request.options), "data": body, "headers": headers}
        if timeout is not None:
            arguments["timeout"] = timeout
        arguments |= self._server_hostname()
        return self._open_session().request(METHODS[request.verb], url, **arguments)

    async def aclose(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()
            self._session = None


class _Body:
    """A streamed answer."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._answer = answer
        self._chunks = answer.content.iter_any()

    def __aiter__(self) -> _Body:
        return self

    async def __anext__(self) -> bytes:
        return await self._chunks.__anext__()

    async def aclose(self) -> None:
        self._answer.close()


def path_of(request: Request) -> str:
    """The path of the API concepts page: /api/v1/namespaces/NS/pods/NAME/status."""
    root = f"/apis/{request.group}/{request.version}" if request.group else f"/api/{request.version}"
    parts = [root]
    if request.namespace:
        parts.append(f"namespaces/{quote(request.namespace, safe='')}")
    parts.append(request.resource)
    if request.name:
        parts.append(quote(request.name, safe=":"))
    if request.subresource:
        parts.append(request.subresource)
    return "/".join(parts)


def encode_body(request: Request) -> tuple[bytes | None, str]:
    body = request.body
    if body is None:
        return None, request.content_type
    if isinstance(body, bytes):
        return body, request.content_type
    return codec.encode(body), request.content_type


class _Head(msgspec.Struct, rename="camel"):
    """What JSON says that it is; everything else is skipped."""

    api_version: str = ""
    kind: str = ""


class _List(msgspec.Struct, rename="camel"):
    api_version: str = ""
    kind: str = ""
    metadata: ListMeta = ListMeta()
    items: list[msgspec.Raw] | None = None


class _Event(msgspec.Struct):
    type: str
    object: msgspec.Raw


_decode_head = msgspec.json.Decoder(_Head).decode
_decode_list = msgspec.json.Decoder(_List).decode
_decode_event = msgspec.json.Decoder(_Event).decode


def decode_body(request: Request, raw: bytes) -> Any:
    """The object of an answer; an ObjectListing of a list. Raises DecodeError."""
    if request.verb != "list":
        return decode_any(raw)
    listing = _decode_list(raw)
    type_ = _type(listing.api_version, listing.kind.removesuffix("List"))
    head, items = listing.metadata, listing.items or ()
    return ObjectListing(
        items=[codec.decode(item, type_) if type_ is not None else msgspec.json.decode(item) for item in items],
        resource_version=head.resource_version or "",
        continue_=head.continue_ or "",
        remaining_item_count=head.remaining_item_count,
    )


def decode_any(raw: bytes | msgspec.Raw) -> Any:
    """A Struct of a built-in kind; everything else (Status, custom resources) is a dict."""
    head = _decode_head(raw)
    type_ = _type(head.api_version, head.kind)
    return msgspec.json.decode(raw) if type_ is None else codec.decode(raw, type_)


@cache
def _type(api_version: str, kind: str) -> type[Any] | None:
    try:
        return resource_for((api_version, kind)).type
    except UnknownResource:
        return None


def decode_event(line: bytes | bytearray) -> WatchEvent:
    event = _decode_event(line)
    if event.type in ("ADDED", "MODIFIED", "DELETED"):
        return WatchEvent(event.type, decode_any(event.object))
    return WatchEvent(event.type, msgspec.json.decode(event.object))


class Lines:
    """Puts chunks together to lines. Raises ApiServerUnavailable for a line of more than `line_bytes_max`."""

    __slots__ = ("_line_bytes_max", "_rest")

    def __init__(self, line_bytes_max: int) -> None:
        self._rest = bytearray()
        self._line_bytes_max = line_bytes_max

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that `chunk` completes, empty ones left out."""
        first, *others = chunk.split(b"\n")
        self._rest += first
        if len(self._rest) > self._line_bytes_max:
            raise ApiServerUnavailable(f"a line of the watch is longer than {self._line_bytes_max} bytes")
        if not others:
            return []
        lines = [bytes(self._rest), *others[:-1]]
        self._rest = bytearray(others[-1])
        return [line for line in lines if line]


def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()


def status_error(code: int, raw: bytes) -> StatusError:
    """The Status that came, or one made of what a proxy said instead."""
    try:
        status = msgspec.json.decode(raw)
    except msgspec.DecodeError:
        status = None
    if isinstance(status, dict) and status.get("kind") == "Status":
        return StatusError({"code": code, **status})
    return errors.failure(code, "", raw[:500].decode("utf-8", "replace"))


def ssl_context(address: ServerAddress) -> ssl.SSLContext | bool:
    if not address.server.startswith("https:"):
        return False
    authority = address.authority.decode() if address.authority else None
    context = ssl.create_default_context(cadata=authority)
    if address.insecure_skip_tls_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if address.certificate and address.key:
        with tempfile.TemporaryDirectory() as folder:  # the ssl module reads key files only
            path = Path(folder, "client.pem")
            path.touch(mode=0o600)
            path.write_bytes(address.certificate + b"\n" + address.key)
            context.load_cert_chain(path)
    return context
