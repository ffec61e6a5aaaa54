"""What etcd refuses before it looks at any data: empty keys, contradictory puts, a key written twice."""

from collections.abc import Callable, Sequence
from typing import Any

from kubeloop.store.errors import (
    DuplicateKeyError,
    EmptyKeyError,
    InvalidSortOptionError,
    KeyNotFoundError,
    LeaseProvidedError,
    TooManyOpsError,
    ValueProvidedError,
)
from kubeloop.store.model import DeleteRange, Op, Put, Range, Txn

Intervals = list[tuple[bytes, bytes]]


def check_put(op: Put) -> None:
    if not op.key:
        raise EmptyKeyError
    if op.ignore_value and op.value:
        raise ValueProvidedError
    if op.ignore_lease and op.lease:
        raise LeaseProvidedError


def check_txn(txn: Txn, ops_max: int) -> None:
    """Check a transaction and everything nested in it, in etcd's order: shapes first, then keys written twice."""
    _check_shape(txn, ops_max)
    for branch in (txn.success, txn.failure):
        if len(branch) > 1 or (branch and type(branch[0]) is Txn):
            _written(branch)


def _check_shape(txn: Txn, ops_max: int) -> None:
    """A nested transaction may have what the one around it left of the maximum."""
    ops = max(len(txn.compare), len(txn.success), len(txn.failure))
    if ops > ops_max:
        raise TooManyOpsError
    for compare in txn.compare:
        if not compare.key:
            raise EmptyKeyError
    for op in (*txn.success, *txn.failure):
        _CHECKS.get(type(op), _refuse)(op, ops_max - ops)


def _check_read(op: Range, ops_max: int) -> None:
    if not op.key:
        raise EmptyKeyError
    if op.sort_order not in ("none", "ascend", "descend"):
        raise InvalidSortOptionError


def _check_delete(op: DeleteRange, ops_max: int) -> None:
    if not op.key:
        raise EmptyKeyError


def _refuse(op: object, ops_max: int) -> None:
    """What etcd answers to an operation that is none."""
    raise KeyNotFoundError


_CHECKS: dict[type, Callable[[Any, int], None]] = {
    Put: lambda op, _: check_put(op),
    Range: _check_read,
    DeleteRange: _check_delete,
    Txn: _check_shape,
}


def _written(ops: Sequence[Op]) -> tuple[dict[bytes, None], Intervals]:
    """The keys put and the intervals deleted by one branch; raises when two of its operations meet.

    The two branches of a nested transaction exclude each other, so they may write the same key.
    """
    puts: dict[bytes, None] = {}
    deletes: Intervals = [_interval(op) for op in ops if isinstance(op, DeleteRange)]
    for op in ops:
        if not isinstance(op, Txn):
            continue
        puts_then, deletes_then = _written(op.success)
        puts_else, deletes_else = _written(op.failure)
        for key in puts_then:
            _claim(key, puts, deletes)
        for key in puts_else:
            if key not in puts_then:
                _claim(key, puts, deletes)
            elif _covered(key, deletes):
                raise DuplicateKeyError
        deletes = deletes + deletes_then + deletes_else
    for op in ops:
        if isinstance(op, Put):
            _claim(op.key, puts, deletes)
    return puts, deletes


def _claim(key: bytes, puts: dict[bytes, None], deletes: Intervals) -> None:
    if key in puts or _covered(key, deletes):
        raise DuplicateKeyError
    puts[key] = None


def _covered(key: bytes, intervals: Intervals) -> bool:
    return any(start <= key < end for start, end in intervals)


def _interval(op: DeleteRange) -> tuple[bytes, bytes]:
    """What a deletion covers here: nothing, when it is of "every key from `key` on".

    etcd (3.4 to 3.6) takes that `range_end` `b"\\0"` at its word when it looks for keys written twice, so it lets a
    transaction put a key and delete it so.
    """
    return op.key, op.range_end or op.key + b"\0"
