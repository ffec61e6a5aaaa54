"""The disk: one SQLite file that is log and snapshot at once, written a batch of changes at a time.

A row of `kv` is one version of a key, as in etcd's own file: the log is the rows in order, the snapshot is what
compaction left of them. `commit` returns when the batch is on disk (write-ahead log, one fsync a commit). One thread at
a time may call in; every call may block.

Nothing is lost without a word: each row has a checksum, and `state`, written with every commit, the number and the sum
of all of them. A write-ahead log that was cut would still look whole, only older, so the number of the last
acknowledged commit is also kept in a file beside it.
"""

import os
import sqlite3
from collections import deque
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeAlias
from zlib import crc32

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from kubeloop.store.changes import Change, Compacted, Granted, Revoked, Written
from kubeloop.store.errors import (
    DataDirDamagedError,
    DataDirError,
    DataDirInUseError,
    DiskFailedError,
    NoSpaceError,
)
from kubeloop.store.history import newest_of_each_key
from kubeloop.store.model import DELETE, PUT, Event, KeyValue, kv_checksum
from kubeloop.store.snapshot import Snapshot
from kubeloop.store.store import TXN_OPS_MAX, Store

FILE = "etcd.db"
MARK = "etcd.commits"
APPLICATION_ID = 0x6B75626C
FORMAT = 1
SUB_BITS = 24  # of a row's position: its place in its transaction; the bits above are its revision
CHECKPOINT_PAGES = 4_000
CACHE_KIBIBYTES = 16_384
ROWS_AT_ONCE = (64, 8, 1)  # rows of one INSERT: each statement hands the interpreter lock over once
SWEEP_ROWS = 500
SCHEMA = """
CREATE TABLE kv (position INTEGER PRIMARY KEY, key BLOB NOT NULL, value BLOB NOT NULL, create_revision INTEGER NOT NULL,
    version INTEGER NOT NULL, lease INTEGER NOT NULL, checksum INTEGER NOT NULL);
CREATE TABLE lease (id INTEGER PRIMARY KEY, ttl_seconds INTEGER NOT NULL);
CREATE TABLE state (id INTEGER PRIMARY KEY CHECK (id = 1), body BLOB NOT NULL, checksum INTEGER NOT NULL);
"""


Subs: TypeAlias = dict[tuple[int, bytes, int], int]
"""The place in its transaction of each row that is not the first of its revision: by revision, key and version. When a
transaction deletes a key, puts it and deletes it again, -1 is the version of the second tombstone."""


class State(Struct, frozen=True):
    """What the file says of itself. `rows` and `digest` are of `kv` and `lease` together."""

    cluster_id: int
    member_id: int
    starts: int = 0
    revision: int = 1
    compact_revision: int = -1
    commits: int = 0
    rows: int = 0
    digest: int = 0
    alarms: tuple[tuple[int, str], ...] = ()


