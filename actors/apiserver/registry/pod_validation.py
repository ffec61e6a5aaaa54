"""Validation of pod specs and templates (core/v1 PodSpec), in the order in which a real API server reports.

`check_pod_spec` is on the hot path: every optional part is behind one test for absence.
"""

from collections.abc import Sequence
from typing import Any

from kubeloop.actors.api import quantity
from kubeloop.actors.apiserver.registry import names
from kubeloop.actors.apiserver.registry.fields import (
    INT32_MAX,
    Errors,
    check_annotations,
    check_ip,
    check_labels,
    check_name,
    duplicate,
    forbidden,
    invalid,
    not_found,
    required,
    unsupported,
)
from kubeloop.actors.apiserver.registry.pod_containers import check_container, check_image, check_probes
from kubeloop.actors.apiserver.registry.pod_defaults import NO_RESOURCES, NO_SECURITY_CONTEXT, container_totals
from kubeloop.actors.apiserver.registry.pod_scheduling import check_affinity, check_spread, check_tolerations
from kubeloop.actors.apiserver.registry.pod_security import check_host_namespaces, check_os, check_pod_security
from kubeloop.actors.apiserver.registry.pod_volumes import check_volumes
from kubeloop.actors.apiserver.registry.resource_checks import check_container_resource, check_request_within

RESTART_POLICIES = ("Always", "OnFailure", "Never")
DNS_POLICIES = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
PREEMPTION_POLICIES = ("Never", "PreemptLowerPriority")
SEARCHES_MAX = 32
SEARCH_CHARACTERS_MAX = 2048
REMEMBERED_MAX = 1024
NOT_EPHEMERAL = "cannot be set for an Ephemeral Container"
_NOT_EPHEMERAL = (
    ("ports", "ports"),
    ("resources", "resources"),
    ("resize_policy", "resizePolicy"),
    ("restart_policy", "restartPolicy"),
    ("liveness_probe", "livenessProbe"),
    ("readiness_probe", "readinessProbe"),
    ("startup_probe", "startupProbe"),
    ("lifecycle", "lifecycle"),
)
_NO_VOLUMES: dict[str, Any] = {}
# id -> container that was found to be right whatever volumes there are (kept, so that the id stays its own)
_sound: dict[int, Any] = {}


def check_pod_template(errors: Errors, path: str, template: Any) -> None:
    metadata = template.metadata
    if metadata is not None:
        if metadata.labels:
            check_labels(errors, f"{path}.labels", metadata.labels)
        if metadata.annotations:
            check_annotations(errors, f"{path}.annotations", metadata.annotations)
    check_pod_spec(errors, f"{path}.spec", template.spec)
    if template.spec.ephemeral_containers:
        errors.append(forbidden(f"{path}.spec.ephemeralContainers", "ephemeral containers not allowed in pod template"))


def check_pod_spec(errors: Errors, path: str, spec: Any) -> None:
    volumes = check_volumes(errors, f"{path}.volumes", spec.volumes) if spec.volumes else _NO_VOLUMES
    if spec.resource_claims:
        _check_resource_claims(errors, f"{path}.resourceClaims", spec.resource_claims)
    _check_all_containers(errors, path, spec, volumes)
    if spec.resources is not None:
        _check_pod_resources(errors, f"{path}.resources", spec)
    if spec.restart_policy not in RESTART_POLICIES:
        errors.append(unsupported(f"{path}.restartPolicy", spec.restart_policy, RESTART_POLICIES))
    if spec.dns_policy not in DNS_POLICIES:
        errors.append(unsupported(f"{path}.dnsPolicy", spec.dns_policy, DNS_POLICIES))
    if spec.node_selector:
        check_labels(errors, f"{path}.nodeSelector", spec.node_selector)
    if spec.host_network or spec.host_pid or spec.host_users is False:
        check_host_namespaces(errors, path, spec)
    security = spec.security_context
    if security is not None and security is not NO_SECURITY_CONTEXT:
        check_pod_security(errors, path, spec)
    if spec.affinity is not None:
        check_affinity(errors, f"{path}.affinity", spec.affinity)
    if spec.dns_config is not None or spec.dns_policy == "None":
        _check_dns_config(errors, f"{path}.dnsConfig", spec)
    if spec.readiness_gates or spec.scheduling_gates:
        _check_gates(errors, path, spec)
    if spec.topology_spread_constraints:
        check_spread(errors, f"{path}.topologySpreadConstraints", spec.topology_spread_constraints)
    _check_names(errors, path, spec)
    if spec.tolerations:
        check_tolerations(errors, f"{path}.tolerations", spec.tolerations)
    if spec.host_aliases or spec.priority_class_name or spec.runtime_class_name is not None:
        _check_rest(errors, path, spec)
    policy = spec.preemption_policy
    if policy is not None and policy not in PREEMPTION_POLICIES:
        errors.append(unsupported(f"{path}.preemptionPolicy", policy, PREEMPTION_POLICIES))
    for name, value in spec.overhead.items():
        check_container_resource(errors, f"{path}.overhead[{name}]", name, value)
    if spec.os is not None:
        check_os(errors, path, spec)


