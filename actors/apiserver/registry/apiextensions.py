"""The entries of CustomResourceDefinition (apiextensions.k8s.io) and APIService (apiregistration.k8s.io)."""

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from kubeloop.actors.api.apiextensions_v1 import (
    CustomResourceConversion,
    CustomResourceDefinitionNames,
    CustomResourceDefinitionStatus,
)
from kubeloop.actors.api.apiregistration_v1 import APIServiceStatus
from kubeloop.actors.api.errors import FieldError
from kubeloop.actors.apiserver.registry import names
from kubeloop.actors.apiserver.registry.catalog import entry
from kubeloop.actors.apiserver.registry.fields import (
    IMMUTABLE,
    Errors,
    check_name,
    check_one_of,
    invalid,
    required,
    unsupported,
)
from kubeloop.actors.apiserver.registry.kind import StrategyContext
from kubeloop.actors.apiserver.registry.printing import AGE, CREATED_AT, NAME, text
from kubeloop.actors.apiserver.registry.strategy import keep_status, only_status, status_reset

_NONE = CustomResourceConversion(strategy="None")
_NO_NAMES = CustomResourceDefinitionNames(kind="", plural="")


def default_definition(obj: Any) -> Any:
    spec = obj.spec
    changes: dict[str, Any] = {}
    found = spec.names
    if found is not None:
        more: dict[str, Any] = {}
        if not found.singular and found.kind:
            more["singular"] = found.kind.lower()
        if not found.list_kind and found.kind:
            more["list_kind"] = f"{found.kind}List"
        if more:
            changes["names"] = replace(found, **more)
    if spec.conversion is None:
        changes["conversion"] = _NONE
    return replace(obj, spec=replace(spec, **changes)) if changes else obj


def _stored_versions(spec: Any) -> tuple[str, ...]:
    return tuple(version.name or "" for version in spec.versions if version.storage)


def prepare_definition_create(obj: Any, context: StrategyContext) -> Any:
    status = CustomResourceDefinitionStatus(accepted_names=_NO_NAMES, stored_versions=_stored_versions(obj.spec))
    return replace(obj, status=status)


def prepare_definition_update(new: Any, old: Any, context: StrategyContext) -> Any:
    """A version that becomes the stored one is remembered: objects may be stored as it from now on."""
    status = old.status
    more = tuple(version for version in _stored_versions(new.spec) if version not in status.stored_versions)
    if more:
        status = replace(status, stored_versions=(*status.stored_versions, *more))
    return new if new.status is status else replace(new, status=status)


def validate_definition(obj: Any) -> Sequence[FieldError]:
    errors: Errors = []
    spec = obj.spec
    group = spec.group or ""
    plural = (spec.names.plural if spec.names is not None else None) or ""
    wanted = f"{plural}.{group}"
    if obj.metadata.name != wanted:
        errors.append(invalid("metadata.name", obj.metadata.name or "", 'must be spec.names.plural+"."+spec.group'))
    if not group:
        errors.append(required("spec.group"))
    else:
        check_name(errors, "spec.group", group, names.dns_subdomain)
        if "." not in group:
            errors.append(invalid("spec.group", group, "should be a domain with at least one dot"))
    if spec.scope not in ("Cluster", "Namespaced"):
        if not spec.scope:
            errors.append(required("spec.scope"))
        errors.append(unsupported("spec.scope", spec.scope or "", ("Cluster", "Namespaced")))
    _check_versions(errors, spec)
    _check_names(errors, spec)
    if spec.conversion is not None:
        check_one_of(errors, "spec.conversion.strategy", spec.conversion.strategy, ("None", "Webhook"))
    return errors


def _check_versions(errors: Errors, spec: Any) -> None:
    if not spec.versions:
        errors.append(invalid("spec.versions", [], "must have exactly one version marked as storage version"))
        return
    seen: set[str] = set()
    stored = 0
    for index, version in enumerate(spec.versions):
        path = f"spec.versions[{index}]"
        check_name(errors, f"{path}.name", version.name or "", names.dns_1035_label)
        if version.name in seen:
            errors.append(invalid(f"{path}.name", version.name, "must not contain duplicate version names"))
        seen.add(version.name or "")
        stored += bool(version.storage)
        if version.schema is None or version.schema.open_api_v3_schema is None:
            errors.append(required(f"{path}.schema.openAPIV3Schema", "schemas are required"))
    if stored != 1:
        detail = "must have exactly one version marked as storage version"
        errors.append(invalid("spec.versions", [version.name for version in spec.versions], detail))


