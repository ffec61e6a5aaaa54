"""Moving what lives in one etcd to another: an embedded data directory and a real etcd, either way round.

Copied is what is there at one revision of the source: keys, values, and leases, which get their whole time again (as
after any restore). Not copied are history and revisions: those of the target count the target's own transactions, so
every key has a new mod revision, which is its object's resourceVersion. `compact_rev_key` stays behind: its value is a
revision of the source.

The target must be empty below the prefix. At the end it is read back and compared, and the source must not have moved.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

from msgspec import Struct

from kubeloop.actors.etcd.actor import EtcdActor
from kubeloop.actors.etcd.kv import ActorKV
from kubeloop.actors.etcd.messages import KV, CompactedError, EtcdError, KeyValue, Put, prefix_range_end
from kubeloop.actors.etcd.options import EtcdOptions
from kubeloop.actors.etcd.remote.options import RemoteEtcd
from kubeloop.runtime.system import System
from kubeloop.store.disk import FILE

COMPACT_REV_KEY = b"compact_rev_key"
PAGE_KEYS = 1_000
BATCH_OPS_MAX = 100  # etcd's --max-txn-ops is 128
BATCH_BYTES_MAX = 1_000_000  # etcd's --max-request-bytes is 1.5 MiB
KEY_BYTES = 64  # what a put costs beside key and value
ATTEMPTS_MAX = 5
VALUE_BYTES_MAX = 1 << 30  # an embedded target takes what the source had
CLUSTER_FOLDERS = ("etcd", "pki")  # of a cluster's data_dir; the first is etcd's

T = TypeVar("T")
OnProgress = Callable[[int, int], object]
"""(keys copied, keys to copy)"""


class MigrationError(Exception):
    """The copy was not made, or is not whole. The text says what to do."""


class Report(Struct, frozen=True):
    """What was copied. `expired`: keys that were not, as their leases ended meanwhile; `deleted`: the target's own."""

    keys: int
    value_bytes: int
    leases: int
    expired: int
    deleted: int
    source_revision: int
    target_revision: int


async def migrate(
    source: KV,
    target: KV,
    *,
    prefix: bytes = b"",
    force: bool = False,
    on_progress: OnProgress = lambda copied, total: None,
) -> Report:
    """Copy every key that begins with `prefix`. With `force` what the target has below it is deleted first.

    Raises `MigrationError`, and what the two etcds raise; then the target may hold a part.
    """
    key, range_end = prefix or b"\0", prefix_range_end(prefix)
    present = (await target.range(key, range_end, count_only=True)).count
    if present and not force:
        below = f"below {prefix.decode(errors='replace')} " if prefix else ""
        raise MigrationError(
            f"the target is not empty: it has {present} keys {below}already; --force deletes them first"
        )
    deleted = await _delete(target, key, range_end) if present else 0
    total = await source.range(key, range_end, count_only=True)
    copy = Copy(source, target)
    try:
        async for page in pages(source, key, range_end, total.revision):
            await copy.page(page)
            on_progress(copy.keys, total.count)
        await copy.flush()
    except CompactedError:
        raise MigrationError("the source was compacted while it was copied: stop what runs on it") from None
    on_progress(copy.keys, copy.keys)
    await _check_source_stood_still(source, key, range_end, total.revision, copy)
    revision = await _check_target(target, key, range_end, copy)
    return Report(copy.keys, copy.value_bytes, len(copy.leases), copy.expired, deleted, total.revision, revision)


async def pages(
    kv: KV, key: bytes, range_end: bytes, revision: int = 0, *, keys_only: bool = False
) -> AsyncIterator[list[KeyValue]]:
    """A range as it is at one revision (0: now), a page at a time, without `compact_rev_key`."""
    while True:
        found = await kv.range(key, range_end, revision=revision, limit=PAGE_KEYS, keys_only=keys_only)
        revision = revision or found.revision
        if found.kvs:
            key = found.kvs[-1].key + b"\0"
            yield [kv for kv in found.kvs if kv.key != COMPACT_REV_KEY]
        if not found.more:
            return


class Digest:
    """Of keys and values, in the order of keys. Those with a lease may go at any time: they are not in it."""

    def __init__(self) -> None:
        self.keys = 0
        self._sum = sha256()

    def add(self, kv: KeyValue) -> None:
        if not kv.lease:
            self.keys += 1
            self._sum.update(b"%d %d %b%b" % (len(kv.key), len(kv.value), kv.key, kv.value))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Digest) and (self.keys, self._sum.digest()) == (other.keys, other._sum.digest())


