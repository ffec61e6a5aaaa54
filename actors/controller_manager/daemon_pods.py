"""Which nodes a DaemonSet's pods belong on, and which pods change now. Pure decisions.

https://kubernetes.io/docs/concepts/workloads/controllers/daemonset/
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from kubeloop.actors.api.core_v1 import (
    Affinity,
    Node,
    NodeAffinity,
    NodeSelector,
    NodeSelectorRequirement,
    NodeSelectorTerm,
    Pod,
    PodSpec,
    Toleration,
)
from kubeloop.actors.controller_manager import node_health, pod_facts

# Taints that daemons stay through: they are what makes a node work again.
TOLERATED: Sequence[tuple[str, str]] = (
    (node_health.NOT_READY, "NoExecute"),
    (node_health.UNREACHABLE, "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    (node_health.UNSCHEDULABLE, "NoSchedule"),
)
HASH_LABEL = "controller-revision-hash"


class DaemonPlan(msgspec.Struct, frozen=True):
    """Nodes that get a pod, and pods that go."""

    create: Sequence[str] = ()
    delete: Sequence[Pod] = ()


class DaemonNeeds(msgspec.Struct, frozen=True):
    """What the set asks for; counts in pods, resolved against the nodes it belongs on."""

    revision: str
    rolling: bool
    max_unavailable: int
    max_surge: int
    min_ready_seconds: int = 0


def with_tolerations(spec: PodSpec) -> PodSpec:
    """The spec with the tolerations that every daemon has."""
    keys = list(TOLERATED)
    if spec.host_network:
        keys.append(("node.kubernetes.io/network-unavailable", "NoSchedule"))
    more = tuple(Toleration(key=key, operator="Exists", effect=effect) for key, effect in keys)
    return msgspec.structs.replace(
        spec, tolerations=(*spec.tolerations, *(each for each in more if each not in spec.tolerations))
    )


def pinned(spec: PodSpec, node_name: str) -> PodSpec:
    """The spec as it may run on that one node only: required node affinity by the node's name."""
    field = NodeSelectorRequirement(key="metadata.name", operator="In", values=(node_name,))
    affinity = spec.affinity or Affinity()
    node_affinity = affinity.node_affinity or NodeAffinity()
    required = node_affinity.required_during_scheduling_ignored_during_execution
    terms = (
        required.node_selector_terms if required is not None and required.node_selector_terms else (NodeSelectorTerm(),)
    )
    selector = NodeSelector(
        node_selector_terms=tuple(msgspec.structs.replace(term, match_fields=(field,)) for term in terms)
    )
    node_affinity = msgspec.structs.replace(node_affinity, required_during_scheduling_ignored_during_execution=selector)
    affinity = msgspec.structs.replace(affinity, node_affinity=node_affinity)
    return msgspec.structs.replace(with_tolerations(spec), affinity=affinity)


def belongs(spec: PodSpec, node: Node) -> tuple[bool, bool]:
    """(should a pod run there, may one that is there stay); `spec` already has the daemon tolerations."""
    if spec.node_name and spec.node_name != node.metadata.name:
        return False, False
    labels = node.metadata.labels
    if any(labels.get(key) != value for key, value in spec.node_selector.items()) or not _affinity_fits(spec, node):
        return False, False
    run = stay = True
    for taint in node.spec.taints:
        if any(node_health.tolerates(toleration, taint) for toleration in spec.tolerations):
            continue
        if taint.effect == "NoExecute":
            return False, False
        if taint.effect == "NoSchedule":
            run = False
    return run, stay


def _affinity_fits(spec: PodSpec, node: Node) -> bool:
    affinity = spec.affinity.node_affinity if spec.affinity is not None else None
    required = affinity.required_during_scheduling_ignored_during_execution if affinity is not None else None
    if required is None:
        return True
    labels, fields = node.metadata.labels, {"metadata.name": node.metadata.name or ""}
    return any(
        (term.match_expressions or term.match_fields)
        and all(requirement_fits(each, labels) for each in term.match_expressions)
        and all(requirement_fits(each, fields) for each in term.match_fields)
        for term in required.node_selector_terms
    )


