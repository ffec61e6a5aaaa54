"""Whether what clients saw could have come from one register a key, that does one thing at a time.

A history is what clients did: each `Operation` was called at one point of a common order of events and returned at a
later one. What nobody answered may have happened at any point after its call, or never. `explain` is the search of
Wing and Gong as Lowe improved it (an operation that was tried in a state is not tried in it again), for one key at a
time, which is enough: a history is linearizable when its part of each key is (Herlihy and Wing, locality).

`check_revisions` holds the same history against the revisions that etcd answered with, which is quick, and sees all
keys together.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from msgspec import Struct

Kind = Literal["read", "write", "cas", "delete"]


class Operation(Struct):
    """`value` is what is written, `expected` what a cas wants to find (None: no key). `returned` None: no answer came.

    `result`: of a read the value found, of a cas and a delete whether it did something. `revision` is the one that
    the answer names; 0 is unknown.
    """

    client: int
    kind: Kind
    key: str
    called: int
    value: str | None = None
    expected: str | None = None
    returned: int | None = None
    result: str | bool | None = None
    revision: int = 0


def step(state: str | None, operation: Operation) -> tuple[bool, str | None]:
    """Whether a register that holds `state` (None: nothing) could answer so, and what it holds then."""
    answered = operation.returned is not None
    match operation.kind:
        case "read":
            return not answered or operation.result == state, state
        case "write":
            return True, operation.value
        case "cas":
            done = state == operation.expected
            return not answered or operation.result is done, operation.value if done else state
        case "delete":
            return not answered or operation.result is (state is not None), None


@dataclass(eq=False)
class Entry:
    """A call or a return, in a list that operations are taken out of and put back into."""

    operation: Operation
    number: int
    is_call: bool
    match: "Entry | None" = None
    before: "Entry | None" = None
    after: "Entry | None" = None


@dataclass
class Search:
    """The entries in order, behind a head that stands for nothing."""

    head: Entry
    returns: int
    longest: list[Operation] = field(default_factory=list)

    @classmethod
    def of(cls, history: Sequence[Operation]) -> "Search":
        events: list[tuple[int, Entry]] = []
        returns = 0
        for number, operation in enumerate(history):
            call = Entry(operation, number, True)
            events.append((operation.called, call))
            if operation.returned is not None:
                call.match = Entry(operation, number, False)
                events.append((operation.returned, call.match))
                returns += 1
        head = last = Entry(Operation(0, "read", "", 0), -1, True)
        for _, entry in sorted(events, key=lambda event: event[0]):
            last.after, entry.before, last = entry, last, entry
        return cls(head, returns)

    def lift(self, call: Entry) -> None:
        for entry in (call, call.match):
            if entry is not None and entry.before is not None:
                entry.before.after = entry.after
                if entry.after is not None:
                    entry.after.before = entry.before
        self.returns -= call.match is not None

    def unlift(self, call: Entry) -> None:
        for entry in (call.match, call):
            if entry is not None and entry.before is not None:
                entry.before.after = entry
                if entry.after is not None:
                    entry.after.before = entry
        self.returns += call.match is not None

    def run(self) -> bool:
        state: str | None = None
        done = 0
        taken: list[tuple[Entry, str | None]] = []
        tried: set[tuple[int, str | None]] = set()
        entry = self.head.after
        while self.returns:
            if entry is not None and entry.is_call:
                possible, then = step(state, entry.operation)
                if possible and (done | 1 << entry.number, then) not in tried:
                    done |= 1 << entry.number
                    tried.add((done, then))
                    taken.append((entry, state))
                    state = then
                    self.lift(entry)
                    entry = self.head.after
                    if len(taken) > len(self.longest):
                        self.longest = [call.operation for call, _ in taken]
                else:
                    entry = entry.after
            elif taken:  # an operation returns that could not be put anywhere: take the last one back
                entry, state = taken.pop()
                done &= ~(1 << entry.number)
                self.unlift(entry)
                entry = entry.after
            else:
                return False
        return True


def explain(history: Iterable[Operation]) -> str:
    """Why one key's history is not linearizable; empty when it is."""
    operations = sorted(history, key=lambda operation: operation.called)
    search = Search.of(operations)
    if search.run():
        return ""
    placed = {id(operation) for operation in search.longest}
    missing = [one for one in operations if id(one) not in placed and one.returned is not None]
    return f"after {search.longest[-8:]} there is no place for any of {missing[:4]}"


def check(history: Sequence[Operation]) -> None:
    """Raises AssertionError when a history of any keys is not linearizable."""
    by_key: dict[str, list[Operation]] = {}
    for operation in history:
        by_key.setdefault(operation.key, []).append(operation)
    for key, operations in by_key.items():
        reason = explain(operations)
        assert not reason, f"{key} is not linearizable: {reason}"


def writes(operation: Operation) -> bool:
    """Whether an answered operation has changed something."""
    return operation.kind == "write" or (operation.kind != "read" and operation.result is True)


def check_revisions(history: Sequence[Operation]) -> None:
    """Raises AssertionError when revisions run against the order of events, or say something else than the answers.

    The order of revisions is the order in which things happened: a later call never sees an earlier revision, no two
    writes have the same, and what is read at a revision is what was last written until then. Writes without an answer
    may stand between any two.
    """
    answered = [one for one in history if one.returned is not None and one.revision]
    events = sorted(
        [(one.called, 0, one) for one in answered] + [(one.returned or 0, 1, one) for one in answered],
        key=lambda event: event[:2],
    )
    newest = 0
    floor: dict[int, int] = {}
    for _, returns, one in events:
        if returns:
            least = floor[id(one)] + writes(one)
            assert one.revision >= least, f"{one} has a revision below {least}, which was seen before its call"
            newest = max(newest, one.revision)
        else:
            floor[id(one)] = newest
    revisions = [one.revision for one in answered if writes(one)]
    assert len(set(revisions)) == len(revisions), "two writes have the same revision"
    unknown = {(one.key, one.value) for one in history if one.returned is None and one.kind != "read"}
    _check_values(answered, unknown)


def _check_values(answered: list[Operation], unknown: set[tuple[str, str | None]]) -> None:
    """Reads find what was written last, as revisions have it, or what was written without an answer."""
    last: dict[str, str | None] = {}
    for one in sorted(answered, key=lambda one: (one.revision, not writes(one))):
        if writes(one):
            last[one.key] = one.value
        elif one.kind == "read" and one.result != last.get(one.key):
            assert (one.key, one.result) in unknown, f"{one} should have found {last.get(one.key)}"
