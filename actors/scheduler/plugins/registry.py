"""The one list of plugins, in the order in which kube-scheduler runs their filters.

The order decides which refusal a node is counted under: the first one.
"""

from __future__ import annotations

from collections.abc import Sequence

from kubeloop.actors.scheduler.framework import Plugin
from kubeloop.actors.scheduler.plugins.image_locality import ImageLocality
from kubeloop.actors.scheduler.plugins.inter_pod_affinity import InterPodAffinity
from kubeloop.actors.scheduler.plugins.node_affinity import NodeAffinity
from kubeloop.actors.scheduler.plugins.node_name import NodeName
from kubeloop.actors.scheduler.plugins.node_ports import NodePorts
from kubeloop.actors.scheduler.plugins.node_resources_balanced_allocation import NodeResourcesBalancedAllocation
from kubeloop.actors.scheduler.plugins.node_resources_fit import NodeResourcesFit
from kubeloop.actors.scheduler.plugins.node_unschedulable import NodeUnschedulable
from kubeloop.actors.scheduler.plugins.node_volume_limits import NodeVolumeLimits
from kubeloop.actors.scheduler.plugins.pod_topology_spread import PodTopologySpread
from kubeloop.actors.scheduler.plugins.taint_toleration import TaintToleration
from kubeloop.actors.scheduler.plugins.volume_binding import VolumeBinding
from kubeloop.actors.scheduler.plugins.volume_restrictions import VolumeRestrictions
from kubeloop.actors.scheduler.plugins.volume_zone import VolumeZone

PLUGINS: Sequence[type[Plugin]] = (
    NodeUnschedulable,
    NodeName,
    TaintToleration,
    NodeAffinity,
    NodePorts,
    NodeResourcesFit,
    VolumeRestrictions,
    NodeVolumeLimits,
    VolumeBinding,
    VolumeZone,
    PodTopologySpread,
    InterPodAffinity,
    NodeResourcesBalancedAllocation,
    ImageLocality,
)


def default_plugins() -> list[tuple[Plugin, int]]:
    """Every plugin with its documented default weight."""
    return [(plugin(), plugin.WEIGHT) for plugin in PLUGINS]
