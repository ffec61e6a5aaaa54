"""The etcd process: owns a store, answers messages about it, and ends leases when their time is over.

Concurrent, and in memory no message waits: each is answered within its call. With `data_dir`, an answer leaves when
everything that it can have seen is on disk: writes and reads that came together wait for one commit (`commits`).
"""

from asyncio import TimerHandle
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from msgspec import Struct

from kubeloop.actors.etcd.messages import (
    Alarm,
    AlarmMember,
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
from kubeloop.actors.etcd.options import EtcdOptions
from kubeloop.runtime.actor import Actor, ActorStopped, UnknownMessage
from kubeloop.store.buffered import BufferedWatch
from kubeloop.store.errors import CompactedError as StoreCompactedError
from kubeloop.store.errors import StoreError
from kubeloop.store.store import Store


class EtcdActor(Actor):
    """`store`, given, stands for a disk without one: it outlives a crash, which ends only the watches."""

    concurrent: ClassVar[bool] = True

    def __init__(self, options: EtcdOptions | None = None, store: Store | None = None) -> None:
        self.options = options = options or EtcdOptions()
        self.store = store if store is not None else Store(txn_ops_max=options.max_txn_ops)
        self.cluster_id = self.member_id = 0
        self.raft_term = 2
        self.alarms: dict[tuple[int, str], AlarmMember] = {}
        self._lease_timer: TimerHandle | None = None
        self._handlers: dict[type, Callable[[Any], Any]] = {
            Range: self.store.range_op,
            Put: self.store.put_op,
            PutIf: lambda m: self.store.put_if(m.key, m.value, m.mod_revision, m.lease),
            DeleteIf: lambda m: self.store.delete_if(m.key, m.mod_revision),
            DeleteRange: lambda m: self.store.delete_range(m.key, m.range_end, prev_kv=m.prev_kv),
            Txn: self.store.txn,
            Compact: lambda m: self.store.compact(m.revision),
            Watch: self._watch,
            LeaseGrant: self._lease_grant,
            LeaseRevoke: lambda m: self.store.lease_revoke(m.id),
            LeaseKeepAlive: self._lease_keep_alive,
            LeaseTimeToLive: lambda m: self.store.lease_time_to_live(m.id, now=self.context.clock.monotonic()),
            LeaseLeases: lambda m: [lease.id for lease in self.store.leases.all()],
            Status: self._status,
            Alarm: self._alarm,
            Defragment: lambda m: None,
            HashKV: self._hash_kv,
            ExpireLeases: self._expire_leases,
        }

    async def on_start(self) -> None:
        chance = self.context.clock.stream("etcd")
        self.cluster_id, self.member_id = chance.getrandbits(63), chance.getrandbits(63)
        self.defer(self._close_watches)
        self._expire_leases()

    async def on_message(self, message: Any) -> Any:
        handler = self._handlers.get(type(message))
        if handler is None:
            raise UnknownMessage(message)
        try:
            return handler(message)
        except StoreCompactedError as error:
            raise CompactedError(str(error), error.code, error.compact_revision) from None
        except StoreError as error:
            raise EtcdError(str(error), error.code) from None

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

    def _status(self, message: Status) -> StatusResult:
        store = self.store
        return StatusResult(store.revision, store.compact_revision, store.keys, store.watches, len(store.leases))

    def _alarm(self, message: Alarm) -> list[AlarmMember]:
        member_id = message.member_id or self.member_id
        if message.action == "activate":
            self.alarms[member_id, message.type] = AlarmMember(member_id, message.type)
            return [self.alarms[member_id, message.type]]
        selected = [
            alarm
            for alarm in self.alarms.values()
            if message.type in ("NONE", alarm.type) and message.member_id in (0, alarm.member_id)
        ]
        if message.action == "deactivate":
            for alarm in selected:
                del self.alarms[alarm.member_id, alarm.type]
        return selected

    def _hash_kv(self, message: HashKV) -> HashResult:
        revision = message.revision or self.store.revision
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


class ExpireLeases(Struct, frozen=True):
    """The first lease's time is over; the actor tells itself."""
