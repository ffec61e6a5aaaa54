"""What an update leaves as it was stays the very object that it was.

A decoded object has lists where one built in Python has tuples, and a patch decodes anew what it did not touch. So
before an update is compared with what is stored, each part of it that says the same is replaced by the stored part:
"unchanged" then is true of it, comparisons stop at identity, and revisions share their memory.
"""

from typing import Any, TypeVar

import msgspec

T = TypeVar("T")


def shared(new: T, old: Any) -> T:
    """`new` with every part that is equal in `old` taken from there; `old` itself when all of it is."""
    if new is old:
        return new
    if isinstance(new, msgspec.Struct):
        return _shared_struct(new, old) if type(new) is type(old) else new
    if isinstance(new, list | tuple):
        return _shared_sequence(new, old) if isinstance(old, list | tuple) else new
    return old if new == old and (type(new) is type(old) or isinstance(new, dict)) else new


def _shared_struct(new: Any, old: Any) -> Any:
    changes: dict[str, Any] = {}
    same = True
    for field in new.__struct_fields__:
        value, before = getattr(new, field), getattr(old, field)
        if value is before:
            continue
        found = shared(value, before)
        if found is not value:
            changes[field] = found
        if found is not before:
            same = False
    if same:
        return old
    return msgspec.structs.replace(new, **changes) if changes else new


def _shared_sequence(new: Any, old: Any) -> Any:
    if len(new) != len(old):
        return new
    items = [shared(value, before) for value, before in zip(new, old, strict=True)]
    return old if all(item is before for item, before in zip(items, old, strict=True)) else type(old)(items)
