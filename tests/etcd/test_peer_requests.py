"""Requests as no client of good faith makes them are answered by `kubeloop etcd` as by the real etcd."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc  # type: ignore[import-untyped]
import pytest
from aetcd.rpc import rpc_pb2  # type: ignore[import-untyped]

from tests.etcd.peer_client import CALL_SECONDS, PeerClient, Refused, plain
from tests.etcd.peer_watch import WatchCreate, WatchStream
from tests.etcd.real_etcd import OurEtcd, RealEtcd


def call(method: Any, request: Any, base: int) -> Any:
    try:
        return plain(method(request, timeout=CALL_SECONDS), base)
    except grpc.RpcError as error:
        return Refused(error.code().name, error.details())


def kv(key: bytes = b"a", **fields: Any) -> Any:
    return rpc_pb2.RangeRequest(key=key, **fields)


def compare(**fields: Any) -> Any:
    return rpc_pb2.TxnRequest(compare=[rpc_pb2.Compare(**{"key": b"a", **fields})], success=[op(request_range=kv())])


def op(**fields: Any) -> Any:
    return rpc_pb2.RequestOp(**fields)


def put(key: bytes = b"a", value: bytes = b"2", **fields: Any) -> Any:
    return rpc_pb2.PutRequest(key=key, value=value, **fields)


RANGES = {
    "no key": kv(b""),
    "no key but an end": kv(b"", range_end=b"z"),
    "all": kv(b"\0", range_end=b"\0"),
    "negative limit": kv(range_end=b"z", limit=-1),
    "least limit": kv(range_end=b"z", limit=-(2**63)),
    "huge limit": kv(range_end=b"z", limit=2**63 - 1),
    "negative revision": kv(revision=-7),
    "huge revision": kv(revision=2**63 - 1),
    "revision 1": kv(revision=1),
    "end below": kv(b"b", range_end=b"a"),
    "end equal": kv(b"b", range_end=b"b"),
    "serializable": kv(serializable=True),
    "negative bounds": kv(range_end=b"z", min_mod_revision=-1, max_mod_revision=-1),
    "count and keys only": kv(range_end=b"z", count_only=True, keys_only=True),
    "count only with a limit": kv(range_end=b"z", count_only=True, limit=1),
}
PUTS = {
    "no key": put(b""),
    "no value": put(value=b""),
    "value and ignore value": put(ignore_value=True),
    "lease and ignore lease": put(ignore_lease=True, lease=5),
    "unknown lease": put(lease=5),
    "negative lease": put(lease=-5),
    "ignore the value of no key": put(b"none", b"", ignore_value=True),
    "ignore the lease of no key": put(b"none", b"1", ignore_lease=True),
    "previous": put(prev_kv=True),
    "previous of none": put(b"none", prev_kv=True),
}
DELETES = {
    "no key": rpc_pb2.DeleteRangeRequest(),
    "no key but an end": rpc_pb2.DeleteRangeRequest(range_end=b"z"),
    "none": rpc_pb2.DeleteRangeRequest(key=b"none", prev_kv=True),
    "end below": rpc_pb2.DeleteRangeRequest(key=b"b", range_end=b"a", prev_kv=True),
    "all": rpc_pb2.DeleteRangeRequest(key=b"\0", range_end=b"\0", prev_kv=True),
}
RANGE, PUT = op(request_range=kv()), op(request_put=put())
TXNS = {
    "nothing": rpc_pb2.TxnRequest(),
    "an operation that is none": rpc_pb2.TxnRequest(success=[op()]),
    "an operation that is none, in the branch that does not run": rpc_pb2.TxnRequest(failure=[op()]),
    "an operation that is none, nested": rpc_pb2.TxnRequest(
        success=[op(request_txn=rpc_pb2.TxnRequest(failure=[op()]))]
    ),
    "a compare without a key": compare(key=b""),
    "a compare without a value": compare(target="VERSION"),
    "a compare whose value is another target's": compare(target="VALUE", version=1),
    "a mod compare with a version": compare(target="MOD", version=1, result="GREATER"),
    "an unknown target": compare(target=9, version=1),
    "an unknown target that differs": compare(target=9, version=1, result="NOT_EQUAL"),
    "an unknown result": compare(target="VERSION", version=5, result=9),
    "a negative version": compare(target="VERSION", version=-1, result="GREATER"),
    "a range": compare(key=b"a", range_end=b"z", target="VERSION", version=0, result="GREATER"),
    "all": compare(key=b"\0", range_end=b"\0", target="LEASE", lease=0),
    "an empty range": compare(key=b"x", range_end=b"a", target="CREATE", create_revision=0),
    "an empty range's value": compare(key=b"x", range_end=b"z", target="VALUE", value=b"", result="NOT_EQUAL"),
    "128 compares": rpc_pb2.TxnRequest(compare=[rpc_pb2.Compare(key=b"a", result="GREATER")] * 128, success=[RANGE]),
    "129 compares": rpc_pb2.TxnRequest(compare=[rpc_pb2.Compare(key=b"a", result="GREATER")] * 129),
    "128 operations": rpc_pb2.TxnRequest(success=[RANGE] * 128, failure=[RANGE] * 128),
    "129 operations": rpc_pb2.TxnRequest(success=[RANGE] * 129),
    "129 operations in the branch that does not run": rpc_pb2.TxnRequest(failure=[RANGE] * 129),
    "too many, and without keys": rpc_pb2.TxnRequest(success=[op(request_range=kv(b""))] * 129),
    "two puts": rpc_pb2.TxnRequest(success=[PUT, PUT]),
    "two puts, one nested": rpc_pb2.TxnRequest(success=[PUT, op(request_txn=rpc_pb2.TxnRequest(success=[PUT]))]),
    "two puts, in two branches": rpc_pb2.TxnRequest(success=[PUT], failure=[PUT]),
    "a future range beside an unknown lease": rpc_pb2.TxnRequest(
        success=[op(request_range=kv(revision=2**40)), op(request_put=put(lease=5))]
    ),
    "a put and a future range": rpc_pb2.TxnRequest(success=[PUT, op(request_range=kv(revision=2**40))]),
    "a put and a compacted range": rpc_pb2.TxnRequest(success=[PUT, op(request_range=kv(revision=1))]),
    "a put, its range, its deletion with all, and its range": rpc_pb2.TxnRequest(
        success=[
            *(PUT, RANGE),
            op(request_delete_range=rpc_pb2.DeleteRangeRequest(key=b"a", range_end=b"\0", prev_kv=True)),
            RANGE,
        ]
    ),
}
COMPACTIONS = {
    "0": rpc_pb2.CompactionRequest(),
    "negative": rpc_pb2.CompactionRequest(revision=-1),
    "long compacted": rpc_pb2.CompactionRequest(revision=1),
    "future": rpc_pb2.CompactionRequest(revision=2**40, physical=True),
}
GRANTS = {
    "negative time": rpc_pb2.LeaseGrantRequest(TTL=-1, ID=11),
    "no time": rpc_pb2.LeaseGrantRequest(ID=12),
    "most time": rpc_pb2.LeaseGrantRequest(TTL=9_000_000_000, ID=13),
    "too much time": rpc_pb2.LeaseGrantRequest(TTL=9_000_000_001, ID=14),
    "there": rpc_pb2.LeaseGrantRequest(TTL=100, ID=77),
    "there, and too much time": rpc_pb2.LeaseGrantRequest(TTL=9_000_000_001, ID=77),
    "largest": rpc_pb2.LeaseGrantRequest(TTL=100, ID=2**63 - 1),
    "negative": rpc_pb2.LeaseGrantRequest(TTL=100, ID=-8),
}
REVOCATIONS = {str(lease_id): rpc_pb2.LeaseRevokeRequest(ID=lease_id) for lease_id in (0, -1, 5, 77)}
TIMES_TO_LIVE = {str(lease_id): rpc_pb2.LeaseTimeToLiveRequest(ID=lease_id, keys=True) for lease_id in (0, -1, 5)}
HASHES = {
    "future": rpc_pb2.HashKVRequest(revision=2**40),
    "compacted": rpc_pb2.HashKVRequest(revision=1),
}
ALARMS = {
    "none": rpc_pb2.AlarmRequest(),
    "disarm none": rpc_pb2.AlarmRequest(action="DEACTIVATE", alarm="NOSPACE"),
}
CASES: list[tuple[str, str, dict[str, Any]]] = [
    ("kv", "Range", RANGES),
    ("kv", "Put", PUTS),
    ("kv", "DeleteRange", DELETES),
    ("kv", "Txn", TXNS),
    ("kv", "Compact", COMPACTIONS),
    ("lease", "LeaseGrant", GRANTS),
    ("lease", "LeaseRevoke", REVOCATIONS),
    ("lease", "LeaseTimeToLive", TIMES_TO_LIVE),
    ("maintenance", "HashKV", HASHES),
    ("maintenance", "Alarm", ALARMS),
]


@pytest.fixture(scope="module")
def both(etcd_of_the_session: RealEtcd, our_etcd_of_the_session: OurEtcd) -> Iterator[tuple[PeerClient, PeerClient]]:
    clients = PeerClient(etcd_of_the_session.target), PeerClient(our_etcd_of_the_session.target)
    yield clients
    for client in clients:
        client.close()


@pytest.fixture
def filled(both: tuple[PeerClient, PeerClient]) -> tuple[PeerClient, PeerClient]:
    """Some keys, one with a lease, some history, some of it compacted."""
    for client in both:
        client.begin()
        client.lease.LeaseGrant(rpc_pb2.LeaseGrantRequest(TTL=1_000, ID=77))
        for key in (b"a", b"b", b"a", b"c", b"a"):
            client.kv.Put(put(key, b"1" + key, lease=77 if key == b"c" else 0))
        client.kv.Compact(rpc_pb2.CompactionRequest(revision=client.base + 3))
    return both


@pytest.mark.parametrize(
    ("service", "method", "request_"),
    [
        pytest.param(service, method, request, id=f"{method}-{name}")
        for service, method, requests in CASES
        for name, request in requests.items()
    ],
)
def test_odd_requests_are_answered_alike(
    filled: tuple[PeerClient, PeerClient], service: str, method: str, request_: Any
) -> None:
    everything = kv(b"\0", range_end=b"\0")
    real, ours = (
        [
            call(getattr(getattr(client, service), method), request_, client.base),
            call(client.kv.Range, everything, client.base),
        ]
        for client in filled
    )
    assert ours == real


def test_unknown_sort_options_are_refused(both: tuple[PeerClient, PeerClient]) -> None:
    """3.4 takes an unknown order for none, and panics on an unknown target (etcd-io/etcd#13554)."""
    _, ours = both
    for request in (kv(sort_order=7), kv(sort_target=9), kv(range_end=b"z", sort_target=9)):
        assert call(ours.kv.Range, request, 0) == Refused("INVALID_ARGUMENT", "etcdserver: invalid sort option")


REQUEST_BYTES_MAX = 1_572_864
MESSAGE_BYTES_MAX = REQUEST_BYTES_MAX + 524_288
SIZES = [REQUEST_BYTES_MAX + more for more in (-100, -40, -20, 0, 100)]
SIZES += [MESSAGE_BYTES_MAX + more for more in (-100, -20, 0, 100, 1_000_000)]
LARGE: dict[str, Callable[[int], tuple[str, Any]]] = {
    "a value": lambda size: ("Put", put(value=b"v" * size)),
    "a key": lambda size: ("Put", put(key=b"k" * size)),
    "a transaction's value": lambda size: (
        "Txn",
        rpc_pb2.TxnRequest(success=[op(request_put=put(value=b"v" * size))]),
    ),
    "a compare's value": lambda size: ("Txn", compare(target="VALUE", value=b"v" * size)),
    "a key that is read": lambda size: ("Range", kv(b"k" * size)),
    "a key that is deleted": lambda size: ("DeleteRange", rpc_pb2.DeleteRangeRequest(key=b"k" * size)),
}


@pytest.mark.parametrize("what", LARGE)
def test_requests_that_are_too_large_are_refused_alike(filled: tuple[PeerClient, PeerClient], what: str) -> None:
    for size in SIZES:
        method, request = LARGE[what](size)
        real, ours = (call(getattr(client.kv, method), request, client.base) for client in filled)
        assert ours == real, f"{what} of {size} bytes"


def test_kept_alive_leases_are_answered_in_turn(filled: tuple[PeerClient, PeerClient]) -> None:
    requests = [rpc_pb2.LeaseKeepAliveRequest(ID=lease_id) for lease_id in (77, 0, -1, 5, 77)]
    real, ours = (
        [plain(one, client.base) for one in client.lease.LeaseKeepAlive(iter(requests), timeout=CALL_SECONDS)]
        for client in filled
    )
    assert ours == real
    assert [one.get("TTL", 0) for one in ours] == [1_000, 0, 0, 0, 1_000]


def test_leases_end_in_time_and_take_their_keys_along(filled: tuple[PeerClient, PeerClient]) -> None:
    """The shortest there are; one is kept alive meanwhile."""
    streams = []
    for client in filled:
        for lease_id in (91, 92):
            client.lease.LeaseGrant(rpc_pb2.LeaseGrantRequest(TTL=1, ID=lease_id))
            for key in (b"l/%d/1" % lease_id, b"l/%d/2" % lease_id):
                client.kv.Put(put(key, b"1", lease=lease_id))
        stream = WatchStream(client)
        streams.append((stream, stream.create(WatchCreate(b"l/", b"l0", 7))))
    deadline = time.monotonic() + CALL_SECONDS
    while any(client.kv.Range(kv(b"l/91/1")).count for client in filled):
        assert time.monotonic() < deadline
        for client in filled:
            list(client.lease.LeaseKeepAlive(iter([rpc_pb2.LeaseKeepAliveRequest(ID=92)])))
    for client in filled:
        client.lease.LeaseRevoke(rpc_pb2.LeaseRevokeRequest(ID=92))
    told = []
    for stream, watch_id in streams:
        stream.wait_events(watch_id, 6)
        told.append([[one[1]["key"] for one in events] for _, events in stream.events[watch_id]])
        stream.close()
    assert told[1] == told[0]
    assert told[1][-2:] == [[b"l/91/1", b"l/91/2"], [b"l/92/1", b"l/92/2"]]


@pytest.mark.parametrize("path", ["/etcdserverpb.KV/Rnge", "/etcdserverpb.Lock/Nothing", "/nothing.At/All"])
def test_what_is_not_served_is_unimplemented(both: tuple[PeerClient, PeerClient], path: str) -> None:
    real, ours = (Unnamed(client, path).answer(b"") for client in both)
    assert ours == real
    assert isinstance(ours, Refused) and ours.code == "UNIMPLEMENTED"


def test_bytes_that_are_no_message_are_an_internal_error(both: tuple[PeerClient, PeerClient]) -> None:
    real, ours = (Unnamed(client, "/etcdserverpb.KV/Range").answer(b"\xff\xff\xff") for client in both)
    assert isinstance(real, Refused) and isinstance(ours, Refused)
    assert ours.code == real.code == "INTERNAL"


class Unnamed:
    """A method by its path, with bytes in and out."""

    def __init__(self, client: PeerClient, path: str) -> None:
        self.method = client.channel.unary_unary(path)

    def answer(self, request: bytes) -> Any:
        try:
            return self.method(request, timeout=CALL_SECONDS)
        except grpc.RpcError as error:
            return Refused(error.code().name, error.details())
