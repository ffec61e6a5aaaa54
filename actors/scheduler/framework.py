"""What a scheduling plugin is.

Follows https://kubernetes.io/docs/concepts/scheduling-eviction/scheduling-framework/, with one difference: Filter and
Score answer for many nodes at once, with a vector, because the nodes are columns (``cache.py``).

A verdict about a pod is a ``Status``; a fault of the plugin itself is an exception.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from kubeloop.actors.scheduler.cache import ClusterCache, NodeRow
    from kubeloop.actors.scheduler.needs import PodInfo

Mask = NDArray[np.bool_]
Vector = NDArray[np.int64]
SCORE_MAX = 100


class Code(enum.Enum):
    """How a plugin judged."""

    UNSCHEDULABLE = "Unschedulable"
    """Not now; removing pods might help."""
    UNRESOLVABLE = "UnschedulableAndUnresolvable"
    """Removing pods would not help: preemption skips the node."""


class Status(msgspec.Struct, frozen=True):
    """Why a pod does not go to a node."""

    code: Code
    reasons: tuple[str, ...]
    plugin: str


class Scope(enum.Enum):
    """What a plugin's answer for a node depends on, and so when it has to be asked again."""

    NODE = "node"
    """The pod and the node object."""
    USAGE = "usage"
    """Also the pods on that node."""
    CLUSTER = "cluster"
    """Also other nodes and their pods."""


class PreFilter(msgspec.Struct, frozen=True):
    """What a plugin found out before looking at nodes.

    ``state`` is handed to Filter; ``node_names``, when not None, are the only nodes that can be right.
    """

    state: Any = None
    node_names: frozenset[str] | None = None


class Event(enum.Enum):
    """What can happen in a cluster that may make a waiting pod schedulable."""

    NODE_ADD = "node added"
    NODE_ALLOCATABLE = "node allocatable changed"
    NODE_LABEL = "node labels changed"
    NODE_TAINT = "node taints or unschedulable changed"
    POD_ADD = "bound pod added"
    POD_LABEL = "bound pod's labels changed"
    POD_DELETE = "bound pod gone"
    VOLUME = "claim, volume, storage class or CSI node changed"
    NAMESPACE = "namespace changed"
    SERVICE = "service or owner of pods changed"


class Plugin:
    """Base of all plugins: passes every node and scores nothing.

    Override what the plugin decides. ``pre_filter`` and ``pre_score`` may return None: nothing to do for this pod,
    and the plugin costs nothing.
    """

    NAME: ClassVar[str]
    REASON: ClassVar[str] = ""
    SCOPE: ClassVar[Scope] = Scope.NODE
    WEIGHT: ClassVar[int] = 0
    """Default weight of the score; 0: does not score."""
    EVENTS: ClassVar[frozenset[Event]] = frozenset()
    """What may make a node right that this plugin refused."""

    def pre_filter(self, pod: PodInfo, cluster: ClusterCache) -> PreFilter | Status | None:
        """Looks at the pod once; a Status refuses it on every node."""
        return None

    def filter(self, state: Any, cluster: ClusterCache, rows: Vector) -> Vector:
        """Codes by row: 0 fits; what others mean is told by ``status``."""
        raise NotImplementedError(f"{self.NAME} returned a state from pre_filter but has no filter")

    def filter_one(self, state: Any, cluster: ClusterCache, node: NodeRow) -> int:
        """``filter`` for one node; override where that is much cheaper."""
        return int(self.filter(state, cluster, np.array([node.row]))[0])

    def status(self, state: Any, code: int) -> Status:
        """What a code of ``filter`` means."""
        return Status(Code.UNSCHEDULABLE, (self.REASON,), self.NAME)

    def pre_score(self, pod: PodInfo, cluster: ClusterCache) -> Any:
        """The state handed to Score; None: every node would score the same."""
        return None

    def score(self, state: Any, cluster: ClusterCache, feasible: Mask) -> Vector:
        """Raw scores of all rows; those that are not feasible don't matter."""
        raise NotImplementedError(f"{self.NAME} returned a state from pre_score but has no score")

    def score_one(self, state: Any, cluster: ClusterCache, node: NodeRow) -> int:
        """``score`` for one node; override where that is much cheaper. Asked only of plugins of USAGE scope."""
        return int(self.score(state, cluster, cluster.valid)[node.row])

    def normalize(self, state: Any, scores: Vector, feasible: Mask) -> Vector:
        """Scores within 0..100; may use the extremes over the ``feasible`` rows (at least one)."""
        return scores

    def helps(self, pod: PodInfo, event: Event, subject: Any, cluster: ClusterCache) -> bool:
        """Queueing hint: whether ``event`` about ``subject`` (NodeRow or PodInfo) may make the refused ``pod`` fit."""
        return True


def normalize_by_maximum(scores: Vector, feasible: Mask, *, reverse: bool = False) -> Vector:
    """kube-scheduler's default: the best feasible raw score becomes 100, or 0 when ``reverse``."""
    highest = int(scores[feasible].max())
    if highest == 0:
        return np.full(len(scores), SCORE_MAX if reverse else 0, dtype=np.int64)
    scaled = scores * SCORE_MAX // highest
    return SCORE_MAX - scaled if reverse else scaled
