"""The dumb model: a whole copy of the keys for every revision, and a list of every event."""

from kubeloop.store.errors import CompactedError, FutureRevisionError
from kubeloop.store.model import Compare, DeleteRange, Event, KeyValue, Op, Put, Range, Txn

State = dict[bytes, KeyValue]


def inside(key: bytes, start: bytes, range_end: bytes | None) -> bool:
    if not range_end:
        return key == start
    return key >= start and (range_end == b"\0" or key < range_end)


class DumbStore:
    def __init__(self) -> None:
        self.states: dict[int, State] = {1: {}}
        self.events: list[Event] = []
        self.compact_revision = -1
        self.leases: dict[int, float] = {}

    @property
    def revision(self) -> int:
        return max(self.states)

    @property
    def now(self) -> State:
        return self.states[self.revision]

    def range(self, op: Range) -> tuple[list[KeyValue], bool, int]:
        if op.revision > self.revision:
            raise FutureRevisionError
        if 0 < op.revision < self.compact_revision:
            raise CompactedError(self.compact_revision)
        return self.read(self.states[op.revision or self.revision], op)

    def read(self, state: State, op: Range) -> tuple[list[KeyValue], bool, int]:
        kvs = [state[key] for key in sorted(state) if inside(key, op.key, op.range_end)]
        count = len(kvs)
        if op.count_only:
            return [], False, count
        kvs = [kv for kv in kvs if kv.mod_revision >= op.min_mod_revision]
        kvs = [kv for kv in kvs if kv.mod_revision <= (op.max_mod_revision or 10**9)]
        kvs = [kv for kv in kvs if kv.create_revision >= op.min_create_revision]
        kvs = [kv for kv in kvs if kv.create_revision <= (op.max_create_revision or 10**9)]
        if op.sort_order != "none" or op.sort_target != "key":
            names = {"key": "key", "version": "version", "create": "create_revision", "mod": "mod_revision"}
            kvs.sort(key=lambda kv: getattr(kv, names.get(op.sort_target, "value")), reverse=op.sort_order == "descend")
        more = bool(op.limit and len(kvs) > op.limit)
        kvs = kvs[: op.limit] if op.limit else kvs
        if op.keys_only:
            kvs = [KeyValue(kv.key, b"", kv.create_revision, kv.mod_revision, kv.version, kv.lease) for kv in kvs]
        return kvs, more, count

    def run(self, ops: list[Op]) -> int:
        """Run operations as one transaction; how many events there were."""
        state, events = dict(self.now), []
        branches = [self.flatten(op) for op in ops]
        for op in [op for branch in branches for op in branch]:
            events += self.apply(state, op)
        if events:
            self.states[self.revision + 1] = state
            self.events += events
        return len(events)

    def flatten(self, op: Op) -> list[Op]:
        if not isinstance(op, Txn):
            return [op]
        branch = op.success if all(self.holds(compare) for compare in op.compare) else op.failure
        return [leaf for inner in branch for leaf in self.flatten(inner)]

    def holds(self, compare: Compare) -> bool:
        kvs = [kv for key, kv in self.now.items() if inside(key, compare.key, compare.range_end)]
        if not kvs and compare.target == "value":
            return False
        values = [
            {"version": kv.version, "create": kv.create_revision, "mod": kv.mod_revision, "lease": kv.lease}.get(
                compare.target, kv.value
            )
            for kv in kvs
        ] or [0]
        results = {
            "=": lambda a, b: a == b,
            "!=": lambda a, b: a != b,
            ">": lambda a, b: a > b,
            "<": lambda a, b: a < b,
        }
        return all(results[compare.result](value, compare.value) for value in values)

    def apply(self, state: State, op: Op) -> list[Event]:
        revision = self.revision + 1
        if isinstance(op, Put):
            old = state.get(op.key)
            created, version = (old.create_revision, old.version + 1) if old else (revision, 1)
            state[op.key] = KeyValue(op.key, op.value, created, revision, version, op.lease)
            return [Event("PUT", state[op.key], old)]
        if isinstance(op, DeleteRange):
            keys = [key for key in sorted(state) if inside(key, op.key, op.range_end)]
            return [Event("DELETE", KeyValue(key, b"", 0, revision, 0), state.pop(key)) for key in keys]
        return []

    def seen(
        self, start: bytes, range_end: bytes | None, first: int, prev_kv: bool, excluded: tuple[str, ...]
    ) -> list[list[Event]]:
        """What a watch from revision `first` has been told, a list a transaction."""
        transactions: dict[int, list[Event]] = {}
        for event in self.events:
            if event.kv.mod_revision < first or event.type in excluded or not inside(event.kv.key, start, range_end):
                continue
            shown = event if prev_kv else Event(event.type, event.kv)
            transactions.setdefault(event.kv.mod_revision, []).append(shown)
        return list(transactions.values())
