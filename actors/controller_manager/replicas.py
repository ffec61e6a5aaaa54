"""How many pods, and which ones go first: the decisions that ReplicaSet and ReplicationController share.

https://kubernetes.io/docs/concepts/workloads/controllers/replicaset/
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from kubeloop.actors.api.core_v1 import Pod
from kubeloop.actors.controller_manager import pod_facts
from kubeloop.runtime.clock import parse_rfc3339

BURST_PODS_MAX = 500  # made or deleted in one pass
DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"


class ReplicaPlan(msgspec.Struct, frozen=True):
    """How many pods to make, and which ones to delete; never both."""

    create: int = 0
    delete: Sequence[Pod] = ()


class ReplicaCounts(msgspec.Struct, frozen=True):
    """The numbers of the status; `next_available_at` is when the next ready pod becomes available (unix seconds)."""

    replicas: int = 0
    fully_labeled: int = 0
    ready: int = 0
    available: int = 0
    terminating: int = 0
    next_available_at: float | None = None


def plan_replicas(
    active: Sequence[Pod], wanted: int, related_pods_on_node: Callable[[str], int] = lambda node: 0, now: float = 0.0
) -> ReplicaPlan:
    """What brings `active` (the owned pods that count) to `wanted`, at most `BURST_PODS_MAX` at a time.

    `related_pods_on_node` tells how many pods of the same application a node has: the crowded node gives first.
    """
    missing = wanted - len(active)
    if missing > 0:
        return ReplicaPlan(create=min(missing, BURST_PODS_MAX))
    if missing == 0:
        return ReplicaPlan()
    surplus = min(-missing, BURST_PODS_MAX)
    if wanted == 0:
        return ReplicaPlan(delete=tuple(active[:surplus]))
    rank = {node: related_pods_on_node(node) for node in {pod_facts.node_name(pod): None for pod in active}}
    ordered = sorted(active, key=lambda pod: deletion_rank(pod, rank[pod_facts.node_name(pod)], now))
    return ReplicaPlan(delete=tuple(ordered[:surplus]))


def deletion_rank(pod: Pod, related_on_node: int, now: float) -> tuple[Any, ...]:
    """Sorts pods by how little is lost with them, the first to go first.

    Unscheduled, pending, unready, of low deletion cost, on a crowded node, shortly ready, often restarted, young. Ages
    count by their order of magnitude, so that pods of about one age are chosen evenly (by uid).
    """
    metadata = pod.metadata
    ready = pod_facts.is_ready(pod)
    since = pod_facts.ready_since(pod) if ready else None
    return (
        bool(pod_facts.node_name(pod)),
        {"Pending": 0, "Unknown": 1, "Running": 2}.get(pod_facts.phase(pod), 0),
        ready,
        deletion_cost(metadata.annotations),
        -related_on_node,
        _magnitude(now - since) if since else 0,
        -pod_facts.restarts(pod),
        _magnitude(now - parse_rfc3339(metadata.creation_timestamp)) if metadata.creation_timestamp else -1,
        metadata.uid or "",
    )


def deletion_cost(annotations: Mapping[str, str]) -> int:
    """The cost a pod is annotated with; 0 without one or with one that is no 32-bit number."""
    text = annotations.get(DELETION_COST)
    if text is None:
        return 0
    try:
        cost = int(text)
    except ValueError:
        return 0
    return cost if -(2**31) <= cost < 2**31 and (text == "0" or not text.lstrip("-").startswith("0")) else 0


def _magnitude(seconds: float) -> int:
    return int(max(0.0, seconds)).bit_length()


def count_replicas(
    pods: Sequence[Pod], template_labels: Mapping[str, str], min_ready_seconds: int, now: float
) -> ReplicaCounts:
    """The status' numbers of all owned pods."""
    replicas = labeled = ready = available = terminating = 0
    next_at: float | None = None
    for pod in pods:
        if pod_facts.is_terminated(pod):
            continue
        if pod_facts.is_terminating(pod):
            terminating += 1
            continue
        replicas += 1
        labels = pod.metadata.labels
        if template_labels is labels or template_labels.items() <= labels.items():
            labeled += 1
        if not pod_facts.is_ready(pod):
            continue
        ready += 1
        at = pod_facts.available_at(pod, min_ready_seconds)
        if at is not None and at <= now:
            available += 1
        elif at is not None and (next_at is None or at < next_at):
            next_at = at
    return ReplicaCounts(replicas, labeled, ready, available, terminating, next_at)


def slow_start(count: int, initial: int = 1) -> list[int]:
    """Batch sizes 1, 2, 4, ... that sum up to `count`: a pod that cannot be made costs one failure, not hundreds."""
    batches, size = [], initial
    while count > 0:
        size = min(size, count)
        batches.append(size)
        count -= size
        size *= 2
    return batches
