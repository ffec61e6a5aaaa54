"""Watches: who is told of an event, found in log n of the watches there are.

etcd's promises ("API guarantees"): ordered, unique, reliable, atomic, resumable. A sink is called synchronously, once
a transaction, with all of that transaction's events that the watch selects. A sink may write to the store and add or
cancel watches: what comes of that is delivered after the delivery that is under way.
"""

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable
from typing import TypeAlias

from kubeloop.store.model import Event, EventType

Sink: TypeAlias = Callable[[list[Event]], None]
OnClosed: TypeAlias = Callable[[Exception | None], None]


def in_range(key: bytes, start: bytes, range_end: bytes | None) -> bool:
    """Whether a key is the one, or in the range, that `start` and `range_end` name."""
    if range_end is None:
        return key == start
    return start <= key and (range_end == b"\0" or key < range_end)


def shown(events: list[Event], excluded: frozenset[EventType], prev_kv: bool) -> list[Event]:
    """What a watch with these options is shown of a transaction's events."""
    if excluded:
        events = [event for event in events if event.type not in excluded]
    if prev_kv:
        return events
    if len(events) == 1:
        event = events[0]
        return events if event.prev_kv is None else [Event(event.type, event.kv)]
    return [event if event.prev_kv is None else Event(event.type, event.kv) for event in events]


class Watch:
    """A registered watch. `next_revision` is the first revision it has not been told of."""

    __slots__ = (
        "_hub",
        "closed",
        "excluded",
        "id",
        "key",
        "next_revision",
        "on_closed",
        "prev_kv",
        "range_end",
        "sink",
    )

    def __init__(
        self,
        hub: "WatchHub",
        watch_id: int,
        key: bytes,
        range_end: bytes | None,
        next_revision: int,
        sink: Sink,
        *,
        prev_kv: bool,
        excluded: frozenset[EventType],
        on_closed: OnClosed | None,
    ) -> None:
        self._hub = hub
        self.id = watch_id
        self.key = key
        self.range_end = range_end
        self.next_revision = next_revision
        self.sink = sink
        self.prev_kv = prev_kv
        self.excluded = excluded
        self.on_closed = on_closed
        self.closed = False

    def cancel(self) -> None:
        """No call of the sink comes after this; `on_closed` is not called. Twice is once."""
        self._hub.remove(self)

    def close(self, error: Exception | None) -> None:
        """Cancel, and tell `on_closed` why."""
        if self.closed:
            return
        self._hub.remove(self)
        if self.on_closed is not None:
            self.on_closed(error)

    def selects(self, key: bytes) -> bool:
        return in_range(key, self.key, self.range_end)

    def deliver(self, events: list[Event]) -> None:
        """Hand the sink those of one transaction's events (all selected by key) that it has not had."""
        revision = events[0].kv.mod_revision
        if self.closed or revision < self.next_revision:
            return
        self.next_revision = revision + 1
        if self.excluded or not (self.prev_kv or (len(events) == 1 and events[0].prev_kv is None)):
            events = shown(events, self.excluded, self.prev_kv)
        if events:
            self.sink(events)


