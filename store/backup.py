"""A backup file put back: a new data directory with its content, under a new name.

A backup is a data file, with or without the SHA-256 that `etcdctl snapshot save` leaves at the end of what it saved.
"""

import hashlib
import os
import shutil
from pathlib import Path

from kubeloop.store.disk import FILE, MARK, Disk, State
from kubeloop.store.errors import DataDirDamagedError, DataDirError

SECTOR_BYTES = 512
CHUNK_BYTES = 1 << 20


def restore(source: Path, data_dir: Path, *, cluster_id: int, member_id: int) -> State:
    """Make `data_dir` of a backup. Its ids are new, so that nobody takes it for the cluster that it was.

    Raises `DataDirError` when the directory holds data or cannot be written, `DataDirDamagedError` when the backup is
    not whole, FileNotFoundError when there is none.
    """
    if (data_dir / FILE).exists() or (data_dir / MARK).exists():
        raise DataDirError(f"{data_dir} holds data already: restore into an empty directory")
    size = source.stat().st_size
    if not size:
        raise DataDirDamagedError(f"{source} is empty")
    digest_bytes = hashlib.sha256().digest_size
    has_digest = size % SECTOR_BYTES == digest_bytes
    if has_digest:
        size -= digest_bytes
    try:
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        digest = _copy(source, data_dir / FILE, size)
        if has_digest and digest != _tail(source, digest_bytes):
            raise DataDirDamagedError(f"{source}: its SHA-256 does not fit its content")
        disk = Disk(data_dir)
        try:
            disk.load(now=0)
            return disk.rename(cluster_id, member_id)
        finally:
            disk.close()
    except DataDirError:
        _remove(data_dir)
        raise
    except OSError as error:
        _remove(data_dir)
        raise DataDirError(f"{data_dir}: {error.strerror or error}") from None


def _copy(source: Path, target: Path, size: int) -> bytes:
    digest = hashlib.sha256()
    with source.open("rb") as reader, target.open("xb") as writer:
        while size and (chunk := reader.read(min(CHUNK_BYTES, size))):
            digest.update(chunk)
            writer.write(chunk)
            size -= len(chunk)
    return digest.digest()


def _tail(source: Path, length: int) -> bytes:
    with source.open("rb") as reader:
        reader.seek(-length, os.SEEK_END)
        return reader.read()


def _remove(data_dir: Path) -> None:
    for path in data_dir.glob(f"{Path(FILE).stem}.*"):
        path.unlink()
    if not any(data_dir.iterdir()):
        shutil.rmtree(data_dir)
