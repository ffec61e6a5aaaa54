"""Disruption: how many pods of a PodDisruptionBudget may be evicted now.

https://kubernetes.io/docs/concepts/workloads/pods/disruptions/
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from kubeloop.actors.api import meta, selectors
from kubeloop.actors.api.core_v1 import Pod
from kubeloop.actors.api.meta_v1 import Condition
from kubeloop.actors.api.policy_v1 import PodDisruptionBudget, PodDisruptionBudgetStatus
from kubeloop.actors.client.reconcile import Result
from kubeloop.actors.controller_manager import indexes, ownership, pod_facts
from kubeloop.actors.controller_manager.controller import Controller
from kubeloop.actors.controller_manager.rollout_arithmetic import resolve
from kubeloop.runtime.clock import format_rfc3339, parse_rfc3339

DISRUPTION_ALLOWED = "DisruptionAllowed"
EVICTION_FORGOTTEN_SECONDS = 120.0  # an eviction that was allowed and never happened


class Budget(msgspec.Struct, frozen=True):
    """What the status says. `recheck_seconds`: when an eviction that was allowed may have to be forgotten."""

    expected: int
    desired_healthy: int
    healthy: int
    disrupted: Mapping[str, str]
    recheck_seconds: float | None = None

    @property
    def allowed(self) -> int:
        return max(0, self.healthy - self.desired_healthy) if self.expected > 0 else 0


def plan_budget(budget: PodDisruptionBudget, pods: Sequence[Pod], expected: int, now: float) -> Budget:
    """`pods` match the selector; `expected` is how many there should be (the sum of their controllers' scales)."""
    spec = budget.spec
    desired = 0
    if spec.max_unavailable is not None:
        desired = max(0, expected - resolve(spec.max_unavailable, expected, round_up=True))
    elif spec.min_available is not None:
        desired = resolve(spec.min_available, expected, round_up=True)
    known = budget.status.disrupted_pods
    disrupted: dict[str, str] = {}
    recheck: float | None = None
    healthy = 0
    for pod in pods:
        if pod_facts.is_terminating(pod) or pod_facts.is_terminated(pod):
            continue
        name = meta.name(pod) or ""
        since = known.get(name)
        if since is not None:
            left = parse_rfc3339(since) + EVICTION_FORGOTTEN_SECONDS - now
            if left > 0:
                disrupted[name] = since
                recheck = left if recheck is None else min(recheck, left)
                continue
        if pod_facts.is_ready(pod):
            healthy += 1
    return Budget(expected, desired, healthy, disrupted, recheck)


def budget_status(budget: PodDisruptionBudget, plan: Budget, now: float) -> PodDisruptionBudgetStatus:
    old = budget.status
    generation = budget.metadata.generation
    enough = plan.allowed > 0
    condition = Condition(
        type=DISRUPTION_ALLOWED,
        status="True" if enough else "False",
        reason="SufficientPods" if enough else "InsufficientPods",
        message="",
        last_transition_time=format_rfc3339(now),
        observed_generation=generation,
    )
    before = pod_facts.condition_of(old.conditions, DISRUPTION_ALLOWED)
    if before is not None and before.status == condition.status:
        condition = msgspec.structs.replace(condition, last_transition_time=before.last_transition_time)
    return PodDisruptionBudgetStatus(
        observed_generation=generation,
        disrupted_pods=plan.disrupted,
        disruptions_allowed=plan.allowed,
        current_healthy=plan.healthy,
        desired_healthy=plan.desired_healthy,
        expected_pods=plan.expected,
        conditions=(condition,),
    )


class DisruptionController(Controller):
    NAME = "disruption-controller"
    COMPONENT = "controllermanager"
    RESOURCE = "poddisruptionbudgets.policy"
    SCALES = {  # kind of a pod's controller -> where its scale is written
        "ReplicaSet": "replicasets.apps",
        "ReplicationController": "replicationcontrollers",
        "StatefulSet": "statefulsets.apps",
    }

    def set_up(self) -> None:
        super().set_up()
        self.pods = self.context.index("pods", indexes.BY_LABEL, indexes.label_pairs)
        self.watch("pods", self._on_pod)
        for resource in self.SCALES.values():
            self.watch(resource, self._on_scale)

    def _on_pod(self, old: Pod | None, new: Pod | None) -> None:
        if not len(self.informer) or (old is not None and new is not None and pod_facts.counts_alike(old, new)):
            return
        pod = new if new is not None else old
        assert pod is not None
        budgets = self.informer.list(meta.namespace(pod))
        for budget in budgets:
            if any(self._matches(budget)(meta.labels(each)) for each in (old, new) if each is not None):
                count = budget.status.expected_pods or 0
                self.enqueue_gathered(meta.key(budget), count)

    def _on_scale(self, old: Any | None, new: Any | None) -> None:
        if old is None or new is None or old.spec is new.spec or old.spec.replicas == new.spec.replicas:
            return
        template = new.spec.template
        for budget in self.informer.list(meta.namespace(new)):
            if self._matches(budget)(meta.labels(template)):
                self.enqueue(meta.key(budget))

    def _matches(self, budget: PodDisruptionBudget) -> ownership.Matches:
        selector = budget.spec.selector
        if selector is None:
            return lambda labels: False
        if not selector.match_expressions:
            wanted = selector.match_labels
            return lambda labels: indexes.matches(wanted, labels)
        return selectors.from_label_selector(selector).matches

    async def reconcile(self, key: str) -> Result | None:
        budget: PodDisruptionBudget | None = self.informer.get(key)
        if budget is None:
            return None
        matches = self._matches(budget)
        pods = [pod for pod in self._candidates(budget) if matches(meta.labels(pod))]
        now = self.clock.now()
        plan = plan_budget(budget, pods, self._expected(budget, pods), now)
        status = budget_status(budget, plan, now)
        old = budget.status
        comparable = msgspec.structs.replace(
            old, conditions=tuple(old.conditions), disrupted_pods=dict(old.disrupted_pods)
        )
        if comparable != status:
            await self.client.update_status(msgspec.structs.replace(budget, status=status))
        return Result(requeue_after_seconds=plan.recheck_seconds) if plan.recheck_seconds is not None else None

    def _candidates(self, budget: PodDisruptionBudget) -> Sequence[Pod]:
        """Pods that the selector may match: those with one of its labels, when it asks for one."""
        selector, namespace = budget.spec.selector, meta.namespace(budget)
        if selector is None or not selector.match_labels:
            return self.pods.list(namespace)
        return self.pods.by_index(indexes.BY_LABEL, indexes.selector_pair(namespace, selector.match_labels))

    def _expected(self, budget: PodDisruptionBudget, pods: Sequence[Pod]) -> int:
        """The sum of the scales behind the pods; only a plain minAvailable number counts the pods themselves."""
        spec = budget.spec
        if spec.max_unavailable is None and isinstance(spec.min_available, int):
            return len([pod for pod in pods if pod_facts.is_active(pod)])
        scales: dict[str, int] = {}
        for pod in pods:
            owner = meta.controller_of(pod)
            if owner is None or not owner.uid or owner.uid in scales:
                continue
            resource = self.SCALES.get(owner.kind or "")
            found = self.context.informer(resource).get(f"{meta.namespace(pod)}/{owner.name}") if resource else None
            if found is not None:
                scales[owner.uid] = 1 if found.spec.replicas is None else found.spec.replicas
        return sum(scales.values())
