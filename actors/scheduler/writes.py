"""What the scheduler writes to the API server, besides bindings: conditions, nominations, evictions, events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kubeloop.actors.api.core_v1 import Node, Pod, PodCondition
    from kubeloop.actors.client.client import Client
    from kubeloop.actors.client.events import EventRecorder
    from kubeloop.actors.scheduler.core import Evict, Refuse
    from kubeloop.runtime.clock import Clock


def node_matters(old: Node, new: Node) -> bool:
    """Whether an update of a node can change where pods go; heartbeats don't."""
    if old.spec != new.spec or _labels(old) != _labels(new):
        return True
    before, after = old.status, new.status
    if before is None or after is None:
        return before is not after
    return before.allocatable != after.allocatable or before.images != after.images


def _labels(node: Node) -> Any:
    return node.metadata.labels if node.metadata is not None else None


def scheduled_condition(pod: Pod) -> PodCondition | None:
    """The pod's PodScheduled condition, if it has one."""
    for condition in pod.status.conditions if pod.status is not None else ():
        if condition.type == "PodScheduled":
            return condition
    return None


def refusal_patch(pod: Pod, reason: str, message: str, nominated: str | None, now: str) -> dict[str, Any] | None:
    """A strategic merge patch of the status; None: the pod says so already."""
    status: dict[str, Any] = {}
    before = scheduled_condition(pod)
    if before is None or (before.status, before.reason, before.message) != ("False", reason, message):
        changed = before is None or before.status != "False"
        condition: dict[str, Any] = {
            "type": "PodScheduled",
            "status": "False",
            "reason": reason,
            "message": message,
            "lastTransitionTime": now if before is None or changed else before.last_transition_time,
        }
        if pod.metadata is not None and pod.metadata.generation:
            condition["observedGeneration"] = pod.metadata.generation
        status["conditions"] = [condition]
    current = (pod.status.nominated_node_name if pod.status is not None else None) or ""
    if nominated is not None and nominated != current:
        status["nominatedNodeName"] = nominated or None
    return {"status": status} if status else None


async def refuse(client: Client, events: EventRecorder, action: Refuse, clock: Clock) -> None:
    """Says in the pod's status and in an event why it waits."""
    pod = action.pod
    if action.event:
        events.event(pod, "Warning", "FailedScheduling", action.message)
    patch = refusal_patch(pod, action.reason, action.message, action.nominated, clock.now_rfc3339())
    if patch is not None:
        await _patch_status(client, pod, patch)


async def _patch_status(client: Client, pod: Pod, patch: dict[str, Any]) -> None:
    if pod.metadata is not None:
        await client.patch("pods", pod.metadata.name or "", patch, pod.metadata.namespace, subresource="status")


async def evict(client: Client, events: EventRecorder, action: Evict, clock: Clock) -> None:
    """Marks a victim of preemption as disrupted and deletes it."""
    victim, preemptor = action.victim, action.preemptor
    if victim.metadata is None or preemptor.metadata is None or preemptor.spec is None:
        return
    name = preemptor.spec.scheduler_name or "default-scheduler"
    condition = {
        "type": "DisruptionTarget",
        "status": "True",
        "reason": "PreemptionByScheduler",
        "message": f"{name}: preempting to accommodate a higher priority pod",
        "lastTransitionTime": clock.now_rfc3339(),
    }
    await _patch_status(client, victim, {"status": {"conditions": [condition]}})
    await client.delete("pods", victim.metadata.name or "", victim.metadata.namespace)
    events.event(victim, "Normal", "Preempted", f"Preempted by pod {preemptor.metadata.uid} on node {action.node_name}")
