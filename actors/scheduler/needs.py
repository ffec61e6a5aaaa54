"""A waiting or bound pod as the scheduler sees it; pods with equal needs share one ``Needs``.

``Needs`` is everything in a pod's spec that can influence where it goes, parsed once. Ten thousand replicas differ
in name only: they have the same key, so they share the parsed object and later one evaluation over all nodes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from kubeloop.actors.scheduler import requests
from kubeloop.actors.scheduler.terms import AffinityTerms, parse_affinity

if TYPE_CHECKING:
    from kubeloop.actors.api.core_v1 import NodeSelector, Pod, PodSpec, Toleration, TopologySpreadConstraint

HostPort = tuple[str, str, int]
"""Host IP, protocol, port."""

_encode = msgspec.json.Encoder().encode
_encode_mapping = msgspec.json.Encoder(order="deterministic").encode


class Needs:
    """What a pod asks for; shared by all pods with an equal key."""

    __slots__ = (
        "affinity",
        "columns",
        "host_ports",
        "images",
        "key",
        "node_selector",
        "preferred_node_terms",
        "requests",
        "required_node_terms",
        "scoring_cpu",
        "scoring_memory",
        "spread_constraints",
        "tolerations",
        "volumes",
    )

    def __init__(self, key: bytes, spec: PodSpec) -> None:
        self.key = key
        self.requests: Mapping[str, int] = requests.pod_requests(spec)
        scoring = requests.pod_requests(spec, requests.SCORING_DEFAULTS)
        self.scoring_cpu = scoring.get(requests.CPU, 0)
        self.scoring_memory = scoring.get(requests.MEMORY, 0)
        self.columns: list[tuple[int, int]] | None = None
        """Resource column of the cluster's cache and amount; filled in by the cache, which interned this."""
        self.host_ports: Sequence[HostPort] = host_ports(spec)
        self.images: Sequence[str] = tuple(c.image or "" for c in (*spec.init_containers, *spec.containers))
        self.tolerations: Sequence[Toleration] = spec.tolerations
        self.node_selector: Mapping[str, str] = spec.node_selector
        node = spec.affinity.node_affinity if spec.affinity is not None else None
        self.required_node_terms: NodeSelector | None = (
            node.required_during_scheduling_ignored_during_execution if node is not None else None
        )
        self.preferred_node_terms = (
            node.preferred_during_scheduling_ignored_during_execution if node is not None else ()
        )
        self.affinity: AffinityTerms | None = parse_affinity(spec.affinity)
        self.spread_constraints: Sequence[TopologySpreadConstraint] = spec.topology_spread_constraints
        self.volumes = tuple(v for v in spec.volumes if v.persistent_volume_claim or v.ephemeral)


def host_ports(spec: PodSpec) -> tuple[HostPort, ...]:
    """Host ports that the pod takes; those of plain init containers don't count, those of sidecars do."""
    sidecars = [c for c in spec.init_containers if c.restart_policy == "Always"]
    taken: dict[HostPort, None] = {}
    for container in (*sidecars, *spec.containers):
        for port in container.ports:
            number = port.host_port or (port.container_port if spec.host_network else 0)
            if number:
                taken[(port.host_ip or "0.0.0.0", port.protocol or "TCP", number)] = None
    return tuple(taken)


def needs_key(spec: PodSpec) -> bytes:
    """Equal for two specs that ask for the same: an encoding of the fields that matter."""
    fields: list[Any] = [[(c.image, c.resources, c.ports) for c in spec.containers]]
    if spec.init_containers:
        fields.append([(c.image, c.resources, c.ports, c.restart_policy) for c in spec.init_containers])
    volumes = [
        (v.name, v.persistent_volume_claim, v.ephemeral)
        for v in spec.volumes
        if v.persistent_volume_claim is not None or v.ephemeral is not None
    ]
    for name, value in (
        ("hostNetwork", spec.host_network),
        ("nodeSelector", spec.node_selector),
        ("affinity", spec.affinity),
        ("tolerations", spec.tolerations),
        ("spread", spec.topology_spread_constraints),
        ("overhead", spec.overhead),
        ("resources", spec.resources),
        ("volumes", volumes),
    ):
        if value:
            fields.append((name, value))
    return _encode(fields)


class NeedsTable:
    """Interns ``Needs`` by key; forgets the least recently made beyond ``entries_max``."""

    def __init__(self, entries_max: int = 10_000) -> None:
        self._entries_max = entries_max
        self._table: dict[bytes, Needs] = {}
        self._newest: tuple[PodSpec, Needs] | None = None

    def of(self, spec: PodSpec) -> Needs:
        """The shared needs of ``spec``. Pods made from one template often share the very spec, and come in a row."""
        newest = self._newest
        if newest is not None and newest[0] is spec:
            return newest[1]
        key = needs_key(spec)
        found = self._table.get(key)
        if found is None:
            if len(self._table) >= self._entries_max:
                del self._table[next(iter(self._table))]
            found = self._table[key] = Needs(key, spec)
        self._newest = (spec, found)
        return found


class PodInfo:
    """One pod: its object and what the scheduler has worked out about it."""

    __slots__ = (
        "group_key",
        "key",
        "labels",
        "namespace",
        "needs",
        "node_name",
        "pod",
        "priority",
        "terminating",
        "uid",
    )

    def __init__(self, pod: Pod, table: NeedsTable) -> None:
        metadata, spec = pod.metadata, pod.spec
        if metadata is None or spec is None:
            raise ValueError("a pod of the API server has metadata and spec")
        self.pod = pod
        self.namespace = metadata.namespace or ""
        self.key = f"{self.namespace}/{metadata.name}"
        self.uid = metadata.uid or self.key
        self.labels: Mapping[str, str] = metadata.labels
        self.terminating = metadata.deletion_timestamp is not None
        self.priority = spec.priority or 0
        self.node_name = spec.node_name
        self.needs = table.of(spec)
        affinity = self.needs.key if self.needs.affinity is not None else b""
        labels = _encode_mapping(self.labels) if self.labels else b""
        self.group_key = (self.namespace, labels, self.terminating, affinity)

    @property
    def claims(self) -> list[str]:
        """Keys of the persistent volume claims that the pod uses, those of ephemeral volumes included."""
        name = self.key.partition("/")[2]
        keys = []
        for volume in self.needs.volumes:
            claim = volume.persistent_volume_claim
            keys.append(f"{self.namespace}/{claim.claim_name if claim is not None else f'{name}-{volume.name}'}")
        return keys
