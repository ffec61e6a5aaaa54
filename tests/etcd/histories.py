"""Clients and watchers of any `KV` that write down what they saw, and what must hold of it in the end."""

import random
from collections.abc import Awaitable, Callable
from typing import Any

from kubeloop.actors.etcd.kv import KV
from kubeloop.actors.etcd.messages import (
    CompactedError,
    Compare,
    EtcdError,
    Event,
    Put,
    Range,
    RangeResult,
    WatchHandle,
)
from kubeloop.runtime.actor import ActorStopped, Unreachable
from tests.etcd.linearizability import Kind, Operation, check, check_revisions, writes

PREFIX, END = b"h/", b"h0"
KEYS = ["h/1", "h/2", "h/3", "h/4", "h/5"]
KINDS: list[Kind] = ["read", "read", "write", "write", "cas", "cas", "delete"]
Told = tuple[str, str | None]
"""A key and what it was set to; None: it was deleted."""
Sleep = Callable[[float], Awaitable[Any]]


class Recorder:
    """The common order of events, and everybody's operations. `certain` are errors after which nothing has happened."""

    def __init__(self, certain: tuple[type[Exception], ...] = ()) -> None:
        self._certain = certain
        self.history: list[Operation] = []
        self.compactions: list[tuple[int, bool]] = []
        self.ticks = 0

    def tick(self) -> int:
        self.ticks += 1
        return self.ticks

    async def do(self, kv: KV, client: int, chance: random.Random, known: dict[str, str | None]) -> None:
        """One random operation. `known` is what the client believes the keys to hold."""
        kind, key = chance.choice(KINDS), chance.choice(KEYS)
        number = self.tick()
        operation = Operation(client, kind, key, number)
        if kind in ("write", "cas"):
            operation.value = f"{client}:{number}"
        if kind == "cas":
            operation.expected = known.get(key) if chance.random() < 0.8 else None
        try:
            await CALLS[kind](kv, operation)
        except self._certain:
            return
        except (ActorStopped, Unreachable, TimeoutError, EtcdError) as error:
            if isinstance(error, EtcdError) and error.code != "UNAVAILABLE":
                raise
            if kind == "read":
                return
        else:
            operation.returned = self.tick()
            known[key] = operation.result if kind == "read" else operation.value  # type: ignore[assignment]
        self.history.append(operation)

    async def compact(self, kv: KV, revision: int) -> None:
        try:
            await kv.compact(revision)
        except CompactedError:
            pass
        except (ActorStopped, Unreachable, EtcdError):
            self.compactions.append((revision, False))
        else:
            self.compactions.append((revision, True))

    def check(self) -> None:
        check_revisions(self.history)
        check(self.history)


async def read(kv: KV, operation: Operation) -> None:
    found = await kv.range(operation.key.encode())
    operation.result = found.kvs[0].value.decode() if found.kvs else None
    operation.revision = found.revision


async def write(kv: KV, operation: Operation) -> None:
    operation.revision = (await kv.put(operation.key.encode(), (operation.value or "").encode())).revision


async def delete(kv: KV, operation: Operation) -> None:
    deleted = await kv.delete_range(operation.key.encode())
    operation.result, operation.revision = deleted.deleted == 1, deleted.revision


async def cas(kv: KV, operation: Operation) -> None:
    key, value = operation.key.encode(), (operation.value or "").encode()
    if operation.expected is None:
        compare = Compare(key, "version", "=", 0)
    else:
        compare = Compare(key, "value", "=", operation.expected.encode())
    done = await kv.txn([compare], [Put(key, value)], [Range(key)])
    operation.result, operation.revision = done.succeeded, done.revision


CALLS: dict[Kind, Callable[[KV, Operation], Awaitable[None]]] = {
    "read": read,
    "write": write,
    "cas": cas,
    "delete": delete,
}


