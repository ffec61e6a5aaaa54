"""The entry of Service (core/v1): defaults, what changes with its type, validation, columns."""

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from kubeloop.actors.api.core_v1 import (
    ClientIPConfig,
    LoadBalancerStatus,
    ServiceSpec,
    ServiceStatus,
    SessionAffinityConfig,
)
from kubeloop.actors.api.errors import FieldError
from kubeloop.actors.apiserver.registry import names
from kubeloop.actors.apiserver.registry.catalog import entry
from kubeloop.actors.apiserver.registry.fields import (
    Errors,
    check_ip,
    check_labels,
    check_name,
    check_not_special_ip,
    check_port,
    check_port_or_name,
    check_required_one_of,
    duplicate,
    forbidden,
    invalid,
    required,
    unsupported,
)
from kubeloop.actors.apiserver.registry.kind import StrategyContext
from kubeloop.actors.apiserver.registry.pod_containers import PROTOCOLS
from kubeloop.actors.apiserver.registry.pod_defaults import each
from kubeloop.actors.apiserver.registry.printing import AGE, NAME, NONE, label_text, text
from kubeloop.actors.apiserver.registry.service_allocation import (
    allocate,
    check_cluster_ip_fields,
    is_headless,
    needs_cluster_ip,
    needs_health_check_port,
    needs_node_ports,
    with_ip_fields,
)
from kubeloop.actors.apiserver.registry.strategy import field, only_status

_BALANCED = "may only be used when `type` is 'LoadBalancer'"
_NO_STATUS = ServiceStatus(load_balancer=LoadBalancerStatus())
_STICKY = SessionAffinityConfig(client_ip=ClientIPConfig(timeout_seconds=10800))


def is_externally_accessible(spec: Any) -> bool:
    return spec.type in ("LoadBalancer", "NodePort") or bool(spec.type == "ClusterIP" and spec.external_ips)


def default_service(obj: Any) -> Any:
    spec = obj.spec if obj.spec is not None else ServiceSpec()
    changes: dict[str, Any] = {}
    if not spec.session_affinity:
        changes["session_affinity"] = "None"
    elif spec.session_affinity == "ClientIP":
        config = spec.session_affinity_config
        if config is None or config.client_ip is None or config.client_ip.timeout_seconds is None:
            changes["session_affinity_config"] = _STICKY
    if spec.session_affinity == "None" and spec.session_affinity_config is not None:
        changes["session_affinity_config"] = None
    if not spec.type:
        changes["type"] = "ClusterIP"
    ports = each(spec.ports, _default_port)
    if ports is not spec.ports:
        changes["ports"] = ports
    type_ = changes.get("type", spec.type)
    if not spec.external_traffic_policy and (
        type_ in ("LoadBalancer", "NodePort") or (type_ == "ClusterIP" and spec.external_ips)
    ):
        changes["external_traffic_policy"] = "Cluster"
    if spec.internal_traffic_policy is None and type_ in ("ClusterIP", "LoadBalancer", "NodePort"):
        changes["internal_traffic_policy"] = "Cluster"
    if type_ == "LoadBalancer" and spec.allocate_load_balancer_node_ports is None:
        changes["allocate_load_balancer_node_ports"] = True
    new = replace(obj, spec=replace(spec, **changes)) if changes or obj.spec is None else obj
    return _default_status(new)


def _default_status(obj: Any) -> Any:
    status = obj.status
    if status is None:
        return replace(obj, status=_NO_STATUS)
    balancer = status.load_balancer
    if balancer is None:
        return replace(obj, status=replace(status, load_balancer=_NO_STATUS.load_balancer))
    ingress = each(balancer.ingress, _default_ingress)
    if ingress is balancer.ingress:
        return obj
    return replace(obj, status=replace(status, load_balancer=replace(balancer, ingress=ingress)))


def _default_ingress(ingress: Any) -> Any:
    return replace(ingress, ip_mode="VIP") if ingress.ip and ingress.ip_mode is None else ingress


def _default_port(port: Any) -> Any:
    if port.protocol and port.target_port not in (None, 0, ""):
        return port
    target = port.port or 0 if port.target_port in (None, 0, "") else port.target_port
    return replace(port, protocol=port.protocol or "TCP", target_port=target)


