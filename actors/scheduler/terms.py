"""Inter-pod affinity terms, parsed: which pods a term speaks of.

Follows https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/#inter-pod-affinity-and-anti-affinity.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from kubeloop.actors.api import selectors

if TYPE_CHECKING:
    from kubeloop.actors.api.core_v1 import Affinity, PodAffinityTerm
    from kubeloop.actors.api.meta_v1 import LabelSelector

NamespaceLabels = Mapping[str, Mapping[str, str]]
"""Labels of each namespace, by name."""


def label_selector(
    selector: LabelSelector | None,
    labels: Mapping[str, str],
    match_keys: Sequence[str] = (),
    mismatch_keys: Sequence[str] = (),
) -> Any:
    """The selector with ``matchLabelKeys`` and ``mismatchLabelKeys`` filled in from the pod's own ``labels``.

    None for a selector that is absent: it matches no pod.
    """
    if selector is None:
        return None
    from kubeloop.actors.api.meta_v1 import LabelSelectorRequirement

    more = [(key, "In") for key in match_keys] + [(key, "NotIn") for key in mismatch_keys]
    extra = [
        LabelSelectorRequirement(key=key, operator=operator, values=(labels[key],))
        for key, operator in more
        if key in labels
    ]
    if extra:
        selector = msgspec.structs.replace(selector, match_expressions=(*selector.match_expressions, *extra))
    return selectors.from_label_selector(selector)


class Term:
    """One term: a topology key, and the pods it counts."""

    __slots__ = ("_any_namespace", "_namespace_selector", "_namespaces", "_term", "topology_key", "weight")

    def __init__(self, term: PodAffinityTerm, weight: int) -> None:
        self._term = term
        self.topology_key = term.topology_key or ""
        self.weight = weight
        self._namespaces = frozenset(term.namespaces)
        self._namespace_selector = (
            selectors.from_label_selector(term.namespace_selector) if term.namespace_selector is not None else None
        )
        self._any_namespace = term.namespace_selector is not None and not (
            term.namespace_selector.match_labels or term.namespace_selector.match_expressions
        )

    def bound(self, namespace: str, labels: Mapping[str, str], namespaces: NamespaceLabels) -> BoundTerm:
        """The term as carried by a pod of ``namespace`` with ``labels``."""
        return BoundTerm(self, namespace, labels, namespaces)

    @property
    def reads_namespaces(self) -> bool:
        """Whether labels of namespaces decide."""
        return self._namespace_selector is not None and not self._any_namespace


class BoundTerm:
    """A term of one particular pod: ``matches`` says whether another pod is one that it speaks of."""

    __slots__ = ("_namespaces", "_own", "_selector", "term")

    def __init__(self, term: Term, namespace: str, labels: Mapping[str, str], namespaces: NamespaceLabels) -> None:
        raw = term._term
        self.term = term
        self._own = namespace
        self._namespaces = namespaces
        self._selector = label_selector(raw.label_selector, labels, raw.match_label_keys, raw.mismatch_label_keys)

    def matches(self, namespace: str, labels: Mapping[str, str]) -> bool:
        """Whether a pod of ``namespace`` with ``labels`` is meant."""
        return self._selector is not None and self._in_namespace(namespace) and bool(self._selector.matches(labels))

    def _in_namespace(self, namespace: str) -> bool:
        term = self.term
        if term._any_namespace or namespace in term._namespaces:
            return True
        if term._namespace_selector is not None:
            return bool(term._namespace_selector.matches(self._namespaces.get(namespace, {})))
        return not term._namespaces and namespace == self._own


class AffinityTerms:
    """All inter-pod terms of a pod."""

    __slots__ = ("anti_preferred", "anti_required", "preferred", "required")

    def __init__(self, affinity: Affinity) -> None:
        near, away = affinity.pod_affinity, affinity.pod_anti_affinity
        self.required = _required(near)
        self.preferred = _preferred(near)
        self.anti_required = _required(away)
        self.anti_preferred = _preferred(away)

    @property
    def all(self) -> tuple[Term, ...]:
        """Every term."""
        return (*self.required, *self.preferred, *self.anti_required, *self.anti_preferred)


def _required(side: Any) -> tuple[Term, ...]:
    if side is None:
        return ()
    return tuple(Term(term, 0) for term in side.required_during_scheduling_ignored_during_execution)


def _preferred(side: Any) -> tuple[Term, ...]:
    if side is None:
        return ()
    return tuple(
        Term(item.pod_affinity_term, item.weight)
        for item in side.preferred_during_scheduling_ignored_during_execution
        if item.weight
    )


def parse_affinity(affinity: Affinity | None) -> AffinityTerms | None:
    """The inter-pod terms, or None when the pod has none."""
    if affinity is None or (affinity.pod_affinity is None and affinity.pod_anti_affinity is None):
        return None
    terms = AffinityTerms(affinity)
    return terms if terms.all else None
