"""Transactions and single writes answer, and refuse, as etcd does."""

import pytest

from kubeloop.store import errors
from kubeloop.store.model import Compare, DeleteRange, DeleteResult, Event, Put, PutResult, Range, RangeResult, Txn
from kubeloop.store.store import Store


def test_revisions_versions_and_create_revisions_count_as_in_etcd() -> None:
    store = Store()
    assert store.revision == 1
    first, second = store.put(b"a", b"1"), store.put(b"a", b"2")
    assert (first.create_revision, first.mod_revision, first.version) == (2, 2, 1)
    assert (second.create_revision, second.mod_revision, second.version) == (2, 3, 2)
    store.delete_range(b"a")
    again = store.put(b"a", b"3")
    assert (again.create_revision, again.mod_revision, again.version) == (5, 5, 1)


def test_operations_of_one_transaction_see_the_ones_before() -> None:
    store = Store()
    store.put(b"a", b"1")
    result = store.txn(Txn((), (Range(b"a", b"z"), Put(b"b", b"2"), Range(b"a", b"z"), DeleteRange(b"a", b"b", True))))
    before, put, after, deleted = result.responses
    assert isinstance(before, RangeResult) and [kv.key for kv in before.kvs] == [b"a"]
    assert isinstance(put, PutResult) and put.kv.mod_revision == 3
    assert isinstance(after, RangeResult) and [kv.key for kv in after.kvs] == [b"a", b"b"]
    assert isinstance(deleted, DeleteResult) and deleted.deleted == 1


def test_nothing_is_written_when_any_operation_of_the_branch_is_refused() -> None:
    store = Store()
    for refused in (Put(b"b", b"", lease=7), Put(b"b", b"", ignore_value=True), Range(b"b", revision=9)):
        with pytest.raises(errors.StoreError):
            store.txn(Txn((), (Put(b"a", b"1"), refused)))
    assert (store.revision, store.keys) == (1, 0)
    assert store.txn(Txn((Compare(b"a", "version", "=", 1),), (Put(b"b", b"", lease=7),))).succeeded is False


def test_a_key_may_be_put_and_deleted_with_all_that_follow_it_as_etcd_lets_it() -> None:
    store = Store()
    seen: list[list[Event]] = []
    store.watch(b"a", sink=seen.append)
    result = store.txn(Txn((), (Put(b"a", b"1"), DeleteRange(b"a", b"\0"))))
    assert (result.revision, store.keys, store.range(b"a", revision=2).kvs) == (2, 0, [])
    assert [[(event.type, event.kv.mod_revision) for event in events] for events in seen] == [
        [("PUT", 2), ("DELETE", 2)]
    ]
    store.txn(Txn((), (DeleteRange(b"a", b"\0"), Put(b"a", b"2"))))
    store.compact(3)
    assert [(kv.value, kv.create_revision, kv.version) for kv in store.range(b"a").kvs] == [(b"2", 3, 1)]


def test_a_put_that_keeps_what_its_transaction_has_deleted_is_refused() -> None:
    store = Store()
    store.put(b"b", b"1")
    keeping = Put(b"b", b"", ignore_value=True)
    for ops in ((DeleteRange(b"a", b"\0"), keeping), (Txn((), (DeleteRange(b"b", b"\0"),)), Txn((), (keeping,)))):
        with pytest.raises(errors.KeyNotFoundError):
            store.txn(Txn((), ops))
    assert store.txn(Txn((), (keeping, DeleteRange(b"a", b"\0")))).revision == 3


@pytest.mark.parametrize(
    "ops",
    [
        (Put(b"a", b""), Put(b"a", b"")),
        (DeleteRange(b"a", b"c"), Put(b"b", b"")),
        (Txn((), (Put(b"a", b""),), ()), Put(b"a", b"")),
        (Txn((), (), (DeleteRange(b"a"),)), Put(b"a", b"")),
        (Txn((), (Put(b"a", b""),)), Txn((), (), (Put(b"a", b""),))),
        (DeleteRange(b"\0", b"z"), Txn((), (Put(b"a", b""),), (Put(b"a", b""),))),
    ],
)
def test_a_key_written_twice_is_refused(ops: tuple[Put | DeleteRange | Txn, ...]) -> None:
    for txn in (Txn((), ops), Txn((), (), ops), Txn((), (Txn((), ops),))):
        with pytest.raises(errors.DuplicateKeyError, match="^etcdserver: duplicate key given in txn request$"):
            Store().txn(txn)


