"""The entries of storage.k8s.io/v1."""

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from kubeloop.actors.api import quantity
from kubeloop.actors.api.errors import FieldError
from kubeloop.actors.api.storage_v1 import VolumeAttachmentStatus
from kubeloop.actors.apiserver.registry import names
from kubeloop.actors.apiserver.registry.catalog import entry
from kubeloop.actors.apiserver.registry.fields import (
    IMMUTABLE,
    NON_NEGATIVE,
    Errors,
    check_immutable,
    check_label_selector,
    check_name,
    check_one_of,
    duplicate,
    forbidden,
    invalid,
    required,
    unsupported,
)
from kubeloop.actors.apiserver.registry.kind import Column, StrategyContext
from kubeloop.actors.apiserver.registry.printing import AGE, CREATED_AT, NAME, boolean, integer, text
from kubeloop.actors.apiserver.registry.strategy import keep_status, only_status, status_reset

GROUP = "storage.k8s.io"
DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
_NOT_ATTACHED = VolumeAttachmentStatus(attached=False)
_SOURCES_MESSAGE = "must specify exactly one of inlineVolumeSpec and persistentVolumeName"


def default_storage_class(obj: Any) -> Any:
    changes: dict[str, Any] = {}
    if not obj.reclaim_policy:
        changes["reclaim_policy"] = "Delete"
    if not obj.volume_binding_mode:
        changes["volume_binding_mode"] = "Immediate"
    return replace(obj, **changes) if changes else obj


def validate_storage_class(obj: Any) -> Sequence[FieldError]:
    errors: Errors = []
    if not obj.provisioner:
        errors.append(required("provisioner", obj.provisioner or ""))
    else:
        check_name(errors, "provisioner", obj.provisioner.lower(), names.qualified_name)
    if any(not key for key in obj.parameters):
        errors.append(invalid("parameters", "", "field can not be empty."))
    check_one_of(errors, "reclaimPolicy", obj.reclaim_policy, ("Delete", "Retain"))
    check_one_of(errors, "volumeBindingMode", obj.volume_binding_mode, ("Immediate", "WaitForFirstConsumer"))
    if obj.allowed_topologies:
        _check_topologies(errors, "allowedTopologies", obj.allowed_topologies)
    return errors


def _check_topologies(errors: Errors, path: str, terms: Sequence[Any]) -> None:
    known: list[dict[str, frozenset[str]]] = []
    for index, term in enumerate(terms):
        found: dict[str, frozenset[str]] = {}
        for number, requirement in enumerate(term.match_label_expressions):
            where = f"{path}.matchLabelExpressions[{number}]"
            if not requirement.values:
                errors.append(required(f"{where}.values"))
            for position, value in enumerate(requirement.values):
                if value in requirement.values[:position]:
                    errors.append(duplicate(f"{where}.values[{position}]", value))
            check_name(errors, f"{where}.key", requirement.key or "", names.qualified_name)
            if requirement.key in found:
                errors.append(duplicate(f"{where}.key", requirement.key))
            found[requirement.key or ""] = frozenset(requirement.values)
        if found in known:
            errors.append(duplicate(f"{path}[{index}].matchLabelExpressions", ""))
        known.append(found)


def validate_storage_class_update(new: Any, old: Any) -> Sequence[FieldError]:
    errors: Errors = []
    if new.parameters != old.parameters:
        errors.append(forbidden("parameters", "updates to parameters are forbidden."))
    if new.provisioner != old.provisioner:
        errors.append(forbidden("provisioner", "updates to provisioner are forbidden."))
    if new.reclaim_policy != old.reclaim_policy:
        errors.append(forbidden("reclaimPolicy", "updates to reclaimPolicy are forbidden."))
    check_immutable(errors, "volumeBindingMode", new.volume_binding_mode, old.volume_binding_mode)
    return errors


def _class_name(obj: Any, now: float) -> str:
    name = obj.metadata.name or ""
    return f"{name} (default)" if obj.metadata.annotations.get(DEFAULT_CLASS) == "true" else name


def default_driver(obj: Any) -> Any:
    spec = obj.spec
    changes: dict[str, Any] = {
        field: value
        for field, value in (
            ("attach_required", True),
            ("pod_info_on_mount", False),
            ("storage_capacity", False),
            ("requires_republish", False),
            ("se_linux_mount", False),
        )
        if getattr(spec, field) is None
    }
    if not spec.fs_group_policy:
        changes["fs_group_policy"] = "ReadWriteOnceWithFSType"
    if not spec.volume_lifecycle_modes:
        changes["volume_lifecycle_modes"] = ("Persistent",)
    return replace(obj, spec=replace(spec, **changes)) if changes else obj


