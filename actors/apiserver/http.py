"""HTTPS before the API server: bytes in, bytes out, through the very chain that in-process requests pass.

aiohttp is imported when a server is first started.
"""

import asyncio
import ssl
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from kubeloop.actors.api import errors
from kubeloop.actors.api.errors import StatusError
from kubeloop.actors.apiserver import http_protocol, http_reads, http_watch, limits, negotiate, path
from kubeloop.actors.apiserver.authentication import ANONYMOUS, TokenError, user_of_certificate, user_of_token
from kubeloop.actors.apiserver.authorization import ALWAYS_ALLOW
from kubeloop.actors.apiserver.call import unknown_resource
from kubeloop.actors.apiserver.config import ApiServerConfig
from kubeloop.actors.apiserver.custom_resources import CustomDescription, Describe
from kubeloop.actors.apiserver.http_answer import check_table_options, send, send_status
from kubeloop.actors.apiserver.http_watch import Pump
from kubeloop.actors.apiserver.messages import Access, Request, UserInfo
from kubeloop.actors.apiserver.metrics import RequestMetrics
from kubeloop.actors.apiserver.options import boolean
from kubeloop.actors.apiserver.rbac.attributes import SELECTING_VERBS, Attributes, attributes_of
from kubeloop.actors.apiserver.rbac.authorizer import MASTERS
from kubeloop.actors.apiserver.registry import kind_for
from kubeloop.runtime.actor import ActorRef, ActorStopped, Unreachable
from kubeloop.runtime.clock import Clock
from kubeloop.runtime.log import Logger

if TYPE_CHECKING:
    from aiohttp import web

SHUTDOWN_SECONDS = 1.0
APPLY = "application/apply-patch"
CONNECTED: Mapping[str, tuple[str, ...]] = {
    "exec": ("pods",),
    "attach": ("pods",),
    "portforward": ("pods",),
    "proxy": ("pods", "services", "nodes"),
}


