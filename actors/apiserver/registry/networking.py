"""The entries of networking.k8s.io/v1."""

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from kubeloop.actors.api.errors import FieldError
from kubeloop.actors.api.meta_v1 import LabelSelector
from kubeloop.actors.api.networking_v1 import IngressLoadBalancerStatus, IngressStatus, ServiceCIDRStatus
from kubeloop.actors.apiserver.registry import names
from kubeloop.actors.apiserver.registry.catalog import entry
from kubeloop.actors.apiserver.registry.core_services import check_balancer_ingress
from kubeloop.actors.apiserver.registry.fields import (
    IMMUTABLE,
    Errors,
    check_label_selector,
    check_name,
    check_one_of,
    check_port,
    forbidden,
    invalid,
    required,
    unsupported,
)
from kubeloop.actors.apiserver.registry.pod_containers import PROTOCOLS
from kubeloop.actors.apiserver.registry.pod_defaults import default_port, each
from kubeloop.actors.apiserver.registry.printing import AGE, NAME, NONE, selector_text, text
from kubeloop.actors.apiserver.registry.strategy import keep_status, only_status, status_reset

GROUP = "networking.k8s.io"
CLASS_ANNOTATION = "kubernetes.io/ingress.class"
PATH_TYPES = ("Exact", "ImplementationSpecific", "Prefix")
_BAD_PATHS = ("//", "/./", "/../", "%2f", "%2F")
_BAD_ENDS = ("/..", "/.")
CIDR_MESSAGE = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"


def validate_ingress(obj: Any) -> Sequence[FieldError]:
    errors: Errors = []
    spec = obj.spec
    if not spec.rules and spec.default_backend is None:
        errors.append(invalid("spec", None, "either `defaultBackend` or `rules` must be specified"))
    if spec.default_backend is not None:
        _check_backend(errors, "spec.defaultBackend", spec.default_backend)
    for index, rule in enumerate(spec.rules):
        _check_rule(errors, f"spec.rules[{index}]", rule)
    for index, tls in enumerate(spec.tls):
        for number, host in enumerate(tls.hosts):
            rule_of = names.wildcard_dns_subdomain if "*" in host else names.dns_subdomain
            check_name(errors, f"spec.tls[{index}].hosts[{number}]", host, rule_of)
        if tls.secret_name:
            check_name(errors, f"spec.tls[{index}].secretName", tls.secret_name, names.dns_subdomain)
    if spec.ingress_class_name is not None:
        check_name(errors, "spec.ingressClassName", spec.ingress_class_name, names.dns_subdomain)
        if obj.metadata.annotations.get(CLASS_ANNOTATION) is not None:
            annotation = obj.metadata.annotations[CLASS_ANNOTATION]
            errors.append(
                invalid(
                    "annotations.kubernetes.io/ingress.class",
                    annotation,
                    "can not be set when the class field is also set",
                )
            )
    return errors


def _check_rule(errors: Errors, path: str, rule: Any) -> None:
    host = rule.host or ""
    if host:
        if names.parse_ip(host) is not None:
            errors.append(invalid(f"{path}.host", host, "must be a DNS name, not an IP address"))
        elif "*" in host:
            check_name(errors, f"{path}.host", host, names.wildcard_dns_subdomain)
        else:
            check_name(errors, f"{path}.host", host, names.dns_subdomain)
    if rule.http is None:
        return
    if not rule.http.paths:
        errors.append(required(f"{path}.http.paths"))
    for index, one in enumerate(rule.http.paths):
        where = f"{path}.http.paths[{index}]"
        _check_path(errors, where, one)
        _check_backend(errors, f"{where}.backend", one.backend)


def _check_path(errors: Errors, path: str, one: Any) -> None:
    if one.path_type is None:
        errors.append(required(f"{path}.pathType", "pathType must be specified"))
        return
    value = one.path or ""
    if one.path_type in ("Exact", "Prefix"):
        if not value.startswith("/"):
            errors.append(invalid(f"{path}.path", value, "must be an absolute path"))
        for bad in _BAD_PATHS:
            if bad in value:
                errors.append(invalid(f"{path}.path", value, f"must not contain '{bad}'"))
        for bad in _BAD_ENDS:
            if value.endswith(bad):
                errors.append(invalid(f"{path}.path", value, f"cannot end with '{bad}'"))
    elif one.path_type == "ImplementationSpecific":
        if value and not value.startswith("/"):
            errors.append(invalid(f"{path}.path", value, "must be an absolute path"))
    else:
        errors.append(unsupported(f"{path}.pathType", one.path_type, PATH_TYPES))


