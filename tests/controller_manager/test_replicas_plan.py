"""How many pods to make, and which to delete."""

from __future__ import annotations

from kubeloop.actors.controller_manager.expectations import TIMEOUT_SECONDS, Expectations
from kubeloop.actors.controller_manager.replicas import (
    BURST_PODS_MAX,
    DELETION_COST,
    count_replicas,
    plan_replicas,
    slow_start,
)
from tests.controller_manager.factories import LABELS, NOW, pod


def first_to_go(*pods: object) -> str:
    plan = plan_replicas(list(pods), len(pods) - 1, now=NOW)  # type: ignore[arg-type]
    metadata = plan.delete[0].metadata
    assert metadata.name is not None
    return metadata.name


def test_missing_pods_are_made_up_to_a_burst() -> None:
    assert plan_replicas([pod("a")], 3).create == 2
    assert plan_replicas([], 10_000).create == BURST_PODS_MAX


def test_nothing_is_planned_for_the_right_number() -> None:
    plan = plan_replicas([pod("a"), pod("b")], 2)
    assert (plan.create, plan.delete) == (0, ())


def test_deletion_takes_what_is_missed_least() -> None:
    good = pod("good", node="n1")
    assert first_to_go(good, pod("unassigned", phase="Pending", ready=False)) == "unassigned"
    assert first_to_go(good, pod("pending", node="n1", phase="Pending", ready=False)) == "pending"
    assert first_to_go(good, pod("unready", node="n1", ready=False)) == "unready"
    assert first_to_go(good, pod("cheap", node="n1", annotations={DELETION_COST: "-5"})) == "cheap"
    assert first_to_go(good, pod("fresh", node="n1", ready_for=3)) == "fresh"
    assert first_to_go(good, pod("young", node="n1", age=101)) == "young"


def test_a_crowded_node_gives_first() -> None:
    pods = [pod("alone", node="n1"), pod("x", node="n2"), pod("y", node="n2")]
    plan = plan_replicas(pods, 2, lambda node: {"n1": 1, "n2": 2}[node], NOW)
    assert plan.delete[0].metadata.name in ("x", "y")


def test_an_unreadable_deletion_cost_counts_as_none() -> None:
    pods = [
        pod("a", node="n1", annotations={DELETION_COST: "+cheap"}),
        pod("b", node="n1", annotations={DELETION_COST: "-1"}),
    ]
    assert first_to_go(*pods) == "b"


def test_availability_waits_for_min_ready_seconds() -> None:
    pods = [pod("a", ready_for=100), pod("b", ready_for=3), pod("c", ready=False), pod("d", deleting=True)]
    counts = count_replicas(pods, LABELS, 10, NOW)
    assert (counts.replicas, counts.ready, counts.available, counts.terminating) == (3, 2, 1, 1)
    assert counts.next_available_at == NOW + 7


def test_batches_grow_and_sum_up() -> None:
    assert slow_start(10) == [1, 2, 4, 3]
    assert slow_start(0) == []


def test_expectations_hold_until_seen_or_timed_out() -> None:
    expectations = Expectations()
    expectations.expect_created("k", "u1", 0.0)
    assert not expectations.satisfied("k", 1.0)
    assert expectations.satisfied("k", TIMEOUT_SECONDS + 1)
    expectations.observe_created("k", "u1")
    assert expectations.satisfied("k", 1.0)
    expectations.expect_deleted("k", "u2", 0.0)
    assert not expectations.satisfied("k", 1.0)
    expectations.observe_deleted("k", "u2")
    assert expectations.satisfied("k", 1.0) and len(expectations) == 0
