"""Taints, tolerations and silence, decided on data."""

from __future__ import annotations

import msgspec

from kubeloop.actors.api.core_v1 import Node, NodeCondition, NodeSpec, NodeStatus, Taint, Toleration
from kubeloop.actors.api.meta_v1 import ObjectMeta
from kubeloop.actors.controller_manager.node_health import desired_taints, eviction_time, silent_conditions
from kubeloop.runtime.clock import format_rfc3339
from tests.controller_manager.factories import NOW, pod


def node(ready: str = "True", *, taints: tuple[Taint, ...] = (), unschedulable: bool | None = None) -> Node:
    return Node(
        metadata=ObjectMeta(name="n1"),
        spec=NodeSpec(taints=taints, unschedulable=unschedulable),
        status=NodeStatus(
            conditions=(NodeCondition(type="Ready", status=ready, last_heartbeat_time=format_rfc3339(NOW)),)
        ),
    )


def keys(each: Node) -> list[tuple[str | None, str | None]]:
    return [(taint.key, taint.effect) for taint in desired_taints(each, NOW)]


def test_a_node_that_is_not_ready_or_silent_is_tainted() -> None:
    assert keys(node("True")) == []
    assert keys(node("False")) == [
        ("node.kubernetes.io/not-ready", "NoSchedule"),
        ("node.kubernetes.io/not-ready", "NoExecute"),
    ]
    assert keys(node("Unknown")) == [
        ("node.kubernetes.io/unreachable", "NoSchedule"),
        ("node.kubernetes.io/unreachable", "NoExecute"),
    ]
    assert keys(node("True", unschedulable=True)) == [("node.kubernetes.io/unschedulable", "NoSchedule")]


def test_taints_go_when_their_reason_does_and_others_stay() -> None:
    own = Taint(key="team", value="a", effect="NoExecute")
    tainted = node("Unknown", taints=(own,))
    taints = tuple(desired_taints(tainted, NOW))
    assert desired_taints(node("Unknown", taints=taints), NOW + 99) == taints  # settled
    assert desired_taints(node("True", taints=taints), NOW) == (own,)


def test_a_silent_node_says_unknown() -> None:
    conditions = {condition.type: condition for condition in silent_conditions(node(), NOW)}
    assert (conditions["Ready"].status, conditions["Ready"].reason) == ("Unknown", "NodeStatusUnknown")
    assert conditions["MemoryPressure"].reason == "NodeStatusNeverUpdated"
    again = msgspec.structs.replace(node(), status=NodeStatus(conditions=tuple(conditions.values())))
    assert silent_conditions(again, NOW + 50) == tuple(conditions.values())


def test_toleration_seconds_count_from_the_taint() -> None:
    taint = Taint(key="k", effect="NoExecute", time_added=format_rfc3339(NOW - 10))

    def leaves(*tolerations: Toleration) -> float | None:
        return eviction_time(pod(spec={"tolerations": tolerations}), [taint], NOW)

    assert leaves() == NOW
    assert leaves(Toleration(key="k", operator="Exists", effect="NoExecute", toleration_seconds=300)) == NOW + 290
    assert leaves(Toleration(operator="Exists")) is None
    assert leaves(Toleration(key="k", operator="Exists", effect="NoSchedule")) == NOW
    assert leaves(Toleration(key="k", operator="Equal", value="other")) == NOW
