"""The entries of core/v1 that need little: Namespace, ConfigMap, Secret, ServiceAccount, Binding, ComponentStatus."""

import base64
from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from kubeloop.actors.api.core_v1 import NamespaceSpec, NamespaceStatus
from kubeloop.actors.api.empty import EMPTY
from kubeloop.actors.api.errors import FieldError
from kubeloop.actors.apiserver.registry import names
from kubeloop.actors.apiserver.registry.catalog import entry
from kubeloop.actors.apiserver.registry.fields import (
    Errors,
    check_name,
    forbidden,
    invalid,
    required,
    too_long,
)
from kubeloop.actors.apiserver.registry.kind import StrategyContext
from kubeloop.actors.apiserver.registry.printing import AGE, NAME, text
from kubeloop.actors.apiserver.registry.strategy import field

DATA_BYTES_MAX = 1024 * 1024
NAMESPACE_LABEL = "kubernetes.io/metadata.name"
_ACTIVE = NamespaceStatus(phase="Active")
# type of a secret -> keys of which it must have one at least
_SECRET_KEYS = {
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
}


def default_namespace(obj: Any) -> Any:
    name = obj.metadata.name if obj.metadata is not None else None
    changes: dict[str, Any] = {}
    if name and obj.metadata.labels.get(NAMESPACE_LABEL) != name:
        labels = {**obj.metadata.labels, NAMESPACE_LABEL: name}
        changes["metadata"] = replace(obj.metadata, labels=labels)
    if obj.spec is None:
        changes["spec"] = NamespaceSpec()
    if obj.status is None or not obj.status.phase:
        changes["status"] = _ACTIVE if obj.status is None else replace(obj.status, phase="Active")
    return replace(obj, **changes) if changes else obj


def prepare_namespace_create(obj: Any, context: StrategyContext) -> Any:
    finalizers = obj.spec.finalizers
    if "kubernetes" not in finalizers:
        finalizers = (*finalizers, "kubernetes")
    new = replace(obj, status=_ACTIVE, spec=replace(obj.spec, finalizers=finalizers))
    if not new.metadata.name:
        return new
    labels = {**new.metadata.labels, NAMESPACE_LABEL: new.metadata.name}
    return replace(new, metadata=replace(new.metadata, labels=labels))


def prepare_namespace_update(new: Any, old: Any, context: StrategyContext) -> Any:
    return replace(new, status=old.status, spec=replace(new.spec, finalizers=old.spec.finalizers))


def validate_namespace(obj: Any) -> Sequence[FieldError]:
    errors: Errors = []
    for index, finalizer in enumerate(obj.spec.finalizers):
        if finalizer != "kubernetes" and "/" not in finalizer:
            errors.append(
                invalid(
                    f"spec.finalizers[{index}]",
                    finalizer,
                    "name is neither a standard finalizer name nor is it fully qualified",
                )
            )
    return errors


def validate_namespace_status(new: Any, old: Any) -> Sequence[FieldError]:
    phase = new.status.phase
    if phase not in ("Active", "Terminating"):
        return (invalid("status.Phase", phase, "may only be 'Active' or 'Terminating'"),)
    terminating = bool(new.metadata.deletion_timestamp)
    if terminating != (phase == "Terminating"):
        wanted = (
            "'Terminating' if `deletionTimestamp` is not empty"
            if terminating
            else "'Active' if `deletionTimestamp` is empty"
        )
        return (invalid("status.Phase", phase, f"may only be {wanted}"),)
    return ()


def validate_config_map(obj: Any) -> Sequence[FieldError]:
    errors: Errors = []
    total = 0
    for key, value in obj.data.items():
        if names.config_map_key(key):
            check_name(errors, f"data[{key}]", key, names.config_map_key)
        if key in obj.binary_data:
            errors.append(invalid(f"data[{key}]", key, "duplicate of key present in binaryData"))
        total += len(value.encode())
    for key, value in obj.binary_data.items():
        if names.config_map_key(key):
            check_name(errors, f"binaryData[{key}]", key, names.config_map_key)
        total += len(value) * 3 // 4
    if total > DATA_BYTES_MAX:
        errors.append(too_long("", "", DATA_BYTES_MAX))
    return errors


def _check_immutable(errors: Errors, new: Any, old: Any, fields: Sequence[tuple[str, str]]) -> None:
    if not old.immutable:
        return
    message = "field is immutable when `immutable` is set"
    if not new.immutable:
        errors.append(forbidden("immutable", message))
    for name, json_name in fields:
        if getattr(new, name) != getattr(old, name):
            errors.append(forbidden(json_name, message))


def validate_config_map_update(new: Any, old: Any) -> Sequence[FieldError]:
    errors: Errors = []
    _check_immutable(errors, new, old, (("data", "data"), ("binary_data", "binaryData")))
    return errors


def default_secret(obj: Any) -> Any:
    changes: dict[str, Any] = {}
    if not obj.type:
        changes["type"] = "Opaque"
    if obj.string_data:
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in obj.string_data.items()}
        changes["data"] = {**obj.data, **encoded}
        changes["string_data"] = EMPTY
    return replace(obj, **changes) if changes else obj


