"""PodTopologySpread: pods spread evenly over zones, hosts or any other label of nodes.

Pods are counted by node as they come and go (``cache.Counter``); a domain's count is the sum over its nodes, so
nothing here looks at pods one by one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kubeloop.actors.scheduler.cache import Counter, PodGroup
from kubeloop.actors.scheduler.framework import (
    SCORE_MAX,
    Code,
    Event,
    Mask,
    Plugin,
    PreFilter,
    Scope,
    Status,
    Vector,
)
from kubeloop.actors.scheduler.plugins.node_affinity import required_mask
from kubeloop.actors.scheduler.plugins.taint_toleration import TaintTable, untolerated
from kubeloop.actors.scheduler.terms import label_selector

if TYPE_CHECKING:
    from kubeloop.actors.scheduler.cache import ClusterCache
    from kubeloop.actors.scheduler.needs import PodInfo

HOSTNAME = "kubernetes.io/hostname"
SYSTEM_DEFAULTS: Sequence[tuple[str, int]] = ((HOSTNAME, 3), ("topology.kubernetes.io/zone", 5))
"""Topology key and maxSkew of the constraints of pods that declare none; they only score."""
MISSING_LABEL, SKEWED = 1, 2
IGNORED = -1
"""Raw score of a node that lacks a topology key."""
UNLIMITED = 2**31 - 1


class Constraint:
    """One constraint of one pod."""

    __slots__ = ("counter", "honors_affinity", "honors_taints", "key", "max_skew", "min_domains", "self_match")

    def __init__(self, key: str, max_skew: int, selector: Any, pod: PodInfo, cluster: ClusterCache) -> None:
        self.key = key
        self.max_skew = max_skew
        self.min_domains = 1
        self.honors_affinity = True
        self.honors_taints = False
        namespace = pod.namespace

        def counts(group: PodGroup) -> int:
            info = group.info
            if info.terminating or info.namespace != namespace or selector is None:
                return 0
            return 1 if selector.matches(info.labels) else 0

        self.counter: Counter = cluster.counter(counts)
        self.self_match = 1 if selector is not None and selector.matches(pod.labels) else 0


class Constraints:
    """The constraints of a pod of one kind (hard or soft), and which nodes count for them."""

    __slots__ = ("_position", "_taints", "constraints", "counters", "eligible", "every_key", "needs", "strict")

    def __init__(self, pod: PodInfo, constraints: Sequence[Constraint], *, strict: bool) -> None:
        self.needs = pod.needs
        self.constraints = constraints
        self.counters: list[Counter] = [c.counter for c in constraints]
        self.strict = strict
        """Only nodes with all topology keys count."""
        tolerations = pod.needs.tolerations
        self._taints = TaintTable(lambda taints: untolerated(taints, tolerations))
        self._position = (-1, -1)
        self.every_key: Mask = np.zeros(0, dtype=np.bool_)
        self.eligible: list[Mask] = []

    def refresh(self, cluster: ClusterCache) -> None:
        """Works out which nodes count, if any node has changed."""
        position = (cluster.node_log.head, cluster.capacity)
        if position == self._position:
            return
        self._position = position
        self.every_key = np.ones(cluster.capacity, dtype=np.bool_)
        for constraint in self.constraints:
            self.every_key &= cluster.label(constraint.key).ids >= 0
        base = cluster.valid & self.every_key if self.strict else cluster.valid
        affinity = required_mask(self.needs, cluster)
        self.eligible = []
        for constraint in self.constraints:
            mask = base & (cluster.label(constraint.key).ids >= 0)
            if constraint.honors_affinity and affinity is not None:
                mask = mask & affinity
            if constraint.honors_taints:
                mask = mask & (self._taints.of(cluster)[cluster.taint_set] == 0)
            self.eligible.append(mask)

    def domains(self, index: int, cluster: ClusterCache) -> tuple[Vector, Vector]:
        """Of one constraint: matching pods in each domain, and eligible nodes in each domain."""
        constraint, mask = self.constraints[index], self.eligible[index]
        label = cluster.label(constraint.key)
        ids = label.ids[mask]
        pods = np.bincount(ids, weights=constraint.counter.column[mask], minlength=len(label.values) + 1)
        return pods.astype(np.int64), np.bincount(ids, minlength=len(label.values) + 1)


def declared(pod: PodInfo, cluster: ClusterCache, when_unsatisfiable: str) -> list[Constraint]:
    """The constraints in the pod's spec of one kind."""
    made = []
    for item in pod.needs.spread_constraints:
        if (item.when_unsatisfiable or "DoNotSchedule") != when_unsatisfiable:
            continue
        selector = label_selector(item.label_selector, pod.labels, item.match_label_keys)
        constraint = Constraint(item.topology_key or "", item.max_skew or 1, selector, pod, cluster)
        constraint.min_domains = item.min_domains or 1
        constraint.honors_affinity = item.node_affinity_policy != "Ignore"
        constraint.honors_taints = item.node_taints_policy == "Honor"
        made.append(constraint)
    return made


