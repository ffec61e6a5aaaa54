"""The data directory: what was acknowledged is read back as it was, or the start is refused."""

import os
import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kubeloop.store.backup import restore
from kubeloop.store.changes import Compacted
from kubeloop.store.disk import FILE, MARK, Disk
from kubeloop.store.errors import (
    DataDirDamagedError,
    DataDirError,
    DataDirInUseError,
    NoSpaceError,
)
from kubeloop.store.model import DeleteRange, Put, Txn
from kubeloop.store.snapshot import Snapshot
from kubeloop.store.store import Store


def save(disk: Disk, store: Store) -> None:
    """What the etcd actor's group commit does."""
    unreadable = [
        kv
        for change in store.changes
        if isinstance(change, Compacted)
        for kv in store.log.unreadable(change.previous, change.revision)
    ]
    disk.commit(list(store.changes), unreadable)
    store.settle(len(store.changes))


def content(data_dir: Path) -> Snapshot:
    disk = Disk(data_dir)
    try:
        return disk.load(now=0).snapshot()
    finally:
        disk.close()


def busy_store(disk: Disk, seed: int, steps: int = 300) -> Store:
    """A store with every kind of change in it, saved in batches."""
    chance = random.Random(seed)
    store = disk.load(now=0)
    leases = [0]
    for _ in range(steps):
        key = b"%d" % chance.randrange(20)
        match chance.randrange(12):
            case 0:
                leases.append(store.lease_grant(chance.randrange(2, 100), now=0).id)
            case 1 if len(leases) > 1:
                store.lease_revoke(leases.pop())
            case 2:
                store.delete_range(key, chance.choice([None, b"9"]))
            case 3:
                keys = chance.sample(range(20), 3)
                store.txn(Txn((), [DeleteRange(b"a" + key), *(Put(b"%d" % one, b"txn", leases[-1]) for one in keys)]))
            case 4 if store.revision > max(store.compact_revision, 1):
                store.compact(chance.randrange(max(store.compact_revision, 1) + 1, store.revision + 1))
            case _:
                store.put(key, chance.randbytes(chance.choice([1, 50, 6_000])), leases[-1])
        if chance.random() < 0.3:
            save(disk, store)
        if chance.random() < 0.2:
            disk.sweep()
    save(disk, store)
    return store


@pytest.mark.parametrize("seed", range(20))
def test_what_was_saved_is_read_back(tmp_path: Path, seed: int) -> None:
    disk = Disk(tmp_path, cluster_id=1, member_id=2)
    store = busy_store(disk, seed)
    disk.close()
    for _ in range(2):
        assert content(tmp_path) == store.snapshot()
    disk = Disk(tmp_path)
    again = disk.load(now=0)
    while disk.sweep():
        pass
    disk.defragment()
    again.put(b"more", b"x")
    save(disk, again)
    disk.close()
    assert content(tmp_path) == again.snapshot()


@pytest.fixture
def killed(tmp_path: Path) -> Iterator[tuple[Path, Snapshot]]:
    """The directory of a process that was killed: its last commits are in the write-ahead log only."""
    disk = Disk(tmp_path / "living", cluster_id=1, member_id=2)
    store = busy_store(disk, seed=1)
    shutil.copytree(tmp_path / "living", tmp_path / "killed")
    yield tmp_path / "killed", store.snapshot()
    disk.close()


def assert_whole_or_refused(data_dir: Path, expected: Snapshot) -> bool:
    try:
        found = content(data_dir)
    except DataDirError:
        return True
    assert found == expected
    return False


def test_flipped_bits_are_refused_or_harmless(killed: tuple[Path, Snapshot], tmp_path: Path) -> None:
    source, expected = killed
    assert (source / f"{FILE}-wal").stat().st_size > 100_000
    chance, refused = random.Random(1), 0
    for number in range(300):
        copy = tmp_path / f"copy-{number}"
        shutil.copytree(source, copy)
        path = copy / chance.choice([FILE, f"{FILE}-wal", f"{FILE}-wal", MARK])
        offset = chance.randrange(path.stat().st_size)
        with path.open("r+b") as file:
            file.seek(offset)
            byte = file.read(1)[0]
            file.seek(offset)
            file.write(bytes([byte ^ 1 << chance.randrange(8)]))
        refused += assert_whole_or_refused(copy, expected)
        shutil.rmtree(copy)
    assert refused > 100


def test_files_cut_short_are_refused_or_harmless(killed: tuple[Path, Snapshot], tmp_path: Path) -> None:
    source, expected = killed
    chance, refused = random.Random(1), 0
    for number in range(150):
        copy = tmp_path / f"copy-{number}"
        shutil.copytree(source, copy)
        path = copy / chance.choice([FILE, f"{FILE}-wal"])
        os.truncate(path, chance.choice([0, chance.randrange(path.stat().st_size)]))
        refused += assert_whole_or_refused(copy, expected)
        shutil.rmtree(copy)
    assert refused > 100


