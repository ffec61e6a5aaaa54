"""`KV`, the protocol in which an API server speaks to an etcd, over the embedded actor."""

from collections.abc import Sequence

from kubeloop.actors.etcd.messages import (
    KV,
    CasResult,
    Compact,
    Compare,
    DeleteIf,
    DeleteRange,
    DeleteResult,
    Event,
    EventType,
    LeaseGrant,
    LeaseGranted,
    LeaseKeepAlive,
    LeaseRevoke,
    LeaseStatus,
    LeaseTimeToLive,
    Put,
    PutIf,
    PutResult,
    Range,
    RangeResult,
    Status,
    StatusResult,
    Txn,
    TxnResult,
    Watch,
    WatchHandle,
)
from kubeloop.runtime.actor import ActorRef, Unreachable
from kubeloop.runtime.network import Network
from kubeloop.store.model import Op
from kubeloop.store.watch import OnClosed, Sink

__all__ = ["KV", "ActorKV", "RemoteWatch", "WatchHandle"]


class ActorKV:
    """`KV` over the etcd actor. With `network` and the caller's own `host`, watches break as their connection does."""

    def __init__(self, etcd: ActorRef, *, network: Network | None = None, host: str = "") -> None:
        self._etcd = etcd
        self._ask = etcd.ask
        self._network = network
        self._host = host

    @property
    def synchronous(self) -> bool:
        """Unless a network lies between."""
        return self._network is None or self._host == self._etcd.host

    async def range(
        self,
        key: bytes,
        range_end: bytes | None = None,
        *,
        revision: int = 0,
        limit: int = 0,
        keys_only: bool = False,
        count_only: bool = False,
    ) -> RangeResult:
        message = Range(key, range_end, revision, limit, keys_only=keys_only, count_only=count_only)
        result: RangeResult = await self._ask(message)
        return result

    async def put(self, key: bytes, value: bytes, *, lease: int = 0, prev_kv: bool = False) -> PutResult:
        result: PutResult = await self._ask(Put(key, value, lease, prev_kv))
        return result

    async def put_if(self, key: bytes, value: bytes, mod_revision: int, *, lease: int = 0) -> CasResult:
        result: CasResult = await self._ask(PutIf(key, value, mod_revision, lease))
        return result

    async def delete_if(self, key: bytes, mod_revision: int) -> CasResult:
        result: CasResult = await self._ask(DeleteIf(key, mod_revision))
        return result

    async def delete_range(self, key: bytes, range_end: bytes | None = None, *, prev_kv: bool = False) -> DeleteResult:
        result: DeleteResult = await self._ask(DeleteRange(key, range_end, prev_kv))
        return result

    async def txn(
        self, compare: Sequence[Compare] = (), success: Sequence[Op] = (), failure: Sequence[Op] = ()
    ) -> TxnResult:
        result: TxnResult = await self._ask(Txn(tuple(compare), tuple(success), tuple(failure)))
        return result

    async def compact(self, revision: int) -> None:
        await self._ask(Compact(revision))

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
        remote = None
        if self._network is not None and self._host != self._etcd.host:
            remote = RemoteWatch(self._network, self._host, self._etcd.host, sink, on_closed)
            sink, on_closed = remote.deliver, remote.closed
        message = Watch(key, sink, range_end, start_revision, prev_kv, tuple(filters), on_closed)
        try:
            handle: WatchHandle = await self._ask(message)
        except BaseException:
            if remote is not None:
                remote.cancel()
            raise
        if remote is None:
            return handle
        remote.begin(handle)
        return remote

    async def lease_grant(self, ttl_seconds: int, lease_id: int = 0) -> LeaseGranted:
        result: LeaseGranted = await self._ask(LeaseGrant(ttl_seconds, lease_id))
        return result

    async def lease_keep_alive(self, lease_id: int) -> LeaseGranted:
        result: LeaseGranted = await self._ask(LeaseKeepAlive(lease_id))
        return result

    async def lease_revoke(self, lease_id: int) -> None:
        await self._ask(LeaseRevoke(lease_id))

    async def lease_time_to_live(self, lease_id: int) -> LeaseStatus:
        result: LeaseStatus = await self._ask(LeaseTimeToLive(lease_id))
        return result

    async def size_bytes(self) -> int:
        status: StatusResult = await self._ask(Status())
        return status.db_size


class RemoteWatch:
    """A watch on another host's etcd: as long-lived as the connection that carries its events."""

    def __init__(self, network: Network, host: str, etcd_host: str, sink: Sink, on_closed: OnClosed | None) -> None:
        self._route = f"{host} to {etcd_host}"
        self._sink = sink
        self._on_closed = on_closed
        self._handle: WatchHandle | None = None
        self._connection = network.open(host, etcd_host, self._cut)

    def begin(self, handle: WatchHandle) -> None:
        self._handle = handle
        if not self._connection.open:
            handle.cancel()

    def deliver(self, events: list[Event]) -> None:
        self._connection.deliver(self._sink, events)

    def closed(self, error: Exception | None) -> None:
        if self._connection.open:
            self._connection.close()
            self._tell(error)

    def cancel(self) -> None:
        self._connection.close()
        if self._handle is not None:
            self._handle.cancel()

    def _cut(self) -> None:
        self.cancel()
        self._tell(Unreachable(f"the watch from {self._route} was cut"))

    def _tell(self, error: Exception | None) -> None:
        if self._on_closed is not None:
            self._on_closed(error)
