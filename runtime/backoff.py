"""Exponential backoff as a value."""

import math

from msgspec import Struct


class Backoff(Struct, frozen=True):
    """`initial_seconds * factor ** attempt`, at most `max_seconds`; by default as client-go's work queues do."""

    initial_seconds: float = 0.005
    max_seconds: float = 1000.0
    factor: float = 2.0

    def delay_seconds(self, attempt: int) -> float:
        """How long to wait after `attempt` earlier failures (0: this was the first)."""
        if self.initial_seconds <= 0.0:
            return 0.0
        if self.factor > 1.0 and attempt * math.log(self.factor) > 700.0:
            return self.max_seconds
        return min(self.initial_seconds * self.factor**attempt, self.max_seconds)
