"""The unary services over a real connection: headers, sizes, refusals, snapshots; the rest is beside a real etcd."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]
import pytest
from aetcd.rpc import rpc_pb2  # type: ignore[import-untyped]

from kubeloop.actors.etcd.options import EtcdOptions
from tests.etcd.wire_server import Served, Stubs, connected, etcd_and_client, served

Pair = tuple[Served, Stubs]
PUT_BYTES_MAX = 1_572_864 - 18  # of a PutRequest: the rest is etcd's raft entry's


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    async with etcd_and_client() as pair:
        yield pair


async def refused(call: Any) -> tuple[str, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code().name, caught.value.details()


async def test_every_answer_says_who_answered_and_when(pair: Pair) -> None:
    etcd, stubs = pair
    header = (await stubs.put(b"a", b"1")).header
    assert (header.cluster_id, header.member_id) == (etcd.cluster_id, etcd.member_id)
    assert (header.revision, header.raft_term) == (2, etcd.raft_term)
    members = await stubs.cluster.MemberList(rpc_pb2.MemberListRequest())
    assert members.header.revision == 0 and etcd.member_id == members.members[0].ID


async def test_answers_within_a_transaction_have_the_revision_alone(pair: Pair) -> None:
    _, stubs = pair
    op = rpc_pb2.RequestOp
    nested = rpc_pb2.TxnRequest(success=[op(request_range=rpc_pb2.RangeRequest(key=b"a"))])
    answer = await stubs.kv.Txn(
        rpc_pb2.TxnRequest(
            success=[
                op(request_put=rpc_pb2.PutRequest(key=b"a", value=b"1", prev_kv=True)),
                op(request_delete_range=rpc_pb2.DeleteRangeRequest(key=b"b", prev_kv=True)),
                op(request_txn=nested),
            ]
        )
    )
    put, delete, txn = answer.responses
    assert (put.response_put.header.revision, put.response_put.header.member_id) == (2, 0)
    assert not put.response_put.HasField("prev_kv")
    assert (delete.response_delete_range.deleted, delete.response_delete_range.header.revision) == (0, 2)
    assert txn.response_txn.HasField("header") and txn.response_txn.header.revision == 0
    assert txn.response_txn.responses[0].response_range.kvs[0].value == b"1"


async def test_the_largest_request_and_one_byte_more(pair: Pair) -> None:
    _, stubs = pair
    request = rpc_pb2.PutRequest(key=b"a", value=b"x" * (PUT_BYTES_MAX - 7))
    assert request.ByteSize() == PUT_BYTES_MAX
    await stubs.kv.Put(request)
    request.value += b"x"
    assert await refused(stubs.kv.Put(request)) == ("INVALID_ARGUMENT", "etcdserver: request is too large")
    request.value = b"x" * 2_097_153
    text = f"grpc: received message larger than max ({request.ByteSize()} vs. 2097152)"
    assert await refused(stubs.kv.Put(request)) == ("RESOURCE_EXHAUSTED", text)
    assert (await stubs.get(b"a")).kvs[0].version == 1


async def test_limits_are_options() -> None:
    options = EtcdOptions(max_request_bytes=1_000, max_txn_ops=2)
    async with served(options) as etcd, connected(etcd.target) as stubs:
        assert await refused(stubs.put(b"a", b"x" * 1_000)) == ("INVALID_ARGUMENT", "etcdserver: request is too large")
        ops = [rpc_pb2.RequestOp(request_range=rpc_pb2.RangeRequest(key=b"a"))] * 3
        assert await refused(stubs.kv.Txn(rpc_pb2.TxnRequest(success=ops))) == (
            "INVALID_ARGUMENT",
            "etcdserver: too many operations in txn request",
        )


async def test_a_large_range_is_answered_whole(pair: Pair) -> None:
    _, stubs = pair
    await asyncio.gather(*(stubs.put(b"k%03d" % number, b"x" * 100_000) for number in range(100)))
    answer = await stubs.get(b"k", range_end=b"l")
    assert [kv.key for kv in answer.kvs] == [b"k%03d" % number for number in range(100)]
    assert {len(kv.value) for kv in answer.kvs} == {100_000}


@pytest.mark.parametrize(
    ("service", "method", "request_", "answer"),
    [
        ("kv", "Txn", rpc_pb2.TxnRequest(success=[rpc_pb2.RequestOp()]), "INVALID_ARGUMENT etcdserver: key not found"),
        (
            "kv",
            "Range",
            rpc_pb2.RangeRequest(key=b"a", sort_target=9),
            "INVALID_ARGUMENT etcdserver: invalid sort option",
        ),
        ("lease", "LeaseRevoke", rpc_pb2.LeaseRevokeRequest(ID=1), "NOT_FOUND etcdserver: requested lease not found"),
        (
            "maintenance",
            "MoveLeader",
            rpc_pb2.MoveLeaderRequest(targetID=5),
            "FAILED_PRECONDITION etcdserver: bad leader transferee",
        ),
        (
            "maintenance",
            "Downgrade",
            rpc_pb2.DowngradeRequest(),
            "UNIMPLEMENTED unknown method Downgrade for service etcdserverpb.Maintenance",
        ),
        ("cluster", "MemberRemove", rpc_pb2.MemberRemoveRequest(ID=5), "NOT_FOUND etcdserver: member not found"),
        (
            "cluster",
            "MemberAdd",
            rpc_pb2.MemberAddRequest(),
            "UNIMPLEMENTED kubeloop's etcd is one member without peers",
        ),
        (
            "auth",
            "Authenticate",
            rpc_pb2.AuthenticateRequest(name="root"),
            "FAILED_PRECONDITION etcdserver: authentication is not enabled",
        ),
        (
            "auth",
            "UserList",
            rpc_pb2.AuthUserListRequest(),
            "UNIMPLEMENTED unknown method UserList for service etcdserverpb.Auth",
        ),
    ],
)
async def test_what_cannot_be_done_is_refused(
    pair: Pair, service: str, method: str, request_: Any, answer: str
) -> None:
    stub = getattr(pair[1], service)
    assert " ".join(await refused(getattr(stub, method)(request_))).startswith(answer)


async def test_status_hash_and_alarms(pair: Pair) -> None:
    etcd, stubs = pair
    await stubs.put(b"a", b"1")
    status = await stubs.maintenance.Status(rpc_pb2.StatusRequest())
    assert (status.leader, status.raftTerm, status.version, list(status.errors)) == (etcd.member_id, 2, "3.5.13", [])
    before = await stubs.maintenance.HashKV(rpc_pb2.HashKVRequest())
    await stubs.put(b"a", b"2")
    after = await stubs.maintenance.HashKV(rpc_pb2.HashKVRequest())
    again = await stubs.maintenance.HashKV(rpc_pb2.HashKVRequest(revision=2))
    assert before.hash == again.hash != after.hash
    alarm = rpc_pb2.AlarmRequest(action=rpc_pb2.AlarmRequest.ACTIVATE, alarm=rpc_pb2.NOSPACE, memberID=etcd.member_id)
    await stubs.maintenance.Alarm(alarm)
    assert await refused(stubs.put(b"a", b"3")) == (
        "RESOURCE_EXHAUSTED",
        "etcdserver: mvcc: database space exceeded",
    )
    status = await stubs.maintenance.Status(rpc_pb2.StatusRequest())
    assert list(status.errors) == [f"memberID:{etcd.member_id} alarm:NOSPACE "]


@pytest.mark.parametrize("durable", [False, True])
async def test_a_snapshot_ends_in_its_checksum(durable: bool, tmp_path: Path) -> None:
    options = EtcdOptions(data_dir=tmp_path / "data" if durable else None)
    async with served(options) as etcd, connected(etcd.target) as stubs:
        await asyncio.gather(*(stubs.put(b"k%d" % number, b"x" * 10_000) for number in range(100)))
        blobs = [part.blob async for part in stubs.maintenance.Snapshot(rpc_pb2.SnapshotRequest())]
    content, checksum = b"".join(blobs[:-1]), blobs[-1]
    assert checksum == hashlib.sha256(content).digest()
    assert len(content) % 512 == 0 and len(content) > 1_000_000


async def test_a_client_may_leave_within_a_snapshot(pair: Pair) -> None:
    etcd, stubs = pair
    for number in range(10):
        await stubs.put(b"k%d" % number, b"x" * 1_000_000)
    call = stubs.maintenance.Snapshot(rpc_pb2.SnapshotRequest())
    assert (await call.read()).blob
    call.cancel()
    assert (await stubs.put(b"after", b"")).header.revision == 12
    async with asyncio.timeout(5):
        while etcd.incarnation.children:  # noqa: ASYNC110 - turns of the loop, and the other side's
            await asyncio.sleep(0.001)


async def test_keep_alive_answers_each_request(pair: Pair) -> None:
    _, stubs = pair
    lease = await stubs.lease.LeaseGrant(rpc_pb2.LeaseGrantRequest(TTL=100))
    call = stubs.lease.LeaseKeepAlive()
    for lease_id, ttl in ((lease.ID, 100), (lease.ID + 1, 0), (lease.ID, 100)):
        await call.write(rpc_pb2.LeaseKeepAliveRequest(ID=lease_id))
        answer = await call.read()
        assert (lease_id, ttl) == (answer.ID, answer.TTL)
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF
    assert await call.code() == grpc.StatusCode.OK


async def test_health_is_told_the_way_of_grpc(pair: Pair) -> None:
    check = pair[1].channel.unary_unary("/grpc.health.v1.Health/Check")
    assert await check(b"") == b"\x08\x01"
    assert await refused(check(b"\x0a\x03abc")) == ("NOT_FOUND", "unknown service")


async def test_durable_writes_of_a_client_that_leaves_are_written_all_the_same(tmp_path: Path) -> None:
    async with served(EtcdOptions(data_dir=tmp_path / "data")) as etcd, connected(etcd.target) as stubs:
        calls = [stubs.kv.Put(rpc_pb2.PutRequest(key=b"k%d" % number, value=b"")) for number in range(50)]
        await calls[-1]
        for call in calls:
            call.cancel()
        answer = await stubs.get(b"k", range_end=b"l", count_only=True)
        assert answer.count == etcd.store.keys >= 1


async def test_a_deadline_of_a_moment_is_kept(pair: Pair) -> None:
    _, stubs = pair
    call = stubs.watch.Watch(timeout=0.05)
    assert await call.code() == grpc.StatusCode.DEADLINE_EXCEEDED


async def test_pings_of_a_client_that_keeps_alive_are_answered() -> None:
    options = {
        "grpc.keepalive_time_ms": 10,
        "grpc.keepalive_timeout_ms": 2_000,
        "grpc.http2.max_pings_without_data": 0,
        "grpc.keepalive_permit_without_calls": 1,
    }
    async with etcd_and_client(**options) as (_, stubs):
        for _ in range(20):
            await stubs.put(b"a", b"")
            await asyncio.sleep(0.01)
