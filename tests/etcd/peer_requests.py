"""Random requests, as hypothesis strategies: few keys, so that they meet; every flag; much that etcd refuses."""

from collections.abc import Iterator

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from msgspec import structs

from kubeloop.actors.etcd.messages import Compact, LeaseGrant, LeaseKeepAlive, LeaseLeases, LeaseRevoke
from kubeloop.store.model import Compare, DeleteRange, Put, Range, Txn
from tests.etcd.peer_client import LeaseTimeToLive, Request

BACK = 1_000_000
"""A revision is drawn as `BACK - n`, n before the newest one; `settled` makes it what it is when it is asked."""

some_keys = st.sampled_from([b"a", b"a", b"a/1", b"a/2", b"a/2/x", b"b", b"b\xff", b"c", b"\xff\xff", b"\0"])
keys = st.one_of(some_keys, some_keys, some_keys, st.just(b""))
range_ends = st.sampled_from([None, None, None, b"\0", b"a0", b"a/2", b"b", b"c", b"d", b"\xff", b"A"])
values = st.sampled_from([b"", b"1", b"2", b"3", b"\0\xff", b"v" * 40])
revisions = st.sampled_from([0, 0, 0, 0, BACK, BACK - 1, BACK - 2, BACK - 4, BACK - 9, 1, -1])
bad_revisions = st.sampled_from([BACK + 1, BACK + 2, 1, 2])
bounds = st.sampled_from([0, 0, 0, 0, BACK - 1, BACK - 3, BACK - 6, BACK + 1, 1, 3])
leases = st.sampled_from([0, 0, 0, 7, 8, 9])
flags = st.sampled_from([False, False, True])

good_puts = st.builds(Put, some_keys, values, prev_kv=flags)
lease_puts = st.builds(Put, some_keys, values, leases, flags)
ignoring_puts = st.one_of(
    st.builds(Put, some_keys, st.just(b""), leases, flags, st.just(True)),
    st.builds(Put, some_keys, values, st.just(0), flags, ignore_lease=st.just(True)),
    st.builds(Put, some_keys, st.just(b""), st.just(0), flags, st.just(True), st.just(True)),
)
bad_puts = st.builds(Put, keys, values, leases, flags, flags, flags)
deletes = st.builds(DeleteRange, some_keys, range_ends, flags)
bad_deletes = st.builds(DeleteRange, keys, range_ends, flags)


def ranges_of(
    key: SearchStrategy[bytes], revision: SearchStrategy[int], bound: SearchStrategy[int] = bounds
) -> SearchStrategy[Range]:
    return st.builds(
        Range,
        key,
        range_ends,
        revision,
        limit=st.sampled_from([0, 0, 1, 2, 3, -1]),
        sort_order=st.sampled_from(["none", "none", "ascend", "descend"]),
        sort_target=st.sampled_from(["key", "key", "version", "create", "mod", "value"]),
        keys_only=flags,
        count_only=flags,
        min_mod_revision=bound,
        max_mod_revision=bound,
        min_create_revision=bound,
        max_create_revision=bound,
    )


plain_ranges = ranges_of(st.sampled_from([b"a", b"\0", b"a/1"]), revisions, st.just(0))
ranges = ranges_of(some_keys, revisions)
bad_ranges = ranges_of(keys, bad_revisions)
results = st.sampled_from(["=", "!=", ">", "<"])
compares = st.one_of(
    st.builds(Compare, some_keys, st.just("version"), results, st.integers(0, 3), range_ends),
    st.builds(Compare, some_keys, st.sampled_from(["create", "mod"]), results, bounds, range_ends),
    st.builds(Compare, some_keys, st.just("lease"), results, leases, range_ends),
    st.builds(Compare, some_keys, st.just("value"), results, values, range_ends),
)
good_ops = st.one_of(good_puts, good_puts, lease_puts, ignoring_puts, deletes, plain_ranges, ranges)
bad_ops = st.one_of(bad_puts, bad_deletes, bad_ranges, good_ops, good_ops)
few_compares = st.lists(compares, max_size=2)


