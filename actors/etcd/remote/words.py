"""The store's words as etcd's protobuf messages, and back. Field by field what the v3 API reference names."""

from collections.abc import Sequence
from typing import Any

from kubeloop.actors.etcd.remote.stubs import rpc_pb2
from kubeloop.store.model import (
    DELETE,
    PUT,
    CasResult,
    Compare,
    DeleteRange,
    DeleteResult,
    Event,
    EventType,
    KeyValue,
    Op,
    OpResult,
    Put,
    PutResult,
    Range,
    RangeResult,
    Txn,
    TxnResult,
)

COMPARE_RESULTS = {"=": "EQUAL", "!=": "NOT_EQUAL", ">": "GREATER", "<": "LESS"}
COMPARE_FIELDS = {"create": "create_revision", "mod": "mod_revision"}  # the others are their targets' names
FILTERS: dict[EventType, str] = {PUT: "NOPUT", DELETE: "NODELETE"}
DELETE_NUMBER = 1

Compared = rpc_pb2.Compare
MOD, EQUAL = Compared.MOD, Compared.EQUAL


# requests


def to_range(op: Range) -> Any:
    return rpc_pb2.RangeRequest(
        key=op.key,
        range_end=op.range_end or b"",
        limit=op.limit,
        revision=op.revision,
        sort_order=op.sort_order.upper(),
        sort_target=op.sort_target.upper(),
        keys_only=op.keys_only,
        count_only=op.count_only,
        min_mod_revision=op.min_mod_revision,
        max_mod_revision=op.max_mod_revision,
        min_create_revision=op.min_create_revision,
        max_create_revision=op.max_create_revision,
    )


def to_put(op: Put) -> Any:
    """Always with the previous version: what etcd does not say of the version written follows from it."""
    return rpc_pb2.PutRequest(
        key=op.key,
        value=op.value,
        lease=op.lease,
        prev_kv=True,
        ignore_value=op.ignore_value,
        ignore_lease=op.ignore_lease,
    )


def to_delete_range(op: DeleteRange) -> Any:
    return rpc_pb2.DeleteRangeRequest(key=op.key, range_end=op.range_end or b"", prev_kv=op.prev_kv)


def to_op(op: Op) -> Any:
    match op:
        case Range():
            return rpc_pb2.RequestOp(request_range=to_range(op))
        case Put():
            return rpc_pb2.RequestOp(request_put=to_put(op))
        case DeleteRange():
            return rpc_pb2.RequestOp(request_delete_range=to_delete_range(op))
        case Txn():
            return rpc_pb2.RequestOp(request_txn=to_txn(op))


def to_compare(compare: Compare) -> Any:
    field = COMPARE_FIELDS.get(compare.target, compare.target)
    return Compared(
        key=compare.key,
        range_end=compare.range_end or b"",
        target=compare.target.upper(),
        result=COMPARE_RESULTS[compare.result],
        **{field: compare.value},
    )


def to_txn(txn: Txn) -> Any:
    return rpc_pb2.TxnRequest(
        compare=[to_compare(compare) for compare in txn.compare],
        success=[to_op(op) for op in txn.success],
        failure=[to_op(op) for op in txn.failure],
    )


def to_put_if(key: bytes, value: bytes, mod_revision: int, lease: int) -> Any:
    """One compare, one put; of a key that was there also its new version, without the value, in the same transaction.

    That range costs the member what `prev_kv` would, and sends no value over the wire that nobody looks at. A created
    key needs neither: its version is 1.
    """
    success = [rpc_pb2.RequestOp(request_put=rpc_pb2.PutRequest(key=key, value=value, lease=lease))]
    if mod_revision:
        success.append(rpc_pb2.RequestOp(request_range=rpc_pb2.RangeRequest(key=key, keys_only=True)))
    return _if_at(key, mod_revision, success)


def to_delete_if(key: bytes, mod_revision: int) -> Any:
    delete = rpc_pb2.DeleteRangeRequest(key=key, prev_kv=True)
    return _if_at(key, mod_revision, [rpc_pb2.RequestOp(request_delete_range=delete)])


