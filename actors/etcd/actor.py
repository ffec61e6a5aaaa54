"""The etcd process: owns a store, answers messages about it, and ends leases when their time is over.

Concurrent, and in memory no message waits: each is answered within its call. With `data_dir`, an answer leaves when
everything that it can have seen is on disk: writes and reads that came together wait for one commit (`commits`).
"""

import asyncio
from asyncio import TimerHandle
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import CoroutineType
from typing import Any, ClassVar, cast

from msgspec import Struct

from kubeloop.actors.etcd.auto_compaction import AutoCompaction
from kubeloop.actors.etcd.backup import backup_of_disk, backup_of_memory
from kubeloop.actors.etcd.commits import AtOnce, GroupCommit
from kubeloop.actors.etcd.messages import (
    Alarm,
    AlarmMember,
    AlarmType,
    Compact,
    CompactedError,
    Defragment,
    DeleteIf,
    DeleteRange,
    EtcdError,
    EventType,
    HashKV,
    HashResult,
    LeaseGrant,
    LeaseGranted,
    LeaseKeepAlive,
    LeaseLeases,
    LeaseRevoke,
    LeaseTimeToLive,
    Put,
    PutIf,
    Range,
    Status,
    StatusResult,
    Txn,
    Watch,
)
from kubeloop.actors.etcd.options import QUOTA_BACKEND_BYTES, EtcdOptions
from kubeloop.runtime.actor import Actor, ActorStopped, Later, UnknownMessage
from kubeloop.store.buffered import BufferedWatch
from kubeloop.store.disk import Disk
from kubeloop.store.errors import CompactedError as StoreCompactedError
from kubeloop.store.errors import FutureRevisionError, NoSpaceError, RequestTooLargeError, StoreError
from kubeloop.store.store import Store

KV_OVERHEAD_BYTES = 256  # what etcd's quota counts beside key and value
LEASE_BYTES = 64


