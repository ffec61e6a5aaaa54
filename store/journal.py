"""The write-ahead hook: what a log on disk is told, in order, before anybody else sees it."""

from typing import Protocol

from kubeloop.store.model import Event


class Journal(Protocol):
    """Called synchronously inside the change. An exception from any method undoes that change and reaches its caller.

    `restore` of a `Snapshot` followed by these records in the same order gives the same store.
    """

    def committed(self, revision: int, events: list[Event]) -> None: ...

    def compacted(self, revision: int) -> None: ...

    def lease_granted(self, lease_id: int, ttl_seconds: int) -> None: ...

    def lease_revoked(self, lease_id: int) -> None: ...
