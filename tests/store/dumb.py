"""The dumb model: a whole copy of the keys for every revision, and a list of every event.

It answers in the store's words, and refuses with the store's errors, in etcd's order: first what is wrong with a
request's shape, then (in the branches that run) puts, then ranges. Only keys written twice by one transaction are not
its business.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from kubeloop.store.errors import (
    CompactedError,
    EmptyKeyError,
    FutureRevisionError,
    KeyNotFoundError,
    LeaseExistsError,
    LeaseNotFoundError,
    LeaseProvidedError,
    LeaseTtlTooLargeError,
    TooManyOpsError,
    ValueProvidedError,
)
from kubeloop.store.model import (
    Compare,
    DeleteRange,
    DeleteResult,
    Event,
    KeyValue,
    Op,
    OpResult,
    Put,
    PutResult,
    Range,
    RangeResult,
    Txn,
    TxnResult,
)

State = dict[bytes, KeyValue]
TXN_OPS_MAX = 128
RESULTS: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    ">": lambda a, b: a > b,
    "<": lambda a, b: a < b,
}
FIELDS = {"version": "version", "create": "create_revision", "mod": "mod_revision"}


class Chosen(NamedTuple):
    """A transaction whose branch is known."""

    succeeded: bool
    branch: "list[Op | Chosen]"


def inside(key: bytes, start: bytes, range_end: bytes | None) -> bool:
    if not range_end:
        return key == start
    return key >= start and (range_end == b"\0" or key < range_end)


def check_shape(op: Op, ops_max: int = TXN_OPS_MAX) -> None:
    """A nested transaction may be as long as the one around it left of the maximum."""
    if isinstance(op, Txn):
        ops = max(len(op.compare), len(op.success), len(op.failure))
        if ops > ops_max:
            raise TooManyOpsError
        if any(not compare.key for compare in op.compare):
            raise EmptyKeyError
        for inner in [*op.success, *op.failure]:
            check_shape(inner, ops_max - ops)
    elif not op.key:
        raise EmptyKeyError
    elif isinstance(op, Put):
        if op.ignore_value and op.value:
            raise ValueProvidedError
        if op.ignore_lease and op.lease:
            raise LeaseProvidedError


def leaves(op: Op | Chosen) -> Iterator[Op]:
    if isinstance(op, Chosen):
        for inner in op.branch:
            yield from leaves(inner)
    else:
        yield op


class DumbStore:
    def __init__(self) -> None:
        self.states: dict[int, State] = {1: {}}
        self.events: list[Event] = []
        self.compact_revision = -1
        self.leases: dict[int, int] = {}

    @property
    def revision(self) -> int:
        return max(self.states)

    @property
    def now(self) -> State:
        return self.states[self.revision]

    # one operation

    def do(self, op: Op) -> OpResult:
        check_shape(op)
        chosen = self.choose(op)
        self.check_against_the_data(chosen)
        state = dict(self.now)
        events: list[Event] = []
        result = self.apply(chosen, state, events)
        if events:
            self.states[self.revision + 1] = state
            self.events += events
        return result

    def choose(self, op: Op) -> Op | Chosen:
        if not isinstance(op, Txn):
            return op
        succeeded = all(self.holds(compare) for compare in op.compare)
        return Chosen(succeeded, [self.choose(inner) for inner in (op.success if succeeded else op.failure)])

    def holds(self, compare: Compare) -> bool:
        kvs = [kv for key, kv in self.now.items() if inside(key, compare.key, compare.range_end)]
        if not kvs and compare.target == "value":
            return False
        result = RESULTS[compare.result]
        values = [getattr(kv, FIELDS.get(compare.target, compare.target)) for kv in kvs] or [0]
        return all(result(value, compare.value) for value in values)

    def check_against_the_data(self, chosen: Op | Chosen) -> None:
        """Two things differ inside a transaction: a put's key comes before its lease, and -1 is not "now"."""
        inside_a_txn = isinstance(chosen, Chosen)
        for op in leaves(chosen):
            if isinstance(op, Put):
                if not inside_a_txn and op.lease and op.lease not in self.leases:
                    raise LeaseNotFoundError
                if (op.ignore_value or op.ignore_lease) and op.key not in self.now:
                    raise KeyNotFoundError
                if op.lease and op.lease not in self.leases:
                    raise LeaseNotFoundError
        for op in leaves(chosen):
            if isinstance(op, Range):
                if op.revision > self.revision:
                    raise FutureRevisionError
                if op.revision < self.compact_revision and (op.revision > 0 or (inside_a_txn and op.revision)):
                    raise CompactedError(self.compact_revision)

    def apply(self, op: Op | Chosen, state: State, events: list[Event]) -> OpResult:
        next_revision = self.revision + 1
        if isinstance(op, Chosen):
            results = [self.apply(inner, state, events) for inner in op.branch]
            return TxnResult(op.succeeded, results, self.revision + bool(events))
        if isinstance(op, Put):
            old = state.get(op.key)
            value = old.value if old and op.ignore_value else op.value
            lease = old.lease if old and op.ignore_lease else op.lease
            created, version = (old.create_revision, old.version + 1) if old else (next_revision, 1)
            state[op.key] = KeyValue(op.key, value, created, next_revision, version, lease)
            events.append(Event("PUT", state[op.key], old))
            return PutResult(state[op.key], next_revision, old if op.prev_kv else None)
        if isinstance(op, DeleteRange):
            deleted = [state.pop(key) for key in sorted(state) if inside(key, op.key, op.range_end)]
            events += [Event("DELETE", KeyValue(kv.key, b"", 0, next_revision, 0), kv) for kv in deleted]
            return DeleteResult(len(deleted), self.revision + bool(events), deleted if op.prev_kv else [])
        assert isinstance(op, Range)
        return self.read(self.states[op.revision] if op.revision > 0 else state, op, self.revision + bool(events))

    @staticmethod
    def read(state: State, op: Range, newest: int) -> RangeResult:
        kvs = [state[key] for key in sorted(state) if inside(key, op.key, op.range_end)]
        count = len(kvs)
        if op.count_only:
            return RangeResult([], False, count, newest)
        bounds = (op.min_mod_revision, op.max_mod_revision, op.min_create_revision, op.max_create_revision)
        if op.limit > 0 and op.sort_order == "none" and not any(bounds):  # then a sort target sorts what is left
            kvs = kvs[: op.limit + 1]
        kvs = [kv for kv in kvs if kv.mod_revision >= op.min_mod_revision]
        kvs = [kv for kv in kvs if kv.mod_revision <= (op.max_mod_revision or 10**9)]
        kvs = [kv for kv in kvs if kv.create_revision >= op.min_create_revision]
        kvs = [kv for kv in kvs if kv.create_revision <= (op.max_create_revision or 10**9)]
        if op.sort_order != "none" or op.sort_target != "key":
            name = FIELDS.get(op.sort_target, op.sort_target)
            kvs.sort(key=lambda kv: getattr(kv, name), reverse=op.sort_order == "descend")
        more = 0 < op.limit < len(kvs)
        kvs = kvs[: op.limit] if more else kvs
        if op.keys_only:
            kvs = [KeyValue(kv.key, b"", kv.create_revision, kv.mod_revision, kv.version, kv.lease) for kv in kvs]
        return RangeResult(kvs, more, count, newest)

    def compact(self, revision: int) -> None:
        if revision <= self.compact_revision:
            raise CompactedError(self.compact_revision)
        if revision > self.revision:
            raise FutureRevisionError
        self.compact_revision = revision

    # leases, which never run out here

    def lease_grant(self, lease_id: int, ttl_seconds: int) -> int:
        if ttl_seconds > 9_000_000_000:
            raise LeaseTtlTooLargeError
        if lease_id in self.leases:
            raise LeaseExistsError
        self.leases[lease_id] = max(1, ttl_seconds)
        return self.leases[lease_id]

    def lease_revoke(self, lease_id: int) -> None:
        if lease_id not in self.leases:
            raise LeaseNotFoundError
        self.do(Txn((), tuple(DeleteRange(key) for key in self.lease_keys(lease_id))))
        del self.leases[lease_id]

    def lease_keys(self, lease_id: int) -> list[bytes]:
        return [key for key in sorted(self.now) if self.now[key].lease == lease_id]

    # watches

    def seen(
        self, start: bytes, range_end: bytes | None, first: int, prev_kv: bool, excluded: tuple[str, ...]
    ) -> list[list[Event]]:
        """What a watch from revision `first` has been told, a list a transaction."""
        transactions: dict[int, list[Event]] = {}
        for event in self.events:
            if event.kv.mod_revision < first or event.type in excluded or not inside(event.kv.key, start, range_end):
                continue
            shown = event if prev_kv else Event(event.type, event.kv)
            transactions.setdefault(event.kv.mod_revision, []).append(shown)
        return list(transactions.values())
