"""The entries of LimitRange and ResourceQuota (core/v1)."""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from kubeloop.actors.api import quantity
from kubeloop.actors.api.core_v1 import ResourceQuotaStatus
from kubeloop.actors.api.errors import FieldError
from kubeloop.actors.apiserver.registry import names
from kubeloop.actors.apiserver.registry.catalog import entry
from kubeloop.actors.apiserver.registry.fields import (
    NON_NEGATIVE,
    Errors,
    check_name,
    duplicate,
    forbidden,
    invalid,
    required,
)
from kubeloop.actors.apiserver.registry.pod_defaults import canonical_quantities, each
from kubeloop.actors.apiserver.registry.printing import AGE, CREATED_AT, NAME, text
from kubeloop.actors.apiserver.registry.resource_checks import (
    check_quantity_value,
    container_resource_messages,
    quota_resource_messages,
    resource_name_messages,
)
from kubeloop.actors.apiserver.registry.strategy import keep_status, only_status, status_reset

_LIMIT_FIELDS = ("default", "default_request", "max", "max_limit_request_ratio", "min")
_POD_RESOURCES = frozenset({"cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"})
_SCOPES = (
    "BestEffort",
    "CrossNamespacePodAffinity",
    "NotBestEffort",
    "NotTerminating",
    "PriorityClass",
    "Terminating",
    "VolumeAttributesClass",
)
_CONFLICTS = ({"BestEffort", "NotBestEffort"}, {"Terminating", "NotTerminating"})
_COMPUTE = frozenset(
    {
        "pods",
        "cpu",
        "memory",
        "requests.cpu",
        "requests.memory",
        "limits.cpu",
        "limits.memory",
        "ephemeral-storage",
        "requests.ephemeral-storage",
        "limits.ephemeral-storage",
    }
)


def default_limit_range(obj: Any) -> Any:
    limits = each(obj.spec.limits, _default_item)
    return obj if limits is obj.spec.limits else replace(obj, spec=replace(obj.spec, limits=limits))


def _default_item(item: Any) -> Any:
    """Of a container's limits, what is not given follows from what is: default from max, request from both and min."""
    found: dict[str, Mapping[str, str]] = {field: canonical_quantities(getattr(item, field)) for field in _LIMIT_FIELDS}
    if item.type == "Container":
        default = {**found["max"], **found["default"]}
        request = {**found["min"], **default, **found["default_request"]}
        if default != found["default"]:
            found["default"] = default
        if request != found["default_request"]:
            found["default_request"] = request
    changes = {field: value for field, value in found.items() if value is not getattr(item, field)}
    return replace(item, **changes) if changes else item


def validate_limit_range(obj: Any) -> Sequence[FieldError]:
    errors: Errors = []
    seen: set[str] = set()
    for index, item in enumerate(obj.spec.limits):
        path = f"spec.limits[{index}]"
        type_ = item.type or ""
        _check_limit_type(errors, f"{path}.type", type_)
        if type_ in seen:
            errors.append(duplicate(f"{path}.type", type_))
        seen.add(type_)
        _check_item(errors, path, item, type_)
    return errors


def _check_limit_type(errors: Errors, path: str, type_: str) -> None:
    check_name(errors, path, type_, names.qualified_name)
    plain = type_ and "/" not in type_ and not names.qualified_name(type_)
    if plain and type_ not in ("Pod", "Container", "PersistentVolumeClaim"):
        errors.append(invalid(path, type_, "must be a standard limit type or fully qualified"))


