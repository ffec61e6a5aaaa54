"""A transaction that puts and deletes the same key, as etcd lets it, is kept by history, disk and compaction."""

import random
from pathlib import Path

import pytest

from kubeloop.store.disk import Disk
from kubeloop.store.errors import DuplicateKeyError, FutureRevisionError, StoreError
from kubeloop.store.model import DeleteRange, Op, Put, Txn
from kubeloop.store.store import Store
from tests.store.test_disk import save

OPS: list[Op] = [
    Put(b"a", b"1"),
    Put(b"b", b"2"),
    Put(b"c", b""),
    DeleteRange(b"b"),
    DeleteRange(b"a", b"\0"),
    DeleteRange(b"b", b"\0"),
    DeleteRange(b"\0", b"\0"),
]


def reopened(disk: Disk, store: Store) -> tuple[Disk, Store]:
    before = store.snapshot()
    disk.close()
    disk = Disk(disk.data_dir)
    store = disk.load(now=0)
    assert store.snapshot() == before
    return disk, store


@pytest.mark.parametrize("seed", range(40))
def test_what_was_written_twice_is_read_back(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    disk = Disk(tmp_path)
    store = disk.load(now=0)
    for _ in range(40):
        try:
            store.txn(Txn((), tuple(chance.choices(OPS, k=chance.randrange(1, 6)))))
        except DuplicateKeyError:
            continue
        if chance.random() < 0.2:
            try:
                store.compact(chance.randrange(max(1, store.revision - 4), store.revision + 1))
            except StoreError as error:
                assert not isinstance(error, FutureRevisionError)
        if chance.random() < 0.5:
            save(disk, store)
        if chance.random() < 0.2:
            save(disk, store)
            while chance.random() < 0.5 and disk.sweep():
                pass
            disk, store = reopened(disk, store)
    disk.close()
