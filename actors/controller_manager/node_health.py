"""What a node's silence and its conditions mean: conditions, taints, and how long pods may stay. Pure decisions.

https://kubernetes.io/docs/concepts/architecture/nodes/#heartbeats
https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from kubeloop.actors.api.core_v1 import Node, NodeCondition, Pod, Taint, Toleration
from kubeloop.actors.controller_manager.pod_facts import condition_of
from kubeloop.runtime.clock import format_rfc3339, parse_rfc3339

UNREACHABLE = "node.kubernetes.io/unreachable"
NOT_READY = "node.kubernetes.io/not-ready"
UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
# condition type -> status -> taint key
CONDITION_TAINTS: dict[str, dict[str, str]] = {
    "Ready": {"False": NOT_READY, "Unknown": UNREACHABLE},
    "MemoryPressure": {"True": "node.kubernetes.io/memory-pressure"},
    "DiskPressure": {"True": "node.kubernetes.io/disk-pressure"},
    "PIDPressure": {"True": "node.kubernetes.io/pid-pressure"},
    "NetworkUnavailable": {"True": "node.kubernetes.io/network-unavailable"},
}
HEARTBEAT_CONDITIONS = ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")
NO_SCHEDULE_KEYS = tuple(key for keys in CONDITION_TAINTS.values() for key in keys.values()) + (UNSCHEDULABLE,)
NO_EXECUTE_KEYS = (NOT_READY, UNREACHABLE)


def ready_status(node: Node) -> str:
    """ "True", "False" or "Unknown"; a node that never said is Unknown."""
    condition = condition_of(node.status.conditions, "Ready")
    return (condition.status if condition is not None else None) or "Unknown"


def silent_conditions(node: Node, now: float) -> Sequence[NodeCondition]:
    """The node's conditions once its heartbeats have stopped: what only the kubelet knows is Unknown."""
    old = list(node.status.conditions)
    text = format_rfc3339(now)
    created = node.metadata.creation_timestamp
    conditions = []
    for condition in old:
        if condition.type in HEARTBEAT_CONDITIONS and condition.status != "Unknown":
            condition = msgspec.structs.replace(
                condition,
                status="Unknown",
                reason="NodeStatusUnknown",
                message="Kubelet stopped posting node status.",
                last_transition_time=text,
            )
        conditions.append(condition)
    for type_ in HEARTBEAT_CONDITIONS:
        if condition_of(old, type_) is None:
            conditions.append(
                NodeCondition(
                    type=type_,
                    status="Unknown",
                    reason="NodeStatusNeverUpdated",
                    message="Kubelet never posted node status.",
                    last_heartbeat_time=created,
                    last_transition_time=text,
                )
            )
    return tuple(conditions)


def desired_taints(node: Node, now: float) -> Sequence[Taint]:
    """The node's taints as its conditions and spec.unschedulable want them; taints of other keys stay as they are."""
    old = list(node.spec.taints)
    wanted: dict[tuple[str, str], None] = {}
    conditions = node.status.conditions
    for condition in conditions:
        key = CONDITION_TAINTS.get(condition.type or "", {}).get(condition.status or "")
        if key is not None:
            wanted[(key, "NoSchedule")] = None
            if key in NO_EXECUTE_KEYS:
                wanted[(key, "NoExecute")] = None
    if condition_of(conditions, "Ready") is None and any(taint.key == NOT_READY for taint in old):
        wanted[(NOT_READY, "NoSchedule")] = None  # a new node that has not spoken yet
    if node.spec.unschedulable:
        wanted[(UNSCHEDULABLE, "NoSchedule")] = None
    kept = []
    for taint in old:
        owned = (taint.effect == "NoSchedule" and taint.key in NO_SCHEDULE_KEYS) or (
            taint.effect == "NoExecute" and taint.key in NO_EXECUTE_KEYS
        )
        if not owned or (taint.key or "", taint.effect or "") in wanted:
            kept.append(taint)
            wanted.pop((taint.key or "", taint.effect or ""), None)
    text = format_rfc3339(now)
    return (*kept, *(Taint(key=key, effect=effect, time_added=text) for key, effect in wanted))


def no_execute_taints(node: Node) -> list[Taint]:
    return [taint for taint in node.spec.taints if taint.effect == "NoExecute"]


def tolerates(toleration: Toleration, taint: Taint) -> bool:
    if toleration.effect and toleration.effect != taint.effect:
        return False
    if toleration.key and toleration.key != taint.key:
        return False
    if toleration.operator == "Exists":
        return True
    return bool(toleration.key) and (toleration.value or "") == (taint.value or "")


def eviction_time(pod: Pod, taints: Sequence[Taint], since: float) -> float | None:
    """Unix seconds at which the pod must leave its node, `since` for at once; None when it may stay.

    Each taint must be tolerated; the shortest tolerationSeconds counts, from when its taint was added, or,
    of a taint that does not say when (kubectl's do not), from `since`, when it was first seen.
    """
    tolerations = pod.spec.tolerations
    earliest: float | None = None
    for taint in taints:
        matching = [toleration for toleration in tolerations if tolerates(toleration, taint)]
        if not matching:
            return since
        limits = [toleration.toleration_seconds for toleration in matching if toleration.toleration_seconds is not None]
        if not limits:
            continue
        added = parse_rfc3339(taint.time_added) if taint.time_added else since
        at = added + max(0, min(limits))
        if earliest is None or at < earliest:
            earliest = at
    return earliest
