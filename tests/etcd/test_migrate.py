"""`kubeloop etcd migrate`: what lives in one etcd is then in the other, or the command says what is not."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from kubeloop import Cluster
from kubeloop.actors.etcd.messages import KV, KeyValue, Put
from kubeloop.actors.etcd.migrate import MigrationError, migrate, opened
from kubeloop.actors.etcd.remote.kv import RemoteEtcd, RemoteKV
from kubeloop.actors.etcd_migrate import lines
from kubeloop.runtime.system import System
from tests.etcd.real_etcd import RealEtcd, Tls, require_etcd

COMMAND = [sys.executable, "-m", "kubeloop", "etcd", "migrate"]
CONFIG_MAP = "{apiVersion: v1, kind: ConfigMap, metadata: {name: moved}, data: {a: b}}"


class Sides:
    """A real etcd, an embedded one in a directory, and another embedded one; nothing is in any of them."""

    def __init__(self, real: KV, embedded: KV, other: KV) -> None:
        self.real = real
        self.embedded = embedded
        self.other = other


@pytest.fixture
async def sides(real_etcd: RealEtcd, tmp_path: Path) -> AsyncIterator[Sides]:
    async with System() as system, AsyncExitStack() as stack:
        kvs = [
            (await stack.enter_async_context(opened(system, side, name, must_exist=False)))[0]
            for name, side in (
                ("real", RemoteEtcd(tuple(real_etcd.urls))),
                ("embedded", tmp_path / "embedded"),
                ("other", tmp_path / "other"),
            )
        ]
        yield Sides(*kvs)


async def contents(kv: KV) -> list[tuple[bytes, bytes, bool]]:
    found = await kv.range(b"\0", b"\0")
    return [(one.key, one.value, bool(one.lease)) for one in found.kvs]


async def fill(kv: KV, keys: int, value: bytes = b"v") -> None:
    for start in range(0, keys, 100):
        await kv.txn((), [Put(b"/registry/%06d" % number, value) for number in range(start, min(start + 100, keys))])


async def newest(kv: KV, key: bytes) -> KeyValue:
    return (await kv.range(key)).kvs[0]


async def test_all_that_lives_is_moved_there_and_back(sides: Sides) -> None:
    await fill(sides.embedded, 2_500)
    await sides.embedded.delete_range(b"/registry/000100", b"/registry/000200")
    await sides.embedded.put(b"\xff\xff", bytes(range(256)))
    lease = await sides.embedded.lease_grant(1_000, 4711)
    await sides.embedded.put(b"leased", b"", lease=lease.id)
    before = await contents(sides.embedded)
    progress: list[tuple[int, int]] = []
    report = await migrate(sides.embedded, sides.real, on_progress=lambda *now: progress.append(now))
    assert await contents(sides.real) == before
    assert (report.keys, report.leases, report.expired, report.deleted) == (2_402, 1, 0, 0)
    assert progress[-1] == (2_402, 2_402) and progress == sorted(progress)
    back = await migrate(sides.real, sides.other)
    assert await contents(sides.other) == before
    assert back.value_bytes == report.value_bytes == 2_400 + 256
    status = await sides.other.lease_time_to_live((await newest(sides.other, b"leased")).lease)
    assert (status.id, status.granted_ttl_seconds, status.keys) == (4711, 1_000, [b"leased"])


async def test_only_a_prefix_is_moved_beside_what_is_there(sides: Sides) -> None:
    await sides.embedded.put(b"/a/1", b"1")
    await sides.embedded.put(b"/b/1", b"1")
    await sides.real.put(b"/b/1", b"another's")
    await migrate(sides.embedded, sides.real, prefix=b"/a/")
    assert await contents(sides.real) == [(b"/a/1", b"1", False), (b"/b/1", b"another's", False)]


async def test_what_the_target_has_is_deleted_only_by_force(sides: Sides) -> None:
    await sides.embedded.put(b"/a/1", b"1")
    await fill(sides.real, 2_100)
    await sides.real.put(b"/a/2", b"2")
    with pytest.raises(MigrationError, match="it has 1 keys below /a/ already; --force deletes them first"):
        await migrate(sides.embedded, sides.real, prefix=b"/a/")
    with pytest.raises(MigrationError, match="it has 2101 keys already"):
        await migrate(sides.embedded, sides.real)
    report = await migrate(sides.embedded, sides.real, force=True)
    assert report.deleted == 2_101 and await contents(sides.real) == [(b"/a/1", b"1", False)]


async def test_compact_rev_key_stays_since_its_value_is_a_revision_of_the_source(sides: Sides) -> None:
    await sides.embedded.put(b"compact_rev_key", b"1000000")
    await sides.embedded.put(b"d", b"")
    await migrate(sides.embedded, sides.real)
    assert await contents(sides.real) == [(b"d", b"", False)]


async def test_a_lease_whose_id_is_taken_gets_another(sides: Sides) -> None:
    await sides.embedded.lease_grant(1_000, 4711)
    await sides.embedded.put(b"a", b"", lease=4711)
    await sides.real.lease_grant(60, 4711)
    await migrate(sides.embedded, sides.real)
    lease = (await newest(sides.real, b"a")).lease
    assert lease not in (0, 4711)
    assert (await sides.real.lease_time_to_live(lease)).granted_ttl_seconds == 1_000


class Once:
    """Something that happens while keys are copied: with the first progress that is told."""

    def __init__(self, action: Callable[[], Awaitable[object]]) -> None:
        self.done: asyncio.Future[object] | None = None
        self._action = action

    def __call__(self, copied: int, total: int) -> None:
        if self.done is None:
            self.done = asyncio.ensure_future(self._action())


async def test_a_source_that_is_written_to_is_told(sides: Sides) -> None:
    await fill(sides.real, 2_500)
    changes: list[Callable[[], Awaitable[object]]] = [
        lambda: sides.real.put(b"/registry/000001", b"new"),
        lambda: sides.real.put(b"/registry/new", b""),
        lambda: sides.real.delete_range(b"/registry/000002"),
    ]
    for change in changes:
        with pytest.raises(MigrationError, match="^1 keys of the source changed while it was copied: stop what runs"):
            await migrate(sides.real, sides.embedded, force=True, on_progress=Once(change))


async def test_a_source_that_is_compacted_meanwhile_is_told(sides: Sides) -> None:
    await fill(sides.embedded, 2_500)

    async def compact() -> None:
        await sides.embedded.compact((await sides.embedded.put(b"a", b"")).revision)

    with pytest.raises(MigrationError, match="^the source was compacted while it was copied"):
        await migrate(sides.embedded, sides.real, on_progress=Once(compact))


async def test_values_as_big_as_etcd_takes_are_moved_and_bigger_ones_named(sides: Sides) -> None:
    for number in range(5):
        await sides.embedded.put(b"big/%d" % number, bytes([number]) * 1_400_000)
    await migrate(sides.embedded, sides.real)
    assert await contents(sides.real) == await contents(sides.embedded)
    await sides.embedded.put(b"huge", bytes(1_600_000))
    with pytest.raises(MigrationError, match=r"request is too large \(the largest is huge with 1600000 bytes\)"):
        await migrate(sides.embedded, sides.real, prefix=b"huge")


def test_a_line_is_said_for_each_tenth() -> None:
    said: list[str] = []
    on_progress = lines(said.append)
    for copied in range(0, 1_001, 10):
        on_progress(copied, 1_000)
    assert said[0] == "copied 100 of 1000 keys" and said[-1] == "copied 1000 of 1000 keys" and len(said) == 10


# the command


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True, timeout=60)


@asynccontextmanager
async def connected(options: RemoteEtcd) -> AsyncIterator[RemoteKV]:
    async with System() as system, RemoteKV(options, system) as kv:
        yield kv


async def test_a_cluster_moves_to_a_real_etcd_and_back(real_etcd: RealEtcd, tmp_path: Path) -> None:
    async with Cluster(nodes=1, data_dir=tmp_path) as cluster:
        await cluster.apply(CONFIG_MAP)
        before = await cluster.client.get("configmaps", "moved", "default")
    there = await asyncio.to_thread(run, "--from", tmp_path, "--to", real_etcd.url)
    assert (there.returncode, there.stderr.splitlines()[-1].split()[0]) == (0, "copied"), there.stderr
    assert "read back and compared" in there.stdout and "resourceVersion of every object has changed" in there.stdout
    async with Cluster(nodes=1, data_dir=tmp_path, etcd=real_etcd.urls) as cluster:
        moved = await cluster.client.get("configmaps", "moved", "default")
        assert (moved.metadata.uid, moved.data) == (before.metadata.uid, before.data)
        await cluster.apply(CONFIG_MAP.replace("a: b", "a: c"))
    back = await asyncio.to_thread(run, "--from", real_etcd.url, "--to", tmp_path, "--force")
    assert back.returncode == 0, back.stderr
    async with Cluster(nodes=1, data_dir=tmp_path) as cluster:
        moved = await cluster.client.get("configmaps", "moved", "default")
        assert (moved.metadata.uid, moved.data) == (before.metadata.uid, {"a": "c"})


async def test_certificates_are_shown_to_either_side(tmp_path: Path) -> None:
    require_etcd()
    tls = Tls.make(tmp_path / "tls", client_cert_auth=True)
    with RealEtcd(tmp_path / "etcd", tls=tls) as etcd:
        files = (str(tls.trusted_ca_file), str(tls.client_cert_file), str(tls.client_key_file))
        async with connected(RemoteEtcd((etcd.url,), *files)) as kv:
            await kv.put(b"a", b"1")

        def shown(side: str) -> list[str]:
            return [f"--{side}-cacert={files[0]}", f"--{side}-cert={files[1]}", f"--{side}-key={files[2]}"]

        out = await asyncio.to_thread(run, "--from", etcd.url, "--to", tmp_path / "dir", *shown("from"))
        assert out.returncode == 0, out.stderr
        back = await asyncio.to_thread(run, "--from", tmp_path / "dir", "--to", etcd.url, *shown("to"), "--force")
        assert back.returncode == 0 and "1 keys of the target deleted before" in back.stdout, back.stderr


def test_mistakes_are_told_in_one_line(real_etcd: RealEtcd, tmp_path: Path) -> None:
    url = real_etcd.url
    for arguments, text in (
        (("--from", tmp_path / "none", "--to", url), "none holds no etcd of kubeloop's: there is no"),
        (("--from", url, "--to", url.replace("127.0.0.1", "localhost")), "--from and --to are the same etcd"),
        (("--from", "http://", "--to", url), "written as http://host:2379"),
        (("--from", url, "--to", tmp_path, "--to-cacert", "ca.pem"), "is a directory: certificates are for URLs"),
        (("--from", url, "--to", ""), "--to is empty: a URL"),
        (("--from", url.replace("http", "https"), "--from-cacert", "none.pem", "--to", tmp_path), "none.pem: No such"),
        (("--from", url, "--to", Path(__file__)), "data directory"),
    ):
        done = run(*arguments)
        assert done.returncode == 1 and not done.stdout
        assert text in done.stderr and done.stderr.count("\n") == 1, done.stderr


async def test_a_directory_in_use_is_left_alone(real_etcd: RealEtcd, tmp_path: Path) -> None:
    async with Cluster(nodes=0, data_dir=tmp_path):
        done = await asyncio.to_thread(run, "--from", tmp_path, "--to", real_etcd.url)
    assert done.returncode == 1 and "is in use by another etcd" in done.stderr