class EtcdActor(Actor):
    """`store`, given, stands for a disk without one: it outlives a crash, which ends only the watches.

    Starting raises `DataDirError` and its kinds when the data directory of the options cannot be used.
    """

    concurrent: ClassVar[bool] = True

    def __init__(self, options: EtcdOptions | None = None, store: Store | None = None) -> None:
        self.options = options = options or EtcdOptions()
        self.store = store if store is not None else Store(txn_ops_max=options.max_txn_ops)
        self.cluster_id = self.member_id = 0
        self.raft_term = 2
        self.alarms: dict[tuple[int, str], AlarmMember] = {}
        self._quota_bytes = (options.quota_backend_bytes or QUOTA_BACKEND_BYTES) if options.data_dir else 0
        self._disk: Disk | None = None
        self._commits: GroupCommit | None = None
        self._lease_timer: TimerHandle | None = None
        self._handlers: dict[type, Callable[[Any], Any]] = {}

    async def on_start(self) -> None:
        chance = self.context.clock.stream("etcd")
        self.cluster_id, self.member_id = chance.getrandbits(63), chance.getrandbits(63)
        if self.options.data_dir is not None:
            await self._open_disk(self.options.data_dir)
        self._handlers = self._every_handler()
        self.defer(self._close_watches)
        self._expire_leases()
        if self.options.auto_compaction_retention:
            self.spawn(AutoCompaction(self.store, self.options, self.context.clock, self._compact_by_itself).run)

    async def _open_disk(self, data_dir: Path) -> None:
        """Read back what was acknowledged. One thread does all that the disk is asked."""
        loop = asyncio.get_running_loop()
        virtual = getattr(loop, "virtual", False)
        thread: Executor = AtOnce() if virtual else ThreadPoolExecutor(1, thread_name_prefix="etcd-disk")
        self.defer(lambda: thread.shutdown(wait=True))
        open_disk = partial(Disk, data_dir, cluster_id=self.cluster_id, member_id=self.member_id)
        disk = self._disk = await loop.run_in_executor(thread, open_disk)
        self.defer(partial(_call_in, thread, disk.close))
        load = partial(disk.load, now=self.context.clock.monotonic(), txn_ops_max=self.options.max_txn_ops)
        self.store = await loop.run_in_executor(thread, load)
        state = disk.state
        self.cluster_id, self.member_id, self.raft_term = state.cluster_id, state.member_id, state.starts + 1
        for member_id, alarm in state.alarms:
            self.alarms[member_id, alarm] = AlarmMember(member_id, cast(AlarmType, alarm))
        self._commits = GroupCommit(self.store, disk, thread)
        self.defer(partial(self._commits.close, ActorStopped(f"{self.context.name} stopped")))
        self.spawn(self._commits.run)

    def _every_handler(self) -> dict[type, Callable[[Any], Any]]:
        store, clock = self.store, self.context.clock
        return {
            Range: store.range_op,
            Put: self._guarded(store.put_op, lambda m: len(m.key) + len(m.value)),
            PutIf: self._guarded(
                lambda m: store.put_if(m.key, m.value, m.mod_revision, m.lease), lambda m: len(m.key) + len(m.value)
            ),
            DeleteIf: lambda m: store.delete_if(m.key, m.mod_revision),
            DeleteRange: lambda m: store.delete_range(m.key, m.range_end, prev_kv=m.prev_kv),
            Txn: self._guarded(store.txn, txn_bytes),
            Compact: self._compact,
            Watch: self._watch,
            LeaseGrant: self._guarded(self._lease_grant, lambda m: LEASE_BYTES),
            LeaseRevoke: lambda m: store.lease_revoke(m.id),
            LeaseKeepAlive: self._lease_keep_alive,
            LeaseTimeToLive: lambda m: store.lease_time_to_live(m.id, now=clock.monotonic()),
            LeaseLeases: lambda m: [lease.id for lease in store.leases.all()],
            Status: self.status,
            Alarm: self._alarm,
            Defragment: self._defragment,
            HashKV: self._hash_kv,
            ExpireLeases: self._expire_leases,
        }

    async def on_message(self, message: Any) -> Any:
        handler = self._handlers.get(type(message))
        if handler is None:
            raise UnknownMessage(message)
        try:
            answer = handler(message)
        except StoreError as error:
            refusal = refused(error)
            if self._commits is not None and self.store.changes:
                return Later(self._commits.durable(None, refusal))
            raise refusal from None
        if self._commits is None:
            return answer
        if type(answer) is CoroutineType:
            return await answer
        return Later(self._commits.durable(answer)) if self.store.changes else answer

    async def answer(self, message: Any) -> Any:
        """The answer to whoever is in this actor's process. Raises EtcdError, CompactedError, UnknownMessage."""
        answer = await self.on_message(message)
        return await answer.future if type(answer) is Later else answer

    def _guarded(self, handler: Callable[[Any], Any], bytes_of: Callable[[Any], int]) -> Callable[[Any], Any]:
        """Refuses what is too large, and, once the space is used up, whatever takes more of it.

        `bytes_of(message)` is 0 for what takes none. Follows etcd's maintenance page, space quota.
        """
        request_bytes_max = self.options.max_request_bytes

        def guarded(message: Any) -> Any:
            size = bytes_of(message)
            if size > request_bytes_max:
                raise RequestTooLargeError
            if size and (self.alarms or self._quota_bytes > 0):
                self._check_space(size)
            return handler(message)

        return guarded

    def _check_space(self, size: int) -> None:
        if any(alarm.type == "NOSPACE" for alarm in self.alarms.values()):
            raise NoSpaceError
        if self._disk is not None and 0 < self._quota_bytes < self._disk.size_bytes + size + KV_OVERHEAD_BYTES:
            self._alarm(Alarm("activate", "NOSPACE", self.member_id))
            raise NoSpaceError

    @property
    def revision(self) -> int:
        """The newest revision that is on disk and known to every watch."""
        return self.store.published_revision

    def watch(
        self,
        key: bytes,
        range_end: bytes | None = None,
        *,
        start_revision: int = 0,
        prev_kv: bool = False,
        filters: Iterable[EventType] = (),
        events_max: int = 1_000,
        on_ready: Callable[[], None] | None = None,
    ) -> BufferedWatch:
        """For a reader in the same process that comes when it can. Raises `store.errors.CompactedError`."""
        return BufferedWatch(
            self.store,
            key,
            range_end,
            start_revision=start_revision,
            prev_kv=prev_kv,
            filters=filters,
            events_max=events_max,
            on_ready=on_ready,
        )

    def backup(self) -> AsyncIterator[bytes]:
        """The whole content as it is now, as a file's bytes, for `store.backup.restore`. Writers are not held up."""
        if self._disk is not None and self._commits is not None:
            return backup_of_disk(self._disk, self._commits)
        return backup_of_memory(self.store, self.cluster_id, self.member_id)

    def describe(self) -> str:
        """What it holds, in words."""
        return f"{self.store.keys} keys at revision {self.store.revision}"

    def _watch(self, message: Watch) -> Any:
        return self.store.watch(
            message.key,
            message.range_end,
            start_revision=message.start_revision,
            prev_kv=message.prev_kv,
            filters=message.filters,
            sink=message.sink,
            on_closed=message.on_closed,
        )

    def _lease_grant(self, message: LeaseGrant) -> LeaseGranted:
        lease_id = message.id or self.context.clock.random.getrandbits(63) or 1
        lease = self.store.lease_grant(message.ttl_seconds, lease_id, now=self.context.clock.monotonic())
        self._schedule_expiry()
        return LeaseGranted(lease.id, lease.ttl_seconds)

    def _lease_keep_alive(self, message: LeaseKeepAlive) -> LeaseGranted:
        lease = self.store.lease_keep_alive(message.id, now=self.context.clock.monotonic())
        return LeaseGranted(lease.id, lease.ttl_seconds)

    def status(self, message: Status | None = None) -> StatusResult:
        """How it stands at this moment, on disk or not yet."""
        store, disk = self.store, self._disk
        sizes = (disk.size_bytes, disk.size_in_use_bytes) if disk is not None else (0, 0)
        return StatusResult(
            store.revision, store.compact_revision, store.keys, store.watches, len(store.leases), *sizes
        )

    def _alarm(self, message: Alarm) -> list[AlarmMember]:
        if message.action == "activate":
            alarm = AlarmMember(message.member_id, message.type)
            selected = [self.alarms.setdefault((alarm.member_id, alarm.type), alarm)]
        else:
            selected = [
                alarm
                for alarm in self.alarms.values()
                if message.type in ("NONE", alarm.type) and message.member_id in (0, alarm.member_id)
            ]
        if message.action == "deactivate":
            for alarm in selected:
                del self.alarms[alarm.member_id, alarm.type]
        if message.action != "get" and self._commits is not None and self._disk is not None:
            self.spawn(self._keep_alarms, self._commits, self._disk)
        return selected

    async def _keep_alarms(self, commits: GroupCommit, disk: Disk) -> None:
        try:
            await commits.do(disk.set_alarms, list(self.alarms))
        except NoSpaceError:
            self.context.log.error("alarms_not_kept", data_dir=str(disk.data_dir))

    def _compact(self, message: Compact) -> Any:
        self.store.compact(message.revision)
        return self._commits.swept() if message.physical and self._commits is not None else None

    def _compact_by_itself(self, revision: int) -> None:
        self.context.log.info("auto_compaction", revision=revision)
        self.tell_later(0, Compact(revision))

    def _defragment(self, message: Defragment) -> Any:
        if self._commits is not None and self._disk is not None:
            return self._commits.do(self._disk.defragment)
        return None

    def _hash_kv(self, message: HashKV) -> HashResult:
        revision = message.revision or self.store.revision
        if revision > self.store.revision:
            raise FutureRevisionError
        if revision < self.store.compact_revision:
            raise StoreCompactedError(self.store.compact_revision)
        return HashResult(self.store.snapshot().checksum(revision), self.store.revision, self.store.compact_revision)

    def _expire_leases(self, message: "ExpireLeases | None" = None) -> None:
        self._lease_timer = None
        self.store.expire(self.context.clock.monotonic())
        self._schedule_expiry()

    def _schedule_expiry(self) -> None:
        """Keep one timer, for the lease that ends first; none while there is no lease."""
        deadline = self.store.leases.next_deadline()
        if deadline is None:
            return
        if self._lease_timer is not None:
            if self._lease_timer.when() <= deadline:
                return
            self._lease_timer.cancel()
        delay = max(0.0, deadline - self.context.clock.monotonic())
        self._lease_timer = self.tell_later(delay, ExpireLeases())

    def _close_watches(self) -> None:
        self.store.close_watches(ActorStopped(f"{self.context.name} stopped"))


def _call_in(thread: Executor, job: Callable[[], None]) -> None:
    thread.submit(job)


def refused(error: StoreError) -> EtcdError:
    """The store's refusal as whoever asked is told."""
    if isinstance(error, StoreCompactedError):
        return CompactedError(str(error), error.code, error.compact_revision)
    return EtcdError(str(error), error.code)


def txn_bytes(txn: Txn) -> int:
    """How much a transaction could write; 0 when it only reads and deletes."""
    size = 0
    for op in (*txn.success, *txn.failure):
        if type(op) is Put:
            size += len(op.key) + len(op.value)
        elif type(op) is Txn:
            size += txn_bytes(op)
    return size


class ExpireLeases(Struct, frozen=True):
    """The first lease's time is over; the actor tells itself."""
