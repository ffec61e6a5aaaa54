"""The real etcd that others are compared with starts, dies and comes back."""

from pathlib import Path

from aetcd.rpc import rpc_pb2, rpc_pb2_grpc  # type: ignore[import-untyped]

from tests.etcd.real_etcd import RealEtcd, Tls, require_etcd


def test_a_wiped_etcd_has_no_keys_and_no_leases(real_etcd: RealEtcd) -> None:
    with real_etcd.members[0].channel() as channel:
        kv, lease = rpc_pb2_grpc.KVStub(channel), rpc_pb2_grpc.LeaseStub(channel)
        granted = lease.LeaseGrant(rpc_pb2.LeaseGrantRequest(TTL=100))
        kv.Put(rpc_pb2.PutRequest(key=b"a", value=b"1", lease=granted.ID))
        kv.Put(rpc_pb2.PutRequest(key=b"b", value=b"2"))
        real_etcd.wipe()
        assert kv.Range(rpc_pb2.RangeRequest(key=b"\0", range_end=b"\0")).count == 0
        assert not lease.LeaseLeases(rpc_pb2.LeaseLeasesRequest()).leases


def test_a_killed_member_comes_back_with_its_data(real_etcd_cluster: RealEtcd) -> None:
    victim = real_etcd_cluster.leader()
    with victim.channel() as channel:
        rpc_pb2_grpc.KVStub(channel).Put(rpc_pb2.PutRequest(key=b"a", value=b"1"))
    victim.kill()
    for member in real_etcd_cluster.members:
        if member is not victim:
            member.wait_healthy()
    assert real_etcd_cluster.leader() is not victim
    victim.start()
    victim.wait_healthy()
    with victim.channel() as channel:
        assert rpc_pb2_grpc.KVStub(channel).Range(rpc_pb2.RangeRequest(key=b"a")).kvs[0].value == b"1"


def test_clients_show_a_certificate(tmp_path: Path) -> None:
    require_etcd()
    tls = Tls.make(tmp_path / "tls", client_cert_auth=True)
    with RealEtcd(tmp_path, tls=tls) as etcd, etcd.members[0].channel() as channel:
        assert rpc_pb2_grpc.KVStub(channel).Range(rpc_pb2.RangeRequest(key=b"a")).count == 0
