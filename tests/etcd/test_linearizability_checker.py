"""The checker itself: it accepts what a register can do, and nothing else."""

import random

import pytest

from tests.etcd.linearizability import Kind, Operation, check, check_revisions, explain


def op(
    kind: Kind,
    called: int,
    returned: int | None,
    value: str | None = None,
    result: str | bool | None = None,
    expected: str | None = None,
    revision: int = 0,
) -> Operation:
    return Operation(0, kind, "k", called, value, expected, returned, result, revision)


VALID = {
    "nothing": [],
    "one after the other": [op("write", 1, 2, "a"), op("read", 3, 4, result="a"), op("delete", 5, 6, result=True)],
    "a read beside a write sees the new": [op("write", 1, 4, "a"), op("read", 2, 3, result="a")],
    "a read beside a write sees the old": [op("write", 1, 4, "a"), op("read", 2, 3, result=None)],
    "two writes at once, read as the first": [
        op("write", 1, 4, "a"),
        op("write", 2, 3, "b"),
        op("read", 5, 6, result="a"),
    ],
    "a write without an answer, which happened late": [
        op("write", 1, None, "a"),
        op("read", 2, 3, result=None),
        op("read", 4, 5, result="a"),
    ],
    "a write without an answer, which never happened": [op("write", 1, None, "a"), op("read", 9, 10, result=None)],
    "one of two wins": [
        op("cas", 1, 4, "a", True),
        op("cas", 2, 3, "b", False),
        op("read", 5, 6, result="a"),
    ],
    "the deletion of nothing": [op("delete", 1, 2, result=False), op("cas", 3, 4, "a", False, expected="b")],
    "writes overlap in a chain": [
        op("write", 1, 10, "a"),
        op("write", 2, 5, "b"),
        op("read", 3, 6, result="b"),
        op("read", 7, 8, result="a"),
        op("read", 9, 11, result="a"),
    ],
}
INVALID = {
    "a stale read": [op("write", 1, 2, "a"), op("write", 3, 4, "b"), op("read", 5, 6, result="a")],
    "a lost update": [op("write", 1, 2, "a"), op("read", 3, 4, result=None)],
    "two who both win": [
        op("write", 1, 2, "a"),
        op("cas", 3, 6, "b", True, expected="a"),
        op("cas", 4, 5, "c", True, expected="a"),
    ],
    "two reads that disagree about the order": [
        op("write", 1, 8, "a"),
        op("write", 2, 7, "b"),
        op("read", 3, 4, result="a"),
        op("read", 5, 6, result="b"),
        op("read", 9, 10, result="a"),
    ],
    "new, then old": [op("write", 1, 8, "a"), op("read", 2, 3, result="a"), op("read", 4, 5, result=None)],
    "a value from nowhere": [op("read", 1, 2, result="a")],
    "read before it was written": [op("read", 1, 2, result="a"), op("write", 3, None, "a")],
    "a write without an answer that happens twice": [
        op("write", 1, None, "a"),
        op("read", 2, 3, result="a"),
        op("write", 4, 5, "b"),
        op("read", 6, 7, result="a"),
    ],
    "a deletion that did nothing": [op("write", 1, 2, "a"), op("delete", 3, 4, result=False)],
    "a deletion that stays without effect": [
        op("write", 1, 2, "a"),
        op("delete", 3, 4, result=True),
        op("read", 5, 6, result="a"),
    ],
    "a cas that failed for no reason": [op("write", 1, 2, "a"), op("cas", 3, 4, "b", False, expected="a")],
}


@pytest.mark.parametrize("name", VALID)
def test_what_a_register_can_do_is_accepted(name: str) -> None:
    assert not explain(VALID[name])
    check(VALID[name])


@pytest.mark.parametrize("name", INVALID)
def test_what_no_register_does_is_found(name: str) -> None:
    assert "no place" in explain(INVALID[name])
    with pytest.raises(AssertionError, match="k is not linearizable"):
        check(INVALID[name])


def test_each_key_is_a_register_of_its_own() -> None:
    one = [op("write", 1, 2, "a"), op("read", 5, 6, result="a")]
    other = [Operation(1, "write", "other", 3, "b", returned=4)]
    check(one + other)


REVISIONS_VALID = [
    op("write", 1, 4, "a", revision=3),
    op("write", 2, 3, "b", revision=2),
    op("read", 5, 6, result="a", revision=3),
    op("delete", 7, 8, result=False, revision=3),
    op("write", 9, None, "c"),
    op("read", 10, 11, result="c", revision=4),
]
REVISIONS_INVALID = {
    "an earlier revision later": [op("read", 1, 2, revision=5), op("read", 3, 4, revision=4)],
    "a write at a revision that was seen": [op("read", 1, 2, revision=5), op("write", 3, 4, "a", revision=5)],
    "two writes at one": [op("write", 1, 4, "a", revision=2), op("write", 2, 3, "b", revision=2)],
    "the wrong value": [
        op("write", 1, 2, "a", revision=2),
        op("write", 3, 4, "b", revision=3),
        op("read", 5, 6, result="a", revision=3),
    ],
}


def test_revisions_in_order_are_accepted() -> None:
    check_revisions(REVISIONS_VALID)


@pytest.mark.parametrize("name", REVISIONS_INVALID)
def test_revisions_in_disorder_are_found(name: str) -> None:
    with pytest.raises(AssertionError):
        check_revisions(REVISIONS_INVALID[name])


def random_history(chance: random.Random, clients: int, events: int, lost: float) -> list[Operation]:
    """What clients of a real register see: each operation takes effect somewhere between its call and its return."""
    history: list[Operation] = []
    state: str | None = None
    waiting: dict[int, tuple[Operation, bool]] = {}
    for now in range(events):
        client = chance.randrange(clients)
        if client not in waiting:
            kind: Kind = chance.choice(["read", "write", "cas", "delete"])
            expected = chance.choice([state, "none"])
            waiting[client] = (
                Operation(client, kind, "k", now, f"v{now}" if kind != "delete" else None, expected),
                False,
            )
            continue
        operation, happened = waiting[client]
        if not happened:
            before = state
            match operation.kind:
                case "read":
                    operation.result = state
                case "write":
                    state = operation.value
                case "cas":
                    operation.result = state == operation.expected
                    state = operation.value if operation.result else before
                case "delete":
                    operation.result, state = state is not None, None
            waiting[client] = operation, True
            continue
        del waiting[client]
        if chance.random() >= lost:
            operation.returned = now
        history.append(operation)
    return history + [operation for operation, _ in waiting.values()]


@pytest.mark.parametrize("seed", range(20))
def test_what_clients_of_a_register_see_is_accepted(seed: int) -> None:
    check(random_history(random.Random(seed), clients=6, events=600, lost=0.1))


@pytest.mark.parametrize("seed", range(20))
def test_one_changed_answer_among_many_is_found(seed: int) -> None:
    """Without lost answers: with each of those the search for a proof doubles."""
    chance = random.Random(seed)
    history = random_history(chance, clients=6, events=600, lost=0.0)
    chance.choice([one for one in history if one.kind == "read" and one.returned is not None]).result = "never written"
    with pytest.raises(AssertionError):
        check(history)