def _check_item(errors: Errors, path: str, item: Any, type_: str) -> None:
    for field, json_name in (("max", "max"), ("min", "min")):
        for name in sorted(getattr(item, field)):
            _check_limit_resource(errors, f"{path}.{json_name}[{name}]", name, type_)
    if type_ == "Pod":
        for field, json_name in (("default", "default"), ("default_request", "defaultRequest")):
            if getattr(item, field):
                errors.append(forbidden(f"{path}.{json_name}", "may not be specified when `type` is 'Pod'"))
    else:
        for field, json_name in (("default", "default"), ("default_request", "defaultRequest")):
            for name in sorted(getattr(item, field)):
                _check_limit_resource(errors, f"{path}.{json_name}[{name}]", name, type_)
    if type_ == "PersistentVolumeClaim" and "storage" not in item.max and "storage" not in item.min:
        errors.append(
            required(f"{path}.limits", "either minimum or maximum storage value is required, but neither was provided")
        )
    for name in sorted(item.max_limit_request_ratio):
        _check_limit_resource(errors, f"{path}.maxLimitRequestRatio[{name}]", name, type_)
    keys: dict[str, None] = {}
    for field in ("max", "min", "default", "default_request", "max_limit_request_ratio"):
        keys |= dict.fromkeys(sorted(getattr(item, field)))
    for name in keys:
        _check_order(errors, path, item, name)


def _check_limit_resource(errors: Errors, path: str, name: str, type_: str) -> None:
    if type_ == "Pod" and "/" not in name and name not in _POD_RESOURCES:
        messages: Sequence[str] = resource_name_messages(name)
    elif type_ == "Container":
        messages = container_resource_messages(name)
    else:
        messages = resource_name_messages(name)
    for message in messages:
        errors.append(invalid(path, name, message))


def _check_order(errors: Errors, path: str, item: Any, name: str) -> None:
    """min <= default request <= default <= max."""
    low, high = item.min.get(name), item.max.get(name)
    default, request = item.default.get(name), item.default_request.get(name)
    ratio = item.max_limit_request_ratio.get(name)

    def greater(first: str | None, second: str | None) -> bool:
        return first is not None and second is not None and quantity.parse(first) > quantity.parse(second)

    def wrong(field: str, shown: Any, detail: str) -> None:
        errors.append(invalid(f"{path}.{field}[{name}]", shown, detail))

    if greater(low, high):
        wrong("min", low, f"min value {low} is greater than max value {high}")
    if greater(low, request):
        wrong("defaultRequest", request, f"min value {low} is greater than default request value {request}")
    if greater(request, high):
        wrong("defaultRequest", request, f"default request value {request} is greater than max value {high}")
    if greater(request, default):
        wrong(
            "defaultRequest", request, f"default request value {request} is greater than default limit value {default}"
        )
    if greater(low, default):
        wrong("default", low, f"min value {low} is greater than default value {default}")
    if greater(default, high):
        wrong("default", high, f"default value {default} is greater than max value {high}")
    if ratio is not None and quantity.parse(ratio) < 1:
        wrong("maxLimitRequestRatio", ratio, f"ratio {ratio} is less than 1")
    if ratio is not None and low is not None and high is not None and quantity.parse(low):
        limit = quantity.parse(high) / quantity.parse(low)
        if quantity.parse(ratio) > limit:
            wrong("maxLimitRequestRatio", ratio, f"ratio {ratio} is greater than max/min = {float(limit):f}")


def default_resource_quota(obj: Any) -> Any:
    hard = canonical_quantities(obj.spec.hard)
    return obj if hard is obj.spec.hard else replace(obj, spec=replace(obj.spec, hard=hard))


def validate_resource_quota(obj: Any) -> Sequence[FieldError]:
    errors: Errors = []
    spec = obj.spec
    for name in sorted(spec.hard):
        path = f"spec.hard[{name}]"
        for message in quota_resource_messages(name):
            errors.append(invalid(path, name, message))
        check_quantity_value(errors, path, name, spec.hard[name])
    if spec.scopes:
        _check_scopes(errors, "spec.scopes", list(spec.scopes), spec.hard)
    if spec.scope_selector is not None:
        _check_scope_selector(errors, "spec.scopeSelector.matchExpressions", spec)
    return errors


