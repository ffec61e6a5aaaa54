"""The store and the dumb model behind the face of `PeerClient`: the same requests, the same plain answers."""

from collections.abc import Callable
from typing import Any

from kubeloop.actors.etcd.messages import Compact, LeaseGrant, LeaseKeepAlive, LeaseLeases, LeaseRevoke
from kubeloop.store.errors import LeaseNotFoundError, StoreError
from kubeloop.store.model import (
    DeleteRange,
    DeleteResult,
    KeyValue,
    OpResult,
    Put,
    PutResult,
    Range,
    RangeResult,
    Txn,
    TxnResult,
)
from kubeloop.store.store import Store
from tests.etcd.peer_client import LeaseTimeToLive, Refused, Request
from tests.store.dumb import DumbStore


def plain_kv(kv: KeyValue) -> dict[str, Any]:
    return {
        "key": kv.key,
        "value": kv.value,
        "create": kv.create_revision,
        "mod": kv.mod_revision,
        "version": kv.version,
        "lease": kv.lease,
    }


def plain(result: OpResult) -> dict[str, Any]:
    match result:
        case RangeResult(kvs, more, count, revision):
            return {"revision": revision, "kvs": [plain_kv(kv) for kv in kvs], "more": more, "count": count}
        case PutResult(_, revision, prev_kv):
            return {"revision": revision, "prev_kv": plain_kv(prev_kv) if prev_kv else None}
        case DeleteResult(deleted, revision, prev_kvs):
            return {"revision": revision, "deleted": deleted, "prev_kvs": [plain_kv(kv) for kv in prev_kvs]}
        case TxnResult(succeeded, results, revision):
            responses = [plain(inner) for inner in results]
            for inner, response in zip(results, responses, strict=True):
                if isinstance(inner, TxnResult):
                    del response["revision"]
            return {"revision": revision, "succeeded": succeeded, "responses": responses}


def plain_time_to_live(request: LeaseTimeToLive, granted: int, keys: list[bytes], revision: int) -> dict[str, Any]:
    """`granted` 0: there is no such lease."""
    remaining = "most of it" if granted else -1
    keys = keys if request.keys else []
    return {"id": request.id, "granted": granted, "remaining": remaining, "keys": keys, "revision": revision}


class DumbPeer:
    """Leases get their ids from the caller."""

    def __init__(self) -> None:
        self.dumb = DumbStore()
        self.dumb.compact(1)

    def do(self, request: Request) -> Any:
        try:
            return self._do(request)
        except StoreError as error:
            return Refused(error.code, str(error))

    def _do(self, request: Request) -> Any:
        dumb = self.dumb
        match request:
            case Range() | Put() | DeleteRange() | Txn():
                return plain(dumb.do(request))
            case Compact():
                dumb.compact(request.revision)
            case LeaseGrant(ttl_seconds, lease_id):
                ttl = dumb.lease_grant(lease_id, ttl_seconds)
                return {"id": lease_id, "ttl": ttl, "error": "", "revision": dumb.revision}
            case LeaseRevoke():
                dumb.lease_revoke(request.id)
            case LeaseKeepAlive():
                return [{"id": request.id, "ttl": dumb.leases.get(request.id, 0), "revision": dumb.revision}]
            case LeaseTimeToLive():
                granted = dumb.leases.get(request.id, 0)
                return plain_time_to_live(request, granted, dumb.lease_keys(request.id), dumb.revision)
            case LeaseLeases():
                return {"ids": sorted(dumb.leases), "revision": dumb.revision}
        return {"revision": dumb.revision}


class StorePeer:
    """The store in process, at time 0 for ever."""

    def __init__(self) -> None:
        self.store = Store()
        self.store.compact(1)
        store = self.store
        self._calls: dict[type, Callable[[Any], Any]] = {
            Range: lambda op: plain(store.range_op(op)),
            Put: lambda op: plain(store.put_op(op)),
            DeleteRange: lambda op: plain(store.delete_range(op.key, op.range_end, prev_kv=op.prev_kv)),
            Txn: lambda op: plain(store.txn(op)),
            Compact: self._compact,
            LeaseGrant: self._lease_grant,
            LeaseRevoke: self._lease_revoke,
            LeaseKeepAlive: self._lease_keep_alive,
            LeaseTimeToLive: self._lease_time_to_live,
            LeaseLeases: lambda op: {"ids": [lease.id for lease in store.leases.all()], "revision": store.revision},
        }

    def do(self, request: Request) -> Any:
        try:
            return self._calls[type(request)](request)
        except StoreError as error:
            return Refused(error.code, str(error))

    def _compact(self, op: Compact) -> Any:
        self.store.compact(op.revision)
        return {"revision": self.store.revision}

    def _lease_revoke(self, op: LeaseRevoke) -> Any:
        self.store.lease_revoke(op.id)
        return {"revision": self.store.revision}

    def _lease_grant(self, op: LeaseGrant) -> Any:
        lease = self.store.lease_grant(op.ttl_seconds, op.id, now=0.0)
        return {"id": lease.id, "ttl": lease.ttl_seconds, "error": "", "revision": self.store.revision}

    def _lease_keep_alive(self, op: LeaseKeepAlive) -> Any:
        try:
            ttl = self.store.lease_keep_alive(op.id, now=0.0).ttl_seconds
        except LeaseNotFoundError:
            ttl = 0
        return [{"id": op.id, "ttl": ttl, "revision": self.store.revision}]

    def _lease_time_to_live(self, op: LeaseTimeToLive) -> Any:
        status = self.store.lease_time_to_live(op.id, now=0.0)
        return plain_time_to_live(op, status.granted_ttl_seconds, status.keys, self.store.revision)
