"""One small client for every etcd that is compared: the same operations in, answers and refusals out as plain data.

Operations are the store's own words with revisions counted from an empty store's 1, as if nothing had been before; the
client adds what the peer's revision was when it began. Plain data are dicts, lists, bytes and numbers; a refusal is
`Refused(code, message)`.
"""

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import grpc  # type: ignore[import-untyped]
from aetcd.rpc import rpc_pb2, rpc_pb2_grpc  # type: ignore[import-untyped]
from msgspec import Struct

from kubeloop.actors.etcd.messages import Compact, LeaseGrant, LeaseKeepAlive, LeaseLeases, LeaseRevoke
from kubeloop.store.model import Compare, DeleteRange, Op, Put, Range, Txn
from tests.etcd.real_etcd import open_channel

CALL_SECONDS = 20.0
COMPARE_RESULTS = {"=": "EQUAL", "!=": "NOT_EQUAL", ">": "GREATER", "<": "LESS"}
COMPARE_FIELDS = {
    "version": "version",
    "create": "create_revision",
    "mod": "mod_revision",
    "value": "value",
    "lease": "lease",
}


REVISION_FIELDS = {"revision", "create_revision", "mod_revision", "compact_revision"}
IDENTITY_FIELDS = {"cluster_id", "member_id", "memberID", "raft_term"}


class LeaseTimeToLive(Struct, frozen=True):
    """What is left of a lease, and with `keys` what is attached to it."""

    id: int
    keys: bool = False


Request: TypeAlias = Op | Compact | LeaseGrant | LeaseKeepAlive | LeaseRevoke | LeaseTimeToLive | LeaseLeases


class Refused(Struct, frozen=True):
    """gRPC's code name and etcd's message."""

    code: str
    message: str


def moved(revision: int, base: int) -> int:
    """A revision as the peer counts: 0 and less mean something else than a revision, and stay."""
    return revision + base if revision > 0 else revision


def to_range(op: Range, base: int) -> Any:
    return rpc_pb2.RangeRequest(
        key=op.key,
        range_end=op.range_end or b"",
        limit=op.limit,
        revision=moved(op.revision, base),
        sort_order=op.sort_order.upper(),
        sort_target=op.sort_target.upper(),
        keys_only=op.keys_only,
        count_only=op.count_only,
        min_mod_revision=moved(op.min_mod_revision, base),
        max_mod_revision=moved(op.max_mod_revision, base),
        min_create_revision=moved(op.min_create_revision, base),
        max_create_revision=moved(op.max_create_revision, base),
    )


def to_put(op: Put) -> Any:
    return rpc_pb2.PutRequest(
        key=op.key,
        value=op.value,
        lease=op.lease,
        prev_kv=op.prev_kv,
        ignore_value=op.ignore_value,
        ignore_lease=op.ignore_lease,
    )


def to_delete_range(op: DeleteRange) -> Any:
    return rpc_pb2.DeleteRangeRequest(key=op.key, range_end=op.range_end or b"", prev_kv=op.prev_kv)


def to_compare(compare: Compare, base: int) -> Any:
    value = compare.value
    if compare.target in ("create", "mod"):
        assert isinstance(value, int)
        value = moved(value, base)
    return rpc_pb2.Compare(
        key=compare.key,
        range_end=compare.range_end or b"",
        target=compare.target.upper(),
        result=COMPARE_RESULTS[compare.result],
        **{COMPARE_FIELDS[compare.target]: value},
    )


def to_txn(txn: Txn, base: int) -> Any:
    return rpc_pb2.TxnRequest(
        compare=[to_compare(compare, base) for compare in txn.compare],
        success=[to_request_op(op, base) for op in txn.success],
        failure=[to_request_op(op, base) for op in txn.failure],
    )


