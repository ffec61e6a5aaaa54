"""What a durable etcd acknowledged is on disk, whatever happens to its process."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest

from kubeloop.actors.etcd.actor import EtcdActor
from kubeloop.actors.etcd.kv import KV, ActorKV
from kubeloop.actors.etcd.messages import (
    Alarm,
    CompactedError,
    Defragment,
    EtcdError,
    Event,
    HashKV,
    LeaseTimeToLive,
    Status,
)
from kubeloop.actors.etcd.options import EtcdOptions
from kubeloop.runtime.actor import ActorRef, ActorStopped
from kubeloop.runtime.simulation import simulate
from kubeloop.runtime.system import System
from kubeloop.store.backup import restore

T = TypeVar("T")


async def crash(system: System, etcd: ActorRef) -> None:
    system.crash("etcd")
    while True:
        try:
            await etcd.ask(Status())
            return
        except ActorStopped:
            await system.clock.sleep(1)


def with_etcd(main: Callable[[System, ActorRef, KV], Awaitable[T]], options: EtcdOptions) -> T:
    async def run() -> T:
        async with System(seed=1) as system:
            await system.start(lambda: EtcdActor(options), name="etcd", host="etcd-0")
            etcd = system.ref("etcd", source_host="etcd-0")
            return await main(system, etcd, ActorKV(etcd))

    return simulate(run(), seed=1)


def test_a_crash_loses_no_acknowledged_write_and_no_lease(tmp_path: Path) -> None:
    async def main(system: System, etcd: ActorRef, kv: KV) -> None:
        lease = await kv.lease_grant(60)
        await asyncio.gather(*(kv.put(b"%d" % number, b"x", lease=lease.id) for number in range(100)))
        await kv.delete_range(b"7")
        await kv.compact(50)
        before = await etcd.ask(HashKV())
        for _ in range(2):
            await crash(system, etcd)
            assert await etcd.ask(HashKV()) == before
        found = await kv.range(b"\0", b"\0")
        assert (found.count, found.revision) == (99, 102)
        assert len((await etcd.ask(LeaseTimeToLive(lease.id))).keys) == 99
        with pytest.raises(CompactedError):
            await kv.range(b"1", revision=49)

    with_etcd(main, EtcdOptions(data_dir=tmp_path))


def test_writes_that_come_together_share_a_commit_and_watches_hear_of_them_when_it_is_done(tmp_path: Path) -> None:
    async def main(system: System, etcd: ActorRef, kv: KV) -> int:
        heard: list[list[Event]] = []
        await kv.watch(b"\0", b"\0", sink=heard.append)
        writes = [asyncio.ensure_future(kv.put(b"%d" % number, b"x")) for number in range(100)]
        await asyncio.sleep(0)
        assert not heard
        await asyncio.gather(*writes)
        assert [event.kv.mod_revision for [event] in heard] == list(range(2, 102))
        disk = system.slot("etcd").live.actor._disk  # type: ignore[union-attr]
        return int(disk.state.commits)

    assert with_etcd(main, EtcdOptions(data_dir=tmp_path)) < 5


def test_the_quota_is_etcds_nospace_until_it_is_disarmed(tmp_path: Path) -> None:
    async def main(system: System, etcd: ActorRef, kv: KV) -> None:
        with pytest.raises(EtcdError, match="^etcdserver: mvcc: database space exceeded$") as caught:
            for number in range(1_000):
                await kv.put(b"%d" % (number % 5), bytes(10_000))
        assert caught.value.code == "RESOURCE_EXHAUSTED"
        [alarm] = await etcd.ask(Alarm())
        assert alarm.type == "NOSPACE"
        with pytest.raises(EtcdError, match="space exceeded"):
            await kv.lease_grant(60)
        assert (await kv.range(b"1")).count == 1
        assert (await kv.delete_range(b"1")).deleted == 1
        await crash(system, etcd)
        assert await etcd.ask(Alarm()) == [alarm]
        await kv.compact((await kv.range(b"2")).revision)
        full = await etcd.ask(Status())
        await etcd.ask(Defragment())
        assert (await etcd.ask(Status())).db_size < full.db_size / 10
        await etcd.ask(Alarm("deactivate", "NOSPACE"))
        await kv.put(b"1", b"again")

    with_etcd(main, EtcdOptions(data_dir=tmp_path, quota_backend_bytes=1_000_000))


@pytest.mark.parametrize("durable", [True, False])
def test_a_backup_taken_under_load_is_one_moment_and_can_be_restored(tmp_path: Path, durable: bool) -> None:
    file, restored = tmp_path / "backup", tmp_path / "restored"

    async def save(system: System, etcd: ActorRef, kv: KV) -> int:
        lease = await kv.lease_grant(60)
        for number in range(50):
            await kv.put(b"%d" % (number % 20), bytes(100_000), lease=lease.id)
        await kv.delete_range(b"1", b"2")
        await kv.compact(45)
        actor = system.slot("etcd").live.actor  # type: ignore[union-attr]
        assert isinstance(actor, EtcdActor)
        before: int = (await etcd.ask(HashKV())).hash
        with file.open("wb") as writer:
            async for chunk in actor.backup():
                writer.write(chunk)
                await kv.put(b"during", b"x")
        assert (await etcd.ask(HashKV())).hash != before
        return before

    before = with_etcd(save, EtcdOptions(data_dir=tmp_path / "data" if durable else None))
    restore(file, restored, cluster_id=5, member_id=6)

    async def load(system: System, etcd: ActorRef, kv: KV) -> int:
        return int((await etcd.ask(HashKV())).hash)

    assert with_etcd(load, EtcdOptions(data_dir=restored)) == before


def test_auto_compaction_keeps_the_history_that_it_is_told_to(tmp_path: Path) -> None:
    async def main(system: System, etcd: ActorRef, kv: KV) -> int:
        for number in range(100):
            await kv.put(b"a", b"%d" % number)
            await system.clock.sleep(60)
        return int((await etcd.ask(Status())).compact_revision)

    assert with_etcd(main, EtcdOptions(auto_compaction_mode="periodic", auto_compaction_retention=600)) in range(80, 92)
    assert with_etcd(main, EtcdOptions(auto_compaction_mode="revision", auto_compaction_retention=10)) in range(80, 92)
