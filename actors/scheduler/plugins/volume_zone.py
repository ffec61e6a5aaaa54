"""VolumeZone: a bound volume with zone or region labels is used from nodes of that zone or region."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from kubeloop.actors.scheduler.framework import Code, Event, Plugin, PreFilter, Status, Vector

if TYPE_CHECKING:
    from kubeloop.actors.scheduler.cache import ClusterCache
    from kubeloop.actors.scheduler.needs import PodInfo

TOPOLOGY_LABELS = (
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
)


class VolumeZone(Plugin):
    """Follows https://kubernetes.io/docs/reference/labels-annotations-taints/#topologykubernetesiozone."""

    NAME = "VolumeZone"
    REASON = "node(s) had no available volume zone"
    EVENTS = frozenset({Event.NODE_ADD, Event.NODE_LABEL, Event.VOLUME})

    def pre_filter(self, pod: PodInfo, cluster: ClusterCache) -> PreFilter | None:
        wanted: list[tuple[str, tuple[str, ...]]] = []
        for key in pod.claims:
            claim = cluster.volumes.claims.get(key)
            name = claim.spec.volume_name if claim is not None and claim.spec is not None else None
            volume = cluster.volumes.volumes.get(name) if name else None
            labels = volume.metadata.labels if volume is not None and volume.metadata is not None else {}
            wanted += [(label, tuple(labels[label].split("__"))) for label in TOPOLOGY_LABELS if label in labels]
        return PreFilter(wanted) if wanted else None

    def filter(self, state: Any, cluster: ClusterCache, rows: Vector) -> Vector:
        has_any = np.zeros(cluster.capacity, dtype=np.bool_)
        for label in TOPOLOGY_LABELS:
            has_any |= cluster.label(label).ids >= 0
        fits = np.ones(cluster.capacity, dtype=np.bool_)
        for label, values in state:
            fits &= cluster.label(label).among(values)
        return (has_any & ~fits)[rows].astype(np.int64)

    def status(self, state: Any, code: int) -> Status:
        return Status(Code.UNRESOLVABLE, (self.REASON,), self.NAME)