def to_request_op(op: Op, base: int) -> Any:
    match op:
        case Range():
            return rpc_pb2.RequestOp(request_range=to_range(op, base))
        case Put():
            return rpc_pb2.RequestOp(request_put=to_put(op))
        case DeleteRange():
            return rpc_pb2.RequestOp(request_delete_range=to_delete_range(op))
        case Txn():
            return rpc_pb2.RequestOp(request_txn=to_txn(op, base))


def plain_kv(kv: Any, base: int) -> dict[str, Any]:
    """`base` is the peer's; what was written at the revisions that began with it counts from 1."""
    return {
        "key": kv.key,
        "value": kv.value,
        "create": kv.create_revision - base if kv.create_revision else 0,
        "mod": kv.mod_revision - base,
        "version": kv.version,
        "lease": kv.lease,
    }


def plain_range(answer: Any, base: int) -> dict[str, Any]:
    return {
        "revision": answer.header.revision - base,
        "kvs": [plain_kv(kv, base) for kv in answer.kvs],
        "more": answer.more,
        "count": answer.count,
    }


def plain_put(answer: Any, base: int) -> dict[str, Any]:
    previous = plain_kv(answer.prev_kv, base) if answer.HasField("prev_kv") else None
    return {"revision": answer.header.revision - base, "prev_kv": previous}


def plain_delete_range(answer: Any, base: int) -> dict[str, Any]:
    return {
        "revision": answer.header.revision - base,
        "deleted": answer.deleted,
        "prev_kvs": [plain_kv(kv, base) for kv in answer.prev_kvs],
    }


def plain_txn(answer: Any, base: int) -> dict[str, Any]:
    return {
        "revision": answer.header.revision - base,
        "succeeded": answer.succeeded,
        "responses": [plain_response(response, base) for response in answer.responses],
    }


def plain_response(response: Any, base: int) -> dict[str, Any]:
    kind = response.WhichOneof("response")
    plain: dict[str, Callable[[Any, int], dict[str, Any]]] = {
        "response_range": plain_range,
        "response_put": plain_put,
        "response_delete_range": plain_delete_range,
        "response_txn": plain_txn,
    }
    found = plain[kind](getattr(response, kind), base)
    if kind == "response_txn":  # etcd leaves the header of a nested answer empty
        assert found.pop("revision") == -base
    return found


def plain(message: Any, base: int) -> dict[str, Any]:
    """Every field that is set; revisions count from `base`, and of identities only that they are there is said."""
    found: dict[str, Any] = {}
    for field, value in message.ListFields():
        if field.message_type is not None:
            repeated = not hasattr(value, "ListFields")
            found[field.name] = [plain(one, base) for one in value] if repeated else plain(value, base)
        elif field.name in REVISION_FIELDS:
            found[field.name] = value - base
        elif field.name in IDENTITY_FIELDS:
            found[field.name] = "set"
        else:
            found[field.name] = list(value) if isinstance(value, list | tuple) else value
    return found


