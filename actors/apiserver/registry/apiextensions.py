"""The entries of CustomResourceDefinition (apiextensions.k8s.io) and APIService (apiregistration.k8s.io)."""

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from kubeloop.actors.api import codec
from kubeloop.actors.api.apiextensions_v1 import (
    CustomResourceConversion,
    CustomResourceDefinitionNames,
    CustomResourceDefinitionStatus,
    JSONSchemaProps,
)
from kubeloop.actors.api.apiregistration_v1 import APIServiceStatus
from kubeloop.actors.api.codec import to_builtins
from kubeloop.actors.api.errors import FieldError, bad_request
from kubeloop.actors.apiserver.registry import names
from kubeloop.actors.apiserver.registry.apiextensions_schema import check_schema, whole_schema
from kubeloop.actors.apiserver.registry.catalog import entry
from kubeloop.actors.apiserver.registry.fields import (
    Errors,
    check_immutable,
    check_required_one_of,
    duplicate,
    forbidden,
    invalid,
    required,
    too_many,
)
from kubeloop.actors.apiserver.registry.kind import StrategyContext
from kubeloop.actors.apiserver.registry.printing import AGE, CREATED_AT, NAME, text
from kubeloop.actors.apiserver.registry.strategy import keep_status, only_status, status_reset

SHARED = ("schema", "subresources", "additional_printer_columns", "selectable_fields")
COLUMN_TYPES = ("boolean", "date", "integer", "number", "string")
COLUMN_FORMATS = ("byte", "date", "date-time", "double", "float", "int32", "int64", "password")
SELECTABLE_MAX = 8
OWN_GROUPS = ("k8s.io", "kubernetes.io")
APPROVAL = "api-approved.kubernetes.io"
APPROVAL_PAGE = "https://github.com/kubernetes/enhancements/pull/1111"
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
    versions = tuple(_with_whole_schema(version) for version in spec.versions)
    if any(new is not old for new, old in zip(versions, spec.versions, strict=True)):
        changes["versions"] = versions
    return replace(obj, spec=replace(spec, **changes)) if changes else obj


def _with_whole_schema(version: Any) -> Any:
    """The parts of a schema that may be something else than a schema are read as schemas where they are some."""
    if version.schema is None or version.schema.open_api_v3_schema is None:
        return version
    document = to_builtins(version.schema.open_api_v3_schema)
    try:
        whole = whole_schema(document)
        if whole == document:
            return version
        schema = codec.convert(whole, JSONSchemaProps)
    except codec.DecodeError as error:
        kind = "CustomResourceDefinition"
        raise bad_request(f'{kind} in version "v1" cannot be handled as a {kind}: {error}') from None
    return replace(version, schema=replace(version.schema, open_api_v3_schema=schema))


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
    if obj.metadata.name != f"{plural}.{group}":
        errors.append(invalid("metadata.name", obj.metadata.name or "", 'must be spec.names.plural+"."+spec.group'))
    if not group:
        errors.append(required("spec.group"))
    elif names.dns_subdomain(group):
        errors.append(invalid("spec.group", group, ",".join(names.dns_subdomain(group))))
    elif "." not in group:
        errors.append(invalid("spec.group", group, "should be a domain with at least one dot"))
    check_required_one_of(errors, "spec.scope", spec.scope, ("Cluster", "Namespaced"))
    _check_versions(errors, spec)
    _check_names(errors, spec)
    _check_shared_parts(errors, spec)
    if spec.conversion is not None:
        _check_conversion(errors, "spec.conversion", spec.conversion)
    _check_stored_versions(errors, obj)
    _check_approval(errors, obj)
    if spec.preserve_unknown_fields:
        detail = (
            "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead"
        )
        errors.append(invalid("spec.preserveUnknownFields", True, detail))
    return errors


