"""Leases: keys that go when nobody keeps them alive. Time is whatever number of seconds the caller counts in."""

from heapq import heapify, heappop, heappush

from msgspec import Struct

from kubeloop.store.errors import LeaseExistsError, LeaseNotFoundError, LeaseTtlTooLargeError

LEASE_TTL_SECONDS_MAX = 9_000_000_000
LEASE_TTL_SECONDS_MIN = 2  # etcd's with its default election timeout: one and a half of it, rounded up


class Lease(Struct, weakref=False):
    """`keys` is the set of attached keys, as a dict so that its order never depends on hashing."""

    id: int
    ttl_seconds: int
    deadline: float
    keys: dict[bytes, None]


class LeaseStatus(Struct, frozen=True):
    """`remaining_seconds` is -1 for a lease that is not there, as etcd's TimeToLive answers."""

    id: int
    granted_ttl_seconds: int
    remaining_seconds: int
    keys: list[bytes]


class Leases:
    """Every lease and when it ends. The deadlines' heap is lazy: entries of kept-alive leases are dropped when met."""

    def __init__(self) -> None:
        self._leases: dict[int, Lease] = {}
        self._deadlines: list[tuple[float, int]] = []
        self._next_id = 1

    def __contains__(self, lease_id: object) -> bool:
        return lease_id in self._leases

    def __len__(self) -> int:
        return len(self._leases)

    def get(self, lease_id: int) -> Lease:
        try:
            return self._leases[lease_id]
        except KeyError:
            raise LeaseNotFoundError from None

    def all(self) -> list[Lease]:
        return [self._leases[lease_id] for lease_id in sorted(self._leases)]

    def grant(self, ttl_seconds: int, lease_id: int, now: float) -> Lease:
        """A new lease; id 0 chooses the next free one. A TTL below the least is raised to it, as etcd does."""
        if ttl_seconds > LEASE_TTL_SECONDS_MAX:
            raise LeaseTtlTooLargeError
        if lease_id in self._leases:
            raise LeaseExistsError
        while not lease_id or lease_id in self._leases:
            lease_id = self._next_id
            self._next_id += 1
        ttl_seconds = max(LEASE_TTL_SECONDS_MIN, ttl_seconds)
        lease = Lease(lease_id, ttl_seconds, now + ttl_seconds, {})
        self._leases[lease_id] = lease
        heappush(self._deadlines, (lease.deadline, lease_id))
        return lease

    def keep_alive(self, lease_id: int, now: float) -> Lease:
        lease = self.get(lease_id)
        lease.deadline = now + lease.ttl_seconds
        heappush(self._deadlines, (lease.deadline, lease_id))
        if len(self._deadlines) > 64 + 4 * len(self._leases):
            self._deadlines = [(lease.deadline, lease.id) for lease in self._leases.values()]
            heapify(self._deadlines)
        return lease

    def remove(self, lease_id: int) -> None:
        del self._leases[lease_id]

    def put_back(self, lease: Lease) -> None:
        """Undo `remove`."""
        self._leases[lease.id] = lease
        heappush(self._deadlines, (lease.deadline, lease.id))

    def next_deadline(self) -> float | None:
        """When the first lease ends; None when there is none."""
        while self._deadlines:
            deadline, lease_id = self._deadlines[0]
            lease = self._leases.get(lease_id)
            if lease is not None and lease.deadline == deadline:
                return deadline
            heappop(self._deadlines)
        return None

    def expired(self, now: float) -> list[int]:
        """Ids of the leases that ended by `now`, the first to end first."""
        ended = [lease for lease in self._leases.values() if lease.deadline <= now]
        return [lease.id for lease in sorted(ended, key=lambda lease: (lease.deadline, lease.id))]

    def move(self, key: bytes, old: int, new: int) -> None:
        """Attach `key` to lease `new` instead of `old`; 0 is no lease."""
        if old and old in self._leases:
            self._leases[old].keys.pop(key, None)
        if new:
            self._leases[new].keys[key] = None

    def status(self, lease_id: int, now: float) -> LeaseStatus:
        lease = self._leases.get(lease_id)
        if lease is None:
            return LeaseStatus(lease_id, 0, -1, [])
        return LeaseStatus(lease_id, lease.ttl_seconds, max(0, int(lease.deadline - now)), sorted(lease.keys))
