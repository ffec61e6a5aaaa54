"""Cluster IPs and node ports of services: found free among those that other services hold, or refused.

The allocator has no memory: what is taken is what the services in store say. So nothing leaks, dry runs cost nothing,
and a restart forgets nothing.
"""

import ipaddress
from collections.abc import Iterable, Sequence
from typing import Any

from msgspec.structs import replace

from kubeloop.actors.api import errors as api_errors
from kubeloop.actors.api.errors import FieldError
from kubeloop.actors.apiserver.registry.fields import Errors, check_ip, invalid, unsupported
from kubeloop.actors.apiserver.registry.kind import StrategyContext

SERVICE_NETWORK = ipaddress.IPv4Network("10.96.0.0/16")
NODE_PORT_MIN, NODE_PORT_MAX = 30000, 32767
ALLOCATED = "provided port is already allocated"


def needs_cluster_ip(spec: Any) -> bool:
    return spec.type in ("ClusterIP", "NodePort", "LoadBalancer")


def needs_node_ports(spec: Any) -> bool:
    return spec.type == "NodePort" or (
        spec.type == "LoadBalancer" and spec.allocate_load_balancer_node_ports is not False
    )


def needs_health_check_port(spec: Any) -> bool:
    return bool(spec.type == "LoadBalancer" and spec.external_traffic_policy == "Local")


def is_headless(spec: Any) -> bool:
    return bool((spec.cluster_ips and spec.cluster_ips[0] == "None") or spec.cluster_ip == "None")


def refuse(service: Any, errors: Sequence[FieldError]) -> None:
    """Raises the 422 of errors that a real API server reports before it validates anything else."""
    if errors:
        raise api_errors.invalid("", "Service", service.metadata.name or "", list(errors))


def check_cluster_ip_fields(spec: Any) -> Sequence[FieldError]:
    """clusterIP, clusterIPs, ipFamilies and ipFamilyPolicy in themselves and against each other."""
    errors: Errors = []
    if spec.type == "ExternalName":
        for value, name in (
            (spec.cluster_ips, "clusterIPs"),
            (spec.ip_families, "ipFamilies"),
            (spec.ip_family_policy, "ipFamilyPolicy"),
        ):
            if value:
                errors.append(
                    FieldError("FieldValueForbidden", f"spec.{name}", "", "may not be set for ExternalName services")
                )
        return errors
    if spec.ip_family_policy is not None and spec.ip_family_policy not in (
        "SingleStack",
        "PreferDualStack",
        "RequireDualStack",
    ):
        errors.append(
            unsupported(
                "spec.ipFamilyPolicy", spec.ip_family_policy, ("PreferDualStack", "RequireDualStack", "SingleStack")
            )
        )
    for index, family in enumerate(spec.ip_families):
        if family not in ("IPv4", "IPv6"):
            errors.append(unsupported(f"spec.ipFamilies[{index}]", family, ("IPv4", "IPv6")))
    for index, ip in enumerate(spec.cluster_ips):
        if ip == "None":
            if len(spec.cluster_ips) > 1:
                errors.append(invalid(f"spec.clusterIPs[{index}]", ip, "'None' must be the first and only value"))
        elif ip:
            check_ip(errors, f"spec.clusterIPs[{index}]", ip)
    if spec.cluster_ips and (spec.cluster_ip or "") != spec.cluster_ips[0]:
        errors.append(invalid("spec.clusterIPs", list(spec.cluster_ips), "first value must match `clusterIP`"))
    return errors


def with_ip_fields(service: Any) -> Any:
    """The service with clusterIPs beside clusterIP, its address families and their policy. Raises 422."""
    spec = service.spec
    if spec.type not in ("ClusterIP", "NodePort", "LoadBalancer", "ExternalName"):
        return service
    changes: dict[str, Any] = {}
    if spec.cluster_ip and not spec.cluster_ips:
        changes["cluster_ips"] = (spec.cluster_ip,)
    elif spec.cluster_ips and not spec.cluster_ip:
        changes["cluster_ip"] = spec.cluster_ips[0]
    service = replace(service, spec=replace(spec, **changes)) if changes else service
    spec = service.spec
    if spec.type == "ExternalName":
        return service
    refuse(service, check_cluster_ip_fields(spec))
    errors: Errors = []
    if is_headless(spec) and not spec.selector:
        families: Sequence[str] = ("IPv4", "IPv6")
        policy = "RequireDualStack"
        if spec.ip_family_policy == "SingleStack" or len(spec.ip_families) == 1:
            families, policy = (spec.ip_families or ("IPv4",))[:1], "SingleStack"
        return replace(
            service,
            spec=replace(
                spec, ip_families=spec.ip_families or families, ip_family_policy=spec.ip_family_policy or policy
            ),
        )
    if spec.ip_family_policy == "RequireDualStack":
        errors.append(
            invalid(
                "spec.ipFamilyPolicy", spec.ip_family_policy, "this cluster is not configured for dual-stack services"
            )
        )
    for index, family in enumerate(spec.ip_families):
        if family != "IPv4":
            errors.append(invalid(f"spec.ipFamilies[{index}]", family, "not configured on this cluster"))
    refuse(service, errors)
    changes = {}
    if not spec.ip_families:
        changes["ip_families"] = ("IPv4",)
    if not spec.ip_family_policy:
        changes["ip_family_policy"] = "SingleStack"
    return replace(service, spec=replace(spec, **changes)) if changes else service