class Watcher:
    """Watches everything from one revision on, again whenever the watch ends; what compaction takes it skips."""

    def __init__(self) -> None:
        self.next_revision = 2
        self.told: dict[int, list[Told]] = {}
        self.skipped: list[tuple[int, int]] = []
        self.compacted: list[int] = []
        self.ended: Exception | None = None
        self.connections = 0

    def take(self, events: list[Event]) -> None:
        """One transaction, whole and new."""
        revision = events[0].kv.mod_revision
        assert {event.kv.mod_revision for event in events} == {revision}, "two transactions at once"
        assert revision >= self.next_revision, f"revision {revision} was told before {self.next_revision - 1}"
        assert revision == self.next_revision, f"between {self.next_revision} and {revision} something is missing"
        keys = [event.kv.key for event in events]
        assert len(set(keys)) == len(keys)
        self.told[revision] = [
            (event.kv.key.decode(), event.kv.value.decode() if event.type == "PUT" else None) for event in events
        ]
        self.next_revision = revision + 1

    def skip(self, compact_revision: int) -> None:
        assert compact_revision > self.next_revision, "nothing that it still needed was compacted"
        self.compacted.append(compact_revision)
        self.skipped.append((self.next_revision, compact_revision - 1))
        self.next_revision = compact_revision

    async def run(self, kv: KV, sleep: Sleep, chance: random.Random) -> None:
        """For ever."""
        while True:
            self.ended = None
            try:
                handle = await kv.watch(
                    PREFIX, END, sink=self.take, on_closed=self._closed, start_revision=self.next_revision
                )
            except CompactedError as error:
                self.skip(error.compact_revision)
                continue
            except (ActorStopped, Unreachable, EtcdError):
                await sleep(chance.random())
                continue
            self.connections += 1
            await self._watched(handle, sleep, chance)
            await sleep(chance.random())

    async def _watched(self, handle: WatchHandle, sleep: Sleep, chance: random.Random) -> None:
        """Until it ends, or the watcher has had enough of it."""
        rounds = chance.randrange(1, 40)
        while self.ended is None and rounds:
            await sleep(0.5)
            rounds -= 1
        handle.cancel()
        if isinstance(self.ended, CompactedError):
            self.skip(self.ended.compact_revision)

    def _closed(self, error: Exception | None) -> None:
        self.ended = error or RuntimeError("closed")

    def check(self, recorder: Recorder, last: RangeResult) -> None:
        """Every answered write was told at its revision, once; what else was told, nobody was answered.

        `last` is everything there is, at the end.
        """
        assert self.next_revision == last.revision + 1, f"{self.next_revision - 1} of {last.revision} was told"
        assert set(self.compacted) <= {revision for revision, _ in recorder.compactions}
        answered = {one.revision: one for one in recorder.history if one.returned is not None and writes(one)}
        unanswered = [one for one in recorder.history if one.returned is None]
        values = {(one.key, one.value) for one in unanswered}
        skipped = {revision for first, end in self.skipped for revision in range(first, end + 1)}
        for revision, one in answered.items():
            if revision >= 2 and revision not in skipped:
                assert self.told[revision] == [(one.key, one.value)], f"{one} was told as {self.told[revision]}"
        for revision in set(self.told) - set(answered):
            assert set(self.told[revision]) <= values, f"{self.told[revision]} was written by nobody"
        assert len(set(self.told) - set(answered)) <= len(unanswered)
        self._check_state(last, skipped)

    def _check_state(self, last: RangeResult, skipped: set[int]) -> None:
        """Whoever does what he was told has what there is."""
        state: dict[str, tuple[str, int]] = {}
        for revision, told in sorted(self.told.items()):
            for key, value in told:
                state.pop(key, None)
                if value is not None:
                    state[key] = value, revision
        there = {kv.key.decode(): (kv.value.decode(), kv.mod_revision) for kv in last.kvs}
        if not skipped:
            assert state == there
        for key, (value, revision) in there.items():
            assert revision in skipped or state[key] == (value, revision)
