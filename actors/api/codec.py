"""Objects to JSON and back, as fast as it goes where the JSON is as we write it ourselves, and as Go does it otherwise.

`encode` and `decode` are for what we trust: the store's bytes. `decode_object` is for what comes from outside.
"""

import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, TypeVar

import msgspec

from kubeloop.actors.api import quantity, schema
from kubeloop.actors.api.normalise import DecodeError as DecodeError
from kubeloop.actors.api.normalise import Walk, is_base64
from kubeloop.actors.api.scalars import Object

T = TypeVar("T")

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode
_decoders: dict[type[Any], Callable[[Any], Any]] = {}

# What may be a value that Go does not keep, in JSON as we write it. `{}` is dropped only as an empty map, so its field
# is looked at. (null and [] need no look: they decode to what is left out.)
_ZEROS = (b"false", b'""', b":0,", b":0}")
_EMPTY_OBJECT = re.compile(rb'"([A-Za-z]+)":\{\}')
_DATE = r"(?!0001-01-01T00:00:00)\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d"
_TIME = re.compile(_DATE + "Z")
_MICRO_TIME = re.compile(_DATE + r"\.\d{6}Z")


class Decoded(msgspec.Struct, frozen=True):
    """An object, and what strict field validation objects to: paths as "spec.containers[0].imagee"."""

    obj: Any
    unknown: list[str] = []
    duplicates: list[str] = []


def encode(obj: Any) -> bytes:
    """JSON with apiVersion, kind and metadata first, unset fields left out. Takes Structs and dicts."""
    if type(obj) is dict:
        head = {key: obj[key] for key in ("apiVersion", "kind", "metadata") if key in obj}
        return _encode({**head, **obj})
    data = _encode(obj)
    if (b":[]" in data or b":null" in data) and isinstance(obj, Object):
        return _encode(decode_object(data, type(obj)).obj)
    return data


def decode(data: bytes | msgspec.Raw, cls: type[T]) -> T:
    """What `encode` wrote. Raises DecodeError."""
    decoder = _decoders.get(cls)
    if decoder is None:
        decoder = _decoders[cls] = msgspec.json.Decoder(cls).decode
    try:
        found: T = decoder(data)
    except msgspec.DecodeError:
        found = decode_object(bytes(data), cls).obj
    return found


def decode_object(data: bytes | Mapping[str, Any], cls: type[Any] | None) -> Decoded:
    """An object from outside: JSON, or builtins. `cls` None keeps a dict. Raises DecodeError.

    Forgiving as the API server is: see normalise.py. Of a field given twice the last counts.
    """
    if not isinstance(data, bytes | bytearray | memoryview):
        return _from_builtins(data, cls, [])
    if cls is not None and not _holds_kinds(cls):  # type: ignore[arg-type]  # mypy: a type is hashable
        found = _fast(bytes(data), cls)
        if found is not None:
            return Decoded(found)
    try:
        document = _decode(data)
        duplicates = [] if _quotes(data) == _quotes(_encode(document)) else _duplicates(data)
        return _from_builtins(document, cls, duplicates)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DecodeError(str(error)) from None


def convert(document: Mapping[str, Any], cls: type[T]) -> T:
    """Builtins -> an object; unknown fields are left out. Raises DecodeError."""
    found: T = _from_builtins(document, cls, []).obj
    return found


def to_builtins(obj: Any) -> dict[str, Any]:
    """A deep copy as dicts, lists and scalars, by JSON names; takes Structs and dicts."""
    found: dict[str, Any] = msgspec.json.decode(_encode(obj))
    return found


