"""NodeVolumeLimits: a CSI driver attaches so many volumes to a node and no more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from kubeloop.actors.scheduler.framework import Event, Plugin, PreFilter, Scope, Vector

if TYPE_CHECKING:
    from kubeloop.actors.scheduler.cache import ClusterCache, NodeRow
    from kubeloop.actors.scheduler.needs import PodInfo


def csi_volumes(pod: PodInfo, cluster: ClusterCache) -> dict[tuple[str, str], None]:
    """Driver and handle of each CSI volume that the pod's claims are bound to."""
    found: dict[tuple[str, str], None] = {}
    for key in pod.claims:
        claim = cluster.volumes.claims.get(key)
        name = claim.spec.volume_name if claim is not None and claim.spec is not None else None
        volume = cluster.volumes.volumes.get(name) if name else None
        source = volume.spec.csi if volume is not None and volume.spec is not None else None
        if source is not None:
            found[(source.driver or "", source.volume_handle or "")] = None
    return found


class NodeVolumeLimits(Plugin):
    """Follows https://kubernetes.io/docs/concepts/storage/storage-limits/."""

    NAME = "NodeVolumeLimits"
    REASON = "node(s) exceed max volume count"
    SCOPE = Scope.USAGE
    EVENTS = frozenset({Event.NODE_ADD, Event.POD_DELETE, Event.VOLUME})

    def pre_filter(self, pod: PodInfo, cluster: ClusterCache) -> PreFilter | None:
        wanted = csi_volumes(pod, cluster)
        return PreFilter(wanted) if wanted else None

    def filter(self, state: Any, cluster: ClusterCache, rows: Vector) -> Vector:
        return np.array(
            [
                self.filter_one(state, cluster, cluster.nodes[row]) if row < len(cluster.nodes) else 0
                for row in rows.tolist()
            ],
            dtype=np.int64,
        )

    def filter_one(self, state: Any, cluster: ClusterCache, node: NodeRow) -> int:
        limits = self._limits(cluster, node.name)
        if not limits:
            return 0
        attached = dict(state)
        for other in node.pods.values():
            if other.needs.volumes:
                attached |= csi_volumes(other, cluster)
        counts: dict[str, int] = {}
        for driver, _ in attached:
            counts[driver] = counts.get(driver, 0) + 1
        return int(any(counts[driver] > limits.get(driver, counts[driver]) for driver, _ in state))

    def _limits(self, cluster: ClusterCache, name: str) -> dict[str, int]:
        csi_node = cluster.volumes.csi_nodes.get(name)
        if csi_node is None or csi_node.spec is None:
            return {}
        return {
            driver.name or "": driver.allocatable.count
            for driver in csi_node.spec.drivers
            if driver.allocatable is not None and driver.allocatable.count is not None
        }
