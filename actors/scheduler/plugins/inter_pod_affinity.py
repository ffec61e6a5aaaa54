"""InterPodAffinity: pods near to, or away from, other pods.

Matching pods are counted by node as they come and go (``cache.Counter``); a topology domain's count is the sum over
its nodes. Terms of running pods are asked once for each group of equal pods.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
from kubeloop.actors.scheduler.terms import BoundTerm

if TYPE_CHECKING:
    from kubeloop.actors.scheduler.cache import ClusterCache
    from kubeloop.actors.scheduler.needs import PodInfo
    from kubeloop.actors.scheduler.terms import Term

AFFINITY, ANTI_AFFINITY, EXISTING_ANTI_AFFINITY = 1, 2, 3


def domain_counts(key: str, counter: Counter, cluster: ClusterCache) -> Vector:
    """For each row, the count of its whole domain of ``key``; 0 where the node lacks the key."""
    label = cluster.label(key)
    sums = np.bincount(label.ids + 1, weights=counter.column, minlength=len(label.values) + 1).astype(np.int64)
    sums[0] = 0
    return sums[label.ids + 1]


def matching(terms: Sequence[BoundTerm]) -> Callable[[PodGroup], int]:
    """Counts pods that all terms speak of."""

    def counts(group: PodGroup) -> int:
        return 1 if all(term.matches(group.info.namespace, group.info.labels) for term in terms) else 0

    return counts


class RequiredTerms:
    """What Filter looks at: the pod's own required terms, and those of running pods that speak of it."""

    __slots__ = ("_existing", "_pod", "affinity", "affinity_counter", "anti", "counters", "self_match")

    def __init__(self, pod: PodInfo, cluster: ClusterCache) -> None:
        self._pod = pod
        self.counters: list[Counter] = []
        terms = pod.needs.affinity
        self.affinity = bind(terms.required, pod, cluster) if terms is not None else []
        self.affinity_counter: Counter | None = None
        if self.affinity:
            self.affinity_counter = self._count(cluster, matching(self.affinity))
        self.self_match = all(term.matches(pod.namespace, pod.labels) for term in self.affinity)
        anti = bind(terms.anti_required, pod, cluster) if terms is not None else []
        self.anti = [(term.term.topology_key, self._count(cluster, matching([term]))) for term in anti]
        self._existing: dict[str, Counter] = {}

    def _count(
        self, cluster: ClusterCache, predicate: Callable[[PodGroup], int], *, with_terms: bool = False
    ) -> Counter:
        counter = cluster.counter(predicate, with_terms=with_terms)
        self.counters.append(counter)
        return counter

    def existing(self, cluster: ClusterCache) -> dict[str, Counter]:
        """By topology key, the running pods' anti-affinity terms that keep the pod away."""
        for key in cluster.anti_keys:
            if key not in self._existing:
                self._existing[key] = self._count(cluster, self._keeps_away(key), with_terms=True)
        return self._existing

    def _keeps_away(self, key: str) -> Callable[[PodGroup], int]:
        pod = self._pod

        def counts(group: PodGroup) -> int:
            return sum(t.term.topology_key == key and t.matches(pod.namespace, pod.labels) for t in group.anti_required)

        return counts


class PreferredTerms:
    """What Score looks at: the pod's own preferences, and the terms of running pods that draw or push it."""

    __slots__ = ("_existing", "_pod", "counters", "own")

    def __init__(self, pod: PodInfo, cluster: ClusterCache) -> None:
        self._pod = pod
        self.counters: list[Counter] = []
        self.own: list[tuple[str, int, Counter]] = []
        terms = pod.needs.affinity
        if terms is not None:
            for some, sign in ((terms.preferred, 1), (terms.anti_preferred, -1)):
                for term in bind(some, pod, cluster):
                    counter = cluster.counter(matching([term]))
                    self.counters.append(counter)
                    self.own.append((term.term.topology_key, sign * term.term.weight, counter))
        self._existing: dict[str, Counter] = {}

    def existing(self, cluster: ClusterCache) -> dict[str, Counter]:
        """By topology key, the summed weights of the running pods' terms that speak of the pod."""
        for key in cluster.weighted_keys:
            if key not in self._existing:
                counter = cluster.counter(self._draws(key), with_terms=True)
                self.counters.append(counter)
                self._existing[key] = counter
        return self._existing

    def _draws(self, key: str) -> Callable[[PodGroup], int]:
        pod = self._pod

        def counts(group: PodGroup) -> int:
            return sum(
                weight
                for term, weight in group.weighted
                if term.term.topology_key == key and term.matches(pod.namespace, pod.labels)
            )

        return counts


