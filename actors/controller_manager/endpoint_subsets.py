"""A Service's addresses as one Endpoints object, for the clients that still read those: pure decisions.

https://kubernetes.io/docs/concepts/services-networking/service/#endpoints
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from kubeloop.actors.api.core_v1 import (
    EndpointAddress,
    EndpointPort,
    Endpoints,
    EndpointSubset,
    ObjectReference,
    Pod,
    Service,
)
from kubeloop.actors.api.meta_v1 import ObjectMeta
from kubeloop.actors.controller_manager import endpoint_slices, pod_facts

ADDRESSES_MAX = 1000
OVER_CAPACITY = "endpoints.kubernetes.io/over-capacity"
MANAGED_BY = "endpoints.kubernetes.io/managed-by"
MANAGER = "endpoint-controller"

SubsetKey = tuple[tuple[str, int, str, str | None], ...]


def plan_endpoints(service: Service, pods: Sequence[Pod], existing: Endpoints | None) -> Endpoints | None:
    """The Endpoints to create (`existing` None) or to update; None when it is as it should be."""
    metadata = service.metadata
    subsets, truncated = subsets_of(service, pods)
    labels = {**metadata.labels, MANAGED_BY: MANAGER}
    if endpoint_slices.is_headless(service):
        labels[endpoint_slices.HEADLESS] = ""
    old_metadata = existing.metadata if existing is not None else ObjectMeta()
    annotations = dict(old_metadata.annotations)
    annotations.pop(OVER_CAPACITY, None)
    if truncated:
        annotations[OVER_CAPACITY] = "truncated"
    if existing is None:
        name = ObjectMeta(name=metadata.name, namespace=metadata.namespace, labels=labels, annotations=annotations)
        return Endpoints(metadata=name, subsets=subsets)
    same_metadata = dict(old_metadata.labels) == labels and dict(old_metadata.annotations) == annotations
    if same_metadata and _comparable(existing.subsets) == _comparable(subsets):
        return None
    new_metadata = msgspec.structs.replace(old_metadata, labels=labels, annotations=annotations)
    return msgspec.structs.replace(existing, metadata=new_metadata, subsets=subsets)


def subsets_of(service: Service, pods: Sequence[Pod]) -> tuple[Sequence[EndpointSubset], bool]:
    """The subsets, one per set of ports, addresses in order; and whether some had to be left out."""
    family = endpoint_slices.address_types(service)[0]
    unready_too = bool(endpoint_slices.spec_of(service).publish_not_ready_addresses)
    groups: dict[SubsetKey, tuple[list[EndpointAddress], list[EndpointAddress]]] = {}
    for pod in pods:
        if not endpoint_slices.serves(pod) or (pod_facts.is_terminating(pod) and not unready_too):
            continue
        endpoint = endpoint_slices.endpoint_of(service, pod, family, lambda name: None)
        if endpoint is None:
            continue
        ports = endpoint_slices.ports_on(service, pod)
        if endpoint_slices.spec_of(service).ports and not ports:
            continue
        key = tuple((port.name or "", port.port or 0, port.protocol or "TCP", port.app_protocol) for port in ports)
        reference = endpoint.target_ref or ObjectReference()
        address = EndpointAddress(
            ip=endpoint.addresses[0], hostname=endpoint.hostname, node_name=endpoint.node_name, target_ref=reference
        )
        ready, unready = groups.setdefault(key, ([], []))
        (ready if unready_too or pod_facts.is_ready(pod) else unready).append(address)
    room, subsets, truncated = ADDRESSES_MAX, [], False
    for key in sorted(groups, key=repr):
        ready, unready = (sorted(each, key=lambda address: address.ip or "") for each in groups[key])
        kept, rest = ready[:room], unready[: max(0, room - len(ready))]
        truncated = truncated or len(kept) + len(rest) < len(ready) + len(unready)
        room -= len(kept) + len(rest)
        if kept or rest:
            subsets.append(EndpointSubset(addresses=tuple(kept), not_ready_addresses=tuple(rest), ports=_ports(key)))
    return tuple(subsets), truncated


def _ports(key: SubsetKey) -> Sequence[EndpointPort]:
    return tuple(
        EndpointPort(name=name or None, port=port, protocol=protocol, app_protocol=app)
        for name, port, protocol, app in key
    )


def _comparable(subsets: Sequence[EndpointSubset]) -> list[tuple[object, ...]]:
    """Equal for subsets that say the same, whether their lists are tuples or lists."""
    return [
        (
            [_address(address) for address in subset.addresses],
            [_address(address) for address in subset.not_ready_addresses],
            [(port.name or "", port.port, port.protocol, port.app_protocol) for port in subset.ports],
        )
        for subset in subsets
    ]


def _address(address: EndpointAddress) -> tuple[str | None, ...]:
    return address.ip, address.node_name, address.target_ref.uid if address.target_ref is not None else None
