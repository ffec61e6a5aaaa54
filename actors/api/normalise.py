"""Builtins from the outside -> the builtins that Go would keep of them, or an error in encoding/json's words.

What Go forgives is put right here: nulls and empty lists and maps are dropped, a number may stand for a quantity, times
are turned to UTC. Unknown fields are collected, with their paths. A zero that Go would not write again is dropped.
"""

import binascii
import re
from collections.abc import Callable, Mapping
from typing import Any

from kubeloop.actors.api import quantity, schema
from kubeloop.actors.api.scalars import Object
from kubeloop.actors.api.schema import Node, fields_of
from kubeloop.runtime.clock import format_rfc3339, format_rfc3339_micro, parse_rfc3339


class DecodeError(ValueError):
    """Bytes that are no JSON, or values of the wrong type."""


class Walk:
    """One walk over one document. `path` holds the names of the fields that lead to where it is, without indexes."""

    __slots__ = ("path", "unknown")

    def __init__(self) -> None:
        self.unknown: list[str] = []
        self.path: list[str] = []

    def struct(self, document: Mapping[str, Any], cls: type[Object], where: str) -> dict[str, Any]:
        """`where` is the path with indexes, for unknown fields."""
        fields = fields_of(cls)
        kept: dict[str, Any] = {}
        for name, value in document.items():
            field = fields.get(name)
            if field is None:
                self.unknown.append(f"{where}{name}")
                continue
            if value is None:
                continue
            self.path.append(name)
            value = self.value(value, field.node, cls, f"{where}{name}")
            self.path.pop()
            if value is None or (field.drops_zero and not value):
                continue
            kept[name] = value
        return kept

    def value(self, value: Any, node: Node, owner: type[Object], where: str) -> Any:
        """The value as it is kept; None when nothing is."""
        form = node.form
        if form == schema.STRUCT:
            if not isinstance(value, Mapping):
                raise self.wrong(value, node, owner)
            return self.struct(value, node.cls, where + ".")
        if form == schema.LIST:
            if not isinstance(value, list | tuple):
                raise self.wrong(value, node, owner)
            return self.items(value, node.item, owner, where) or None
        if form == schema.MAP:
            if not isinstance(value, Mapping):
                raise self.wrong(value, node, owner)
            return self.entries(value, node.item, owner, where) or None
        if form == schema.RAW and not isinstance(value, Mapping):
            raise self.wrong(value, node, owner)
        check = _SCALARS.get(form)
        return value if check is None else check(self, value, node, owner)

    def items(self, values: Any, node: Node, owner: type[Object], where: str) -> list[Any]:
        found = []
        for index, value in enumerate(values):
            kept = None if value is None else self.value(value, node, owner, f"{where}[{index}]")
            found.append(_zero(node) if kept is None else kept)
        return found

    def entries(self, values: Mapping[str, Any], node: Node, owner: type[Object], where: str) -> dict[str, Any]:
        found = {}
        for key, value in values.items():
            kept = None if value is None else self.value(value, node, owner, f"{where}.{key}")
            found[str(key)] = _zero(node) if kept is None else kept
        return found

    def wrong(self, value: Any, node: Node, owner: type[Object]) -> DecodeError:
        shown = go_kind(value)
        if shown == "number" and node.form == schema.INTEGER:
            shown += f" {value}"
        path = ".".join(self.path)
        return DecodeError(
            f"json: cannot unmarshal {shown} into Go struct field {owner.__name__}.{path} of type {node.go_name}"
        )


