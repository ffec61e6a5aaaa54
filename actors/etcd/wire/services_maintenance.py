"""The Maintenance service. Follows the maintenance page and the v3 API reference of etcd."""

import hashlib
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, cast

from aetcd.rpc import rpc_pb2  # type: ignore[import-untyped]

from kubeloop.actors.etcd.actor import EtcdActor
from kubeloop.actors.etcd.messages import Alarm, AlarmMember, Defragment, HashKV, HashResult, Status, StatusResult
from kubeloop.actors.etcd.wire.rpc_call import StreamingCall
from kubeloop.actors.etcd.wire.rpc_words import Method, RpcError
from kubeloop.actors.etcd.wire.services_header import Headers, encoded

VERSION = "3.5.13"
"""The etcd that clients may take this for. Its API is served, and what clients look up a version for holds: progress
requests are answered in order, which kube-apiserver believes from 3.4.31 and 3.5.13 on, and snapshots end in their
SHA-256. Not 3.6: its downgrade and storage version answers are missing. Plain, for clients that split it at the dots.
"""
CLUSTER_VERSION = "3.5.0"
SNAPSHOT_BLOB_BYTES = 32_768
SNAPSHOT_UNIT_BYTES = 512  # etcdctl finds the checksum by a length that is 32 more than a multiple of it
ALARM_TYPES: dict[int, Any] = {0: "NONE", 1: "NOSPACE", 2: "CORRUPT"}
ALARM_NUMBERS = {name: number for number, name in ALARM_TYPES.items()}
ALARM_ACTIONS: dict[int, Any] = {0: "get", 1: "activate", 2: "deactivate"}


def maintenance_methods(etcd: EtcdActor, headers: Headers) -> list[Method]:
    service = MaintenanceService(etcd, headers)
    name = "etcdserverpb.Maintenance"
    return [
        Method(name, "Alarm", "unary", rpc_pb2.AlarmRequest.FromString, service.alarm),
        Method(name, "Status", "unary", rpc_pb2.StatusRequest.FromString, service.status),
        Method(name, "Defragment", "unary", rpc_pb2.DefragmentRequest.FromString, service.defragment),
        Method(name, "Hash", "unary", rpc_pb2.HashRequest.FromString, service.hash),
        Method(name, "HashKV", "unary", rpc_pb2.HashKVRequest.FromString, service.hash_kv),
        Method(name, "Snapshot", "server_stream", rpc_pb2.SnapshotRequest.FromString, service.snapshot),
        Method(name, "MoveLeader", "unary", rpc_pb2.MoveLeaderRequest.FromString, service.move_leader),
    ]


class MaintenanceService:
    def __init__(self, etcd: EtcdActor, headers: Headers) -> None:
        self._etcd = etcd
        self._ask = etcd.answer
        self._headers = headers

    async def alarm(self, request: Any) -> bytes:
        action, kind = ALARM_ACTIONS.get(request.action), ALARM_TYPES.get(request.alarm)
        if action is None or kind is None or (action == "activate" and kind == "NONE"):
            raise RpcError("INVALID_ARGUMENT", f"etcdserver: no alarm {request.alarm} to be had by {request.action}")
        alarms: list[AlarmMember] = await self._ask(Alarm(action, kind, request.memberID))
        members = [rpc_pb2.AlarmMember(memberID=alarm.member_id, alarm=ALARM_NUMBERS[alarm.type]) for alarm in alarms]
        return encoded(b"", rpc_pb2.AlarmResponse(alarms=members))

    async def status(self, request: Any) -> bytes:
        status: StatusResult = await self._ask(Status())
        alarms: list[AlarmMember] = await self._ask(Alarm())
        etcd = self._etcd
        response = rpc_pb2.StatusResponse(
            version=VERSION,
            dbSize=status.db_size,
            leader=etcd.member_id,
            raftIndex=etcd.revision,  # there is no raft: what was applied last is the revision
            raftTerm=etcd.raft_term,
            raftAppliedIndex=etcd.revision,
            errors=[f"memberID:{alarm.member_id} alarm:{alarm.type} " for alarm in alarms],
            dbSizeInUse=status.db_size_in_use,
        )
        return encoded(self._headers.now(), response)

    async def defragment(self, request: Any) -> bytes:
        await self._ask(Defragment())
        return b""

    async def hash(self, request: Any) -> bytes:
        """etcd's hash of the whole file; here of the whole history, as HashKV's."""
        result: HashResult = await self._ask(HashKV())
        return encoded(self._headers.at(result.revision), rpc_pb2.HashResponse(hash=result.hash))

    async def hash_kv(self, request: Any) -> bytes:
        result: HashResult = await self._ask(HashKV(request.revision))
        response = rpc_pb2.HashKVResponse(hash=result.hash, compact_revision=result.compact_revision)
        return encoded(self._headers.at(result.revision), response)

    async def snapshot(self, call: StreamingCall) -> None:
        """The backup's bytes, then their SHA-256 as one more blob. How many remain, which nobody reads, is left out."""
        digest = hashlib.sha256()
        size = 0
        async with aclosing(cast("AsyncGenerator[bytes, None]", self._etcd.backup())) as pieces:
            async for piece in pieces:
                size += len(piece)
                digest.update(piece)
                for start in range(0, len(piece), SNAPSHOT_BLOB_BYTES):
                    blob = piece[start : start + SNAPSHOT_BLOB_BYTES]
                    await call.send(encoded(b"", rpc_pb2.SnapshotResponse(blob=blob)))
        if size % SNAPSHOT_UNIT_BYTES:
            raise RpcError("INTERNAL", f"a snapshot of {size} bytes, which is no multiple of {SNAPSHOT_UNIT_BYTES}")
        await call.send(encoded(b"", rpc_pb2.SnapshotResponse(blob=digest.digest())))

    async def move_leader(self, request: Any) -> bytes:
        """To itself is no move; there is nobody else."""
        if request.targetID != self._etcd.member_id:
            raise RpcError("FAILED_PRECONDITION", "etcdserver: bad leader transferee")
        return b""
