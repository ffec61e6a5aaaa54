"""A watch for a reader that comes when it can: a bounded buffer, and behind it the store's history.

Writers never wait for it and it never grows without bound: when the buffer is full it stops listening, and the reader
is given the rest from history until it has caught up, as etcd does with its unsynced watchers. A reader so slow that
compaction overtakes it gets `CompactedError`, as from etcd a cancelled watch with the compact revision.
"""

from collections.abc import Callable, Iterable

from kubeloop.store.errors import CompactedError
from kubeloop.store.model import Event, EventType
from kubeloop.store.store import Store
from kubeloop.store.watch import Watch, in_range, shown


class BufferedWatch:
    """Transactions wait here until `take`. `on_ready` is called, synchronously, when something begins to wait.

    Not more than `events_max` events wait (one transaction that alone has more excepted).
    """

    def __init__(
        self,
        store: Store,
        key: bytes,
        range_end: bytes | None = None,
        *,
        start_revision: int = 0,
        prev_kv: bool = False,
        filters: Iterable[EventType] = (),
        events_max: int = 1_000,
        on_ready: Callable[[], None] | None = None,
    ) -> None:
        self._store = store
        self._key = key
        self._range_end = range_end or None
        self._prev_kv = prev_kv
        self._excluded = frozenset(filters)
        self._events_max = events_max
        self._on_ready = on_ready
        self._waiting: list[list[Event]] = []
        self._waiting_events = 0
        self._behind_from: int | None = None
        self._error: Exception | None = None
        self._watch: Watch | None = None
        self._catch_up(start_revision or store.published_revision + 1)

    @property
    def behind(self) -> bool:
        """Whether the buffer overflowed: the rest comes from history."""
        return self._behind_from is not None

    @property
    def progress_revision(self) -> int | None:
        """The revision through which everything was taken; None while something waits. For progress notifications."""
        if self._waiting or self.behind or self._error is not None:
            return None
        return self._store.published_revision

    def take(self) -> list[list[Event]]:
        """The transactions that wait, oldest first; none when there is nothing new.

        Raises `CompactedError` when some were compacted before they were taken, and whatever ended the watch.
        """
        if not self._waiting and self._behind_from is not None:
            try:
                self._catch_up(self._behind_from)
            except CompactedError as error:
                self._closed(error)
        taken, self._waiting, self._waiting_events = self._waiting, [], 0
        if not taken and self._error is not None:
            raise self._error
        return taken

    def cancel(self) -> None:
        self._behind_from = None
        self._waiting.clear()
        if self._watch is not None:
            self._watch.cancel()

    def _catch_up(self, start_revision: int) -> None:
        """Take what history has from `start_revision` on until the buffer is full; then listen, if it is not."""
        self._behind_from = None
        for events in self._store.history(start_revision, self._selects):
            events = shown(events, self._excluded, self._prev_kv)
            if events and not self._keep(events):
                return
        self._watch = self._store.watch(
            self._key,
            self._range_end,
            start_revision=max(start_revision, self._store.published_revision + 1),
            prev_kv=self._prev_kv,
            filters=self._excluded,
            sink=self._listen,
            on_closed=self._closed,
        )

    def _selects(self, key: bytes) -> bool:
        return in_range(key, self._key, self._range_end)

    def _listen(self, events: list[Event]) -> None:
        if not self._keep(events) and self._watch is not None:
            self._watch.cancel()

    def _keep(self, events: list[Event]) -> bool:
        if self._waiting and self._waiting_events + len(events) > self._events_max:
            self._behind_from = events[0].kv.mod_revision
            return False
        self._waiting.append(events)
        self._waiting_events += len(events)
        if len(self._waiting) == 1 and self._on_ready is not None:
            self._on_ready()
        return True

    def _closed(self, error: Exception | None) -> None:
        self._behind_from = None
        self._error = error or RuntimeError("the store closed the watch")
        if not self._waiting and self._on_ready is not None:
            self._on_ready()
