"""`KV`, the protocol in which an API server speaks to an etcd, over the members of a real one.

Message classes and stubs are aetcd's. Its `Client` and `Watcher` are not used: they know one endpoint without TLS,
raise errors that carry neither etcd's code nor the compacted revision, hand events on one by one without their
transaction, and end every watch with the first broken stream.
"""

from collections.abc import Sequence
from types import TracebackType
from typing import Self

from kubeloop.actors.etcd.messages import (
    CasResult,
    CompactedError,
    Compare,
    DeleteRange,
    DeleteResult,
    EtcdError,
    EventType,
    LeaseGranted,
    LeaseStatus,
    Put,
    PutResult,
    Range,
    RangeResult,
    Txn,
    TxnResult,
    WatchHandle,
)
from kubeloop.actors.etcd.remote import words
from kubeloop.actors.etcd.remote.calls import Calls
from kubeloop.actors.etcd.remote.errors import OutcomeUnknown
from kubeloop.actors.etcd.remote.options import RemoteEtcd as RemoteEtcd
from kubeloop.actors.etcd.remote.outcome import settle
from kubeloop.actors.etcd.remote.pages import PAGE_KEYS, read_pages
from kubeloop.actors.etcd.remote.stubs import rpc_pb2
from kubeloop.actors.etcd.remote.watch import RemoteWatch
from kubeloop.runtime.actor import ActorStopped
from kubeloop.runtime.clock import Clock
from kubeloop.runtime.tasks import Spawner
from kubeloop.store.model import KeyValue, Op
from kubeloop.store.watch import OnClosed, Sink

FUTURE = "etcdserver: mvcc: required revision is a future revision"
LEASE_NOT_FOUND = "etcdserver: requested lease not found"


