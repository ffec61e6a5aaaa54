"""A backup while etcd runs: the bytes of a data file, as `etcdctl snapshot save` asks for them."""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

from kubeloop.actors.etcd.commits import GroupCommit
from kubeloop.store.changes import changes_of
from kubeloop.store.disk import Disk
from kubeloop.store.snapshot import Snapshot
from kubeloop.store.store import Store

CHUNK_BYTES = 1 << 20


async def backup_of_disk(disk: Disk, commits: GroupCommit) -> AsyncIterator[bytes]:
    """The file as it is at the first step. Commits go on between two chunks."""
    size = await commits.do(disk.begin_backup)
    try:
        for offset in range(0, size, CHUNK_BYTES):
            yield await commits.do(disk.read_backup, offset, min(CHUNK_BYTES, size - offset))
    finally:
        await commits.do(disk.end_backup)


async def backup_of_memory(store: Store, cluster_id: int, member_id: int) -> AsyncIterator[bytes]:
    """What is in memory now, written to a file first."""
    loop = asyncio.get_running_loop()
    snapshot = store.snapshot()
    with tempfile.TemporaryDirectory(prefix="kubeloop-etcd-") as folder:
        open_disk = partial(Disk, Path(folder), cluster_id=cluster_id, member_id=member_id)
        disk = await loop.run_in_executor(None, open_disk)
        try:
            await loop.run_in_executor(None, _fill, disk, snapshot)
            size = await loop.run_in_executor(None, disk.begin_backup)
            for offset in range(0, size, CHUNK_BYTES):
                yield await loop.run_in_executor(None, disk.read_backup, offset, min(CHUNK_BYTES, size - offset))
        finally:
            await loop.run_in_executor(None, disk.close)


def _fill(disk: Disk, snapshot: Snapshot) -> None:
    disk.load(now=0)
    disk.commit(changes_of(snapshot))


async def save(chunks: AsyncIterator[bytes], path: Path) -> int:
    """Write a backup to a file, which is there as a whole or not at all; its size in bytes. Raises OSError."""
    part = path.with_name(f"{path.name}.part")
    loop = asyncio.get_running_loop()
    size = 0
    try:
        with part.open("wb") as file:
            async for chunk in chunks:
                size += await loop.run_in_executor(None, file.write, chunk)
            file.flush()
            await loop.run_in_executor(None, os.fsync, file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return size
