"""Validation of where a pod may run: affinity, node selectors, tolerations, topology spread constraints (core/v1)."""

from collections.abc import Sequence
from typing import Any

from kubeloop.actors.apiserver.registry import names
from kubeloop.actors.apiserver.registry.fields import (
    Errors,
    check_label_selector,
    check_name,
    check_one_of,
    check_selector_expression,
    duplicate,
    forbidden,
    invalid,
    required,
    unsupported,
)

EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
UNSATISFIABLE = ("DoNotSchedule", "ScheduleAnyway")
POLICIES = ("Honor", "Ignore")
_NO_SELECTOR = "must not be specified when labelSelector is not set"


def check_tolerations(errors: Errors, path: str, tolerations: Sequence[Any]) -> None:
    for index, toleration in enumerate(tolerations):
        where = f"{path}[{index}]"
        if toleration.key:
            check_name(errors, f"{where}.key", toleration.key, names.qualified_name)
        elif toleration.operator != "Exists":
            detail = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
            errors.append(invalid(f"{where}.operator", toleration.operator or "", detail))
        if toleration.toleration_seconds is not None and toleration.effect != "NoExecute":
            detail = "effect must be 'NoExecute' when `tolerationSeconds` is set"
            errors.append(invalid(f"{where}.effect", toleration.effect or "", detail))
        if toleration.operator in (None, "", "Equal"):
            messages = names.label_value(toleration.value or "")
            if messages:
                errors.append(invalid(f"{where}.operator", toleration.value, ";".join(messages)))
        elif toleration.operator == "Exists":
            if toleration.value:
                detail = "value must be empty when `operator` is 'Exists'"
                errors.append(invalid(f"{where}.operator", _go_toleration(toleration), detail))
        else:
            errors.append(unsupported(f"{where}.operator", toleration.operator, ("Equal", "Exists")))
        if toleration.effect:
            check_one_of(errors, f"{where}.effect", toleration.effect, EFFECTS)


def _go_toleration(toleration: Any) -> dict[str, Any]:
    return {
        "Key": toleration.key or "",
        "Operator": toleration.operator or "",
        "Value": toleration.value or "",
        "Effect": toleration.effect or "",
        "TolerationSeconds": toleration.toleration_seconds,
    }


def check_spread(errors: Errors, path: str, constraints: Sequence[Any]) -> None:
    for index, constraint in enumerate(constraints):
        where = f"{path}[{index}]"
        key, unsatisfiable = constraint.topology_key or "", constraint.when_unsatisfiable or ""
        if (constraint.max_skew or 0) <= 0:
            errors.append(invalid(f"{where}.maxSkew", constraint.max_skew or 0, "must be greater than zero"))
        if not key:
            errors.append(required(f"{where}.topologyKey", "can not be empty"))
        if unsatisfiable not in UNSATISFIABLE:
            errors.append(unsupported(f"{where}.whenUnsatisfiable", unsatisfiable, UNSATISFIABLE))
        if any((one.topology_key, one.when_unsatisfiable) == (key, unsatisfiable) for one in constraints[index + 1 :]):
            errors.append(duplicate(f"{where}.{{topologyKey, whenUnsatisfiable}}", f"{{{key}, {unsatisfiable}}}"))
        _check_min_domains(errors, f"{where}.minDomains", constraint.min_domains, unsatisfiable)
        for policy, name in (
            (constraint.node_affinity_policy, "nodeAffinityPolicy"),
            (constraint.node_taints_policy, "nodeTaintsPolicy"),
        ):
            if policy is not None:
                check_one_of(errors, f"{where}.{name}", policy, POLICIES)
        _check_spread_keys(errors, f"{where}.matchLabelKeys", constraint)
        check_label_selector(errors, f"{where}.labelSelector", constraint.label_selector)


def _check_min_domains(errors: Errors, path: str, domains: int | None, unsatisfiable: str) -> None:
    if domains is None:
        return
    if domains <= 0:
        errors.append(invalid(path, domains, "must be greater than zero"))
    if unsatisfiable != "DoNotSchedule":
        detail = f"can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {unsatisfiable}"
        errors.append(invalid(path, domains, detail))


def _check_spread_keys(errors: Errors, path: str, constraint: Any) -> None:
    keys, selector = constraint.match_label_keys, constraint.label_selector
    if not keys:
        return
    selected: set[str] = set()
    if selector is None:
        errors.append(forbidden(path, _NO_SELECTOR))
    else:
        selected = {*selector.match_labels, *(one.key for one in selector.match_expressions)}
    for index, key in enumerate(keys):
        check_name(errors, f"{path}[{index}]", key, names.qualified_name)
        if key in selected:
            errors.append(invalid(f"{path}[{index}]", key, "exists in both matchLabelKeys and labelSelector"))


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
    for keys, name in ((term.match_label_keys, "matchLabelKeys"), (term.mismatch_label_keys, "mismatchLabelKeys")):
        if keys and term.label_selector is None:
            errors.append(forbidden(f"{path}.{name}", _NO_SELECTOR))
            continue
        for index, key in enumerate(keys):
            check_name(errors, f"{path}.{name}[{index}]", key, names.qualified_name)
    for index, key in enumerate(term.match_label_keys):
        if key in term.mismatch_label_keys:
            detail = "exists in both matchLabelKeys and mismatchLabelKeys"
            errors.append(invalid(f"{path}.matchLabelKeys[{index}]", key, detail))
    if not term.topology_key:
        errors.append(required(f"{path}.topologyKey", "can not be empty"))
    check_name(errors, f"{path}.topologyKey", term.topology_key or "", names.qualified_name)


def check_node_selector(errors: Errors, path: str, selector: Any) -> None:
    if not selector.node_selector_terms:
        errors.append(required(f"{path}.nodeSelectorTerms", "must have at least one node selector term"))
    for index, term in enumerate(selector.node_selector_terms):
        check_node_selector_term(errors, f"{path}.nodeSelectorTerms[{index}]", term)


def check_node_selector_term(errors: Errors, path: str, term: Any) -> None:
    for index, expression in enumerate(term.match_expressions):
        where = f"{path}.matchExpressions[{index}]"
        if expression.operator in ("Gt", "Lt"):
            if len(expression.values) != 1:
                detail = "must be specified single value when `operator` is 'Lt' or 'Gt'"
                errors.append(required(f"{where}.values", detail))
            check_name(errors, f"{where}.key", expression.key or "", names.qualified_name)
            for number, value in enumerate(expression.values):
                check_name(errors, f"{where}.values[{number}]", value, names.label_value)
        else:
            check_selector_expression(errors, where, expression)
    for index, expression in enumerate(term.match_fields):
        _check_field_expression(errors, f"{path}.matchFields[{index}]", expression)


def _check_field_expression(errors: Errors, path: str, expression: Any) -> None:
    if expression.operator not in ("In", "NotIn"):
        errors.append(invalid(f"{path}.operator", expression.operator or "", "not a valid selector operator"))
    elif len(expression.values) != 1:
        detail = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"
        errors.append(required(f"{path}.values", detail))
    if expression.key != "metadata.name":
        errors.append(invalid(f"{path}.key", expression.key or "", "not a valid field selector key"))
        return
    for index, value in enumerate(expression.values):
        check_name(errors, f"{path}.values[{index}]", value, names.dns_subdomain)
