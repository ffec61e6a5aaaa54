"""Which endpoints a Service has, packed into EndpointSlices: pure decisions.

https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from kubeloop.actors.api.core_v1 import Node, ObjectReference, Pod, Service, ServiceSpec
from kubeloop.actors.api.discovery_v1 import (
    Endpoint,
    EndpointConditions,
    EndpointHints,
    EndpointPort,
    EndpointSlice,
    ForNode,
    ForZone,
)
from kubeloop.actors.api.meta_v1 import ObjectMeta, OwnerReference
from kubeloop.actors.controller_manager import pod_facts

ENDPOINTS_PER_SLICE_MAX = 100
SERVICE_NAME = "kubernetes.io/service-name"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
MANAGER = "endpointslice-controller.k8s.io"
HEADLESS = "service.kubernetes.io/headless"
ZONE = "topology.kubernetes.io/zone"

Ports = tuple[EndpointPort, ...]
GetNode = Callable[[str], Node | None]


class SlicePlan(msgspec.Struct, frozen=True):
    """The writes that make the slices say what the pods are; slices not named stay as they are."""

    create: Sequence[EndpointSlice] = ()
    update: Sequence[EndpointSlice] = ()
    delete: Sequence[EndpointSlice] = ()


def spec_of(service: Service) -> ServiceSpec:
    return service.spec


def wants_endpoints(service: Service) -> bool:
    """A service with a selector; the endpoints of others are somebody else's."""
    spec = spec_of(service)
    return bool(spec.selector) and spec.type != "ExternalName"


def is_headless(service: Service) -> bool:
    return spec_of(service).cluster_ip == "None"


def address_types(service: Service) -> tuple[str, ...]:
    """IPv4, IPv6 or both, in the service's order."""
    families = spec_of(service).ip_families or ("IPv4",)
    return tuple(family for family in families)


def serves(pod: Pod) -> bool:
    """It has an address, and its containers have not ended."""
    return bool(pod_facts.pod_ips(pod)) and not pod_facts.is_terminated(pod)


def ports_on(service: Service, pod: Pod) -> Ports:
    """The service's ports as they are on this pod; a port that the pod does not name is left out."""
    ports = []
    for port in spec_of(service).ports:
        protocol = port.protocol or "TCP"
        number = pod_facts.find_port(pod, port.target_port, port.port or 0, protocol)
        if number is not None:
            ports.append(
                EndpointPort(name=port.name or "", port=number, protocol=protocol, app_protocol=port.app_protocol)
            )
    return tuple(ports)


def endpoint_of(service: Service, pod: Pod, address_type: str, get_node: GetNode) -> Endpoint | None:
    """The pod as an endpoint; None when it has no address of that family."""
    wanted_colon = address_type == "IPv6"
    address = next((ip for ip in pod_facts.pod_ips(pod) if (":" in ip) == wanted_colon), None)
    if address is None:
        return None
    metadata, spec = pod.metadata, spec_of(service)
    serving, terminating = pod_facts.is_ready(pod), pod_facts.is_terminating(pod)
    ready = bool(spec.publish_not_ready_addresses) or (serving and not terminating)
    node_name = pod_facts.node_name(pod)
    zone = _zone(get_node(node_name)) if node_name else None
    subdomain_is_service = pod.spec.subdomain == service.metadata.name
    return Endpoint(
        addresses=(address,),
        conditions=EndpointConditions(ready=ready, serving=serving, terminating=terminating),
        hostname=pod.spec.hostname if pod.spec.hostname and subdomain_is_service else None,
        node_name=node_name or None,
        zone=zone,
        target_ref=ObjectReference(kind="Pod", namespace=metadata.namespace, name=metadata.name, uid=metadata.uid),
        hints=_hints(spec.traffic_distribution, ready, node_name, zone),
    )


def _zone(node: Node | None) -> str | None:
    return node.metadata.labels.get(ZONE) if node is not None else None


def _hints(distribution: str | None, ready: bool, node_name: str, zone: str | None) -> EndpointHints | None:
    """Where the endpoint is meant to be used first (service.spec.trafficDistribution)."""
    if not ready or distribution not in ("PreferClose", "PreferSameZone", "PreferSameNode"):
        return None
    zones = (ForZone(name=zone),) if zone else ()
    nodes = (ForNode(name=node_name),) if node_name and distribution == "PreferSameNode" else ()
    return EndpointHints(for_zones=zones, for_nodes=nodes) if zones or nodes else None


def slice_labels(service: Service) -> dict[str, str]:
    metadata = service.metadata
    assert metadata.name is not None
    own = {key: value for key, value in metadata.labels.items() if key not in (SERVICE_NAME, MANAGED_BY, HEADLESS)}
    if is_headless(service):
        own[HEADLESS] = ""
    return {**own, SERVICE_NAME: metadata.name, MANAGED_BY: MANAGER}


