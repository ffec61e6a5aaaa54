"""Ranges and compares: questions to a key space, as pure functions.

Follows the KV part of etcd's v3 API reference; the min/max revisions and the sort order are applied after all keys of
the range were found, then the limit. A sort target without an order sorts only what the limit has left. As etcd does.
"""

from collections.abc import Callable
from itertools import islice
from operator import attrgetter, eq, gt, lt, ne
from typing import Any

from kubeloop.store.errors import CompactedError, EmptyKeyError, FutureRevisionError, InvalidSortOptionError
from kubeloop.store.model import Compare, KeyValue, Range, RangeResult
from kubeloop.store.mvcc import KeySpace

_SORT_KEYS: dict[str, Callable[[KeyValue], Any]] = {
    "key": attrgetter("key"),
    "version": attrgetter("version"),
    "create": attrgetter("create_revision"),
    "mod": attrgetter("mod_revision"),
    "value": attrgetter("value"),
}
_COMPARE_VALUES: dict[str, Callable[[KeyValue], Any]] = {**_SORT_KEYS, "lease": attrgetter("lease")}
_COMPARE_RESULTS: dict[str, Callable[[Any, Any], bool]] = {"=": eq, "!=": ne, ">": gt, "<": lt}


def check_range(op: Range, revision: int, compact_revision: int) -> None:
    """Raise what etcd answers to a range that it cannot serve. `revision` is the newest that there is."""
    if not op.key:
        raise EmptyKeyError
    if op.sort_order not in ("none", "ascend", "descend") or op.sort_target not in _SORT_KEYS:
        raise InvalidSortOptionError
    if op.revision > revision:
        raise FutureRevisionError
    if 0 < op.revision < compact_revision:
        raise CompactedError(compact_revision)


def check_range_in_txn(op: Range, revision: int, compact_revision: int) -> None:
    """`check_range` for a range in a transaction: there a negative revision is not "now" but long compacted."""
    check_range(op, revision, compact_revision)
    if op.revision and op.revision < compact_revision:
        raise CompactedError(compact_revision)


def read_range(space: KeySpace, op: Range, newest: int) -> RangeResult:
    """Answer a range that `check_range` let through. `newest` is the revision that the answer names."""
    key, range_end = op.key, op.range_end
    past = 0 < op.revision < newest
    if not range_end:
        kv = space.at(key, op.revision) if past else space.current.get(key)
        found = [] if kv is None else [kv]
        count = len(found)
    elif past:
        found = list(space.between_at(key, range_end, op.revision))
        count = len(found)
        if op.limit > 0 and not _needs_all(op):
            found = found[: op.limit + 1]
    elif op.count_only:
        return RangeResult([], False, space.count_between(key, range_end), newest)
    else:
        current = space.current
        keys = space.keys_between(key, range_end)
        if op.limit > 0 and not _needs_all(op):
            found = [current[key] for key in islice(keys, min(op.limit, len(current)) + 1)]
            count = len(found) if len(found) <= op.limit else space.count_between(key, range_end)
        else:
            found = [current[key] for key in keys]
            count = len(found)
    if op.count_only:
        return RangeResult([], False, count, newest)
    return _arranged(op, found, count, newest)


def _needs_all(op: Range) -> bool:
    """Whether the limit comes after the rest."""
    return op.sort_order != "none" or _filtered(op)


def _filtered(op: Range) -> bool:
    return bool(op.min_mod_revision or op.max_mod_revision or op.min_create_revision or op.max_create_revision)


def _arranged(op: Range, found: list[KeyValue], count: int, newest: int) -> RangeResult:
    if _filtered(op):
        found = [kv for kv in found if _within(op, kv)]
    if op.sort_order == "descend" or op.sort_target != "key":
        found.sort(key=_SORT_KEYS[op.sort_target], reverse=op.sort_order == "descend")
    more = 0 < op.limit < len(found)
    if more:
        found = found[: op.limit]
    if op.keys_only:
        found = [
            KeyValue(kv.key, b"", kv.create_revision, kv.mod_revision, kv.version, kv.lease) if kv.value else kv
            for kv in found
        ]
    return RangeResult(found, more, count, newest)


def _within(op: Range, kv: KeyValue) -> bool:
    return (
        op.min_mod_revision <= kv.mod_revision
        and (not op.max_mod_revision or kv.mod_revision <= op.max_mod_revision)
        and op.min_create_revision <= kv.create_revision
        and (not op.max_create_revision or kv.create_revision <= op.max_create_revision)
    )


def holds(space: KeySpace, compare: Compare) -> bool:
    """Whether a compare holds now. A missing key has zeros for everything but its value, which compares to nothing."""
    result = _COMPARE_RESULTS[compare.result]
    if not compare.range_end:
        kv = space.current.get(compare.key)
        if kv is not None:
            return result(_COMPARE_VALUES[compare.target](kv), compare.value)
        return compare.target != "value" and result(0, compare.value)
    kvs = [space.current[key] for key in space.keys_between(compare.key, compare.range_end)]
    if not kvs:
        return compare.target != "value" and result(0, compare.value)
    value_of = _COMPARE_VALUES[compare.target]
    return all(result(value_of(kv), compare.value) for kv in kvs)