def prepare_service_create(obj: Any, context: StrategyContext) -> Any:
    return allocate(with_ip_fields(replace(obj, status=_NO_STATUS)), None, context)


def prepare_service_update(new: Any, old: Any, context: StrategyContext) -> Any:
    new = replace(new, status=old.status)
    new = replace(new, spec=_without_leftovers(_with_allocated(new.spec, old.spec), old.spec))
    return allocate(with_ip_fields(new), old, context)


def _with_allocated(new: Any, old: Any) -> Any:
    """An update that does not mention what was allocated keeps it."""
    changes: dict[str, Any] = {}
    if needs_cluster_ip(old) and needs_cluster_ip(new):
        if not new.cluster_ip and not new.cluster_ips:
            changes |= {"cluster_ip": old.cluster_ip, "cluster_ips": old.cluster_ips}
        elif new.cluster_ip == old.cluster_ip and not new.cluster_ips:
            changes["cluster_ips"] = old.cluster_ips
        elif new.cluster_ip != old.cluster_ip and new.cluster_ips == old.cluster_ips and new.cluster_ip:
            changes["cluster_ips"] = (new.cluster_ip,)
        if not new.ip_families:
            changes["ip_families"] = old.ip_families
        if not new.ip_family_policy:
            changes["ip_family_policy"] = old.ip_family_policy
    if needs_node_ports(old) and needs_node_ports(new):
        held = {(port.protocol, port.port): port.node_port for port in old.ports}
        given = {port.node_port for port in new.ports}

        def keep(port: Any) -> Any:
            number = held.get((port.protocol, port.port))
            return replace(port, node_port=number) if not port.node_port and number and number not in given else port

        changes["ports"] = each(new.ports, keep)
    if needs_health_check_port(old) and needs_health_check_port(new) and not new.health_check_node_port:
        changes["health_check_node_port"] = old.health_check_node_port
    return replace(new, **changes) if changes else new


def _without_leftovers(new: Any, old: Any) -> Any:
    """When the type changes, what only the old type needed goes, unless the update set it anew."""
    if new.type == old.type:
        return new
    changes: dict[str, Any] = {}
    if needs_cluster_ip(old) and not needs_cluster_ip(new):
        if new.cluster_ip == old.cluster_ip:
            changes |= {"cluster_ip": None, "cluster_ips": ()}
        if new.ip_families == old.ip_families:
            changes["ip_families"] = ()
        if new.ip_family_policy == old.ip_family_policy:
            changes["ip_family_policy"] = None
        if new.internal_traffic_policy == old.internal_traffic_policy:
            changes["internal_traffic_policy"] = None
    if needs_node_ports(old) and not needs_node_ports(new):
        held = {(port.port, port.protocol, port.node_port) for port in old.ports}
        changes["ports"] = each(
            new.ports,
            lambda port: replace(port, node_port=None) if (port.port, port.protocol, port.node_port) in held else port,
        )
    if needs_health_check_port(old) and not needs_health_check_port(new):
        changes["health_check_node_port"] = None
    if old.type == "LoadBalancer":
        if new.allocate_load_balancer_node_ports == old.allocate_load_balancer_node_ports:
            changes["allocate_load_balancer_node_ports"] = None
        if new.load_balancer_class == old.load_balancer_class:
            changes["load_balancer_class"] = None
    hidden = is_externally_accessible(old) and not is_externally_accessible(new)
    if hidden and new.external_traffic_policy == old.external_traffic_policy:
        changes["external_traffic_policy"] = None
    return replace(new, **changes)


