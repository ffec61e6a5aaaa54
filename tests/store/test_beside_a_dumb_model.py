"""Random operations give the same answers, errors and watch events from the store and from a dict per revision."""

from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from msgspec import structs

from kubeloop.store.buffered import BufferedWatch
from kubeloop.store.errors import CompactedError, DuplicateKeyError, FutureRevisionError
from kubeloop.store.model import Compare, DeleteRange, Event, Put, PutResult, Range, Txn
from kubeloop.store.store import Store
from kubeloop.store.watch import Watch
from tests.store.dumb import DumbStore

keys = st.sampled_from([b"a", b"a/1", b"a/2", b"a/2/x", b"b", b"b\xff", b"c"])
range_ends = st.sampled_from([None, b"\0", b"a0", b"a/2", b"b", b"c", b"d"])
values = st.sampled_from([b"", b"1", b"2", b"3"])
small = st.integers(0, 6)
rarely = st.sampled_from([0, 0, 0, 4, 8])
puts = st.builds(Put, keys, values, prev_kv=st.booleans())
deletes = st.builds(DeleteRange, keys, range_ends, prev_kv=st.booleans())
ranges = st.builds(
    Range,
    keys,
    range_ends,
    limit=st.integers(0, 3),
    sort_order=st.sampled_from(["none", "ascend", "descend"]),
    sort_target=st.sampled_from(["key", "version", "create", "mod", "value"]),
    keys_only=st.booleans(),
    count_only=st.booleans(),
    min_mod_revision=rarely,
    max_mod_revision=rarely,
    min_create_revision=rarely,
    max_create_revision=rarely,
)
compares = st.one_of(
    st.builds(
        Compare,
        keys,
        st.sampled_from(["version", "create", "mod", "lease"]),
        st.sampled_from(["=", "!=", ">", "<"]),
        small,
        range_ends,
    ),
    st.builds(Compare, keys, st.just("value"), st.sampled_from(["=", "!=", ">", "<"]), values, range_ends),
)
leaf_ops = st.lists(st.one_of(puts, deletes, st.builds(Range, keys, range_ends)), max_size=3)
inner_txns = st.builds(Txn, st.lists(compares, max_size=2), leaf_ops, leaf_ops)
branches = st.lists(st.one_of(puts, deletes, inner_txns), max_size=3)
txns = st.builds(Txn, st.lists(compares, max_size=2), branches, branches)


@dataclass
class Watching:
    key: bytes
    range_end: bytes | None
    first: int
    prev_kv: bool
    excluded: tuple[Any, ...]
    seen: list[list[Event]] = field(default_factory=list)
    handle: Watch | None = None
    buffered: BufferedWatch | None = None