def go_kind(value: Any) -> str:
    """What encoding/json calls a JSON value."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, str):
        return "string"
    if isinstance(value, int | float):
        return "number"
    return "object" if isinstance(value, Mapping) else "array"


def _zero(node: Node) -> Any:
    """What stands in a list or map for null or for an empty value."""
    if node.form in (schema.STRUCT, schema.MAP, schema.RAW):
        return {}
    if node.form == schema.LIST:
        return []
    return {schema.BOOLEAN: False, schema.INTEGER: 0, schema.FLOAT: 0.0, schema.QUANTITY: "0"}.get(node.form, "")


def _text(walk: Walk, value: Any, node: Node, owner: type[Object]) -> str:
    if not isinstance(value, str):
        raise walk.wrong(value, node, owner)
    return value


def _boolean(walk: Walk, value: Any, node: Node, owner: type[Object]) -> bool:
    if not isinstance(value, bool):
        raise walk.wrong(value, node, owner)
    return value


def _integer(walk: Walk, value: Any, node: Node, owner: type[Object]) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1:
        raise walk.wrong(value, node, owner)
    limit = 1 << (node.bits - 1)
    if not -limit <= value < limit:
        raise walk.wrong(value, node, owner)
    return int(value)


def _float(walk: Walk, value: Any, node: Node, owner: type[Object]) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise walk.wrong(value, node, owner)
    return value


def _quantity(walk: Walk, value: Any, node: Node, owner: type[Object]) -> str:
    text = value if isinstance(value, str) else "true" if isinstance(value, bool) else str(value)
    try:
        return quantity.canonical(text.strip())
    except quantity.QuantityError as error:
        raise DecodeError(str(error)) from None


def _int_or_string(walk: Walk, value: Any, node: Node, owner: type[Object]) -> int | str:
    if isinstance(value, str):
        return value
    limit = 1 << 31
    if isinstance(value, bool) or not isinstance(value, int) or not -limit <= value < limit:
        shown = f"number {value}" if go_kind(value) == "number" else go_kind(value)
        raise DecodeError(f"json: cannot unmarshal {shown} into Go value of type int32")
    return value


def _time(walk: Walk, value: Any, node: Node, owner: type[Object]) -> str | None:
    if not isinstance(value, str):
        raise DecodeError(f"json: cannot unmarshal {go_kind(value)} into Go value of type string")
    if not value:
        return value
    micro = node.form == schema.MICRO_TIME
    try:
        seconds = parse_rfc3339(value)
    except ValueError:
        raise DecodeError(time_problem(value, MICRO_LAYOUT if micro else LAYOUT)) from None
    if not YEAR_1_SECONDS <= seconds < YEAR_10000_SECONDS:  # in UTC it could not be read again
        raise DecodeError(f'parsing time "{value}": year out of range')
    if seconds == YEAR_1_SECONDS:  # Go's zero, which it writes as null
        return None
    return format_rfc3339_micro(seconds) if micro else format_rfc3339(seconds)


YEAR_1_SECONDS, YEAR_10000_SECONDS = -62_135_596_800, 253_402_300_800
LAYOUT = "2006-01-02T15:04:05Z07:00"
MICRO_LAYOUT = "2006-01-02T15:04:05.000000Z07:00"
_PARTS = (
    ("2006", r"\d{4}", ""),
    ("-", "-", ""),
    ("01", r"\d\d", "month"),
    ("-", "-", ""),
    ("02", r"\d\d", "day"),
    ("T", "T", ""),
    ("15", r"\d\d", "hour"),
    (":", ":", ""),
    ("04", r"\d\d", "minute"),
    (":", ":", ""),
    ("05", r"\d\d(?:[.,]\d+)?", "second"),
    ("Z07:00", r"Z|[+-]\d\d:\d\d", ""),
)
_LIMITS = {"month": (1, 12), "day": (1, 31), "hour": (0, 23), "minute": (0, 59), "second": (0, 59)}


def time_problem(text: str, layout: str) -> str:
    """What Go's time.Parse says of a text that is no time."""
    rest = text
    for part, pattern, unit in _PARTS:
        found = re.match(pattern, rest)
        if found is None:
            return f'parsing time "{text}" as "{layout}": cannot parse "{rest}" as "{part}"'
        if unit:
            low, high = _LIMITS[unit]
            if not low <= int(found[0][:2]) <= high:
                return f'parsing time "{text}": {unit} out of range'
        rest = rest[found.end() :]
    return f'parsing time "{text}": extra text: "{rest}"' if rest else f'parsing time "{text}": day out of range'


def _base64(walk: Walk, value: Any, node: Node, owner: type[Object]) -> str:
    if not isinstance(value, str):
        raise walk.wrong(value, node, owner)
    if not is_base64(value):
        raise DecodeError(f"illegal base64 data at input byte {_base64_problem(value)}")
    return value


def is_base64(value: str) -> bool:
    try:
        binascii.a2b_base64(value, strict_mode=True)
    except ValueError:  # binascii.Error, and what is not ASCII
        return not value.strip("\r\n")
    return True


def _base64_problem(value: str) -> int:
    text = value.rstrip("=")
    wrong = re.search(r"[^A-Za-z0-9+/]", text)
    return wrong.start() if wrong is not None else len(text) - len(text) % 4


_Scalar = Callable[[Walk, Any, Node, type[Object]], Any]
_SCALARS: Mapping[str, _Scalar] = {
    schema.TEXT: _text,
    schema.BOOLEAN: _boolean,
    schema.INTEGER: _integer,
    schema.FLOAT: _float,
    schema.QUANTITY: _quantity,
    schema.INT_OR_STRING: _int_or_string,
    schema.TIME: _time,
    schema.MICRO_TIME: _time,
    schema.BASE64: _base64,
}