class HttpServer:
    """A listening API server; `port` is the one it listens on."""

    def __init__(
        self, apiserver: ActorRef, config: ApiServerConfig, clock: Clock, log: Logger, address: tuple[str, int]
    ) -> None:
        self.apiserver = apiserver
        self.config = config
        self.always_allow = config.authorization_modes[0] == ALWAYS_ALLOW
        self.clock = clock
        self.log = log
        self.address = address
        self.port = address[1]
        self.metrics = RequestMetrics(clock.monotonic)
        self.pump = Pump()
        self._server: web.Server | None = None
        self._runner: web.ServerRunner | None = None

    async def start(self, context: ssl.SSLContext | None) -> None:
        """Raises OSError when the port is taken."""
        from aiohttp import web

        def request_of(message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> Any:
            return web.BaseRequest(
                message, payload, protocol, writer, task, protocol._loop, client_max_size=limits.request_body_bytes_max
            )

        self._server = http_protocol.server_class()(
            self.handle,
            request_factory=request_of,
            handler_cancellation=True,
            access_log=None,
            keepalive_timeout=180.0,
            max_line_size=limits.request_line_bytes_max,
            max_field_size=limits.request_header_bytes_max,
        )
        self._runner = web.ServerRunner(self._server, shutdown_timeout=SHUTDOWN_SECONDS)
        await self._runner.setup()
        host, port = self.address
        site = web.TCPSite(self._runner, host, port, ssl_context=context, reuse_address=True, backlog=1024)
        try:
            await site.start()
        except BaseException:
            await self._runner.cleanup()
            raise
        self.port = self._runner.addresses[0][1]

    async def close(self) -> None:
        """Stop listening and end every connection."""
        if self._runner is not None:
            if self._server is not None:
                for connection in self._server.connections:
                    transport = connection.transport
                    connection.force_close()
                    if transport is not None:
                        transport.abort()  # a TLS goodbye would wait for a peer that may never answer
            await self._runner.cleanup()
            self._runner = self._server = None

    # one request

    async def handle(self, request: "web.BaseRequest") -> "web.StreamResponse":
        try:
            return await self._handle(request)
        except StatusError as error:
            return await send_status(request, error)
        except (ActorStopped, Unreachable) as error:
            return await send_status(request, errors.service_unavailable(f"the API server is not running: {error}"))
        except Exception as error:
            from aiohttp import web

            if isinstance(error, web.HTTPRequestEntityTooLarge):
                text = f"Request entity too large: limit is {limits.request_body_bytes_max}"
                return await send_status(request, errors.request_entity_too_large(text))
            if isinstance(error, ConnectionError):  # the client has gone, or is to see an answer that breaks off
                if request.transport is not None:
                    request.transport.abort()
                raise asyncio.CancelledError from error  # what aiohttp takes for the end of a connection, without a log
            if isinstance(error, web.HTTPException):
                raise
            self.log.exception("request_failed", method=request.method, path=request.path)
            return await send_status(request, errors.internal_error(f"{type(error).__name__}: {error}"))

    async def _handle(self, request: "web.BaseRequest") -> "web.StreamResponse":
        target = request.path
        public = http_reads.PUBLIC.get(target.strip("/").partition("/")[0])
        if public is not None and self.always_allow:
            return await public(self, request)
        where = path.parse(target)
        user = await self.admit(request, self.authenticate(request), where)
        if public is not None:
            return await public(self, request)
        if where is None:
            return await http_reads.other(self, request, user)
        options = query_of(request)
        if where.subresource in CONNECTED and where.resource in CONNECTED[where.subresource] and not where.group:
            verb: str | None = "connect"
        else:
            verb = path.verb_of(request.method, where, "watch" in options and boolean(options["watch"]))
            builtin = kind_for(where.group, where.version, where.resource)
            if where.subpath and where.subresource != "proxy" and builtin is not None:
                raise unknown_resource(True)
            if verb is None or (request.method == "HEAD" and builtin is not None):
                raise errors.method_not_supported()
        assert verb is not None
        return await self._counted(request, where, user, verb, options)

    async def _counted(
        self,
        request: "web.BaseRequest",
        where: path.ResourcePath,
        user: UserInfo,
        verb: str,
        options: Mapping[str, str],
    ) -> "web.StreamResponse":
        """One request of a resource, counted for /metrics."""
        use = self.metrics.begin(verb, where)
        code = size = 0  # of one that nobody waits for any more
        try:
            if verb == "connect":
                response = await connected(self, request, where, user)
            else:
                response = await self._resource(request, where, user, verb, options)
            code = response.status
            if verb in ("get", "list"):
                size = size_of(response)
            return response
        except StatusError as error:
            code = error.code
            raise
        except (ActorStopped, Unreachable):
            code = 503
            raise
        except Exception:
            code = 500
            raise
        finally:
            self.metrics.end(use)
            applied = verb == "patch" and request.headers.get("Content-Type", "").startswith(APPLY)
            self.metrics.count(use, "apply" if applied else verb, where, options.get("dryRun", ""), code, size)

    async def _resource(
        self,
        request: "web.BaseRequest",
        where: path.ResourcePath,
        user: UserInfo,
        verb: str,
        options: Mapping[str, str],
    ) -> "web.StreamResponse":
        builtin = kind_for(where.group, where.version, where.resource)
        headers = request.headers
        body = None
        if verb not in ("get", "list", "watch"):
            body = await http_reads.body_of(request)
            if not body and verb in ("delete", "deletecollection"):
                body = None
        message = Request(
            verb,
            where.group,
            where.version,
            where.resource,
            where.namespace,
            where.name,
            where.subresource,
            body,
            headers.get("Content-Type", ""),
            options,
            user,
            headers.get("User-Agent", "unknown"),
        )
        if where.subresource != "log":
            representation = negotiate.negotiate(headers.get("Accept", ""), watchable=verb in ("list", "watch"))
        else:
            representation = negotiate.PLAIN
        columns = None
        if representation.as_ == "Table":
            check_table_options(request)
            columns = await self.printer_columns(where.group, where.version, where.resource)
        if verb == "watch":
            return await http_watch.serve(self, request, message, representation, columns)
        try:
            answer = await self.apiserver.ask(message)
        except StatusError as error:
            return await send_status(request, error, builtin.deprecation_warnings if builtin is not None else ())
        resource = (where.group, where.version, where.resource)
        return await send(request, answer, representation, *resource, clock=self.clock, printer_columns=columns)

    async def printer_columns(self, group: str, version: str, plural: str) -> Any:
        """The columns that a custom resource's definition declares; None for a built-in one."""
        if "." not in group or kind_for(group, version, plural) is not None:
            return None
        described: CustomDescription = await self.apiserver.ask(Describe())
        return described.columns.get((group, version, plural))

    # who asks

    async def admit(self, request: "web.BaseRequest", user: UserInfo, where: path.ResourcePath | None) -> UserInfo:
        """The user to go on as: another one when impersonation is asked for. Raises 403, 400."""
        act_as = impersonated(request.headers)
        if act_as is None and (self.always_allow or MASTERS in user.groups):
            return user
        admitted: UserInfo = await self.apiserver.ask(Access(user, act_as, asked_of(request, where)))
        return admitted

    def authenticate(self, request: "web.BaseRequest") -> UserInfo:
        """Raises 401 when there is no valid credential."""
        user = self._user_of(request)
        if user is None:
            raise errors.unauthorized()
        return user

    def _user_of(self, request: "web.BaseRequest") -> UserInfo | None:
        transport = request.transport
        if transport is not None:
            certificate = transport.get_extra_info("peercert")
            if certificate:
                user = user_of_certificate(certificate.get("subject", ()))
                if user is not None:
                    return user
        scheme, _, rest = request.headers.get("Authorization", "").strip().partition(" ")
        token = rest.partition(" ")[0]
        if scheme.lower() != "bearer" or not token:
            return ANONYMOUS if self.config.anonymous_auth else None
        try:
            return user_of_token(token, self.config, self.clock.now())
        except TokenError:
            return None


async def connected(
    server: HttpServer, request: "web.BaseRequest", where: path.ResourcePath, user: UserInfo
) -> "web.StreamResponse":
    """What connects a client with a container or a server; the modules are imported when first needed."""
    if where.subresource == "proxy":
        from kubeloop.actors.apiserver import http_proxy

        return await http_proxy.serve(server, request, where, user)
    from kubeloop.actors.apiserver import http_streams

    return await http_streams.serve(server, request, where, user)


def impersonated(headers: Mapping[str, str]) -> UserInfo | None:
    """The user whom the caller wants to play (the "User impersonation" section); None: itself."""
    if not any(key[:11].lower() == "impersonate" for key in headers):
        return None
    groups = tuple(headers.getall("Impersonate-Group", ()))  # type: ignore[attr-defined]
    prefix = "impersonate-extra-"
    extra: dict[str, tuple[str, ...]] = {}
    for key, value in headers.items():
        if key.lower().startswith(prefix):
            name = unquote(key[len(prefix) :].lower())
            extra[name] = (*extra.get(name, ()), value)
    found = UserInfo(headers.get("Impersonate-User", ""), groups, headers.get("Impersonate-Uid", ""), extra)
    return found if found.name or groups or found.uid or extra else None


def asked_of(request: "web.BaseRequest", where: path.ResourcePath | None) -> Attributes:
    """What an HTTP request asks of the authorizer."""
    if where is None:
        return Attributes(request.method.lower(), path=request.path)
    options = query_of(request)
    verb = path.verb_of(request.method, where, "watch" in options and boolean(options["watch"]))
    verb = verb if verb is not None else request.method.lower()
    message = Request(
        verb,
        where.group,
        where.version,
        where.resource,
        where.namespace,
        where.name,
        where.subresource,
        options=options if verb in SELECTING_VERBS else {},
    )
    return attributes_of(message)


def size_of(response: "web.StreamResponse") -> int:
    """Bytes of an answer's body, as they are on the wire."""
    body = getattr(response, "body", None)
    if isinstance(body, bytes):
        return len(body)
    return response.body_length if response._eof_sent else 0


def query_of(request: "web.BaseRequest") -> Mapping[str, str]:
    if not request.query_string:
        return {}
    query = request.query
    return {key: query[key] for key in query}


async def serve(
    apiserver: ActorRef,
    ssl_context: ssl.SSLContext | None,
    port: int = 0,
    *,
    host: str = "127.0.0.1",
    config: ApiServerConfig,
    clock: Clock,
    log: Logger,
) -> HttpServer:
    """Listen. Raises OSError when the port is taken."""
    server = HttpServer(apiserver, config, clock, log, (host, port))
    await server.start(ssl_context)
    return server
