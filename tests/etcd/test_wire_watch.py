"""The Watch service over a real connection: many watches a call, slow readers, resuming, progress, fragments."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc  # type: ignore[import-untyped]
import pytest
from aetcd.rpc import rpc_pb2  # type: ignore[import-untyped]

from kubeloop.actors.etcd.options import EtcdOptions
from kubeloop.actors.etcd.wire import services_watch
from kubeloop.runtime.system import System
from kubeloop.store.model import prefix_range_end
from tests.etcd.wire_server import Served, Stubs, WatchClient, connected, etcd_and_client, start

Pair = tuple[Served, Stubs]


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    async with etcd_and_client() as pair:
        yield pair


def op(key: bytes, value: bytes) -> Any:
    return rpc_pb2.RequestOp(request_put=rpc_pb2.PutRequest(key=key, value=value))


async def test_created_comes_first_then_events_of_the_past_then_of_now(pair: Pair) -> None:
    _, stubs = pair
    for value in (b"1", b"2"):
        await stubs.put(b"a", value)
    watch = WatchClient(stubs)
    created = await watch.create(key=b"a", start_revision=2, prev_kv=True)
    assert (created.created, created.watch_id, created.header.revision, len(created.events)) == (True, 0, 3, 0)
    past = await watch.read()
    assert [(event.kv.value, event.prev_kv.value) for event in past.events] == [(b"1", b""), (b"2", b"1")]
    await stubs.kv.DeleteRange(rpc_pb2.DeleteRangeRequest(key=b"a"))
    now = await watch.read()
    (event,) = now.events
    assert (event.type, event.kv.mod_revision, event.kv.value, event.prev_kv.value) == (1, 4, b"", b"2")
    assert now.header.revision == 4 and now.header.member_id and now.header.raft_term


async def test_a_transactions_events_come_together(pair: Pair) -> None:
    _, stubs = pair
    watch = WatchClient(stubs)
    await watch.create(key=b"a", range_end=b"z")
    await stubs.kv.Txn(rpc_pb2.TxnRequest(success=[op(b"k%03d" % n, b"x" * 10_000) for n in range(128)]))
    response = await watch.read()
    assert len(response.events) == 128 and {event.kv.mod_revision for event in response.events} == {2}


async def test_ids_are_chosen_or_free_and_never_twice(pair: Pair) -> None:
    _, stubs = pair
    watch = WatchClient(stubs)
    assert [(await watch.create(key=b"a", watch_id=number)).watch_id for number in (0, 1, 0, 7, 0)] == [0, 1, 2, 7, 3]
    refused = await watch.create(key=b"a", watch_id=7)
    assert (refused.watch_id, refused.created, refused.canceled) == (-1, True, True)
    assert refused.cancel_reason == "mvcc: duplicate watch ID provided on the WatchStream"
    await watch.ask(cancel_request=rpc_pb2.WatchCancelRequest(watch_id=7))
    canceled = await watch.read()
    assert (canceled.watch_id, canceled.canceled, canceled.cancel_reason) == (7, True, "")
    assert (await watch.create(key=b"a", watch_id=7)).watch_id == 7


async def test_an_empty_range_is_refused(pair: Pair) -> None:
    watch = WatchClient(pair[1])
    refused = await watch.create(key=b"b", range_end=b"b")
    assert (refused.watch_id, refused.canceled, refused.cancel_reason) == (-1, True, "mvcc: watcher range is empty")


async def test_every_key_and_from_a_key_on(pair: Pair) -> None:
    _, stubs = pair
    watch = WatchClient(stubs)
    every = await watch.create(key=b"", range_end=b"\0")
    later = await watch.create(key=b"m", range_end=b"\0")
    await stubs.put(b"a", b"")
    assert (await watch.read()).watch_id == every.watch_id
    await stubs.put(b"z", b"")
    assert {(await watch.read()).watch_id for _ in range(2)} == {every.watch_id, later.watch_id}


async def test_filters_leave_out_puts_or_deletions(pair: Pair) -> None:
    _, stubs = pair
    watch = WatchClient(stubs)
    no_put = await watch.create(key=b"a", filters=[0])
    no_delete = await watch.create(key=b"a", filters=[1])
    await stubs.put(b"a", b"")
    response = await watch.read()
    assert (response.watch_id, response.events[0].type) == (no_delete.watch_id, 0)
    await stubs.kv.DeleteRange(rpc_pb2.DeleteRangeRequest(key=b"a"))
    response = await watch.read()
    assert (response.watch_id, response.events[0].type) == (no_put.watch_id, 1)


async def test_a_compacted_start_is_created_then_canceled_with_the_revision(pair: Pair) -> None:
    _, stubs = pair
    for _ in range(5):
        await stubs.put(b"a", b"")
    await stubs.kv.Compact(rpc_pb2.CompactionRequest(revision=4))
    watch = WatchClient(stubs)
    created = await watch.create(key=b"a", start_revision=2)
    assert created.created and not created.canceled
    canceled = await watch.read()
    assert (canceled.watch_id, canceled.canceled, canceled.compact_revision) == (created.watch_id, True, 4)
    assert canceled.header.revision == 0
    await watch.create(key=b"a", start_revision=4)
    assert [revision for _, _, revision in await watch.events(3)] == [4, 5, 6]


async def test_a_future_start_waits_for_its_revision(pair: Pair) -> None:
    _, stubs = pair
    watch = WatchClient(stubs)
    await watch.create(key=b"a", start_revision=4)
    for _ in range(4):
        await stubs.put(b"a", b"")
    assert [revision for _, _, revision in await watch.events(2)] == [4, 5]


async def test_progress_is_told_after_all_events_up_to_it(pair: Pair) -> None:
    _, stubs = pair
    watch = WatchClient(stubs)
    ids = [(await watch.create(key=b"a", range_end=b"b")).watch_id for _ in range(20)]
    for number in range(50):
        await stubs.put(b"a%d" % number, b"x" * 100)
    await watch.ask(progress_request=rpc_pb2.WatchProgressRequest())
    seen = dict.fromkeys(ids, 1)
    while (response := await watch.read()).watch_id != -1:
        seen[response.watch_id] = response.events[-1].kv.mod_revision
    assert (response.header.revision, len(response.events)) == (51, 0)
    assert seen == dict.fromkeys(ids, 51)


async def test_quiet_watches_are_told_of_progress(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services_watch, "PROGRESS_INTERVAL_SECONDS", 0.02)
    _, stubs = pair
    watch = WatchClient(stubs)
    await watch.create(key=b"never")
    created = await watch.create(key=b"a", progress_notify=True)
    await stubs.put(b"b", b"")
    async with asyncio.timeout(5):
        while (response := await watch.read()).header.revision < 2:
            pass
    assert (response.watch_id, len(response.events), response.created) == (created.watch_id, 0, False)


async def test_large_transactions_are_split_for_who_asks(pair: Pair) -> None:
    etcd, stubs = pair
    for number in range(4):
        await stubs.put(b"k%d" % number, b"x" * 1_000_000)
    await stubs.kv.DeleteRange(rpc_pb2.DeleteRangeRequest(key=b"k", range_end=b"l"))
    watch = WatchClient(stubs)
    await watch.create(key=b"k", range_end=b"l", start_revision=6, prev_kv=True)
    whole = await watch.read()
    assert (len(whole.events), whole.fragment) == (4, False)
    await watch.create(key=b"k", range_end=b"l", start_revision=6, prev_kv=True, fragment=True)
    pieces = [await watch.read()]
    while pieces[-1].fragment:
        pieces.append(await watch.read())
    assert [len(piece.events) for piece in pieces] == [2, 2]
    assert [event.kv.key for piece in pieces for event in piece.events] == [event.kv.key for event in whole.events]
    assert all(piece.ByteSize() < etcd.options.max_request_bytes + 524_288 for piece in pieces)


async def test_a_thousand_watches_on_one_call(pair: Pair) -> None:
    etcd, stubs = pair
    watch = WatchClient(stubs)
    for number in range(1_000):
        await watch.ask(create_request=rpc_pb2.WatchCreateRequest(key=b"k%d" % (number % 10)))
    assert sorted([(await watch.read()).watch_id for _ in range(1_000)]) == list(range(1_000))
    for number in range(10):
        await stubs.put(b"k%d" % number, b"x")
    responses = [await watch.read() for _ in range(1_000)]
    assert {response.watch_id for response in responses} == set(range(1_000))
    assert etcd.store.watches == 1_000
    watch.call.cancel()
    await until_watches(etcd, 0)


async def until_watches(etcd: Served, count: int) -> None:
    async with asyncio.timeout(5):
        while etcd.store.watches != count:  # noqa: ASYNC110 - turns of the loop, and the other side's
            await asyncio.sleep(0.001)


async def test_a_watch_outlives_the_clients_half_of_the_call(pair: Pair) -> None:
    _, stubs = pair
    watch = WatchClient(stubs)
    await watch.create(key=b"a")
    await watch.call.done_writing()
    await stubs.put(b"a", b"still")
    assert (await watch.read()).events[0].kv.value == b"still"


async def test_a_reader_that_does_not_read_slows_nobody_and_misses_nothing() -> None:
    """With windows of 64 KiB, and 20 MB of events that it does not take at first."""
    windows = {"grpc.http2.lookahead_bytes": 65_535, "grpc.http2.bdp_probe": 0}
    async with etcd_and_client(**windows) as (etcd, stubs), connected(etcd.target) as writer:
        watch = WatchClient(stubs)
        await watch.create(key=b"k", range_end=b"l")
        for number in range(2_000):
            await writer.put(b"k%d" % (number % 10), b"x" * 10_000)
        held = sum(one.queued_bytes for one in etcd.server._connections if hasattr(one, "queued_bytes"))
        assert held < 4_000_000
        revisions = [revision for _, _, revision in await watch.events(2_000)]
        assert revisions == list(range(2, 2_002))


async def test_a_reader_that_compaction_overtakes_is_told_so() -> None:
    windows = {"grpc.http2.lookahead_bytes": 65_535, "grpc.http2.bdp_probe": 0}
    async with etcd_and_client(**windows) as (etcd, stubs), connected(etcd.target) as writer:
        watch = WatchClient(stubs)
        await watch.create(key=b"k", range_end=b"l")
        for number in range(2_500):
            await writer.put(b"k%d" % (number % 10), b"x" * 5_000)
        await writer.kv.Compact(rpc_pb2.CompactionRequest(revision=2_490))
        last = 1
        while not (response := await watch.read()).canceled:
            assert [event.kv.mod_revision for event in response.events][0] == last + 1
            last = response.events[-1].kv.mod_revision
        assert response.compact_revision == 2_490 > last
        again = await watch.create(key=b"k", range_end=b"l", start_revision=2_490)
        assert again.created
        assert [revision for _, _, revision in await watch.events(12)] == list(range(2_490, 2_502))


async def test_watchers_of_one_prefix_get_the_same_events_in_order(pair: Pair) -> None:
    _, stubs = pair
    watches = [WatchClient(stubs) for _ in range(5)]
    for watch in watches:
        await watch.create(key=b"a/", range_end=prefix_range_end(b"a/"))
    await asyncio.gather(*(stubs.put(b"a/%d" % (number % 7), b"x") for number in range(300)))
    seen = [await watch.events(300) for watch in watches]
    assert all(events == seen[0] for events in seen)
    assert [revision for _, _, revision in seen[0]] == list(range(2, 302))


async def test_the_servers_end_is_unavailable_to_watches_and_answers_what_waits() -> None:
    async with System() as system:
        etcd = await start(system, EtcdOptions())
        async with connected(etcd.target) as stubs:
            watch = WatchClient(stubs)
            await watch.create(key=b"a")
            await system.stop("etcd")
            assert await watch.call.code() == grpc.StatusCode.UNAVAILABLE
            assert await watch.call.details() == "etcdserver: server stopped"
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stubs.put(b"a", b"")
            assert caught.value.code() == grpc.StatusCode.UNAVAILABLE


async def test_a_crash_cuts_connections_and_leaves_nothing_behind() -> None:
    async with System() as system:
        etcd = await start(system, EtcdOptions())
        async with connected(etcd.target) as stubs:
            watch = WatchClient(stubs)
            await watch.create(key=b"a")
            system.crash("etcd")
            assert await watch.call.code() == grpc.StatusCode.UNAVAILABLE
        assert not etcd.server._connections
