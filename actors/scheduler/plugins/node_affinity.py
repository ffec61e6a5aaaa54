"""NodeAffinity: node selectors and node affinity, required (Filter) and preferred (Score)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
    from kubeloop.actors.api.core_v1 import NodeSelectorRequirement, NodeSelectorTerm
    from kubeloop.actors.scheduler.cache import ClusterCache, NodeRow
    from kubeloop.actors.scheduler.needs import Needs, PodInfo


def _number(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None


def _compare(value: str, operator: str, bound: str) -> bool:
    left, right = _number(value), _number(bound)
    if left is None or right is None:
        return False
    return left > right if operator == "Gt" else left < right


def requirement_mask(requirement: NodeSelectorRequirement, cluster: ClusterCache) -> Mask:
    """Rows whose labels meet one expression."""
    column = cluster.label(requirement.key or "")
    operator, values = requirement.operator, requirement.values
    if operator == "In":
        return column.among(values)
    if operator == "NotIn":
        return ~column.among(values)
    if operator == "Exists":
        return column.ids >= 0
    if operator == "DoesNotExist":
        return column.ids < 0
    if operator in ("Gt", "Lt") and len(values) == 1:
        return column.where(lambda value: _compare(value, operator, values[0]))
    return np.zeros(cluster.capacity, dtype=np.bool_)


def field_mask(requirement: NodeSelectorRequirement, cluster: ClusterCache) -> Mask:
    """Rows whose ``metadata.name`` meets one field expression."""
    mask = np.zeros(cluster.capacity, dtype=np.bool_)
    mask[[cluster.rows[name] for name in requirement.values if name in cluster.rows]] = True
    if requirement.key != "metadata.name":
        return np.zeros(cluster.capacity, dtype=np.bool_)
    return mask if requirement.operator == "In" else ~mask


def term_mask(term: NodeSelectorTerm, cluster: ClusterCache) -> Mask:
    """Rows that meet all expressions of a term; a term without any is met by none."""
    if not term.match_expressions and not term.match_fields:
        return np.zeros(cluster.capacity, dtype=np.bool_)
    mask = np.ones(cluster.capacity, dtype=np.bool_)
    for requirement in term.match_expressions:
        mask &= requirement_mask(requirement, cluster)
    for requirement in term.match_fields:
        mask &= field_mask(requirement, cluster)
    return mask


def terms_mask(terms: Iterable[NodeSelectorTerm], cluster: ClusterCache) -> Mask:
    """Rows that meet at least one term."""
    mask = np.zeros(cluster.capacity, dtype=np.bool_)
    for term in terms:
        mask |= term_mask(term, cluster)
    return mask


def required_mask(needs: Needs, cluster: ClusterCache) -> Mask | None:
    """Rows that meet the pod's node selector and required node affinity; None: it has neither."""
    if not needs.node_selector and needs.required_node_terms is None:
        return None
    mask = np.ones(cluster.capacity, dtype=np.bool_)
    for key, value in needs.node_selector.items():
        mask &= cluster.label(key).among((value,))
    if needs.required_node_terms is not None:
        mask &= terms_mask(needs.required_node_terms.node_selector_terms, cluster)
    return mask


def named_nodes(terms: Sequence[NodeSelectorTerm]) -> frozenset[str] | None:
    """The only nodes that the terms can mean, when each term names its nodes by ``metadata.name``; else None."""
    names: set[str] = set()
    for term in terms:
        fields = [r for r in term.match_fields if r.key == "metadata.name" and r.operator == "In"]
        if not fields:
            return None
        meant = set(fields[0].values)
        for requirement in fields[1:]:
            meant &= set(requirement.values)
        names |= meant
    return frozenset(names) if terms else None


class NodeAffinity(Plugin):
    """Follows https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/#node-affinity."""

    NAME = "NodeAffinity"
    REASON = "node(s) didn't match Pod's node affinity/selector"
    CONFLICT = "pod affinity terms conflict"
    WEIGHT = 2
    EVENTS = frozenset({Event.NODE_ADD, Event.NODE_LABEL})

    def pre_filter(self, pod: PodInfo, cluster: ClusterCache) -> PreFilter | Status | None:
        needs = pod.needs
        if not needs.node_selector and needs.required_node_terms is None:
            return None
        names = None
        if needs.required_node_terms is not None:
            names = named_nodes(needs.required_node_terms.node_selector_terms)
            if names is not None and not names:
                return Status(Code.UNRESOLVABLE, (self.CONFLICT,), self.NAME)
        return PreFilter(needs, names)

    def filter(self, state: Needs, cluster: ClusterCache, rows: Vector) -> Vector:
        mask = required_mask(state, cluster)
        if mask is None:
            return np.zeros(len(rows), dtype=np.int64)
        return (~mask[rows]).astype(np.int64)

    def status(self, state: Any, code: int) -> Status:
        return Status(Code.UNRESOLVABLE, (self.REASON,), self.NAME)

    def pre_score(self, pod: PodInfo, cluster: ClusterCache) -> Any:
        return pod.needs.preferred_node_terms or None

    def score(self, state: Any, cluster: ClusterCache, feasible: Mask) -> Vector:
        total = np.zeros(cluster.capacity, dtype=np.int64)
        for preferred in state:
            if preferred.weight and preferred.preference is not None:
                total += preferred.weight * term_mask(preferred.preference, cluster)
        return total

    def normalize(self, state: Any, scores: Vector, feasible: Mask) -> Vector:
        return normalize_by_maximum(scores, feasible)

    def helps(self, pod: PodInfo, event: Event, subject: NodeRow, cluster: ClusterCache) -> bool:
        mask = required_mask(pod.needs, cluster)
        return mask is None or bool(mask[subject.row])