class PeerClient:
    """Everything over one connection, one call at a time."""

    def __init__(self, target: str) -> None:
        self.channel = open_channel(target)
        self.kv = rpc_pb2_grpc.KVStub(self.channel)
        self.lease = rpc_pb2_grpc.LeaseStub(self.channel)
        self.watch = rpc_pb2_grpc.WatchStub(self.channel)
        self.maintenance = rpc_pb2_grpc.MaintenanceStub(self.channel)
        self.base = 0
        self._calls: dict[type, Callable[[Any], Any]] = {
            Range: lambda op: plain_range(self.kv.Range(to_range(op, self.base), timeout=CALL_SECONDS), self.base),
            Put: lambda op: plain_put(self.kv.Put(to_put(op), timeout=CALL_SECONDS), self.base),
            DeleteRange: lambda op: plain_delete_range(
                self.kv.DeleteRange(to_delete_range(op), timeout=CALL_SECONDS), self.base
            ),
            Txn: lambda op: plain_txn(self.kv.Txn(to_txn(op, self.base), timeout=CALL_SECONDS), self.base),
            Compact: self._compact,
            LeaseGrant: self._lease_grant,
            LeaseRevoke: self._lease_revoke,
            LeaseKeepAlive: self._lease_keep_alive,
            LeaseTimeToLive: self._lease_time_to_live,
            LeaseLeases: self._lease_leases,
        }

    def close(self) -> None:
        self.channel.close()

    def begin(self) -> None:
        """Delete everything, compact it away, and count revisions from here: the same state in every peer."""
        for status in self.lease.LeaseLeases(rpc_pb2.LeaseLeasesRequest(), timeout=CALL_SECONDS).leases:
            self.lease.LeaseRevoke(rpc_pb2.LeaseRevokeRequest(ID=status.ID), timeout=CALL_SECONDS)
        everything = rpc_pb2.DeleteRangeRequest(key=b"\0", range_end=b"\0")
        revision = self.kv.DeleteRange(everything, timeout=CALL_SECONDS).header.revision
        try:
            self.kv.Compact(rpc_pb2.CompactionRequest(revision=revision), timeout=CALL_SECONDS)
        except grpc.RpcError as error:  # nothing was written since it was last compacted
            if error.code() != grpc.StatusCode.OUT_OF_RANGE:
                raise
        self.base = revision - 1

    def do(self, request: Request) -> Any:
        """The answer as plain data, or `Refused`."""
        try:
            return self._calls[type(request)](request)
        except grpc.RpcError as error:
            return Refused(error.code().name, error.details())

    def run(self, requests: Iterable[Request]) -> list[Any]:
        return [self.do(request) for request in requests]

    def _compact(self, op: Compact) -> Any:
        request = rpc_pb2.CompactionRequest(revision=moved(op.revision, self.base), physical=op.physical)
        answer = self.kv.Compact(request, timeout=CALL_SECONDS)
        return {"revision": answer.header.revision - self.base}

    def _lease_grant(self, op: LeaseGrant) -> Any:
        answer = self.lease.LeaseGrant(rpc_pb2.LeaseGrantRequest(TTL=op.ttl_seconds, ID=op.id), timeout=CALL_SECONDS)
        return {"id": answer.ID, "ttl": answer.TTL, "error": answer.error, **self._header(answer)}

    def _lease_revoke(self, op: LeaseRevoke) -> Any:
        return self._header(self.lease.LeaseRevoke(rpc_pb2.LeaseRevokeRequest(ID=op.id), timeout=CALL_SECONDS))

    def _lease_keep_alive(self, op: LeaseKeepAlive) -> Any:
        requests = iter([rpc_pb2.LeaseKeepAliveRequest(ID=op.id)])
        return [
            {"id": answer.ID, "ttl": answer.TTL, **self._header(answer)}
            for answer in self.lease.LeaseKeepAlive(requests, timeout=CALL_SECONDS)
        ]

    def _lease_time_to_live(self, op: LeaseTimeToLive) -> Any:
        request = rpc_pb2.LeaseTimeToLiveRequest(ID=op.id, keys=op.keys)
        answer = self.lease.LeaseTimeToLive(request, timeout=CALL_SECONDS)
        passed = answer.grantedTTL - answer.TTL
        return {
            "id": answer.ID,
            "granted": answer.grantedTTL,
            "remaining": answer.TTL if answer.TTL <= 0 else "most of it" if passed < CALL_SECONDS else "little",
            "keys": sorted(answer.keys),
            **self._header(answer),
        }

    def _lease_leases(self, op: LeaseLeases) -> Any:
        answer = self.lease.LeaseLeases(rpc_pb2.LeaseLeasesRequest(), timeout=CALL_SECONDS)
        return {"ids": sorted(status.ID for status in answer.leases), **self._header(answer)}

    def _header(self, answer: Any) -> dict[str, int]:
        return {"revision": answer.header.revision - self.base}