def _check_names(errors: Errors, path: str, spec: Any) -> None:
    if spec.service_account_name and names.dns_subdomain(spec.service_account_name):
        check_name(errors, f"{path}.serviceAccountName", spec.service_account_name, names.dns_subdomain)
    if spec.node_name and names.dns_subdomain(spec.node_name):
        check_name(errors, f"{path}.nodeName", spec.node_name, names.dns_subdomain)
    deadline = spec.active_deadline_seconds
    if deadline is not None and not 1 <= deadline <= INT32_MAX:
        errors.append(
            invalid(f"{path}.activeDeadlineSeconds", deadline, f"must be between 1 and {INT32_MAX}, inclusive")
        )
    if spec.hostname:
        check_name(errors, f"{path}.hostname", spec.hostname, names.dns_label)
    if spec.subdomain:
        check_name(errors, f"{path}.subdomain", spec.subdomain, names.dns_label)


def _check_rest(errors: Errors, path: str, spec: Any) -> None:
    for index, alias in enumerate(spec.host_aliases):
        check_ip(errors, f"{path}.hostAliases[{index}].ip", alias.ip or "")
        for number, hostname in enumerate(alias.hostnames):
            where = f"{path}.hostAliases[{index}].hostnames[{number}]"
            check_name(errors, where, hostname, names.dns_subdomain)
    if spec.priority_class_name and names.dns_subdomain(spec.priority_class_name):
        check_name(errors, f"{path}.priorityClassName", spec.priority_class_name, names.dns_subdomain)
    if spec.runtime_class_name is not None:
        check_name(errors, f"{path}.runtimeClassName", spec.runtime_class_name, names.dns_subdomain)


def _check_all_containers(errors: Errors, path: str, spec: Any, volumes: dict[str, Any]) -> None:
    if not spec.containers:
        errors.append(required(f"{path}.containers"))
    seen: set[str] = set()
    host_ports = False
    for index, container in enumerate(spec.containers):
        name = container.name
        if _sound.get(id(container)) is not container:
            before = len(errors)
            where = f"{path}.containers[{index}]"
            check_container(errors, where, container, volumes)
            if name in seen:
                errors.append(duplicate(f"{where}.name", name))
            check_probes(errors, where, container, spec)
            if len(errors) == before and _stands_alone(container):
                _remember(container)
        elif name in seen:
            errors.append(duplicate(f"{path}.containers[{index}].name", name))
        if name:
            seen.add(name)
        for port in container.ports:
            if port.host_port:
                host_ports = True
    if host_ports:
        _check_host_ports(errors, f"{path}.containers", spec.containers)
    for index, container in enumerate(spec.init_containers):
        where = f"{path}.initContainers[{index}]"
        check_container(errors, where, container, volumes)
        _check_unique(errors, where, container, seen)
        _check_init(errors, where, container, spec)
    if spec.ephemeral_containers:
        check_ephemeral_containers(errors, path, spec, volumes)


def check_ephemeral_containers(errors: Errors, path: str, spec: Any, volumes: dict[str, Any] | None = None) -> None:
    """`path`: the spec's. `volumes`: by name, where they were checked."""
    if volumes is None:
        volumes = {volume.name or "": volume for volume in spec.volumes}
    others = {container.name for container in (*spec.containers, *spec.init_containers)}
    seen = set(others)
    for index, container in enumerate(spec.ephemeral_containers):
        where = f"{path}.ephemeralContainers[{index}]"
        check_container(errors, where, container, volumes)
        check_image(errors, where, container)
        _check_unique(errors, where, container, seen)
        if container.target_container_name and container.target_container_name not in others:
            errors.append(not_found(f"{where}.targetContainerName", container.target_container_name))
        for field, json_name in _NOT_EPHEMERAL:
            if getattr(container, field) not in (None, (), NO_RESOURCES):
                errors.append(forbidden(f"{where}.{json_name}", NOT_EPHEMERAL))
        for number, mount in enumerate(container.volume_mounts):
            for value, json_name in ((mount.sub_path, "subPath"), (mount.sub_path_expr, "subPathExpr")):
                if value:
                    errors.append(forbidden(f"{where}.volumeMounts[{number}].{json_name}", NOT_EPHEMERAL))


def _stands_alone(container: Any) -> bool:
    """Whether nothing else in a pod's spec decides if it is right."""
    return not container.volume_mounts and not container.volume_devices and container.lifecycle is None


def _remember(container: Any) -> None:
    if len(_sound) >= REMEMBERED_MAX:
        _sound.clear()
    _sound[id(container)] = container


def _check_unique(errors: Errors, path: str, container: Any, seen: set[str]) -> None:
    if container.name in seen:
        errors.append(duplicate(f"{path}.name", container.name))
    elif container.name:
        seen.add(container.name)