def _check_backend(errors: Errors, path: str, backend: Any) -> None:
    service = backend.service if backend is not None else None
    resource = backend.resource if backend is not None else None
    if service is not None and resource is not None:
        errors.append(invalid(path, "", "cannot set both resource and service backends"))
    elif resource is not None:
        for value, name in ((resource.kind, "kind"), (resource.name, "name")):
            if not value:
                errors.append(required(f"{path}.resource.{name}"))
    elif service is None:
        errors.append(invalid(path, "", "resource or service backend is required"))
    else:
        if not service.name:
            errors.append(required(f"{path}.service.name"))
        else:
            check_name(errors, f"{path}.service.name", service.name, names.dns_1035_label)
        port = service.port
        if port is not None and port.name and port.number:
            errors.append(invalid(path, "", "cannot set both port name & port number"))
        elif port is not None and port.name:
            check_name(errors, f"{path}.service.port.name", port.name, names.port_name)
        elif port is not None and port.number:
            check_port(errors, f"{path}.service.port.number", port.number)
        else:
            errors.append(required(path, "port name or number is required"))


def validate_ingress_status(new: Any, old: Any) -> Sequence[FieldError]:
    errors: Errors = []
    balancer = new.status.load_balancer
    if balancer is not None:
        check_balancer_ingress(errors, balancer.ingress)
    return errors


def ingress_warnings(obj: Any) -> Sequence[str]:
    if CLASS_ANNOTATION in obj.metadata.annotations:
        return ("annotation \"kubernetes.io/ingress.class\" is deprecated, please use 'spec.ingressClassName' instead",)
    return ()


def _ingress_class(obj: Any, now: float) -> str:
    return obj.spec.ingress_class_name or obj.metadata.annotations.get(CLASS_ANNOTATION) or NONE


def _hosts(obj: Any, now: float) -> str:
    found = [rule.host for rule in obj.spec.rules if rule.host]
    if len(found) > 3:
        return f"{','.join(found[:3])} + {len(found) - 3} more..."
    return ",".join(found) or "*"


def _address(obj: Any, now: float) -> str:
    balancer = obj.status.load_balancer
    found = [one.ip or one.hostname or "" for one in balancer.ingress] if balancer is not None else []
    return ",".join(found)


def _ports(obj: Any, now: float) -> str:
    return "80, 443" if obj.spec.tls else "80"


def default_ingress_class(obj: Any) -> Any:
    parameters = obj.spec.parameters
    if parameters is None or parameters.scope:
        return obj
    return replace(obj, spec=replace(obj.spec, parameters=replace(parameters, scope="Cluster")))


def validate_ingress_class(obj: Any) -> Sequence[FieldError]:
    errors: Errors = []
    controller = obj.spec.controller or ""
    if not controller:
        errors.append(required("spec.controller"))
    else:
        check_name(errors, "spec.controller", controller, names.domain_prefixed_path)
    parameters = obj.spec.parameters
    if parameters is None:
        return errors
    path = "spec.parameters"
    for value, name in ((parameters.kind, "kind"), (parameters.name, "name")):
        if not value:
            errors.append(required(f"{path}.{name}"))
        else:
            check_name(errors, f"{path}.{name}", value, names.path_segment)
    check_one_of(errors, f"{path}.scope", parameters.scope, ("Cluster", "Namespace"))
    if parameters.scope == "Namespace":
        if not parameters.namespace:
            errors.append(required(f"{path}.namespace", "`parameters.scope` is set to 'Namespace'"))
        else:
            check_name(errors, f"{path}.namespace", parameters.namespace, names.dns_label)
    elif parameters.scope == "Cluster" and parameters.namespace is not None:
        errors.append(forbidden(f"{path}.namespace", "`parameters.scope` is set to 'Cluster'"))
    return errors


def validate_ingress_class_update(new: Any, old: Any) -> Sequence[FieldError]:
    if new.spec.controller == old.spec.controller:
        return ()
    return (invalid("spec.controller", new.spec.controller, IMMUTABLE),)


def _parameters(obj: Any, now: float) -> str:
    parameters = obj.spec.parameters
    if parameters is None:
        return NONE
    group = f".{parameters.api_group}" if parameters.api_group else ""
    return f"{parameters.kind}{group}/{parameters.name}"


