"""The words of the store: etcd's key-values, events, operations and answers, as frozen Structs.

They are also the messages of the etcd actor, so nothing is converted on the way. The etcd v3 API reference names the
same fields; `range_end` is None for one key, `b"\\0"` for "every key from `key` on", else the exclusive end.
"""

from typing import Literal, TypeAlias
from zlib import crc32

from msgspec import Struct

PUT: Literal["PUT"] = "PUT"
DELETE: Literal["DELETE"] = "DELETE"
EventType: TypeAlias = Literal["PUT", "DELETE"]
SortOrder: TypeAlias = Literal["none", "ascend", "descend"]
SortTarget: TypeAlias = Literal["key", "version", "create", "mod", "value"]
CompareTarget: TypeAlias = Literal["version", "create", "mod", "value", "lease"]
CompareResult: TypeAlias = Literal["=", "!=", ">", "<"]


class KeyValue(Struct, frozen=True, gc=False):
    """One version of a key. `version` 0 is a tombstone: the key was deleted at `mod_revision`."""

    key: bytes
    value: bytes
    create_revision: int
    mod_revision: int
    version: int
    lease: int = 0


class Event(Struct, frozen=True, gc=False):
    """One change. Of a DELETE, `kv` holds the key and the revision that deleted it."""

    type: EventType
    kv: KeyValue
    prev_kv: KeyValue | None = None


class Compare(Struct, frozen=True):
    """One condition of a transaction; with `range_end`, every key of the range must satisfy it."""

    key: bytes
    target: CompareTarget
    result: CompareResult
    value: int | bytes
    range_end: bytes | None = None


class Range(Struct, frozen=True):
    """Read one key or a range. `revision` 0 is now; `limit` 0 is no limit; the min/max revisions 0 do not filter."""

    key: bytes
    range_end: bytes | None = None
    revision: int = 0
    limit: int = 0
    sort_order: SortOrder = "none"
    sort_target: SortTarget = "key"
    keys_only: bool = False
    count_only: bool = False
    min_mod_revision: int = 0
    max_mod_revision: int = 0
    min_create_revision: int = 0
    max_create_revision: int = 0


class Put(Struct, frozen=True):
    """Write one key. `lease` 0 is none; `ignore_*` keeps the present value or lease of a key that must exist."""

    key: bytes
    value: bytes
    lease: int = 0
    prev_kv: bool = False
    ignore_value: bool = False
    ignore_lease: bool = False


class DeleteRange(Struct, frozen=True):
    """Delete one key or a range."""

    key: bytes
    range_end: bytes | None = None
    prev_kv: bool = False


class Txn(Struct, frozen=True):
    """`success` runs when every compare holds, else `failure`; all of it at one revision."""

    compare: "tuple[Compare, ...] | list[Compare]" = ()
    success: "tuple[Op, ...] | list[Op]" = ()
    failure: "tuple[Op, ...] | list[Op]" = ()


Op: TypeAlias = Range | Put | DeleteRange | Txn


class RangeResult(Struct, frozen=True):
    """`count` is the number of keys in the range, whatever `limit` and the filters left; `revision` is now's."""

    kvs: list[KeyValue]
    more: bool
    count: int
    revision: int


class PutResult(Struct, frozen=True):
    """`kv` is the version written (etcd leaves it to be worked out; here it is at hand)."""

    kv: KeyValue
    revision: int
    prev_kv: KeyValue | None = None


class DeleteResult(Struct, frozen=True):
    deleted: int
    revision: int
    prev_kvs: list[KeyValue]


class TxnResult(Struct, frozen=True):
    """`responses` has one entry an operation of the branch that ran."""

    succeeded: bool
    responses: "list[OpResult]"
    revision: int


OpResult: TypeAlias = RangeResult | PutResult | DeleteResult | TxnResult


class CasResult(Struct, frozen=True, gc=False):
    """Answer of the one-key transactions `put_if` and `delete_if`.

    `kv` after success: the version written, or the version deleted. After failure: the version found, None when the
    key is not there. `revision` is the store's revision afterwards: a deletion's own revision.
    """

    succeeded: bool
    kv: KeyValue | None
    revision: int


def prefix_range_end(prefix: bytes) -> bytes:
    """The `range_end` that makes a range of every key with `prefix`; `b"\\0"` (no end) for an empty or all-0xff one."""
    stem = prefix.rstrip(b"\xff")
    if not stem:
        return b"\0"
    return stem[:-1] + bytes((stem[-1] + 1,))


def kv_checksum(kv: KeyValue, begin: int = 0) -> int:
    """CRC-32 of everything in a version, going on from `begin`."""
    numbers = f"{kv.mod_revision} {kv.create_revision} {kv.version} {kv.lease} {len(kv.key)} "
    return crc32(kv.value, crc32(kv.key, crc32(numbers.encode(), begin)))
