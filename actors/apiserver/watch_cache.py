"""One resource in memory: the objects of the store at a revision, their indexes, and a window of history.

Fed synchronously from the store's watch, so a read after a write sees it. An entry holds the frozen object that
in-process readers share, and makes its encoded bytes once, when the first HTTP reader needs them: they are the
stored bytes with the resourceVersion spliced in, nothing is encoded again.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from sortedcontainers import SortedList  # type: ignore[import-untyped]

from kubeloop.actors.api.errors import StatusError, expired
from kubeloop.actors.apiserver import limits
from kubeloop.actors.apiserver.messages import WatchEvent
from kubeloop.actors.apiserver.watchers import Watcher, Watchers

METADATA_MARK = b'"metadata":{'


class Entry:
    """One revision of one object. `key` is NAMESPACE/NAME, or NAME for a cluster-scoped resource."""

    __slots__ = ("encoded_bytes", "key", "namespace", "object", "revision", "value")

    def __init__(self, key: str, namespace: str, revision: int, value: bytes, object: Any) -> None:
        self.key = key
        self.namespace = namespace
        self.revision = revision
        self.value = value
        self.object = object
        self.encoded_bytes: bytes | None = None

    def encoded(self) -> bytes:
        """The object's JSON as the API gives it out."""
        encoded = self.encoded_bytes
        if encoded is None:
            encoded = self.encoded_bytes = with_resource_version(self.value, self.revision)
        return encoded


def with_resource_version(value: bytes, revision: int) -> bytes:
    """Stored bytes -> wire bytes. The stored form always has a non-empty metadata, third after apiVersion and kind."""
    start = value.index(METADATA_MARK) + len(METADATA_MARK)
    return b'%b"resourceVersion":"%d",%b' % (value[:start], revision, value[start:])


class Change:
    """What one revision did to one key: old None = created, new None = deleted (old then carries the new revision)."""

    __slots__ = ("events", "key", "namespace", "new", "old", "revision", "tombstone")

    def __init__(self, revision: int, old: Entry | None, new: Entry | None, tombstone: Entry | None = None) -> None:
        self.revision = revision
        self.old = old
        self.new = new
        self.tombstone = tombstone  # the old object with this revision as its resourceVersion; made when needed
        subject = new if new is not None else old
        assert subject is not None
        self.key = subject.key
        self.namespace = subject.namespace
        self.events: dict[str, CachedEvent] | None = None


class CachedEvent(WatchEvent, frozen=True):
    """An event with its cache entry, so that the line on the wire is made once for all who watch."""

    entry: Any = None
    line: Any = None  # one mutable cell: the encoded line