def _check_versions(errors: Errors, spec: Any) -> None:
    shared = {name for name in SHARED if _is_shared(spec, name)}
    for index, version in enumerate(spec.versions):
        if version.schema is None or version.schema.open_api_v3_schema is None:
            errors.append(required(f"spec.versions[{index}].schema.openAPIV3Schema", "schemas are required"))
    for index, version in enumerate(spec.versions):
        path = f"spec.versions[{index}]"
        messages = names.dns_1035_label(version.name or "")
        if messages:
            errors.append(invalid(f"{path}.name", version.name or "", ",".join(messages)))
        for detail in _wrong_deprecation(version.deprecated, version.deprecation_warning):
            errors.append(invalid(f"{path}.deprecationWarning", version.deprecation_warning, detail))
        if "schema" not in shared:
            _check_schema(errors, f"{path}.schema", version.schema, version.subresources)
        if "subresources" not in shared:
            _check_subresources(errors, f"{path}.subresources", version.subresources)
        if "additional_printer_columns" not in shared:
            _check_columns(errors, f"{path}.additionalPrinterColumns", version.additional_printer_columns)
        if "selectable_fields" not in shared:
            _check_selectable(errors, f"{path}.selectableFields", version.selectable_fields, version.schema)
    found = [version.name for version in spec.versions]
    if len(set(found)) < len(found):
        errors.append(invalid("spec.versions", _go_versions(spec, shared), "must contain unique version names"))
    if sum(bool(version.storage) for version in spec.versions) != 1:
        detail = "must have exactly one version marked as storage version"
        errors.append(invalid("spec.versions", _go_versions(spec, shared), detail))


def _is_shared(spec: Any, name: str) -> bool:
    """Whether all versions have the same part: then the server reads it as the definition's own."""
    return all(getattr(version, name) == getattr(spec.versions[0], name) for version in spec.versions)


def _go_versions(spec: Any, shared: set[str]) -> list[dict[str, Any]] | None:
    """The versions as the server's internal type is printed."""

    def part(version: Any, name: str) -> Any:
        value = getattr(version, name)
        return None if name in shared or not value else to_builtins(value)

    return [
        {
            "Name": version.name or "",
            "Served": bool(version.served),
            "Storage": bool(version.storage),
            "Deprecated": bool(version.deprecated),
            "DeprecationWarning": version.deprecation_warning,
            "Schema": part(version, "schema"),
            "Subresources": part(version, "subresources"),
            "AdditionalPrinterColumns": part(version, "additional_printer_columns"),
            "SelectableFields": part(version, "selectable_fields"),
        }
        for version in spec.versions
    ] or None


def _check_shared_parts(errors: Errors, spec: Any) -> None:
    if not spec.versions:
        return
    first = spec.versions[0]
    if _is_shared(spec, "schema"):
        subresources = next((one.subresources for one in spec.versions if _has_status(one.subresources)), None)
        _check_schema(errors, "spec.validation", first.schema, subresources)
    if _is_shared(spec, "subresources"):
        _check_subresources(errors, "spec.subresources", first.subresources)
    if _is_shared(spec, "additional_printer_columns"):
        _check_columns(errors, "spec.additionalPrinterColumns", first.additional_printer_columns)
    if _is_shared(spec, "selectable_fields"):
        _check_selectable(errors, "spec.selectableFields", first.selectable_fields, first.schema)


def _has_status(subresources: Any) -> bool:
    return subresources is not None and subresources.status is not None


def _check_schema(errors: Errors, path: str, schema: Any, subresources: Any) -> None:
    if schema is not None and schema.open_api_v3_schema is not None:
        document = to_builtins(schema.open_api_v3_schema)
        check_schema(errors, f"{path}.openAPIV3Schema", document, has_status=_has_status(subresources))


def _wrong_deprecation(deprecated: bool | None, warning: str | None) -> Sequence[str]:
    if warning is None:
        return ()
    if not deprecated:
        return ("can only be set for deprecated versions",)
    if not warning:
        return ("cannot be empty if present",)
    if len(warning) > 256:
        return ("must be <= 256 characters long",)
    text = "must only contain printable UTF-8 characters; non-printable character found at index"
    return [f"{text} {index}" for index, one in enumerate(warning) if not one.isprintable()][:1]


