"""NodeResourcesBalancedAllocation: prefers nodes whose cpu and memory use the pod brings nearer to each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from kubeloop.actors.scheduler.cache import CPU, MEMORY
from kubeloop.actors.scheduler.framework import SCORE_MAX, Mask, Plugin, Scope, Vector

if TYPE_CHECKING:
    from kubeloop.actors.scheduler.cache import ClusterCache, NodeRow
    from kubeloop.actors.scheduler.needs import PodInfo

BASE = 150
"""Makes a node whose balance the pod leaves as it is score 75."""


def balance(used_cpu: int, cpu: int, used_memory: int, memory: int) -> int:
    """100 when the two shares in use are equal, down to 50: 100 * (1 - their standard deviation), cut."""
    share_cpu = used_cpu / cpu if used_cpu < cpu else 1.0
    share_memory = used_memory / memory if used_memory < memory else 1.0
    return int((1 - abs(share_cpu - share_memory) / 2) * SCORE_MAX)


class NodeResourcesBalancedAllocation(Plugin):
    """Scores how much nearer to (or farther from) balance a node gets by the pod.

    https://kubernetes.io/docs/reference/scheduling/config/#scheduling-plugins names the plugin; the numbers were
    observed: (150 + balance with the pod - balance without it) / 2, cut to an integer. A resource of which a node has
    nothing is left out, and then there is nothing to balance.
    """

    NAME = "NodeResourcesBalancedAllocation"
    SCOPE = Scope.USAGE
    WEIGHT = 1

    def pre_score(self, pod: PodInfo, cluster: ClusterCache) -> tuple[int, int] | None:
        asked = (pod.needs.requests.get("cpu", 0), pod.needs.requests.get("memory", 0))
        return asked if any(asked) else None

    def score(self, state: Any, cluster: ClusterCache, feasible: Mask) -> Vector:
        cpu, memory = cluster.allocatable(CPU), cluster.allocatable(MEMORY)
        both = (cpu > 0) & (memory > 0)
        cpu, memory = np.maximum(cpu, 1), np.maximum(memory, 1)

        def balances(more_cpu: int, more_memory: int) -> Vector:
            share_cpu = np.minimum((cluster.used(CPU) + more_cpu) / cpu, 1.0)
            share_memory = np.minimum((cluster.used(MEMORY) + more_memory) / memory, 1.0)
            deviation = np.where(both, np.abs(share_cpu - share_memory) / 2, 0.0)
            return ((1 - deviation) * SCORE_MAX).astype(np.int64)

        return (BASE + balances(*state) - balances(0, 0)) // 2

    def score_one(self, state: Any, cluster: ClusterCache, node: NodeRow) -> int:
        cpu, memory = node.allocatable[CPU], node.allocatable[MEMORY]
        if not cpu or not memory:
            return BASE // 2
        used_cpu, used_memory = node.used[CPU], node.used[MEMORY]
        more_cpu, more_memory = state
        after = balance(used_cpu + more_cpu, cpu, used_memory + more_memory, memory)
        return (BASE + after - balance(used_cpu, cpu, used_memory, memory)) // 2