def _check_names(errors: Errors, spec: Any) -> None:
    found = spec.names
    for field, json_name, kind in (
        ("plural", "plural", False),
        ("singular", "singular", False),
        ("kind", "kind", True),
        ("list_kind", "listKind", True),
    ):
        value = (getattr(found, field) if found is not None else None) or ""
        path = f"spec.names.{json_name}"
        if not value:
            errors.append(required(path))
            continue
        for message in names.dns_1035_label(value.lower() if kind else value):
            detail = f"may have mixed case, but should otherwise match: {message}" if kind else message
            errors.append(invalid(path, value, detail))
    if found is None:
        return
    for index, short in enumerate(found.short_names):
        check_name(errors, f"spec.names.shortNames[{index}]", short, names.dns_1035_label)
    for index, category in enumerate(found.categories):
        check_name(errors, f"spec.names.categories[{index}]", category, names.dns_1035_label)
    if found.kind and found.kind == found.list_kind:
        errors.append(invalid("spec.names.listKind", found.list_kind, "kind and listKind may not be the same"))


def validate_definition_update(new: Any, old: Any) -> Sequence[FieldError]:
    errors: Errors = []
    established = any(one.type == "Established" and one.status == "True" for one in old.status.conditions)
    if not established:
        return errors
    for value, before, path in (
        (new.spec.group, old.spec.group, "spec.group"),
        (new.spec.scope, old.spec.scope, "spec.scope"),
        (new.spec.names.kind, old.spec.names.kind, "spec.names.kind"),
        (new.spec.names.plural, old.spec.names.plural, "spec.names.plural"),
    ):
        if value != before:
            errors.append(invalid(path, value, IMMUTABLE))
    return errors


def validate_api_service(obj: Any) -> Sequence[FieldError]:
    errors: Errors = []
    spec = obj.spec
    wanted = f"{spec.version or ''}.{spec.group or ''}"
    if obj.metadata.name != wanted.removesuffix(".") and obj.metadata.name != wanted:
        errors.append(
            invalid("metadata.name", obj.metadata.name or "", f'must be `spec.version+"."+spec.group`: "{wanted}"')
        )
    if not spec.version:
        errors.append(required("spec.version"))
    for value, name, most in (
        (spec.group_priority_minimum, "groupPriorityMinimum", 20000),
        (spec.version_priority, "versionPriority", 1000),
    ):
        if not value or not 0 < value <= most:
            errors.append(invalid(f"spec.{name}", value or 0, f"must be positive and less than {most}"))
    return errors


def _service(obj: Any, now: float) -> str:
    service = obj.spec.service
    return "Local" if service is None else f"{service.namespace}/{service.name}"


def _available(obj: Any, now: float) -> str:
    for condition in obj.status.conditions:
        if condition.type == "Available":
            reason = f" ({condition.reason})" if condition.status != "True" and condition.reason else ""
            return f"{condition.status}{reason}"
    return "Unknown"


KINDS = (
    entry(
        "apiextensions.k8s.io",
        "v1",
        "customresourcedefinitions",
        default=default_definition,
        nulls=("status.conditions",),
        prepare_for_create=prepare_definition_create,
        prepare_for_update=prepare_definition_update,
        prepare_for_status_update=only_status,
        validate=validate_definition,
        validate_update=validate_definition_update,
        tracks_generation=True,
        unconditional_update=False,
        columns=(NAME, CREATED_AT),
    ),
    entry(
        "apiregistration.k8s.io",
        "v1",
        "apiservices",
        prepare_for_create=status_reset(APIServiceStatus()),
        prepare_for_update=keep_status,
        prepare_for_status_update=only_status,
        validate=validate_api_service,
        unconditional_update=False,
        columns=(
            NAME,
            text("Service", _service),
            text("Available", _available),
            AGE,
        ),
    ),
)