def default_network_policy(obj: Any) -> Any:
    spec = obj.spec
    changes: dict[str, Any] = {}
    for name in ("ingress", "egress"):
        rules = each(getattr(spec, name), _default_rule)
        if rules is not getattr(spec, name):
            changes[name] = rules
    if spec.pod_selector is None:
        changes["pod_selector"] = LabelSelector()
    if not spec.policy_types:
        changes["policy_types"] = ("Ingress", "Egress") if spec.egress else ("Ingress",)
    return replace(obj, spec=replace(spec, **changes)) if changes else obj


def _default_rule(rule: Any) -> Any:
    ports = each(rule.ports, default_port)
    return rule if ports is rule.ports else replace(rule, ports=ports)


def validate_network_policy(obj: Any) -> Sequence[FieldError]:
    errors: Errors = []
    spec = obj.spec
    check_label_selector(errors, "spec.podSelector", spec.pod_selector)
    for direction, rules, peers in (("ingress", spec.ingress, "from"), ("egress", spec.egress, "to")):
        for index, rule in enumerate(rules):
            path = f"spec.{direction}[{index}]"
            for number, port in enumerate(rule.ports):
                _check_policy_port(errors, f"{path}.ports[{number}]", port)
            for number, peer in enumerate(rule.from_ if direction == "ingress" else rule.to):
                _check_peer(errors, f"{path}.{peers}[{number}]", peer)
    if len(spec.policy_types) > 2:
        errors.append(invalid("spec.policyTypes", list(spec.policy_types), "may not specify more than two policyTypes"))
        return errors
    for index, type_ in enumerate(spec.policy_types):
        check_one_of(errors, f"spec.policyTypes[{index}]", type_, ("Egress", "Ingress"))
    return errors


def _check_policy_port(errors: Errors, path: str, port: Any) -> None:
    if port.protocol is not None and port.protocol not in PROTOCOLS:
        errors.append(unsupported(f"{path}.protocol", port.protocol, PROTOCOLS))
    if port.port is None:
        if port.end_port is not None:
            errors.append(required(f"{path}.port", "must be specified when `endPort` is specified"))
    elif isinstance(port.port, int):
        check_port(errors, f"{path}.port", port.port)
        if port.end_port is not None:
            if port.end_port < port.port:
                errors.append(invalid(f"{path}.endPort", port.end_port, "must be greater than or equal to `port`"))
            check_port(errors, f"{path}.endPort", port.end_port)
    else:
        if port.end_port is not None:
            errors.append(invalid(f"{path}.endPort", port.end_port, "may not be specified when `port` is non-numeric"))
        check_name(errors, f"{path}.port", port.port, names.port_name)


def _check_peer(errors: Errors, path: str, peer: Any) -> None:
    if peer.pod_selector is None and peer.namespace_selector is None and peer.ip_block is None:
        errors.append(required(path, "must specify a peer"))
        return
    check_label_selector(errors, f"{path}.podSelector", peer.pod_selector)
    check_label_selector(errors, f"{path}.namespaceSelector", peer.namespace_selector)
    if peer.ip_block is None:
        return
    if peer.pod_selector is not None or peer.namespace_selector is not None:
        errors.append(forbidden(path, "may not specify both ipBlock and another peer"))
    block = peer.ip_block
    if not block.cidr:
        errors.append(required(f"{path}.ipBlock.cidr"))
        return
    network = names.parse_cidr(block.cidr)
    if network is None:
        errors.append(invalid(f"{path}.ipBlock.cidr", block.cidr, CIDR_MESSAGE))
        return
    for index, inner in enumerate(block.except_):
        where = f"{path}.ipBlock.except[{index}]"
        excluded = names.parse_cidr(inner)
        if excluded is None:
            errors.append(invalid(where, inner, CIDR_MESSAGE))
        elif excluded.version != network.version or not (
            excluded.network_address in network and excluded.prefixlen > network.prefixlen
        ):
            errors.append(invalid(where, inner, f'must be a strict subset of `cidr`: "{block.cidr}"'))


def _pod_selector(obj: Any, now: float) -> str:
    return selector_text(obj.spec.pod_selector)


