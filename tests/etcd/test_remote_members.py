"""Members of a real etcd are killed, hang, come back, or lose their data, under load, with and without TLS."""

import asyncio
import os
import shutil
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from kubeloop.actors.etcd.messages import CompactedError, EtcdError, Event
from kubeloop.actors.etcd.remote.errors import OutcomeUnknown
from kubeloop.actors.etcd.remote.kv import RemoteEtcd, RemoteKV
from kubeloop.actors.etcd.remote.watch import RemoteWatch
from kubeloop.runtime.actor import Unreachable
from kubeloop.runtime.system import System
from tests.etcd.real_etcd import Member, RealEtcd, Tls, require_etcd
from tests.etcd.remote_servers import Relay, etcd_urls, until

__all__ = ["etcd_urls"]

WRITERS = 8
LOAD_SECONDS_MAX = 60.0


@pytest.fixture
async def system() -> AsyncIterator[System]:
    async with System() as system:
        yield system


@contextmanager
def paused(member: Member) -> Iterator[None]:
    """It keeps its connections and says nothing."""
    os.kill(member.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(member.pid, signal.SIGCONT)


def lines(events: list[Event]) -> list[tuple[int, str, bytes, bytes]]:
    return [(event.kv.mod_revision, event.type, event.kv.key, event.kv.value) for event in events]


class Load:
    """Writers that count their own keys up by compare-and-swap, and remember what was acknowledged."""

    def __init__(self, kv: RemoteKV) -> None:
        self.kv = kv
        self.acknowledged: dict[int, tuple[bytes, bytes]] = {}
        self.failures: Counter[str] = Counter()
        self.stopping = False

    async def write(self, number: int) -> None:
        key, mod_revision, count = b"load/%d" % number, 0, 0
        while not self.stopping:
            count += 1
            value = b"%d" % count
            try:
                result = await self.kv.put_if(key, value, mod_revision)
                assert result.succeeded, "nobody else writes this key"
                self.acknowledged[result.revision] = (key, value)
                mod_revision = result.revision
            except (OutcomeUnknown, Unreachable) as error:
                self.failures[type(error).__name__] += 1
                mod_revision = await self.newest(key)

    async def newest(self, key: bytes) -> int:
        while True:
            try:
                found = (await self.kv.range(key)).kvs
                return found[0].mod_revision if found else 0
            except (EtcdError, Unreachable):
                self.failures["reads"] += 1

    async def progress(self, count: int = 100) -> None:
        """So many more acknowledged."""
        enough = len(self.acknowledged) + count
        await until(lambda: len(self.acknowledged) >= enough, LOAD_SECONDS_MAX)


async def test_members_are_killed_under_load_and_come_back(real_etcd_cluster: RealEtcd, system: System) -> None:
    etcd = real_etcd_cluster
    seen: list[list[tuple[int, str, bytes, bytes]]] = []
    truth: list[list[tuple[int, str, bytes, bytes]]] = []
    async with RemoteKV(RemoteEtcd(tuple(etcd.urls)), system) as kv:
        await kv.watch(b"load/", b"load0", sink=lambda events: seen.append(lines(events)))
        load = Load(kv)
        writers = [asyncio.create_task(load.write(number)) for number in range(WRITERS)]
        await load.progress()
        for victim in (0, 1, 2, 0):
            etcd.members[victim].kill()
            await load.progress()
            etcd.members[victim].start()
            await asyncio.to_thread(etcd.members[victim].wait_healthy)
            await load.progress()
        load.stopping = True
        await asyncio.gather(*writers)
        last = await kv.put(b"load/last", b"")
        await until(lambda: seen and seen[-1][0][0] == last.revision)
        await kv.watch(b"load/", b"load0", sink=lambda events: truth.append(lines(events)), start_revision=1)
        await until(lambda: truth and truth[-1][0][0] == last.revision)
    assert seen == truth, "each event once, in order"
    written = {revision: (key, value) for events in truth for revision, _, key, value in events}
    assert load.acknowledged.items() <= written.items()


async def test_a_member_that_hangs_is_left_and_so_do_its_watches(real_etcd_cluster: RealEtcd, system: System) -> None:
    seen: list[list[Event]] = []
    async with RemoteKV(RemoteEtcd(tuple(real_etcd_cluster.urls)), system) as kv:
        await kv.watch(b"a", sink=seen.append)
        await kv.put(b"a", b"1")
        await until(lambda: len(seen) == 1)
        with paused(real_etcd_cluster.members[0]):
            found = (await kv.range(b"a")).kvs[0]
            assert (await kv.put_if(b"a", b"2", found.mod_revision)).succeeded
            await until(lambda: len(seen) == 2)
            await kv.watch(b"a", sink=seen.append)
        assert kv.describe().startswith(f"2 watches at {real_etcd_cluster.urls[1]}")


async def test_without_a_majority_there_is_no_leader(real_etcd_cluster: RealEtcd, system: System) -> None:
    options = RemoteEtcd(tuple(real_etcd_cluster.urls), request_timeout_seconds=1.0)
    async with RemoteKV(options, system) as kv:
        seen: list[list[Event]] = []
        await kv.watch(b"a", sink=seen.append)
        for member in real_etcd_cluster.members[:2]:
            member.kill()
        with pytest.raises((Unreachable, EtcdError)) as caught:
            while True:
                await kv.put(b"b", b"")
        assert getattr(caught.value, "code", "UNAVAILABLE") == "UNAVAILABLE"
        with pytest.raises((Unreachable, EtcdError)):
            await kv.range(b"a")
        real_etcd_cluster.members[0].start()
        await asyncio.to_thread(real_etcd_cluster.members[0].wait_healthy)
        await kv.put(b"a", b"1")
        await until(lambda: len(seen) == 1)


@pytest.fixture
def etcd(tmp_path: Path) -> Iterator[RealEtcd]:
    """One member of its own."""
    require_etcd()
    with RealEtcd(tmp_path) as etcd:
        yield etcd


async def test_a_watch_is_resumed_over_a_restart_without_its_sink_noticing(etcd: RealEtcd, system: System) -> None:
    seen: list[list[Event]] = []
    closed: list[Exception | None] = []
    async with RemoteKV(RemoteEtcd((etcd.url,)), system) as kv, RemoteKV(RemoteEtcd((etcd.url,)), system) as other:
        await kv.watch(b"a", b"c", sink=seen.append, on_closed=closed.append, prev_kv=True)
        await kv.put(b"a", b"1")
        etcd.members[0].kill()
        etcd.members[0].start()
        await other.range(b"a")  # connects anew: a write may not be sent twice
        await other.put(b"a", b"2")
        await other.put(b"b", b"1")
        etcd.members[0].stop()
        etcd.members[0].start()
        await other.range(b"a")
        await other.delete_range(b"a", b"c")
        await until(lambda: len(seen) == 4)
    assert [[(event.type, event.kv.key, event.prev_kv and event.prev_kv.value) for event in one] for one in seen] == [
        [("PUT", b"a", None)],
        [("PUT", b"a", b"1")],
        [("PUT", b"b", None)],
        [("DELETE", b"a", b"2"), ("DELETE", b"b", b"1")],
    ]
    assert len(closed) == 1  # by the end of the client


async def test_a_watch_that_compaction_overtook_is_closed(etcd_urls: tuple[str, ...], system: System) -> None:
    closed: list[Exception | None] = []
    relay = Relay(int(etcd_urls[0].rpartition(":")[2]))
    async with relay.listening() as url:
        async with RemoteKV(RemoteEtcd((url,)), system) as kv, RemoteKV(RemoteEtcd(etcd_urls), system) as other:
            await kv.watch(b"quiet", sink=lambda events: None, on_closed=closed.append)
            relay.refuses = True
            relay.cut()
            for number in range(5):
                await other.put(b"a", b"%d" % number)
            revision = (await other.range(b"a")).revision
            await other.compact(revision)
            relay.refuses = False
            await until(lambda: closed)
    error = closed[0]
    assert isinstance(error, CompactedError) and error.compact_revision == revision
    assert str(error) == "etcdserver: mvcc: required revision has been compacted"


async def test_progress_notifications_keep_a_quiet_watch_ahead_of_compaction(tmp_path: Path, system: System) -> None:
    require_etcd()
    seen: list[list[Event]] = []
    closed: list[Exception | None] = []
    with RealEtcd(tmp_path, flags=["--experimental-watch-progress-notify-interval=100ms"]) as etcd:
        relay = Relay(etcd.members[0].client_port)
        async with relay.listening() as url:
            async with RemoteKV(RemoteEtcd((url,)), system) as kv, RemoteKV(RemoteEtcd((etcd.url,)), system) as other:
                watch = await kv.watch(b"quiet", sink=seen.append, on_closed=closed.append)
                assert isinstance(watch, RemoteWatch)
                for number in range(5):
                    revision = (await other.put(b"a", b"%d" % number)).revision
                await until(lambda: watch.next_revision > revision)
                relay.refuses = True
                relay.cut()
                await other.put(b"quiet", b"")
                await other.compact(revision)
                relay.refuses = False
                await until(lambda: seen)
                assert not closed


async def test_an_etcd_that_lost_its_data_ends_the_watches(etcd: RealEtcd, system: System) -> None:
    closed: list[Exception | None] = []
    member = etcd.members[0]
    async with RemoteKV(RemoteEtcd((etcd.url,)), system) as kv:
        for number in range(5):
            await kv.put(b"a", b"%d" % number)
        await kv.watch(b"a", sink=lambda events: None, on_closed=closed.append)
        member.kill()
        shutil.rmtree(member.data_dir)
        member.start()
        await until(lambda: closed)
        assert isinstance(closed[0], EtcdError) and closed[0].code == "DATA_LOSS"
        assert str(closed[0]) == "etcd went back from revision 6 to 1"


# TLS


@pytest.fixture(scope="module")
def secure_etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealEtcd]:
    require_etcd()
    folder = tmp_path_factory.mktemp("tls")
    with RealEtcd(folder, tls=Tls.make(folder / "pki", client_cert_auth=True)) as etcd:
        yield etcd


