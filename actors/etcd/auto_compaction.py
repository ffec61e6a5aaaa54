"""Auto compaction, as etcd's flags --auto-compaction-mode and --auto-compaction-retention ask for it.

Follows etcd's maintenance page. Periodic: the history of the last `retention` seconds is kept, and compacted as often,
at most hourly. Revision: the last `retention` revisions are kept, looked at every five minutes.
"""

from collections import deque
from collections.abc import Callable

from kubeloop.actors.etcd.options import EtcdOptions
from kubeloop.runtime.clock import Clock
from kubeloop.store.store import Store

REVISION_INTERVAL_SECONDS = 300.0
PERIODIC_INTERVAL_SECONDS_MAX = 3600.0
SAMPLES_PER_INTERVAL = 10


class AutoCompaction:
    """`compact(revision)` is called with what may go. A revision that was compacted already is not asked for."""

    def __init__(self, store: Store, options: EtcdOptions, clock: Clock, compact: Callable[[int], None]) -> None:
        self._store = store
        self._retention = options.auto_compaction_retention
        self._periodic = options.auto_compaction_mode == "periodic"
        self._clock = clock
        self._compact = compact

    async def run(self) -> None:
        await (self._run_periodic() if self._periodic else self._run_revision())

    async def _run_revision(self) -> None:
        while True:
            await self._clock.sleep(REVISION_INTERVAL_SECONDS)
            self._forget(self._store.revision - int(self._retention))

    async def _run_periodic(self) -> None:
        interval = min(self._retention, PERIODIC_INTERVAL_SECONDS_MAX)
        samples = deque([(self._clock.monotonic(), self._store.revision)])  # when which revision was the newest
        compacted_at = samples[0][0]
        while True:
            await self._clock.sleep(interval / SAMPLES_PER_INTERVAL)
            now = self._clock.monotonic()
            samples.append((now, self._store.revision))
            while samples[1][0] <= now - self._retention:
                samples.popleft()
            taken_at, revision = samples[0]
            if taken_at <= now - self._retention and now - compacted_at >= interval:
                compacted_at = now
                self._forget(revision)

    def _forget(self, revision: int) -> None:
        if revision > max(self._store.compact_revision, 1):
            self._compact(revision)
