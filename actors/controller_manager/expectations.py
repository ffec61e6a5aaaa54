"""What a controller did and its caches have not shown yet.

A controller that created a pod must not create it again only because its informer lags behind. client-go counts
("expect 3 creations"); here the objects themselves are remembered by uid, so that a lost or doubled event cannot make
the count wrong. An entry nobody fulfils (the object vanished between two lists) is dropped after `TIMEOUT_SECONDS`.
"""

from __future__ import annotations

TIMEOUT_SECONDS = 300.0


class Expectations:
    """Per key: uids created and not yet seen, uids deleted and not yet seen to go."""

    def __init__(self) -> None:
        self._created: dict[str, dict[str, float]] = {}
        self._deleted: dict[str, dict[str, float]] = {}

    def __len__(self) -> int:
        return len(self._created) + len(self._deleted)

    def expect_created(self, key: str, uid: str, now: float) -> None:
        self._created.setdefault(key, {})[uid] = now

    def expect_deleted(self, key: str, uid: str, now: float) -> None:
        self._deleted.setdefault(key, {})[uid] = now

    def observe_created(self, key: str, uid: str) -> None:
        if self._created:
            _drop(self._created, key, uid)

    def observe_deleted(self, key: str, uid: str) -> None:
        if self._deleted:
            _drop(self._deleted, key, uid)
        if self._created:
            _drop(self._created, key, uid)

    def satisfied(self, key: str, now: float) -> bool:
        """Nothing is outstanding, or what is has waited too long."""
        return not any(
            now - since < TIMEOUT_SECONDS
            for expected in (self._created.get(key), self._deleted.get(key))
            if expected
            for since in expected.values()
        )

    def forget(self, key: str) -> None:
        self._created.pop(key, None)
        self._deleted.pop(key, None)


def _drop(expected: dict[str, dict[str, float]], key: str, uid: str) -> None:
    uids = expected.get(key)
    if uids is not None:
        uids.pop(uid, None)
        if not uids:
            del expected[key]
