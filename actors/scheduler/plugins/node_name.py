"""NodeName: a pod that names its node goes there or nowhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from kubeloop.actors.scheduler.framework import Code, Event, Plugin, PreFilter, Status, Vector

if TYPE_CHECKING:
    from kubeloop.actors.scheduler.cache import ClusterCache
    from kubeloop.actors.scheduler.needs import PodInfo


class NodeName(Plugin):
    """Follows https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/#nodename.

    A pod that names its node is bound already, so the actor never asks; ``what if`` questions do.
    """

    NAME = "NodeName"
    REASON = "node(s) didn't match the requested node name"
    EVENTS = frozenset({Event.NODE_ADD})

    def pre_filter(self, pod: PodInfo, cluster: ClusterCache) -> PreFilter | None:
        return PreFilter(pod.node_name) if pod.node_name else None

    def filter(self, state: Any, cluster: ClusterCache, rows: Vector) -> Vector:
        verdicts: Vector = (rows != cluster.rows.get(state, -1)).astype(np.int64)
        return verdicts

    def status(self, state: Any, code: int) -> Status:
        return Status(Code.UNRESOLVABLE, (self.REASON,), self.NAME)
