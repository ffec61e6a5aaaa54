"""One evaluation of all nodes, shared by all pods with equal needs and brought up to date, not repeated.

Placing a pod changes one node. So for plugins of scope NODE and USAGE an evaluation keeps its verdicts and scores and
looks again only at the rows that the cache's logs name; the best rows are kept as a list of candidates. Plugins of
scope CLUSTER are asked for all rows each time; most pods have none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kubeloop.actors.scheduler.cache import Counter, NodeRow
from kubeloop.actors.scheduler.diagnosis import Diagnosis, Verdict
from kubeloop.actors.scheduler.framework import Code, Mask, Plugin, Scope, Status, Vector

if TYPE_CHECKING:
    from kubeloop.actors.scheduler.cache import ClusterCache
    from kubeloop.actors.scheduler.needs import PodInfo

Choose = Callable[[int], int]
"""Chooses one of n equals: n -> 0..n-1."""


class Evaluation:
    """Where pods like ``pod`` can go, and how well."""

    def __init__(self, pod: PodInfo, cluster: ClusterCache, plugins: Sequence[tuple[Plugin, int]]) -> None:
        self.pod = pod
        self.cluster = cluster
        self.version = cluster.objects_version
        self.rejection: Status | None = None
        self.filters: list[tuple[Plugin, Any]] = []
        self.scorers: list[tuple[Plugin, Any, int]] = []
        self.allowed: frozenset[str] | None = None
        self._allowed_by: list[str] = []
        self._start(plugins)
        self._node_filters = [f for f in self.filters if f[0].SCOPE is Scope.NODE]
        self._usage_filters = [f for f in self.filters if f[0].SCOPE is Scope.USAGE]
        self._cluster_filters = [f for f in self.filters if f[0].SCOPE is Scope.CLUSTER]
        self._node_scorers = [s for s in self.scorers if s[0].SCOPE is Scope.NODE]
        self._cluster_scorers = [s for s in self.scorers if s[0].SCOPE is Scope.CLUSTER]
        self._usage_scorers = [s for s in self.scorers if s[0].SCOPE is Scope.USAGE]
        self._whole = bool(self._cluster_filters or self._cluster_scorers)
        self.cost = 0
        """Rows looked at since somebody last set this to zero; the actor spends a budget of them a slice."""
        self._stale = True
        self._node_position = self._usage_position = 0
        self._node_ok: Mask = np.zeros(0, dtype=np.bool_)
        self._usage_ok: Mask = self._node_ok
        self._usage_score: Vector = np.zeros(0, dtype=np.int64)
        self._raw: list[tuple[Plugin, Any, int, Vector]] = []
        """Raw scores of the NODE plugins under which nodes differ."""
        self._flat = 0
        """What all other NODE plugins give every node."""
        self._raw_stale = True
        self._renew = True
        """All totals have to be worked out again."""
        self._uneven = True
        """A node's total depends on which other nodes are feasible, through normalization."""
        self._even_score: Vector = self._usage_score
        self._total: Vector = self._usage_score
        self._share_arrays()
        self._best = -1
        self._candidates: list[int] = []
        """Rows whose total was ``_best`` when they were put here; checked again when taken."""
        self._taken = -1
        """The row last given out, until its change is seen."""
        self._refused: tuple[tuple[int, int, int], Diagnosis] | None = None
        """The last ``explain``, and where the logs were."""

    def _start(self, plugins: Sequence[tuple[Plugin, int]]) -> None:
        for plugin, _ in plugins:
            found = plugin.pre_filter(self.pod, self.cluster)
            if isinstance(found, Status):
                self.rejection = found
                return
            if found is None:
                continue
            self.filters.append((plugin, found.state))
            if found.node_names is not None:
                self._allowed_by.append(plugin.NAME)
                names = found.node_names
                self.allowed = names if self.allowed is None else self.allowed & names
        for plugin, weight in plugins:
            if weight:
                state = plugin.pre_score(self.pod, self.cluster)
                if state is not None:
                    self.scorers.append((plugin, state, weight))

    def close(self) -> None:
        """Gives back the counters that the plugins' states hold."""
        held = [*(state for _, state in self.filters), *(state for _, state, _ in self.scorers)]
        counters: list[Counter] = [c for state in held for c in getattr(state, "counters", ())]
        self.cluster.close_counters(counters)

    # Keeping up

    def _refresh(self) -> None:
        cluster = self.cluster
        if not self._stale and len(self._node_ok) == cluster.capacity:
            changed = cluster.node_log.since(self._node_position)
            used = cluster.usage_log.since(self._usage_position)
            if changed is not None and used is not None and len(used) + 20 * len(changed) <= cluster.capacity // 2 + 32:
                self._node_position, self._usage_position = cluster.node_log.head, cluster.usage_log.head
                if changed:
                    self._look_at_nodes(changed)
                for row in used if len(used) < 2 else dict.fromkeys(used):
                    self._look_at_usage(cluster.nodes[row])
                self.cost += len(used) + len(changed)
                return
        self._look_at_all()

    def _look_at_all(self) -> None:
        cluster = self.cluster
        rows = np.arange(cluster.capacity)
        self._node_position, self._usage_position = cluster.node_log.head, cluster.usage_log.head
        self._node_ok = self._allowed_mask() & _passes(self._node_filters, cluster, rows)
        self._usage_ok = _passes(self._usage_filters, cluster, rows)
        self._usage_score = np.zeros(cluster.capacity, dtype=np.int64)
        for plugin, state, weight in self._usage_scorers:
            self._usage_score += weight * plugin.score(state, cluster, self._node_ok)
        self._share_arrays()
        self._renew = self._raw_stale = True
        self._stale = False
        self.cost += cluster.capacity // 8

    def _share_arrays(self) -> None:
        """Views of the arrays for single rows: reading or writing one element of a numpy array is slow."""
        self._node_ok_at: memoryview = self._node_ok.data
        self._usage_ok_at: memoryview = self._usage_ok.data
        self._usage_score_at: memoryview = self._usage_score.data
        self._even_score_at: memoryview = self._even_score.data
        self._total_at: memoryview = self._total.data

    def _allowed_mask(self) -> Mask:
        cluster = self.cluster
        if self.allowed is None:
            return cluster.valid.copy()
        mask = np.zeros(cluster.capacity, dtype=np.bool_)
        mask[[cluster.rows[name] for name in self.allowed if name in cluster.rows]] = True
        return mask & cluster.valid

    def _look_at_nodes(self, changed: list[int]) -> None:
        cluster = self.cluster
        rows = np.array(sorted(set(changed)))
        self._node_ok[rows] = self._allowed_mask()[rows] & _passes(self._node_filters, cluster, rows)
        for row in rows.tolist():
            self._look_at_usage(cluster.nodes[row])
        self._renew = self._raw_stale = True

    def _look_at_usage(self, node: NodeRow) -> None:
        row, cluster = node.row, self.cluster
        fits = node.node is not None
        if fits:
            for plugin, state in self._usage_filters:
                if plugin.filter_one(state, cluster, node):
                    fits = False
                    break
        score = 0
        if fits:
            for scorer, state, weight in self._usage_scorers:
                score += weight * scorer.score_one(state, cluster, node)
            self._usage_score_at[row] = score
        was = self._usage_ok_at[row]
        self._usage_ok_at[row] = fits
        if self._whole or self._renew:
            return
        if fits != was and self._uneven:
            self._renew = True
            return
        self._note(row, score + self._even_score_at[row] if fits and self._node_ok_at[row] else -1)

    # Totals and candidates

    def _note(self, row: int, total: int) -> None:
        before = self._total_at[row]
        self._total_at[row] = total
        if total > self._best:
            self._best = total
            self._candidates = [row]
        elif total == self._best and total >= 0 and (before != total or row == self._taken):
            self._candidates.append(row)
        if row == self._taken:
            self._taken = -1

    def _feasible(self) -> Mask:
        cluster = self.cluster
        feasible = self._node_ok & self._usage_ok
        if self._cluster_filters and feasible.any():
            rows = np.flatnonzero(feasible)
            feasible[rows] = _passes(self._cluster_filters, cluster, rows)
            self.cost += cluster.capacity // 8
        return feasible

    def totals(self, feasible: Mask) -> Vector:
        """The weighted sum of all scores by row; at least one row is feasible."""
        self._refresh()
        if self._raw_stale:
            self._score_nodes()
        cluster = self.cluster
        total = np.full(cluster.capacity, self._flat, dtype=np.int64)
        for plugin, state, weight, raw in self._raw:
            total += weight * plugin.normalize(state, raw, feasible)
        for plugin, state, weight in self._cluster_scorers:
            total += weight * plugin.normalize(state, plugin.score(state, cluster, feasible), feasible)
        self.cost += (len(self._raw) + 2 * len(self._cluster_scorers)) * cluster.capacity // 32
        self._uneven = bool(self._raw)
        self._even_score = total
        return total + self._usage_score

    def _score_nodes(self) -> None:
        """Asks the NODE plugins; where all nodes are equal, normalization does not depend on who is feasible."""
        cluster = self.cluster
        self._raw, self._flat, self._raw_stale = [], 0, False
        for plugin, state, weight in self._node_scorers:
            raw = plugin.score(state, cluster, cluster.valid)
            if raw[cluster.valid].any():
                self._raw.append((plugin, state, weight, raw))
            elif cluster.count:
                self._flat += weight * int(
                    plugin.normalize(state, np.zeros(1, dtype=np.int64), np.ones(1, dtype=bool))[0]
                )
        self.cost += len(self._node_scorers) * cluster.capacity // 32

    def _recount(self) -> None:
        feasible = self._feasible()
        self._renew = False
        self._taken = -1
        self._candidates = []
        self._best = -1
        if feasible.any():
            self._total = np.where(feasible, self.totals(feasible), -1)
        else:
            self._total = np.full(self.cluster.capacity, -1, dtype=np.int64)
            self._uneven, self._even_score = True, np.zeros(self.cluster.capacity, dtype=np.int64)
        self._share_arrays()

    def best(self, choose: Choose) -> NodeRow | None:
        """The node with the highest total, ``choose`` among equals; None when no node fits."""
        if self.rejection is not None or (self._refused is not None and self._refused[0] == self.position):
            return None
        self._refresh()
        if self._whole:
            return self._best_of(self._feasible(), choose)
        if self._renew:
            self._recount()
        elif self._taken >= 0:  # chosen before, and nothing was placed there after all
            self._candidates.append(self._taken)
            self._taken = -1
        total = self._total
        while True:
            candidates = self._candidates
            if not candidates:
                self._best = int(total.max())
                if self._best < 0:
                    return None
                candidates = self._candidates = np.flatnonzero(total == self._best).tolist()
                self.cost += len(total) // 64
            index = choose(len(candidates)) if len(candidates) > 1 else 0
            row = candidates[index]
            candidates[index] = candidates[-1]
            candidates.pop()
            if self._total_at[row] == self._best:
                self._taken = row
                return self.cluster.nodes[row]

    def best_outside(self, blocked: Sequence[int], choose: Choose) -> NodeRow | None:
        """Like ``best``, but never one of the ``blocked`` rows, and nothing is kept."""
        if self.rejection is not None:
            return None
        feasible = self.feasible()
        feasible[list(blocked)] = False
        self._renew = True
        return self._best_of(feasible, choose)

    def _best_of(self, feasible: Mask, choose: Choose) -> NodeRow | None:
        if not feasible.any():
            return None
        total = np.where(feasible, self.totals(feasible), -1)
        rows = np.flatnonzero(total == total.max())
        return self.cluster.nodes[int(rows[choose(len(rows)) if len(rows) > 1 else 0])]

    def feasible(self) -> Mask:
        """Rows that every filter passes."""
        if self.rejection is not None:
            return np.zeros(self.cluster.capacity, dtype=np.bool_)
        self._refresh()
        return self._feasible()

    # Explaining

    def check(self, node: NodeRow) -> Status | None:
        """The first refusal of one node, as it is now; None when the pod fits."""
        if self.allowed is not None and node.name not in self.allowed:
            return self._not_allowed()
        for plugin, state in self.filters:
            code = plugin.filter_one(state, self.cluster, node)
            if code:
                return plugin.status(state, code)
        return None

    def _not_allowed(self) -> Status:
        reason = f"node(s) didn't satisfy plugin(s) [{' '.join(self._allowed_by)}]"
        return Status(Code.UNRESOLVABLE, (reason,), self._allowed_by[0])

    @property
    def position(self) -> tuple[int, int, int]:
        """Changes with everything that an evaluation depends on."""
        cluster = self.cluster
        return cluster.node_log.head, cluster.usage_log.head, cluster.objects_version

    def explain(self) -> Diagnosis:
        """Why no node fits: the first refusal of each node, counted. Kept until something changes."""
        if self._refused is None or self._refused[0] != self.position:
            self._refused = (self.position, self._explain())
            self.cost += self.cluster.capacity // 8
        return self._refused[1]

    def _explain(self) -> Diagnosis:
        cluster = self.cluster
        if self.rejection is not None:
            return Diagnosis(cluster.count, self.rejection, ())
        verdicts: list[Verdict] = []
        rows = np.flatnonzero(cluster.valid)
        if self.allowed is not None:
            inside = self._allowed_mask()[rows]
            if not inside.all():
                verdicts.append(Verdict(self._not_allowed(), rows[~inside].tolist()))
            rows = rows[inside]
        for plugin, state in self.filters:
            if not len(rows):
                break
            codes = plugin.filter(state, cluster, rows)
            for code in np.unique(codes[codes != 0]).tolist():
                verdicts.append(Verdict(plugin.status(state, code), rows[codes == code].tolist()))
            rows = rows[codes == 0]
        return Diagnosis(cluster.count, None, tuple(verdicts))


def _passes(filters: Sequence[tuple[Plugin, Any]], cluster: ClusterCache, rows: Vector) -> Mask:
    mask = np.ones(len(rows), dtype=np.bool_)
    for plugin, state in filters:
        mask &= plugin.filter(state, cluster, rows) == 0
    return mask
