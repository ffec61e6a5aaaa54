"""The etcd process: owns a store, answers messages about it, and ends leases when their time is over.

Concurrent, and no message waits: each is answered within its call. A `Store` given to the constructor stands for the
disk: it outlives a crash, which ends only the watches. Without one, a crash loses everything, as an etcd on tmpfs does.
"""

from asyncio import TimerHandle
from collections.abc import Callable
from typing import Any, ClassVar

from msgspec import Struct

from kubeloop.actors.etcd.messages import (
    Compact,
    CompactedError,
    DeleteIf,
    DeleteRange,
    EtcdError,
    LeaseGrant,
    LeaseGranted,
    LeaseKeepAlive,
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
from kubeloop.runtime.actor import Actor, ActorStopped, UnknownMessage
from kubeloop.store.errors import CompactedError as StoreCompactedError
from kubeloop.store.errors import StoreError
from kubeloop.store.store import Store


class EtcdActor(Actor):
    concurrent: ClassVar[bool] = True

    def __init__(self, store: Store | None = None) -> None:
        self.store = store if store is not None else Store()
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
            Status: self._status,
            ExpireLeases: self._expire_leases,
        }

    async def on_start(self) -> None:
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

    def describe(self) -> str:
        """What it holds, in words."""
        count = self.store.range(b"\x00", b"\x00", count_only=True).count
        return f"{count} keys at revision {self.store.revision}"

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
        lease = self.store.lease_grant(message.ttl_seconds, message.id, now=self.context.clock.monotonic())
        self._schedule_expiry()
        return LeaseGranted(lease.id, lease.ttl_seconds)

    def _lease_keep_alive(self, message: LeaseKeepAlive) -> LeaseGranted:
        lease = self.store.lease_keep_alive(message.id, now=self.context.clock.monotonic())
        return LeaseGranted(lease.id, lease.ttl_seconds)

    def _status(self, message: Status) -> StatusResult:
        store = self.store
        return StatusResult(store.revision, store.compact_revision, store.keys, store.watches, len(store.leases))

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
