"""The OpenAPI 2 document on the wire of gnostic's `openapi.v2.Document`, which client-go asks for.

Written from the document as builtins, by a table of field numbers (gnostic's openapiv2/OpenAPIv2.proto); only what our
documents hold is listed. Keys that are not listed are left out, as OpenAPI 2 has no word for them (`oneOf` of a custom
resource's schema), except vendor extensions (`x-...`), whose values travel as YAML.
"""

import struct
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

CONTENT_TYPE = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
VARINT, FIXED64, BYTES = 0, 1, 2  # wire types
EXTENSION = "x-"

Write = Callable[[int, Any], bytes]
"""(field number, value) -> the field on the wire, once for each item of a repeated one."""


def varint(number: int) -> bytes:
    """A number of 64 bits; a negative one as its two's complement."""
    number &= (1 << 64) - 1
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)


def block(number: int, data: bytes) -> bytes:
    return varint(number << 3 | BYTES) + varint(len(data)) + data


def text(number: int, value: str) -> bytes:
    return block(number, value.encode())


def whole(number: int, value: int) -> bytes:
    """A bool or an int64."""
    return varint(number << 3 | VARINT) + varint(int(value))


def double(number: int, value: float) -> bytes:
    return varint(number << 3 | FIXED64) + struct.pack("<d", value)


def anything(number: int, value: Any) -> bytes:
    """An `Any` by its second field: YAML, of which JSON is a part."""
    return block(number, block(2, msgspec.json.encode(value)))


def one(name: str) -> Write:
    """A message."""
    return lambda number, value: block(number, message(name, value))


def each(write: Write) -> Write:
    """A repeated field."""
    return lambda number, values: b"".join(write(number, value) for value in values)


def within(inner: int, write: Write) -> Write:
    """A message with one field, `inner`: gnostic's wrapper of a choice or of a list."""
    return lambda number, value: block(number, write(inner, value))


def named(inner: int, write: Write) -> Write:
    """A map: a message whose repeated field `inner` holds names (1) and values (2)."""

    def pairs(number: int, values: Mapping[str, Any]) -> bytes:
        return block(number, b"".join(block(inner, text(1, key) + write(2, value)) for key, value in values.items()))

    return pairs


def additional_properties(number: int, value: Any) -> bytes:
    return block(number, whole(2, value) if isinstance(value, bool) else one("Schema")(1, value))


def types(number: int, value: str | list[str]) -> bytes:
    return within(1, each(text))(number, [value] if isinstance(value, str) else value)


def parameter(number: int, value: Mapping[str, Any]) -> bytes:
    """A `ParametersItem`, by where the parameter is."""
    if value["in"] == "body":
        found = one("BodyParameter")(1, value)
    elif value["in"] == "query":
        found = within(3, one("QueryParameter"))(2, value)
    else:
        found = within(4, one("PathParameter"))(2, value)
    return block(number, block(1, found))


_SCHEMA: Write = one("Schema")
_COUNTS = ("maxLength", "minLength", "maxItems", "minItems", "maxProperties", "minProperties")
# message -> key of the document -> number and form; "x-": the number of its vendor extensions
FIELDS: Mapping[str, Mapping[str, tuple[int, Write]]] = {
    "Document": {
        "swagger": (1, text),
        "info": (2, one("Info")),
        "paths": (8, named(2, one("PathItem"))),
        "definitions": (9, named(1, _SCHEMA)),
    },
    "Info": {"title": (1, text), "version": (2, text)},
    "PathItem": {
        **{
            method: (number, one("Operation"))
            for method, number in {"get": 2, "put": 3, "post": 4, "delete": 5, "patch": 8}.items()
        },
        "parameters": (9, each(parameter)),
        EXTENSION: (10, anything),
    },
    "Operation": {
        "description": (3, text),
        "operationId": (5, text),
        "consumes": (7, each(text)),
        "parameters": (8, each(parameter)),
        "responses": (9, named(1, within(1, one("Response")))),
        EXTENSION: (13, anything),
    },
    "Response": {"description": (1, text), "schema": (2, within(1, _SCHEMA)), EXTENSION: (5, anything)},
    "BodyParameter": {"name": (2, text), "in": (3, text), "required": (4, whole), "schema": (5, _SCHEMA)},
    "QueryParameter": {"required": (1, whole), "in": (2, text), "name": (4, text), "type": (6, text)},
    "PathParameter": {"required": (1, whole), "in": (2, text), "name": (4, text), "type": (5, text)},
    "Schema": {
        "$ref": (1, text),
        "format": (2, text),
        "title": (3, text),
        "description": (4, text),
        "default": (5, anything),
        "multipleOf": (6, double),
        "maximum": (7, double),
        "exclusiveMaximum": (8, whole),
        "minimum": (9, double),
        "exclusiveMinimum": (10, whole),
        "pattern": (13, text),
        "uniqueItems": (16, whole),
        **dict(zip(_COUNTS, ((number, whole) for number in (11, 12, 14, 15, 17, 18)), strict=True)),
        "required": (19, each(text)),
        "enum": (20, each(anything)),
        "additionalProperties": (21, additional_properties),
        "type": (22, types),
        "items": (23, within(1, _SCHEMA)),
        "allOf": (24, each(_SCHEMA)),
        "properties": (25, named(1, _SCHEMA)),
        "example": (30, anything),
        EXTENSION: (31, anything),
    },
}


def message(name: str, value: Mapping[str, Any]) -> bytes:
    fields = FIELDS[name]
    found = []
    for key, item in value.items():
        if key in fields:
            number, write = fields[key]
            found.append(write(number, item))
        elif key.startswith(EXTENSION) and EXTENSION in fields:
            number, write = fields[EXTENSION]
            found.append(block(number, text(1, key) + write(2, item)))
    return b"".join(found)


def encode(document: Mapping[str, Any]) -> bytes:
    """A whole OpenAPI 2 document as gnostic's Document."""
    return message("Document", document)