class PodTopologySpread(Plugin):
    """Follows https://kubernetes.io/docs/concepts/scheduling-eviction/topology-spread-constraints/."""

    NAME = "PodTopologySpread"
    REASON = "node(s) didn't match pod topology spread constraints"
    REASON_MISSING_LABEL = f"{REASON} (missing required label)"
    SCOPE = Scope.CLUSTER
    WEIGHT = 2
    EVENTS = frozenset(
        {Event.NODE_ADD, Event.NODE_LABEL, Event.NODE_TAINT, Event.POD_ADD, Event.POD_LABEL, Event.POD_DELETE}
    )

    def pre_filter(self, pod: PodInfo, cluster: ClusterCache) -> PreFilter | None:
        constraints = declared(pod, cluster, "DoNotSchedule")
        return PreFilter(Constraints(pod, constraints, strict=True)) if constraints else None

    def filter(self, state: Constraints, cluster: ClusterCache, rows: Vector) -> Vector:
        state.refresh(cluster)
        codes = np.zeros(len(rows), dtype=np.int64)
        for index, constraint in enumerate(state.constraints):
            pods, nodes = state.domains(index, cluster)
            ids = cluster.label(constraint.key).ids[rows]
            present = pods[nodes > 0]
            least = int(present.min()) if len(present) else UNLIMITED
            if len(present) < constraint.min_domains:
                least = 0
            skewed = pods[ids] + constraint.self_match - least > constraint.max_skew
            verdict = np.where(ids < 0, MISSING_LABEL, np.where(skewed, SKEWED, 0))
            codes = np.where(codes == 0, verdict, codes)
        return codes

    def status(self, state: Any, code: int) -> Status:
        if code == MISSING_LABEL:
            return Status(Code.UNRESOLVABLE, (self.REASON_MISSING_LABEL,), self.NAME)
        return Status(Code.UNSCHEDULABLE, (self.REASON,), self.NAME)

    def pre_score(self, pod: PodInfo, cluster: ClusterCache) -> Constraints | None:
        if pod.needs.spread_constraints:
            constraints = declared(pod, cluster, "ScheduleAnyway")
            return Constraints(pod, constraints, strict=True) if constraints else None
        key = cluster.owners.spread_key(pod.pod)
        if key is None:
            return None
        selector = cluster.owners.selector(key)
        constraints = [Constraint(topology, skew, selector, pod, cluster) for topology, skew in SYSTEM_DEFAULTS]
        return Constraints(pod, constraints, strict=False)

    def score(self, state: Constraints, cluster: ClusterCache, feasible: Mask) -> Vector:
        state.refresh(cluster)
        scored = feasible & state.every_key if state.strict else feasible
        total = np.zeros(cluster.capacity, dtype=np.float64)
        for index, constraint in enumerate(state.constraints):
            label = cluster.label(constraint.key)
            if constraint.key == HOSTNAME:
                size = int(np.count_nonzero(scored))
                counts = constraint.counter.column
            else:
                size = int(np.count_nonzero(np.bincount(label.ids[scored] + 1)[1:]))
                counts = state.domains(index, cluster)[0][label.ids]
            weight = np.log(size + 2)
            total += np.where(label.ids >= 0, counts * weight + (constraint.max_skew - 1), 0.0)
        raw = np.floor(total + 0.5).astype(np.int64)
        return np.where(scored, raw, IGNORED)

    def normalize(self, state: Any, scores: Vector, feasible: Mask) -> Vector:
        counted = feasible & (scores != IGNORED)
        if not counted.any():
            return np.zeros(len(scores), dtype=np.int64)
        lowest, highest = int(scores[counted].min()), int(scores[counted].max())
        if highest == 0:
            return np.where(counted, SCORE_MAX, 0)
        return np.where(counted, SCORE_MAX * (highest + lowest - scores) // highest, 0)

    def helps(self, pod: PodInfo, event: Event, subject: Any, cluster: ClusterCache) -> bool:
        if event in (Event.POD_ADD, Event.POD_LABEL, Event.POD_DELETE):
            return bool(subject.namespace == pod.namespace)
        labels: Mapping[str, str] = subject.labels
        return all(c.topology_key in labels for c in pod.needs.spread_constraints)
