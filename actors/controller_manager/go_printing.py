"""A pod template as kube-controller-manager prints it to hash it, so that ReplicaSets are called as in a real cluster.

The real one prints the Go struct with all its fields and their types, set or not (go-spew's %#v): go_types.py says
which these are. What is printed comes from the template's JSON form; the difference between an empty list or map and
none is not kept by Kubernetes' storage, so both are <nil>.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kubeloop.actors.controller_manager.go_types import TYPES

BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
DIGITS_MAX, BINARY_DIGITS_MAX = 18, 15  # what Go holds in an int64 without looking closer
NANO = 9


def printed(value: Any, type_: str, *, typed: bool = True) -> str:
    """`value` in its JSON form, or None; `typed`: whether the type is written before it."""
    before = f"({type_})" if typed else ""
    if type_[0] == "*":
        return f"{before}<nil>" if value is None else f"{before}{printed(value, type_[1:], typed=False)}"
    convert = _FORMS.get(type_)
    if convert is not None:
        value = convert(value)
    made_of = TYPES.get(type_, type_)
    if made_of.startswith("[]"):
        return before + _printed_list(value, made_of[2:])
    if made_of.startswith("map["):
        return before + _printed_map(value, made_of.partition("]")[2])
    if made_of == "string":
        return f"{before}{'' if value is None else value}"
    if made_of == "bool":
        return f"{before}{'true' if value else 'false'}"
    if made_of.startswith(("int", "uint")) and ":" not in made_of:
        return f"{before}{value or 0}"
    return before + _printed_struct(value or {}, type_)


def _printed_list(value: Sequence[Any] | None, element: str) -> str:
    return f"[{' '.join(printed(one, element, typed=False) for one in value)}]" if value else "<nil>"


def _printed_map(value: Mapping[str, Any] | None, element: str) -> str:
    if not value:
        return "<nil>"
    return f"map[{' '.join(f'{key}:{printed(value[key], element, typed=False)}' for key in sorted(value))}]"


def _printed_struct(value: Mapping[str, Any], type_: str) -> str:
    members = _known_members.get(type_)
    if members is None:
        members = _known_members[type_] = [_member(each) for each in TYPES[type_].split()]
    shown = (
        f"{name}:{printed(value.get(json_name) if json_name else value, field_type)}"
        for name, json_name, field_type in members
    )
    return f"{{{' '.join(shown)}}}"


def _member(text: str) -> tuple[str, str, str]:
    """The Go name of a field, its JSON name ("" where its own fields lie in the parent), its type."""
    left, _, field_type = text.partition(":")
    name, renamed, json_name = left.partition("/")
    return name, json_name if renamed else f"{name[0].lower()}{name[1:]}", field_type


def _quantity(text: str | None) -> Mapping[str, Any]:
    """What Go holds of a quantity: a number and its power of ten, and its text where that is surely canonical."""
    text = text or "0"
    if text == "0":
        return {"s": "0", "format": "DecimalSI"}
    found = re.fullmatch(r"([+-]?)0*(\d*)\.?(\d*)([eE][+-]?\d+|[a-zA-Z]*)", text)
    if found is None:
        raise ValueError(f"{text} is no quantity")
    sign, whole, fraction, suffix = found.groups()
    digits = f"{whole}{fraction}"
    number = int(digits or "0") * (-1 if sign == "-" else 1)
    if suffix in BINARY:
        shown = {"format": "BinarySI", "i": {"value": number << BINARY[suffix]}}
        if len(whole) + int(BINARY[suffix] * 0.3) >= BINARY_DIGITS_MAX:
            return {"format": "BinarySI", "d": {"dec": _decimal(number << BINARY[suffix], 0)}}
        return {**shown, "s": text} if number % 8 else shown
    scale = (DECIMAL[suffix] if suffix in DECIMAL else int(suffix[1:])) - len(fraction)
    format_ = "DecimalSI" if suffix in DECIMAL else "DecimalExponent"
    if len(digits) > DIGITS_MAX:
        return {"format": format_, "d": {"dec": _decimal(number, scale)}}
    shown = {"format": format_, "i": {"value": number, "scale": scale}}
    canonical = scale % 3 == 0 and not digits.endswith("000") and not digits.startswith("0")
    return {**shown, "s": text} if canonical else shown


def _decimal(number: int, scale: int) -> Mapping[str, Any]:
    """What Go holds of a number too big for an int64: rounded to billionths, in words of 64 bits."""
    power = scale + NANO
    whole = abs(number) * 10**power if power >= 0 else -(-abs(number) // 10**-power)
    words = []
    while whole:
        words.append(whole & (1 << 64) - 1)
        whole >>= 64
    return {"unscaled": {"neg": number < 0, "abs": words}, "scale": NANO}


def _int_or_string(value: int | str | None) -> Mapping[str, Any]:
    return {"type": 1, "strVal": value} if isinstance(value, str) else {"intVal": value}


_FORMS: Mapping[str, Callable[[Any], Any]] = {"resource.Quantity": _quantity, "intstr.IntOrString": _int_or_string}
_known_members: dict[str, list[tuple[str, str, str]]] = {}
