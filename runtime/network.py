"""The network between hosts: healthy until told otherwise.

Hosts are names; where a fault names hosts, shell patterns such as `node-*` are understood, and it holds in both
directions unless it says one_way. On a healthy network a message costs a test of `quiet`.

What a fault means: a partition refuses asks and new connections, cuts open ones, and swallows told messages. A delay
holds messages back (told ones may overtake each other, those on a connection do not). A drop loses messages: a told
one silently; an asked one, or its answer, so that its asker waits until the timeout. A duplicate brings told messages
twice.
"""

import itertools
from collections import deque
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any, Literal

from kubeloop.runtime.clock import Clock
from kubeloop.runtime.errors import Unreachable
from kubeloop.runtime.limits import LOST_MESSAGE_SECONDS


class Rule:
    """A standing fault between hosts; `heal()` ends it."""

    __slots__ = ("_network", "a", "b", "kind", "max_seconds", "min_seconds", "one_way", "probability")

    def __init__(
        self,
        network: "Network",
        kind: Literal["partition", "delay", "drop", "duplicate"],
        a: str,
        b: str,
        *,
        one_way: bool = False,
        min_seconds: float = 0.0,
        max_seconds: float = 0.0,
        probability: float = 1.0,
    ) -> None:
        if not 0.0 <= probability <= 1.0:
            raise ValueError(f"probability {probability} is not between 0 and 1")
        if not 0.0 <= min_seconds <= max_seconds:
            raise ValueError(f"delay from {min_seconds} to {max_seconds} seconds: 0 <= min <= max")
        self._network = network
        self.kind = kind
        self.a = a
        self.b = b
        self.one_way = one_way
        self.min_seconds = min_seconds
        self.max_seconds = max_seconds
        self.probability = probability

    def holds(self, source: str, target: str) -> bool:
        if fnmatchcase(source, self.a) and fnmatchcase(target, self.b):
            return True
        return not self.one_way and fnmatchcase(source, self.b) and fnmatchcase(target, self.a)

    def heal(self) -> None:
        self._network.remove(self)