class WatchHub:
    """Every watch of a store, indexed: single keys in a dict, ranges as a line cut at every range's ends.

    `_bounds` is sorted and `_segments[i]` holds the watches over `[_bounds[i], _bounds[i + 1])`, so the watches of a
    key are one bisection away. Watches are told in the order in which they were added.
    """

    def __init__(self) -> None:
        self._next_id = 1
        self._watches: dict[int, Watch] = {}
        self._by_key: dict[bytes, dict[int, Watch]] = {}
        self._bounds: list[bytes] = [b""]
        self._segments: list[dict[int, Watch]] = [{}]
        self._bound_users: dict[bytes, int] = {b"": 1}
        self._pending: deque[list[Event]] = deque()
        self._delivering = False

    def __len__(self) -> int:
        return len(self._watches)

    def close_all(self, error: Exception | None) -> None:
        """Close every watch, the oldest first."""
        for watch in list(self._watches.values()):
            watch.close(error)

    def new(
        self,
        key: bytes,
        range_end: bytes | None,
        next_revision: int,
        sink: Sink,
        *,
        prev_kv: bool = False,
        excluded: frozenset[EventType] = frozenset(),
        on_closed: OnClosed | None = None,
    ) -> Watch:
        """A watch that is told of nothing until it is added."""
        self._next_id += 1
        return Watch(
            self,
            self._next_id - 1,
            key,
            range_end,
            next_revision,
            sink,
            prev_kv=prev_kv,
            excluded=excluded,
            on_closed=on_closed,
        )

    def add(self, watch: Watch) -> None:
        """Register a watch from `new`; one that was cancelled meanwhile stays out."""
        if watch.closed:
            return
        key, range_end = watch.key, watch.range_end
        self._watches[watch.id] = watch
        if range_end is None:
            self._by_key.setdefault(key, {})[watch.id] = watch
        else:
            start = self._cut(key)
            end = len(self._bounds) if range_end == b"\0" else self._cut(range_end)
            for segment in self._segments[start:end]:
                segment[watch.id] = watch

    def remove(self, watch: Watch) -> None:
        if watch.closed:
            return
        watch.closed = True
        if self._watches.pop(watch.id, None) is None:
            return
        if watch.range_end is None:
            watches = self._by_key[watch.key]
            del watches[watch.id]
            if not watches:
                del self._by_key[watch.key]
            return
        start = bisect_left(self._bounds, watch.key)
        end = len(self._bounds) if watch.range_end == b"\0" else bisect_left(self._bounds, watch.range_end)
        for segment in self._segments[start:end]:
            segment.pop(watch.id, None)
        self._join(watch.key)
        if watch.range_end != b"\0":
            self._join(watch.range_end)

    def _cut(self, bound: bytes) -> int:
        """Make `bound` a boundary (or use it once more) and return its position."""
        position = bisect_left(self._bounds, bound)
        if position < len(self._bounds) and self._bounds[position] == bound:
            self._bound_users[bound] += 1
            return position
        self._bounds.insert(position, bound)
        self._segments.insert(position, dict(self._segments[position - 1]))
        self._bound_users[bound] = 1
        return position

    def _join(self, bound: bytes) -> None:
        """One user of the boundary less; the last one removes it."""
        self._bound_users[bound] -= 1
        if self._bound_users[bound] == 0:
            del self._bound_users[bound]
            position = bisect_left(self._bounds, bound)
            del self._bounds[position]
            del self._segments[position]

    def watches_of(self, key: bytes) -> list[Watch]:
        """The watches that select `key`, in the order in which they were added."""
        found = self._segments[bisect_right(self._bounds, key) - 1]
        exact = self._by_key.get(key)
        if exact is None:
            return list(found.values())
        if not found:
            return list(exact.values())
        both = {**found, **exact}
        return [both[watch_id] for watch_id in sorted(both)]

    def published_revision(self, newest: int) -> int:
        return self._pending[0][0].kv.mod_revision - 1 if self._pending else newest

    def publish_one(self, event: Event) -> None:
        """`publish` of a transaction with one event: the usual one, and usually one watch or none selects its key."""
        if not self._watches:
            return
        key = event.kv.key
        found = self._segments[bisect_right(self._bounds, key) - 1]
        exact = key in self._by_key
        if not found and not exact:
            return
        if exact or len(found) > 1 or self._delivering:
            self.publish([event])
            return
        (watch,) = found.values()
        errors: list[Exception] = []
        self._delivering = True
        try:
            self._deliver(watch, [event], errors)
        finally:
            self._delivering = False
        if self._pending or errors:
            self._publish_pending(errors)

    def publish(self, events: list[Event]) -> None:
        """Deliver one transaction. When called from inside a sink, after what is under way."""
        if not self._watches:
            return
        self._pending.append(events)
        if not self._delivering:
            self._publish_pending([])

    def _publish_pending(self, errors: list[Exception]) -> None:
        self._delivering = True
        try:
            while self._pending:
                self._publish(self._pending.popleft(), errors)
        finally:
            self._delivering = False
        if errors:
            raise errors[0] if len(errors) == 1 else ExceptionGroup("watch sinks failed", errors)

    def _publish(self, events: list[Event], errors: list[Exception]) -> None:
        if len(events) == 1:
            for watch in self.watches_of(events[0].kv.key):
                self._deliver(watch, events, errors)
            return
        selected: dict[int, tuple[Watch, list[Event]]] = {}
        for event in events:
            for watch in self.watches_of(event.kv.key):
                entry = selected.get(watch.id)
                if entry is None:
                    selected[watch.id] = (watch, [event])
                else:
                    entry[1].append(event)
        for watch_id in sorted(selected):
            watch, theirs = selected[watch_id]
            self._deliver(watch, theirs, errors)

    def _deliver(self, watch: Watch, events: list[Event], errors: list[Exception]) -> None:
        """A sink that raises loses its watch; the writer sees the error only when `on_closed` cannot be told."""
        try:
            watch.deliver(events)
        except Exception as error:
            if watch.on_closed is None:
                watch.cancel()
                errors.append(error)
            else:
                watch.close(error)
