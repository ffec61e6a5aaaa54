"""Schemas of the object model's classes, as OpenAPI components: types, required fields, references, merge marks.

Names are those of the real documents (io.k8s.api.core.v1.Pod), so that clients find what they look for. There is little
prose (openapi_descriptions).
"""

import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args, get_origin

import msgspec

from kubeloop.actors.api import scalars
from kubeloop.actors.apiserver.openapi_descriptions import description_of, descriptions_of_fields

Schema = dict[str, Any]
META = "io.k8s.apimachinery.pkg.apis.meta.v1"
QUANTITY = "io.k8s.apimachinery.pkg.api.resource.Quantity"
INT_OR_STRING = "io.k8s.apimachinery.pkg.util.intstr.IntOrString"
RAW = "io.k8s.apimachinery.pkg.runtime.RawExtension"
SCALARS: Mapping[str, Schema] = {
    QUANTITY: {"oneOf": [{"type": "string"}, {"type": "number"}]},
    INT_OR_STRING: {"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]},
    RAW: {"type": "object"},
    f"{META}.Time": {"type": "string", "format": "date-time"},
    f"{META}.MicroTime": {"type": "string", "format": "date-time"},
}
_MARKED = {"quantity": QUANTITY, "time": f"{META}.Time", "microtime": f"{META}.MicroTime"}
_PACKAGES = {
    "meta": "io.k8s.apimachinery.pkg.apis.meta",
    "apiextensions": "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions",
    "apiregistration": "io.k8s.kube-aggregator.pkg.apis.apiregistration",
}


def schema_name(cls: type[Any]) -> str:
    """core_v1.Pod -> io.k8s.api.core.v1.Pod."""
    package, _, version = cls.__module__.rpartition(".")[2].rpartition("_")
    return f"{_PACKAGES.get(package, f'io.k8s.api.{package}')}.{version}.{cls.__name__}"


def fields_of(cls: Any) -> Iterator[tuple[str, Any]]:
    """(JSON name, type) of a class's fields."""
    return ((field.encode_name, field.type) for field in msgspec.structs.fields(cls))


class SchemaWriter:
    """Writes classes and all that they refer to; `prefix` is where references point."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.schemas: dict[str, Schema] = {}

    def reference(self, name: str) -> Schema:
        return {"$ref": f"{self.prefix}{name}"}

    def add(self, cls: type[Any]) -> str:
        name = schema_name(cls)
        if name not in self.schemas:
            self.schemas[name] = {}  # a class may refer to itself
            self.schemas[name] = self._object(cls)
        return name

    def _object(self, cls: type[Any]) -> Schema:
        properties: dict[str, Schema] = {}
        merges: Mapping[str, Any] = cls.__merge__
        lines = descriptions_of_fields(cls.__name__, bool(cls.KIND))
        for json_name, type_ in fields_of(cls):
            line: Schema = {"description": lines[json_name]} if json_name in lines else {}
            properties[json_name] = {**line, **self.type(type_), **marks(merges.get(json_name))}
        schema: Schema = {"type": "object", "properties": properties}
        if cls.__required__:
            schema["required"] = list(cls.__required__)
        if cls.__atomic__:
            schema["x-kubernetes-map-type"] = "atomic"
        line_of_all = description_of(cls.KIND or cls.__name__)
        if cls.KIND or line_of_all:
            schema["description"] = line_of_all
        if cls.KIND:
            group, _, version = cls.API_VERSION.rpartition("/")
            schema["x-kubernetes-group-version-kind"] = [{"group": group, "version": version, "kind": cls.KIND}]
        return schema

    def type(self, type_: Any) -> Schema:
        """The schema of a field's type."""
        origin = get_origin(type_)
        if origin is typing.Annotated:
            return self._annotated(type_)
        if origin in (typing.Union, types.UnionType):
            found = [one for one in get_args(type_) if one is not type(None)]
            if set(found) == {int, str}:
                return self._scalar(INT_OR_STRING)
            return self.type(found[0])
        if type_ in (scalars.RawObject, Any):
            return self._scalar(RAW) if type_ is not Any else {"x-kubernetes-preserve-unknown-fields": True}
        if origin is not None and issubclass(origin, Mapping):
            return {"type": "object", "additionalProperties": self.type(get_args(type_)[1])}
        if origin is not None and issubclass(origin, Sequence | tuple):
            return {"type": "array", "items": self.type(get_args(type_)[0])}
        if isinstance(type_, type) and issubclass(type_, msgspec.Struct):
            return self.reference(self.add(type_))
        return dict(_PLAIN[type_])

    def _annotated(self, type_: Any) -> Schema:
        base, *notes = get_args(type_)
        for note in notes:
            if note in _MARKED:
                return self._scalar(_MARKED[note])
            if note == "base64":
                return {"type": "string", "format": "byte"}
            if isinstance(note, msgspec.Meta):
                return {"type": "integer", "format": "int32" if (note.le or 0) < 2**31 else "int64"}
        return self.type(base)

    def _scalar(self, name: str) -> Schema:
        self.schemas.setdefault(name, dict(SCALARS[name]))
        return self.reference(name)


_PLAIN: Mapping[Any, Schema] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer", "format": "int64"},
    float: {"type": "number", "format": "double"},
}


def marks(merge: Any) -> Schema:
    """A field's x-kubernetes-* extensions."""
    if merge is None:
        return {}
    found: Schema = {}
    if merge.patch_strategy:
        found["x-kubernetes-patch-strategy"] = ",".join(merge.patch_strategy)
    if merge.patch_merge_key:
        found["x-kubernetes-patch-merge-key"] = merge.patch_merge_key
    if merge.list_type:
        found["x-kubernetes-list-type"] = merge.list_type
    if merge.list_map_keys:
        found["x-kubernetes-list-map-keys"] = list(merge.list_map_keys)
    if merge.map_type:
        found["x-kubernetes-map-type"] = merge.map_type
    return found


def referenced(schema: Any) -> Iterator[str]:
    """Names that a schema refers to."""
    if isinstance(schema, dict):
        target = schema.get("$ref")
        if isinstance(target, str):
            yield target.rpartition("/")[2]
        for value in schema.values():
            yield from referenced(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from referenced(value)