def plan_slices(
    service: Service, pods: Sequence[Pod], existing: Sequence[EndpointSlice], get_node: GetNode
) -> SlicePlan:
    """Few writes: an endpoint stays in the slice it is in, new ones fill up the fullest slices that have room."""
    create: list[EndpointSlice] = []
    update: list[EndpointSlice] = []
    delete: list[EndpointSlice] = []
    families = address_types(service)
    delete.extend(each for each in existing if each.address_type not in families)
    for family in families:
        desired: dict[Ports, dict[str, Endpoint]] = {}
        for pod in pods:
            endpoint = endpoint_of(service, pod, family, get_node) if serves(pod) else None
            if endpoint is not None:
                assert pod.metadata.uid is not None
                desired.setdefault(ports_on(service, pod), {})[pod.metadata.uid] = endpoint
        by_ports: dict[Ports, list[EndpointSlice]] = {}
        for each in existing:
            if each.address_type == family:
                by_ports.setdefault(_ports_of(each), []).append(each)
        if not desired:  # a service without endpoints keeps one empty slice to say so
            desired = {(): {}}
        for ports in by_ports:
            if ports not in desired:
                delete.extend(by_ports[ports])
        for ports, endpoints in desired.items():
            plan = _plan_ports(service, family, ports, endpoints, by_ports.get(ports, []))
            create.extend(plan.create)
            update.extend(plan.update)
            delete.extend(plan.delete)
    return SlicePlan(create, update, delete)


def _plan_ports(
    service: Service, family: str, ports: Ports, desired: Mapping[str, Endpoint], existing: Sequence[EndpointSlice]
) -> SlicePlan:
    """The slices of one set of ports."""
    labels = slice_labels(service)
    waiting = dict(desired)
    kept: list[tuple[EndpointSlice, list[Endpoint]]] = []
    for each in existing:
        staying = []
        for endpoint in each.endpoints:
            wanted = waiting.pop(_uid(endpoint), None)
            if wanted is not None:
                staying.append(wanted)
        kept.append((each, staying))
    rest = list(waiting.values())
    for _, staying in sorted(kept, key=lambda item: -len(item[1])):
        room = ENDPOINTS_PER_SLICE_MAX - len(staying)
        if staying and rest and room > 0:
            staying.extend(rest[:room])
            rest = rest[room:]
    empty = [item for item in kept if not item[1]]
    for _, staying in empty:
        staying.extend(rest[:ENDPOINTS_PER_SLICE_MAX])
        rest = rest[ENDPOINTS_PER_SLICE_MAX:]
    create = [
        _new_slice(service, family, ports, rest[start : start + ENDPOINTS_PER_SLICE_MAX], labels)
        for start in range(0, len(rest), ENDPOINTS_PER_SLICE_MAX)
    ]
    filled = [item for item in kept if item[1]]
    delete = [each for each, staying in kept if not staying]
    if not filled and not create:
        if delete:
            filled, delete = [(delete[0], [])], delete[1:]
        else:
            create = [_new_slice(service, family, ports, (), labels)]
    update = [_with(each, staying, labels) for each, staying in filled if _differs(each, staying, labels)]
    return SlicePlan(create, update, delete)


def _differs(each: EndpointSlice, endpoints: Sequence[Endpoint], labels: Mapping[str, str]) -> bool:
    if dict(each.metadata.labels) != labels or len(each.endpoints) != len(endpoints):
        return True
    return any(not _same(old, new) for old, new in zip(each.endpoints, endpoints, strict=True))


def _same(old: Endpoint, new: Endpoint) -> bool:
    return _comparable(old) == _comparable(new)


def _comparable(endpoint: Endpoint) -> tuple[object, ...]:
    """Equal for endpoints that say the same, whether their lists are tuples or lists."""
    hints = endpoint.hints
    reference = endpoint.target_ref
    return (
        tuple(endpoint.addresses),
        endpoint.conditions,
        endpoint.hostname,
        endpoint.node_name,
        endpoint.zone,
        (reference.kind, reference.namespace, reference.name, reference.uid) if reference is not None else None,
        (tuple(hints.for_zones), tuple(hints.for_nodes)) if hints is not None else None,
    )


def _with(each: EndpointSlice, endpoints: Sequence[Endpoint], labels: Mapping[str, str]) -> EndpointSlice:
    metadata = msgspec.structs.replace(each.metadata, labels=labels)
    return msgspec.structs.replace(each, metadata=metadata, endpoints=tuple(endpoints))


def _new_slice(
    service: Service, family: str, ports: Ports, endpoints: Sequence[Endpoint], labels: Mapping[str, str]
) -> EndpointSlice:
    metadata = service.metadata
    assert metadata.name is not None
    owner = OwnerReference(
        api_version="v1",
        kind="Service",
        name=metadata.name,
        uid=metadata.uid,
        controller=True,
        block_owner_deletion=True,
    )
    return EndpointSlice(
        metadata=ObjectMeta(
            generate_name=f"{metadata.name}-", namespace=metadata.namespace, labels=labels, owner_references=(owner,)
        ),
        address_type=family,
        ports=ports,
        endpoints=tuple(endpoints),
    )


def _ports_of(each: EndpointSlice) -> Ports:
    return tuple(
        EndpointPort(
            name=port.name or "", port=port.port, protocol=port.protocol or "TCP", app_protocol=port.app_protocol
        )
        for port in each.ports
    )


def _uid(endpoint: Endpoint) -> str:
    return (endpoint.target_ref.uid if endpoint.target_ref is not None else None) or ""
