"""Bodies in Kubernetes' protobuf: how typed clients (kubectl create, auth can-i, client-go) send objects.

Follows the "Kubernetes Protobuf encoding" section of the API concepts page: four magic bytes, an envelope that names
the kind, and the message itself. A message becomes builtins, as its JSON would be read: by the object model's own types
(api/schema.py) and the numbers in protobuf_numbers. Whoever asks is answered in JSON, which all these clients take.

Go writes every field that is not a pointer, also when it is empty. Such zeros stay here: codec drops them, as it does
for JSON (api/zero_values.py). What the model does not know is skipped, as protobuf wants it.
"""

import base64
import math
import struct
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import msgspec

from kubeloop.actors.api import schema
from kubeloop.actors.api.schema import Node
from kubeloop.actors.apiserver.limits import protobuf_depth_max
from kubeloop.actors.apiserver.protobuf_numbers import NUMBERS

MAGIC = b"k8s\x00"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # wire types
SIZES = {FIXED64: 8, FIXED32: 4}
VARINT_BITS_MAX = 70  # ten bytes

Part = tuple[int, int, int | bytes]
"""One field on the wire: its number, wire type, and value (an int for VARINT)."""


class ProtobufError(ValueError):
    """A body that is no protobuf message, or a wrong one. What the envelope says of it, when it could be read."""

    def __init__(self, text: str, *, api_version: str = "", kind: str = "") -> None:
        super().__init__(text)
        self.api_version = api_version
        self.kind = kind


def decode(data: bytes, cls: Any) -> dict[str, Any]:
    """An object of the model's class `cls` in the envelope, as builtins with its apiVersion and kind.

    Raises ProtobufError, in the words of Go's decoder where it has any.
    """
    api_version, kind, raw = envelope(data)
    try:
        return {"apiVersion": api_version, "kind": kind, **message(raw, cls)}
    except ProtobufError as error:
        raise ProtobufError(str(error), api_version=api_version, kind=kind) from None


def envelope(data: bytes) -> tuple[str, str, bytes]:
    """apiVersion, kind, and the bytes of the message. Raises ProtobufError."""
    if not data.startswith(MAGIC):
        raise ProtobufError("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")
    type_meta = raw = b""
    for number, wire, value in parts(data[len(MAGIC) :]):
        if number == 1:
            type_meta = to_bytes(wire, value, "TypeMeta")
        elif number == 2:
            raw = to_bytes(wire, value, "Raw")
    named = dict.fromkeys((1, 2), "")
    for number, wire, value in parts(type_meta):
        named[number] = to_text(wire, value, "TypeMeta")
    return named[1], named[2], raw


def parts(data: bytes) -> Iterator[Part]:
    """The fields of one message, in their order on the wire."""
    position, end = 0, len(data)
    while position < end:
        key, position = varint(data, position)
        number, wire = key >> 3, key & 7
        if not 0 < number < 1 << 29:
            raise ProtobufError(f"proto: illegal tag {number} (wire type {wire})")
        if wire == VARINT:
            value, position = varint(data, position)
            yield number, wire, value
            continue
        if wire == BYTES:
            length, position = varint(data, position)
            if length >= 1 << 63:
                raise ProtobufError("proto: negative length found during unmarshaling")
        elif wire in SIZES:
            length = SIZES[wire]
        else:
            raise ProtobufError(f"proto: illegal wireType {wire}")
        if position + length > end:
            raise ProtobufError("unexpected EOF")
        yield number, wire, data[position : position + length]
        position += length


def varint(data: bytes, position: int) -> tuple[int, int]:
    """An unsigned number of 64 bits, and the position after it."""
    found = shift = 0
    while shift < VARINT_BITS_MAX:
        if position >= len(data):
            raise ProtobufError("unexpected EOF")
        byte = data[position]
        position += 1
        found |= (byte & 0x7F) << shift
        if byte < 0x80:
            return found & (1 << 64) - 1, position
        shift += 7
    raise ProtobufError("proto: integer overflow")


def signed(number: int, bits: int) -> int:
    """The lowest `bits` of a number as two's complement."""
    number &= (1 << bits) - 1
    return number - (1 << bits) if number >> (bits - 1) else number


