"""The history: every kept event, in order, for watches that begin in the past and for compaction."""

from bisect import bisect_left
from collections.abc import Callable, Iterator
from operator import attrgetter

from kubeloop.store.model import DELETE, Event, KeyValue

_mod_revision_of = attrgetter("kv.mod_revision")


def newest_of_each_key(events: list[Event]) -> list[Event]:
    """One transaction's events without those that later ones of it undid: a key deleted and put, or put and deleted."""
    newest = {event.kv.key: event for event in events}
    return events if len(newest) == len(events) else [event for event in events if newest[event.kv.key] is event]


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
        """Drop older events, what the keys written at `revision` held before, and what it undid itself."""
        first, last = self.position(revision), self.position(revision + 1)
        left = [Event(event.type, event.kv) for event in newest_of_each_key(self.events[first:last])]
        self.dropped += last - len(left)
        self.events[:last] = left

    def unreadable(self, previous: int, revision: int) -> Iterator[KeyValue]:
        """The versions that compaction at `revision`, after one at `previous`, lets nobody read any more.

        To be asked before `forget_before`. Tombstones at `revision` itself are spared: they can be watched.
        """
        left_before, following, end = (self.position(number) for number in (previous, previous + 1, revision + 1))
        for event in newest_of_each_key(self.events[left_before:following]):
            if event.type == DELETE:
                yield event.kv
        spared = newest_of_each_key(self.events[max(following, self.position(revision)) : end])
        tombstones = {event.kv.key for event in spared if event.type == DELETE}
        for event in reversed(self.events[following:end]):
            if event.prev_kv is not None:
                yield event.prev_kv
            if event.type == DELETE and not (event.kv.mod_revision == revision and event.kv.key in tombstones):
                yield event.kv
            tombstones.discard(event.kv.key)

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
