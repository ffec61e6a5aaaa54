"""ImageLocality: prefers nodes that already hold the pod's images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kubeloop.actors.scheduler.framework import SCORE_MAX, Mask, Plugin, Scope, Vector

if TYPE_CHECKING:
    from kubeloop.actors.scheduler.cache import ClusterCache
    from kubeloop.actors.scheduler.needs import PodInfo

MEBIBYTE = 1024 * 1024
BYTES_MIN = 23 * MEBIBYTE
"""Less than this counts as nothing."""
CONTAINER_BYTES_MAX = 1000 * MEBIBYTE
"""More than this a container counts as this."""


def normalized(image: str) -> str:
    """The image name with its tag: without one it means ``latest``."""
    return image if ":" in image.rsplit("/", 1)[-1] else f"{image}:latest"


class ImageLocality(Plugin):
    """Sizes of present images count in proportion to the nodes that have them, so that no node becomes a magnet.

    Named by https://kubernetes.io/docs/reference/scheduling/config/#scheduling-plugins.
    """

    NAME = "ImageLocality"
    SCOPE = Scope.NODE
    WEIGHT = 1

    def pre_score(self, pod: PodInfo, cluster: ClusterCache) -> Sequence[str] | None:
        return tuple(normalized(image) for image in pod.needs.images) or None

    def score(self, state: Any, cluster: ClusterCache, feasible: Mask) -> Vector:
        sums = np.zeros(cluster.capacity, dtype=np.int64)
        nodes = max(cluster.count, 1)
        for image in state:
            rows = cluster.image_rows.get(image)
            if rows:
                spread = len(rows) / nodes
                sums[list(rows)] += np.array([int(size * spread) for size in rows.values()], dtype=np.int64)
        limit = CONTAINER_BYTES_MAX * len(state)
        return SCORE_MAX * (np.clip(sums, BYTES_MIN, limit) - BYTES_MIN) // (limit - BYTES_MIN)
