"""The store: one sequence of transactions, each a revision, over a key space with watches and leases.

Nothing here waits: a call returns when the change is made and every watch has been told of it.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from kubeloop.store.changes import Change, Compacted, Granted, Revoked, Written
from kubeloop.store.checks import check_put, check_txn
from kubeloop.store.errors import (
    CompactedError,
    EmptyKeyError,
    FutureRevisionError,
    KeyNotFoundError,
    LeaseNotFoundError,
)
from kubeloop.store.history import History
from kubeloop.store.lease import Lease, Leases, LeaseStatus
from kubeloop.store.model import (
    DELETE,
    PUT,
    CasResult,
    DeleteRange,
    DeleteResult,
    Event,
    EventType,
    KeyValue,
    Op,
    OpResult,
    Put,
    PutResult,
    Range,
    RangeResult,
    SortOrder,
    SortTarget,
    Txn,
    TxnResult,
)
from kubeloop.store.mvcc import KeySpace
from kubeloop.store.reads import check_range, check_range_in_txn, holds, read_range
from kubeloop.store.snapshot import Snapshot
from kubeloop.store.watch import OnClosed, Sink, Watch, WatchHub

TXN_OPS_MAX = 128


class Store:
    """etcd in memory.

    `revision` starts at 1, as an empty etcd's does; `compact_revision` is -1 until the first compaction. A `value` is
    kept and handed on as the very object that was given. With `keeps_changes`, every change waits in `changes` until
    `settle` or `roll_back`, and no watch is told of it before.
    """

    def __init__(self, *, keeps_changes: bool = False, txn_ops_max: int = TXN_OPS_MAX) -> None:
        self.revision = 1
        self.compact_revision = -1
        self.keeps_changes = keeps_changes
        self.changes: deque[Change] = deque()
        self.leases = Leases()
        self._txn_ops_max = txn_ops_max
        self._space = KeySpace()
        self.log = History()
        self._hub = WatchHub()

    # Reading

    def range(
        self,
        key: bytes,
        range_end: bytes | None = None,
        *,
        revision: int = 0,
        limit: int = 0,
        sort_order: SortOrder = "none",
        sort_target: SortTarget = "key",
        keys_only: bool = False,
        count_only: bool = False,
        min_mod_revision: int = 0,
        max_mod_revision: int = 0,
        min_create_revision: int = 0,
        max_create_revision: int = 0,
    ) -> RangeResult:
        """Raises `CompactedError`, `FutureRevisionError`, `EmptyKeyError`, `InvalidSortOptionError`."""
        return self.range_op(
            Range(
                key,
                range_end,
                revision,
                limit,
                sort_order,
                sort_target,
                keys_only,
                count_only,
                min_mod_revision,
                max_mod_revision,
                min_create_revision,
                max_create_revision,
            )
        )

    def range_op(self, op: Range) -> RangeResult:
        check_range(op, self.revision, self.compact_revision)
        return read_range(self._space, op, self.revision)

    def get(self, key: bytes) -> KeyValue | None:
        """The living version of one key: `range` without its wrapping."""
        return self._space.current.get(key)

    # Writing one key: the paths that an API server takes for every object

    def put(self, key: bytes, value: bytes, lease: int = 0) -> KeyValue:
        """Write a key. Raises `EmptyKeyError`, `LeaseNotFoundError`."""
        if not key:
            raise EmptyKeyError
        if lease and lease not in self.leases:
            raise LeaseNotFoundError
        revision = self.revision + 1
        event = self._write(key, value, lease, self._space.current.get(key), revision)
        self._commit_one(event)
        return event.kv

    def put_if(self, key: bytes, value: bytes, mod_revision: int, lease: int = 0) -> CasResult:
        """Write a key that is still at `mod_revision`; 0 means that it must not be there.

        The same as a transaction with that compare, a put, and a range when the compare fails.
        """
        previous = self._space.current.get(key)
        if (previous.mod_revision if previous is not None else 0) != mod_revision:
            return CasResult(False, previous, self.revision)
        if not key:
            raise EmptyKeyError
        if lease and lease not in self.leases:
            raise LeaseNotFoundError
        revision = self.revision + 1
        event = self._write(key, value, lease, previous, revision)
        self._commit_one(event)
        return CasResult(True, event.kv, revision)

    def delete_if(self, key: bytes, mod_revision: int) -> CasResult:
        """Delete a key that is still at `mod_revision`; of a key that is not there, nothing is deleted."""
        previous = self._space.current.get(key)
        if previous is None or previous.mod_revision != mod_revision:
            return CasResult(False, previous, self.revision)
        revision = self.revision + 1
        self._commit_one(self._erase(previous, revision))
        return CasResult(True, previous, revision)

    def put_op(self, op: Put) -> PutResult:
        check_put(op)
        if op.lease and op.lease not in self.leases:  # outside a transaction the lease comes first
            raise LeaseNotFoundError
        self._check_put(op)
        event, result = self._put(op, self.revision + 1)
        self._commit_one(event)
        return result

    def delete_range(self, key: bytes, range_end: bytes | None = None, *, prev_kv: bool = False) -> DeleteResult:
        """Delete a key or a range at one revision; deleting nothing takes none. Raises `EmptyKeyError`."""
        if not key:
            raise EmptyKeyError
        result = self._run([DeleteRange(key, range_end, prev_kv)])[0]
        assert isinstance(result, DeleteResult)
        return result

    # Transactions

    def txn(self, txn: Txn) -> TxnResult:
        """Run one branch atomically at one revision. All of it is checked before any of it is done.

        Raises `DuplicateKeyError`, `TooManyOpsError`, and what a range or put in the branch that runs raises.
        """
        check_txn(txn, self._txn_ops_max)
        succeeded = self._holds(txn)
        branch = txn.success if succeeded else txn.failure
        if len(branch) == 1 and type(branch[0]) is Put:
            put = branch[0]
            self._check_put(put)
            event, written = self._put(put, self.revision + 1)
            self._commit_one(event)
            return TxnResult(succeeded, [written], written.revision)
        result = self._run([txn])[0]
        assert isinstance(result, TxnResult)
        return result

    def _run(self, ops: list[Op]) -> list[OpResult]:
        later = Later([], [])
        plan = [self._planned(op, later) for op in ops]
        for op in later.ranges:
            check_range_in_txn(op, self.revision, self.compact_revision)
        newest = self.revision
        events: list[Event] = []
        results = [self._apply(op, branch, newest + 1, events) for op, branch in plan]
        if events:
            self._commit(events)
        return results

    def _planned(self, op: Op, later: "Later") -> "tuple[Op, Plan | None]":
        """Choose the branches of `op` and check the puts in them, before anything is written."""
        if isinstance(op, Put):
            self._check_put(op)
            if (op.ignore_value or op.ignore_lease) and any(start <= op.key for start in later.deleted_from):
                raise KeyNotFoundError  # an etcd finds that out too late, and ends
        elif isinstance(op, Range):
            later.ranges.append(op)
        elif isinstance(op, Txn):
            succeeded = self._holds(op)
            branch = op.success if succeeded else op.failure
            return op, Plan(succeeded, [self._planned(inner, later) for inner in branch])
        elif op.range_end == b"\0":
            later.deleted_from.append(op.key)
        return op, None

    def _holds(self, txn: Txn) -> bool:
        for compare in txn.compare:  # noqa: SIM110 - a generator costs more than the compare
            if not holds(self._space, compare):
                return False
        return True

    def _check_put(self, op: Put) -> None:
        if (op.ignore_value or op.ignore_lease) and op.key not in self._space.current:
            raise KeyNotFoundError
        if op.lease and op.lease not in self.leases:
            raise LeaseNotFoundError

    def _put(self, op: Put, revision: int) -> tuple[Event, PutResult]:
        previous = self._space.current.get(op.key)
        value = previous.value if op.ignore_value and previous is not None else op.value
        lease = previous.lease if op.ignore_lease and previous is not None else op.lease
        event = self._write(op.key, value, lease, previous, revision)
        return event, PutResult(event.kv, revision, previous if op.prev_kv else None)

    def _apply(self, op: Op, plan: "Plan | None", revision: int, events: list[Event]) -> OpResult:
        match op:
            case Range():
                return read_range(self._space, op, revision if events else revision - 1)
            case Put():
                event, result = self._put(op, revision)
                events.append(event)
                return result
            case DeleteRange():
                found = read_range(self._space, Range(op.key, op.range_end), revision).kvs
                events.extend([self._erase(kv, revision) for kv in found])
                return DeleteResult(len(found), revision if events else revision - 1, found if op.prev_kv else [])
            case Txn():
                assert plan is not None
                responses = [self._apply(inner, nested, revision, events) for inner, nested in plan.ops]
                return TxnResult(plan.succeeded, responses, revision if events else revision - 1)

    def _write(self, key: bytes, value: bytes, lease: int, previous: KeyValue | None, revision: int) -> Event:
        if previous is None:
            kv = KeyValue(key, value, revision, revision, 1, lease)
            if lease:
                self.leases.move(key, 0, lease)
        else:
            kv = KeyValue(key, value, previous.create_revision, revision, previous.version + 1, lease)
            if lease != previous.lease:
                self.leases.move(key, previous.lease, lease)
        self._space.put(kv, previous)
        return Event(PUT, kv, previous)

    def _erase(self, previous: KeyValue, revision: int) -> Event:
        tombstone = KeyValue(previous.key, b"", 0, revision, 0)
        self._space.delete(previous.key, tombstone)
        if previous.lease:
            self.leases.move(previous.key, previous.lease, 0)
        return Event(DELETE, tombstone, previous)

    def _commit_one(self, event: Event) -> None:
        self.revision = event.kv.mod_revision
        self.log.events.append(event)
        if self.keeps_changes:
            self.changes.append(Written([event]))
        else:
            self._hub.publish_one(event)

    def _commit(self, events: list[Event]) -> None:
        self.revision = events[0].kv.mod_revision
        self.log.events.extend(events)
        if self.keeps_changes:
            self.changes.append(Written(events))
        else:
            self._hub.publish(events)

    # Changes that wait for the disk

    def settle(self, count: int) -> None:
        """The oldest `count` changes are on disk: tell the watches, and forget what was compacted."""
        for _ in range(count):
            change = self.changes.popleft()
            if type(change) is Written:
                self._hub.publish(change.events)
            elif type(change) is Compacted:
                self._forget_before(change.revision)

    def roll_back(self) -> None:
        """Nothing that waits happened."""
        while self.changes:
            change = self.changes.pop()
            match change:
                case Written(events):
                    self.revision = events[0].kv.mod_revision - 1
                    self.log.undo(events)
                    self._undo(events)
                case Granted(lease):
                    self.leases.remove(lease.id)
                case Revoked(lease):
                    self.leases.put_back(lease)
                case Compacted(_, previous):
                    self.compact_revision = previous

    def _undo(self, events: list[Event]) -> None:
        for event in reversed(events):
            self._space.undo(event)
            before = event.prev_kv.lease if event.prev_kv is not None else 0
            if event.kv.lease != before:
                self.leases.move(event.kv.key, event.kv.lease, before)

    # Compaction

    def compact(self, revision: int) -> None:
        """Forget what only revisions before `revision` can read. Raises `CompactedError`, `FutureRevisionError`.

        The cost is that of the events forgotten. Deletions at `revision` itself can still be watched.
        """
        if revision <= self.compact_revision:
            raise CompactedError(self.compact_revision)
        if revision > self.revision:
            raise FutureRevisionError
        if self.keeps_changes:
            self.changes.append(Compacted(revision, self.compact_revision))
        self.compact_revision = revision
        if not self.keeps_changes:
            self._forget_before(revision)

    def _forget_before(self, revision: int) -> None:
        log = self.log
        for event in log.events[: log.position(revision + 1)]:
            self._space.forget_before(event.kv.key, revision)
        log.forget_before(revision)

    # Leases. `now` is in seconds of whatever clock the caller keeps to.

    def lease_grant(self, ttl_seconds: int, lease_id: int = 0, *, now: float) -> Lease:
        """Raises `LeaseExistsError`, `LeaseTtlTooLargeError`."""
        lease = self.leases.grant(ttl_seconds, lease_id, now)
        if self.keeps_changes:
            self.changes.append(Granted(lease))
        return lease

    def lease_keep_alive(self, lease_id: int, *, now: float) -> Lease:
        """Raises `LeaseNotFoundError`."""
        return self.leases.keep_alive(lease_id, now)

    def lease_revoke(self, lease_id: int) -> None:
        """Delete the lease and, at one revision, the keys attached to it. Raises `LeaseNotFoundError`."""
        lease = self.leases.get(lease_id)
        kvs = [self._space.current[key] for key in sorted(lease.keys)]
        events = [self._erase(kv, self.revision + 1) for kv in kvs]
        self.leases.remove(lease_id)
        if events:
            self._commit(events)
        if self.keeps_changes:
            self.changes.append(Revoked(lease))

    def lease_time_to_live(self, lease_id: int, *, now: float) -> LeaseStatus:
        return self.leases.status(lease_id, now)

    def expire(self, now: float) -> list[int]:
        """Revoke every lease whose time is over and return their ids. `leases.next_deadline()` says when to call."""
        deadline = self.leases.next_deadline()
        if deadline is None or deadline > now:
            return []
        expired = self.leases.expired(now)
        for lease_id in expired:
            self.lease_revoke(lease_id)
        return expired

    # Watches

    def watch(
        self,
        key: bytes,
        range_end: bytes | None = None,
        *,
        start_revision: int = 0,
        prev_kv: bool = False,
        filters: Iterable[EventType] = (),
        sink: Sink,
        on_closed: OnClosed | None = None,
    ) -> Watch:
        """Tell `sink` of the events of a key or range from `start_revision` (0: from the next one) on.

        Events of the past are delivered before this returns. `filters` names the event types that are left out;
        `prev_kv` adds what the key held before. A sink that raises ends its watch: `on_closed(error)`; without an
        `on_closed` the error reaches the writer, after the write. Raises `CompactedError`, `EmptyKeyError`.
        """
        if not key and not range_end:
            raise EmptyKeyError
        if 0 < start_revision < self.compact_revision:
            raise CompactedError(self.compact_revision)
        watch = self._hub.new(
            key,
            range_end or None,
            start_revision or self.published_revision + 1,
            sink,
            prev_kv=prev_kv,
            excluded=frozenset(filters),
            on_closed=on_closed,
        )
        for events in self.history(watch.next_revision, watch.selects):
            watch.deliver(events)
            if watch.closed:
                break
        self._hub.add(watch)
        return watch

    def history(self, start_revision: int, selects: Callable[[bytes], bool]) -> Iterator[list[Event]]:
        """The kept transactions from `start_revision` on, each as its events with a selected key.

        Lazy: what is written while it is read is included, and `CompactedError` is raised where compaction was faster.
        """
        if start_revision < self.compact_revision:
            raise CompactedError(self.compact_revision)
        try:
            yield from self.log.transactions(start_revision, selects, lambda: self.published_revision)
        except LookupError:
            raise CompactedError(self.compact_revision) from None

    @property
    def published_revision(self) -> int:
        """The revision through which every watch has been told: `revision`, but less inside a sink that has written,
        and less what waits in `changes`."""
        newest = self.revision
        if self.changes:
            for change in self.changes:
                if type(change) is Written:
                    newest = change.events[0].kv.mod_revision - 1
                    break
        return self._hub.published_revision(newest)

    @property
    def watches(self) -> int:
        """How many watches there are."""
        return len(self._hub)

    @property
    def keys(self) -> int:
        """How many living keys there are."""
        return len(self._space.current)

    def close_watches(self, error: Exception | None = None) -> None:
        """End every watch, as etcd's end does to its clients."""
        self._hub.close_all(error)

    # Copying

    def snapshot(self) -> Snapshot:
        """Everything, as it is now: what `restore` makes the same store of. Costs one walk over the keys."""
        oldest = max(self.compact_revision, 1)
        base = list(self._space.between_at(b"\0", b"\0", oldest))
        leases = [(lease.id, lease.ttl_seconds) for lease in self.leases.all()]
        return Snapshot(self.revision, self.compact_revision, base, list(self.log.events), leases)

    @classmethod
    def restore(
        cls, snapshot: Snapshot, *, now: float, keeps_changes: bool = False, txn_ops_max: int = TXN_OPS_MAX
    ) -> "Store":
        """A store that answers as the one the snapshot was taken of. Leases get their whole time again, as in etcd."""
        store = cls(keeps_changes=keeps_changes, txn_ops_max=txn_ops_max)
        for lease_id, ttl_seconds in snapshot.leases:
            store.leases.grant(ttl_seconds, lease_id, now)
        for kv in snapshot.base:
            store._space.put(kv, None)
            if kv.lease in store.leases:
                store.leases.move(kv.key, 0, kv.lease)
        store.revision, store.compact_revision = snapshot.revision, snapshot.compact_revision
        store.log.events.extend(snapshot.log)
        for event in snapshot.log:
            if event.kv.mod_revision > snapshot.compact_revision:
                store._redo(event)
        return store

    def _redo(self, event: Event) -> None:
        previous = event.prev_kv
        if event.type == PUT:
            self._space.put(event.kv, previous)
        else:
            self._space.delete(event.kv.key, event.kv)
        before = previous.lease if previous is not None else 0
        self.leases.move(event.kv.key, before, event.kv.lease if event.kv.lease in self.leases else 0)


class Plan:
    """The branch that a transaction takes, chosen before anything is written."""

    __slots__ = ("ops", "succeeded")

    def __init__(self, succeeded: bool, ops: "list[tuple[Op, Plan | None]]") -> None:
        self.succeeded = succeeded
        self.ops = ops


class Later(NamedTuple):
    """What planning a transaction keeps for later: ranges are checked after all puts (in etcd up to 3.5; 3.6 takes all
    in turn); from these keys on everything is deleted before what follows is done."""

    ranges: list[Range]
    deleted_from: list[bytes]