@cache
def layout(cls: Any, inlined: str = "") -> Mapping[int, tuple[str, Node | None]]:
    """Number -> JSON name and type; the type is None for a message named so that is inlined in the JSON."""
    package, _, version = cls.__module__.rpartition(".")[2].rpartition("_")
    names = NUMBERS.get(f"{package}.{version}.{inlined or cls.__name__}")
    if names is None:
        raise ProtobufError(f"no protobuf form of {package}/{version} {inlined or cls.__name__} is known; send JSON")
    fields = schema.fields_of(cls)
    found: dict[int, tuple[str, Node | None]] = {}
    for number, name in enumerate(names.split(), start=1):
        if name.startswith("+"):
            found[number] = (name[1:], None)
        elif name in fields:
            found[number] = (name, fields[name].node)
    return found


def message(data: bytes, cls: Any, *, into: dict[str, Any] | None = None, inlined: str = "", depth: int = 1) -> Any:
    """A message of class `cls` as builtins. `into`: what an earlier part of it gave; `depth`: of messages around it."""
    if depth > protobuf_depth_max:
        raise ProtobufError(f"the message holds more than {protobuf_depth_max} messages in each other")
    known = layout(cls, inlined)
    found: dict[str, Any] = {} if into is None else into
    for number, wire, value in parts(data):
        name, node = known.get(number, ("", None))
        if not name:
            continue
        if node is None:
            message(to_bytes(wire, value, name), cls, into=found, inlined=name, depth=depth + 1)
        elif node.form == schema.LIST:
            found.setdefault(name, []).extend(items(wire, value, node.item, name, depth))
        elif node.form == schema.MAP:
            key, item = entry(to_bytes(wire, value, name), node.item, name, depth)
            found.setdefault(name, {})[key] = item
        elif node.form == schema.STRUCT:
            earlier = found.get(name)
            found[name] = message(to_bytes(wire, value, name), node.cls, into=earlier, depth=depth + 1)
        elif name in SCHEMA_PARTS and cls.__name__ == "JSONSchemaProps":
            schema_part(found, cls, name, to_bytes(wire, value, name), depth)
        else:
            found[name] = single(wire, value, node, name, depth)
    return found


def items(wire: int, value: int | bytes, node: Node, name: str, depth: int) -> list[Any]:
    """One item of a list, or all of them when numbers are packed."""
    if wire == BYTES and isinstance(value, bytes) and node.form in (schema.INTEGER, schema.BOOLEAN):
        found, position = [], 0
        while position < len(value):
            number, position = varint(value, position)
            found.append(single(VARINT, number, node, name, depth))
        return found
    return [single(wire, value, node, name, depth)]


def entry(data: bytes, node: Node, name: str, depth: int) -> tuple[str, Any]:
    """A map's entry: field 1 is the key, 2 the value."""
    key, item = "", None
    for number, wire, value in parts(data):
        if number == 1:
            key = to_text(wire, value, name)
        elif number == 2:
            item = single(wire, value, node, name, depth)
    if item is None and node.form not in (schema.TIME, schema.MICRO_TIME, schema.ANY, schema.RAW):
        item = single(VARINT if node.form in (schema.INTEGER, schema.BOOLEAN) else BYTES, b"", node, name, depth)
    return key, item


def single(wire: int, value: int | bytes, node: Node, name: str, depth: int) -> Any:
    """One value of a type. None for no time, and for JSON's null."""
    form = node.form
    if form in (schema.INTEGER, schema.BOOLEAN):
        if wire != VARINT:
            raise wrong_wire(wire, name)
        number = value if isinstance(value, int) else 0
        return bool(number) if form == schema.BOOLEAN else signed(number, node.bits)
    if form == schema.FLOAT:
        return to_float(wire, value, name)
    if form == schema.TEXT:
        return to_text(wire, value, name)
    data = to_bytes(wire, value, name)
    if form == schema.STRUCT:
        return message(data, node.cls, depth=depth + 1)
    if form == schema.LIST:  # the values of a map: messages that hold nothing but a list
        inner = [(wire, part) for number, wire, part in parts(data) if number == 1]
        return [one for wire, part in inner for one in items(wire, part, node.item, name, depth)]
    if form == schema.BASE64:
        return base64.b64encode(data).decode()
    if form == schema.QUANTITY:
        return text_in(data, 1, name) or "0"
    if form == schema.INT_OR_STRING:
        return int_or_string(data, name)
    if form in (schema.TIME, schema.MICRO_TIME):
        return time(data, name, micro=form == schema.MICRO_TIME)
    return json_in(data, name)


