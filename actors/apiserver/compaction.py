"""Compaction: every five minutes etcd forgets what was replaced more than five minutes ago.

As kube-apiserver does it (--etcd-compaction-interval). Without it an idle cluster's memory grows with every heartbeat.
A server whose store rests has no timer: the next write begins anew.
"""

from collections.abc import Callable

from msgspec import Struct

from kubeloop.actors.apiserver.storage import Storage
from kubeloop.runtime.actor import ActorStopped, ReplyError, Unreachable


class CompactNow(Struct, frozen=True):
    """The API server's message to itself."""


class Compactor:
    """`call_later(seconds)` has `compact` called then. An interval of 0 turns it off."""

    def __init__(self, storage: Storage, interval_seconds: float, call_later: Callable[[float], object]) -> None:
        self._storage = storage
        self._interval_seconds = interval_seconds
        self._call_later = call_later
        self._revision = 0  # the newest one when the interval began

    def begin(self) -> None:
        """With the next write."""
        if self._interval_seconds:
            self._storage.on_next_write = self._wait

    def _wait(self) -> None:
        self._revision = self._storage.revision
        self._call_later(self._interval_seconds)

    async def compact(self) -> None:
        """Forget what was replaced before the interval began. What etcd refuses is tried again with a later one."""
        revision = self._revision
        if self._storage.revision == revision:
            self.begin()
        else:
            self._wait()
        if revision:
            try:
                await self._storage.kv.compact(revision)
            except (ReplyError, ActorStopped, Unreachable):
                pass  # another API server was faster, or etcd is away
