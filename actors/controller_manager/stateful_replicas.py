"""A StatefulSet's pods by ordinal: what one look decides. Pure.

https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from kubeloop.actors.api.core_v1 import Pod
from kubeloop.actors.controller_manager import pod_facts

REVISION_LABEL = "controller-revision-hash"


class StatefulPlan(msgspec.Struct, frozen=True):
    """Ordinals to make (with the revision each gets), and pods to delete; in order."""

    create: Sequence[tuple[int, str]] = ()
    delete: Sequence[Pod] = ()


class StatefulNeeds(msgspec.Struct, frozen=True):
    """What the set asks for."""

    start: int
    replicas: int
    parallel: bool
    rolling: bool
    partition: int
    max_unavailable: int
    current: str  # revision hashes
    update: str
    min_ready_seconds: int = 0


def plan_stateful(needs: StatefulNeeds, pods: Mapping[int, Pod], now: float) -> StatefulPlan:
    """`pods` by ordinal, terminating ones too: an ordinal is free only when its pod is gone.

    Ordered sets do one thing at a time: the next pod is made when all before it run, ready; scaled down from the top.
    """
    create: list[tuple[int, str]] = []
    delete: list[Pod] = []
    wanted = range(needs.start, needs.start + needs.replicas)
    for ordinal in wanted:
        pod = pods.get(ordinal)
        if pod is None:
            create.append((ordinal, revision_for(needs, ordinal)))
        elif pod_facts.is_terminated(pod) and not pod_facts.is_terminating(pod):
            delete.append(pod)
        elif needs.parallel or _up(pod, needs, now):
            continue
        if not needs.parallel:
            return StatefulPlan(create, delete)
    condemned = [pods[ordinal] for ordinal in sorted(pods, reverse=True) if ordinal not in wanted]
    for pod in condemned:
        if not pod_facts.is_terminating(pod):
            delete.append(pod)
        if not needs.parallel:
            return StatefulPlan(create, delete)
    if create or delete or not needs.rolling:
        return StatefulPlan(create, delete)
    return StatefulPlan((), _outdated(needs, pods, now))


def revision_for(needs: StatefulNeeds, ordinal: int) -> str:
    """Below the partition pods keep the current revision."""
    if needs.rolling and ordinal < needs.start + needs.partition:
        return needs.current
    return needs.update if needs.rolling else needs.current


def _outdated(needs: StatefulNeeds, pods: Mapping[int, Pod], now: float) -> Sequence[Pod]:
    """From the top down, the pods of another revision, as long as no more than maxUnavailable are away."""
    wanted = range(needs.start + needs.replicas - 1, needs.start - 1, -1)
    away = sum(1 for ordinal in wanted if not _up(pods.get(ordinal), needs, now))
    delete: list[Pod] = []
    for ordinal in wanted:
        if ordinal < needs.start + needs.partition:
            break
        pod = pods.get(ordinal)
        if pod is None or pod_facts.is_terminating(pod):
            continue
        if revision_of(pod) != needs.update:
            up = _up(pod, needs, now)
            if up and away >= needs.max_unavailable:
                break
            delete.append(pod)
            away += 1 if up else 0
        elif not _up(pod, needs, now) and away >= needs.max_unavailable:
            break
    return delete


def revision_of(pod: Pod) -> str:
    return pod.metadata.labels.get(REVISION_LABEL, "")


def _up(pod: Pod | None, needs: StatefulNeeds, now: float) -> bool:
    return (
        pod is not None
        and not pod_facts.is_terminating(pod)
        and pod_facts.is_available(pod, needs.min_ready_seconds, now)
    )


def ordinal_of(set_name: str, pod_name: str) -> int | None:
    """The number at the end of the pod's name; None for a pod that is not named after the set."""
    head, _, tail = pod_name.rpartition("-")
    return int(tail) if head == set_name and tail.isdigit() else None