def validate_driver(obj: Any) -> Sequence[FieldError]:
    errors: Errors = []
    spec = obj.spec
    check_one_of(errors, "spec.fsGroupPolicy", spec.fs_group_policy, ("File", "None", "ReadWriteOnceWithFSType"))
    seen: set[str] = set()
    for index, request in enumerate(spec.token_requests):
        audience = request.audience or ""
        path = f"spec.tokenRequests[{index}]"
        if audience in seen:
            errors.append(duplicate(f"{path}.audience", audience))
        seen.add(audience)
        if request.expiration_seconds is not None and request.expiration_seconds < 600:
            errors.append(
                invalid(
                    f"{path}.expirationSeconds",
                    request.expiration_seconds,
                    "may not specify a duration less than 10 minutes",
                )
            )
    for mode in spec.volume_lifecycle_modes:
        if mode not in ("Persistent", "Ephemeral"):
            errors.append(unsupported("spec.volumeLifecycleModes", mode, ("Persistent", "Ephemeral")))
    return errors


def prepare_driver_update(new: Any, old: Any, context: StrategyContext) -> Any:
    """Drivers start without a generation and count from their first change."""
    if new.spec == old.spec:
        return new
    generation = (old.metadata.generation or 0) + 1
    return replace(new, metadata=replace(new.metadata, generation=generation))


def validate_driver_update(new: Any, old: Any) -> Sequence[FieldError]:
    errors: Errors = []
    check_immutable(errors, "spec.attachedRequired", new.spec.attach_required, old.spec.attach_required)
    if sorted(new.spec.volume_lifecycle_modes) != sorted(old.spec.volume_lifecycle_modes):
        errors.append(invalid("spec.volumeLifecycleModes", list(new.spec.volume_lifecycle_modes), IMMUTABLE))
    return errors


def driver_warnings(obj: Any) -> Sequence[str]:
    if obj.spec.token_requests and getattr(obj.spec, "service_account_token_in_secrets", None) is None:
        return (
            "spec.serviceAccountTokenInSecrets is unset; if supported by this CSI driver, set to true to prevent "
            "possible logging of tokens in volume attributes",
        )
    return ()


def validate_csi_node(obj: Any) -> Sequence[FieldError]:
    errors: Errors = []
    seen: set[str] = set()
    for index, driver in enumerate(obj.spec.drivers):
        path = f"spec.drivers[{index}]"
        if not driver.name:
            errors.append(required(f"{path}.name"))
        if not driver.node_id:
            errors.append(required(f"{path}.nodeID"))
        elif len(driver.node_id) > 256:
            errors.append(invalid(f"{path}.nodeID", driver.node_id, "must be 256 characters or less"))
        if driver.allocatable is not None and (driver.allocatable.count or 0) < 0:
            errors.append(invalid(f"{path}.allocatable.count", driver.allocatable.count, NON_NEGATIVE))
        if driver.name in seen:
            errors.append(duplicate(f"{path}.name", driver.name))
        seen.add(driver.name or "")
        keys: set[str] = set()
        for key in driver.topology_keys:
            if key in keys:
                errors.append(duplicate(path, key))
            keys.add(key)
            check_name(errors, path, key, names.qualified_name)
    return errors


def validate_csi_node_update(new: Any, old: Any) -> Sequence[FieldError]:
    errors: Errors = []
    for driver in old.spec.drivers:
        for other in new.spec.drivers:
            if other.name == driver.name and other != driver:
                errors.append(invalid("spec.drivers", [one.name for one in new.spec.drivers], IMMUTABLE))
    return errors


def default_capacity(obj: Any) -> Any:
    changes = {
        field: quantity.canonical(value)
        for field, value in (("capacity", obj.capacity), ("maximum_volume_size", obj.maximum_volume_size))
        if value is not None and quantity.canonical(value) != value
    }
    return replace(obj, **changes) if changes else obj


def validate_capacity(obj: Any) -> Sequence[FieldError]:
    errors: Errors = []
    check_name(errors, "storageClassName", obj.storage_class_name or "", names.dns_subdomain)
    check_label_selector(errors, "nodeTopology", obj.node_topology)
    for value, name in ((obj.capacity, "capacity"), (obj.maximum_volume_size, "maximumVolumeSize")):
        if value is not None and quantity.parse(value) < 0:
            errors.append(invalid(name, value, NON_NEGATIVE))
    return errors


def validate_attachment(obj: Any) -> Sequence[FieldError]:
    errors: Errors = []
    spec = obj.spec
    attacher = spec.attacher or ""
    if not attacher:
        errors.append(required("spec.attacher"))
    else:
        check_name(errors, "spec.attacher", attacher, names.dns_subdomain)
    source = spec.source
    inline = source.inline_volume_spec if source is not None else None
    volume = source.persistent_volume_name if source is not None else None
    if inline is None and volume is None:
        errors.append(required("spec.source", _SOURCES_MESSAGE))
    elif inline is not None and volume is not None:
        errors.append(forbidden("spec.source", _SOURCES_MESSAGE))
    elif volume is not None:
        if not volume:
            errors.append(required("spec.source.persistentVolumeName", "must specify non empty persistentVolumeName"))
        else:
            check_name(errors, "spec.source.persistentVolumeName", volume, names.dns_subdomain)
    check_name(errors, "spec.nodeName", spec.node_name or "", names.dns_subdomain)
    return errors