def wrong_wire(wire: int, name: str) -> ProtobufError:
    return ProtobufError(f"proto: wrong wireType = {wire} for field {name[:1].upper()}{name[1:]}")


def to_bytes(wire: int, value: int | bytes, name: str) -> bytes:
    if wire != BYTES or isinstance(value, int):
        raise wrong_wire(wire, name)
    return value


def to_text(wire: int, value: int | bytes, name: str) -> str:
    """Go checks no text here, and replaces what is not UTF-8 when it writes JSON."""
    return to_bytes(wire, value, name).decode("utf-8", "replace")


def to_float(wire: int, value: int | bytes, name: str) -> float:
    if wire != FIXED64 or isinstance(value, int):
        raise wrong_wire(wire, name)
    found: float = struct.unpack("<d", value)[0]
    if not math.isfinite(found):
        raise ProtobufError(f"json: unsupported value: {found}")
    return found


def text_in(data: bytes, wanted: int, name: str) -> str:
    found = [to_text(wire, value, name) for number, wire, value in parts(data) if number == wanted]
    return found[-1] if found else ""


def numbers_in(data: bytes, name: str, *, bits: tuple[int, int]) -> tuple[int, int]:
    """Fields 1 and 2 of a message, when they are numbers."""
    found = {1: 0, 2: 0}
    for number, wire, value in parts(data):
        if number in found:
            if not isinstance(value, int):
                raise wrong_wire(wire, name)
            found[number] = signed(value, bits[number - 1])
    return found[1], found[2]


def int_or_string(data: bytes, name: str) -> int | str:
    is_text, number = numbers_in(data, name, bits=(64, 32))
    return text_in(data, 3, name) if is_text else number


def time(data: bytes, name: str, *, micro: bool) -> str | None:
    """RFC 3339; None for an empty message: the time is not set. Whole seconds, as in JSON, unless `micro`."""
    if not data:
        return None
    seconds, nanoseconds = numbers_in(data, name, bits=(64, 32))
    try:
        at = EPOCH + timedelta(seconds=seconds, microseconds=nanoseconds // 1000 if micro else 0)
    except OverflowError:
        raise ProtobufError(f"the time {seconds} s in field {name} is not within the years 1 to 9999") from None
    if at == datetime.min.replace(tzinfo=UTC):  # Go's zero
        return None
    return at.replace(tzinfo=None).isoformat(timespec="microseconds" if micro else "seconds") + "Z"


def json_in(data: bytes, name: str) -> Any:
    """RawExtension, FieldsV1 and JSON: JSON in field 1."""
    inner = b""
    for number, wire, value in parts(data):
        if number == 1:
            inner = to_bytes(wire, value, name)
    try:
        return msgspec.json.decode(inner) if inner else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProtobufError(str(error)) from None


# Fields of a JSON schema that hold one thing or another: messages that JSON does not show.
SCHEMA_PARTS = ("items", "additionalItems", "additionalProperties", "dependencies")


def schema_part(found: dict[str, Any], cls: Any, name: str, data: bytes, depth: int) -> None:
    if name == "dependencies":
        key, inner = "", b""
        for number, wire, value in parts(data):
            if number == 1:
                key = to_text(wire, value, name)
            elif number == 2:
                inner = to_bytes(wire, value, name)
        found.setdefault(name, {})[key] = either(cls, name, inner, depth)
    else:
        found[name] = either(cls, name, data, depth)


def either(cls: Any, name: str, data: bytes, depth: int) -> Any:
    """A schema, or a list of them (items), a bool (additional...), or a list of names (dependencies)."""
    one: Any = None
    many: list[Any] = []
    allowed = False
    for number, wire, value in parts(data):
        if name.startswith("additional") and number == 1:
            allowed = bool(value)
        elif number == (2 if name.startswith("additional") else 1):
            one = message(to_bytes(wire, value, name), cls, depth=depth + 1)
        elif number == 2 and name == "items":
            many.append(message(to_bytes(wire, value, name), cls, depth=depth + 1))
        elif number == 2:
            many.append(to_text(wire, value, name))
    if one is not None:
        return one
    return allowed if name.startswith("additional") else many
