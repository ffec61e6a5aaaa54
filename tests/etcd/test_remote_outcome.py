"""A write whose answer is lost is never done twice, and never said to have failed when it was done."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any

import pytest

from kubeloop.actors.etcd.messages import CasResult, EtcdError, Put, Range
from kubeloop.actors.etcd.remote.errors import OutcomeUnknown
from kubeloop.actors.etcd.remote.kv import RemoteEtcd, RemoteKV
from kubeloop.runtime.system import System
from kubeloop.store.model import KeyValue
from tests.etcd.remote_servers import SECONDS, Relay, etcd_urls

__all__ = ["etcd_urls"]


class Scene:
    """`kv` speaks through the relay, `other` directly. Key a is there, at `first`; b is not."""

    def __init__(self, relay: Relay, kv: RemoteKV, other: RemoteKV, first: KeyValue) -> None:
        self.relay = relay
        self.kv = kv
        self.other = other
        self.first = first

    async def lost_answer(
        self, write: Awaitable[CasResult], then: Awaitable[object] | None = None, *, changes: bool = True
    ) -> CasResult:
        """Etcd does the write; somebody does `then`; only now the writer hears that its connection is gone."""
        before = (await self.kv.range(b"a")).revision  # and now it is connected
        self.relay.keeps_answers = True
        return await self._lost(write, then, before if changes else 0)

    async def lost_request(self, write: Awaitable[CasResult], then: Awaitable[object] | None = None) -> CasResult:
        """The same, but etcd never gets to hear of the write."""
        await self.kv.range(b"a")
        self.relay.keeps_requests = True
        return await self._lost(write, then, 0)

    async def _lost(self, write: Awaitable[CasResult], then: Awaitable[object] | None, before: int) -> CasResult:
        async with asyncio.timeout(SECONDS):
            writing = asyncio.ensure_future(write)
            await self.relay.kept.wait()
            while before and (await self.other.range(b"a")).revision == before:  # noqa: ASYNC110 - another client's
                await asyncio.sleep(0)
            if then is not None:
                await then
            self.relay.cut()
            return await writing

    async def newest(self, key: bytes = b"a") -> KeyValue | None:
        found = (await self.other.range(key)).kvs
        return found[0] if found else None

    async def overwrite(self, key: bytes = b"a", times: int = 1) -> None:
        for number in range(times):
            await self.other.put(key, b"another's %d" % number)


@pytest.fixture
async def scene(etcd_urls: tuple[str, ...]) -> AsyncIterator[Scene]:
    relay = Relay(int(etcd_urls[0].rpartition(":")[2]))
    async with System() as system, relay.listening() as url:
        async with (
            RemoteKV(RemoteEtcd((url,)), system) as kv,
            RemoteKV(RemoteEtcd(etcd_urls), system) as other,
        ):
            first = (await kv.put_if(b"a", b"first", 0)).kv
            assert first is not None
            yield Scene(relay, kv, other, first)


async def test_a_put_that_was_done_succeeds(scene: Scene) -> None:
    result = await scene.lost_answer(scene.kv.put_if(b"a", b"ours", scene.first.mod_revision))
    assert result.succeeded and result.kv == await scene.newest()
    assert result.kv is not None and (result.kv.value, result.kv.version) == (b"ours", 2)
    assert result.revision == result.kv.mod_revision


async def test_a_put_that_was_done_succeeds_even_if_others_came_after(scene: Scene) -> None:
    result = await scene.lost_answer(scene.kv.put_if(b"a", b"ours", scene.first.mod_revision), scene.overwrite(times=3))
    assert result.succeeded and result.kv is not None
    assert (result.kv.value, result.kv.version, result.revision) == (b"ours", 2, result.kv.mod_revision)
    newest = await scene.newest()
    assert newest is not None and (newest.value, newest.version) == (b"another's 2", 5)


async def test_a_put_that_never_arrived_is_sent_again(scene: Scene) -> None:
    result = await scene.lost_request(scene.kv.put_if(b"a", b"ours", scene.first.mod_revision))
    assert result.succeeded and result.kv == await scene.newest()
    assert result.kv is not None and result.kv.version == 2


async def test_a_put_that_another_was_faster_than_has_failed(scene: Scene) -> None:
    write = scene.kv.put_if(b"a", b"ours", scene.first.mod_revision)
    result = await scene.lost_request(write, scene.overwrite(times=2))
    assert not result.succeeded and result.kv == await scene.newest()


async def test_a_creation_that_was_done_succeeds(scene: Scene) -> None:
    result = await scene.lost_answer(scene.kv.put_if(b"b", b"ours", 0))
    assert result.succeeded and result.kv == await scene.newest(b"b")
    result = await scene.lost_answer(scene.kv.put_if(b"c", b"ours", 0), scene.overwrite(b"c", times=2))
    assert result.succeeded and result.kv is not None and (result.kv.value, result.kv.version) == (b"ours", 1)


async def test_what_reading_cannot_tell_is_unknown(scene: Scene) -> None:
    kv, first = scene.kv, scene.first
    overwrite, delete = partial(scene.overwrite, b"b"), partial(scene.other.delete_range, b"a")
    losses: list[Callable[[], Awaitable[CasResult]]] = [
        lambda: scene.lost_answer(kv.put_if(b"a", b"ours", first.mod_revision), delete()),
        lambda: scene.lost_request(kv.put_if(b"a", b"ours", first.mod_revision), delete()),
        lambda: scene.lost_request(kv.put_if(b"b", b"ours", 0)),
        lambda: scene.lost_request(kv.put_if(b"b", b"ours", 0), overwrite()),
        lambda: scene.lost_request(kv.delete_if(b"a", first.mod_revision), delete()),
    ]
    for lose in losses:
        with pytest.raises(OutcomeUnknown, match="^etcd may have done it, or not: ") as caught:
            await lose()
        assert caught.value.code == "UNAVAILABLE"


async def test_a_creation_is_not_taken_for_an_equal_one_of_before(scene: Scene) -> None:
    with pytest.raises(OutcomeUnknown):
        await scene.lost_answer(scene.kv.put_if(b"a", b"first", 0), changes=False)


async def test_what_compaction_has_hidden_is_unknown(scene: Scene) -> None:
    async def overwrite_and_compact() -> None:
        await scene.overwrite(times=3)
        await scene.other.compact((await scene.other.range(b"a")).revision)

    with pytest.raises(OutcomeUnknown):
        await scene.lost_answer(scene.kv.put_if(b"a", b"ours", scene.first.mod_revision), overwrite_and_compact())


async def test_a_deletion_that_never_arrived_is_sent_again_or_has_failed(scene: Scene) -> None:
    result = await scene.lost_request(scene.kv.delete_if(b"a", scene.first.mod_revision), scene.overwrite())
    assert not result.succeeded and result.kv is not None and result.kv == await scene.newest()
    result = await scene.lost_request(scene.kv.delete_if(b"a", result.kv.mod_revision))
    assert result.succeeded and await scene.newest() is None


async def test_a_deletion_that_was_done_is_unknown_as_nobody_signs_it(scene: Scene) -> None:
    with pytest.raises(OutcomeUnknown):
        await scene.lost_answer(scene.kv.delete_if(b"a", scene.first.mod_revision))
    assert await scene.newest() is None


async def test_a_write_without_a_compare_is_never_sent_twice(scene: Scene) -> None:
    kv = scene.kv
    writes: list[Callable[[], Awaitable[Any]]] = [
        lambda: kv.put(b"a", b"1"),
        lambda: kv.txn([], [Put(b"a", b"2")]),
        lambda: kv.delete_range(b"a"),
    ]
    for write in writes:
        with pytest.raises(OutcomeUnknown):
            await scene.lost_answer(write())
    assert (await scene.other.range(b"a")).revision == scene.first.mod_revision + 3


async def test_what_harms_nobody_is_sent_again(scene: Scene) -> None:
    kv = scene.kv
    lease = await kv.lease_grant(60)
    repeated: list[Callable[[], Awaitable[Any]]] = [
        lambda: kv.range(b"a"),
        lambda: kv.txn([], [Range(b"a")]),
        lambda: kv.lease_keep_alive(lease.id),
        lambda: kv.lease_grant(60),
        lambda: kv.compact(scene.first.mod_revision),
        lambda: kv.lease_revoke(lease.id),
    ]
    for repeat in repeated:
        await scene.lost_answer(repeat(), changes=False)
    with pytest.raises(EtcdError, match="^etcdserver: requested lease not found$"):
        await kv.lease_revoke(lease.id)
