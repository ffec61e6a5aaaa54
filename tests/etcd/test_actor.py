"""The etcd actor answers in etcd's words, ends leases in time, and its end is seen by those who watch."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

from kubeloop.actors.etcd.actor import EtcdActor
from kubeloop.actors.etcd.kv import KV, ActorKV
from kubeloop.actors.etcd.messages import (
    CompactedError,
    Compare,
    EtcdError,
    Event,
    LeaseTimeToLive,
    Put,
    Status,
    StatusResult,
)
from kubeloop.runtime.actor import ActorStopped, UnknownMessage, Unreachable
from kubeloop.runtime.simulation import simulate
from kubeloop.runtime.system import System
from kubeloop.store.lease import LeaseStatus
from kubeloop.store.store import Store

T = TypeVar("T")


def with_etcd(main: Callable[[System, KV], Awaitable[T]], store: Store | None = None, host: str = "etcd-0") -> T:
    async def run() -> T:
        async with System(seed=1) as system:
            await system.start(lambda: EtcdActor(store=store), name="etcd", host="etcd-0")
            kv = ActorKV(system.ref("etcd", source_host=host), network=system.network, host=host)
            return await main(system, kv)

    return simulate(run(), seed=1)


def test_every_operation_of_the_protocol_is_answered() -> None:
    async def main(system: System, kv: KV) -> None:
        assert (await kv.put(b"a", b"1")).kv.mod_revision == 2
        assert (await kv.put_if(b"a", b"2", 2)).succeeded
        assert not (await kv.put_if(b"a", b"3", 2)).succeeded
        txn = await kv.txn([Compare(b"a", "value", "=", b"2")], [Put(b"b", b"1")])
        assert txn.succeeded
        found = await kv.range(b"a", b"z", limit=1)
        assert ([entry.key for entry in found.kvs], found.more, found.count) == ([b"a"], True, 2)
        assert (await kv.delete_if(b"a", 3)).succeeded
        assert (await kv.delete_range(b"\0", b"\0", prev_kv=True)).prev_kvs[0].key == b"b"
        await kv.compact(5)
        status = await system.ref("etcd", source_host="etcd-0").ask(Status())
        assert status == StatusResult(revision=6, compact_revision=5, keys=0, watches=0, leases=0)

    with_etcd(main)


def test_refusals_carry_etcds_text_and_code() -> None:
    async def main(system: System, kv: KV) -> None:
        with pytest.raises(EtcdError, match="^etcdserver: key is not provided$") as caught:
            await kv.put(b"", b"")
        assert caught.value.code == "INVALID_ARGUMENT"
        await kv.put(b"a", b"")
        await kv.put(b"a", b"")
        await kv.compact(3)
        with pytest.raises(CompactedError) as compacted:
            await kv.watch(b"a", sink=lambda events: None, start_revision=2)
        assert (compacted.value.code, compacted.value.compact_revision) == ("OUT_OF_RANGE", 3)
        with pytest.raises(UnknownMessage):
            await system.ref("etcd", source_host="etcd-0").ask("what")
        assert (await kv.range(b"a")).count == 1

    with_etcd(main)


def test_the_keys_of_a_lease_go_when_its_time_is_over() -> None:
    async def main(system: System, kv: KV) -> None:
        etcd = system.ref("etcd", source_host="etcd-0")
        long, short = await kv.lease_grant(60), await kv.lease_grant(10)
        await kv.put(b"long", b"", lease=long.id)
        await kv.put(b"short", b"", lease=short.id)
        await system.clock.sleep(9)
        await kv.lease_keep_alive(short.id)
        await system.clock.sleep(9)
        assert (await kv.range(b"\0", b"\0")).count == 2
        assert await etcd.ask(LeaseTimeToLive(short.id)) == LeaseStatus(short.id, 10, 1, [b"short"])
        await system.clock.sleep(2)
        assert [entry.key for entry in (await kv.range(b"\0", b"\0")).kvs] == [b"long"]
        await system.clock.sleep(60)
        assert (await kv.range(b"\0", b"\0")).count == 0

    with_etcd(main)


def test_a_crash_ends_the_watches_and_leaves_what_is_on_the_disk() -> None:
    async def main(system: System, kv: KV) -> None:
        events, closed = list[list[Event]](), list[Exception | None]()
        await kv.put(b"a", b"1")
        await kv.watch(b"a", sink=events.append, on_closed=closed.append)
        system.crash("etcd")
        assert [type(error) for error in closed] == [ActorStopped]
        await system.clock.sleep(60)
        assert (await kv.range(b"a")).kvs[0].value == b"1"
        await kv.watch(b"a", sink=events.append, start_revision=2)
        await kv.put(b"a", b"2")
        assert [[event.kv.value for event in one] for one in events] == [[b"1"], [b"2"]]

    with_etcd(main, Store())


def test_a_partition_cuts_the_watches_that_cross_it() -> None:
    async def main(system: System, kv: KV) -> None:
        events, closed = list[list[Event]](), list[Exception | None]()
        await kv.watch(b"a", sink=events.append, on_closed=closed.append)
        await kv.put(b"a", b"1")
        system.network.partition("etcd-0", "elsewhere")
        assert [type(error) for error in closed] == [Unreachable]
        with pytest.raises(Unreachable):
            await kv.put(b"a", b"2")
        with pytest.raises(Unreachable):
            await kv.watch(b"a", sink=events.append)
        system.network.heal()
        await kv.put(b"a", b"3")
        assert len(events) == 1
        watch = await kv.watch(b"a", sink=events.append, on_closed=closed.append)
        watch.cancel()
        await kv.put(b"a", b"4")
        assert (len(events), len(closed), system.network.connections()) == (1, 1, 0)

    with_etcd(main, host="elsewhere")