def secure(etcd: RealEtcd, *, url: str = "", **changes: Any) -> RemoteEtcd:
    tls = etcd.tls
    assert tls is not None
    files: dict[str, Any] = {
        "ca_file": str(tls.trusted_ca_file),
        "cert_file": str(tls.client_cert_file),
        "key_file": str(tls.client_key_file),
    }
    return RemoteEtcd((url or etcd.url,), request_timeout_seconds=0.5, **(files | changes))


async def test_both_sides_show_certificates(secure_etcd: RealEtcd, system: System) -> None:
    seen: list[list[Event]] = []
    localhost = secure_etcd.url.replace("127.0.0.1", "localhost")
    for url in (secure_etcd.url, localhost):
        async with RemoteKV(secure(secure_etcd, url=url), system) as kv:
            await kv.watch(b"a", sink=seen.append)
            await kv.put(b"a", b"1")
            await until(lambda: seen)
            seen.clear()


async def test_certificates_that_are_missing_or_wrong_are_refused(
    secure_etcd: RealEtcd, system: System, tmp_path: Path
) -> None:
    other = Tls.make(tmp_path / "other")
    for options, text in (
        (secure(secure_etcd, cert_file="", key_file=""), "demands a client certificate"),
        (
            secure(secure_etcd, cert_file=str(other.client_cert_file), key_file=str(other.client_key_file)),
            "demands a client certificate",
        ),
        (secure(secure_etcd, key_file=str(other.client_key_file)), "the key is another certificate's"),
        (secure(secure_etcd, ca_file=str(other.trusted_ca_file)), "not signed by an authority of ca_file"),
        (secure(secure_etcd, url=secure_etcd.url.replace("https", "http")), "no member of etcd answers"),
    ):
        with pytest.raises(Unreachable, match=text):
            async with RemoteKV(options, system):
                pass


async def test_a_certificate_file_that_is_not_there_is_named(secure_etcd: RealEtcd, system: System) -> None:
    with pytest.raises(FileNotFoundError, match="none.pem"):
        async with RemoteKV(secure(secure_etcd, ca_file="none.pem"), system):
            pass