class Beside(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.store = Store()
        self.dumb = DumbStore()
        self.watching: list[Watching] = []
        self.now = 0.0

    @rule(op=puts)
    def put(self, op: Put) -> None:
        kv = self.store.put(op.key, op.value)
        expected = self.dumb.do(op)
        assert isinstance(expected, PutResult)
        assert kv == expected.kv
        assert kv.value is op.value

    @rule(op=puts, data=st.data())
    def put_if(self, op: Put, data: st.DataObject) -> None:
        expected = data.draw(st.sampled_from([0, self.mod_revision(op.key), 3]))
        result = self.store.put_if(op.key, op.value, expected)
        assert result.succeeded == (expected == self.mod_revision(op.key))
        if result.succeeded:
            self.dumb.do(op)
        assert result.kv == self.dumb.now.get(op.key)
        assert result.revision == self.dumb.revision

    @rule(key=keys, data=st.data())
    def delete_if(self, key: bytes, data: st.DataObject) -> None:
        expected = data.draw(st.sampled_from([0, self.mod_revision(key), 3]))
        present = self.dumb.now.get(key)
        result = self.store.delete_if(key, expected)
        assert result.succeeded == (present is not None and present.mod_revision == expected)
        assert result.kv == present
        if result.succeeded:
            self.dumb.do(DeleteRange(key))
        assert result.revision == self.dumb.revision

    @rule(op=deletes)
    def delete_range(self, op: DeleteRange) -> None:
        assert self.store.delete_range(op.key, op.range_end, prev_kv=op.prev_kv) == self.dumb.do(op)

    @rule(txn=txns)
    def txn(self, txn: Txn) -> None:
        before = self.store.revision
        try:
            result = self.store.txn(txn)
        except DuplicateKeyError:
            assert self.store.revision == before
            return
        assert result == self.dumb.do(txn)

    @rule(op=ranges, back=st.sampled_from([None, 0, 1, 2, 3, 5, 8, -1]))
    def range(self, op: Range, back: int | None) -> None:
        if back is not None:
            op = structs.replace(op, revision=max(0, self.dumb.revision - back))
        try:
            expected = self.dumb.do(op)
        except (CompactedError, FutureRevisionError) as error:
            try:
                self.store.range_op(op)
            except type(error) as raised:
                assert str(raised) == str(error)
                return
            raise AssertionError(f"{error} expected") from None
        assert self.store.range_op(op) == expected

    @rule(back=st.sampled_from([-1, 0, 3, 5, 8, 12, 20]))
    def compact(self, back: int) -> None:
        revision = self.dumb.revision - back
        try:
            self.store.compact(revision)
        except FutureRevisionError:
            assert revision > self.dumb.revision
        except CompactedError as error:
            assert revision <= self.dumb.compact_revision == error.compact_revision
        else:
            self.dumb.compact_revision = revision

    @precondition(lambda self: len(self.watching) < 8)
    @rule(
        key=keys,
        range_end=range_ends,
        back=st.sampled_from([None, -2, 0, 1, 2, 4, 8, 16]),
        prev_kv=st.booleans(),
        excluded=st.sampled_from([(), ("PUT",), ("DELETE",)]),
        events_max=st.sampled_from([None, 1, 3]),
    )
    def watch(
        self,
        key: bytes,
        range_end: bytes | None,
        back: int | None,
        prev_kv: bool,
        excluded: tuple[Any, ...],
        events_max: int | None,
    ) -> None:
        start = 0 if back is None else max(1, self.dumb.revision - back)
        w = Watching(key, range_end, start or self.dumb.revision + 1, prev_kv, excluded)
        try:
            if events_max is None:
                w.handle = self.store.watch(
                    key, range_end, start_revision=start, prev_kv=prev_kv, filters=excluded, sink=w.seen.append
                )
            else:
                w.buffered = BufferedWatch(
                    self.store,
                    key,
                    range_end,
                    start_revision=start,
                    prev_kv=prev_kv,
                    filters=excluded,
                    events_max=events_max,
                )
        except CompactedError:
            assert 0 < start < self.dumb.compact_revision
        else:
            self.watching.append(w)

    @precondition(lambda self: bool(self.watching))
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        w = self.watching.pop(data.draw(st.integers(0, len(self.watching) - 1)))
        handle = w.handle or w.buffered
        assert handle is not None
        handle.cancel()

    @rule()
    def take(self) -> None:
        for w in [w for w in self.watching if w.buffered]:
            assert w.buffered is not None
            try:
                while taken := w.buffered.take():
                    w.seen += taken
            except CompactedError as error:
                assert error.compact_revision == self.dumb.compact_revision
                self.watching.remove(w)
                assert w.seen == self.expected(w)[: len(w.seen)]
            else:
                assert w.seen == self.expected(w)
                assert w.buffered.progress_revision == self.dumb.revision

    @precondition(lambda self: self.dumb.revision % 5 == 0)
    @rule()
    def restart_from_a_snapshot(self) -> None:
        self.take()
        self.store = Store.restore(self.store.snapshot(), now=self.now)
        self.watching.clear()

    @invariant()
    def watches_were_told_everything_once_in_order(self) -> None:
        for w in self.watching:
            if w.handle is not None:
                assert w.seen == self.expected(w)

    def teardown(self) -> None:
        for revision, state in self.dumb.states.items():
            if revision >= self.dumb.compact_revision:
                expected = [state[key] for key in sorted(state)]
                assert self.store.range(b"\0", b"\0", revision=revision).kvs == expected

    def expected(self, w: Watching) -> list[list[Event]]:
        return self.dumb.seen(w.key, w.range_end, w.first, w.prev_kv, w.excluded)

    def mod_revision(self, key: bytes) -> int:
        kv = self.dumb.now.get(key)
        return kv.mod_revision if kv else 0


TestBesideADumbModel = Beside.TestCase
TestBesideADumbModel.settings = settings(
    max_examples=50,
    stateful_step_count=50,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],  # a failure is small enough unshrunk, and shrinking takes minutes
    suppress_health_check=list(HealthCheck),
)
