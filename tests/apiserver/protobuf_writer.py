"""Objects as protobuf, as typed Go clients send them: the opposite of apiserver/protobuf.py, by the same numbers."""

import base64
import json
import struct
from typing import Any

from kubeloop.actors.api import schema
from kubeloop.actors.api.schema import Node
from kubeloop.actors.apiserver.protobuf import MAGIC, layout
from kubeloop.runtime.clock import parse_rfc3339


def varint(number: int) -> bytes:
    found = bytearray()
    number &= (1 << 64) - 1
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*found, number))


def field(number: int, value: int | float | str | bytes) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, float):
        return varint(number << 3 | 1) + struct.pack("<d", value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def written(document: dict[str, Any], cls: Any) -> bytes:
    """The object in its envelope."""
    kind = field(1, document["apiVersion"]) + field(2, document["kind"])
    return MAGIC + field(1, kind) + field(2, message(document, cls)) + field(3, "") + field(4, "")


def message(value: dict[str, Any], cls: Any, inlined: str = "") -> bytes:
    found = b""
    for number, (name, node) in layout(cls, inlined).items():
        if node is None:
            inner = message(value, cls, name)
            found += field(number, inner) if inner else b""
        elif value.get(name) is None:
            continue
        elif node.form == schema.LIST:
            found += b"".join(field(number, single(item, node.item)) for item in value[name])
        elif node.form == schema.MAP:
            for key, item in value[name].items():
                found += field(number, field(1, key) + field(2, single(item, node.item)))
        else:
            found += field(number, single(value[name], node))
    return found


def single(value: Any, node: Node) -> int | float | str | bytes:
    form = node.form
    if form == schema.STRUCT:
        return message(value, node.cls)
    if form == schema.LIST:  # of a map
        return b"".join(field(1, single(item, node.item)) for item in value)
    if form in (schema.INTEGER, schema.BOOLEAN):
        return int(value)
    if form == schema.FLOAT:
        return float(value)
    if form == schema.BASE64:
        return base64.b64decode(value)
    if form == schema.QUANTITY:
        return field(1, str(value))
    if form == schema.INT_OR_STRING:
        return field(1, 1) + field(3, value) if isinstance(value, str) else field(1, 0) + field(2, value)
    if form in (schema.TIME, schema.MICRO_TIME):
        micro = round(parse_rfc3339(value) * 1_000_000)
        return field(1, micro // 1_000_000) + field(2, micro % 1_000_000 * 1000)
    if form in (schema.RAW, schema.ANY):
        return field(1, json.dumps(value))
    assert isinstance(value, str)
    return value
