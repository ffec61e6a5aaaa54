"""Paths that name no resource: health, version, metrics, discovery, OpenAPI."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any

import msgspec

from kubeloop.actors.api import errors
from kubeloop.actors.apiserver import health
from kubeloop.actors.apiserver.call import unknown_resource
from kubeloop.actors.apiserver.http_answer import respond, send_json, send_text
from kubeloop.actors.apiserver.messages import UserInfo
from kubeloop.actors.apiserver.negotiate import JSON
from kubeloop.actors.apiserver.registry.catalog import SERVED
from kubeloop.actors.apiserver.version import VERSION_INFO
from kubeloop.runtime.actor import ActorStopped, Unreachable
from kubeloop.runtime.metrics import Registry

if TYPE_CHECKING:
    from aiohttp import web

    from kubeloop.actors.apiserver.http import HttpServer

METRICS = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"
Answer = Callable[["HttpServer", "web.BaseRequest"], Awaitable["web.StreamResponse"]]


async def send_health(server: "HttpServer", request: "web.BaseRequest") -> "web.StreamResponse":
    from kubeloop.actors.apiserver.actor import CheckHealth

    started = server.clock.monotonic()
    try:
        states: Mapping[str, str] = await server.apiserver.ask(CheckHealth())
    except (ActorStopped, Unreachable) as error:
        states = {"ping": str(error)}
    endpoint, _, one = request.path.strip("/").partition("/")
    states = health.checks_of(endpoint, states)
    checks: dict[str, Callable[[], str]] = {name: lambda wrong=wrong: wrong for name, wrong in states.items()}  # type: ignore[misc]
    query = request.query
    exclude = query.getall("exclude", [])
    code, text = health.answer(request.path, checks, verbose="verbose" in query, exclude=exclude)
    for name, wrong in states.items():
        if not one and name not in exclude:
            server.metrics.count_check(endpoint, name, not wrong)
    if code != 404:
        server.metrics.count_health(server.clock.monotonic() - started, request.path.rstrip("/"), code)
    return send_text(request, code, text)


async def send_version(server: "HttpServer", request: "web.BaseRequest") -> "web.StreamResponse":
    if request.path.strip("/") != "version":
        raise unknown_resource(True)
    if request.method != "GET":
        raise errors.method_not_supported()
    return send_json(request, VERSION_INFO)


PUBLIC: Mapping[str, Answer] = {
    "healthz": send_health,
    "livez": send_health,
    "readyz": send_health,
    "version": send_version,
}


async def send_metrics(server: "HttpServer", request: "web.BaseRequest") -> "web.StreamResponse":
    """In pieces: others get their turn in between."""
    from kubeloop.actors.apiserver.actor import Measure
    from kubeloop.actors.apiserver.metrics import process_text

    stored: Registry = await server.apiserver.ask(Measure())
    text = []
    for piece in chain(server.metrics.pieces(), stored.pieces()):
        text.append(piece)
        await asyncio.sleep(0)
    text.append(process_text())
    return respond(request, 200, b"".join(text), METRICS)


async def other(server: "HttpServer", request: "web.BaseRequest", user: UserInfo) -> "web.StreamResponse":
    """What is not public and not a resource."""
    if request.method not in ("GET", "HEAD"):
        first = request.path.strip("/").partition("/")[0]
        if within_builtin_group(request.path) and await described(server, request) is None:
            raise unknown_resource(True)
        if first in ("api", "apis", "openapi"):
            raise errors.method_not_supported()
        return send_text(request, 404, "404 page not found\n")
    if request.path == "/metrics":
        return await send_metrics(server, request)
    if request.path == "/metrics/slis":
        return respond(request, 200, server.metrics.slis.text(), METRICS)
    if request.path in ("/", "/index.html"):
        return await send_index(server, request)
    found = await described(server, request)
    if found is not None:
        return found
    if within_builtin_group(request.path):
        raise unknown_resource(True)
    return send_text(request, 404, "404 page not found\n")


def within_builtin_group(path: str) -> bool:
    """Whether a path is below one that the API server's own groups answer: then even what is not there is a Status."""
    parts = [part for part in path.split("/") if part]
    if len(parts) > 1 and parts[0] == "apis":
        return any(one.resource.group == parts[1] for one in SERVED)
    return len(parts) > 1 and parts[0] == "api"


async def send_index(server: "HttpServer", request: "web.BaseRequest") -> "web.StreamResponse":
    """The paths that there are."""
    from kubeloop.actors.apiserver.actor import CheckHealth
    from kubeloop.actors.apiserver.custom_resources import CustomDescription, Describe

    described: CustomDescription = await server.apiserver.ask(Describe())
    states: Mapping[str, str] = await server.apiserver.ask(CheckHealth())
    rows = [*SERVED, *(row for row, _ in described.schemas)]
    paths = {
        "/api",
        "/api/v1",
        "/apis",
        "/apis/",
        "/metrics",
        "/metrics/slis",
        "/openapi/v2",
        "/openapi/v3",
        "/openapi/v3/",
        "/version",
    }
    for row in rows:
        if row.resource.group:
            paths |= {f"/apis/{row.resource.group}", f"/apis/{row.resource.group}/{row.resource.version}"}
    for endpoint in ("healthz", "livez", "readyz"):
        paths |= {f"/{endpoint}", *(f"/{endpoint}/{check}" for check in health.checks_of(endpoint, states))}
    data = msgspec.json.format(msgspec.json.encode({"paths": sorted(paths)}), indent=2)
    return respond(request, 200, data, JSON)


async def body_of(request: "web.BaseRequest") -> bytes:
    """Raises 400 for a body that is not what its transfer or content encoding says."""
    from aiohttp import web

    try:
        return await request.read()
    except web.RequestPayloadError as error:
        text = str(error).rpartition("message:")[2].strip()
        raise errors.bad_request(f"unable to read the body of the request: {text}") from None


async def described(server: "HttpServer", request: "web.BaseRequest") -> "web.StreamResponse | None":
    """Discovery and OpenAPI; None for other paths."""
    from kubeloop.actors.apiserver import http_discovery

    answer: Any = await http_discovery.answer(server, request)
    return answer  # type: ignore[no-any-return]
