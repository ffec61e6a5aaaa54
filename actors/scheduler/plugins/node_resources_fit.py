"""NodeResourcesFit: the node has room for what the pod requests; LeastAllocated prefers the emptiest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from kubeloop.actors.scheduler.cache import CPU, MEMORY, PODS
from kubeloop.actors.scheduler.framework import SCORE_MAX, Code, Event, Mask, Plugin, PreFilter, Scope, Status, Vector

if TYPE_CHECKING:
    from kubeloop.actors.scheduler.cache import ClusterCache, NodeRow
    from kubeloop.actors.scheduler.needs import PodInfo

TOO_MANY_PODS = 1


class Room:
    """What is asked for: (column, amount, bit when short, bit when the node could never hold it)."""

    __slots__ = ("items", "names")

    def __init__(self, pod: PodInfo, cluster: ClusterCache) -> None:
        columns = cluster.request_columns(pod.needs.requests)
        self.items = [(column, value, 2 << 2 * i, 4 << 2 * i) for i, (column, value) in enumerate(columns)]
        known = list(cluster.resources)
        self.names = [known[column] for column, _ in columns]


class NodeResourcesFit(Plugin):
    """Follows https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/ and
    https://kubernetes.io/docs/concepts/scheduling-eviction/resource-bin-packing/ (LeastAllocated over cpu and memory).

    A code is a set of bits: too many pods, and two for each requested resource.
    """

    NAME = "NodeResourcesFit"
    SCOPE = Scope.USAGE
    WEIGHT = 1
    EVENTS = frozenset({Event.NODE_ADD, Event.NODE_ALLOCATABLE, Event.POD_DELETE})

    def pre_filter(self, pod: PodInfo, cluster: ClusterCache) -> PreFilter:
        return PreFilter(Room(pod, cluster))

    def filter(self, state: Room, cluster: ClusterCache, rows: Vector) -> Vector:
        codes = (cluster.used(PODS)[rows] + 1 > cluster.allocatable(PODS)[rows]).astype(np.int64)
        for column, value, short, never in state.items:
            allocatable = cluster.allocatable(column)[rows]
            codes |= np.where(value > allocatable - cluster.used(column)[rows], short, 0)
            codes |= np.where(value > allocatable, never, 0)
        return codes

    def filter_one(self, state: Room, cluster: ClusterCache, node: NodeRow) -> int:
        allocatable, used = node.allocatable, node.used
        code = TOO_MANY_PODS if used[PODS] + 1 > allocatable[PODS] else 0
        for column, value, short, never in state.items:
            if value > allocatable[column] - used[column]:
                code |= short
            if value > allocatable[column]:
                code |= never
        return code

    def status(self, state: Room, code: int) -> Status:
        reasons = ["Too many pods"] if code & TOO_MANY_PODS else []
        unresolvable = False
        for (_, _, short, never), name in zip(state.items, state.names, strict=True):
            if code & short:
                reasons.append(f"Insufficient {name}")
            unresolvable = unresolvable or bool(code & never)
        return Status(Code.UNRESOLVABLE if unresolvable else Code.UNSCHEDULABLE, tuple(reasons), self.NAME)

    def pre_score(self, pod: PodInfo, cluster: ClusterCache) -> tuple[int, int]:
        return pod.needs.scoring_cpu, pod.needs.scoring_memory

    def score(self, state: Any, cluster: ClusterCache, feasible: Mask) -> Vector:
        total = np.zeros(cluster.capacity, dtype=np.int64)
        weight = np.zeros(cluster.capacity, dtype=np.int64)
        for resource, asked in zip((CPU, MEMORY), state, strict=True):
            allocatable = cluster.allocatable(resource)
            there = allocatable > 0
            free = np.maximum(allocatable - cluster.scoring_used(resource) - asked, 0)
            total += np.where(there, free * SCORE_MAX // np.maximum(allocatable, 1), 0)
            weight += there
        return total // np.maximum(weight, 1)

    def score_one(self, state: Any, cluster: ClusterCache, node: NodeRow) -> int:
        cpu, memory = node.allocatable[CPU], node.allocatable[MEMORY]
        if not cpu or not memory:
            return int(self.score(state, cluster, cluster.valid)[node.row])
        free_cpu = cpu - node.scoring_cpu - state[0]
        free_memory = memory - node.scoring_memory - state[1]
        score = free_cpu * SCORE_MAX // cpu if free_cpu > 0 else 0
        if free_memory > 0:
            score += free_memory * SCORE_MAX // memory
        return int(score // 2)

    def helps(self, pod: PodInfo, event: Event, subject: Any, cluster: ClusterCache) -> bool:
        if event is Event.POD_DELETE:
            return True  # any pod gives back its place, and mostly what it requested
        return not self.filter_one(Room(pod, cluster), cluster, subject)
