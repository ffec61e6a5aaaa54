"""Where a connection to a service goes: pure, from Services and EndpointSlices.

Concepts "Service", "EndpointSlices", "Topology aware routing", "Virtual IPs and service proxies" of the Kubernetes
documentation. What differs: without a `trafficDistribution` an endpoint on the caller's own node is preferred.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from kubeloop.actors.api.core_v1 import Service
from kubeloop.actors.api.discovery_v1 import EndpointSlice

AFFINITY_SECONDS = 10_800
ZONED_DISTRIBUTIONS = ("PreferSameZone", "PreferClose")


class Endpoint(msgspec.Struct, frozen=True):
    """One address of one port. usable: ready; or, while no endpoint is, serving though its pod is being deleted."""

    address: str
    port: int
    node_name: str = ""
    zone: str = ""
    pod: str = ""
    hostname: str = ""
    ready: bool = True
    serving: bool = True
    hint_zones: Sequence[str] = ()
    hint_nodes: Sequence[str] = ()


class PortRule(msgspec.Struct, frozen=True):
    """One port of a service, with the endpoints behind it."""

    service: str
    name: str
    port: int
    protocol: str
    node_port: int
    local_only: bool
    distribution: str
    affinity_seconds: int
    endpoints: Sequence[Endpoint]


class Route(msgspec.Struct, frozen=True):
    """Endpoints to try: the preferred ones first, then those to fall back on when connecting to them fails."""

    preferred: Sequence[Endpoint] = ()
    others: Sequence[Endpoint] = ()


def port_rules(service: Service, slices: Iterable[EndpointSlice]) -> dict[tuple[int, str], PortRule]:
    """The rules of one service, by (port, protocol)."""
    metadata, spec = service.metadata, service.spec
    assert metadata is not None and spec is not None
    slices = list(slices)
    affinity = 0
    if spec.session_affinity == "ClientIP":
        config = spec.session_affinity_config
        client_ip = config.client_ip if config is not None else None
        affinity = (client_ip.timeout_seconds if client_ip is not None else None) or AFFINITY_SECONDS
    rules = {}
    for port in spec.ports:
        protocol = port.protocol or "TCP"
        rules[port.port or 0, protocol] = PortRule(
            f"{metadata.namespace}/{metadata.name}",
            port.name or "",
            port.port or 0,
            protocol,
            port.node_port or 0,
            spec.internal_traffic_policy == "Local",
            spec.traffic_distribution or "",
            affinity,
            endpoints(slices, port.name or ""),
        )
    return rules


def endpoints(slices: Iterable[EndpointSlice], port_name: str) -> list[Endpoint]:
    """Every endpoint of the slices for the port of that name, each address once, in order of address."""
    found: dict[str, Endpoint] = {}
    for one in slices:
        number = next((port.port for port in one.ports if (port.name or "") == port_name), None)
        if number is None:
            continue
        for endpoint in one.endpoints:
            for address in endpoint.addresses:
                found[address] = _endpoint(endpoint, address, number)
    return [found[address] for address in sorted(found)]


def _endpoint(endpoint: Any, address: str, port: int) -> Endpoint:
    conditions, target, hints = endpoint.conditions, endpoint.target_ref, endpoint.hints
    ready = conditions is None or conditions.ready is not False
    serving = ready if conditions is None or conditions.serving is None else conditions.serving
    pod = f"{target.namespace}/{target.name}" if target is not None and target.kind == "Pod" else ""
    return Endpoint(
        address,
        port,
        endpoint.node_name or "",
        endpoint.zone or "",
        pod,
        endpoint.hostname or "",
        ready,
        serving,
        [zone.name for zone in hints.for_zones] if hints is not None else (),
        [node.name for node in hints.for_nodes] if hints is not None else (),
    )


def route(rule: PortRule, node_name: str, zone: str, *, same_node_first: bool = True) -> Route:
    """Which endpoints a caller on this node uses. Empty when the service refuses connections."""
    pool = [e for e in rule.endpoints if e.node_name == node_name] if rule.local_only else list(rule.endpoints)
    usable = [e for e in pool if e.ready] or [e for e in pool if e.serving]
    preferred: list[Endpoint] = []
    if rule.distribution in ZONED_DISTRIBUTIONS:
        preferred = [e for e in usable if zone and zone in (e.hint_zones or (e.zone,))]
    elif rule.distribution == "PreferSameNode" or same_node_first:
        preferred = [e for e in usable if node_name in (e.hint_nodes or (e.node_name,))]
    if not preferred:
        return Route(usable)
    return Route(preferred, [e for e in usable if e not in preferred])


def order(chosen: Route, turn: int, affine: str = "") -> list[Endpoint]:
    """Round robin: the preferred ones from `turn` on, then the others; the one with address `affine` before all."""
    attempts = [*_rotated(chosen.preferred, turn), *_rotated(chosen.others, turn)]
    if affine:
        attempts.sort(key=lambda endpoint: endpoint.address != affine)
    return attempts


def _rotated(found: Sequence[Endpoint], turn: int) -> list[Endpoint]:
    if not found:
        return []
    start = turn % len(found)
    return [*found[start:], *found[:start]]


def cluster_ip_index(services: Iterable[Service]) -> Mapping[str, str]:
    """Every cluster IP, external IP and load balancer IP, with the key NAMESPACE/NAME of its service."""
    found: dict[str, str] = {}
    for service in services:
        metadata, spec = service.metadata, service.spec
        if metadata is None or spec is None:
            continue
        key = f"{metadata.namespace}/{metadata.name}"
        for address in (spec.cluster_ip, *spec.cluster_ips, *spec.external_ips):
            if address and address != "None":
                found[address] = key
    return found
