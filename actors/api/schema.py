"""What codec knows of each generated class: how its JSON is laid out, and what Go calls its types."""

import sys
import types
import typing
from collections.abc import Mapping
from functools import cache
from typing import Any

import msgspec

from kubeloop.actors.api import zero_values
from kubeloop.actors.api.scalars import Object

STRUCT, LIST, MAP, TEXT, INTEGER, FLOAT, BOOLEAN = "struct", "list", "map", "text", "integer", "float", "boolean"
QUANTITY, INT_OR_STRING, TIME, MICRO_TIME, BASE64 = "quantity", "int or string", "time", "microtime", "base64"
RAW, ANY = "raw", "any"  # an object, anything: taken as they are
_GO_NAMES = {TEXT: "string", BOOLEAN: "bool", FLOAT: "float64", BASE64: "[]uint8", QUANTITY: "resource.Quantity"}


class Node(msgspec.Struct, frozen=True):
    """The type of a value. `item` is of lists and maps, `cls` of structs, `bits` of integers."""

    form: str
    cls: Any = None
    item: Any = None
    bits: int = 64

    @property
    def go_name(self) -> str:
        """As encoding/json prints it in its errors."""
        if self.form == STRUCT:
            return f"{self.cls.__module__.rpartition('_')[2]}.{self.cls.__name__}"
        if self.form == LIST:
            return f"[]{self.item.go_name}"
        if self.form == MAP:
            return "v1.ResourceList" if self.item.form == QUANTITY else f"map[string]{self.item.go_name}"
        if self.form == INTEGER:
            return f"int{self.bits}"
        return _GO_NAMES.get(self.form, self.form)


class Field(msgspec.Struct, frozen=True):
    """A field of a class: `attribute` in Python; `drops_zero`: its zero value means that it is not set."""

    attribute: str
    node: Node
    drops_zero: bool


@cache
def fields_of(cls: type[Object]) -> Mapping[str, Field]:
    """JSON name -> Field."""
    hints = typing.get_type_hints(cls, vars(sys.modules[cls.__module__]), include_extras=True)
    names = zip(cls.__struct_fields__, cls.__struct_encode_fields__, strict=True)
    return {
        name: Field(attribute, node := _node(hints[attribute]), _drops_zero(cls, name, node))
        for attribute, name in names
    }


@cache
def node_of(cls: type[Object]) -> Node:
    return Node(STRUCT, cls)


def _node(hint: Any) -> Node:
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        parts = [part for part in typing.get_args(hint) if part is not type(None)]
        return Node(INT_OR_STRING) if set(parts) == {int, str} else _node(parts[0])
    if origin is typing.Annotated:
        base, mark, *_ = typing.get_args(hint)
        if isinstance(mark, str):
            return Node(mark)
        return Node(INTEGER, bits=32 if mark.le == 2**31 - 1 else 64) if base is int else _node(base)
    if origin is tuple:
        return Node(LIST, item=_node(typing.get_args(hint)[0]))
    if origin is Mapping:
        item = typing.get_args(hint)[1]
        return Node(RAW) if item is Any else Node(MAP, item=_node(item))
    if isinstance(hint, type) and issubclass(hint, Object):
        return Node(STRUCT, hint)
    return Node({str: TEXT, int: INTEGER, bool: BOOLEAN, float: FLOAT}.get(hint, ANY))


def _drops_zero(cls: type[Object], name: str, node: Node) -> bool:
    module = cls.__module__.rpartition(".")[2]
    names = {name, f"{cls.__name__}.{name}", f"{module}.{cls.__name__}.{name}"}
    if name in cls.__required__:
        return False
    if node.form == TEXT:
        return not names & zero_values.KEPT_EMPTY
    if node.form == BOOLEAN:
        return bool(names & zero_values.DROPPED_FALSE) and not names & zero_values.KEPT_FALSE
    if node.form == INTEGER:
        return bool(names & zero_values.DROPPED_ZERO) and not names & zero_values.KEPT_ZERO
    return node.form in (TIME, MICRO_TIME, BASE64)