def _if_at(key: bytes, mod_revision: int, success: list[Any]) -> Any:
    return rpc_pb2.TxnRequest(
        compare=[Compared(key=key, target=MOD, result=EQUAL, mod_revision=mod_revision)],
        success=success,
        failure=[rpc_pb2.RequestOp(request_range=rpc_pb2.RangeRequest(key=key))],
    )


def to_watch(
    key: bytes, range_end: bytes | None, start_revision: int, prev_kv: bool, filters: Sequence[EventType]
) -> Any:
    return rpc_pb2.WatchRequest(
        create_request=rpc_pb2.WatchCreateRequest(
            key=key,
            range_end=range_end or b"",
            start_revision=start_revision,
            prev_kv=prev_kv,
            filters=[FILTERS[filter] for filter in filters],
            progress_notify=True,
            fragment=True,
        )
    )


# answers


def key_value(kv: Any) -> KeyValue:
    return KeyValue(kv.key, kv.value, kv.create_revision, kv.mod_revision, kv.version, kv.lease)


def event(message: Any) -> Event:
    kv = message.kv
    return Event(
        DELETE if message.type == DELETE_NUMBER else PUT,
        KeyValue(kv.key, kv.value, kv.create_revision, kv.mod_revision, kv.version, kv.lease),
        key_value(message.prev_kv) if message.HasField("prev_kv") else None,
    )


def range_result(response: Any) -> RangeResult:
    kvs = [key_value(kv) for kv in response.kvs]
    return RangeResult(kvs, response.more, response.count, response.header.revision)


def put_result(op: Put, response: Any) -> PutResult:
    revision = response.header.revision
    previous = key_value(response.prev_kv) if response.HasField("prev_kv") else None
    value, lease, created, version = op.value, op.lease, revision, 1
    if previous is not None:
        created, version = previous.create_revision, previous.version + 1
        value = previous.value if op.ignore_value else value
        lease = previous.lease if op.ignore_lease else lease
    kv = KeyValue(op.key, value, created, revision, version, lease)
    return PutResult(kv, revision, previous if op.prev_kv else None)


def delete_result(response: Any) -> DeleteResult:
    return DeleteResult(response.deleted, response.header.revision, [key_value(kv) for kv in response.prev_kvs])


def txn_result(txn: Txn, response: Any, outer_revision: int = 0) -> TxnResult:
    """A nested transaction's answer has no header of its own."""
    branch = txn.success if response.succeeded else txn.failure
    revision = response.header.revision or outer_revision
    responses = [_op_result(op, one, revision) for op, one in zip(branch, response.responses, strict=True)]
    return TxnResult(response.succeeded, responses, revision)


def _op_result(op: Op, response: Any, outer_revision: int) -> OpResult:
    match op:
        case Range():
            return range_result(response.response_range)
        case Put():
            return put_result(op, response.response_put)
        case DeleteRange():
            return delete_result(response.response_delete_range)
        case Txn():
            return txn_result(op, response.response_txn, outer_revision)


def put_if_result(key: bytes, value: bytes, lease: int, response: Any) -> CasResult:
    """Answer of `to_put_if`; `value` is handed on as the very object that was given."""
    if not response.succeeded:
        return found_result(response)
    revision = response.header.revision
    responses = response.responses
    if len(responses) == 1:
        return CasResult(True, KeyValue(key, value, revision, revision, 1, lease), revision)
    kv = responses[1].response_range.kvs[0]
    return CasResult(True, KeyValue(key, value, kv.create_revision, revision, kv.version, lease), revision)


def delete_if_result(response: Any) -> CasResult:
    """Answer of `to_delete_if`. Deleting what is not there, at revision 0, is no success."""
    if not response.succeeded:
        return found_result(response)
    deleted = response.responses[0].response_delete_range.prev_kvs
    return CasResult(bool(deleted), key_value(deleted[0]) if deleted else None, response.header.revision)


def found_result(response: Any) -> CasResult:
    kvs = response.responses[0].response_range.kvs
    return CasResult(False, key_value(kvs[0]) if kvs else None, response.header.revision)
