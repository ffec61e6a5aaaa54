"""OpenAPI documents made from our own object model: v3 a group version, and v2 for older clients.

Good enough for `kubectl explain`, `create`, `apply` and `diff`, and for clients that look up whether dryRun and
fieldValidation are supported. Follows the "OpenAPI" sections of the Kubernetes API page. Documents are made when first
asked for and kept.
"""

import asyncio
import hashlib
from collections.abc import Generator, Iterable, Mapping, Sequence
from functools import lru_cache
from importlib import import_module
from typing import Any

import msgspec

from kubeloop.actors.apiserver.discovery import JSON, Document
from kubeloop.actors.apiserver.openapi_descriptions import descriptions_of_fields
from kubeloop.actors.apiserver.openapi_paths import paths_of
from kubeloop.actors.apiserver.openapi_schemas import META, Schema, SchemaWriter, schema_name
from kubeloop.actors.apiserver.registry import all_resources
from kubeloop.actors.apiserver.registry.catalog import Served
from kubeloop.actors.apiserver.version import GIT_VERSION

INFO = {"title": "Kubernetes", "version": GIT_VERSION}
COMPONENTS, DEFINITIONS = "#/components/schemas/", "#/definitions/"
V2_PROTOBUF = "proto-openapi"
V2_KEPT_MAX, V3_KEPT_MAX = 4, 64
Row = tuple[Served, Mapping[str, Any] | None]


class CustomSchema(msgspec.Struct, frozen=True):
    """A custom resource with the schema of one of its versions (openAPIV3Schema as builtins; empty: anything)."""

    served: Served
    schema: Mapping[str, Any] = {}

    def __hash__(self) -> int:
        return id(self.schema) ^ hash(self.served.resource.name)


Making = Generator[None, None, Document | None]
"""A document piece by piece: yields where others may have their turn."""
_v2_kept: dict[Any, Document | None] = {}
_v3_kept: dict[Any, Document | None] = {}


def answer(path: str, accept: str = JSON, custom: Sequence[CustomSchema] = ()) -> Document | None:
    """What a GET of /openapi/v2, /openapi/v3 or below answers; None for others.

    v2 is spoken in JSON and in protobuf. v3 documents that are asked for as protobuf are answered in JSON: no client of
    ours insists.
    """
    making = _making(path, accept, tuple(custom))
    while True:
        try:
            next(making)
        except StopIteration as done:
            found: Document | None = done.value
            return found


async def answer_in_turns(path: str, accept: str = JSON, custom: Sequence[CustomSchema] = ()) -> Document | None:
    """The same; others have their turn while a document is made."""
    making = _making(path, accept, tuple(custom))
    while True:
        try:
            next(making)
        except StopIteration as done:
            found: Document | None = done.value
            return found
        await asyncio.sleep(0)


def _making(path: str, accept: str, custom: tuple[CustomSchema, ...]) -> Making:
    match tuple(part for part in path.split("/") if part):
        case ("openapi", "v2"):
            document = yield from _kept(_v2_kept, custom, _v2(custom), V2_KEPT_MAX)
            if V2_PROTOBUF in accept and JSON not in accept:
                return _v2_protobuf(document)
            return document
        case ("openapi", "v3"):
            return _index(custom)
        case ("openapi", "v3", "api", version):
            group = ""
        case ("openapi", "v3", "apis", group, version):
            pass
        case _:
            return None
    return (yield from _kept(_v3_kept, (group, version, custom), _v3(group, version, custom), V3_KEPT_MAX))


def _kept(kept: dict[Any, Document | None], key: Any, making: Making, most: int) -> Making:
    """The document made before, or made now; the oldest goes when there are too many."""
    if key not in kept:
        document = yield from making
        while len(kept) >= most:
            del kept[next(iter(kept))]
        kept[key] = document
    return kept[key]


def _written(document: Mapping[str, Any], content_type: str = JSON) -> Document:
    body = msgspec.json.encode(document)
    return Document(body, content_type, hashlib.sha512(body).hexdigest().upper())


def group_versions(custom: Iterable[CustomSchema] = ()) -> list[tuple[str, str]]:
    found = {(row.resource.group, row.resource.version): None for row in all_resources()}
    for one in custom:
        found.setdefault((one.served.resource.group, one.served.resource.version))
    return list(found)


@lru_cache(16)
def _index(custom: tuple[CustomSchema, ...]) -> Document:
    paths = {}
    for group, version in group_versions(custom):
        name = f"apis/{group}/{version}" if group else f"api/{version}"
        found = [one for one in custom if (one.served.resource.group, one.served.resource.version) == (group, version)]
        paths[name] = {"serverRelativeURL": f"/openapi/v3/{name}?hash={_hash(group, version, found)}"}
    return _written({"paths": paths})


def hash_of(path: str, custom: Iterable[CustomSchema] = ()) -> str:
    """The hash that the index has of a v3 document; empty for a path that is none."""
    match tuple(part for part in path.split("/") if part):
        case ("openapi", "v3", "api", version):
            group = ""
        case ("openapi", "v3", "apis", group, version):
            pass
        case _:
            return ""
    found = [one for one in custom if (one.served.resource.group, one.served.resource.version) == (group, version)]
    return _hash(group, version, found)


