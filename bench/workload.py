"""What a workload is, and what it says."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from msgspec import Struct


class Measurement(Struct, frozen=True):
    """One number in the workload's unit, and what else was seen on the way."""

    value: float
    detail: Mapping[str, Any] = {}


class Workload(Struct, frozen=True):
    """name: on the command line. better: "higher" or "lower". quick, full: arguments of `run`, by name.

    repeat: how often it is run, of which the best counts: the machine has other things to do at times.
    """

    name: str
    title: str
    unit: str
    goal: float
    better: str
    run: Callable[..., Awaitable[Measurement]]
    quick: Mapping[str, Any] = {}
    full: Mapping[str, Any] = {}
    repeat: int = 1

    def best(self, measurements: list[Measurement]) -> Measurement:
        choose = max if self.better == "higher" else min
        return choose(measurements, key=lambda measurement: measurement.value)

    def reached(self, value: float) -> bool:
        return value >= self.goal if self.better == "higher" else value <= self.goal
