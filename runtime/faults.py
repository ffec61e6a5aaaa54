"""Faults as data: `handle = system.inject(Partition("node-1", "control-plane-0"))`, later `handle.heal()`.

A host in a fault may be a shell pattern (`node-*`). Equal seeds and equal faults give equal runs.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

if TYPE_CHECKING:
    from kubeloop.runtime.system import System


class Fault(Protocol):
    def apply(self, system: "System") -> Callable[[], object]:
        """Makes it so; the returned function undoes it."""
        ...


class Injected:
    """A fault in force."""

    def __init__(self, fault: Fault, undo: Callable[[], object]) -> None:
        self.fault = fault
        self._undo: Callable[[], object] | None = undo

    def heal(self) -> None:
        """Ends the fault; once."""
        undo, self._undo = self._undo, None
        if undo is not None:
            undo()


class Crash(Struct, frozen=True):
    """kill -9 of an actor; its supervisor restarts it. Nothing to heal."""

    actor: str

    def apply(self, system: "System") -> Callable[[], object]:
        system.crash(self.actor)
        return _nothing


class CrashHost(Struct, frozen=True):
    """The power of a host goes; healing it starts its actors again, in the background."""

    host: str

    def apply(self, system: "System") -> Callable[[], object]:
        system.crash_host(self.host)
        return lambda: system.spawn(system.start_host, self.host, name=f"start {self.host}")


class Partition(Struct, frozen=True):
    """No way between the hosts; open connections are cut."""

    a: str
    b: str = "*"
    one_way: bool = False

    def apply(self, system: "System") -> Callable[[], object]:
        return system.network.partition(self.a, self.b, one_way=self.one_way).heal


class Delay(Struct, frozen=True):
    """Each message takes between min_seconds and max_seconds (None: exactly min_seconds)."""

    a: str
    b: str = "*"
    min_seconds: float = 0.1
    max_seconds: float | None = None
    one_way: bool = False

    def apply(self, system: "System") -> Callable[[], object]:
        rule = system.network.delay(
            self.a, self.b, min_seconds=self.min_seconds, max_seconds=self.max_seconds, one_way=self.one_way
        )
        return rule.heal


class Drop(Struct, frozen=True):
    """Messages get lost with this probability."""

    a: str
    b: str = "*"
    probability: float = 1.0
    one_way: bool = False

    def apply(self, system: "System") -> Callable[[], object]:
        return system.network.drop(self.a, self.b, probability=self.probability, one_way=self.one_way).heal


class Duplicate(Struct, frozen=True):
    """Told messages arrive twice with this probability."""

    a: str
    b: str = "*"
    probability: float = 1.0
    one_way: bool = False

    def apply(self, system: "System") -> Callable[[], object]:
        return system.network.duplicate(self.a, self.b, probability=self.probability, one_way=self.one_way).heal


class Cut(Struct, frozen=True):
    """Open connections between the hosts break, once. Nothing to heal."""

    a: str
    b: str = "*"

    def apply(self, system: "System") -> Callable[[], object]:
        system.network.cut(self.a, self.b)
        return _nothing


def _nothing() -> None:
    return None