def _hash(group: str, version: str, custom: Iterable[CustomSchema]) -> str:
    """Changes when the document may: built-in kinds only with the program's version."""
    text = [INFO["version"], group, version]
    text += [f"{one.served.resource.plural}{msgspec.json.encode(one.schema)!r}" for one in custom]
    return hashlib.sha512("\n".join(text).encode()).hexdigest().upper()


def _v3(group: str, version: str, custom: tuple[CustomSchema, ...]) -> Making:
    found = [one for one in custom if (one.served.resource.group, one.served.resource.version) == (group, version)]
    served = [row for row in all_resources() if (row.resource.group, row.resource.version) == (group, version)]
    if not served and not found:
        return None
    writer = SchemaWriter(COMPONENTS)
    rows: list[Row] = [(row, None) for row in served]
    rows += [(one.served, one.schema) for one in found]
    paths = yield from _add(writer, rows, openapi=3)
    return _written(
        {
            "openapi": "3.0.0",
            "info": INFO,
            "paths": paths,
            "components": {"schemas": dict(sorted(writer.schemas.items()))},
        }
    )


def _v2(custom: tuple[CustomSchema, ...]) -> Making:
    writer = SchemaWriter(DEFINITIONS)
    rows: list[Row] = [(row, None) for row in all_resources()]
    rows += [(one.served, one.schema) for one in custom]
    paths = yield from _add(writer, rows, openapi=2)
    for name, schema in writer.schemas.items():
        if "oneOf" in schema:
            writer.schemas[name] = {"type": "string", **{key: schema[key] for key in schema if key != "oneOf"}}
    definitions = dict(sorted(writer.schemas.items()))
    return _written({"swagger": "2.0", "info": INFO, "paths": paths, "definitions": definitions})


@lru_cache(4)
def _v2_protobuf(document: Document) -> Document:
    from kubeloop.actors.apiserver import openapi_protobuf

    body = openapi_protobuf.encode(msgspec.json.decode(document.body))
    return Document(body, openapi_protobuf.CONTENT_TYPE, document.etag)


def _add(writer: SchemaWriter, rows: Iterable[Row], *, openapi: int) -> Generator[None, None, Mapping[str, Any]]:
    """Writes the rows' schemas; answers their paths. Yields after each row."""
    from kubeloop.actors.api.meta_v1 import DeleteOptions, ObjectMeta, Status

    for shared in (DeleteOptions, ObjectMeta, Status):
        writer.add(shared)
    paths: dict[str, Any] = {}
    for row, schema in rows:
        type_ = row.resource.type
        if type_ is None or schema is not None:
            name = _add_custom(writer, row, schema or {})
            list_name = f"{name}List"
        else:
            name = writer.add(type_)
            list_name = _add_list(writer, type_)
        paths |= paths_of(row, writer, name, list_name, openapi=openapi, wire=_subresource_types(row, writer))
        yield
    return paths


def _add_list(writer: SchemaWriter, type_: type[Any]) -> str:
    """The kind's list; virtual kinds have none."""
    cls = getattr(import_module(type_.__module__), f"{type_.__name__}List", None)
    return writer.add(cls) if cls is not None else ""


def _subresource_types(row: Served, writer: SchemaWriter) -> Mapping[str, str]:
    """subresource -> name of the schema on its wire, where that is another kind than the parent's."""
    found = {}
    for sub in row.subresources:
        if sub.group:
            module = import_module(f"kubeloop.actors.api.{sub.group.partition('.')[0]}_{sub.version}")
            found[sub.name] = writer.add(getattr(module, sub.kind))
        elif sub.kind == "Binding":
            found[sub.name] = writer.add(import_module("kubeloop.actors.api.core_v1").Binding)
    return found


def _add_custom(writer: SchemaWriter, row: Served, schema: Mapping[str, Any]) -> str:
    own = row.resource
    name = f"{'.'.join(reversed(own.group.split('.')))}.{own.version}.{own.kind}"
    gvk = {"group": own.group, "version": own.version, "kind": own.kind}
    lines = descriptions_of_fields(own.kind, True)
    written: Schema = {**schema, "type": "object", "x-kubernetes-group-version-kind": [gvk]}
    written["properties"] = {
        **schema.get("properties", {}),
        "apiVersion": {"type": "string", "description": lines["apiVersion"]},
        "kind": {"type": "string", "description": lines["kind"]},
        "metadata": {"description": lines["metadata"], **writer.reference(f"{META}.ObjectMeta")},
    }
    if not schema:
        written["x-kubernetes-preserve-unknown-fields"] = True
    writer.schemas[name] = written
    writer.schemas[f"{name}List"] = {
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": writer.reference(_list_meta(writer)),
            "items": {"type": "array", "items": writer.reference(name)},
        },
        "x-kubernetes-group-version-kind": [{**gvk, "kind": f"{own.kind}List"}],
    }
    return name


def _list_meta(writer: SchemaWriter) -> str:
    from kubeloop.actors.api.meta_v1 import ListMeta

    return writer.add(ListMeta)


__all__ = ["CustomSchema", "Document", "answer", "answer_in_turns", "group_versions", "hash_of", "schema_name"]
