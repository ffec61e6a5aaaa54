"""TaintToleration: taints that a pod does not tolerate keep it off (Filter), or count against a node (Score).

Nodes share few distinct lists of taints, so each list is judged once and the verdict is looked up by its number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kubeloop.actors.scheduler.framework import (
    Code,
    Event,
    Mask,
    Plugin,
    PreFilter,
    Status,
    Vector,
    normalize_by_maximum,
)

if TYPE_CHECKING:
    from kubeloop.actors.api.core_v1 import Toleration
    from kubeloop.actors.scheduler.cache import ClusterCache, NodeRow
    from kubeloop.actors.scheduler.needs import PodInfo

TaintKey = tuple[str, str, str]
"""Key, value, effect."""
KEEPS_OFF = ("NoSchedule", "NoExecute")
PREFERS_NOT = "PreferNoSchedule"


def tolerates(toleration: Toleration, taint: TaintKey) -> bool:
    """Whether one toleration covers one taint."""
    key, value, effect = taint
    if toleration.effect and toleration.effect != effect:
        return False
    if toleration.key and toleration.key != key:
        return False
    if toleration.operator == "Exists":
        return True
    return bool(toleration.key) and toleration.operator in (None, "", "Equal") and (toleration.value or "") == value


def tolerated(taint: TaintKey, tolerations: Iterable[Toleration]) -> bool:
    """Whether any toleration covers the taint."""
    return any(tolerates(toleration, taint) for toleration in tolerations)


class TaintTable:
    """A number for each distinct list of taints in the cluster, computed when first met."""

    __slots__ = ("_judge", "_known")

    def __init__(self, judge: Callable[[Sequence[TaintKey]], int]) -> None:
        self._judge = judge
        self._known: list[int] = []

    def of(self, cluster: ClusterCache) -> Vector:
        """Indexed by the number of the list."""
        sets = cluster.taint_sets
        if len(self._known) < len(sets):
            self._known += [self._judge(taints) for taints in list(sets)[len(self._known) :]]
        return np.array(self._known, dtype=np.int64)


def untolerated(taints: Iterable[TaintKey], tolerations: Sequence[Toleration]) -> bool:
    """Whether one of the taints keeps the pod off."""
    return any(taint[2] in KEEPS_OFF and not tolerated(taint, tolerations) for taint in taints)


class TaintToleration(Plugin):
    """Follows https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/."""

    NAME = "TaintToleration"
    REASON = "node(s) had untolerated taint(s)"
    WEIGHT = 3
    EVENTS = frozenset({Event.NODE_ADD, Event.NODE_TAINT})

    def pre_filter(self, pod: PodInfo, cluster: ClusterCache) -> PreFilter:
        tolerations = pod.needs.tolerations
        return PreFilter(TaintTable(lambda taints: untolerated(taints, tolerations)))

    def filter(self, state: Any, cluster: ClusterCache, rows: Vector) -> Vector:
        verdicts: Vector = state.of(cluster)[cluster.taint_set[rows]]
        return verdicts

    def status(self, state: Any, code: int) -> Status:
        return Status(Code.UNRESOLVABLE, (self.REASON,), self.NAME)

    def pre_score(self, pod: PodInfo, cluster: ClusterCache) -> TaintTable:
        able = [t for t in pod.needs.tolerations if not t.effect or t.effect == PREFERS_NOT]
        return TaintTable(lambda taints: sum(t[2] == PREFERS_NOT and not tolerated(t, able) for t in taints))

    def score(self, state: Any, cluster: ClusterCache, feasible: Mask) -> Vector:
        counts: Vector = state.of(cluster)[cluster.taint_set]
        return counts

    def normalize(self, state: Any, scores: Vector, feasible: Mask) -> Vector:
        return normalize_by_maximum(scores, feasible, reverse=True)

    def helps(self, pod: PodInfo, event: Event, subject: NodeRow, cluster: ClusterCache) -> bool:
        taints = [(t.key or "", t.value or "", t.effect or "") for t in subject.taints]
        return not untolerated(taints, pod.needs.tolerations)