def _check_subresources(errors: Errors, path: str, subresources: Any) -> None:
    scale = subresources.scale if subresources is not None else None
    if scale is None:
        return
    for value, name, under in (
        (scale.spec_replicas_path, "specReplicasPath", "spec"),
        (scale.status_replicas_path, "statusReplicasPath", "status"),
    ):
        where = f"{path}.scale.{name}"
        if not value:
            errors.append(required(where))
        elif not _check_simple_path(errors, where, value) and not value.startswith(f".{under}."):
            errors.append(invalid(where, value, f"should be a json path under .{under}"))
    selector, where = scale.label_selector_path, f"{path}.scale.labelSelectorPath"
    if selector and not _check_simple_path(errors, where, selector) and not selector.startswith((".spec.", ".status.")):
        errors.append(invalid(where, selector, "should be a json path under either .spec or .status"))


def _check_simple_path(errors: Errors, path: str, value: str) -> bool:
    """Whether something was found wrong."""
    if value.startswith("."):
        return False
    errors.append(invalid(path, value, "must be a simple json path starting with ."))
    return True


def _check_columns(errors: Errors, path: str, columns: Sequence[Any]) -> None:
    for index, column in enumerate(columns):
        where = f"{path}[{index}]"
        if not column.name:
            errors.append(required(f"{where}.name"))
        if not column.type:
            errors.append(required(f"{where}.type", f"must be one of {','.join(COLUMN_TYPES)}"))
        elif column.type not in COLUMN_TYPES:
            errors.append(invalid(f"{where}.type", column.type, f"must be one of {','.join(COLUMN_TYPES)}"))
        if column.format and column.format not in COLUMN_FORMATS:
            errors.append(invalid(f"{where}.format", column.format, f"must be one of {','.join(COLUMN_FORMATS)}"))
        if not column.json_path:
            errors.append(required(f"{where}.JSONPath"))
        else:
            _check_simple_path(errors, f"{where}.JSONPath", column.json_path)


def _check_selectable(errors: Errors, path: str, selectable: Sequence[Any], schema: Any) -> None:
    if len(selectable) > SELECTABLE_MAX:
        errors.append(too_many(path, len(selectable), SELECTABLE_MAX))
    document = to_builtins(schema.open_api_v3_schema) if schema is not None and schema.open_api_v3_schema else {}
    seen: set[str] = set()
    for index, selected in enumerate(selectable):
        where, json_path = f"{path}[{index}].jsonPath", selected.json_path or ""
        if not json_path:
            errors.append(required(where))
            continue
        part: Any = document
        for name in json_path.removeprefix(".").split("."):
            part = ((part or {}).get("properties") or {}).get(name)
        if part is None:
            errors.append(invalid(where, json_path, "is an invalid path: does not refer to a valid field"))
        elif part.get("type") not in ("string", "boolean", "integer"):
            detail = (
                "must point to a field of type string, boolean or integer. Enum string fields and strings with formats "
                "are allowed."
            )
            errors.append(invalid(where, json_path, detail))
        elif json_path.startswith(".metadata"):
            errors.append(invalid(where, json_path, "must not point to fields in metadata"))
        if json_path in seen:
            errors.append(duplicate(where, json_path))
        seen.add(json_path)


def _check_names(errors: Errors, spec: Any) -> None:
    found = spec.names if spec.names is not None else _NO_NAMES
    fields = (
        ("plural", found.plural, False),
        ("singular", found.singular, False),
        ("kind", found.kind, True),
        ("listKind", found.list_kind, True),
    )
    for name, value, _ in fields:
        if not value:
            errors.append(required(f"spec.names.{name}"))
    for name, value, mixed in fields:
        messages = ",".join(names.dns_1035_label(value.lower() if mixed else value)) if value else ""
        if messages:
            detail = f"may have mixed case, but should otherwise match: {messages}" if mixed else messages
            errors.append(invalid(f"spec.names.{name}", value, detail))
    _check_name_list(errors, "spec.names.shortNames", found.short_names)
    if found.kind and found.kind == found.list_kind:
        errors.append(invalid("spec.names.listKind", found.list_kind, "kind and listKind may not be the same"))
    _check_name_list(errors, "spec.names.categories", found.categories)


