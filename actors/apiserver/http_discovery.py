"""Discovery and OpenAPI over HTTP: documents with an ETag, built-in and custom resources together."""

from email.utils import formatdate
from typing import TYPE_CHECKING

import msgspec

from kubeloop.actors.api import errors
from kubeloop.actors.apiserver import discovery, openapi, render
from kubeloop.actors.apiserver.custom_resources import CustomDescription, Describe
from kubeloop.actors.apiserver.discovery import Document
from kubeloop.actors.apiserver.http_answer import headers_of, respond, send_text
from kubeloop.actors.apiserver.negotiate import AVAILABLE, JSON, YAML, Representation, negotiate

if TYPE_CHECKING:
    from aiohttp import web

    from kubeloop.actors.apiserver.http import HttpServer

YEAR_SECONDS = 365 * 86_400


async def answer(server: "HttpServer", request: "web.BaseRequest") -> "web.StreamResponse | None":
    """None for a path that describes nothing."""
    found: CustomDescription = await server.apiserver.ask(Describe())
    accept = request.headers.get("Accept", "")
    rows = tuple(served for served, _ in found.schemas)
    address = f"{server.address[0]}:{server.port}"
    document = discovery.answer(request.path, accept, rows, address)
    if document is not None and document.content_type == JSON:
        document = as_asked(document, accept)
    schemas: tuple[openapi.CustomSchema, ...] = ()
    if document is None:
        schemas = tuple(openapi.CustomSchema(served, schema) for served, schema in found.schemas)
        document = await openapi.answer_in_turns(request.path, accept, schemas)
    if document is None:
        return None
    etag = f'"{document.etag}"'
    wanted = request.query.get("hash", "")
    current = openapi.hash_of(request.path, schemas) if wanted else ""
    if current and wanted.upper() != current:
        return send_moved(request, f"{request.path}?hash={current}")
    if request.headers.get("If-None-Match") == etag:
        from aiohttp import web

        return web.Response(status=304, headers={**headers_of(request, document.content_type), "ETag": etag})
    response = respond(request, 200, document.body, document.content_type)
    response.headers["ETag"] = etag
    response.headers["Vary"] = "Accept"
    if current:  # the document of a hash never changes
        response.headers["Cache-Control"] = "public, immutable"
        response.headers["Expires"] = formatdate(server.clock.now() + YEAR_SECONDS, usegmt=True)
    return response


def send_moved(request: "web.BaseRequest", location: str) -> "web.StreamResponse":
    """To the document as it is now, from one of another hash."""
    response = send_text(request, 301, f'<a href="{location}">Moved Permanently</a>.\n\n', "text/html; charset=utf-8")
    response.headers["Location"] = location
    return response


def as_asked(document: Document, accept: str) -> Document:
    """The document in JSON or YAML. Raises 406 when it is asked for as something else."""
    try:
        media_type = negotiate(accept).media_type
    except errors.StatusError:
        text = f"only the following media types are accepted: {', '.join(AVAILABLE)}"
        raise errors.not_acceptable(text) from None
    if media_type != YAML:
        return document
    body = render.text(msgspec.json.decode(document.body), Representation(YAML), False)
    return Document(body, YAML, document.etag)