def test_branches_that_exclude_each_other_may_write_the_same_key() -> None:
    either = Txn((Compare(b"a", "version", ">", 0),), (Put(b"a", b"then"),), (Put(b"a", b"else"),))
    store = Store()
    store.txn(Txn((), (either, Put(b"b", b""))))
    kv = store.get(b"a")
    assert kv is not None and kv.value == b"else"


def test_a_compare_over_a_range_must_hold_for_every_key() -> None:
    store = Store()
    store.put(b"a", b"1")
    store.put(b"b", b"2")
    assert store.txn(Txn((Compare(b"a", "value", "<", b"3", b"c"),))).succeeded
    assert not store.txn(Txn((Compare(b"a", "value", "<", b"2", b"c"),))).succeeded
    assert not store.txn(Txn((Compare(b"x", "value", "!=", b"2", b"y"),))).succeeded
    assert store.txn(Txn((Compare(b"x", "mod", "=", 0, b"y"),))).succeeded


@pytest.mark.parametrize(
    ("op", "text"),
    [
        (Put(b"", b""), "etcdserver: key is not provided"),
        (Put(b"a", b"1", ignore_value=True), "etcdserver: value is provided"),
        (Put(b"a", b"", lease=1, ignore_lease=True), "etcdserver: lease is provided"),
        (Put(b"a", b"", ignore_value=True), "etcdserver: key not found"),
        (Put(b"a", b"", lease=1), "etcdserver: requested lease not found"),
    ],
)
def test_puts_are_refused_in_etcds_words(op: Put, text: str) -> None:
    with pytest.raises(errors.StoreError, match=f"^{text}$"):
        Store().put_op(op)
    with pytest.raises(errors.StoreError, match=f"^{text}$"):
        Store().txn(Txn((), (op,)))


def test_more_operations_than_allowed_are_refused() -> None:
    with pytest.raises(errors.TooManyOpsError, match="^etcdserver: too many operations in txn request$"):
        Store(txn_ops_max=2).txn(Txn((), [Range(b"a")] * 3))


def test_ignoring_value_or_lease_keeps_what_is_there() -> None:
    store = Store()
    lease = store.lease_grant(10, now=0)
    store.put(b"a", b"1", lease.id)
    assert store.put_op(Put(b"a", b"2", ignore_lease=True)).kv.lease == lease.id
    kept = store.put_op(Put(b"a", b"", ignore_value=True, prev_kv=True))
    assert (kept.kv.value, kept.kv.lease) == (b"2", 0)
    assert kept.prev_kv is not None and kept.prev_kv.lease == lease.id
    assert lease.keys == {}


def test_what_the_disk_refuses_never_happened() -> None:
    store, calls = Store(keeps_changes=True), list[list[Event]]()
    lease = store.lease_grant(10, now=0)
    store.put(b"a", b"1", lease.id)
    store.put(b"a/deleted", b"1")
    store.delete_range(b"a/deleted")
    store.settle(len(store.changes))
    before = store.snapshot()
    store.watch(b"\0", b"\0", sink=calls.append)
    for write in (
        lambda: store.put(b"a", b"2"),
        lambda: store.put(b"new", b"2"),
        lambda: store.put(b"a/deleted", b"2"),
        lambda: store.delete_range(b"a", b"b"),
        lambda: store.txn(Txn((), (Put(b"newer", b"1"), Put(b"b", b"2", lease.id), DeleteRange(b"c")))),
        lambda: store.lease_revoke(lease.id),
        lambda: store.lease_grant(10, 99, now=0),
        lambda: store.compact(2),
    ):
        write()
    assert store.published_revision == before.revision
    store.roll_back()
    assert store.snapshot() == before
    assert calls == []
    assert list(lease.keys) == [b"a"]
    store.put(b"a/deleted", b"2")
    store.delete_range(b"\0", b"\0")
    store.settle(1)
    assert [event.kv.key for [event] in calls] == [b"a/deleted"]
    store.settle(1)
    assert store.keys == 0 and len(calls) == 2


def test_a_watch_from_the_past_is_not_told_of_what_is_not_on_disk_yet() -> None:
    store, calls = Store(keeps_changes=True), list[list[Event]]()
    store.put(b"a", b"1")
    store.settle(1)
    store.put(b"a", b"2")
    store.watch(b"a", sink=calls.append, start_revision=1)
    assert [event.kv.value for [event] in calls] == [b"1"]
    store.settle(1)
    assert [event.kv.value for [event] in calls] == [b"1", b"2"]
