"""Watches keep etcd's promises: ordered, unique, reliable, atomic, resumable."""

from collections.abc import Callable
from random import Random

import pytest

from kubeloop.store.errors import CompactedError, EmptyKeyError
from kubeloop.store.model import DeleteRange, Event, Put, Txn, prefix_range_end
from kubeloop.store.store import Store
from kubeloop.store.watch import in_range


def collect(seen: list[bytes]) -> Callable[[list[Event]], None]:
    return lambda events: seen.extend(event.kv.key for event in events)


def revisions(calls: list[list[Event]]) -> list[int]:
    return [events[0].kv.mod_revision for events in calls]


def test_a_transaction_is_one_call_with_all_its_events_in_order() -> None:
    store, calls = Store(), list[list[Event]]()
    store.put(b"a/1", b"old")
    store.watch(b"a/", prefix_range_end(b"a/"), sink=calls.append, prev_kv=True)
    store.txn(Txn((), (Put(b"a/2", b"new"), Put(b"b", b"elsewhere"), DeleteRange(b"a/1"))))
    assert [[(event.type, event.kv.key) for event in events] for events in calls] == [
        [("PUT", b"a/2"), ("DELETE", b"a/1")]
    ]
    assert calls[0][1].prev_kv is not None and calls[0][1].prev_kv.value == b"old"
    assert {event.kv.mod_revision for event in calls[0]} == {3}


def test_a_watch_from_the_past_replays_and_goes_on_without_a_gap() -> None:
    store, calls = Store(), list[list[Event]]()
    for value in b"123":
        store.put(b"a", bytes([value]))
    store.watch(b"a", start_revision=3, sink=calls.append)
    store.put(b"a", b"4")
    assert revisions(calls) == [3, 4, 5]


def test_a_watch_from_the_future_begins_there() -> None:
    store, calls = Store(), list[list[Event]]()
    store.watch(b"a", start_revision=4, sink=calls.append)
    for value in b"1234":
        store.put(b"a", bytes([value]))
    assert revisions(calls) == [4, 5]


def test_a_compacted_start_is_refused_with_the_oldest_revision_left() -> None:
    store = Store()
    for value in b"1234":
        store.put(b"a", bytes([value]))
    store.delete_range(b"a")
    store.compact(6)
    with pytest.raises(CompactedError) as caught:
        store.watch(b"a", start_revision=5, sink=lambda events: None)
    assert caught.value.compact_revision == 6
    calls = list[list[Event]]()
    store.watch(b"a", start_revision=6, sink=calls.append)
    assert [events[0].type for events in calls] == ["DELETE"]


def test_no_key_and_no_range_is_refused() -> None:
    with pytest.raises(EmptyKeyError):
        Store().watch(b"", sink=lambda events: None)


def test_what_a_sink_writes_is_delivered_after_what_is_under_way() -> None:
    store, first, second = Store(), list[list[Event]](), list[list[Event]]()

    def writes_once(events: list[Event]) -> None:
        first.append(events)
        if len(first) == 1:
            store.put(b"a", b"2")

    store.watch(b"a", sink=writes_once)
    store.watch(b"a", sink=second.append)
    store.put(b"a", b"1")
    assert revisions(first) == revisions(second) == [2, 3]


def test_a_watch_begun_inside_a_sink_sees_nothing_twice() -> None:
    store, late = Store(), list[list[Event]]()

    def watches_once(events: list[Event]) -> None:
        if events[0].kv.mod_revision == 2:
            store.put(b"a", b"2")
            store.watch(b"a", start_revision=2, sink=late.append)
            assert store.published_revision == 2

    store.watch(b"a", sink=watches_once)
    store.put(b"a", b"1")
    store.put(b"a", b"3")
    assert revisions(late) == [2, 3, 4]
    assert store.published_revision == 4


def test_a_cancelled_watch_is_never_called_again_even_by_the_delivery_under_way() -> None:
    store, calls = Store(), list[list[Event]]()
    canceller = store.watch(b"a", sink=lambda events: victim.cancel())
    victim = store.watch(b"a", sink=calls.append)
    store.put(b"a", b"1")
    assert calls == []
    canceller.cancel()
    canceller.cancel()
    assert store.watches == 0


def test_a_sink_that_raises_loses_its_watch_and_the_others_go_on() -> None:
    store, calls, closed = Store(), list[list[Event]](), list[Exception | None]()

    def fails(events: list[Event]) -> None:
        raise ValueError("no")

    store.watch(b"a", sink=fails, on_closed=closed.append)
    store.watch(b"a", sink=fails)
    store.watch(b"a", sink=calls.append)
    with pytest.raises(ValueError, match="no"):
        store.put(b"a", b"1")
    assert revisions(calls) == [2]
    assert [str(error) for error in closed] == ["no"]
    assert store.watches == 1


def test_closing_tells_every_watch_once() -> None:
    store, closed = Store(), list[Exception | None]()
    store.watch(b"a", sink=lambda events: None, on_closed=closed.append)
    store.watch(b"a", b"b", sink=lambda events: None, on_closed=closed.append).cancel()
    store.close_watches(None)
    store.close_watches(None)
    assert closed == [None]


def test_many_watches_coming_and_going_are_each_told_of_just_their_keys() -> None:
    random, store = Random(1), Store()
    bounds = [b"\0", *(bytes([97 + number // 5, 97 + number % 5]) for number in range(25))]
    watching: dict[int, tuple[bytes, bytes | None, list[bytes], list[bytes]]] = {}
    handles = {}
    for step in range(3_000):
        if step % 3 == 0:
            start, end = random.choice(bounds[1:]), random.choice([None, *bounds])
            seen: list[bytes] = []
            handles[step] = store.watch(start, end, sink=collect(seen))
            watching[step] = (start, end, seen, [])
        if len(handles) > 40:
            handles.pop(random.choice(list(handles))).cancel()
        key = random.choice(bounds[1:])
        store.put(key, b"")
        for number in handles:
            start, end, _, expected = watching[number]
            if in_range(key, start, end):
                expected.append(key)
    assert all(seen == expected for _, _, seen, expected in watching.values())
    assert sum(len(seen) for _, _, seen, _ in watching.values()) > 10_000
