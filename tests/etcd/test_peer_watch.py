"""Watches tell what the real etcd's tell: every event once, in order, with previous values, filters and refusals."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from kubeloop.actors.etcd.messages import Compact
from kubeloop.store.model import DeleteRange, Put, Txn
from tests.etcd.peer_client import PeerClient, Request
from tests.etcd.peer_models import DumbPeer, plain_kv
from tests.etcd.peer_requests import (
    BACK,
    compactions,
    deletes,
    good_puts,
    lease_puts,
    lease_requests,
    leaves,
    range_ends,
    settled,
    settled_revision,
    some_keys,
    txns,
)
from tests.etcd.peer_watch import WatchCreate, WatchStream
from tests.etcd.real_etcd import OurEtcd, RealEtcd
from tests.etcd.test_peer import DUPLICATE_KEY, compared


def puts_and_deletes_from(request: Request) -> bool:
    """A transaction that may put a key and delete it: of the deletion, etcd tells what was before the transaction, not,
    as its reference says and we do, what was before the event."""
    ops = list(leaves(request))
    deletes = any(isinstance(op, DeleteRange) and op.range_end == b"\0" for op in ops)
    return deletes and any(isinstance(op, Put) for op in ops)


writes: st.SearchStrategy[Request] = st.one_of(
    good_puts, good_puts, deletes, lease_puts, lease_requests, txns, txns, compactions
).filter(lambda request: not puts_and_deletes_from(request))
watches = st.builds(
    WatchCreate,
    st.one_of(some_keys, some_keys, st.just(b"")),
    range_ends,
    st.sampled_from([0, BACK - 20, BACK - 10, BACK - 4, BACK - 1, BACK, BACK + 1, BACK + 5, 1, -1]),
    st.booleans(),
    st.sampled_from([(), (), ("PUT",), ("DELETE",), ("PUT", "DELETE")]),
    st.sampled_from([0, 0, 0, 0, 30, 70]),
    st.booleans(),
)


@pytest.fixture
def both(real_etcd: RealEtcd, our_etcd_of_the_session: OurEtcd) -> Iterator[tuple[PeerClient, PeerClient]]:
    clients = PeerClient(real_etcd.target), PeerClient(our_etcd_of_the_session.target)
    yield clients
    for client in clients:
        client.close()


class Expected:
    """What the model says each watch is told."""

    def __init__(self) -> None:
        self.peer = DumbPeer()
        self.watches: dict[int, tuple[WatchCreate, int]] = {}
        self.until: dict[int, int] = {}

    def add(self, watch: WatchCreate, watch_id: int) -> None:
        self.watches[watch_id] = watch, max(watch.start_revision, 0) or self.peer.dumb.revision + 1

    def past(self, watch: WatchCreate) -> list[Any]:
        """What it is told of the past."""
        key = watch.key or b"\0"
        return self.peer.dumb.seen(key, watch.range_end, watch.start_revision, watch.prev_kv, watch.filters)

    def events(self, watch_id: int) -> list[Any]:
        watch, first = self.watches[watch_id]
        last = self.until.get(watch_id, self.peer.dumb.revision)
        told = self.peer.dumb.seen(watch.key, watch.range_end, first, watch.prev_kv, watch.filters)
        return [
            (
                events[0].kv.mod_revision,
                [(one.type, plain_kv(one.kv), plain_kv(one.prev_kv) if one.prev_kv else None) for one in events],
            )
            for events in told
            if events[0].kv.mod_revision <= last
        ]


def without_previous(told: list[Any]) -> list[Any]:
    """The model does not know which previous values are compacted."""
    return [(revision, [event[:2] for event in events]) for revision, events in told]


class Beside:
    """The same steps on both peers' streams and on the model."""

    def __init__(self, clients: tuple[PeerClient, PeerClient]) -> None:
        self.clients = clients
        for client in clients:
            client.begin()
        self.expected = Expected()
        self.streams = [WatchStream(client) for client in clients]

    @property
    def revision(self) -> int:
        return self.expected.peer.dumb.revision

    def request(self, drawn: Request) -> None:
        request = settled(drawn, self.revision)
        if isinstance(request, Compact):
            self.catch_up()  # etcd looks previous values up late, and would no longer find them
        real, ours = (client.do(request) for client in self.clients)
        assert ours == real, request
        if real != DUPLICATE_KEY:
            self.expected.peer.do(request)

    def watch(self, drawn: WatchCreate) -> None:
        compacted = self.expected.peer.dumb.compact_revision
        start = settled_revision(drawn.start_revision, self.revision)
        if start == compacted:  # etcd before 3.4.35, 3.5.17 and 3.6 forgets deletions there: etcd-io/etcd#18089
            start += 1
        watch = structs.replace(drawn, start_revision=start)
        if start and start < compacted:  # 3.4 lets nobody have the id of a watch that ended so
            watch = structs.replace(watch, watch_id=0)
        if compacted < start <= self.revision and not self.expected.past(watch):
            watch = structs.replace(watch, start_revision=0)  # nobody could tell when the real one has caught up
        real, ours = (stream.create(watch) for stream in self.streams)
        assert ours == real, watch
        if start and start < compacted and real >= 0:
            for stream in self.streams:
                stream.wait_canceled(real)
        elif real >= 0:
            self.expected.add(structs.replace(watch, key=watch.key or b"\0"), real)

    def cancel(self, watch_id: int) -> None:
        if watch_id in self.streams[0].said and watch_id not in self.expected.watches:
            return  # ended by compaction, which 3.4 would say once more
        self.catch_up()
        for stream in self.streams:
            stream.cancel(watch_id)
            if watch_id in self.expected.watches and watch_id not in self.expected.until:
                stream.wait_canceled(watch_id)
        if watch_id in self.expected.watches:
            self.expected.until.setdefault(watch_id, self.revision)

    def catch_up(self) -> None:
        """Until both have told as many events as the model says."""
        for watch_id in self.expected.watches:
            count = len(self.expected.events(watch_id))
            for stream in self.streams:
                stream.wait_events(watch_id, count)

    def check(self) -> None:
        self.catch_up()
        for stream in self.streams:
            stream.sync(b"synced")
        real, ours = ({w: stream.told(w, self.revision) for w in self.expected.watches} for stream in self.streams)
        assert ours == real
        assert self.streams[1].said == self.streams[0].said
        for watch_id, told in real.items():
            expected = self.expected.events(watch_id)
            assert without_previous(told) == without_previous(expected)

    def close(self) -> None:
        for stream in self.streams:
            stream.close()


