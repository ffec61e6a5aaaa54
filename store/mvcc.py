"""The key space with its history: what each key held at each revision that was not compacted.

Reading now costs nothing for the past: living keys and keys that only history knows are indexed apart.
"""

from bisect import bisect_right
from collections.abc import Iterator
from heapq import merge
from operator import attrgetter

from sortedcontainers import SortedList  # type: ignore[import-untyped]

from kubeloop.store.model import DELETE, Event, KeyValue

_mod_revision = attrgetter("mod_revision")


class KeySpace:
    """Versions of keys; every write is handed over with its revision already chosen by the store.

    `current` holds the living version of a key, `history` its older ones in order of revision, a deletion as a
    tombstone. A key with history that is not living is in `dead_keys`. Cost of a write: log n of the keys, less for
    many new ones in a row.
    """

    __slots__ = ("_live_keys", "_new_keys", "current", "dead_keys", "history")

    def __init__(self) -> None:
        self.current: dict[bytes, KeyValue] = {}
        self.history: dict[bytes, list[KeyValue]] = {}
        self._live_keys: SortedList[bytes] = SortedList()
        self._new_keys: list[bytes] = []  # not sorted in yet: the next who needs the order pays one merge for all
        self.dead_keys: SortedList[bytes] = SortedList()

    @property
    def live_keys(self) -> "SortedList[bytes]":
        """The living keys in order."""
        if self._new_keys:
            self._live_keys.update(self._new_keys)
            self._new_keys.clear()
        return self._live_keys

    def put(self, kv: KeyValue, previous: KeyValue | None) -> None:
        """Make `kv` the living version; `previous` is the one that is now (None: the key does not live)."""
        key = kv.key
        if previous is None:
            self._new_keys.append(key)
            if key in self.history:
                self.dead_keys.remove(key)
        else:
            versions = self.history.get(key)
            if versions is None:
                self.history[key] = [previous]
            else:
                versions.append(previous)
        self.current[key] = kv

    def delete(self, key: bytes, tombstone: KeyValue) -> None:
        """End the life of a living key."""
        previous = self.current.pop(key)
        self.live_keys.remove(key)
        self.history.setdefault(key, []).extend((previous, tombstone))
        self.dead_keys.add(key)

    def undo(self, event: Event) -> None:
        """Take the newest event of its key back."""
        key = event.kv.key
        versions = self.history.get(key)
        if event.type == DELETE:
            assert versions is not None
            versions.pop()
            self.current[key] = versions.pop()
            self.dead_keys.remove(key)
            self.live_keys.add(key)
        elif event.prev_kv is None:
            del self.current[key]
            self.live_keys.remove(key)
            if versions:
                self.dead_keys.add(key)
        else:
            assert versions is not None
            self.current[key] = versions.pop()
        if versions is not None and not versions:
            del self.history[key]

    def at(self, key: bytes, revision: int) -> KeyValue | None:
        """The version of `key` that was living at `revision`."""
        kv = self.current.get(key)
        if kv is not None and kv.mod_revision <= revision:
            return kv
        versions = self.history.get(key)
        if versions is None:
            return None
        position = bisect_right(versions, revision, key=_mod_revision) - 1
        if position < 0:
            return None
        kv = versions[position]
        return kv if kv.version else None

    def keys_between(self, key: bytes, range_end: bytes | None) -> Iterator[bytes]:
        """Living keys in order. `range_end` as in `Range`, None excepted."""
        end = None if range_end == b"\0" else range_end
        keys: Iterator[bytes] = self.live_keys.irange(key, end, (True, False))
        return keys

    def count_between(self, key: bytes, range_end: bytes) -> int:
        """How many living keys there are in the range, in log n."""
        start: int = self.live_keys.bisect_left(key)
        end: int = len(self.live_keys) if range_end == b"\0" else self.live_keys.bisect_left(range_end)
        return max(0, end - start)

    def between_at(self, key: bytes, range_end: bytes, revision: int) -> Iterator[KeyValue]:
        """Versions living at an old `revision`, in order of key."""
        end = None if range_end == b"\0" else range_end
        both = (keys.irange(key, end, (True, False)) for keys in (self.live_keys, self.dead_keys))
        for found in merge(*both):
            kv = self.at(found, revision)
            if kv is not None:
                yield kv

    def forget_before(self, key: bytes, revision: int) -> None:
        """Drop what nobody can read when `revision` is the oldest revision that may be read."""
        versions = self.history.get(key)
        if versions is None:
            return
        kv = self.current.get(key)
        if kv is not None and kv.mod_revision <= revision:
            del self.history[key]
            return
        position = bisect_right(versions, revision, key=_mod_revision) - 1
        if position >= 0:
            del versions[: position + (versions[position].version == 0)]
        if not versions:
            del self.history[key]
            if kv is None:
                self.dead_keys.remove(key)
