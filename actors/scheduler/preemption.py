"""DefaultPreemption: which pods of lower priority have to go for a pod that fits nowhere.

Follows https://kubernetes.io/docs/concepts/scheduling-eviction/pod-priority-preemption/. Nothing is deleted here: the
plan names the node and the victims.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from kubeloop.actors.api import selectors
from kubeloop.actors.scheduler.cache import NodeRow
from kubeloop.actors.scheduler.diagnosis import Diagnosis, available, count
from kubeloop.actors.scheduler.framework import Code, Status
from kubeloop.actors.scheduler.needs import PodInfo

if TYPE_CHECKING:
    from kubeloop.actors.api.policy_v1 import PodDisruptionBudget
    from kubeloop.actors.scheduler.engine import Engine
    from kubeloop.actors.scheduler.evaluation import Evaluation

NAME = "DefaultPreemption"
NOT_HELPFUL = Status(Code.UNRESOLVABLE, ("Preemption is not helpful for scheduling",), NAME)
NO_VICTIMS = Status(Code.UNRESOLVABLE, ("No preemption victims found for incoming pod",), NAME)
NO_CLAIMS = "no new claims to deallocate"
"""What kube-scheduler says of dynamic resources when it found none to take back."""
REJECTED_AT_ONCE = "not found"
"""What it says instead when the pod was refused before any node was looked at."""
NEVER = "not eligible due to preemptionPolicy=Never."
VICTIMS_TERMINATING = "not eligible due to terminating pod on the nominated node."
CANDIDATES_MIN = 100
CANDIDATES_SHARE = 10
"""Percentage of the possible nodes that are tried, at least ``CANDIDATES_MIN``."""
PRIORITY_SHIFT = 2**31
NOT_STARTED = "9999-12-31T23:59:59Z"


class Candidate(msgspec.Struct, frozen=True):
    """A node, and the pods to remove from it, most important first."""

    node: NodeRow
    victims: tuple[PodInfo, ...]
    violations: int
    """Victims that a PodDisruptionBudget protects."""


class Plan(msgspec.Struct, frozen=True):
    """What preemption came to: a node and its victims, or a message for the condition."""

    node_name: str | None
    victims: tuple[PodInfo, ...]
    message: str


def start_time(pod: PodInfo) -> str:
    """When the pod started, RFC 3339; a pod that has not is the youngest."""
    status = pod.pod.status
    return (status.start_time if status is not None else None) or NOT_STARTED


def importance(pod: PodInfo) -> tuple[int, str]:
    """Sort key: the most important pod first."""
    return -pod.priority, start_time(pod)


class Budgets:
    """PodDisruptionBudgets, and how many disruptions each still allows during one trial."""

    def __init__(self, budgets: Iterable[PodDisruptionBudget]) -> None:
        self._budgets: list[tuple[str, Any, Mapping[str, str], int]] = []
        for budget in budgets:
            spec, status, metadata = budget.spec, budget.status, budget.metadata
            if spec is None or spec.selector is None or metadata is None:
                continue
            if not (spec.selector.match_labels or spec.selector.match_expressions):
                continue
            selector = selectors.from_label_selector(spec.selector)
            allowed = (status.disruptions_allowed or 0) if status is not None else 0
            disrupted = status.disrupted_pods if status is not None else {}
            self._budgets.append((metadata.namespace or "", selector, disrupted, allowed))

    def split(self, pods: Sequence[PodInfo]) -> tuple[list[PodInfo], list[PodInfo]]:
        """Those whose removal breaks a budget, and the others; ``pods`` are most important first."""
        allowed = [budget[3] for budget in self._budgets]
        breaking: list[PodInfo] = []
        harmless: list[PodInfo] = []
        for pod in pods:
            broken = False
            for index, (namespace, selector, disrupted, _) in enumerate(self._budgets):
                if namespace != pod.namespace or not pod.labels or not selector.matches(pod.labels):
                    continue
                if pod.key.partition("/")[2] in disrupted:
                    continue
                allowed[index] -= 1
                broken = broken or allowed[index] < 0
            (breaking if broken else harmless).append(pod)
        return breaking, harmless


def plan_preemption(
    engine: Engine, pod: PodInfo, diagnosis: Diagnosis, budgets: Iterable[PodDisruptionBudget] = ()
) -> Plan:
    """Looks for a node that ``pod`` would fit once pods of lower priority are gone."""
    if not diagnosis.nodes:
        return Plan(None, (), "")
    if diagnosis.rejection is not None:
        return Plan(None, (), REJECTED_AT_ONCE)
    refusal = _not_eligible(engine, pod, diagnosis)
    if refusal:
        return Plan(None, (), _message(refusal))
    evaluation = engine.evaluation(pod)
    possible = sorted(diagnosis.rows(Code.UNSCHEDULABLE))
    enough = max(len(possible) * CANDIDATES_SHARE // 100, CANDIDATES_MIN)
    offset = engine.choose(len(possible)) if len(possible) > enough else 0
    found: list[Candidate] = []
    failed: list[tuple[Status, int]] = [(NOT_HELPFUL, len(diagnosis.rows(Code.UNRESOLVABLE)))]
    allowed = Budgets(budgets)
    for row in possible[offset:] + possible[:offset]:
        outcome = _try_node(engine, evaluation, pod, engine.cluster.nodes[row], allowed)
        if isinstance(outcome, Status):
            failed.append((outcome, 1))
            continue
        found.append(outcome)
        if len(found) >= enough and any(not candidate.violations for candidate in found):
            break
    if not found:
        reasons = count((status, number) for status, number in failed if number)
        return Plan(None, (), _message(available(diagnosis.nodes, reasons)))
    best = min(found, key=_cost)
    return Plan(best.node.name, best.victims, "")


def _message(text: str) -> str:
    return f"{NO_CLAIMS}, preemption: {text}"


def _not_eligible(engine: Engine, pod: PodInfo, diagnosis: Diagnosis) -> str:
    spec = pod.pod.spec
    if spec is not None and spec.preemption_policy == "Never":
        return NEVER
    name = engine.nominated_node(pod.uid)
    row = engine.cluster.rows.get(name) if name is not None else None
    if row is not None and row not in diagnosis.rows(Code.UNRESOLVABLE):
        others = engine.cluster.nodes[row].pods.values()
        if any(other.terminating and other.priority < pod.priority for other in others):
            return VICTIMS_TERMINATING
    return ""


def _try_node(
    engine: Engine, evaluation: Evaluation, pod: PodInfo, node: NodeRow, budgets: Budgets
) -> Candidate | Status:
    """Removes all lower pods, then takes back as many as possible, the most important first."""
    cluster = engine.cluster
    lower = sorted((other for other in node.pods.values() if other.priority < pod.priority), key=importance)
    if not lower:
        return NO_VICTIMS
    position = cluster.usage_log.head
    out = dict.fromkeys(other.uid for other in lower)
    for other in lower:
        cluster.remove_pod(other, node.name)
    try:
        status = engine.check(evaluation, pod, node)
        if status is not None:
            return status
        breaking, harmless = budgets.split(lower)
        violations = 0
        for group in (breaking, harmless):
            for other in group:
                cluster.add_pod(other, node.name)
                if engine.check(evaluation, pod, node) is None:
                    del out[other.uid]
                else:
                    cluster.remove_pod(other, node.name)
                    violations += group is breaking
        return Candidate(node, tuple(other for other in lower if other.uid in out), violations)
    finally:
        for other in lower:
            if other.uid in out:
                cluster.add_pod(other, node.name)
        cluster.usage_log.rewind(position)


def _cost(candidate: Candidate) -> tuple[Any, ...]:
    """The smaller the better, by the documented order of criteria.

    Fewest broken budgets, lowest highest priority, lowest sum of priorities, fewest victims, and at last the latest
    start of the most important victims' earliest.
    """
    victims = candidate.victims
    if not victims:
        return (candidate.violations, -PRIORITY_SHIFT, 0, 0, ())
    highest = victims[0].priority
    total = sum(victim.priority + PRIORITY_SHIFT for victim in victims)
    earliest = min(start_time(victim) for victim in victims if victim.priority == highest)
    return (candidate.violations, highest, total, len(victims), _descending(earliest))


def _descending(text: str) -> tuple[int, ...]:
    return tuple(-ord(letter) for letter in text)
