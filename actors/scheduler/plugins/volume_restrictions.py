"""VolumeRestrictions: a ReadWriteOncePod claim serves one pod at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kubeloop.actors.scheduler.framework import Code, Event, Plugin, PreFilter, Scope, Status, Vector

if TYPE_CHECKING:
    from kubeloop.actors.scheduler.cache import ClusterCache
    from kubeloop.actors.scheduler.needs import PodInfo


class VolumeRestrictions(Plugin):
    """Follows https://kubernetes.io/docs/concepts/storage/persistent-volumes/#access-modes."""

    NAME = "VolumeRestrictions"
    REASON = (
        "node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode "
        "already in-use by another pod"
    )
    SCOPE = Scope.CLUSTER
    EVENTS = frozenset({Event.NODE_ADD, Event.POD_DELETE, Event.VOLUME})

    def pre_filter(self, pod: PodInfo, cluster: ClusterCache) -> PreFilter | Status | None:
        alone = []
        for key in pod.claims:
            claim = cluster.volumes.claims.get(key)
            if claim is None:
                name = key.partition("/")[2]
                return Status(Code.UNRESOLVABLE, (f'persistentvolumeclaim "{name}" not found',), self.NAME)
            if claim.spec is not None and "ReadWriteOncePod" in claim.spec.access_modes:
                alone.append(key)
        return PreFilter(alone) if alone else None

    def filter(self, state: Sequence[str], cluster: ClusterCache, rows: Vector) -> Vector:
        taken = any(key in cluster.claim_users for key in state)
        return np.full(len(rows), 1 if taken else 0, dtype=np.int64)

    def helps(self, pod: PodInfo, event: Event, subject: Any, cluster: ClusterCache) -> bool:
        if event is not Event.POD_DELETE:
            return True
        freed = set(subject.claims)
        return any(key in freed for key in pod.claims)
