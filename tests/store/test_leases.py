"""Keys attached to a lease go when it does."""

import pytest

from kubeloop.store.errors import LeaseExistsError, LeaseNotFoundError, LeaseTtlTooLargeError
from kubeloop.store.lease import LeaseStatus
from kubeloop.store.model import Event
from kubeloop.store.store import Store


def test_keys_of_an_expired_lease_are_deleted_together_at_one_revision() -> None:
    store, calls = Store(), list[list[Event]]()
    lease = store.lease_grant(5, now=100)
    for key in (b"b", b"a", b"c"):
        store.put(key, b"", lease.id)
    store.put(b"c", b"")
    store.watch(b"\0", b"\0", sink=calls.append)
    assert store.expire(104.9) == []
    assert store.expire(105) == [lease.id]
    assert [[(event.type, event.kv.key) for event in events] for events in calls] == [
        [("DELETE", b"a"), ("DELETE", b"b")]
    ]
    assert [kv.key for kv in store.range(b"\0", b"\0").kvs] == [b"c"]
    assert store.leases.next_deadline() is None


def test_a_lease_kept_alive_lives_on() -> None:
    store = Store()
    lease = store.lease_grant(5, now=0)
    for now in range(0, 5_000, 4):
        assert store.expire(now) == []
        store.lease_keep_alive(lease.id, now=now)
    assert store.leases.next_deadline() == 4_996 + 5
    assert store.lease_time_to_live(lease.id, now=4_997) == LeaseStatus(lease.id, 5, 4, [])


def test_revoking_a_lease_without_keys_takes_no_revision() -> None:
    store = Store()
    store.lease_revoke(store.lease_grant(5, now=0).id)
    assert store.revision == 1


def test_a_deleted_key_is_no_longer_attached() -> None:
    store = Store()
    lease = store.lease_grant(5, now=0)
    store.put(b"a", b"", lease.id)
    store.delete_range(b"a")
    store.put(b"a", b"")
    store.lease_revoke(lease.id)
    assert store.keys == 1


def test_leases_are_refused_in_etcds_words() -> None:
    store = Store()
    store.lease_grant(5, 7, now=0)
    with pytest.raises(LeaseExistsError, match="^etcdserver: lease already exists$"):
        store.lease_grant(5, 7, now=0)
    with pytest.raises(LeaseTtlTooLargeError, match="^etcdserver: too large lease TTL$"):
        store.lease_grant(9_000_000_001, now=0)
    with pytest.raises(LeaseNotFoundError, match="^etcdserver: requested lease not found$"):
        store.lease_revoke(8)
    with pytest.raises(LeaseNotFoundError):
        store.lease_keep_alive(8, now=0)
    assert store.lease_time_to_live(8, now=0).remaining_seconds == -1


def test_a_restored_store_gives_leases_their_whole_time_again() -> None:
    store = Store()
    lease = store.lease_grant(5, now=0)
    store.put(b"a", b"", lease.id)
    copy = Store.restore(store.snapshot(), now=1_000)
    assert copy.expire(1_004) == []
    assert copy.expire(1_005) == [lease.id]
    assert copy.keys == 0
