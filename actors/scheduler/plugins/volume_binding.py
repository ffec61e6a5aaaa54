"""VolumeBinding: the pod's claims are bound to volumes that the node can reach, or can be.

Claims of classes that wait for their first consumer are matched here, with existing volumes or, where the class has a
provisioner, with ones to be made. ``choices`` tells the actor what to bind before the pod.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kubeloop.actors.api import quantity, selectors
from kubeloop.actors.scheduler.framework import Code, Event, Mask, Plugin, PreFilter, Status, Vector
from kubeloop.actors.scheduler.plugins.node_affinity import terms_mask

if TYPE_CHECKING:
    from kubeloop.actors.api.core_v1 import PersistentVolume, PersistentVolumeClaim
    from kubeloop.actors.scheduler.cache import ClusterCache
    from kubeloop.actors.scheduler.needs import PodInfo

NO_PROVISIONER = "kubernetes.io/no-provisioner"
SELECTED_NODE = "volume.kubernetes.io/selected-node"
WRONG_NODE, NOTHING_TO_BIND = 1, 2


def storage(resources: Mapping[str, str]) -> int:
    """Bytes of storage in a resource list."""
    return quantity.value(resources.get("storage", "0"))


def requested(claim: PersistentVolumeClaim) -> int:
    """Bytes that a claim requests."""
    spec = claim.spec
    return storage(spec.resources.requests) if spec is not None and spec.resources is not None else 0


def is_bound(claim: PersistentVolumeClaim) -> bool:
    """Whether the claim has its volume, completely."""
    spec, metadata = claim.spec, claim.metadata
    if spec is None or metadata is None or not spec.volume_name:
        return False
    return "pv.kubernetes.io/bind-completed" in metadata.annotations


def reach(volume: PersistentVolume, cluster: ClusterCache) -> Mask | None:
    """Rows of the nodes that a volume can be used from; None: all."""
    affinity = volume.spec.node_affinity if volume.spec is not None else None
    if affinity is None or affinity.required is None:
        return None
    return terms_mask(affinity.required.node_selector_terms, cluster)


def offers(volume: PersistentVolume, claim: PersistentVolumeClaim) -> bool:
    """Whether a volume meets what a claim asks for, and is free or kept for it."""
    offer, wanted, metadata = volume.spec, claim.spec, claim.metadata
    if offer is None or wanted is None or metadata is None:
        return False
    kept_for = offer.claim_ref
    if kept_for is not None:
        if (kept_for.namespace, kept_for.name) != (metadata.namespace, metadata.name):
            return False
        if kept_for.uid and kept_for.uid != metadata.uid:
            return False
    elif volume.status is None or volume.status.phase != "Available":
        return False
    labels = volume.metadata.labels if volume.metadata is not None else {}
    return (
        (offer.storage_class_name or "") == (wanted.storage_class_name or "")
        and (offer.volume_mode or "Filesystem") == (wanted.volume_mode or "Filesystem")
        and all(mode in offer.access_modes for mode in wanted.access_modes)
        and storage(offer.capacity) >= requested(claim)
        and (wanted.selector is None or selectors.from_label_selector(wanted.selector).matches(labels))
    )


class Claims:
    """A pod's claims, sorted by what is still to be done for them."""

    __slots__ = ("bound", "waiting")

    def __init__(self) -> None:
        self.bound: list[PersistentVolume] = []
        self.waiting: list[PersistentVolumeClaim] = []
        """Smallest first, as kube-scheduler matches them."""


