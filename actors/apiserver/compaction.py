"""Compaction: every five minutes etcd forgets what was replaced more than five minutes ago.

As kube-apiserver does it (--etcd-compaction-interval), so that any number of API servers, of any number of clusters,
may share an etcd. The version of one key is a clock that they share: whoever moves it on in a transaction compacts to
the revision that etcd had at its own last round, everybody else takes note of the time and looks again an interval
later. So history is kept for five to ten minutes. Without it an idle cluster's etcd grows with every heartbeat.
A server whose store rests has no timer: the next write begins anew.
"""

from collections.abc import Callable

from msgspec import Struct

from kubeloop.actors.apiserver.storage import Storage
from kubeloop.actors.etcd.messages import Compare, Put, Range, RangeResult
from kubeloop.runtime.actor import ActorStopped, ReplyError, Unreachable

COMPACT_REV_KEY = b"compact_rev_key"  # kube-apiserver's own, outside of every prefix


class CompactNow(Struct, frozen=True):
    """The API server's message to itself."""


class Compactor:
    """`call_later(seconds)` has `compact` called then. An interval of 0 turns it off."""

    def __init__(self, storage: Storage, interval_seconds: float, call_later: Callable[[float], object]) -> None:
        self._storage = storage
        self._interval_seconds = interval_seconds
        self._call_later = call_later
        self._time = 0  # the key's version, as last seen
        self._revision = 0  # etcd's, at the last round; 0 before the first
        self._compacted = 0  # by whomever

    def begin(self) -> None:
        """With the next write."""
        if self._interval_seconds:
            self._storage.on_next_write = self._wait

    def _wait(self) -> None:
        self._call_later(self._interval_seconds)

    async def compact(self) -> None:
        """One round. What etcd refuses, or cannot answer, is tried again at the next one."""
        try:
            await self._round()
        except (ReplyError, ActorStopped, Unreachable):
            pass  # etcd is away, or was compacted further by other means
        if self._storage.revision > self._compacted:
            self._wait()
        else:
            self.begin()

    async def _round(self) -> None:
        kv, revision = self._storage.kv, self._revision
        result = await kv.txn(
            [Compare(COMPACT_REV_KEY, "version", "=", self._time)],
            [Put(COMPACT_REV_KEY, str(revision).encode())],
            [Range(COMPACT_REV_KEY)],
        )
        self._revision = result.revision
        if result.succeeded:
            self._time += 1
            if revision:
                self._compacted = revision
                await kv.compact(revision)
            return
        found = result.responses[0]
        assert isinstance(found, RangeResult)
        self._time = found.kvs[0].version if found.kvs else 0
        value = found.kvs[0].value if found.kvs else b""
        if value.isdigit():
            self._compacted = max(self._compacted, int(value))
