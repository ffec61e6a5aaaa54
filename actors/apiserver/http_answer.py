"""Answers on the wire: headers, representation, compression, large lists in slices."""

import asyncio
import zlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from kubeloop.actors.api import errors
from kubeloop.actors.api.errors import StatusError
from kubeloop.actors.apiserver import http_warnings, limits, render
from kubeloop.actors.apiserver.answers import EntryResponse, StreamResponse
from kubeloop.actors.apiserver.call import PAGE_NOT_FOUND
from kubeloop.actors.apiserver.messages import ObjectListing, Response
from kubeloop.actors.apiserver.negotiate import JSON, YAML, Representation, negotiate
from kubeloop.actors.apiserver.options import boolean
from kubeloop.actors.apiserver.registry import kind_for, nulls
from kubeloop.runtime.actor import Unreachable
from kubeloop.runtime.clock import Clock

if TYPE_CHECKING:
    from aiohttp import web

INCLUDE_OBJECT = ("", "Metadata", "Object", "None")
TEXT = "text/plain; charset=utf-8"


def headers_of(request: "web.BaseRequest", content_type: str, warnings: Iterable[str] = ()) -> Any:
    from multidict import CIMultiDict

    headers = CIMultiDict(
        {
            "Content-Type": content_type,
            "Cache-Control": "no-cache, private",
            "Audit-Id": request.headers.get("Audit-Id", ""),
        }
    )
    if not headers["Audit-Id"]:
        del headers["Audit-Id"]
    if warnings:
        for warning in http_warnings.headers(warnings):
            headers.add("Warning", warning)
    return headers


async def send(
    request: "web.BaseRequest",
    answer: Response,
    representation: Representation,
    group: str,
    version: str,
    resource: str,
    *,
    clock: Clock,
    printer_columns: Any = None,
) -> "web.StreamResponse":
    """One answer of the chain, in the representation asked for."""
    if isinstance(answer, StreamResponse):
        return await send_stream(request, answer)
    pretty = wants_pretty(request)
    if representation.as_:
        body = transformed(request, answer, representation, (group, version, resource), clock, printer_columns)
        return respond(
            request, answer.code, render.text(body, representation, pretty), representation.media_type, answer.warnings
        )
    body = answer.body
    if representation.media_type == YAML or pretty:
        if isinstance(answer, EntryResponse):
            body = msgspec.json.decode(answer.entry.encoded())
        elif isinstance(body, msgspec.Struct) and not isinstance(body, ObjectListing):
            value = nulls.completed(render.encode(body), body, kind_for(group, version, resource))
            body = msgspec.json.decode(value)
        text = render.text(body, representation, pretty)
        return respond(request, answer.code, text, representation.media_type, answer.warnings)
    if isinstance(body, ObjectListing):
        if len(body.items) > limits.list_slice_items:
            return await send_slices(request, render.list_slices(body), answer.warnings)
        return respond(request, answer.code, b"".join(render.list_slices(body)), JSON, answer.warnings)
    if isinstance(answer, EntryResponse):
        return respond(request, answer.code, answer.entry.encoded(), JSON, answer.warnings)
    data = nulls.completed(render.encode(body), body, kind_for(group, version, resource))
    return respond(request, answer.code, data, JSON, answer.warnings)


def transformed(
    request: "web.BaseRequest",
    answer: Response,
    representation: Representation,
    resource: tuple[str, str, str],
    clock: Clock,
    printer_columns: Any,
) -> Any:
    """The answer as a Table or as metadata only; a Status stays what it is."""
    body = answer.body
    if isinstance(body, dict) and body.get("kind") == "Status":
        return body
    if representation.as_ == "Table":
        from kubeloop.actors.apiserver.table import table_of

        include = request.query.get("includeObject") or "Metadata"
        return table_of(
            resource,
            body,
            clock.now(),
            include_object=include,
            version=representation.version,
            printer_columns=printer_columns,
        )
    check_partial(representation, body, resource)
    if isinstance(body, ObjectListing):
        return render.partial_list(body, representation.version)
    return render.partial(body, representation.version)


def check_partial(representation: Representation, body: Any, resource: tuple[str, str, str]) -> None:
    """Raises 406 for metadata of one object where there is a list, and of a list where there is one object."""
    listed = isinstance(body, ObjectListing)
    if listed == representation.as_.endswith("List"):
        return
    kind = kind_for(*resource)
    package = resource[0].partition(".")[0] or "core"
    shown = f"*{package}.{kind.resource.kind}" if kind is not None else "*unstructured.Unstructured"
    found = f"is a list ({shown}List)" if listed else f"is not a list type ({shown})"
    raise errors.not_acceptable(f"you requested {representation.as_}, but the requested object {found}")


