"""Discovery and OpenAPI over HTTP: documents with an ETag, built-in and custom resources together."""

from typing import TYPE_CHECKING

import msgspec

from kubeloop.actors.api import errors
from kubeloop.actors.apiserver import discovery, openapi, render
from kubeloop.actors.apiserver.custom_resources import CustomDescription, Describe
from kubeloop.actors.apiserver.discovery import Document
from kubeloop.actors.apiserver.http_answer import headers_of, respond
from kubeloop.actors.apiserver.negotiate import AVAILABLE, JSON, YAML, Representation, negotiate

if TYPE_CHECKING:
    from aiohttp import web

    from kubeloop.actors.apiserver.http import HttpServer


async def answer(server: "HttpServer", request: "web.BaseRequest") -> "web.StreamResponse | None":
    """None for a path that describes nothing."""
    found: CustomDescription = await server.apiserver.ask(Describe())
    accept = request.headers.get("Accept", "")
    rows = tuple(served for served, _ in found.schemas)
    address = f"{server.address[0]}:{server.port}"
    document = discovery.answer(request.path, accept, rows, address)
    if document is not None and document.content_type == JSON:
        document = as_asked(document, accept)
    if document is None:
        schemas = tuple(openapi.CustomSchema(served, schema) for served, schema in found.schemas)
        document = openapi.answer(request.path, accept, schemas)
    if document is None:
        return None
    etag = f'"{document.etag}"'
    if request.headers.get("If-None-Match") == etag:
        from aiohttp import web

        return web.Response(status=304, headers={**headers_of(request, document.content_type), "ETag": etag})
    response = respond(request, 200, document.body, document.content_type)
    response.headers["ETag"] = etag
    response.headers["Vary"] = "Accept"
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