def allocate(service: Any, old: Any | None, context: StrategyContext) -> Any:
    """The service with the cluster IP and node ports that its type asks for. `old`: itself, as it was. Raises 422."""
    others: list[Any] | None = None
    spec = service.spec
    changes: dict[str, Any] = {}
    had_ip = old is not None and needs_cluster_ip(old.spec) and spec.cluster_ip == old.spec.cluster_ip
    if needs_cluster_ip(spec) and not is_headless(spec) and not (had_ip and spec.cluster_ip):
        others = _others(service, context)
        ip = _cluster_ip(service, others, context)
        changes |= {"cluster_ip": ip, "cluster_ips": (ip,)}
    if needs_node_ports(spec):
        held = {port.node_port for port in old.spec.ports} if old is not None else set()
        if any(not port.node_port or port.node_port not in held for port in spec.ports):
            others = others if others is not None else _others(service, context)
            changes["ports"] = _node_ports(service, held, others, context)
    if needs_health_check_port(spec) and not spec.health_check_node_port:
        others = others if others is not None else _others(service, context)
        changes["health_check_node_port"] = _free_port(_taken_ports(others), context)
    return replace(service, spec=replace(spec, **changes)) if changes else service


def _others(service: Any, context: StrategyContext) -> list[Any]:
    own = (service.metadata.namespace, service.metadata.name)
    return [one for one in context.list("services", "") if (one.metadata.namespace, one.metadata.name) != own]


def _cluster_ip(service: Any, others: Iterable[Any], context: StrategyContext) -> str:
    taken = {ip for other in others for ip in other.spec.cluster_ips}
    wanted = service.spec.cluster_ip
    if wanted:
        problem = ""
        if ipaddress.ip_address(wanted) not in SERVICE_NETWORK:
            problem = "the provided network does not match the current range"
        elif wanted in taken:
            problem = "provided IP is already allocated"
        if problem:
            detail = f"failed to allocate IP {wanted}: {problem}"
            refuse(service, [invalid("spec.clusterIPs", list(service.spec.cluster_ips), detail)])
        return str(wanted)
    first, size = int(SERVICE_NETWORK.network_address), SERVICE_NETWORK.num_addresses
    start = context.clock.random.randrange(257, size - 1)  # the lowest addresses are left to those who ask for one
    for offset in range(size - 2):
        ip = str(ipaddress.IPv4Address(first + 1 + (start + offset - 1) % (size - 2)))
        if ip not in taken:
            return ip
    raise api_errors.internal_error("failed to allocate a serviceIP: range is full")


def _taken_ports(others: Iterable[Any]) -> set[tuple[str, int]]:
    taken = set()
    for other in others:
        for port in other.spec.ports:
            if port.node_port:
                taken.add((port.protocol, port.node_port))
        if other.spec.health_check_node_port:
            taken.add(("TCP", other.spec.health_check_node_port))
    return taken


def _node_ports(service: Any, held: set[Any], others: Iterable[Any], context: StrategyContext) -> Sequence[Any]:
    taken = _taken_ports(others)
    ports = []
    own: dict[int, set[str]] = {}
    for index, port in enumerate(service.spec.ports):
        wanted = port.node_port
        if not wanted:
            ports.append(port)
            continue
        path = f"spec.ports[{index}].nodePort"
        if not NODE_PORT_MIN <= wanted <= NODE_PORT_MAX:
            valid = f"The range of valid ports is {NODE_PORT_MIN}-{NODE_PORT_MAX}"
            refuse(service, [invalid(path, wanted, f"provided port is not in the valid range. {valid}")])
        used_by_others = any(number == wanted for _, number in taken)
        if (used_by_others and wanted not in held) or port.protocol in own.get(wanted, ()):
            refuse(service, [invalid(path, wanted, ALLOCATED)])
        own.setdefault(wanted, set()).add(port.protocol)
        ports.append(port)
    taken |= {(protocol, number) for number, protocols in own.items() for protocol in protocols}
    for index, port in enumerate(ports):
        if not port.node_port:
            number = _free_port(taken, context)
            taken.add((port.protocol, number))
            ports[index] = replace(port, node_port=number)
    return tuple(ports)


def _free_port(taken: set[tuple[str, int]], context: StrategyContext) -> int:
    used = {number for _, number in taken}
    size = NODE_PORT_MAX - NODE_PORT_MIN + 1
    start = context.clock.random.randrange(size)
    for offset in range(size):
        number = NODE_PORT_MIN + (start + offset) % size
        if number not in used:
            return number
    raise api_errors.internal_error("failed to allocate a nodePort: range is full")
