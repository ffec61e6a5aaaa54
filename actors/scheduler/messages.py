"""Messages of the scheduler."""

from __future__ import annotations

import msgspec


class Wake(msgspec.Struct, frozen=True):
    """To itself: a backoff is over, or a pod has been unschedulable for long."""


class Explain(msgspec.Struct, frozen=True):
    """Asks why a waiting pod is where it is; answered with ``Explanation``."""

    namespace: str
    name: str


class Explanation(msgspec.Struct, frozen=True):
    """Where a pod waits, and the last message about it."""

    place: str
    message: str
