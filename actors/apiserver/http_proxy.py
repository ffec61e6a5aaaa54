"""The proxy subresources over HTTP: a request goes on to a pod, a service or a node, its answer comes back.

As kube-apiserver does: hop-by-hop headers and the caller's credentials stay here, X-Forwarded-* are added, redirects
and the links of HTML pages are rewritten to lead through the proxy again, WebSockets are passed through.
"""

import ssl
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

import aiohttp
import anyio
from aiohttp.client_proto import ResponseHandler
from multidict import CIMultiDict
from yarl import URL

from kubeloop.actors.api import errors
from kubeloop.actors.api.errors import StatusError
from kubeloop.actors.apiserver import channels as ch
from kubeloop.actors.apiserver import limits
from kubeloop.actors.apiserver.connections import ConnectResponse, KubeletRefused
from kubeloop.actors.apiserver.html_links import rewrite
from kubeloop.actors.apiserver.messages import Request, UserInfo
from kubeloop.actors.apiserver.path import METHOD_VERBS, ResourcePath
from kubeloop.runtime.stream_tls import TlsClient
from kubeloop.runtime.stream_transport import PipeTransport
from kubeloop.runtime.streams import Streams

if TYPE_CHECKING:
    from aiohttp import web

    from kubeloop.actors.apiserver.handlers.proxy import Target
    from kubeloop.actors.apiserver.http import HttpServer

HOP_BY_HOP = frozenset(
    ("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer",
     "transfer-encoding", "upgrade")
)  # fmt: skip
NOT_PASSED_ON = HOP_BY_HOP | {"authorization", "host", "expect"}
METHODS = frozenset((*METHOD_VERBS, "OPTIONS"))


async def serve(
    server: "HttpServer", request: "web.BaseRequest", where: ResourcePath, user: UserInfo
) -> "web.StreamResponse":
    """Raises StatusError."""
    if request.method not in METHODS:
        raise errors.method_not_supported()
    message = Request(
        METHOD_VERBS.get(request.method, "get"),
        where.group,
        where.version,
        where.resource,
        where.namespace,
        where.name,
        where.subresource,
        user=user,
        user_agent=request.headers.get("User-Agent", "unknown"),
    )
    answer: ConnectResponse = await server.apiserver.ask(message)
    prefix, path = split_path(request.rel_url.raw_path, 7 if where.namespace else 5)
    if not path and request.method in ("GET", "HEAD") and not ch.is_websocket(request):
        return redirected(request, f"{request.rel_url.raw_path}/")
    opened: list[Streams] = []
    try:
        async with anyio.create_task_group() as group:
            connector = StreamConnector(answer.body, group, opened)
            async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as session:
                passing = passing_websocket if ch.is_websocket(request) else passing_request
                response = await passing(request, session, answer.body, prefix, path or "/")
            group.cancel_scope.cancel()
    except BaseExceptionGroup as group_of:
        raise first_of(group_of) from None
    finally:
        for streams in opened:
            streams.close()
    return response


def first_of(group: BaseExceptionGroup[Any]) -> BaseException:
    error: BaseException = group.exceptions[0]
    return first_of(error) if isinstance(error, BaseExceptionGroup) else error


def split_path(raw_path: str, parts_max: int) -> tuple[str, str]:
    """The path up to its `parts_max`th part, and the rest, which begins with a slash when there is any."""
    parts, position = 0, 0
    for position, part in enumerate(raw_path.split("/")):  # noqa: B007
        parts += bool(part)
        if parts == parts_max:
            break
    cut = raw_path.split("/")
    return "/".join(cut[: position + 1]), "".join(f"/{part}" for part in cut[position + 1 :])


def redirected(request: "web.BaseRequest", path: str) -> "web.StreamResponse":
    from aiohttp import web

    query = f"?{request.rel_url.raw_query_string}" if request.rel_url.raw_query_string else ""
    return web.Response(status=301, headers={"Location": path + query})


class StreamConnector(aiohttp.BaseConnector):
    """Each connection of an HTTP client is opened by a Target."""

    def __init__(self, target: "Target", group: Any, opened: list[Streams]) -> None:
        super().__init__(force_close=True)
        self._target = target
        self._group = group
        self._opened = opened

    async def _create_connection(self, req: Any, traces: Any, timeout: Any) -> ResponseHandler:
        try:
            streams = await self._target.open()
        except KubeletRefused as refused:
            raise unreachable(refused.text.removeprefix("failed to execute portforward: ")) from None
        except OSError as error:
            raise unreachable(str(error)) from None
        self._opened.append(streams)
        assert streams.stdin is not None and streams.stdout is not None
        incoming, outgoing = streams.stdout, streams.stdin
        if self._target.scheme == "https":
            tls = TlsClient(incoming, outgoing, unverified(), self._target.host.partition(":")[0])
            try:
                await tls.handshake()
            except (ssl.SSLError, OSError) as error:
                raise unreachable(f"tls: {error}") from None
            self._group.start_soon(tls.run)
            incoming, outgoing = tls.incoming, tls.outgoing
        handler = ResponseHandler(self._loop)
        self._group.start_soon(PipeTransport(incoming, outgoing, handler).run)
        return handler