def test_a_closed_file_that_lost_its_tail_or_itself_is_refused(tmp_path: Path) -> None:
    disk = Disk(tmp_path / "whole")
    expected = busy_store(disk, seed=2).snapshot()
    disk.close()
    size = (tmp_path / "whole" / FILE).stat().st_size
    for number, cut in enumerate((0, 1, 100, 4096, 5000, size // 2, size - 4096, size - 1, None)):
        copy = tmp_path / str(number)
        shutil.copytree(tmp_path / "whole", copy)
        if cut is None:
            (copy / FILE).unlink()
        else:
            os.truncate(copy / FILE, cut)
        refused = assert_whole_or_refused(copy, expected)
        assert refused or cut == size - 1  # which may have been a zero: what SQLite reads beyond the end


def test_an_older_file_put_back_is_refused(tmp_path: Path) -> None:
    disk = Disk(tmp_path / "data")
    busy_store(disk, seed=3, steps=50)
    disk.close()
    shutil.copy(tmp_path / "data" / FILE, tmp_path / "older")
    disk = Disk(tmp_path / "data")
    busy_store(disk, seed=3, steps=50)
    disk.close()
    shutil.copy(tmp_path / "older", tmp_path / "data" / FILE)
    with pytest.raises(DataDirDamagedError, match="acknowledged commits"):
        content(tmp_path / "data")


@pytest.mark.parametrize("others", [b"not a database at all" * 100, b""])
def test_another_programs_file_is_refused_and_left_alone(tmp_path: Path, others: bytes) -> None:
    path = tmp_path / FILE
    if others:
        path.write_bytes(others)
    else:
        connection = sqlite3.connect(path)
        connection.execute("CREATE TABLE theirs (a)")
        connection.close()
    before = path.read_bytes()
    with pytest.raises(DataDirError):
        Disk(tmp_path)
    assert path.read_bytes() == before


def test_a_second_process_and_a_second_store_are_refused(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    store = disk.load(now=0)
    program = f"from pathlib import Path; from kubeloop.store.disk import Disk; Disk(Path({str(tmp_path)!r}))"
    for _ in range(2):
        with pytest.raises(DataDirInUseError, match="in use by another etcd"):
            Disk(tmp_path)
        other = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
        assert other.returncode == 1 and "DataDirInUseError" in other.stderr
    store.put(b"a", b"1")
    save(disk, store)
    disk.close()
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_directory_that_cannot_be_made_or_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/kubeloop")):
        with pytest.raises(DataDirError, match=f"data directory {path}"):
            Disk(path)


def test_a_full_disk_refuses_the_batch_keeps_the_rest_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    store = disk.load(now=0)
    store.put(b"a", b"1")
    save(disk, store)
    pages = disk._connection.execute("PRAGMA page_count").fetchone()[0]
    disk._connection.execute(f"PRAGMA max_page_count = {pages + 5}")
    before = store.snapshot()
    store.put(b"big", bytes(100_000))
    store.delete_range(b"a")
    with pytest.raises(NoSpaceError):
        save(disk, store)
    store.roll_back()
    assert store.snapshot() == before
    store.put(b"small", b"1")
    save(disk, store)
    disk._connection.execute("PRAGMA max_page_count = 1000000")
    store.put(b"big", bytes(100_000))
    save(disk, store)
    disk.close()
    assert content(tmp_path) == store.snapshot()


FAILING = """
import resource, sys
from pathlib import Path
from kubeloop.store.disk import Disk
from kubeloop.store.errors import DiskFailedError
disk = Disk(Path(sys.argv[1]))
store = disk.load(now=0)
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
acknowledged = store.revision
try:
    while True:
        store.put(b"a", bytes(10_000))
        disk.commit(list(store.changes))
        store.settle(1)
        acknowledged = store.revision
except DiskFailedError:
    print(acknowledged)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs RLIMIT_FSIZE")
def test_a_write_that_fails_is_said_so_and_what_was_acknowledged_is_there(tmp_path: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", FAILING, str(tmp_path)], capture_output=True, text=True, check=True)
    acknowledged = int(ended.stdout)
    assert acknowledged > 10
    assert content(tmp_path).revision >= acknowledged


def test_a_backup_that_is_not_whole_is_refused_and_nothing_is_left_of_it(tmp_path: Path) -> None:
    disk = Disk(tmp_path / "data")
    store = busy_store(disk, seed=4)
    store.put(b"\0", b"value" * 5)
    save(disk, store)
    disk.close()
    whole = (tmp_path / "data" / FILE).read_bytes()
    value = whole.index(bytes(store.snapshot().base[0].value))
    for number, damaged in enumerate(
        (whole[:-5000], whole[:value] + b"?" + whole[value + 1 :], whole + bytes(32), b"")
    ):
        (tmp_path / "backup").write_bytes(damaged)
        target = tmp_path / f"restored-{number}"
        with pytest.raises(DataDirError):
            restore(tmp_path / "backup", target, cluster_id=7, member_id=8)
        assert not target.exists()
    with pytest.raises(DataDirError, match="holds data already"):
        restore(tmp_path / "backup", tmp_path / "data", cluster_id=7, member_id=8)
    with pytest.raises(FileNotFoundError):
        restore(tmp_path / "no backup", tmp_path / "new", cluster_id=7, member_id=8)
