"""A reader that comes late gets everything, in order, from a buffer that never grows past its bound."""

import pytest

from kubeloop.store.buffered import BufferedWatch
from kubeloop.store.errors import CompactedError
from kubeloop.store.store import Store


def take_all(watch: BufferedWatch) -> list[int]:
    taken = []
    while transactions := watch.take():
        taken += [events[0].kv.mod_revision for events in transactions]
    return taken


def test_an_overflowing_watch_stops_listening_and_catches_up_from_history() -> None:
    store = Store()
    watch = BufferedWatch(store, b"a", events_max=3)
    for _ in range(10):
        store.put(b"a", b"")
    assert watch.behind
    assert store.watches == 0
    assert len(watch.take()) == 3
    assert watch.progress_revision is None
    assert take_all(watch) == list(range(5, 12))
    assert not watch.behind
    assert store.watches == 1
    store.put(b"a", b"")
    assert take_all(watch) == [12]
    assert watch.progress_revision == 12


def test_the_reader_is_called_when_something_begins_to_wait() -> None:
    store, calls = Store(), list[int]()
    watch = BufferedWatch(store, b"a", on_ready=lambda: calls.append(store.revision))
    for _ in range(3):
        store.put(b"a", b"")
    assert calls == [2]
    watch.take()
    store.put(b"a", b"")
    assert calls == [2, 5]


def test_a_reader_overtaken_by_compaction_is_told_the_compact_revision() -> None:
    store = Store()
    watch = BufferedWatch(store, b"a", events_max=1)
    for _ in range(5):
        store.put(b"a", b"")
    store.compact(5)
    assert [events[0].kv.mod_revision for events in watch.take()] == [2]
    with pytest.raises(CompactedError) as caught:
        watch.take()
    assert caught.value.compact_revision == 5


def test_what_waits_is_still_given_after_the_store_closed_the_watch() -> None:
    store = Store()
    watch = BufferedWatch(store, b"a")
    store.put(b"a", b"")
    store.close_watches(ConnectionError("etcd stopped"))
    assert len(watch.take()) == 1
    with pytest.raises(ConnectionError, match="etcd stopped"):
        watch.take()


def test_a_cancelled_watch_has_nothing_more() -> None:
    store = Store()
    watch = BufferedWatch(store, b"a", events_max=1)
    for _ in range(5):
        store.put(b"a", b"")
    watch.cancel()
    assert watch.take() == []