def _fast(data: bytes, cls: type[Any]) -> Any | None:
    """The object when the JSON is as we would write it, else None.

    Decodes strictly, and writes it again: a field that is given twice, or is null, leaves fewer quotes behind.
    """
    decoder = _decoders.get(cls)
    if decoder is None:
        decoder = _decoders[cls] = msgspec.json.Decoder(cls).decode
    try:
        found = decoder(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    again = _encode(found)
    quotes = _quotes(data)
    if cls.KIND:  # what the JSON did not say, the class has filled in: a name and a value
        quotes += 4 * (found.api_version is cls.API_VERSION) + 4 * (found.kind is cls.KIND)
    if quotes != _quotes(again):
        return None
    for zero in _ZEROS:
        if zero in again:
            return None
    if b"{}" in again and not _EMPTY_OBJECTS_KEPT.issuperset(_EMPTY_OBJECT.findall(again)):
        return None
    check = leaf_check(cls)  # type: ignore[arg-type]  # mypy: a type is hashable
    return found if check is None or check(found) else None


# Fields that are written as {} very often and that mean something so.
_EMPTY_OBJECTS_KEPT = frozenset((b"resources", b"securityContext", b"emptyDir", b"status", b"strategy", b"metadata"))


def _quotes(data: bytes) -> int:
    return data.count(b'"')


def _from_builtins(document: Any, cls: type[Any] | None, duplicates: list[str]) -> Decoded:
    if cls is None:
        return Decoded(document, [], duplicates)
    if not isinstance(document, Mapping):
        raise DecodeError(f"an object is expected, not {document!r:.100}")
    walk = Walk()
    kept = walk.struct(document, cls, "")
    try:
        return Decoded(msgspec.convert(kept, cls), walk.unknown, duplicates)
    except msgspec.ValidationError as error:
        raise DecodeError(str(error)) from None


@cache
def _holds_kinds(cls: type[Object]) -> bool:
    """Whether whole objects may be within, which fill in their kinds too (a stateful set's claims)."""
    nodes = [field.node.item or field.node for field in schema.fields_of(cls).values()]
    return any(
        node.cls.KIND or _holds_kinds(node.cls) for node in nodes if node.form == schema.STRUCT and node.cls is not cls
    )


@cache
def leaf_check(cls: type[Object]) -> Callable[[Any], bool] | None:
    """Whether an object's quantities, times and base64 texts are as Go writes them; None for a class without any."""
    return _checks(cls, ())


def _checks(cls: type[Object], within: tuple[type[Object], ...]) -> Callable[[Any], bool] | None:
    if cls in within:
        return None  # JSONSchemaProps: holds none
    steps = []
    defaults = dict(zip(cls.__struct_fields__, cls.__struct_defaults__, strict=True))
    for field in schema.fields_of(cls).values():
        step = _check_of(field.node, (*within, cls))
        if step is not None:
            steps.append((field.attribute, defaults[field.attribute], step))
    if not steps:
        return None

    def check(obj: Any) -> bool:
        for attribute, default, step in steps:
            value = getattr(obj, attribute)
            if value is not default and value is not None and not step(value):
                return False
        return True

    return check


def _check_of(node: schema.Node, within: tuple[type[Object], ...]) -> Callable[[Any], bool] | None:
    if node.form == schema.STRUCT:
        return _checks(node.cls, within)
    if node.form in (schema.LIST, schema.MAP):
        item = _check_of(node.item, within)
        if item is None:
            return None
        if node.form == schema.LIST:
            return lambda values: all(map(item, values))
        return lambda values: all(map(item, values.values()))
    return _LEAVES.get(node.form)


_LEAVES: Mapping[str, Callable[[Any], bool]] = {
    schema.QUANTITY: quantity.is_canonical,
    schema.TIME: lambda text: _TIME.fullmatch(text) is not None,
    schema.MICRO_TIME: lambda text: _MICRO_TIME.fullmatch(text) is not None,
    schema.BASE64: is_base64,
}


class _Pairs(dict[str, Any]):
    """A JSON object that remembers which of its keys came twice."""

    twice: list[str]


def _duplicates(data: bytes) -> list[str]:
    """Paths of the fields that are given more than once, in the order of the document."""
    import json

    def pairs(items: list[tuple[str, Any]]) -> _Pairs:
        found = _Pairs(items)
        found.twice = []
        if len(found) < len(items):
            seen: set[str] = set()
            for key, _ in items:
                if key in seen and key not in found.twice:
                    found.twice.append(key)
                seen.add(key)
        return found

    paths: list[str] = []

    def walk(value: Any, where: str) -> None:
        if isinstance(value, _Pairs):
            for key, item in value.items():
                path = f"{where}.{key}" if where else key
                if key in value.twice:
                    paths.append(path)
                walk(item, path)
        elif isinstance(value, list):
            for index, item in enumerate(value):
                walk(item, f"{where}[{index}]")

    walk(json.loads(data, object_pairs_hook=pairs), "")
    return paths
