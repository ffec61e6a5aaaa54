"""What the etcd actor is asked. The operations and answers are the store's own words, passed on unchanged.

Failures are answered with `EtcdError`, whose `code` and text are etcd's; `CompactedError` also carries the revision.
"""

from collections.abc import Sequence
from typing import Literal, Protocol, TypeAlias

from msgspec import Struct

from kubeloop.runtime.actor import ReplyError
from kubeloop.store.lease import LeaseStatus
from kubeloop.store.model import (
    CasResult,
    Compare,
    DeleteRange,
    DeleteResult,
    Event,
    EventType,
    KeyValue,
    Op,
    Put,
    PutResult,
    Range,
    RangeResult,
    Txn,
    TxnResult,
    prefix_range_end,
)
from kubeloop.store.watch import OnClosed, Sink

__all__ = [
    "KV",
    "Alarm",
    "AlarmMember",
    "CasResult",
    "Compact",
    "CompactedError",
    "Compare",
    "Defragment",
    "DeleteIf",
    "DeleteRange",
    "DeleteResult",
    "EtcdError",
    "Event",
    "EventType",
    "HashKV",
    "HashResult",
    "KeyValue",
    "LeaseGrant",
    "LeaseGranted",
    "LeaseKeepAlive",
    "LeaseLeases",
    "LeaseRevoke",
    "LeaseStatus",
    "LeaseTimeToLive",
    "Put",
    "PutIf",
    "PutResult",
    "Range",
    "RangeResult",
    "Status",
    "StatusResult",
    "Txn",
    "TxnResult",
    "Watch",
    "WatchHandle",
    "prefix_range_end",
]


class EtcdError(ReplyError):
    """A request that etcd refuses. `str(error)` is etcd's message, `code` the gRPC status code's name."""

    def __init__(self, text: str, code: str = "UNKNOWN") -> None:
        super().__init__(text)
        self.code = code


class CompactedError(EtcdError):
    """The revision asked for is gone; `compact_revision` is the oldest that is left."""

    def __init__(self, text: str, code: str = "OUT_OF_RANGE", compact_revision: int = 0) -> None:
        super().__init__(text, code)
        self.compact_revision = compact_revision


class PutIf(Struct, frozen=True):
    """Write a key that is still at `mod_revision` (0: that is not there). Answer: `CasResult`."""

    key: bytes
    value: bytes
    mod_revision: int
    lease: int = 0


class DeleteIf(Struct, frozen=True):
    """Delete a key that is still at `mod_revision`. Answer: `CasResult`."""

    key: bytes
    mod_revision: int


class Compact(Struct, frozen=True):
    """Forget what only revisions before `revision` can read. Answer: None.

    With `physical` the answer comes when the disk has forgotten too.
    """

    revision: int
    physical: bool = False


class LeaseGrant(Struct, frozen=True):
    """A lease of `ttl_seconds`; id 0 lets etcd choose. Answer: `LeaseGranted`."""

    ttl_seconds: int
    id: int = 0


class LeaseGranted(Struct, frozen=True):
    id: int
    ttl_seconds: int


class LeaseRevoke(Struct, frozen=True):
    """Delete a lease and its keys. Answer: None."""

    id: int


class LeaseKeepAlive(Struct, frozen=True):
    """Give a lease its whole time again. Answer: `LeaseGranted`."""

    id: int


class LeaseTimeToLive(Struct, frozen=True):
    """Answer: `LeaseStatus`."""

    id: int


class LeaseLeases(Struct, frozen=True):
    """Answer: the ids of every lease, in order."""


class Status(Struct, frozen=True):
    """Answer: `StatusResult`."""


class StatusResult(Struct, frozen=True):
    """`db_size` and `db_size_in_use` are bytes on disk, 0 when there is none."""

    revision: int
    compact_revision: int
    keys: int
    watches: int
    leases: int
    db_size: int = 0
    db_size_in_use: int = 0


AlarmType: TypeAlias = Literal["NONE", "NOSPACE", "CORRUPT"]