def validate_ip_address(obj: Any) -> Sequence[FieldError]:
    errors: Errors = []
    name = obj.metadata.name or ""
    check_name(errors, "metadata.name", name, names.ip_address)
    address = names.parse_ip(name)
    if address is not None and str(address) != name:
        errors.append(invalid("metadata.name", name, f'must be in canonical form ("{address}")'))
    reference = obj.spec.parent_ref
    if reference is None:
        errors.append(required("spec.parentRef"))
        return errors
    path = "spec.parentRef"
    if reference.group:
        check_name(errors, f"{path}.group", reference.group, names.dns_subdomain)
    for value, json_name in ((reference.resource, "resource"), (reference.name, "name")):
        if not value:
            errors.append(required(f"{path}.{json_name}"))
        else:
            check_name(errors, f"{path}.{json_name}", value, names.path_segment)
    if reference.namespace:
        check_name(errors, f"{path}.namespace", reference.namespace, names.path_segment)
    return errors


def validate_ip_address_update(new: Any, old: Any) -> Sequence[FieldError]:
    return () if new.spec == old.spec else (invalid("spec.parentRef", "", IMMUTABLE),)


def _parent(obj: Any, now: float) -> str:
    reference = obj.spec.parent_ref
    if reference is None:
        return ""
    group = f".{reference.group}" if reference.group else ""
    namespace = f"/{reference.namespace}" if reference.namespace else ""
    return f"{reference.resource}{group}{namespace}/{reference.name}"


def validate_service_cidr(obj: Any) -> Sequence[FieldError]:
    errors: Errors = []
    cidrs = obj.spec.cidrs
    if not cidrs:
        errors.append(required("spec.cidrs", "at least one CIDR required"))
        return errors
    if len(cidrs) > 2:
        errors.append(invalid("spec", list(cidrs), "may only hold up to 2 values"))
        return errors
    networks = [names.parse_cidr(cidr) for cidr in cidrs]
    versions = [network.version for network in networks if network is not None]
    if len(versions) == 2 and versions[0] == versions[1]:
        detail = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/96"
        errors.append(invalid("spec", list(cidrs), detail))
    for index, (cidr, network) in enumerate(zip(cidrs, networks, strict=True)):
        path = f"spec.cidrs[{index}]"
        if network is None:
            errors.append(invalid(path, cidr, CIDR_MESSAGE))
        elif names.parse_ip(cidr.partition("/")[0]) != network.network_address:
            errors.append(invalid(path, cidr, "must not have bits set beyond the prefix length"))
        elif str(network) != cidr:
            errors.append(invalid(path, cidr, f'must be in canonical form ("{network}")'))
    return errors


def validate_service_cidr_update(new: Any, old: Any) -> Sequence[FieldError]:
    if new.spec.cidrs == old.spec.cidrs:
        return ()
    return (invalid("spec.cidrs[0]", new.spec.cidrs[0] if new.spec.cidrs else "", IMMUTABLE),)


KINDS = (
    entry(
        GROUP,
        "v1",
        "ingresses",
        prepare_for_create=status_reset(IngressStatus(load_balancer=IngressLoadBalancerStatus())),
        prepare_for_update=keep_status,
        prepare_for_status_update=only_status,
        validate=validate_ingress,
        validate_status_update=validate_ingress_status,
        warnings=ingress_warnings,
        tracks_generation=True,
        columns=(
            NAME,
            text("Class", _ingress_class),
            text("Hosts", _hosts),
            text("Address", _address),
            text("Ports", _ports),
            AGE,
        ),
    ),
    entry(
        GROUP,
        "v1",
        "ingressclasses",
        default=default_ingress_class,
        validate=validate_ingress_class,
        validate_update=validate_ingress_class_update,
        tracks_generation=True,
        columns=(
            NAME,
            text("Controller", lambda obj, now: obj.spec.controller or ""),
            text("Parameters", _parameters),
            AGE,
        ),
    ),
    entry(
        GROUP,
        "v1",
        "networkpolicies",
        default=default_network_policy,
        validate=validate_network_policy,
        tracks_generation=True,
        columns=(NAME, text("Pod-Selector", _pod_selector), AGE),
    ),
    entry(
        GROUP,
        "v1",
        "ipaddresses",
        name_rule="path_segment",
        validate=validate_ip_address,
        validate_update=validate_ip_address_update,
        columns=(NAME, text("ParentRef", _parent)),
    ),
    entry(
        GROUP,
        "v1",
        "servicecidrs",
        prepare_for_create=status_reset(ServiceCIDRStatus()),
        prepare_for_update=keep_status,
        prepare_for_status_update=only_status,
        validate=validate_service_cidr,
        validate_update=validate_service_cidr_update,
        columns=(NAME, text("CIDRs", lambda obj, now: ",".join(obj.spec.cidrs)), AGE),
    ),
)
