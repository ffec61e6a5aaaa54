"""Who watches one resource, indexed so that a change costs the watchers it concerns, not the watchers there are."""

from asyncio import TimerHandle
from collections.abc import Callable, Iterator
from typing import Any

from kubeloop.actors.apiserver.messages import WatchSink


class Watcher:
    """One open watch. `matches(entry)` decides by selectors; None selects everything in scope.

    `namespace` and `key` narrow the scope; `index_value` selects by the resource's indexed field (pods: spec.nodeName).
    `after`: the revision up to which it knows everything, even where the cache does not yet.
    """

    __slots__ = ("after", "bookmarks", "index_value", "key", "matches", "namespace", "sink", "timer")

    def __init__(
        self,
        sink: WatchSink,
        *,
        namespace: str = "",
        key: str = "",
        index_value: str | None = None,
        matches: Callable[[Any], bool] | None = None,
        bookmarks: bool = False,
        after: int = 0,
    ) -> None:
        self.sink = sink
        self.namespace = namespace
        self.key = key
        self.index_value = index_value
        self.matches = matches
        self.bookmarks = bookmarks
        self.after = after
        self.timer: TimerHandle | None = None  # its timeoutSeconds

    def close(self, error: Exception | None) -> None:
        """Tell the sink that its watch is over."""
        if self.timer is not None:
            self.timer.cancel()
        self.sink.on_closed(error)

    def concerned_by(self, namespace: str, key: str) -> bool:
        if self.key:
            return key == self.key
        return not self.namespace or namespace == self.namespace


class Watchers:
    """Buckets: everything, a namespace, a key, a value of the indexed field. Each keeps the order of registration."""

    def __init__(self, index_field: str = "") -> None:
        self.index_field = index_field
        self._all: dict[Watcher, None] = {}
        self._by_namespace: dict[str, dict[Watcher, None]] = {}
        self._by_key: dict[str, dict[Watcher, None]] = {}
        self._by_index: dict[str, dict[Watcher, None]] = {}
        self._members: dict[Watcher, None] = {}

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[Watcher]:
        return iter(list(self._members))

    def add(self, watcher: Watcher) -> None:
        self._members[watcher] = None
        buckets, name = self._bucket(watcher)
        if buckets is None:
            self._all[watcher] = None
        else:
            buckets.setdefault(name, {})[watcher] = None

    def remove(self, watcher: Watcher) -> bool:
        """False when it was not there any more."""
        if watcher not in self._members:
            return False
        del self._members[watcher]
        buckets, name = self._bucket(watcher)
        if buckets is None:
            del self._all[watcher]
            return True
        del buckets[name][watcher]
        if not buckets[name]:
            del buckets[name]
        return True

    def _bucket(self, watcher: Watcher) -> tuple[dict[str, dict[Watcher, None]] | None, str]:
        if watcher.key:
            return self._by_key, watcher.key
        if watcher.index_value is not None:
            return self._by_index, watcher.index_value
        if watcher.namespace:
            return self._by_namespace, watcher.namespace
        return None, ""

    def concerned(self, namespace: str, key: str, old_value: str | None, new_value: str | None) -> list[Watcher]:
        """The watchers whose scope holds a change; a list of its own, since sinks may add and remove watchers."""
        found = list(self._all)
        if namespace and self._by_namespace:
            found.extend(self._by_namespace.get(namespace, ()))
        if self._by_key:
            found.extend(self._by_key.get(key, ()))
        if self._by_index:
            if old_value is not None:
                found.extend(self._by_index.get(old_value, ()))
            if new_value is not None and new_value != old_value:
                found.extend(self._by_index.get(new_value, ()))
        return found
