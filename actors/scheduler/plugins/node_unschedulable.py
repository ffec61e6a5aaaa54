"""NodeUnschedulable: a cordoned node takes only pods that tolerate the taint of being unschedulable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from kubeloop.actors.scheduler.framework import Code, Event, Plugin, PreFilter, Status, Vector
from kubeloop.actors.scheduler.plugins.taint_toleration import tolerated

if TYPE_CHECKING:
    from kubeloop.actors.scheduler.cache import ClusterCache, NodeRow
    from kubeloop.actors.scheduler.needs import PodInfo

TAINT = ("node.kubernetes.io/unschedulable", "", "NoSchedule")


class NodeUnschedulable(Plugin):
    """Follows https://kubernetes.io/docs/concepts/architecture/nodes/#manual-node-administration."""

    NAME = "NodeUnschedulable"
    REASON = "node(s) were unschedulable"
    EVENTS = frozenset({Event.NODE_ADD, Event.NODE_TAINT})

    def pre_filter(self, pod: PodInfo, cluster: ClusterCache) -> PreFilter | None:
        return None if tolerated(TAINT, pod.needs.tolerations) else PreFilter()

    def filter(self, state: Any, cluster: ClusterCache, rows: Vector) -> Vector:
        return cluster.unschedulable[rows].astype(np.int64)

    def status(self, state: Any, code: int) -> Status:
        return Status(Code.UNRESOLVABLE, (self.REASON,), self.NAME)

    def helps(self, pod: PodInfo, event: Event, subject: NodeRow, cluster: ClusterCache) -> bool:
        return not cluster.unschedulable[subject.row]
