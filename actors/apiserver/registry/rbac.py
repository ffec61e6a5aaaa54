"""The entries of rbac.authorization.k8s.io/v1: roles and bindings."""

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from kubeloop.actors.api.errors import FieldError
from kubeloop.actors.apiserver.registry import names
from kubeloop.actors.apiserver.registry.catalog import entry
from kubeloop.actors.apiserver.registry.fields import (
    Errors,
    check_label_selector,
    check_name,
    check_one_of,
    invalid,
    required,
    unsupported,
)
from kubeloop.actors.apiserver.registry.kind import Column
from kubeloop.actors.apiserver.registry.pod_defaults import each
from kubeloop.actors.apiserver.registry.printing import AGE, CREATED_AT, NAME, text

GROUP = "rbac.authorization.k8s.io"


def _check_rules(errors: Errors, rules: Sequence[Any], *, namespaced: bool) -> None:
    for index, rule in enumerate(rules):
        path = f"rules[{index}]"
        if not rule.verbs:
            errors.append(required(f"{path}.verbs", "verbs must contain at least one value"))
        urls = list(rule.non_resource_urls)
        if urls:
            if namespaced:
                errors.append(
                    invalid(f"{path}.nonResourceURLs", urls, "namespaced rules cannot apply to non-resource URLs")
                )
            if rule.api_groups or rule.resources or rule.resource_names:
                errors.append(
                    invalid(
                        f"{path}.nonResourceURLs",
                        urls,
                        "rules cannot apply to both regular resources and non-resource URLs",
                    )
                )
            continue
        if not rule.api_groups:
            errors.append(required(f"{path}.apiGroups", "resource rules must supply at least one api group"))
        if not rule.resources:
            errors.append(required(f"{path}.resources", "resource rules must supply at least one resource"))


def validate_role(obj: Any) -> Sequence[FieldError]:
    errors: Errors = []
    _check_rules(errors, obj.rules, namespaced=True)
    return errors


def validate_cluster_role(obj: Any) -> Sequence[FieldError]:
    errors: Errors = []
    _check_rules(errors, obj.rules, namespaced=False)
    aggregation = obj.aggregation_rule
    if aggregation is not None:
        path = "aggregationRule.clusterRoleSelectors"
        if not aggregation.cluster_role_selectors:
            errors.append(required(path, "at least one clusterRoleSelector required if aggregationRule is non-nil"))
        for index, selector in enumerate(aggregation.cluster_role_selectors):
            check_label_selector(errors, f"{path}[{index}]", selector)
    return errors


def default_binding(obj: Any) -> Any:
    changes: dict[str, Any] = {}
    if obj.role_ref is not None and not obj.role_ref.api_group:
        changes["role_ref"] = replace(obj.role_ref, api_group=GROUP)
    elif obj.role_ref is None:
        from kubeloop.actors.api.rbac_v1 import RoleRef

        changes["role_ref"] = RoleRef(api_group=GROUP)
    subjects = each(obj.subjects, _default_subject)
    if subjects is not obj.subjects:
        changes["subjects"] = subjects
    return replace(obj, **changes) if changes else obj


def _default_subject(subject: Any) -> Any:
    if subject.kind in ("User", "Group") and not subject.api_group:
        return replace(subject, api_group=GROUP)
    return subject


def _validate_binding(kinds: Sequence[str], *, namespaced: bool) -> Any:
    def validate(obj: Any) -> Sequence[FieldError]:
        errors: Errors = []
        reference = obj.role_ref
        check_one_of(errors, "roleRef.apiGroup", reference.api_group, (GROUP,))
        check_one_of(errors, "roleRef.kind", reference.kind or "", kinds)
        if not reference.name:
            errors.append(required("roleRef.name"))
        else:
            check_name(errors, "roleRef.name", reference.name, names.path_segment)
        for index, subject in enumerate(obj.subjects):
            _check_subject(errors, f"subjects[{index}]", subject, namespaced=namespaced)
        return errors

    return validate


def _check_subject(errors: Errors, path: str, subject: Any, *, namespaced: bool) -> None:
    if not subject.name:
        errors.append(required(f"{path}.name"))
    group = subject.api_group or ""
    if subject.kind == "ServiceAccount":
        if subject.name:
            check_name(errors, f"{path}.name", subject.name, names.dns_subdomain)
        if group:
            errors.append(unsupported(f"{path}.apiGroup", group, ("",)))
        if not namespaced and not subject.namespace:
            errors.append(required(f"{path}.namespace"))
    elif subject.kind in ("User", "Group"):
        if group != GROUP:
            errors.append(unsupported(f"{path}.apiGroup", group, (GROUP,)))
    else:
        errors.append(unsupported(f"{path}.kind", subject.kind or "", ("ServiceAccount", "User", "Group")))


def validate_binding_update(new: Any, old: Any) -> Sequence[FieldError]:
    if new.role_ref == old.role_ref:
        return ()
    reference = new.role_ref
    shown = {"APIGroup": reference.api_group or "", "Kind": reference.kind or "", "Name": reference.name or ""}
    return (invalid("roleRef", shown, "cannot change roleRef"),)


def _subjects(kind: str) -> Any:
    def cell(obj: Any, now: float) -> str:
        found = [subject for subject in obj.subjects if subject.kind == kind]
        if kind == "ServiceAccount":
            return ", ".join(f"{subject.namespace or ''}/{subject.name}" for subject in found)
        return ", ".join(subject.name or "" for subject in found)

    return cell


def _role(obj: Any, now: float) -> str:
    return f"{obj.role_ref.kind}/{obj.role_ref.name}"


_BINDING_COLUMNS: tuple[Column, ...] = (
    NAME,
    text("Role", _role),
    AGE,
    text("Users", _subjects("User"), wide=True),
    text("Groups", _subjects("Group"), wide=True),
    text("ServiceAccounts", _subjects("ServiceAccount"), wide=True),
)
_COMMON: dict[str, Any] = {"name_rule": "path_segment", "create_on_update": True}

KINDS = (
    entry(GROUP, "v1", "roles", nulls=("rules",), validate=validate_role, columns=(NAME, CREATED_AT), **_COMMON),
    entry(
        GROUP,
        "v1",
        "clusterroles",
        nulls=("rules",),
        validate=validate_cluster_role,
        columns=(NAME, CREATED_AT),
        **_COMMON,
    ),
    entry(
        GROUP,
        "v1",
        "rolebindings",
        default=default_binding,
        validate=_validate_binding(("Role", "ClusterRole"), namespaced=True),
        validate_update=validate_binding_update,
        columns=_BINDING_COLUMNS,
        **_COMMON,
    ),
    entry(
        GROUP,
        "v1",
        "clusterrolebindings",
        default=default_binding,
        validate=_validate_binding(("ClusterRole",), namespaced=False),
        validate_update=validate_binding_update,
        columns=_BINDING_COLUMNS,
        **_COMMON,
    ),
)