class Disk:
    """A data directory, taken for this process alone.

    Raises `DataDirError` (cannot be read or written), `DataDirInUseError`, `DataDirDamagedError`.
    `cluster_id` and `member_id` are those of a directory that is new.
    """

    def __init__(self, data_dir: Path, *, cluster_id: int = 0, member_id: int = 0) -> None:
        self.data_dir = data_dir
        self.size_bytes = self.size_in_use_bytes = 0
        self._garbage: deque[tuple[int, int]] = deque()  # (position, checksum) of rows that nobody can read
        self._subs: Subs = {}
        self._backups = 0
        path = data_dir / FILE
        try:
            data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._mark = os.open(data_dir / MARK, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise DataDirError(f"data directory {data_dir}: {error.strerror or error}") from None
        self._reader: int | None = None
        try:
            acknowledged = self._read_mark()
            if acknowledged and not (path.exists() and path.stat().st_size):
                raise DataDirDamagedError(f"{path} is gone, with {acknowledged} acknowledged commits")
            self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=0)
            self.state = self._open(State(cluster_id, member_id), acknowledged)
            # From here on: closing any descriptor of the file gives up this process's locks on it.
            self._reader = os.open(path, os.O_RDONLY)
            self.measure()
        except sqlite3.Error as error:
            self.close()
            raise _refusal(data_dir, error) from None
        except BaseException:
            self.close()
            raise

    def _open(self, fresh: State, acknowledged: int) -> State:
        execute = self._connection.execute
        execute("PRAGMA locking_mode = EXCLUSIVE")
        execute("BEGIN IMMEDIATE")
        execute("COMMIT")
        execute("PRAGMA synchronous = FULL")
        execute("PRAGMA fullfsync = ON")  # macOS: through the drive's cache too
        application_id = execute("PRAGMA application_id").fetchone()[0]
        if not application_id and not execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            self._create(fresh)
        elif application_id != APPLICATION_ID:
            raise DataDirDamagedError(f"{self.data_dir / FILE} is not a kubeloop etcd's file")
        execute("PRAGMA journal_mode = WAL")
        execute("PRAGMA cell_size_check = ON")
        execute(f"PRAGMA cache_size = -{CACHE_KIBIBYTES}")
        execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
        damaged = DataDirDamagedError
        version = execute("PRAGMA user_version").fetchone()[0]
        if version != FORMAT:
            raise DataDirError(f"{self.data_dir / FILE} has format {version}; this kubeloop reads format {FORMAT}")
        found = execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise damaged(f"{self.data_dir / FILE}: {found}")
        row = execute("SELECT body, checksum FROM state").fetchone()
        if row is None or crc32(row[0]) != row[1]:
            raise damaged(f"{self.data_dir / FILE}: its state has a wrong checksum")
        state = msgspec.json.decode(row[0], type=State)
        if state.commits < acknowledged:
            raise damaged(f"{self.data_dir / FILE} has {state.commits} of {acknowledged} acknowledged commits")
        return state

    def _create(self, fresh: State) -> None:
        execute = self._connection.execute
        execute("BEGIN IMMEDIATE")
        execute(f"PRAGMA application_id = {APPLICATION_ID}")
        execute(f"PRAGMA user_version = {FORMAT}")
        for statement in SCHEMA.strip().split(";\n"):
            execute(statement)
        execute("INSERT INTO state VALUES (1, ?, ?)", _encoded(fresh))
        execute("COMMIT")
        os.chmod(self.data_dir / FILE, 0o600)  # what SQLite puts beside it has the same mode
        _sync_folder(self.data_dir)

    def load(self, *, now: float, txn_ops_max: int = TXN_OPS_MAX) -> Store:
        """Everything that was acknowledged, as a store that keeps its changes. Raises `DataDirDamagedError`."""
        try:
            snapshot = self._snapshot()
        except sqlite3.Error as error:
            raise _refusal(self.data_dir, error) from None
        try:
            self._write(replace(self.state, starts=self.state.starts + 1))
        except NoSpaceError:
            pass  # to read, and to delete other files, there is room enough
        return Store.restore(snapshot, now=now, keeps_changes=True, txn_ops_max=txn_ops_max)

    def _snapshot(self) -> Snapshot:
        state, compacted = self.state, self.state.compact_revision
        sub_mask, subs, garbage = (1 << SUB_BITS) - 1, self._subs, self._garbage
        living: dict[bytes, KeyValue] = {}
        tombstones: dict[bytes, KeyValue] = {}  # written at the compact revision
        base: list[KeyValue] | None = None
        log: list[Event] = []
        rows = digest = 0
        first = KeyValue(b"", b"", 0, 0, 0)
        for position, key, value, create_revision, version, lease, checksum in self._connection.execute(
            "SELECT position, key, value, create_revision, version, lease, checksum FROM kv ORDER BY position"
        ):
            revision, sub = position >> SUB_BITS, position & sub_mask
            if create_revision == revision:
                create_revision = revision  # one number for both: a million of them are felt
            kv = KeyValue(key, value, create_revision, revision, version, lease)
            if kv_checksum(kv, sub) != checksum:
                raise DataDirDamagedError(f"{self.data_dir / FILE}: a row of revision {revision} has a wrong checksum")
            rows += 1
            digest += checksum
            if not sub:
                first = kv
            elif version or revision >= compacted:
                _keep_sub(subs, kv, sub, first)
            if base is None and revision > compacted:
                base = list(living.values())
                log = newest_of_each_key(log)
            previous = living.get(key)
            if version:
                living[key] = kv
            elif previous is not None:
                del living[key]
            if revision <= compacted and previous is not None:
                garbage.append(self._row(previous))
                previous = None
            if revision >= compacted:
                log.append(Event(PUT if version else DELETE, kv, previous))
            elif not version:
                garbage.append((position, checksum))
            if revision == compacted:
                if key in tombstones:  # deleted and put by one transaction
                    garbage.append(self._row(tombstones.pop(key)))
                if not version:
                    tombstones[key] = kv
        leases = self._connection.execute("SELECT id, ttl_seconds FROM lease ORDER BY id").fetchall()
        rows += len(leases)
        digest += sum(_lease_checksum(*lease) for lease in leases)
        if (rows, digest) != (state.rows, state.digest):
            raise DataDirDamagedError(f"{self.data_dir / FILE} holds {rows} rows, not the {state.rows} it was given")
        if base is None:
            base, log = list(living.values()), newest_of_each_key(log)
        base.sort(key=lambda kv: kv.key)
        return Snapshot(state.revision, compacted, base, log, leases)

    # Writing

    def commit(self, changes: Sequence[Change], unreadable: Iterable[KeyValue] = ()) -> None:
        """Put a batch on disk, all or nothing. `unreadable` are the versions that its compactions end.

        Raises `NoSpaceError` when there is no room: the batch is not on disk and the next may be tried. Raises
        `DiskFailedError` when nobody can say what is on disk: only opening it anew tells.
        """
        state = self.state
        rows: list[Any] = []
        subs: Subs = {}
        granted: list[tuple[int, int]] = []
        revoked: list[tuple[int, int]] = []
        revision, compact_revision, digest, count = state.revision, state.compact_revision, state.digest, state.rows
        for change in changes:
            if type(change) is Written:
                for sub, event in enumerate(change.events):
                    kv = event.kv
                    checksum = kv_checksum(kv, sub)
                    revision = kv.mod_revision
                    position = revision << SUB_BITS | sub
                    rows += (position, kv.key, kv.value, kv.create_revision, kv.version, kv.lease, checksum)
                    digest += checksum
                    count += 1
                    if sub:
                        _keep_sub(subs, kv, sub, change.events[0].kv)
            elif type(change) is Granted:
                granted.append((change.lease.id, change.lease.ttl_seconds))
            elif type(change) is Revoked:
                revoked.append((change.lease.id, change.lease.ttl_seconds))
            elif type(change) is Compacted:
                compact_revision = change.revision
        for leases, sign in ((granted, 1), (revoked, -1)):
            digest += sign * sum(_lease_checksum(*lease) for lease in leases)
            count += sign * len(leases)
        with _Transaction(self):
            self._insert(rows)
            execute = self._connection.execute
            for lease in granted:
                execute("INSERT INTO lease VALUES (?, ?)", lease)
            for lease_id, _ in revoked:
                execute("DELETE FROM lease WHERE id = ?", (lease_id,))
            swept = self._sweep()
            count, digest = count - len(swept), digest - sum(checksum for _, checksum in swept)
            self._update(
                replace(state, revision=revision, compact_revision=compact_revision, rows=count, digest=digest)
            )
        self._swept(swept)
        self._subs.update(subs)
        self._garbage.extend([self._row(kv) for kv in unreadable])

    @property
    def has_garbage(self) -> bool:
        """Whether there are rows that nobody can read; may be asked from any thread."""
        return bool(self._garbage)

    def sweep(self) -> bool:
        """Delete some rows that nobody can read, as each commit does; whether some are left. Raises as `commit`."""
        if not self._garbage:
            return False
        state = self.state
        with _Transaction(self):
            swept = self._sweep()
            digest = state.digest - sum(checksum for _, checksum in swept)
            self._update(replace(state, rows=state.rows - len(swept), digest=digest))
        self._swept(swept)
        return bool(self._garbage)

    def _sweep(self) -> list[tuple[int, int]]:
        garbage = [self._garbage[index] for index in range(min(SWEEP_ROWS, len(self._garbage)))]
        if garbage:
            marks = ",".join("?" * len(garbage))
            positions = [position for position, _ in garbage]
            self._connection.execute(f"DELETE FROM kv WHERE position IN ({marks})", positions)
        return garbage

    def _swept(self, swept: list[tuple[int, int]]) -> None:
        for _ in swept:
            self._garbage.popleft()

    def set_alarms(self, alarms: Sequence[tuple[int, str]]) -> None:
        """Keep the alarms, as (member id, type). Raises as `commit`."""
        self._write(replace(self.state, alarms=tuple(alarms)))

    def rename(self, cluster_id: int, member_id: int) -> State:
        """Give the content a new identity."""
        self._write(replace(self.state, cluster_id=cluster_id, member_id=member_id, starts=0, alarms=()))
        return self.state

    def _write(self, state: State) -> None:
        with _Transaction(self):
            self._update(state)

    def _insert(self, rows: list[Any]) -> None:
        columns = 7
        begin, left = 0, len(rows) // columns
        for at_once in ROWS_AT_ONCE:
            statement = "INSERT INTO kv VALUES " + ",".join(["(?,?,?,?,?,?,?)"] * at_once)
            while left >= at_once:
                self._connection.execute(statement, rows[begin : begin + at_once * columns])
                begin += at_once * columns
                left -= at_once

    def _update(self, state: State) -> None:
        self.state = replace(state, commits=self.state.commits + 1)
        self._connection.execute("UPDATE state SET body = ?, checksum = ?", _encoded(self.state))

    def _row(self, kv: KeyValue) -> tuple[int, int]:
        """A version's position and checksum. It leaves the table of places: nobody asks for it twice."""
        subs, revision, key, version = self._subs, kv.mod_revision, kv.key, kv.version
        sub = subs.pop((revision, key, version), None)
        if sub is None:
            sub = 0 if version else subs.pop((revision, key, -1), 0)
        return kv.mod_revision << SUB_BITS | sub, kv_checksum(kv, sub)

    def measure(self) -> None:
        execute = self._connection.execute
        page_bytes = execute("PRAGMA page_size").fetchone()[0]
        pages = execute("PRAGMA page_count").fetchone()[0]
        free_pages = execute("PRAGMA freelist_count").fetchone()[0]
        self.size_bytes = pages * page_bytes
        self.size_in_use_bytes = (pages - free_pages) * page_bytes

    def _read_mark(self) -> int:
        text = os.pread(self._mark, 32, 0).strip()
        if not text:
            return 0
        if not text.isdigit():
            raise DataDirDamagedError(f"{self.data_dir / MARK} holds no number")
        return int(text)

    def write_mark(self) -> None:
        os.pwrite(self._mark, b"%020d\n" % self.state.commits, 0)

    # The file as a whole

    def defragment(self) -> None:
        """Write the file anew without what was deleted. Needs as much space again while it runs."""
        try:
            self._connection.execute("VACUUM")
            self._checkpoint()
            self.measure()
        except sqlite3.Error as error:
            raise _refusal(self.data_dir, error) from None

    def begin_backup(self) -> int:
        """Freeze the file's content until `end_backup` (commits go on beside it); its size in bytes."""
        try:
            self._checkpoint()
            self._backups += 1
            self._connection.execute("PRAGMA wal_autocheckpoint = 0")
        except sqlite3.Error as error:
            raise _refusal(self.data_dir, error) from None
        return (self.data_dir / FILE).stat().st_size

    def read_backup(self, offset: int, length: int) -> bytes:
        assert self._reader is not None
        return os.pread(self._reader, length, offset)

    def end_backup(self) -> None:
        self._backups -= 1
        if not self._backups:
            self._connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")

    def _checkpoint(self) -> None:
        if not self._backups:
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Give the directory free. Twice is once."""
        connection = getattr(self, "_connection", None)
        if connection is not None:
            connection.close()
        for descriptor in (self._reader, self._mark):
            if descriptor is not None and descriptor >= 0:
                os.close(descriptor)
        self._reader, self._mark = None, -1


class _Transaction:
    """BEGIN and COMMIT, or as if nothing had happened."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._before = disk.state

    def __enter__(self) -> None:
        try:
            self._disk._connection.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            raise self._failure(error) from None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        connection = self._disk._connection
        if error is None:
            try:
                connection.execute("COMMIT")
            except sqlite3.Error as refusal:
                error = refusal
            else:
                self._disk.measure()
                self._disk.write_mark()
                return
        self._disk.state = self._before
        failure = self._failure(error)
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except sqlite3.Error:
            failure = DiskFailedError(str(error))
        raise failure from None

    def _failure(self, error: BaseException) -> BaseException:
        if not isinstance(error, sqlite3.Error):
            return error
        if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_FULL:
            return NoSpaceError()
        return DiskFailedError(f"{self._disk.data_dir / FILE}: {error}")


