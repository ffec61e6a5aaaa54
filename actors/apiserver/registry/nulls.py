"""Fields that the real API server writes as null where they are absent, because Go has no omitempty on them.

The object model knows no null (absent is absent); clients that read JSON may tell them apart. So the stored JSON of the
few kinds that have such fields gets them appended.
"""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec


def encoder(encode: Callable[[Any], bytes], nulls: Sequence[str]) -> Callable[[Any], bytes]:
    """`encode`, and `nulls` (JSON names; at most one dot: a field of spec or status) where they are absent."""
    top = [name for name in nulls if "." not in name]
    nested = [name.split(".") for name in nulls if "." in name]

    def with_nulls(obj: Any) -> bytes:
        value = encode(obj)
        missing = b"".join(b',"%b":null' % name.encode() for name in top if f'"{name}":'.encode() not in value)
        if missing:
            value = value[:-1] + missing + b"}"
        if nested:
            value = _nested(value)
        return value

    def _nested(value: bytes) -> bytes:
        document = msgspec.json.decode(value)
        changed = False
        for parent, name in nested:
            holder = document.get(parent)
            if isinstance(holder, dict) and name not in holder:
                holder[name] = None
                changed = True
        return msgspec.json.encode(document) if changed else value

    return with_nulls