def _check_scopes(errors: Errors, path: str, scopes: list[Any], hard: Mapping[str, str]) -> None:
    for scope in scopes:
        if scope not in _SCOPES and "/" not in scope:
            errors.append(invalid(path, scopes, "unsupported scope"))
        elif any(not _scope_fits(scope, name) for name in hard):
            errors.append(invalid(path, scopes, "unsupported scope applied to resource"))
    if any(conflict <= set(scopes) for conflict in _CONFLICTS):
        errors.append(invalid(path, scopes, "conflicting scopes"))


def _scope_fits(scope: str, name: str) -> bool:
    if scope == "BestEffort":
        return name == "pods"
    if scope in ("Terminating", "NotTerminating", "NotBestEffort", "PriorityClass", "CrossNamespacePodAffinity"):
        return name in _COMPUTE or "/" in name or name.startswith(("hugepages-", "requests.hugepages-"))
    return True


def _check_scope_selector(errors: Errors, path: str, spec: Any) -> None:
    scopes = []
    for expression in spec.scope_selector.match_expressions:
        scope, operator = expression.scope_name or "", expression.operator or ""
        scopes.append(scope)
        if scope not in _SCOPES:
            errors.append(invalid(f"{path}.scopeName", scope, "unsupported scope"))
        elif any(not _scope_fits(scope, name) for name in spec.hard):
            errors.append(invalid(path, {"scopeName": scope}, "unsupported scope applied to resource"))
        if operator in ("In", "NotIn"):
            if not expression.values:
                errors.append(
                    required(
                        f"{path}.values",
                        "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector",
                    )
                )
        elif operator in ("Exists", "DoesNotExist"):
            if expression.values:
                errors.append(
                    invalid(
                        f"{path}.values",
                        list(expression.values),
                        "must be no value when `operator` is 'Exists' or 'DoesNotExist' for scope selector",
                    )
                )
        else:
            errors.append(invalid(f"{path}.operator", operator, "not a valid selector operator"))
    if any(conflict <= set(scopes) for conflict in _CONFLICTS):
        errors.append(invalid(path, scopes, "conflicting scopes"))


def validate_resource_quota_update(new: Any, old: Any) -> Sequence[FieldError]:
    if sorted(new.spec.scopes) == sorted(old.spec.scopes):
        return ()
    return (invalid("spec.scopes", list(new.spec.scopes), "field is immutable"),)


def validate_resource_quota_status(new: Any, old: Any) -> Sequence[FieldError]:
    errors: Errors = []
    for field in ("hard", "used"):
        for name, value in getattr(new.status, field).items():
            for message in quota_resource_messages(name):
                errors.append(invalid(f"status.{field}[{name}]", name, message))
            if value[:1] == "-":
                errors.append(invalid(f"status.{field}[{name}]", value, NON_NEGATIVE))
    return errors


def _quota_cell(*, limits: bool) -> Any:
    def cell(obj: Any, now: float) -> str:
        hard, used = obj.status.hard, obj.status.used
        shown = [
            f"{name}: {used.get(name, '0')}/{hard[name]}"
            for name in sorted(hard)
            if name.startswith("limits.") == limits
        ]
        return ", ".join(shown)

    return cell


KINDS = (
    entry(
        "",
        "v1",
        "limitranges",
        nulls=("spec.limits",),
        default=default_limit_range,
        validate=validate_limit_range,
        create_on_update=True,
        columns=(NAME, CREATED_AT),
    ),
    entry(
        "",
        "v1",
        "resourcequotas",
        default=default_resource_quota,
        prepare_for_create=status_reset(ResourceQuotaStatus()),
        prepare_for_update=keep_status,
        prepare_for_status_update=only_status,
        validate=validate_resource_quota,
        validate_update=validate_resource_quota_update,
        validate_status_update=validate_resource_quota_status,
        return_deleted_object=True,
        columns=(
            NAME,
            text("Request", _quota_cell(limits=False)),
            text("Limit", _quota_cell(limits=True)),
            AGE,
        ),
    ),
)
