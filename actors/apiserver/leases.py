"""etcd leases for objects that expire: many share one, so that their end costs etcd one timer and one transaction.

Follows kube-apiserver's flags --event-ttl, --lease-reuse-duration-seconds and --lease-max-object-count.
"""

import asyncio
from collections.abc import Callable

from kubeloop.actors.etcd.messages import KV

reuse_seconds_max = 60  # how long a lease is given out, and so how much longer than asked an object may stay
reuse_fraction_max = 0.05  # the same, as a part of the time to live
lease_objects_max = 1000


class Leases:
    """Gives leases that live for at least `ttl_seconds` from now, and at most `reuse_seconds` longer.

    `now` gives seconds on a clock that only goes forward.
    """

    def __init__(self, kv: KV, ttl_seconds: int, now: Callable[[], float]) -> None:
        self.ttl_seconds = ttl_seconds
        self.reuse_seconds = int(min(reuse_seconds_max, ttl_seconds * reuse_fraction_max))
        self._kv = kv
        self._now = now
        self._id = 0
        self._reusable_until = 0.0
        self._uses_left = 0
        self._granting = asyncio.Lock()

    async def current(self) -> int:
        """The id of a lease for one more object. Raises what etcd answers."""
        if not self._usable():
            async with self._granting:
                while not self._usable():
                    now = self._now()
                    granted = await self._kv.lease_grant(self.ttl_seconds + self.reuse_seconds)
                    self._id = granted.id
                    self._reusable_until = now + self.reuse_seconds
                    self._uses_left = lease_objects_max
        self._uses_left -= 1
        return self._id

    def _usable(self) -> bool:
        return self._uses_left > 0 and self._now() <= self._reusable_until

    def forget(self, lease_id: int) -> None:
        """That lease is not there any more: etcd is another one than before."""
        if lease_id == self._id:
            self._uses_left = 0