def check_table_options(request: "web.BaseRequest") -> None:
    """Raises 422 for Tables that are to hold something that there is not."""
    include = request.query.get("includeObject", "")
    if include not in INCLUDE_OBJECT:
        detail = "must be 'Metadata', 'Object', 'None', or empty"
        wrong = errors.FieldError("FieldValueInvalid", "includeObject", include, detail)
        raise errors.invalid("meta.k8s.io", "TableOptions", "", [wrong])


def wants_pretty(request: "web.BaseRequest") -> bool:
    if request.query_string and "pretty" in request.query:
        return boolean(request.query["pretty"])
    agent = request.headers.get("User-Agent", "")
    return agent.startswith(("curl", "Wget", "Mozilla/5.0"))


def respond(
    request: "web.BaseRequest", code: int, data: bytes, content_type: str, warnings: Iterable[str] = ()
) -> "web.StreamResponse":
    from aiohttp import web

    headers = headers_of(request, content_type, warnings)
    if len(data) >= limits.gzip_bytes_min and accepts_gzip(request):
        headers["Content-Encoding"] = "gzip"
        headers["Vary"] = "Accept-Encoding"
        compressor = zlib.compressobj(1, zlib.DEFLATED, 31)
        data = compressor.compress(data) + compressor.flush()
    return web.Response(status=code, body=data, headers=headers)


def accepts_gzip(request: "web.BaseRequest") -> bool:
    return "gzip" in request.headers.get("Accept-Encoding", "")


async def send_slices(
    request: "web.BaseRequest", slices: Iterable[bytes], warnings: Iterable[str]
) -> "web.StreamResponse":
    """A large list, piece by piece: others get their turn between two pieces."""
    from aiohttp import web

    headers = headers_of(request, JSON, warnings)
    compressor = None
    if accepts_gzip(request):
        headers["Content-Encoding"] = "gzip"
        headers["Vary"] = "Accept-Encoding"
        compressor = zlib.compressobj(1, zlib.DEFLATED, 31)
    response = web.StreamResponse(status=200, headers=headers)
    await response.prepare(request)
    for piece in slices:
        if compressor is None:
            await response.write(piece)
        else:
            for start in range(0, len(piece), limits.gzip_bytes_min):
                await response.write(compressor.compress(piece[start : start + limits.gzip_bytes_min]))
                await asyncio.sleep(0)
        await asyncio.sleep(0)
    if compressor is not None:
        await response.write(compressor.flush())
    await response.write_eof()
    return response


async def send_stream(request: "web.BaseRequest", answer: StreamResponse) -> "web.StreamResponse":
    """Logs: bytes as they come."""
    from aiohttp import web

    response = web.StreamResponse(status=answer.code, headers=headers_of(request, answer.content_type, answer.warnings))
    stream = answer.body
    try:
        await response.prepare(request)
        async for chunk in stream:
            await response.write(chunk)
        await response.write_eof()
    except Unreachable as error:
        raise ConnectionResetError(str(error)) from None  # the client sees an answer that breaks off
    finally:
        await stream.aclose()
    return response


async def send_status(
    request: "web.BaseRequest", error: StatusError, warnings: Iterable[str] = ()
) -> "web.StreamResponse":
    """An error as the Status object that it is, in the client's media type if that is possible."""
    try:
        representation = negotiate(request.headers.get("Accept", ""))
    except StatusError:
        representation = Representation()
    if error.message == PAGE_NOT_FOUND:
        return send_text(request, 404, "404 page not found\n")
    data = render.text(error.status, Representation(representation.media_type), wants_pretty(request))
    response = respond(request, error.code, data, representation.media_type, warnings)
    retry = (error.status.get("details") or {}).get("retryAfterSeconds")
    if retry:
        response.headers["Retry-After"] = str(retry)
    return response


def send_text(request: "web.BaseRequest", code: int, text: str, content_type: str = TEXT) -> "web.StreamResponse":
    from aiohttp import web

    headers = headers_of(request, content_type)
    headers["X-Content-Type-Options"] = "nosniff"
    return web.Response(status=code, body=text.encode(), headers=headers)


def send_json(request: "web.BaseRequest", body: Mapping[str, Any], code: int = 200) -> "web.StreamResponse":
    return respond(request, code, render.text(body, Representation(), wants_pretty(request)), JSON)