def _check_init(errors: Errors, path: str, container: Any, spec: Any) -> None:
    if container.restart_policy == "Always":
        check_probes(errors, path, container, spec)
        return
    message = "may not be set for init containers without restartPolicy=Always"
    for field, json_name in (
        ("lifecycle", "lifecycle"),
        ("liveness_probe", "livenessProbe"),
        ("readiness_probe", "readinessProbe"),
        ("startup_probe", "startupProbe"),
    ):
        if getattr(container, field) is not None:
            errors.append(forbidden(f"{path}.{json_name}", message))


def _check_host_ports(errors: Errors, path: str, containers: Sequence[Any]) -> None:
    seen: set[str] = set()
    for index, container in enumerate(containers):
        for number, port in enumerate(container.ports):
            if port.host_port:
                key = f"{port.protocol}/{port.host_ip or ''}/{port.host_port}"
                if key in seen:
                    errors.append(duplicate(f"{path}[{index}].ports[{number}].hostPort", key))
                seen.add(key)


def _check_resource_claims(errors: Errors, path: str, claims: Sequence[Any]) -> None:
    seen: set[str] = set()
    message = "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`"
    for index, claim in enumerate(claims):
        where = f"{path}[{index}]"
        if not claim.name:
            errors.append(required(f"{where}.name"))
        elif claim.name in seen:
            errors.append(duplicate(f"{where}.name", claim.name))
        else:
            check_name(errors, f"{where}.name", claim.name, names.dns_label)
        seen.add(claim.name)
        shown = {
            "Name": claim.name or "",
            "ResourceClaimName": claim.resource_claim_name,
            "ResourceClaimTemplateName": claim.resource_claim_template_name,
        }
        if claim.resource_claim_name is not None and claim.resource_claim_template_name is not None:
            errors.append(
                invalid(
                    where, shown, "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified"
                )
            )
        elif claim.resource_claim_name is None and claim.resource_claim_template_name is None:
            errors.append(invalid(where, shown, message))


def _check_pod_resources(errors: Errors, path: str, spec: Any) -> None:
    """Pod-level requests and limits: within each other, and not less than the containers need."""
    limits, requests = spec.resources.limits, spec.resources.requests
    for name in sorted(limits):
        check_container_resource(errors, f"{path}.limits[{name}]", name, limits[name])
    totals = container_totals(spec, "requests")
    for name in sorted(requests):
        check_container_resource(errors, f"{path}.requests[{name}]", name, requests[name])
        if name in limits:
            check_request_within(errors, f"{path}.requests", name, requests[name], limits[name])
        total = totals.get(name)
        if total and quantity.parse(total) > quantity.parse(requests[name]):
            errors.append(
                invalid(
                    f"{path}.requests[{name}]",
                    requests[name],
                    f"must be greater than or equal to aggregate container requests of {total}",
                )
            )


def _check_dns_config(errors: Errors, path: str, spec: Any) -> None:
    config = spec.dns_config
    if config is None:
        errors.append(required(path, "must provide `dnsConfig` when `dnsPolicy` is None"))
        return
    if spec.dns_policy == "None" and not config.nameservers:
        errors.append(
            required(f"{path}.nameservers", "must provide at least one DNS nameserver when `dnsPolicy` is None")
        )
    if len(config.nameservers) > 3:
        errors.append(invalid(f"{path}.nameservers", list(config.nameservers), "must not have more than 3 nameservers"))
    for index, server in enumerate(config.nameservers):
        check_ip(errors, f"{path}.nameservers[{index}]", server)
    if len(config.searches) > SEARCHES_MAX:
        detail = f"must not have more than {SEARCHES_MAX} search paths"
        errors.append(invalid(f"{path}.searches", list(config.searches), detail))
    if len(" ".join(config.searches)) > SEARCH_CHARACTERS_MAX:
        detail = f"must not have more than {SEARCH_CHARACTERS_MAX} characters (including spaces) in the search list"
        errors.append(invalid(f"{path}.searches", list(config.searches), detail))
    for index, search in enumerate(config.searches):
        if search != ".":
            check_name(errors, f"{path}.searches[{index}]", search.removesuffix("."), names.dns_subdomain_underscore)
    for index, option in enumerate(config.options):
        if not option.name:
            errors.append(required(f"{path}.options[{index}]", "must not be empty"))


def _check_gates(errors: Errors, path: str, spec: Any) -> None:
    for index, gate in enumerate(spec.readiness_gates):
        check_name(
            errors, f"{path}.readinessGates[{index}].conditionType", gate.condition_type or "", names.qualified_name
        )
    seen: set[str] = set()
    for index, gate in enumerate(spec.scheduling_gates):
        name = gate.name or ""
        check_name(errors, f"{path}.schedulingGates[{index}]", name, names.qualified_name)
        if name in seen:
            errors.append(duplicate(f"{path}.schedulingGates[{index}]", name))
        seen.add(name)