class WatchCache:
    """`touch(object, revision)` gives the object with another resourceVersion, `index_value` its indexed field."""

    def __init__(
        self,
        *,
        touch: Callable[[Any, int], Any],
        index_field: str = "",
        index_value: Callable[[Any], str] | None = None,
        history_events_max: int = limits.history_events_max,
    ) -> None:
        self.entries: dict[str, Entry] = {}
        self._keys: SortedList = SortedList()
        self._new_keys: list[str] = []  # not sorted in yet: many creations pay for one merge
        self.revision = 0  # of the last change, or of the load
        self.history: deque[Change] = deque(maxlen=history_events_max)
        self.history_start = 0  # watches can resume from this revision on
        self.watchers = Watchers(index_field)
        self.index_field = index_field
        self.index_value = index_value
        self.index: dict[str, dict[str, Entry]] = {}
        self._touch = touch
        self.changes = self.loads = self.init_events = 0  # for /metrics: so many since it was made; loads: by the store

    # reading

    @property
    def keys(self) -> SortedList:
        """All keys in order."""
        if self._new_keys:
            self._keys.update(self._new_keys)
            self._new_keys.clear()
        return self._keys

    def get(self, key: str) -> Entry | None:
        return self.entries.get(key)

    def select(self, namespace: str = "", after: str = "", index_value: str | None = None) -> Iterator[Entry]:
        """Entries in key order, behind the key `after`; of one namespace; with one value of the indexed field."""
        entries = self.entries
        if index_value is not None:
            selected = self.index.get(index_value, {})
            for key in sorted(selected):
                if key > after and (not namespace or key.startswith(namespace + "/")):
                    yield selected[key]
            return
        low, high = (f"{namespace}/", f"{namespace}0") if namespace else (None, None)  # "0" follows "/"
        if after and (low is None or after >= low):
            keys = self.keys.irange(after, high, inclusive=(False, False))
        else:
            keys = self.keys.irange(low, high, inclusive=(True, False))
        for key in keys:
            yield entries[key]

    def count(self, namespace: str = "", after: str = "") -> int:
        """How many keys `select` would give, without walking them."""
        keys = self.keys
        low = max(f"{namespace}/" if namespace else "", after)
        start = keys.bisect_right(low) if low else 0
        end = keys.bisect_left(f"{namespace}0") if namespace else len(keys)
        return max(0, end - start)

    # writing

    def load(self, entries: Mapping[str, Entry], revision: int) -> None:
        """Begin from a snapshot of the store."""
        self.entries = dict(entries)
        self._keys = SortedList(self.entries)
        self._new_keys = []
        self.revision = self.history_start = revision
        self.history.clear()
        self.index = {}
        if self.index_value is not None:
            for entry in self.entries.values():
                self.index.setdefault(self.index_value(entry.object), {})[entry.key] = entry

    def put(self, entry: Entry) -> None:
        """A key created or replaced; watchers are told before this returns."""
        key = entry.key
        old = self.entries.get(key)
        self.entries[key] = entry
        if old is None:
            self._new_keys.append(key)
        if self.index_value is not None:
            self._reindex(old, entry)
        self._publish(Change(entry.revision, old, entry))

    def remove(self, key: str, revision: int) -> None:
        """A key deleted; unknown keys are ignored."""
        old = self.entries.pop(key, None)
        if old is None:
            return
        self.keys.remove(key)
        if self.index_value is not None:
            self._reindex(old, None)
        self._publish(Change(revision, old, None))

    def _reindex(self, old: Entry | None, new: Entry | None) -> None:
        assert self.index_value is not None
        if old is not None:
            value = self.index_value(old.object)
            bucket = self.index.get(value)
            if bucket is not None:
                bucket.pop(old.key, None)
                if not bucket:
                    del self.index[value]
        if new is not None:
            self.index.setdefault(self.index_value(new.object), {})[new.key] = new

    def _publish(self, change: Change) -> None:
        self.revision = change.revision
        self.changes += 1
        history = self.history
        if len(history) == history.maxlen:
            self.history_start = history[0].revision
        history.append(change)
        watchers = self.watchers
        if not watchers:
            return
        old, new = change.old, change.new
        index_value = self.index_value
        old_value = index_value(old.object) if index_value is not None and old is not None else None
        new_value = index_value(new.object) if index_value is not None and new is not None else None
        for watcher in watchers.concerned(change.namespace, change.key, old_value, new_value):
            self.deliver(change, watcher)

    # watching

    def deliver(self, change: Change, watcher: Watcher) -> None:
        """One change to one watcher: entering its selection is ADDED, leaving it DELETED."""
        if change.revision <= watcher.after:
            return
        old, new = change.old, change.new
        matches = watcher.matches
        if matches is None:
            type_ = "ADDED" if old is None else "DELETED" if new is None else "MODIFIED"
        else:
            before = old is not None and matches(old)
            now = new is not None and matches(new)
            if now:
                type_ = "MODIFIED" if before else "ADDED"
            elif before:
                type_ = "DELETED"
            else:
                return
        events = change.events
        if events is None:
            events = change.events = {}
        event = events.get(type_)
        if event is None:
            event = events[type_] = self._event(change, type_)
        watcher.sink.on_event(event)

    def _event(self, change: Change, type_: str) -> CachedEvent:
        if type_ != "DELETED":
            assert change.new is not None
            return CachedEvent(type_, change.new.object, change.new, [])
        if change.tombstone is None:
            old = change.old
            assert old is not None
            touched = self._touch(old.object, change.revision)
            change.tombstone = Entry(old.key, old.namespace, change.revision, old.value, touched)
        return CachedEvent(type_, change.tombstone.object, change.tombstone, [])

    def check_resumable(self, revision: int) -> None:
        """Raises 410 Expired when changes after `revision` may be forgotten."""
        if revision < self.history_start:
            raise too_old(revision, self.history_start)

    def replay(self, watcher: Watcher, revision: int) -> None:
        """Deliver the kept changes after `revision`; raises 410 Expired when some are forgotten."""
        self.check_resumable(revision)
        start = bisect_right(self.history, revision, key=lambda change: change.revision)
        if start == len(self.history):
            return
        for change in list(self.history)[start:]:
            if watcher.concerned_by(change.namespace, change.key):
                self.deliver(change, watcher)


def too_old(revision: int, oldest: int) -> StatusError:
    return expired(f"too old resource version: {revision} ({oldest})")