def txns_of(inner: SearchStrategy[Put | DeleteRange | Range | Txn]) -> SearchStrategy[Txn]:
    return st.builds(Txn, few_compares, st.lists(inner, max_size=3), st.lists(inner, max_size=3))


txns = txns_of(st.one_of(good_ops, good_ops, good_ops, txns_of(st.one_of(good_ops, txns_of(good_ops)))))
bad_txns = txns_of(st.one_of(bad_ops, txns_of(st.one_of(bad_ops, txns_of(bad_ops)))))
counts = st.sampled_from([1, 125, 126, 127, 128, 129])
too_large_txns = st.builds(
    lambda outer, nested, other: Txn(
        [Compare(b"a", "version", ">", 0)],
        [*[Range(b"a")] * outer, Txn((), [Range(b"b")] * nested)],
        [Range(b"c")] * other,
    ),
    counts,
    st.integers(0, 4),
    counts,
)
compactions = st.builds(Compact, st.sampled_from([BACK - 12, BACK - 6, BACK - 3, BACK, BACK + 1, 1, 0, -1]), flags)
lease_ids = st.sampled_from([7, 8, 9])
lease_requests: SearchStrategy[Request] = st.one_of(
    st.builds(LeaseGrant, st.sampled_from([10_000, 5_000, 9_000_000_000, 9_000_000_001]), lease_ids),
    st.builds(LeaseGrant, st.just(8_000), lease_ids),
    st.builds(LeaseRevoke, lease_ids),
    st.builds(LeaseKeepAlive, lease_ids),
    st.builds(LeaseTimeToLive, lease_ids, st.booleans()),
    st.just(LeaseLeases()),
)
LIKELY: list[tuple[int, SearchStrategy[Request]]] = [  # in hundredths, added up
    (25, good_puts),
    (35, lease_puts),
    (40, ignoring_puts),
    (48, deletes),
    (54, plain_ranges),
    (60, ranges),
    (80, txns),
    (85, bad_txns),
    (86, too_large_txns),
    (89, compactions),
    (97, lease_requests),
    (100, bad_ops),
]
requests: SearchStrategy[Request] = (
    st.integers(0, 99)
    .flatmap(lambda chance: next(strategy for most, strategy in LIKELY if chance < most))
    .filter(lambda request: not ends_etcd(request))
)


def ends_etcd(request: Request) -> bool:
    """Whether the real etcd (3.4 to 3.6) panics, for ever: a transaction that deletes "every key from" some key on and
    then puts one of those with `ignore_value` or `ignore_lease`. Here the answer is that the key is not found."""
    ops = list(leaves(request))
    deletes = any(isinstance(op, DeleteRange) and op.range_end == b"\0" for op in ops)
    return deletes and any(isinstance(op, Put) and (op.ignore_value or op.ignore_lease) for op in ops)


def leaves(request: Request) -> Iterator[Request]:
    if isinstance(request, Txn):
        for op in (*request.success, *request.failure):
            yield from leaves(op)
    else:
        yield request


def settled(request: Request, revision: int) -> Request:
    """The same request with revisions counted from `revision`, the newest."""
    match request:
        case Range():
            fields = ("revision", "min_mod_revision", "max_mod_revision", "min_create_revision", "max_create_revision")
            return structs.replace(
                request, **{name: settled_revision(getattr(request, name), revision) for name in fields}
            )
        case Compact():
            return structs.replace(request, revision=settled_revision(request.revision, revision))
        case Txn():
            return Txn(
                [_settled_compare(compare, revision) for compare in request.compare],
                [settled(op, revision) for op in request.success],  # type: ignore[misc]
                [settled(op, revision) for op in request.failure],  # type: ignore[misc]
            )
    return request


def settled_revision(number: int, revision: int) -> int:
    return max(1, revision + number - BACK) if number > BACK // 2 else number


def _settled_compare(compare: Compare, revision: int) -> Compare:
    if isinstance(compare.value, bytes) or compare.target not in ("create", "mod"):
        return compare
    return structs.replace(compare, value=settled_revision(compare.value, revision))
