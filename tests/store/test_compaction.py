"""Compaction forgets exactly what nobody may read any more."""

import pytest

from kubeloop.store.errors import CompactedError, FutureRevisionError
from kubeloop.store.store import Store


def test_compaction_keeps_the_answers_of_the_revisions_that_are_left() -> None:
    store = Store()
    for number in range(20):
        store.put(b"abc"[number % 3 :][:1], str(number).encode())
    store.delete_range(b"a")
    kept = [store.range(b"\0", b"\0", revision=revision).kvs for revision in range(10, 23)]
    store.compact(10)
    assert [store.range(b"\0", b"\0", revision=revision).kvs for revision in range(10, 23)] == kept
    with pytest.raises(CompactedError, match="^etcdserver: mvcc: required revision has been compacted$"):
        store.range(b"a", revision=9)


def test_compaction_of_the_past_and_of_the_future_is_refused() -> None:
    store = Store()
    store.put(b"a", b"")
    store.compact(2)
    with pytest.raises(CompactedError):
        store.compact(2)
    with pytest.raises(FutureRevisionError, match="^etcdserver: mvcc: required revision is a future revision$"):
        store.compact(3)
    with pytest.raises(FutureRevisionError):
        store.range(b"a", revision=3)


def test_compaction_gives_back_everything_but_the_living_keys() -> None:
    store = Store()
    for number in range(1_000):
        store.put(b"key-%d" % (number % 50), b"")
    store.delete_range(b"\0", b"\0")
    store.put(b"alive", b"")
    store.compact(store.revision)
    snapshot = store.snapshot()
    assert [kv.key for kv in snapshot.base] == [b"alive"]
    assert len(snapshot.log) == 1
    assert not store._space.history
    assert not store._space.dead_keys