def unverified() -> ssl.SSLContext:
    """The certificates of pods are nobody's whom an API server knows: as a real one, it does not look at them."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def unreachable(why: str) -> StatusError:
    return errors.service_unavailable(f"error trying to reach service: {why}")


def headers_on(request: "web.BaseRequest", prefix: str, path: str) -> CIMultiDict[str]:
    """The request's headers as they go on."""
    named = {part.strip().lower() for part in request.headers.get("Connection", "").split(",")}
    headers = CIMultiDict(
        (name, value)
        for name, value in request.headers.items()
        if name.lower() not in NOT_PASSED_ON | named and not name.lower().startswith("sec-websocket-")
    )
    headers["Host"] = request.host
    headers["X-Forwarded-Uri"] = prefix + path
    headers["X-Forwarded-Host"] = request.host
    headers["X-Forwarded-Proto"] = "https" if request.secure else "http"
    if request.remote:
        before = request.headers.get("X-Forwarded-For")
        headers["X-Forwarded-For"] = f"{before}, {request.remote}" if before else request.remote
    return headers


async def passing_request(
    request: "web.BaseRequest", session: aiohttp.ClientSession, target: "Target", prefix: str, path: str
) -> "web.StreamResponse":
    from aiohttp import web

    try:
        answer = await session.request(
            request.method,
            url_of(request, target, path),
            headers=headers_on(request, prefix, path),
            data=request.content if request.body_exists else None,
            allow_redirects=False,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            timeout=aiohttp.ClientTimeout(total=None),
        )
    except aiohttp.ClientError as error:
        raise unreachable(str(error)) from None
    async with answer:
        headers = headers_back(answer.headers, prefix, target)
        html = answer.headers.get("Content-Type", "").startswith("text/html") and answer.status != 206
        length = answer.content_length
        if html and request.method != "HEAD" and (length is None or length <= limits.html_rewritten_bytes_max):
            return await passing_page(answer, headers, prefix)
        response = web.StreamResponse(status=answer.status, reason=answer.reason, headers=headers)
        await response.prepare(request)
        try:
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
        except aiohttp.ClientError as error:
            raise ConnectionResetError(str(error)) from None  # the caller sees the same: an answer that breaks off
        await response.write_eof()
        return response


async def passing_page(answer: aiohttp.ClientResponse, headers: CIMultiDict[str], prefix: str) -> "web.StreamResponse":
    """An HTML page, its links rewritten. One that is compressed in a way that is not known stays as it is."""
    from aiohttp import web

    body, encoding = await answer.read(), answer.headers.get("Content-Encoding", "")
    changed = rewrite(body, encoding, prefix)
    headers.popall("Content-Length", None)
    return web.Response(status=answer.status, reason=answer.reason, headers=headers, body=changed)


def headers_back(given: Mapping[str, str], prefix: str, target: "Target") -> CIMultiDict[str]:
    """The answer's headers as they go back."""
    named = {part.strip().lower() for part in given.get("Connection", "").split(",")}
    headers = CIMultiDict((name, value) for name, value in given.items() if name.lower() not in HOP_BY_HOP | named)
    location = headers.get("Location")
    if location:
        headers["Location"] = location_through(location, prefix, target.host)
    return headers


def location_through(location: str, prefix: str, host: str) -> str:
    """Where a redirect leads, through the proxy; others' and relative ones stay as they are."""
    parts = urlsplit(location)
    if (parts.netloc and parts.netloc != host) or not parts.path.startswith("/") or parts.path.startswith(prefix):
        return location
    return urlunsplit(("", "", prefix + parts.path, parts.query, parts.fragment))


def url_of(request: "web.BaseRequest", target: "Target", path: str) -> URL:
    query = request.rel_url.raw_query_string
    return URL(f"http://{target.host}{path}{'?' + query if query else ''}", encoded=True)


async def passing_websocket(
    request: "web.BaseRequest", session: aiohttp.ClientSession, target: "Target", prefix: str, path: str
) -> "web.StreamResponse":
    """Message by message, both ways."""
    try:
        upstream = await session.ws_connect(
            url_of(request, target, path),
            protocols=ch.offered(request),
            headers=headers_on(request, prefix, path),
            max_msg_size=limits.stream_message_bytes_max,
            compress=0,
        )
    except aiohttp.WSServerHandshakeError as error:
        raise errors.failure(error.status, "", error.message) from None
    except aiohttp.ClientError as error:
        raise unreachable(str(error)) from None
    websocket = await ch.accept(request, upstream.protocol or "")
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(partial(copy_messages, upstream, websocket, group.cancel_scope))
            await copy_messages(websocket, upstream, group.cancel_scope)
    except* ConnectionError:
        pass  # one of both has gone
    await upstream.close()
    await websocket.close()
    return websocket


async def copy_messages(source: Any, target: Any, scope: anyio.CancelScope) -> None:
    async for message in source:
        if message.type is aiohttp.WSMsgType.TEXT:
            await target.send_str(message.data)
        elif message.type is aiohttp.WSMsgType.BINARY:
            await target.send_bytes(message.data)
    scope.cancel()