def validate_attachment_update(new: Any, old: Any) -> Sequence[FieldError]:
    if new.spec == old.spec:
        return ()
    source = new.spec.source
    shown = {
        "Attacher": new.spec.attacher or "",
        "Source": {
            "PersistentVolumeName": source.persistent_volume_name if source is not None else None,
            "InlineVolumeSpec": None,
        },
        "NodeName": new.spec.node_name or "",
    }
    return (invalid("spec", shown, IMMUTABLE),)


def prepare_attributes_class_create(obj: Any, context: StrategyContext) -> Any:
    finalizer = "kubernetes.io/vac-protection"
    if finalizer in obj.metadata.finalizers:
        return obj
    return replace(obj, metadata=replace(obj.metadata, finalizers=(*obj.metadata.finalizers, finalizer)))


def validate_attributes_class(obj: Any) -> Sequence[FieldError]:
    errors: Errors = []
    if not obj.driver_name:
        errors.append(required("driverName"))
    if not obj.parameters:
        errors.append(required("parameters", "must contain at least one key/value pair"))
    return errors


def validate_attributes_class_update(new: Any, old: Any) -> Sequence[FieldError]:
    errors: Errors = []
    if new.driver_name != old.driver_name:
        errors.append(forbidden("driverName", "updates to driverName are forbidden."))
    if new.parameters != old.parameters:
        errors.append(forbidden("parameters", "updates to parameters are forbidden."))
    return errors


def _flag(name: str, column: str) -> Column:
    return boolean(column, lambda obj, now: bool(getattr(obj.spec, name)))


def _tokens(obj: Any, now: float) -> str:
    return ",".join(request.audience or "" for request in obj.spec.token_requests) or "<unset>"


def _attached_volume(obj: Any, now: float) -> str:
    source = obj.spec.source
    return (source.persistent_volume_name if source is not None else None) or ""


_DRIVER_COLUMNS: tuple[Column, ...] = (
    NAME,
    _flag("attach_required", "AttachRequired"),
    _flag("pod_info_on_mount", "PodInfoOnMount"),
    _flag("storage_capacity", "StorageCapacity"),
    text("TokenRequests", _tokens),
    _flag("requires_republish", "RequiresRepublish"),
    text("Modes", lambda obj, now: ",".join(obj.spec.volume_lifecycle_modes)),
    AGE,
)

KINDS = (
    entry(
        GROUP,
        "v1",
        "storageclasses",
        default=default_storage_class,
        validate=validate_storage_class,
        validate_update=validate_storage_class_update,
        return_deleted_object=True,
        columns=(
            replace(NAME, cell=_class_name),
            text("Provisioner", lambda obj, now: obj.provisioner or ""),
            text("ReclaimPolicy", lambda obj, now: obj.reclaim_policy or "Delete"),
            text("VolumeBindingMode", lambda obj, now: obj.volume_binding_mode or "Immediate"),
            text(
                "AllowVolumeExpansion",
                lambda obj, now: bool(obj.allow_volume_expansion),
            ),
            AGE,
        ),
    ),
    entry(
        GROUP,
        "v1",
        "csidrivers",
        default=default_driver,
        prepare_for_update=prepare_driver_update,
        validate=validate_driver,
        validate_update=validate_driver_update,
        warnings=driver_warnings,
        return_deleted_object=True,
        columns=_DRIVER_COLUMNS,
    ),
    entry(
        GROUP,
        "v1",
        "csinodes",
        validate=validate_csi_node,
        validate_update=validate_csi_node_update,
        return_deleted_object=True,
        columns=(NAME, integer("Drivers", lambda obj, now: len(obj.spec.drivers)), AGE),
    ),
    entry(
        GROUP,
        "v1",
        "csistoragecapacities",
        default=default_capacity,
        validate=validate_capacity,
        return_deleted_object=True,
        columns=(NAME, CREATED_AT),
    ),
    entry(
        GROUP,
        "v1",
        "volumeattachments",
        prepare_for_create=status_reset(_NOT_ATTACHED),
        prepare_for_update=keep_status,
        prepare_for_status_update=only_status,
        validate=validate_attachment,
        validate_update=validate_attachment_update,
        return_deleted_object=True,
        columns=(
            NAME,
            Column("Attacher", lambda obj, now: obj.spec.attacher or "", format="name"),
            text("PV", _attached_volume),
            text("Node", lambda obj, now: obj.spec.node_name or ""),
            boolean("Attached", lambda obj, now: bool(obj.status.attached)),
            AGE,
        ),
    ),
    entry(
        GROUP,
        "v1",
        "volumeattributesclasses",
        prepare_for_create=prepare_attributes_class_create,
        validate=validate_attributes_class,
        validate_update=validate_attributes_class_update,
        return_deleted_object=True,
        columns=(NAME, text("DriverName", lambda obj, now: obj.driver_name or ""), AGE),
    ),
)
