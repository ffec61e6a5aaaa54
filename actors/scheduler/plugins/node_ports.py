"""NodePorts: a host port can be taken once on a node."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from kubeloop.actors.scheduler.framework import Event, Plugin, PreFilter, Scope, Vector

if TYPE_CHECKING:
    from kubeloop.actors.scheduler.cache import ClusterCache
    from kubeloop.actors.scheduler.needs import HostPort, PodInfo

EVERY_ADDRESS = "0.0.0.0"


def clashes(one: HostPort, other: HostPort) -> bool:
    """Whether two host ports cannot both be taken on a node: 0.0.0.0 stands for every address."""
    return one[1:] == other[1:] and (one[0] == other[0] or EVERY_ADDRESS in (one[0], other[0]))


class NodePorts(Plugin):
    """Follows https://kubernetes.io/docs/reference/scheduling/config/#scheduling-plugins."""

    NAME = "NodePorts"
    REASON = "node(s) didn't have free ports for the requested pod ports"
    SCOPE = Scope.USAGE
    EVENTS = frozenset({Event.NODE_ADD, Event.POD_DELETE})

    def pre_filter(self, pod: PodInfo, cluster: ClusterCache) -> PreFilter | None:
        return PreFilter(pod.needs.host_ports) if pod.needs.host_ports else None

    def filter(self, state: Any, cluster: ClusterCache, rows: Vector) -> Vector:
        taken = np.zeros(cluster.capacity, dtype=np.int64)
        for address, protocol, port in state:
            for row, addresses in cluster.port_users.get((protocol, port), {}).items():
                if address == EVERY_ADDRESS or address in addresses or EVERY_ADDRESS in addresses:
                    taken[row] = 1
        return taken[rows]

    def helps(self, pod: PodInfo, event: Event, subject: Any, cluster: ClusterCache) -> bool:
        if event is Event.NODE_ADD:
            return True
        return any(clashes(one, other) for one in pod.needs.host_ports for other in subject.needs.host_ports)