class Alarm(Struct, frozen=True):
    """Read, raise or clear alarms. Type NONE is every type and member 0 every member. Answer: list of `AlarmMember`."""

    action: Literal["get", "activate", "deactivate"] = "get"
    type: AlarmType = "NONE"
    member_id: int = 0


class AlarmMember(Struct, frozen=True):
    member_id: int
    type: AlarmType


class Defragment(Struct, frozen=True):
    """Give the space of what was compacted back to the file system. Answer: None."""


class HashKV(Struct, frozen=True):
    """A checksum of the key space's history up to `revision` (0: now). Answer: `HashResult`."""

    revision: int = 0


class HashResult(Struct, frozen=True):
    hash: int
    revision: int
    compact_revision: int


class Watch(Struct, frozen=True):
    """Watch a key or range. Answer: a handle whose `cancel()` ends it.

    `sink(events)` is called synchronously, one call a transaction; events of the past, when `start_revision` asks for
    them, before the answer. `on_closed(error)` is called once if the watch ends otherwise than by `cancel()`.
    """

    key: bytes
    sink: Sink
    range_end: bytes | None = None
    start_revision: int = 0
    prev_kv: bool = False
    filters: tuple[EventType, ...] = ()
    on_closed: OnClosed | None = None


class WatchHandle(Protocol):
    def cancel(self) -> None:
        """End the watch: no call of its sink or its `on_closed` comes after this. Twice is once."""


class KV(Protocol):
    """etcd's KV, Watch and Lease services as one object: of an embedded etcd (`kv.ActorKV`), a real one (`remote`).

    Errors: `EtcdError` in etcd's words, `CompactedError`; `ActorStopped` and `Unreachable` when there is no etcd to be
    had. A write that ends in one of the last two, or in an `EtcdError` with code UNAVAILABLE, may have been done.
    """

    @property
    def synchronous(self) -> bool:
        """Whether the sink of a watch has been told of every change that any answer can have shown."""
        ...

    async def range(
        self,
        key: bytes,
        range_end: bytes | None = None,
        *,
        revision: int = 0,
        limit: int = 0,
        keys_only: bool = False,
        count_only: bool = False,
    ) -> RangeResult: ...

    async def put(self, key: bytes, value: bytes, *, lease: int = 0, prev_kv: bool = False) -> PutResult: ...

    async def put_if(self, key: bytes, value: bytes, mod_revision: int, *, lease: int = 0) -> CasResult:
        """Write a key that is still at `mod_revision` (0: that is not there); else the version found."""
        ...

    async def delete_if(self, key: bytes, mod_revision: int) -> CasResult:
        """Delete a key that is still at `mod_revision`; else the version found."""
        ...

    async def delete_range(
        self, key: bytes, range_end: bytes | None = None, *, prev_kv: bool = False
    ) -> DeleteResult: ...

    async def txn(
        self, compare: Sequence[Compare] = (), success: Sequence[Op] = (), failure: Sequence[Op] = ()
    ) -> TxnResult: ...

    async def compact(self, revision: int) -> None: ...

    async def watch(
        self,
        key: bytes,
        range_end: bytes | None = None,
        *,
        sink: Sink,
        on_closed: OnClosed | None = None,
        start_revision: int = 0,
        prev_kv: bool = False,
        filters: Sequence[EventType] = (),
    ) -> WatchHandle:
        """`sink(events)` once a transaction, in order; `on_closed(error)` once if it ends otherwise than by cancel.

        Told of are changes from `start_revision` on, or (0) from the next one. Where `synchronous` is false, past ones
        may come after this has returned, and new ones before it has.
        """
        ...

    async def lease_grant(self, ttl_seconds: int, lease_id: int = 0) -> LeaseGranted: ...

    async def lease_keep_alive(self, lease_id: int) -> LeaseGranted: ...

    async def lease_revoke(self, lease_id: int) -> None: ...

    async def lease_time_to_live(self, lease_id: int) -> LeaseStatus:
        """With its keys. Of a lease that is not there -1 seconds remain."""
        ...

    async def size_bytes(self) -> int:
        """What its database takes on disk; 0 of one in memory."""
        ...