class Copy:
    """Puts in batches. Each may be repeated, since nobody else writes to the target."""

    def __init__(self, source: KV, target: KV) -> None:
        self.keys = self.value_bytes = self.expired = 0
        self.digest = Digest()
        self.leases: dict[int, int] = {}  # the source's id -> the target's; 0: it has ended
        self._source = source
        self._target = target
        self._batch: list[Put] = []
        self._batch_bytes = 0

    async def page(self, kvs: list[KeyValue]) -> None:
        for kv in kvs:
            lease = await self._lease(kv.lease) if kv.lease else 0
            if kv.lease and not lease:
                self.expired += 1
                continue
            size = len(kv.key) + len(kv.value) + KEY_BYTES
            if len(self._batch) == BATCH_OPS_MAX or self._batch_bytes + size > BATCH_BYTES_MAX:
                await self.flush()
            self._batch.append(Put(kv.key, kv.value, lease))
            self._batch_bytes += size
            self.digest.add(kv)
            self.value_bytes += len(kv.value)

    async def flush(self) -> None:
        batch, self._batch, self._batch_bytes = self._batch, [], 0
        if not batch:
            return
        try:
            await repeated(lambda: self._target.txn((), batch))
        except EtcdError as error:
            largest = max(batch, key=lambda put: len(put.value))
            key = largest.key.decode(errors="replace")
            raise MigrationError(
                f"the target refuses {len(batch)} keys from {batch[0].key.decode(errors='replace')} on: {error} "
                f"(the largest is {key} with {len(largest.value)} bytes)"
            ) from error
        self.keys += len(batch)

    async def _lease(self, lease_id: int) -> int:
        """The target's lease for one of the source's, under the same id where that is free; 0 when it has ended."""
        if lease_id not in self.leases:
            status = await self._source.lease_time_to_live(lease_id)
            self.leases[lease_id] = (
                await self._grant(lease_id, status.granted_ttl_seconds) if (status.remaining_seconds >= 0) else 0
            )
        return self.leases[lease_id]

    async def _grant(self, lease_id: int, ttl_seconds: int) -> int:
        try:
            return (await self._target.lease_grant(ttl_seconds, lease_id)).id
        except EtcdError as error:
            if error.code not in ("FAILED_PRECONDITION", "UNAVAILABLE"):
                raise
        return (await self._target.lease_grant(ttl_seconds)).id


async def repeated(send: Callable[[], Awaitable[T]]) -> T:
    """What may be done twice, until its outcome is known."""
    for _ in range(ATTEMPTS_MAX - 1):
        try:
            return await send()
        except EtcdError as error:
            if error.code != "UNAVAILABLE":
                raise
    return await send()


async def _delete(kv: KV, key: bytes, range_end: bytes) -> int:
    """In portions that no etcd takes long for."""
    deleted = 0
    async for page in pages(kv, key, range_end, keys_only=True):
        if page:
            first, end = page[0].key, page[-1].key + b"\0"
            deleted += (await repeated(lambda: kv.delete_range(first, end))).deleted  # noqa: B023 - called at once
    return deleted


async def _check_source_stood_still(source: KV, key: bytes, range_end: bytes, revision: int, copy: Copy) -> None:
    """Keys with a lease may have gone; nothing else may have happened."""
    changed = kept = 0
    async for page in pages(source, key, range_end, keys_only=True):
        changed += sum(kv.mod_revision > revision for kv in page)
        kept += sum(not kv.lease and kv.create_revision <= revision for kv in page)
    changed += max(0, copy.digest.keys - kept)
    if changed:
        raise MigrationError(
            f"{changed} keys of the source changed while it was copied: stop what runs on it, then again with --force"
        )


async def _check_target(target: KV, key: bytes, range_end: bytes, copy: Copy) -> int:
    """The target's revision, when it has what the source had."""
    digest = Digest()
    revision = (await target.range(key, range_end, count_only=True)).revision
    async for page in pages(target, key, range_end, revision):
        for kv in page:
            digest.add(kv)
    if digest != copy.digest:
        raise MigrationError(
            f"the target has {digest.keys} keys, not the {copy.digest.keys} of the source, or other values: "
            "something else writes to it"
        )
    return revision


# the two sides


def etcd_folder(path: Path) -> Path:
    """Where the etcd is in a folder that may be a whole cluster's data_dir."""
    return path / CLUSTER_FOLDERS[0] if any((path / name).is_dir() for name in CLUSTER_FOLDERS) else path


@asynccontextmanager
async def opened(
    system: System, side: RemoteEtcd | Path, name: str, *, must_exist: bool
) -> AsyncIterator[tuple[KV, int]]:
    """One side's `KV` and its cluster's id. A folder is opened as an actor `name`.

    Raises `MigrationError` for a folder without an etcd when it must have one, DataDirError, OSError, Unreachable.
    """
    if isinstance(side, RemoteEtcd):
        from kubeloop.actors.etcd.remote.kv import RemoteKV

        async with RemoteKV(side, system) as kv:
            yield kv, kv.cluster_id
        return
    folder = etcd_folder(side)
    if must_exist and not (folder / FILE).is_file():
        raise MigrationError(f"{side} holds no etcd of kubeloop's: there is no {folder / FILE}")
    options = EtcdOptions(data_dir=folder, quota_backend_bytes=-1, max_request_bytes=VALUE_BYTES_MAX)
    ref = await system.start(lambda: EtcdActor(options), name=name, host=name)
    try:
        live = system.slot(name).live
        assert live is not None and isinstance(live.actor, EtcdActor)
        yield ActorKV(ref), live.actor.cluster_id
    finally:
        await system.stop(name)