def _check_name_list(errors: Errors, path: str, values: Sequence[str]) -> None:
    for index, value in enumerate(values):
        messages = names.dns_1035_label(value)
        if messages:
            errors.append(invalid(f"{path}[{index}]", value, ",".join(messages)))


def _check_conversion(errors: Errors, path: str, conversion: Any) -> None:
    check_required_one_of(errors, f"{path}.strategy", conversion.strategy, ("None", "Webhook"))
    webhook = conversion.webhook
    client = webhook.client_config if webhook is not None else None
    if conversion.strategy != "Webhook":
        detail = "should not be set when strategy is not set to Webhook"
        if client is not None:
            errors.append(forbidden(f"{path}.webhookClientConfig", detail))
        if webhook is not None and webhook.conversion_review_versions:
            errors.append(forbidden(f"{path}.conversionReviewVersions", detail))
        return
    if client is None:
        errors.append(required(f"{path}.webhookClientConfig", "required when strategy is set to Webhook"))
    elif (client.url is None) == (client.service is None):
        errors.append(required(f"{path}.webhookClientConfig", "exactly one of url or service is required"))
    if webhook is None or not webhook.conversion_review_versions:
        errors.append(required(f"{path}.conversionReviewVersions"))


def _check_stored_versions(errors: Errors, obj: Any) -> None:
    stored, path = list(obj.status.stored_versions), "status.storedVersions"
    if not stored:
        errors.append(invalid(path, stored, "must have at least one stored version"))
        return
    known = {version.name for version in obj.spec.versions}
    for version in obj.spec.versions:
        if version.storage and version.name not in stored:
            errors.append(invalid(path, stored, f"must have the storage version {version.name}"))
    for index, name in enumerate(stored):
        if name not in known:
            detail = (
                f"missing from spec.versions; {name} was previously a storage version, and must remain in "
                f"spec.versions until a storage migration ensures no data remains persisted in {name} and removes "
                f"{name} from status.storedVersions"
            )
            errors.append(invalid(f"{path}[{index}]", name, detail))


def _check_approval(errors: Errors, obj: Any) -> None:
    """Groups of Kubernetes' own need the community's approval."""
    group = obj.spec.group or ""
    if not (group in OWN_GROUPS or group.endswith(tuple(f".{own}" for own in OWN_GROUPS))):
        return
    value = obj.metadata.annotations.get(APPROVAL)
    where = f"metadata.annotations[{APPROVAL}]"
    if not value:
        detail = f'protected groups must have approval annotation "{APPROVAL}", see {APPROVAL_PAGE}'
        errors.append(required(where, detail))
    elif not value.startswith(("unapproved", "https://", "http://")):
        detail = (
            f'protected groups must have approval annotation "{APPROVAL}" with either a URL or a reason starting with '
            f'"unapproved", see {APPROVAL_PAGE}'
        )
        errors.append(invalid(where, value, detail))


def validate_definition_update(new: Any, old: Any) -> Sequence[FieldError]:
    errors: Errors = []
    wanted = new.spec.names if new.spec.names is not None else _NO_NAMES
    established = any(one.type == "Established" and one.status == "True" for one in old.status.conditions)
    fixed = [
        (new.spec.group, old.spec.group, "spec.group"),
        (wanted.plural or "", old.spec.names.plural, "spec.names.plural"),
    ]
    if established:
        fixed[:0] = [
            (new.spec.scope, old.spec.scope, "spec.scope"),
            (wanted.kind or "", old.spec.names.kind, "spec.names.kind"),
        ]
    for value, before, path in fixed:
        check_immutable(errors, path, value, before)
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