class RemoteKV:
    """`KV` over a real etcd. `spawner` (an Actor, a System) owns the watches' tasks; `close` ends everything else.

        async with RemoteKV(RemoteEtcd(("http://127.0.0.1:2379",)), system) as kv:
            await kv.put(b"a", b"1")

    Connections are made with the first request, in the loop that makes it, so it may be built outside of one; used
    without `async with` it is closed by `close()`. Errors beside etcd's own: `OutcomeUnknown`, an `EtcdError` with
    code UNAVAILABLE, of a write that may have been done; `Unreachable` when no member answers within the request's
    time and nothing was changed; OSError for certificates that cannot be read.

    What becomes of requests when members fail says `calls`; of `put_if` and `delete_if` whose answer is lost,
    `outcome`; of watches, `watch`; of ranges of very many keys, `pages`.
    """

    synchronous = False
    """A watch is told of a write after the writer is, or before: nobody knows."""

    def __init__(self, options: RemoteEtcd, spawner: Spawner, *, clock: Clock | None = None) -> None:
        self.options = options
        self._spawner = spawner
        self._calls = Calls(options, clock or Clock())
        self._watches: dict[RemoteWatch, None] = {}
        self.cluster_id = 0
        """etcd's own, once connected."""

    async def __aenter__(self) -> Self:
        try:
            await self.connect()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def connect(self) -> None:
        """Return when etcd answers. Raises `EtcdError`, `Unreachable` after the request's time, OSError."""
        response = await self._calls.read("Range", rpc_pb2.RangeRequest(key=b"\0", count_only=True))
        self.cluster_id = response.header.cluster_id

    async def close(self) -> None:
        """End watches (`on_closed(ActorStopped)`), what is under way (`Unreachable`), connections. Twice is once."""
        for watch in list(self._watches):
            watch.close(ActorStopped("this client of etcd was closed"))
        await self._calls.members.close()

    def describe(self) -> str:
        """What it holds, in words."""
        endpoint = self.options.endpoints[self._calls.members.position]
        return f"{len(self._watches)} watches at {endpoint}, revision {self._calls.revision}"

    # KV

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
        """One linearizable read. More than a page of keys comes in several answers, all of one revision."""
        op = Range(key, range_end, revision, limit, keys_only=keys_only, count_only=count_only)
        if range_end is None or count_only or 0 < limit <= PAGE_KEYS:
            return words.range_result(await self._calls.read("Range", words.to_range(op)))
        return await read_pages(self._calls, op)

    async def put(self, key: bytes, value: bytes, *, lease: int = 0, prev_kv: bool = False) -> PutResult:
        op = Put(key, value, lease, prev_kv)
        return words.put_result(op, await self._calls.write("Put", words.to_put(op)))

    async def put_if(self, key: bytes, value: bytes, mod_revision: int, *, lease: int = 0) -> CasResult:
        request = words.to_put_if(key, value, mod_revision, lease)
        since = self._calls.revision

        async def attempt() -> CasResult:
            return words.put_if_result(key, value, lease, await self._calls.write("Txn", request))

        def is_ours(kv: KeyValue) -> bool:
            return kv.value == value and kv.lease == lease

        try:
            return await attempt()
        except OutcomeUnknown as unknown:
            return await settle(self, key, mod_revision, attempt, unknown, since_revision=since, is_ours=is_ours)

    async def delete_if(self, key: bytes, mod_revision: int) -> CasResult:
        request = words.to_delete_if(key, mod_revision)

        async def attempt() -> CasResult:
            return words.delete_if_result(await self._calls.write("Txn", request))

        try:
            return await attempt()
        except OutcomeUnknown as unknown:
            if not mod_revision:
                raise
            return await settle(self, key, mod_revision, attempt, unknown)

    async def delete_range(self, key: bytes, range_end: bytes | None = None, *, prev_kv: bool = False) -> DeleteResult:
        request = words.to_delete_range(DeleteRange(key, range_end, prev_kv))
        return words.delete_result(await self._calls.write("DeleteRange", request))

    async def txn(
        self, compare: Sequence[Compare] = (), success: Sequence[Op] = (), failure: Sequence[Op] = ()
    ) -> TxnResult:
        txn = Txn(tuple(compare), tuple(success), tuple(failure))
        send = self._calls.read if only_reads(txn) else self._calls.write
        return words.txn_result(txn, await send("Txn", words.to_txn(txn)))

    async def compact(self, revision: int, *, physical: bool = False) -> None:
        """Repeated when the answer is lost; that it is compacted already is then as good."""
        request = rpc_pb2.CompactionRequest(revision=revision, physical=physical)
        try:
            await self._calls.write("Compact", request)
        except OutcomeUnknown:
            try:
                await self._calls.read("Compact", request)
            except CompactedError:
                pass

    # Watch

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
        """Events of the past may come after this has returned, and events before it has."""
        reached = await self._reached(start_revision)
        watch = RemoteWatch(
            self._calls,
            key,
            range_end,
            start_revision or reached + 1,
            reached,
            prev_kv=prev_kv,
            filters=filters,
            sink=sink,
            on_closed=on_closed,
            forget=lambda watch: self._watches.pop(watch, None),
        )
        self._watches[watch] = None
        await watch.open(self._spawner)
        return watch

    async def _reached(self, start_revision: int) -> int:
        """etcd's revision now. Raises `CompactedError` when a watch cannot begin at `start_revision`.

        The member that will be watched may lag behind: so watches are begun at a revision of the whole cluster's.
        """
        if start_revision > 0:
            request = rpc_pb2.RangeRequest(key=b"\0", count_only=True, revision=start_revision)
            try:
                return int((await self._calls.read("Range", request)).header.revision)
            except EtcdError as error:
                if str(error) != FUTURE:
                    raise
        return await self._calls.newest_revision()

    # Lease

    async def lease_grant(self, ttl_seconds: int, lease_id: int = 0) -> LeaseGranted:
        """Repeated when etcd chooses the id: a lease that nobody knows of ends by itself."""
        request = rpc_pb2.LeaseGrantRequest(TTL=ttl_seconds, ID=lease_id)
        send = self._calls.write if lease_id else self._calls.read
        response = await send("LeaseGrant", request)
        return LeaseGranted(response.ID, response.TTL)

    async def lease_keep_alive(self, lease_id: int) -> LeaseGranted:
        """A lease that is not there is answered with a TTL of 0, and raised."""
        response = await self._calls.read("LeaseKeepAlive", rpc_pb2.LeaseKeepAliveRequest(ID=lease_id))
        if response.TTL <= 0:
            raise EtcdError(LEASE_NOT_FOUND, "NOT_FOUND")
        return LeaseGranted(response.ID, response.TTL)

    async def lease_revoke(self, lease_id: int) -> None:
        """Repeated when the answer is lost; that it is gone is then as good."""
        request = rpc_pb2.LeaseRevokeRequest(ID=lease_id)
        try:
            await self._calls.write("LeaseRevoke", request)
        except OutcomeUnknown:
            try:
                await self._calls.read("LeaseRevoke", request)
            except EtcdError as error:
                if error.code != "NOT_FOUND":
                    raise

    async def lease_time_to_live(self, lease_id: int) -> LeaseStatus:
        request = rpc_pb2.LeaseTimeToLiveRequest(ID=lease_id, keys=True)
        found = await self._calls.read("LeaseTimeToLive", request)
        return LeaseStatus(found.ID, found.grantedTTL, found.TTL, list(found.keys))

    async def lease_leases(self) -> list[int]:
        found = await self._calls.read("LeaseLeases", rpc_pb2.LeaseLeasesRequest())
        return sorted(lease.ID for lease in found.leases)

    async def size_bytes(self) -> int:
        """Of the member that answers."""
        return int((await self._calls.read("Status", rpc_pb2.StatusRequest())).dbSize)


def only_reads(txn: Txn) -> bool:
    return all(isinstance(op, Range) or (isinstance(op, Txn) and only_reads(op)) for op in (*txn.success, *txn.failure))
