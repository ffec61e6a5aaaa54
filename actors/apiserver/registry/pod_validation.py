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
    check_label_selector,
    check_labels,
    check_name,
    check_one_of,
    check_selector_expression,
    duplicate,
    forbidden,
    invalid,
    not_found,
    required,
    unsupported,
)
from kubeloop.actors.apiserver.registry.pod_containers import (
    check_container,
    check_probes,
    check_profiles,
    check_user_ids,
)
from kubeloop.actors.apiserver.registry.pod_defaults import NO_SECURITY_CONTEXT, container_totals
from kubeloop.actors.apiserver.registry.pod_volumes import check_volumes
from kubeloop.actors.apiserver.registry.resource_checks import check_container_resource, check_request_within

RESTART_POLICIES = ("Always", "OnFailure", "Never")
DNS_POLICIES = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
PREEMPTION_POLICIES = ("Never", "PreemptLowerPriority")
REMEMBERED_MAX = 1024
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
    security = spec.security_context
    if security is not None and security is not NO_SECURITY_CONTEXT:
        _check_pod_security(errors, f"{path}.securityContext", security)
    if spec.affinity is not None:
        check_affinity(errors, f"{path}.affinity", spec.affinity)
    if spec.dns_config is not None or spec.dns_policy == "None":
        _check_dns_config(errors, f"{path}.dnsConfig", spec)
    if spec.readiness_gates or spec.scheduling_gates:
        _check_gates(errors, path, spec)
    if spec.topology_spread_constraints:
        _check_spread(errors, f"{path}.topologySpreadConstraints", spec.topology_spread_constraints)
    _check_names(errors, path, spec)
    if spec.tolerations:
        check_tolerations(errors, f"{path}.tolerations", spec.tolerations)
    if spec.host_aliases or spec.priority_class_name or spec.runtime_class_name is not None or spec.overhead or spec.os:
        _check_rest(errors, path, spec)
    policy = spec.preemption_policy
    if policy is not None and policy not in PREEMPTION_POLICIES:
        errors.append(unsupported(f"{path}.preemptionPolicy", policy, PREEMPTION_POLICIES))


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
        for hostname in alias.hostnames:
            check_name(errors, f"{path}.hostAliases[{index}].hostnames", hostname, names.dns_subdomain)
    if spec.priority_class_name and names.dns_subdomain(spec.priority_class_name):
        check_name(errors, f"{path}.priorityClassName", spec.priority_class_name, names.dns_subdomain)
    if spec.runtime_class_name is not None:
        check_name(errors, f"{path}.runtimeClassName", spec.runtime_class_name, names.dns_subdomain)
    for name, value in spec.overhead.items():
        check_container_resource(errors, f"{path}.overhead[{name}]", name, value)
    if spec.os is not None:
        if not spec.os.name:
            errors.append(required(f"{path}.os.name"))
        else:
            check_one_of(errors, f"{path}.os.name", spec.os.name, ("linux", "windows"))


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
            check_probes(errors, where, container)
            if len(errors) == before and not container.volume_mounts and not container.volume_devices:
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
        _check_init(errors, where, container)
    for index, container in enumerate(spec.ephemeral_containers):
        where = f"{path}.ephemeralContainers[{index}]"
        check_container(errors, where, container, volumes)
        _check_unique(errors, where, container, seen)
        target = container.target_container_name
        if target and all(one.name != target for one in (*spec.containers, *spec.init_containers)):
            errors.append(not_found(f"{where}.targetContainerName", target))


def _remember(container: Any) -> None:
    if len(_sound) >= REMEMBERED_MAX:
        _sound.clear()
    _sound[id(container)] = container


def _check_unique(errors: Errors, path: str, container: Any, seen: set[str]) -> None:
    if container.name in seen:
        errors.append(duplicate(f"{path}.name", container.name))
    elif container.name:
        seen.add(container.name)


def _check_init(errors: Errors, path: str, container: Any) -> None:
    if container.restart_policy == "Always":
        check_probes(errors, path, container)
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


def _check_pod_security(errors: Errors, path: str, security: Any) -> None:
    check_user_ids(errors, path, security)
    if security.fs_group is not None and not 0 <= security.fs_group <= INT32_MAX:
        errors.append(invalid(f"{path}.fsGroup", security.fs_group, f"must be between 0 and {INT32_MAX}, inclusive"))
    for index, sysctl in enumerate(security.sysctls):
        if not sysctl.name:
            errors.append(required(f"{path}.sysctls[{index}].name"))
    if security.fs_group_change_policy is not None:
        check_one_of(
            errors, f"{path}.fsGroupChangePolicy", security.fs_group_change_policy, ("Always", "OnRootMismatch")
        )
    if security.supplemental_groups_policy is not None:
        check_one_of(
            errors, f"{path}.supplementalGroupsPolicy", security.supplemental_groups_policy, ("Merge", "Strict")
        )
    check_profiles(errors, path, security)


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
    for index, search in enumerate(config.searches):
        if search != ".":
            check_name(errors, f"{path}.searches[{index}]", search.removesuffix("."), names.dns_subdomain)
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