def validate_secret(obj: Any) -> Sequence[FieldError]:
    errors: Errors = []
    total = 0
    for key, value in obj.data.items():
        if names.config_map_key(key):
            check_name(errors, f"data[{key}]", key, names.config_map_key)
        total += len(value) * 3 // 4
    if total > DATA_BYTES_MAX:
        errors.append(too_long("data", "", DATA_BYTES_MAX))
    match obj.type:
        case "kubernetes.io/service-account-token":
            if not obj.metadata.annotations.get("kubernetes.io/service-account.name"):
                errors.append(required("metadata.annotations[kubernetes.io/service-account.name]"))
        case "kubernetes.io/basic-auth":
            if "username" not in obj.data and "password" not in obj.data:
                errors.append(required("data[username]"))
                errors.append(required("data[password]"))
        case _:
            _check_secret_keys(errors, obj)
    return errors


def _check_secret_keys(errors: Errors, obj: Any) -> None:
    for key in _SECRET_KEYS.get(obj.type, ()):
        value = obj.data.get(key)
        if value is None or (not value and obj.type == "kubernetes.io/ssh-auth"):
            errors.append(required(f"data[{key}]"))
        elif key.startswith(".docker"):
            try:
                import msgspec

                msgspec.json.decode(base64.b64decode(value))
            except ValueError as error:
                errors.append(invalid(f"data[{key}]", "<secret contents redacted>", str(error)))


def validate_secret_update(new: Any, old: Any) -> Sequence[FieldError]:
    errors: Errors = []
    if new.type != old.type:
        errors.append(invalid("type", new.type, "field is immutable"))
    _check_immutable(errors, new, old, (("data", "data"),))
    return errors


def prepare_secret_update(new: Any, old: Any, context: StrategyContext) -> Any:
    return replace(new, type=old.type) if not new.type else new


def secret_warnings(obj: Any) -> Sequence[str]:
    if obj.type == "kubernetes.io/tls" and "tls.crt" in obj.data and "tls.key" in obj.data:
        try:
            found = base64.b64decode(obj.data["tls.crt"])
        except ValueError:
            return ()
        if b"-----BEGIN" not in found:
            return ("tls: failed to find any PEM data in certificate input",)
    return ()


def service_account_warnings(obj: Any) -> Sequence[str]:
    if obj.metadata.annotations.get("kubernetes.io/enforce-mountable-secrets"):
        return (
            "metadata.annotations[kubernetes.io/enforce-mountable-secrets]: deprecated in v1.32+; prefer separate "
            "namespaces to isolate access to mounted secrets",
        )
    return ()


def validate_binding(obj: Any) -> Sequence[FieldError]:
    errors: Errors = []
    if obj.target is None or not obj.target.name:
        errors.append(required("target.name"))
    elif obj.target.kind not in (None, "", "Node"):
        errors.append(
            FieldError("FieldValueNotSupported", "target.kind", obj.target.kind, 'supported values: "Node", "<empty>"')
        )
    return errors


def _healthy_cell(obj: Any, now: float) -> str:
    for condition in obj.conditions:
        if condition.type == "Healthy":
            return "Healthy" if condition.status == "True" else "Unhealthy"
    return "Unknown"


def _condition_text(name: str) -> Any:
    def cell(obj: Any, now: float) -> str:
        return next((getattr(one, name) or "" for one in obj.conditions if one.type == "Healthy"), "")

    return cell


KINDS = (
    entry(
        "",
        "v1",
        "namespaces",
        name_rule="dns_label",
        default=default_namespace,
        prepare_for_create=prepare_namespace_create,
        prepare_for_update=prepare_namespace_update,
        validate=validate_namespace,
        validate_status_update=validate_namespace_status,
        selectable_fields={"status.phase": field("status.phase")},
        columns=(NAME, text("Status", lambda obj, now: obj.status.phase or ""), AGE),
    ),
    entry(
        "",
        "v1",
        "configmaps",
        validate=validate_config_map,
        validate_update=validate_config_map_update,
        columns=(
            NAME,
            text("Data", lambda obj, now: len(obj.data) + len(obj.binary_data)),
            AGE,
        ),
    ),
    entry(
        "",
        "v1",
        "secrets",
        default=default_secret,
        prepare_for_update=prepare_secret_update,
        validate=validate_secret,
        validate_update=validate_secret_update,
        warnings=secret_warnings,
        selectable_fields={"type": field("type")},
        columns=(
            NAME,
            text("Type", lambda obj, now: obj.type or ""),
            text("Data", lambda obj, now: len(obj.data)),
            AGE,
        ),
    ),
    entry(
        "",
        "v1",
        "serviceaccounts",
        warnings=service_account_warnings,
        return_deleted_object=True,
        columns=(NAME, AGE),
    ),
    entry("", "v1", "bindings", validate=validate_binding),
    entry(
        "",
        "v1",
        "componentstatuses",
        columns=(
            NAME,
            text("Status", _healthy_cell),
            text("Message", _condition_text("message")),
            text("Error", _condition_text("error")),
        ),
    ),
)