def validate_service(obj: Any) -> Sequence[FieldError]:
    errors: Errors = []
    spec = obj.spec
    headless = is_headless(spec)
    if not spec.ports and not headless and spec.type != "ExternalName":
        errors.append(required("spec.ports"))
    if spec.type in ("LoadBalancer", "NodePort") and headless:
        errors.append(invalid("spec.clusterIPs[0]", "None", f"may not be set to 'None' for {spec.type} services"))
    if spec.type == "ExternalName":
        name = (spec.external_name or "").removesuffix(".")
        if name:
            check_name(errors, "spec.externalName", name, names.dns_subdomain)
        else:
            errors.append(required("spec.externalName"))
    _check_ports(errors, spec.ports)
    if spec.selector:
        check_labels(errors, "spec.selector", spec.selector)
    check_required_one_of(errors, "spec.sessionAffinity", spec.session_affinity, ("ClientIP", "None"))
    if spec.session_affinity == "ClientIP":
        timeout = spec.session_affinity_config.client_ip.timeout_seconds
        if not 0 < timeout <= 86400:
            errors.append(
                invalid(
                    "spec.sessionAffinityConfig.clientIP.timeoutSeconds",
                    timeout,
                    "must be greater than 0 and less than 86400",
                )
            )
    errors += check_cluster_ip_fields(spec)
    for index, ip in enumerate(spec.external_ips):
        before = len(errors)
        check_ip(errors, f"spec.externalIPs[{index}]", ip)
        if len(errors) == before:
            check_not_special_ip(errors, f"spec.externalIPs[{index}]", ip)
    check_required_one_of(errors, "spec.type", spec.type, ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort"))
    _check_port_pairs(errors, spec)
    _check_load_balancer(errors, spec)
    _check_traffic(errors, spec)
    return errors


def _check_ports(errors: Errors, ports: Sequence[Any]) -> None:
    seen: set[str] = set()
    for index, port in enumerate(ports):
        path = f"spec.ports[{index}]"
        if not port.name:
            if len(ports) > 1:
                errors.append(required(f"{path}.name"))
        else:
            check_name(errors, f"{path}.name", port.name, names.dns_label)
            if port.name in seen:
                errors.append(duplicate(f"{path}.name", port.name))
            seen.add(port.name)
        check_port(errors, f"{path}.port", port.port)
        if port.protocol not in PROTOCOLS:
            errors.append(unsupported(f"{path}.protocol", port.protocol, PROTOCOLS))
        check_port_or_name(errors, f"{path}.targetPort", port.target_port)
        if port.app_protocol is not None:
            check_name(errors, f"{path}.appProtocol", port.app_protocol, names.qualified_name)


def _check_port_pairs(errors: Errors, spec: Any) -> None:
    if spec.type == "ClusterIP":
        for index, port in enumerate(spec.ports):
            if port.node_port:
                errors.append(forbidden(f"spec.ports[{index}].nodePort", "may not be used when `type` is 'ClusterIP'"))
    seen: set[tuple[Any, Any]] = set()
    for index, port in enumerate(spec.ports):
        key = (port.protocol, port.port)
        if key in seen:
            shown = {
                "Name": "",
                "Protocol": port.protocol,
                "AppProtocol": None,
                "Port": port.port,
                "TargetPort": 0,
                "NodePort": 0,
            }
            errors.append(duplicate(f"spec.ports[{index}]", shown))
        seen.add(key)


def _check_load_balancer(errors: Errors, spec: Any) -> None:
    if spec.type == "LoadBalancer":
        for index, cidr in enumerate(spec.load_balancer_source_ranges):
            if names.parse_cidr(cidr.strip()) is None:
                errors.append(
                    invalid(
                        f"spec.loadBalancerSourceRanges[{index}]",
                        cidr,
                        "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",
                    )
                )
        if spec.load_balancer_class is not None:
            check_name(errors, "spec.loadBalancerClass", spec.load_balancer_class, names.qualified_name)
        return
    if spec.load_balancer_source_ranges:
        errors.append(forbidden("spec.LoadBalancerSourceRanges", _BALANCED))
    if spec.allocate_load_balancer_node_ports is not None:
        errors.append(forbidden("spec.allocateLoadBalancerNodePorts", _BALANCED))
    if spec.load_balancer_class is not None:
        errors.append(forbidden("spec.loadBalancerClass", _BALANCED))


def _check_traffic(errors: Errors, spec: Any) -> None:
    policies = ("Cluster", "Local")
    if is_externally_accessible(spec):
        check_required_one_of(errors, "spec.externalTrafficPolicy", spec.external_traffic_policy, policies)
    elif spec.external_traffic_policy:
        errors.append(
            invalid(
                "spec.externalTrafficPolicy",
                spec.external_traffic_policy,
                "may only be set for externally-accessible services",
            )
        )
    if spec.health_check_node_port and not needs_health_check_port(spec):
        detail = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
        errors.append(invalid("spec.healthCheckNodePort", spec.health_check_node_port, detail))
    if spec.internal_traffic_policy is not None and spec.internal_traffic_policy not in policies:
        errors.append(unsupported("spec.internalTrafficPolicy", spec.internal_traffic_policy, policies))
    distributions = ("PreferClose", "PreferSameZone", "PreferSameNode")
    if spec.traffic_distribution is not None and spec.traffic_distribution not in distributions:
        errors.append(unsupported("spec.trafficDistribution", spec.traffic_distribution, distributions))


def validate_service_update(new: Any, old: Any) -> Sequence[FieldError]:
    if not needs_cluster_ip(new.spec) or not needs_cluster_ip(old.spec):
        return ()
    ips, before = list(new.spec.cluster_ips), list(old.spec.cluster_ips)
    if before and ips[:1] != before[:1]:
        return (invalid("spec.clusterIPs[0]", ips, "may not change once set"),)
    return ()


def check_balancer_ingress(errors: Errors, ingress: Sequence[Any]) -> None:
    """Addresses of a load balancer in a status, of services and ingresses alike."""
    for index, one in enumerate(ingress):
        path = f"status.loadBalancer.ingress[{index}]"
        if one.ip:
            check_ip(errors, f"{path}.ip", one.ip)
        if one.hostname:
            check_name(errors, f"{path}.hostname", one.hostname, names.dns_subdomain)
            if names.parse_ip(one.hostname) is not None:
                errors.append(invalid(f"{path}.hostname", one.hostname, "must be a DNS name, not an IP address"))


def validate_service_status(new: Any, old: Any) -> Sequence[FieldError]:
    errors: Errors = []
    ingress = new.status.load_balancer.ingress
    if ingress and new.spec.type != "LoadBalancer":
        errors.append(forbidden("status.loadBalancer.ingress", "may only be used when `spec.type` is 'LoadBalancer'"))
        return errors
    check_balancer_ingress(errors, ingress)
    return errors


def service_warnings(obj: Any) -> Sequence[str]:
    found = []
    spec = obj.spec
    if spec.external_ips:
        found.append("spec.externalIPs is deprecated and may no longer be implemented in some clusters")
    if spec.external_name and spec.type != "ExternalName":
        found.append('spec.externalName is ignored when spec.type is not "ExternalName"')
    if is_headless(spec) and spec.session_affinity != "None":
        found.append("spec.SessionAffinity is ignored for headless services")
    if is_headless(spec) and spec.load_balancer_ip:
        found.append("spec.loadBalancerIP is ignored for headless services")
    return found


def _cluster_ip_cell(obj: Any, now: float) -> str:
    return obj.spec.cluster_ip or NONE


def _external_ip_cell(obj: Any, now: float) -> str:
    spec = obj.spec
    if spec.type == "ExternalName":
        return spec.external_name or NONE
    found = list(spec.external_ips)
    if spec.type == "LoadBalancer":
        ingress = obj.status.load_balancer.ingress if obj.status is not None else ()
        balanced = [one.ip or one.hostname or "" for one in ingress]
        return ",".join(balanced + found) or "<pending>"
    return ",".join(found) or NONE


def _ports_cell(obj: Any, now: float) -> str:
    found = []
    for port in obj.spec.ports:
        node = f":{port.node_port}" if port.node_port else ""
        found.append(f"{port.port}{node}/{port.protocol}")
    return ",".join(found) or NONE


KINDS = (
    entry(
        "",
        "v1",
        "services",
        name_rule="dns_label",
        default=default_service,
        prepare_for_create=prepare_service_create,
        prepare_for_update=prepare_service_update,
        prepare_for_status_update=only_status,
        validate=validate_service,
        validate_update=validate_service_update,
        validate_status_update=validate_service_status,
        warnings=service_warnings,
        create_on_update=True,
        return_deleted_object=True,
        selectable_fields={"spec.clusterIP": field("spec.cluster_ip"), "spec.type": field("spec.type")},
        columns=(
            NAME,
            text("Type", lambda obj, now: obj.spec.type or ""),
            text("Cluster-IP", _cluster_ip_cell),
            text("External-IP", _external_ip_cell),
            text("Port(s)", _ports_cell),
            AGE,
            text("Selector", lambda obj, now: label_text(obj.spec.selector), wide=True),
        ),
    ),
)
