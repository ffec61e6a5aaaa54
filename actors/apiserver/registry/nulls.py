"""Fields that the real API server writes as null where they are absent, because Go has no omitempty on them.

The object model knows no null (absent is absent); clients that read JSON may tell them apart. So the stored JSON of the
few kinds that have such fields gets them appended.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import msgspec

from kubeloop.actors.apiserver.registry.kind import Kind


def encoder(encode: Callable[[Any], bytes], nulls: Sequence[str]) -> Callable[[Any], bytes]:
    """`encode`, and `nulls` (JSON names; at most one dot: a field of spec or status) where they are absent."""
    return lambda obj: with_nulls(encode(obj), nulls)


def completed(value: bytes, obj: Any, kind: Kind | None) -> bytes:
    """An encoded answer that was not stored as it is (converted, dry run), with its kind's nulls."""
    if kind is None or not kind.nulls or getattr(obj, "kind", "") != kind.resource.kind:
        return value
    return with_nulls(value, kind.nulls)


def with_nulls(value: bytes, nulls: Sequence[str]) -> bytes:
    flat, nested = _parts(tuple(nulls))
    missing = b""
    for name, member in flat:
        if name not in value:
            missing += member
    if missing:
        value = value[:-1] + missing + b"}"
    return _nested(value, nested) if nested else value


@cache
def _parts(nulls: tuple[str, ...]) -> tuple[Sequence[tuple[bytes, bytes]], Sequence[Sequence[str]]]:
    """What to look for and what to append; and the paths of the nested ones."""
    flat = [(f'"{name}":'.encode(), f',"{name}":null'.encode()) for name in nulls if "." not in name]
    return flat, [name.split(".") for name in nulls if "." in name]


def _nested(value: bytes, nested: Sequence[Sequence[str]]) -> bytes:
    document = msgspec.json.decode(value)
    changed = False
    for parent, name in nested:
        holder = document.get(parent)
        if isinstance(holder, dict) and name not in holder:
            holder[name] = None
            changed = True
    return msgspec.json.encode(document) if changed else value