steps = st.one_of(writes, writes, writes, writes, watches, st.sampled_from([0, 1, 2, 30, 70, 99]))


@compared
@given(
    before=st.lists(writes, min_size=10, max_size=40),
    created=st.lists(watches, min_size=1, max_size=6),
    after=st.lists(steps, min_size=5, max_size=25),
)
def test_watches_tell_the_same(
    both: tuple[PeerClient, PeerClient],
    before: list[Request],
    created: list[WatchCreate],
    after: list[Request | WatchCreate | int],
) -> None:
    beside = Beside(both)
    try:
        for request in before:
            beside.request(request)
        for step in (*created, *after):
            if isinstance(step, WatchCreate):
                beside.watch(step)
            elif isinstance(step, int):
                beside.cancel(step)
            else:
                beside.request(step)
        beside.check()
    finally:
        beside.close()


def test_large_transactions_come_in_fragments_to_who_wants_them(both: tuple[PeerClient, PeerClient]) -> None:
    """Some megabytes of previous values at one revision."""
    told: list[Any] = []
    for client in both:
        client.begin()
        stream = WatchStream(client)
        whole = stream.create(WatchCreate(b"big/", b"big0", prev_kv=True))
        in_parts = stream.create(WatchCreate(b"big/", b"big0", prev_kv=True, fragment=True))
        for number in range(5):
            client.do(Put(b"big/%d" % number, b"%d" % number * 1_000_000))
        client.do(DeleteRange(b"big/", b"big0"))
        for watch_id in (whole, in_parts):
            stream.wait_events(watch_id, 6)
        assert stream.events[whole] == stream.events[in_parts]
        assert len(stream.events[whole][-1][1]) == 5
        told.append((stream.fragments, stream.events[whole]))
        stream.close()
    (real_fragments, real), (our_fragments, ours) = told
    assert ours == real
    assert our_fragments > 0 and real_fragments > 0


def test_progress_is_told_when_asked_for(both: tuple[PeerClient, PeerClient]) -> None:
    """3.4 answers at once, and perhaps before events (etcd-io/etcd#15220); ours after them."""
    for client in both:
        client.begin()
        stream = WatchStream(client)
        watch_id = stream.create(WatchCreate(b"a"))
        client.do(Put(b"a", b"1"))
        stream.wait_events(watch_id, 1)
        stream.ask_for_progress()
        assert stream.wait_progress() == (-1, 2)
        stream.close()


def test_a_reader_that_is_slow_holds_nobody_up_and_is_told_what_compaction_took(
    our_etcd_of_the_session: OurEtcd,
) -> None:
    """It reads nothing while 60 MB are written and compacted: what it is told then has no gap before the end."""
    client = PeerClient(our_etcd_of_the_session.target)
    client.begin()
    stream = WatchStream(client)
    watch_id = stream.create(WatchCreate(b"slow/", b"slow0"))
    puts = tuple(Put(b"slow/%d" % number, b"v" * 10_000) for number in range(100))
    for _ in range(60):
        revision = client.do(Txn((), puts))["revision"]
    assert client.do(Compact(revision)) == {"revision": revision}
    stream.wait_canceled(watch_id)
    told = [transaction[0] for transaction in stream.events[watch_id]]
    assert told == list(range(2, 2 + len(told)))
    assert 0 < len(told) < 60
    assert all(len(events) == 100 for _, events in stream.events[watch_id])
    assert stream.said[watch_id][-1]["compact_revision"] == revision
    client.do(DeleteRange(b"slow/", b"slow0"))
    stream.close()
    client.close()
