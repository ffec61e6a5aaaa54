"""The KV service: requests into the store's words, and back. Follows the KV part of etcd's v3 API reference."""

from collections.abc import Callable
from typing import Any, cast

from aetcd.rpc import rpc_pb2  # type: ignore[import-untyped]

from kubeloop.actors.etcd.actor import EtcdActor
from kubeloop.actors.etcd.messages import (
    Compact,
    Compare,
    DeleteRange,
    DeleteResult,
    Put,
    PutResult,
    Range,
    RangeResult,
    Txn,
    TxnResult,
)
from kubeloop.actors.etcd.wire.rpc_words import Method, RpcError
from kubeloop.actors.etcd.wire.services_header import Headers, encoded, fill_key_value
from kubeloop.store.errors import RequestTooLargeError
from kubeloop.store.model import Op, OpResult

RAFT_OVERHEAD_BYTES = 18  # what etcd's raft entry has beside the request: measured, a put's value may be that much less
SORT_ORDERS: dict[int, Any] = {0: "none", 1: "ascend", 2: "descend"}
SORT_TARGETS: dict[int, Any] = {0: "key", 1: "version", 2: "create", 3: "mod", 4: "value"}
RESULTS: dict[int, Any] = {0: "=", 1: ">", 2: "<", 3: "!="}
TARGETS: dict[int, tuple[Any, str]] = {
    0: ("version", "version"),
    1: ("create", "create_revision"),
    2: ("mod", "mod_revision"),
    3: ("value", "value"),
    4: ("lease", "lease"),
}


def kv_methods(etcd: EtcdActor, headers: Headers) -> list[Method]:
    service = KvService(etcd, headers)
    parsers: dict[str, tuple[Any, Any]] = {
        "Range": (rpc_pb2.RangeRequest, service.range),
        "Put": (rpc_pb2.PutRequest, service.put),
        "DeleteRange": (rpc_pb2.DeleteRangeRequest, service.delete_range),
        "Txn": (rpc_pb2.TxnRequest, service.txn),
        "Compact": (rpc_pb2.CompactionRequest, service.compact),
    }
    return [
        Method("etcdserverpb.KV", name, "unary", message.FromString, handler)
        for name, (message, handler) in parsers.items()
    ]


class KvService:
    def __init__(self, etcd: EtcdActor, headers: Headers) -> None:
        self._ask = etcd.answer
        self._header = headers.at
        self._now = headers.now
        self._request_bytes_max = etcd.options.max_request_bytes - RAFT_OVERHEAD_BYTES

    async def range(self, request: Any) -> bytes:
        result: RangeResult = await self._ask(range_op(request))
        response = rpc_pb2.RangeResponse()
        fill_range(response, result)
        return encoded(self._header(result.revision), response)

    async def put(self, request: Any) -> bytes:
        self._check_size(request)
        result: PutResult = await self._ask(put_op(request))
        header = self._header(result.revision)
        if result.prev_kv is None:
            return header
        response = rpc_pb2.PutResponse()
        fill_key_value(response.prev_kv, result.prev_kv)
        return encoded(header, response)

    async def delete_range(self, request: Any) -> bytes:
        self._check_size(request)
        result: DeleteResult = await self._ask(delete_op(request))
        response = rpc_pb2.DeleteRangeResponse()
        fill_delete(response, result)
        return encoded(self._header(result.revision), response)

    async def txn(self, request: Any) -> bytes:
        if not only_reads(request):  # etcd answers those without its log, whose limit it is
            self._check_size(request)
        result: TxnResult = await self._ask(txn_op(request))
        response = rpc_pb2.TxnResponse()
        fill_txn(response, result)
        return encoded(self._header(result.revision), response)

    async def compact(self, request: Any) -> bytes:
        await self._ask(Compact(request.revision, request.physical))
        return self._now()

    def _check_size(self, request: Any) -> None:
        if request.ByteSize() > self._request_bytes_max:
            raise RpcError(RequestTooLargeError.code, RequestTooLargeError.text)


def only_reads(txn: Any) -> bool:
    return all(op.HasField("request_range") for ops in (txn.success, txn.failure) for op in ops)


def range_op(request: Any) -> Range:
    """Unknown sort options are passed on as the store refuses them."""
    return Range(
        request.key,
        request.range_end or None,
        request.revision,
        request.limit,
        SORT_ORDERS.get(request.sort_order, "?"),
        SORT_TARGETS.get(request.sort_target, "?"),
        request.keys_only,
        request.count_only,
        request.min_mod_revision,
        request.max_mod_revision,
        request.min_create_revision,
        request.max_create_revision,
    )


def put_op(request: Any) -> Put:
    return Put(request.key, request.value, request.lease, request.prev_kv, request.ignore_value, request.ignore_lease)


def delete_op(request: Any) -> DeleteRange:
    return DeleteRange(request.key, request.range_end or None, request.prev_kv)


def txn_op(request: Any) -> Txn:
    return Txn(
        [compare for compare in map(compare_op, request.compare) if compare is not None],
        [request_op(op) for op in request.success],
        [request_op(op) for op in request.failure],
    )


OPS: dict[str, Callable[[Any], Op]] = {
    "request_put": put_op,
    "request_range": range_op,
    "request_delete_range": delete_op,
    "request_txn": txn_op,
}


def request_op(op: Any) -> Op:
    """None for what is no operation: the store refuses it when its turn comes, as etcd does."""
    kind = op.WhichOneof("request")
    return OPS[kind](getattr(op, kind)) if kind is not None else cast(Op, None)


def compare_op(compare: Any) -> Compare | None:
    """None for what always holds: etcd lets a comparison that it does not know hold (the value of no key excepted), and
    finds unknown targets equal.

    A value of another target than the compare's own counts as 0, or as empty.
    """
    if not compare.key:
        return Compare(b"", "version", "=", 0)  # refused, whatever it compares
    result = RESULTS.get(compare.result)
    target = TARGETS.get(compare.target)
    range_end = compare.range_end or None
    if result is None and target == TARGETS[3]:
        return Compare(compare.key, "version", ">", 0, range_end)
    if result is None or (target is None and result == "="):
        return None
    if target is None:
        return Compare(compare.key, "version", "<", 0, range_end)
    return Compare(compare.key, target[0], result, getattr(compare, target[1]), range_end)


def fill_range(response: Any, result: RangeResult) -> None:
    add = response.kvs.add
    for kv in result.kvs:
        fill_key_value(add(), kv)
    response.more = result.more
    response.count = result.count


def fill_delete(response: Any, result: DeleteResult) -> None:
    response.deleted = result.deleted
    for kv in result.prev_kvs:
        fill_key_value(response.prev_kvs.add(), kv)


def fill_txn(response: Any, result: TxnResult) -> None:
    response.succeeded = result.succeeded
    for inner in result.responses:
        fill_op(response.responses.add(), inner)


def fill_op(op: Any, result: OpResult) -> None:
    """An answer within a transaction: its header has the revision alone, a nested transaction's nothing at all."""
    match result:
        case RangeResult():
            op.response_range.header.revision = result.revision
            fill_range(op.response_range, result)
        case PutResult():
            op.response_put.header.revision = result.revision
            if result.prev_kv is not None:
                fill_key_value(op.response_put.prev_kv, result.prev_kv)
        case DeleteResult():
            op.response_delete_range.header.revision = result.revision
            fill_delete(op.response_delete_range, result)
        case TxnResult():
            op.response_txn.header.SetInParent()
            fill_txn(op.response_txn, result)
