"""The history: every kept event, in order, for watches that begin in the past and for compaction."""

from bisect import bisect_left
from collections.abc import Callable, Iterator
from operator import attrgetter

from kubeloop.store.model import DELETE, Event, KeyValue

_mod_revision_of = attrgetter("kv.mod_revision")


class History:
    """Events from the oldest revision that can be watched on. Those of one revision are one transaction, in order."""

    __slots__ = ("dropped", "events")

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.dropped = 0

    def position(self, revision: int) -> int:
        """The index in `events` at which those of `revision` begin."""
        return bisect_left(self.events, revision, key=_mod_revision_of)

    def forget_before(self, revision: int) -> None:
        """Drop older events, and what the keys written at `revision` held before."""
        unreadable = self.position(revision)
        del self.events[:unreadable]
        self.dropped += unreadable
        for index in range(self.position(revision + 1)):
            event = self.events[index]
            self.events[index] = Event(event.type, event.kv)

    def unreadable(self, previous: int, revision: int) -> Iterator[KeyValue]:
        """The versions that compaction at `revision`, after one at `previous`, lets nobody read any more.

        To be asked before `forget_before`. Tombstones at `revision` itself are spared: they can be watched.
        """
        for event in self.events[self.position(previous) : self.position(revision + 1)]:
            if event.prev_kv is not None and event.kv.mod_revision > previous:
                yield event.prev_kv
            if event.type == DELETE and event.kv.mod_revision < revision:
                yield event.kv

    def undo(self, events: list[Event]) -> None:
        """Take the newest transaction back."""
        del self.events[len(self.events) - len(events) :]

    def transactions(
        self, start_revision: int, selects: Callable[[bytes], bool], last_revision: Callable[[], int]
    ) -> Iterator[list[Event]]:
        """Each transaction from `start_revision` to `last_revision()` as its events with a selected key.

        Lazy: what is written while it is read is included. Raises LookupError where compaction was faster.
        """
        position = self.position(start_revision) + self.dropped
        while position < len(self.events) + self.dropped:
            if position < self.dropped:
                raise LookupError(start_revision)
            transaction = self._transaction_at(position - self.dropped)
            if transaction[0].kv.mod_revision > last_revision():
                return
            position += len(transaction)
            events = [event for event in transaction if selects(event.kv.key)]
            if events:
                yield events

    def _transaction_at(self, position: int) -> list[Event]:
        first = self.events[position]
        end = position + 1
        while end < len(self.events) and self.events[end].kv.mod_revision == first.kv.mod_revision:
            end += 1
        return self.events[position:end]