def requirement_fits(requirement: NodeSelectorRequirement, values: Mapping[str, str]) -> bool:
    """https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/#operators"""
    value = values.get(requirement.key or "")
    match requirement.operator:
        case "In":
            return value is not None and value in requirement.values
        case "NotIn":
            return value is None or value not in requirement.values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt" | "Lt":
            try:
                left, right = int(value or ""), int(requirement.values[0])
            except (ValueError, IndexError):
                return False
            return left > right if requirement.operator == "Gt" else left < right
    return False


def plan_daemon_pods(
    needs: DaemonNeeds, spec: PodSpec, nodes: Sequence[Node], pods: Mapping[str, Sequence[Pod]], now: float
) -> DaemonPlan:
    """`pods` by node name (bound or meant for it), terminating ones too."""
    create: list[str] = []
    delete: list[Pod] = []
    names: dict[str, None] = {}
    for node in nodes:
        assert node.metadata.name is not None
        name = node.metadata.name
        names[name] = None
        run, stay = belongs(spec, node)
        mine = pods.get(name, ())
        active = [pod for pod in mine if pod_facts.is_active(pod)]
        failed = [pod for pod in mine if pod_facts.is_terminated(pod) and not pod_facts.is_terminating(pod)]
        if not stay:
            delete.extend((*active, *failed))
            continue
        delete.extend(failed)
        if not active and run and not any(pod_facts.is_terminating(pod) for pod in mine) and not failed:
            create.append(name)
        if len(active) > 1 and not needs.max_surge:
            delete.extend(sorted(active, key=_age)[1:])
    if not create and not delete and needs.rolling:
        return _roll(needs, list(names), pods, now)
    return DaemonPlan(create, delete)


def _roll(needs: DaemonNeeds, names: Sequence[str], pods: Mapping[str, Sequence[Pod]], now: float) -> DaemonPlan:
    """Old pods make room for new ones: deleted first, or (with surge) after the new one is available."""
    create: list[str] = []
    delete: list[Pod] = []
    away, surging = 0, 0
    candidates: list[Pod] = []
    for name in names:
        active = [pod for pod in pods.get(name, ()) if pod_facts.is_active(pod)]
        if not active:
            away += 1 if pods.get(name) else 0
            continue
        new = [pod for pod in active if _revision(pod) == needs.revision]
        old = [pod for pod in active if _revision(pod) != needs.revision]
        if needs.max_surge:
            if old and any(_up(pod, needs, now) for pod in new):
                delete.extend(old)
            elif old and new:
                surging += 1
            elif old and surging < needs.max_surge:
                create.append(name)
                surging += 1
            continue
        if not any(_up(pod, needs, now) for pod in active):
            away += 1
            delete.extend(old)  # serves nobody: no loss
        else:
            candidates.extend(old)
    if not needs.max_surge:
        delete.extend(candidates[: max(0, needs.max_unavailable - away)])
    return DaemonPlan(create, delete)


def _up(pod: Pod, needs: DaemonNeeds, now: float) -> bool:
    return pod_facts.is_available(pod, needs.min_ready_seconds, now)


def _revision(pod: Pod) -> str:
    return pod.metadata.labels.get(HASH_LABEL, "")


def _age(pod: Pod) -> tuple[bool, str, str]:
    return not pod_facts.node_name(pod), pod.metadata.creation_timestamp or "", pod.metadata.name or ""


def target_node(pod: Pod) -> str:
    """The node a daemon pod is bound to or pinned to."""
    name = pod_facts.node_name(pod)
    affinity = pod.spec.affinity
    node_affinity = affinity.node_affinity if affinity is not None else None
    required = node_affinity.required_during_scheduling_ignored_during_execution if node_affinity is not None else None
    if name or required is None:
        return name
    for term in required.node_selector_terms:
        for field in term.match_fields:
            if field.key == "metadata.name" and field.values:
                return field.values[0]
    return ""