def bind(terms: Sequence[Term], pod: PodInfo, cluster: ClusterCache) -> list[BoundTerm]:
    """Terms as carried by ``pod``."""
    return [term.bound(pod.namespace, pod.labels, cluster.namespaces) for term in terms]


class InterPodAffinity(Plugin):
    """Follows https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/#inter-pod-affinity-and-anti-affinity."""

    NAME = "InterPodAffinity"
    REASON = "node(s) didn't match pod affinity rules"
    REASON_ANTI = "node(s) didn't match pod anti-affinity rules"
    REASON_EXISTING = "node(s) didn't satisfy existing pods anti-affinity rules"
    SCOPE = Scope.CLUSTER
    WEIGHT = 2
    EVENTS = frozenset(
        {Event.NODE_ADD, Event.NODE_LABEL, Event.POD_ADD, Event.POD_LABEL, Event.POD_DELETE, Event.NAMESPACE}
    )

    def pre_filter(self, pod: PodInfo, cluster: ClusterCache) -> PreFilter | None:
        if pod.needs.affinity is None and not cluster.groups_with_terms:
            return None
        return PreFilter(RequiredTerms(pod, cluster))

    def filter(self, state: RequiredTerms, cluster: ClusterCache, rows: Vector) -> Vector:
        existing = np.zeros(cluster.capacity, dtype=np.bool_)
        for key, counter in state.existing(cluster).items():
            existing |= domain_counts(key, counter, cluster) > 0
        anti = np.zeros(cluster.capacity, dtype=np.bool_)
        for key, counter in state.anti:
            anti |= domain_counts(key, counter, cluster) > 0
        codes = np.where(anti, ANTI_AFFINITY, np.where(existing, EXISTING_ANTI_AFFINITY, 0))
        near = self._near(state, cluster)
        if near is not None:
            codes = np.where(near, codes, AFFINITY)
        return codes[rows]

    def _near(self, state: RequiredTerms, cluster: ClusterCache) -> Mask | None:
        if state.affinity_counter is None:
            return None
        keyed = np.ones(cluster.capacity, dtype=np.bool_)
        near = np.ones(cluster.capacity, dtype=np.bool_)
        anywhere = False
        for term in state.affinity:
            key = term.term.topology_key
            counts = domain_counts(key, state.affinity_counter, cluster)
            anywhere = anywhere or bool(counts.any())
            near &= counts > 0
            keyed &= cluster.label(key).ids >= 0
        if not anywhere and state.self_match:
            return keyed  # the first of a group whose pods want to be together
        return near

    def status(self, state: Any, code: int) -> Status:
        if code == AFFINITY:
            return Status(Code.UNRESOLVABLE, (self.REASON,), self.NAME)
        reason = self.REASON_ANTI if code == ANTI_AFFINITY else self.REASON_EXISTING
        return Status(Code.UNSCHEDULABLE, (reason,), self.NAME)

    def pre_score(self, pod: PodInfo, cluster: ClusterCache) -> PreferredTerms | None:
        if pod.needs.affinity is None and not cluster.groups_with_terms:
            return None
        return PreferredTerms(pod, cluster)

    def score(self, state: PreferredTerms, cluster: ClusterCache, feasible: Mask) -> Vector:
        total = np.zeros(cluster.capacity, dtype=np.int64)
        for key, weight, counter in state.own:
            total += weight * domain_counts(key, counter, cluster)
        for key, counter in state.existing(cluster).items():
            total += domain_counts(key, counter, cluster)
        return total

    def normalize(self, state: Any, scores: Vector, feasible: Mask) -> Vector:
        lowest, highest = int(scores[feasible].min()), int(scores[feasible].max())
        if lowest == highest:
            return np.zeros(len(scores), dtype=np.int64)
        share = (scores - lowest) / (highest - lowest)
        return (SCORE_MAX * share).astype(np.int64)

    def helps(self, pod: PodInfo, event: Event, subject: Any, cluster: ClusterCache) -> bool:
        if event not in (Event.POD_ADD, Event.POD_LABEL):
            return True
        terms = pod.needs.affinity
        bound = bind(terms.required, pod, cluster) if terms is not None else []
        return any(term.matches(subject.namespace, subject.labels) for term in bound)