class VolumeBinding(Plugin):
    """Follows https://kubernetes.io/docs/concepts/storage/storage-classes/#volume-binding-mode."""

    NAME = "VolumeBinding"
    REASON = "node(s) didn't match PersistentVolume's node affinity"
    REASON_BIND = "node(s) didn't find available persistent volumes to bind"
    REASON_IMMEDIATE = "pod has unbound immediate PersistentVolumeClaims"
    EVENTS = frozenset({Event.NODE_ADD, Event.NODE_LABEL, Event.VOLUME})

    def pre_filter(self, pod: PodInfo, cluster: ClusterCache) -> PreFilter | Status | None:
        if not pod.needs.volumes:
            return None
        found = Claims()
        for key in pod.claims:
            claim = cluster.volumes.claims.get(key)
            name = key.partition("/")[2]
            if claim is None:
                return self._refuse(f'persistentvolumeclaim "{name}" not found')
            if claim.status is not None and claim.status.phase == "Lost":
                volume_name = claim.spec.volume_name if claim.spec is not None else ""
                return self._refuse(
                    f'persistentvolumeclaim "{name}" bound to non-existent persistentvolume "{volume_name}"'
                )
            if claim.metadata is not None and claim.metadata.deletion_timestamp is not None:
                return self._refuse(f'persistentvolumeclaim "{name}" is being deleted')
            if not is_bound(claim):
                if not self._waits_for_consumer(claim, cluster):
                    return self._refuse(self.REASON_IMMEDIATE)
                found.waiting.append(claim)
                continue
            volume_name = (claim.spec.volume_name if claim.spec is not None else None) or ""
            volume = cluster.volumes.volumes.get(volume_name)
            if volume is None:
                return self._refuse(f'persistentvolume "{volume_name}" not found')
            found.bound.append(volume)
        found.waiting.sort(key=requested)
        return PreFilter(found)

    def _refuse(self, reason: str) -> Status:
        return Status(Code.UNRESOLVABLE, (reason,), self.NAME)

    def _waits_for_consumer(self, claim: PersistentVolumeClaim, cluster: ClusterCache) -> bool:
        name = claim.spec.storage_class_name if claim.spec is not None else None
        found = cluster.volumes.classes.get(name) if name else None
        if claim.spec is not None and claim.spec.volume_name:
            return False
        return found is not None and found.volume_binding_mode == "WaitForFirstConsumer"

    def filter(self, state: Claims, cluster: ClusterCache, rows: Vector) -> Vector:
        codes = np.zeros(cluster.capacity, dtype=np.int64)
        for volume in state.bound:
            mask = reach(volume, cluster)
            if mask is not None:
                codes[~mask] = WRONG_NODE
        if state.waiting:
            for row in rows.tolist():
                if codes[row] == 0 and choices(state.waiting, cluster, row) is None:
                    codes[row] = NOTHING_TO_BIND
        return codes[rows]

    def status(self, state: Any, code: int) -> Status:
        return self._refuse(self.REASON if code == WRONG_NODE else self.REASON_BIND)


def choices(
    waiting: Sequence[PersistentVolumeClaim], cluster: ClusterCache, row: int
) -> list[tuple[PersistentVolumeClaim, PersistentVolume | None]] | None:
    """For each claim its volume on one node, None where one is to be provisioned; None: it cannot be done there."""
    chosen: list[tuple[PersistentVolumeClaim, PersistentVolume | None]] = []
    taken: dict[str, None] = {}
    node = cluster.nodes[row] if row < len(cluster.nodes) else None
    for claim in waiting:
        selected = claim.metadata.annotations.get(SELECTED_NODE) if claim.metadata is not None else None
        if selected and node is not None and selected != node.name:
            return None
        volume = _smallest(claim, cluster, row, taken)
        if volume is None and not _provisionable(claim, cluster):
            return None
        chosen.append((claim, volume))
        if volume is not None and volume.metadata is not None:
            taken[volume.metadata.name or ""] = None
    return chosen


def _smallest(
    claim: PersistentVolumeClaim, cluster: ClusterCache, row: int, taken: Mapping[str, None]
) -> PersistentVolume | None:
    best: tuple[bool, int, str] | None = None
    found = None
    for name, volume in cluster.volumes.volumes.items():
        if name in taken or volume.spec is None or not offers(volume, claim):
            continue
        mask = reach(volume, cluster)
        if mask is not None and not mask[row]:
            continue
        rank = (volume.spec.claim_ref is None, storage(volume.spec.capacity), name)
        if best is None or rank < best:
            best, found = rank, volume
    return found


def _provisionable(claim: PersistentVolumeClaim, cluster: ClusterCache) -> bool:
    name = claim.spec.storage_class_name if claim.spec is not None else None
    found = cluster.volumes.classes.get(name) if name else None
    return found is not None and bool(found.provisioner) and found.provisioner != NO_PROVISIONER