def _encoded(state: State) -> tuple[bytes, int]:
    body = msgspec.json.encode(state)
    return body, crc32(body)


def _keep_sub(subs: Subs, kv: KeyValue, sub: int, first: KeyValue) -> None:
    """`first` is the transaction's first row: when it is the tombstone of a key that is now put, its place is kept too,
    since there may be a second tombstone."""
    revision, key, version = kv.mod_revision, kv.key, kv.version
    if version and not first.version and first.key == key and first.mod_revision == revision:
        subs[revision, key, 0] = 0
    name = revision, key, version
    subs[name if name not in subs else (revision, key, -1)] = sub


def _lease_checksum(lease_id: int, ttl_seconds: int) -> int:
    return crc32(b"lease %d %d" % (lease_id, ttl_seconds))


def _sync_folder(folder: Path) -> None:
    if os.name == "posix":  # elsewhere a folder cannot be opened
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _refusal(data_dir: Path, error: sqlite3.Error) -> Exception:
    """What a user is told of an SQLite error outside of a commit."""
    match error.sqlite_errorcode & 0xFF if hasattr(error, "sqlite_errorcode") else 0:
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return DataDirInUseError(f"data directory {data_dir} is in use by another etcd")
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return DataDirDamagedError(f"{data_dir / FILE}: {error}")
        case _:
            return DataDirError(f"data directory {data_dir}: {error}")