class Network:
    def __init__(self, clock: Clock) -> None:
        self.quiet = True
        """No fault anywhere."""
        self._clock = clock
        self._random = clock.stream("network")
        self._rules: list[Rule] = []
        self._down: dict[str, None] = {}
        self._connections: dict[str, dict[int, Connection]] = {}
        self._numbers = itertools.count()

    # faults

    def partition(self, a: str, b: str = "*", *, one_way: bool = False) -> Rule:
        """No message from a to b nor back. A host always reaches itself."""
        rule = self._add(Rule(self, "partition", a, b, one_way=one_way))
        self.cut(a, b)
        return rule

    def delay(
        self, a: str, b: str = "*", *, min_seconds: float, max_seconds: float | None = None, one_way: bool = False
    ) -> Rule:
        """Each message takes that long, one way; several rules add up."""
        longest = min_seconds if max_seconds is None else max_seconds
        return self._add(Rule(self, "delay", a, b, min_seconds=min_seconds, max_seconds=longest, one_way=one_way))

    def drop(self, a: str, b: str = "*", *, probability: float = 1.0, one_way: bool = False) -> Rule:
        return self._add(Rule(self, "drop", a, b, probability=probability, one_way=one_way))

    def duplicate(self, a: str, b: str = "*", *, probability: float = 1.0, one_way: bool = False) -> Rule:
        return self._add(Rule(self, "duplicate", a, b, probability=probability, one_way=one_way))

    def cut(self, a: str, b: str = "*") -> int:
        """Cuts the open connections between the hosts, once; new ones can be opened. Returns how many."""
        rule = Rule(self, "partition", a, b)
        return self._cut(lambda connection: rule.holds(connection.source, connection.target))

    def heal(self, a: str = "*", b: str = "*") -> None:
        """Ends the faults that were declared between exactly these names; without names, all."""
        self._rules = [rule for rule in self._rules if (a, b) != ("*", "*") and {rule.a, rule.b} != {a, b}]
        self.quiet = not self._rules

    def remove(self, rule: Rule) -> None:
        if rule in self._rules:
            self._rules.remove(rule)
        self.quiet = not self._rules

    def host_down(self, host: str) -> None:
        """Cuts every connection of the host; none can be opened until host_up."""
        self._down[host] = None
        self._cut(lambda connection: host in (connection.source, connection.target))

    def host_up(self, host: str) -> None:
        self._down.pop(host, None)

    def _add(self, rule: Rule) -> Rule:
        self._rules.append(rule)
        self.quiet = False
        return rule

    # messages

    def reachable(self, source: str, target: str) -> bool:
        """Whether a message gets from source to target, both hosts being up."""
        if source in self._down or target in self._down:
            return False
        return self.quiet or source == target or not self._partitioned(source, target)

    async def carry(self, source: str, target: str) -> None:
        """The way of an ask, or of its answer. Raises Unreachable when there is none, later when it gets lost."""
        if self.quiet or source == target:
            return
        if self._partitioned(source, target):
            raise Unreachable(f"no way from {source} to {target}")
        if self._chance("drop", source, target):
            await self._clock.sleep(LOST_MESSAGE_SECONDS)
            raise Unreachable(f"a message from {source} to {target} was lost")
        if delay := self._delay_seconds(source, target):
            await self._clock.sleep(delay)
            if self._partitioned(source, target):
                raise Unreachable(f"no way from {source} to {target}")

    def send(self, source: str, target: str, deliver: Callable[..., object], *args: Any) -> None:
        """The way of a told message: `deliver(*args)` is called never, once or twice, now or later."""
        if self.quiet or source == target:
            deliver(*args)
            return
        if self._partitioned(source, target) or self._chance("drop", source, target):
            return
        for _ in range(2 if self._chance("duplicate", source, target) else 1):
            if delay := self._delay_seconds(source, target):
                self._clock.call_later(delay, deliver, *args)
            else:
                deliver(*args)

    # connections

    def open(self, source_host: str, target_host: str, on_cut: Callable[[], None]) -> "Connection":
        """A long-lived connection. `on_cut` is called once, when a partition or a host's crash cuts it, not by close().

        Raises Unreachable when there is no way now.
        """
        if not self.reachable(source_host, target_host) or not self.reachable(target_host, source_host):
            raise Unreachable(f"no way from {source_host} to {target_host}")
        connection = Connection(self, source_host, target_host, on_cut, next(self._numbers))
        self._connections.setdefault(source_host, {})[connection.number] = connection
        self._connections.setdefault(target_host, {})[connection.number] = connection
        return connection

    def connections(self) -> int:
        """How many are open."""
        return len(self._ordered_connections())

    def _ordered_connections(self) -> list["Connection"]:
        found = {number: one for by_number in self._connections.values() for number, one in by_number.items()}
        return [found[number] for number in sorted(found)]

    def _cut(self, chosen: Callable[["Connection"], bool]) -> int:
        doomed = [connection for connection in self._ordered_connections() if chosen(connection)]
        for connection in doomed:
            connection.close()
        for connection in doomed:
            connection.on_cut()
        return len(doomed)

    def _forget(self, connection: "Connection") -> None:
        for host in (connection.source, connection.target):
            by_number = self._connections.get(host)
            if by_number is not None:
                by_number.pop(connection.number, None)
                if not by_number:
                    del self._connections[host]

    # rules

    def _partitioned(self, source: str, target: str) -> bool:
        return any(rule.kind == "partition" and rule.holds(source, target) for rule in self._rules)

    def _chance(self, kind: str, source: str, target: str) -> bool:
        return any(
            self._random.random() < rule.probability
            for rule in self._rules
            if rule.kind == kind and rule.holds(source, target)
        )

    def _delay_seconds(self, source: str, target: str) -> float:
        return sum(
            self._random.uniform(rule.min_seconds, rule.max_seconds)
            for rule in self._rules
            if rule.kind == "delay" and rule.holds(source, target)
        )


class Connection:
    """A stream from source to target. What it delivers stays in order; losses are resent, so only delays show."""

    __slots__ = ("_late", "_late_until", "_network", "number", "on_cut", "open", "source", "target")

    def __init__(self, network: Network, source: str, target: str, on_cut: Callable[[], None], number: int) -> None:
        self.source = source
        self.target = target
        self.on_cut = on_cut
        self.number = number
        self.open = True
        self._network = network
        self._late: deque[tuple[Callable[..., object], tuple[Any, ...]]] | None = None
        self._late_until = 0.0

    def deliver(self, callback: Callable[..., object], *args: Any) -> None:
        """Calls `callback(*args)` at the other end: now, or after the network's delay; never once closed or cut."""
        if not self.open:
            return
        network = self._network
        delay = 0.0 if network.quiet else network._delay_seconds(self.target, self.source)
        if not delay and not self._late:
            callback(*args)
            return
        now = network._clock.monotonic()
        self._late_until = max(self._late_until, now + delay)
        if self._late is None:
            self._late = deque()
        self._late.append((callback, args))
        network._clock.call_later(self._late_until - now, self._deliver_late)

    def _deliver_late(self) -> None:
        if self.open and self._late:
            callback, args = self._late.popleft()
            callback(*args)

    def close(self) -> None:
        if self.open:
            self.open = False
            self._late = None
            self._network._forget(self)
