"""The scheduling algorithm alone: a picture of the cluster in, a node or the reasons why not out.

Synchronous and pure but for the picture that it keeps; chance comes in as ``choose``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from kubeloop.actors.scheduler.cache import ClusterCache, NodeRow
from kubeloop.actors.scheduler.diagnosis import Diagnosis, Verdict
from kubeloop.actors.scheduler.evaluation import Choose, Evaluation
from kubeloop.actors.scheduler.framework import Code, Event, Plugin, Status
from kubeloop.actors.scheduler.needs import PodInfo
from kubeloop.actors.scheduler.plugins.registry import default_plugins

if TYPE_CHECKING:
    from kubeloop.actors.api.core_v1 import Pod

EVALUATIONS_MAX = 256
EVALUATION_ROWS_MAX = 8_000_000
"""All evaluations together keep at most about this many rows (some 50 bytes each)."""


def first(count: int) -> int:
    """Chooses the first of equals."""
    return 0


class Engine:
    """Decides for one pod after another, keeping evaluations for pods with equal needs."""

    def __init__(self, plugins: Sequence[tuple[Plugin, int]] | None = None, choose: Choose = first) -> None:
        self.cluster = ClusterCache()
        self.plugins = list(default_plugins() if plugins is None else plugins)
        self.choose = choose
        self._by_name = {plugin.NAME: plugin for plugin, _ in self.plugins}
        self._evaluations: dict[tuple[Any, ...], Evaluation] = {}
        self.cost = 0
        """Rows looked at by ``decide`` since somebody set this to zero."""
        self.nominated: dict[str, dict[str, PodInfo]] = {}
        """Node name -> uid -> pod that waits for its victims there to go."""

    def info(self, pod: Pod) -> PodInfo:
        """The pod as the engine sees it."""
        return PodInfo(pod, self.cluster.needs)

    # Deciding

    def evaluation(self, pod: PodInfo) -> Evaluation:
        """The shared evaluation for pods like this one."""
        cluster, needs = self.cluster, pod.needs
        near = needs.affinity is not None or bool(cluster.groups_with_terms)
        social = near or bool(needs.spread_constraints)
        key = (
            needs,
            near,
            pod.group_key if social else None,
            None if needs.spread_constraints else cluster.owners.spread_key(pod.pod),
            tuple(pod.claims) if needs.volumes else None,
            pod.node_name,
        )
        found = self._evaluations.get(key)
        if found is not None:
            if found.version == cluster.objects_version or not (social or key[3] or key[4]):
                return found
            del self._evaluations[key]
            found.close()
        limit = max(8, min(EVALUATIONS_MAX, EVALUATION_ROWS_MAX // cluster.capacity))
        while len(self._evaluations) >= limit:
            self._evaluations.pop(next(iter(self._evaluations))).close()
        made = self._evaluations[key] = Evaluation(pod, cluster, self.plugins)
        return made

    def decide(self, pod: PodInfo) -> NodeRow | None:
        """The best node for the pod; None when none fits (then ``explain``)."""
        evaluation = self.evaluation(pod)
        blocked = self._blocked(evaluation, pod) if self.nominated else ()
        if blocked:
            node = evaluation.best_outside([node.row for node, _ in blocked], self.choose)
        else:
            node = evaluation.best(self.choose)
        self.cost += evaluation.cost
        evaluation.cost = 0
        return node

    def explain(self, pod: PodInfo) -> Diagnosis:
        """Why no node fits the pod now."""
        evaluation = self.evaluation(pod)
        diagnosis = evaluation.explain()
        blocked = self._blocked(evaluation, pod) if self.nominated and evaluation.rejection is None else ()
        if not blocked:
            return diagnosis
        rows = {node.row for node, _ in blocked}
        kept = [Verdict(v.status, [row for row in v.rows if row not in rows]) for v in diagnosis.verdicts]
        more = [Verdict(status, [node.row]) for node, status in blocked]
        return Diagnosis(diagnosis.nodes, None, tuple(v for v in (*kept, *more) if v.rows))

    def check(self, evaluation: Evaluation, pod: PodInfo, node: NodeRow) -> Status | None:
        """The verdict on one node, with the pods nominated to it of at least equal priority in place."""
        with self._rivals_placed(pod, node):
            return evaluation.check(node)

    def _blocked(self, evaluation: Evaluation, pod: PodInfo) -> list[tuple[NodeRow, Status]]:
        """Nodes that pods nominated to them leave no room on."""
        blocked = []
        for name in self.nominated:
            row = self.cluster.rows.get(name)
            node = self.cluster.nodes[row] if row is not None else None
            if node is not None and node.node is not None and self._rivals(pod, name):
                status = self.check(evaluation, pod, node)
                if status is not None:
                    blocked.append((node, status))
        return blocked

    def _rivals(self, pod: PodInfo, node_name: str) -> list[PodInfo]:
        waiting = self.nominated.get(node_name)
        if not waiting:
            return []
        return [rival for rival in waiting.values() if rival.priority >= pod.priority and rival.uid != pod.uid]

    @contextmanager
    def _rivals_placed(self, pod: PodInfo, node: NodeRow) -> Iterator[None]:
        rivals = [rival for rival in self._rivals(pod, node.name) if rival.uid not in node.pods]
        position = self.cluster.usage_log.head
        for rival in rivals:
            self.cluster.add_pod(rival, node.name)
        try:
            yield
        finally:
            for rival in rivals:
                self.cluster.remove_pod(rival, node.name)
            if rivals:
                self.cluster.usage_log.rewind(position)

    # Nominations

    def nominate(self, pod: PodInfo, node_name: str) -> None:
        """Reserves room on a node for a pod whose victims are going."""
        self.unnominate(pod.uid)
        self.nominated.setdefault(node_name, {})[pod.uid] = pod

    def unnominate(self, uid: str) -> None:
        """Drops the reservation of a pod, if it has one."""
        for name in [name for name, pods in self.nominated.items() if uid in pods]:
            del self.nominated[name][uid]
            if not self.nominated[name]:
                del self.nominated[name]

    def nominated_node(self, uid: str) -> str | None:
        """Where a pod is nominated to."""
        return next((name for name, pods in self.nominated.items() if uid in pods), None)

    # Hints

    def events_of(self, plugins: Sequence[str]) -> frozenset[Event]:
        """Events that may help a pod which these plugins refused; all when none did."""
        if not plugins:
            return frozenset(Event)
        return frozenset(event for name in plugins for event in self._by_name[name].EVENTS)

    def hint(self, plugins: Sequence[str], event: Event, subject: Any) -> Callable[[PodInfo], bool]:
        """Says of a waiting pod that ``plugins`` refused whether ``event`` may help it."""
        concerned = [self._by_name[name] for name in plugins if event in self._by_name[name].EVENTS]
        return lambda pod: not plugins or any(p.helps(pod, event, subject, self.cluster) for p in concerned)

    def unresolvable(self, diagnosis: Diagnosis) -> list[int]:
        """Rows where removing pods cannot help."""
        return diagnosis.rows(Code.UNRESOLVABLE)
