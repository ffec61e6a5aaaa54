"""`RemoteKV` over the real etcd, over our own served one, and `ActorKV` give the same answers to the same questions."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from kubeloop.actors.etcd.actor import EtcdActor
from kubeloop.actors.etcd.kv import ActorKV
from kubeloop.actors.etcd.messages import (
    KV,
    CompactedError,
    Compare,
    DeleteRange,
    EtcdError,
    Event,
    Put,
    Range,
    Txn,
    prefix_range_end,
)
from kubeloop.actors.etcd.remote.kv import RemoteEtcd, RemoteKV
from kubeloop.actors.etcd.remote.pages import PAGE_KEYS, page_keys
from kubeloop.runtime.actor import ActorStopped, Unreachable
from kubeloop.runtime.system import System
from kubeloop.store.model import KeyValue
from tests.etcd.real_etcd import RealEtcd, free_port
from tests.etcd.remote_servers import etcd_urls, until

__all__ = ["etcd_urls"]


@asynccontextmanager
async def embedded() -> AsyncIterator[KV]:
    async with System() as system:
        yield ActorKV(await system.start(EtcdActor, name="etcd", host="etcd-0"))


@pytest.fixture
async def kv(etcd_urls: tuple[str, ...]) -> AsyncIterator[RemoteKV]:
    async with System() as system, RemoteKV(RemoteEtcd(etcd_urls), system) as kv:
        yield kv


# the same answers

REVISIONS = ("revision", "mod_revision", "create_revision", "compact_revision")


def shifted(value: Any, base: int) -> Any:
    """Plain data, with revisions counted from where the scenario began."""
    if isinstance(value, dict):
        return {
            key: inner - base if key in REVISIONS and inner > 0 else shifted(inner, base)
            for key, inner in value.items()
        }
    return [shifted(inner, base) for inner in value] if isinstance(value, list) else value


class Told:
    """What a scenario saw: answers, refusals and events."""

    def __init__(self, kv: KV, base: int) -> None:
        self.kv = kv
        self.base = base
        self.lines: list[Any] = []

    async def __call__(self, answer: Awaitable[Any]) -> Any:
        try:
            result = await answer
        except CompactedError as error:
            self.lines.append([str(error), error.code, error.compact_revision - self.base])
        except EtcdError as error:
            self.lines.append([str(error), error.code])
        else:
            self.lines.append(shifted(msgspec.to_builtins(result, builtin_types=(bytes,)), self.base))
            return result

    def events(self, events: list[Event]) -> None:
        self.lines.append(shifted(msgspec.to_builtins(events, builtin_types=(bytes,)), self.base))


async def puts(tell: Told) -> None:
    kv = tell.kv
    await tell(kv.put(b"a", b"1"))
    await tell(kv.put(b"a", b"2", prev_kv=True))
    await tell(kv.put(b"b", b"1", prev_kv=True))
    await tell(kv.put(b"", b""))
    await tell(kv.put(b"a", b"", lease=77))
    await tell(kv.delete_range(b"a", b"c", prev_kv=True))
    await tell(kv.delete_range(b"a"))
    await tell(kv.put(b"a", b"3"))


async def compare_and_swaps(tell: Told) -> None:
    kv = tell.kv
    first = await tell(kv.put_if(b"a", b"1", 0))
    second = await tell(kv.put_if(b"a", b"2", first.revision))
    await tell(kv.put_if(b"a", b"3", first.revision))
    await tell(kv.put_if(b"a", b"3", 0))
    await tell(kv.put_if(b"none", b"3", second.revision))
    await tell(kv.put_if(b"", b"", 0))
    await tell(kv.put_if(b"b", b"", 0, lease=77))
    await tell(kv.delete_if(b"a", first.revision))
    await tell(kv.delete_if(b"a", second.revision))
    await tell(kv.delete_if(b"a", second.revision))
    await tell(kv.delete_if(b"a", 0))
    await tell(kv.put_if(b"a", b"4", 0))


async def ranges(tell: Told) -> None:
    kv = tell.kv
    for number in range(5):
        await kv.put(b"r/%d" % number, b"v%d" % number)
    await tell(kv.range(b"r/1"))
    await tell(kv.range(b"r/", b"r0"))
    await tell(kv.range(b"r/", b"r0", limit=2))
    await tell(kv.range(b"r/3", b"\0", limit=2))
    await tell(kv.range(b"\0", b"\0", keys_only=True))
    await tell(kv.range(b"r/", b"r0", count_only=True))
    await tell(kv.range(b"r/", b"r0", revision=tell.base + 2))
    await tell(kv.range(b"r/", b"r0", revision=tell.base + 100))
    await tell(kv.range(b"z", b"a"))
    await tell(kv.range(b""))


async def transactions(tell: Told) -> None:
    kv = tell.kv
    await tell(kv.txn([], [Put(b"a", b"1"), Put(b"b", b"1", prev_kv=True), Range(b"a"), Range(b"", b"\0")]))
    await tell(kv.txn([], [Put(b"a", b"1"), Put(b"b", b"1", prev_kv=True), Range(b"a")]))
    await tell(kv.txn([Compare(b"a", "version", ">", 5)], [], [Range(b"a", b"c"), DeleteRange(b"b", prev_kv=True)]))
    await tell(kv.txn([Compare(b"a", "value", "=", b"1"), Compare(b"a", "lease", "!=", 4)], [Put(b"a", b"2")]))
    await tell(kv.txn([Compare(b"a", "create", "<", 2)], [Put(b"a", b"3")]))
    await tell(kv.txn([Compare(b"", "mod", "=", 0, b"\0")], [], [Put(b"a", b"", ignore_value=True)]))
    await tell(kv.txn([], [Put(b"new", b"", ignore_value=True)]))
    await tell(kv.txn([], [Put(b"a", b"1"), Put(b"a", b"2")]))
    await tell(kv.txn([], [Txn([Compare(b"a", "version", "=", 0)], [], [Put(b"n", b"1")]), DeleteRange(b"a")]))
    await tell(kv.txn([], [Txn([], [Range(b"n")])]))
    await tell(kv.txn())


async def compactions(tell: Told) -> None:
    kv = tell.kv
    for number in range(4):
        await kv.put(b"a", b"%d" % number)
    await tell(kv.compact(tell.base + 3))
    await tell(kv.compact(tell.base + 3))
    await tell(kv.compact(tell.base + 50))
    await tell(kv.range(b"a", revision=tell.base + 2))
    await tell(kv.range(b"a", b"b", revision=tell.base + 2))
    await tell(kv.watch(b"a", sink=tell.events, start_revision=tell.base + 2))
    await tell(kv.range(b"a", revision=tell.base + 3))
    # as kube-apiserver asks for it
    clock = [Compare(b"compact_rev_key", "version", "=", 0)]
    for _ in range(2):
        await tell(kv.txn(clock, [Put(b"compact_rev_key", b"3")], [Range(b"compact_rev_key")]))


async def leases(tell: Told) -> None:
    kv = tell.kv
    await tell(kv.lease_grant(60, 4711))
    await tell(kv.lease_grant(60, 4711))
    await tell(kv.lease_grant(10_000_000_000))
    await tell(kv.put(b"a", b"1", lease=4711))
    await tell(kv.put_if(b"b", b"1", 0, lease=4711))
    await tell(kv.range(b"a", b"c"))
    await tell(kv.lease_keep_alive(4711))
    await tell(kv.lease_keep_alive(4712))
    await tell(kv.lease_revoke(4711))
    await tell(kv.lease_revoke(4711))
    await tell(kv.range(b"a", b"c"))


async def watches(tell: Told) -> None:
    kv = tell.kv
    await kv.put(b"a", b"0")
    past: list[list[Event]] = []
    puts_only: list[list[Event]] = []
    await kv.watch(b"a", b"c", sink=past.append, start_revision=tell.base + 2, prev_kv=True)
    await kv.watch(b"a", b"c", sink=puts_only.append, filters=["DELETE"])
    await kv.txn([], [Put(b"a", b"1"), Put(b"b", b"1"), Put(b"c", b"1")])
    await kv.delete_range(b"a", b"z")
    await kv.put(b"c", b"2")
    await kv.put(b"b", b"2")
    await until(lambda: len(past) == 4 and len(puts_only) == 2)
    for events in past + puts_only:
        tell.events(events)


SCENARIOS = (puts, compare_and_swaps, ranges, transactions, compactions, leases, watches)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
async def test_the_answers_are_those_of_the_embedded_etcd(
    scenario: Callable[[Told], Awaitable[None]], kv: RemoteKV
) -> None:
    remote = Told(kv, (await kv.range(b"a")).revision - 1)
    await scenario(remote)
    async with embedded() as actor_kv:
        local = Told(actor_kv, 0)
        await scenario(local)
    assert remote.lines == local.lines


async def test_etcd_says_how_large_its_database_is(real_etcd: RealEtcd) -> None:
    async with System() as system, RemoteKV(RemoteEtcd((real_etcd.url,)), system) as kv:
        assert await kv.size_bytes() > 0
    async with embedded() as kv_in_memory:
        assert await kv_in_memory.size_bytes() == 0


async def test_what_is_too_big_is_refused_in_etcds_words(kv: RemoteKV) -> None:
    for size, text, code in (
        (1_600_000, "^etcdserver: request is too large$", "INVALID_ARGUMENT"),
        (3_000_000, "^grpc: received message larger than max", "RESOURCE_EXHAUSTED"),
    ):
        with pytest.raises(EtcdError, match=text) as caught:
            await kv.put(b"a", bytes(size))
        assert caught.value.code == code
    with pytest.raises(EtcdError, match="^etcdserver: too many operations in txn request$"):
        await kv.txn([], [Put(b"%d" % number, b"") for number in range(129)])


# ranges


async def test_a_range_of_very_many_keys_is_of_one_revision(kv: RemoteKV) -> None:
    for start in range(0, 3 * PAGE_KEYS, 100):
        await kv.txn([], [Put(b"p/%05d" % number, bytes(50)) for number in range(start, start + 100)])
    before = await kv.put(b"p/x", b"")
    reading = asyncio.create_task(kv.range(b"p/", b"p0"))
    for number in range(3 * PAGE_KEYS - 1, 0, -100):
        await kv.delete_range(b"p/%05d" % number)
    found = await reading
    assert len(found.kvs) == found.count >= 3 * PAGE_KEYS + 1 - 30 and not found.more
    again = await kv.range(b"p/", b"p0", revision=found.revision)
    assert again.kvs == found.kvs and found.revision >= before.revision
    limited = await kv.range(b"p/", b"p0", revision=before.revision, limit=2 * PAGE_KEYS + 7)
    assert (len(limited.kvs), limited.more, limited.count) == (2 * PAGE_KEYS + 7, True, 3 * PAGE_KEYS + 1)
    whole = await kv.range(b"p/", b"p0", revision=before.revision, limit=3 * PAGE_KEYS + 1, keys_only=True)
    assert (len(whole.kvs), whole.more) == (3 * PAGE_KEYS + 1, False)


async def test_an_answer_may_be_bigger_than_grpc_allows_by_default(kv: RemoteKV) -> None:
    for number in range(8):
        await kv.put(b"big/%d" % number, bytes([number]) * 1_000_000)
    found = await kv.range(b"big/", b"big0")
    assert [len(one.value) for one in found.kvs] == [1_000_000] * 8


def test_pages_are_of_so_many_keys_as_make_some_megabytes() -> None:
    def page(value_bytes: int, keys: int) -> list[KeyValue]:
        return [KeyValue(b"k" * 52, bytes(value_bytes), 2, 2, 1)] * keys

    assert [page_keys(page(size, 10)) for size in (0, 900, 100_000, 20_000_000)] == [50_000, 8_388, 83, 1]


# watches


async def test_a_transaction_in_fragments_comes_in_one_call(kv: RemoteKV) -> None:
    seen: list[list[Event]] = []
    for number in range(40):
        await kv.put(b"f/%02d" % number, bytes(150_000))
    await kv.watch(b"f/", b"f0", sink=seen.append, prev_kv=True)
    await kv.delete_range(b"f/", b"f0")
    await kv.put(b"f/", b"")
    await until(lambda: len(seen) == 2)
    assert [len(events) for events in seen] == [40, 1]
    assert [len(event.prev_kv.value) for event in seen[0] if event.prev_kv] == [150_000] * 40


async def test_a_watch_begins_behind_the_present_and_is_cancelled_at_any_time(kv: RemoteKV) -> None:
    seen: list[int] = []

    def once(events: list[Event]) -> None:
        seen.append(events[0].kv.mod_revision)
        watch.cancel()

    await kv.put(b"a", b"0")
    watch = await kv.watch(b"a", sink=once)
    other: list[list[Event]] = []
    await kv.watch(b"a", sink=other.append)
    first = await kv.put(b"a", b"1")
    await kv.put(b"a", b"2")
    await until(lambda: len(other) == 2)
    assert seen == [first.revision]
    watch.cancel()
    opening = asyncio.create_task(kv.watch(b"a", sink=other.append))
    await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert kv.describe().startswith("1 watches at http://127.0.0.1:")


async def test_a_sink_that_fails_loses_its_watch_and_no_other(kv: RemoteKV) -> None:
    closed, seen = list[Exception | None](), list[list[Event]]()

    def fails(events: list[Event]) -> None:
        raise ValueError(events[0].kv.value)

    await kv.watch(b"a", sink=fails, on_closed=closed.append)
    await kv.watch(b"a", sink=seen.append, on_closed=closed.append)
    await kv.put(b"a", b"1")
    await kv.put(b"a", b"2")
    await until(lambda: len(seen) == 2)
    assert [repr(error) for error in closed] == ["ValueError(b'1')"]


async def test_two_hundred_watches_are_told_of_one_write(kv: RemoteKV) -> None:
    seen: list[list[Event]] = []
    prefix = b"w/"
    await asyncio.gather(*(kv.watch(prefix, prefix_range_end(prefix), sink=seen.append) for _ in range(200)))
    await kv.put(b"w/a", b"1")
    await until(lambda: len(seen) == 200)


async def test_closing_ends_all_that_is_under_way(real_etcd: RealEtcd) -> None:
    closed: list[Exception | None] = []
    async with System() as system:
        kv = RemoteKV(RemoteEtcd(tuple(real_etcd.urls)), system)
        await kv.watch(b"a", sink=lambda events: None, on_closed=closed.append)
        os.kill(real_etcd.members[0].pid, signal.SIGSTOP)
        try:
            asking = asyncio.create_task(kv.range(b"a"))
            watching = asyncio.create_task(kv.watch(b"a", sink=lambda events: None))
            await asyncio.sleep(0.05)
            await kv.close()
            for task in (asking, watching):
                with pytest.raises(Unreachable, match="^this client of etcd was closed$"):
                    await task
        finally:
            os.kill(real_etcd.members[0].pid, signal.SIGCONT)
        await kv.close()
        with pytest.raises(Unreachable):
            await kv.put(b"a", b"1")
        assert [type(error) for error in closed] == [ActorStopped]


async def test_the_end_of_the_system_ends_its_watches(real_etcd: RealEtcd) -> None:
    async with System() as system:
        kv = RemoteKV(RemoteEtcd(tuple(real_etcd.urls)), system)
        await kv.watch(b"a", sink=lambda events: None)
        assert kv.describe().startswith("1 watches")
    await kv.close()
    await until(lambda: asyncio.all_tasks() == {asyncio.current_task()})  # gRPC ends its own a moment later


# endpoints


@pytest.mark.parametrize(
    ("endpoints", "text"),
    [
        ((), "at least one member"),
        (("127.0.0.1:2379",), "written as http://host:2379"),
        (("ftp://a",), "written as http://host:2379"),
        (("http://a:port",), "Port could not be cast"),
        (("http://a/path",), "written as http://host:2379"),
    ],
)
def test_endpoints_are_urls(endpoints: tuple[str, ...], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        RemoteEtcd(endpoints)


def test_a_certificate_comes_with_its_key() -> None:
    with pytest.raises(ValueError, match="both cert_file and key_file"):
        RemoteEtcd(("https://a",), cert_file="client.pem")


async def test_nobody_at_the_endpoint_is_said_within_the_requests_time() -> None:
    options = RemoteEtcd((f"http://127.0.0.1:{free_port()}",), request_timeout_seconds=0.3)
    async with System() as system:
        kv = RemoteKV(options, system)
        for ask in (kv.connect, lambda: kv.put(b"a", b""), lambda: kv.watch(b"a", sink=lambda events: None)):
            with pytest.raises(Unreachable, match="no member of etcd answers, last http://127.0.0.1.*refused"):
                await ask()
        await kv.close()