def _check_spread(errors: Errors, path: str, constraints: Sequence[Any]) -> None:
    seen: set[tuple[Any, Any]] = set()
    for index, constraint in enumerate(constraints):
        where = f"{path}[{index}]"
        if (constraint.max_skew or 0) <= 0:
            errors.append(invalid(f"{where}.maxSkew", constraint.max_skew or 0, "must be greater than zero"))
        key, unsatisfiable = constraint.topology_key or "", constraint.when_unsatisfiable
        if not key:
            errors.append(required(f"{where}.topologyKey", "can not be empty"))
        else:
            check_name(errors, f"{where}.topologyKey", key, names.qualified_name)
        if unsatisfiable not in ("DoNotSchedule", "ScheduleAnyway"):
            errors.append(
                unsupported(f"{where}.whenUnsatisfiable", unsatisfiable or "", ("DoNotSchedule", "ScheduleAnyway"))
            )
        if (key, unsatisfiable) in seen:
            errors.append(duplicate(f"{where}.{{topologyKey, whenUnsatisfiable}}", f"{{{key}, {unsatisfiable}}}"))
        seen.add((key, unsatisfiable))
        domains = constraint.min_domains
        if domains is not None:
            if domains <= 0:
                errors.append(invalid(f"{where}.minDomains", domains, "must be greater than zero"))
            if unsatisfiable != "DoNotSchedule":
                errors.append(
                    invalid(
                        f"{where}.minDomains",
                        domains,
                        f"can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {unsatisfiable}",
                    )
                )
        check_label_selector(errors, f"{where}.labelSelector", constraint.label_selector)


def check_tolerations(errors: Errors, path: str, tolerations: Sequence[Any]) -> None:
    for index, toleration in enumerate(tolerations):
        where = f"{path}[{index}]"
        if toleration.key:
            if names.qualified_name(toleration.key):
                check_name(errors, f"{where}.key", toleration.key, names.qualified_name)
        elif toleration.operator != "Exists":
            errors.append(
                invalid(
                    f"{where}.operator",
                    toleration.operator or "",
                    'operator must be Exists when `key` is empty, which means "match all values and all keys"',
                )
            )
        if toleration.toleration_seconds is not None and toleration.effect != "NoExecute":
            errors.append(
                invalid(
                    f"{where}.effect",
                    toleration.effect or "",
                    "effect must be 'NoExecute' when `tolerationSeconds` is set",
                )
            )
        if toleration.operator in (None, "", "Equal"):
            check_name(errors, f"{where}.value", toleration.value or "", names.label_value)
        elif toleration.operator == "Exists":
            if toleration.value:
                errors.append(
                    invalid(f"{where}.operator", toleration.value, "value must be empty when `operator` is 'Exists'")
                )
        else:
            errors.append(unsupported(f"{where}.operator", toleration.operator, ("Equal", "Exists")))
        if toleration.effect:
            check_one_of(errors, f"{where}.effect", toleration.effect, EFFECTS)


def check_affinity(errors: Errors, path: str, affinity: Any) -> None:
    node = affinity.node_affinity
    if node is not None:
        needed = node.required_during_scheduling_ignored_during_execution
        if needed is not None:
            check_node_selector(errors, f"{path}.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution", needed)
        for index, term in enumerate(node.preferred_during_scheduling_ignored_during_execution):
            where = f"{path}.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[{index}]"
            _check_weight(errors, where, term.weight)
            if term.preference is not None:
                check_node_selector_term(errors, f"{where}.preference", term.preference)
    for pods, name in ((affinity.pod_affinity, "podAffinity"), (affinity.pod_anti_affinity, "podAntiAffinity")):
        if pods is None:
            continue
        for index, term in enumerate(pods.required_during_scheduling_ignored_during_execution):
            _check_pod_term(errors, f"{path}.{name}.requiredDuringSchedulingIgnoredDuringExecution[{index}]", term)
        for index, weighted in enumerate(pods.preferred_during_scheduling_ignored_during_execution):
            where = f"{path}.{name}.preferredDuringSchedulingIgnoredDuringExecution[{index}]"
            _check_weight(errors, where, weighted.weight)
            if weighted.pod_affinity_term is not None:
                _check_pod_term(errors, f"{where}.podAffinityTerm", weighted.pod_affinity_term)


def _check_weight(errors: Errors, path: str, weight: int | None) -> None:
    if not weight or not 1 <= weight <= 100:
        errors.append(invalid(f"{path}.weight", weight or 0, "must be in the range 1-100"))


def _check_pod_term(errors: Errors, path: str, term: Any) -> None:
    check_label_selector(errors, f"{path}.labelSelector", term.label_selector)
    check_label_selector(errors, f"{path}.namespaceSelector", term.namespace_selector)
    for namespace in term.namespaces:
        check_name(errors, f"{path}.namespace", namespace, names.dns_label)
    if not term.topology_key:
        errors.append(required(f"{path}.topologyKey", "can not be empty"))
    else:
        check_name(errors, f"{path}.topologyKey", term.topology_key, names.qualified_name)


def check_node_selector(errors: Errors, path: str, selector: Any) -> None:
    if not selector.node_selector_terms:
        errors.append(required(f"{path}.nodeSelectorTerms", "must have at least one node selector term"))
    for index, term in enumerate(selector.node_selector_terms):
        check_node_selector_term(errors, f"{path}.nodeSelectorTerms[{index}]", term)


def check_node_selector_term(errors: Errors, path: str, term: Any) -> None:
    for index, expression in enumerate(term.match_expressions):
        where = f"{path}.matchExpressions[{index}]"
        operator = expression.operator or ""
        if operator in ("Gt", "Lt"):
            if len(expression.values) != 1:
                errors.append(
                    required(f"{where}.values", "must be specified single value when `operator` is 'Lt' or 'Gt'")
                )
            check_name(errors, f"{where}.key", expression.key or "", names.qualified_name)
        elif operator in ("In", "NotIn", "Exists", "DoesNotExist"):
            check_selector_expression(errors, where, expression)
        else:
            errors.append(invalid(f"{where}.operator", operator, "not a valid selector operator"))
            check_name(errors, f"{where}.key", expression.key or "", names.qualified_name)
    for index, expression in enumerate(term.match_fields):
        if expression.key != "metadata.name":
            errors.append(
                invalid(f"{path}.matchFields[{index}].key", expression.key or "", "not a valid field selector key")
            )
