"""The entries of PersistentVolume and PersistentVolumeClaim (core/v1)."""

from collections.abc import Callable, Sequence
from typing import Any

from msgspec.structs import replace

from kubeloop.actors.api import quantity
from kubeloop.actors.api.core_v1 import PersistentVolumeClaimStatus
from kubeloop.actors.api.errors import FieldError
from kubeloop.actors.apiserver.registry import names
from kubeloop.actors.apiserver.registry.catalog import entry
from kubeloop.actors.apiserver.registry.fields import (
    IMMUTABLE,
    Errors,
    changes_shown,
    check_immutable,
    check_label_selector,
    check_name,
    check_no_back_steps,
    check_one_of,
    forbidden,
    go_value,
    invalid,
    required,
    unsupported,
)
from kubeloop.actors.apiserver.registry.kind import StrategyContext
from kubeloop.actors.apiserver.registry.pod_defaults import (
    canonical_quantities,
    default_azure_disk,
    default_claim_spec,
    default_host_path,
    default_iscsi,
    default_rbd,
    default_scale_io,
)
from kubeloop.actors.apiserver.registry.pod_scheduling import check_node_selector
from kubeloop.actors.apiserver.registry.pod_volumes import (
    check_driver_name,
    check_host_path,
    check_nfs,
    check_persistent_source,
)
from kubeloop.actors.apiserver.registry.pod_warnings import volume_warnings
from kubeloop.actors.apiserver.registry.printing import AGE, NAME, text
from kubeloop.actors.apiserver.registry.strategy import keep_status, only_status

ACCESS_MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
_SHORT_MODES = (
    ("ReadWriteOnce", "RWO"),
    ("ReadOnlyMany", "ROX"),
    ("ReadWriteMany", "RWX"),
    ("ReadWriteOncePod", "RWOP"),
)
VOLUME_MODES = ("Block", "Filesystem")
BETA_CLASS = "volume.beta.kubernetes.io/storage-class"
_SPEC_IMMUTABLE = (
    "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"
)
_FINAL_LABELS = {
    "beta.kubernetes.io/arch": "kubernetes.io/arch",
    "beta.kubernetes.io/instance-type": "node.kubernetes.io/instance-type",
    "beta.kubernetes.io/os": "kubernetes.io/os",
    "failure-domain.beta.kubernetes.io/region": "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone": "topology.kubernetes.io/zone",
}
_DEFAULTS: tuple[tuple[str, Callable[[Any], Any]], ...] = (
    ("host_path", default_host_path),
    ("iscsi", default_iscsi),
    ("rbd", default_rbd),
    ("azure_disk", default_azure_disk),
    ("scale_io", default_scale_io),
)


def default_volume_spec(spec: Any) -> Any:
    changes: dict[str, Any] = {}
    if not spec.persistent_volume_reclaim_policy:
        changes["persistent_volume_reclaim_policy"] = "Retain"
    if not spec.volume_mode:
        changes["volume_mode"] = "Filesystem"
    if spec.storage_class_name == "":
        changes["storage_class_name"] = None
    capacity = canonical_quantities(spec.capacity)
    if capacity is not spec.capacity:
        changes["capacity"] = capacity
    for name, default in _DEFAULTS:
        source = getattr(spec, name)
        if source is not None:
            new = default(source)
            if new is not source:
                changes[name] = new
    return replace(spec, **changes) if changes else spec


def default_volume(obj: Any) -> Any:
    spec = default_volume_spec(obj.spec)
    changes: dict[str, Any] = {} if spec is obj.spec else {"spec": spec}
    if not obj.status.phase:
        changes["status"] = replace(obj.status, phase="Pending")
    return replace(obj, **changes) if changes else obj


def prepare_volume_create(obj: Any, context: StrategyContext) -> Any:
    status = type(obj.status)(phase="Pending", last_phase_transition_time=context.clock.now_rfc3339())
    return _with_finalizer(replace(obj, status=status), "kubernetes.io/pv-protection")


def _with_finalizer(obj: Any, finalizer: str) -> Any:
    """The finalizer that keeps a volume or claim while it is in use (storage object in use protection)."""
    if finalizer in obj.metadata.finalizers:
        return obj
    return replace(obj, metadata=replace(obj.metadata, finalizers=(*obj.metadata.finalizers, finalizer)))


def prepare_volume_status(new: Any, old: Any, context: StrategyContext) -> Any:
    status = new.status
    if status.phase != old.status.phase and status.last_phase_transition_time == old.status.last_phase_transition_time:
        status = replace(status, last_phase_transition_time=context.clock.now_rfc3339())
    return replace(new, spec=old.spec, status=status)


def _source_fields(spec: Any) -> list[str]:
    known = {
        "access_modes",
        "capacity",
        "claim_ref",
        "mount_options",
        "node_affinity",
        "persistent_volume_reclaim_policy",
        "storage_class_name",
        "volume_attributes_class_name",
        "volume_mode",
    }
    return [name for name in spec.__struct_fields__ if name not in known and getattr(spec, name) is not None]


def validate_volume(obj: Any) -> Sequence[FieldError]:
    errors: Errors = []
    check_volume_spec(errors, "spec", obj.spec)
    return errors


def check_volume_spec(errors: Errors, path: str, spec: Any) -> None:
    if not spec.access_modes:
        errors.append(required(f"{path}.accessModes"))
    _check_access_modes(errors, f"{path}.accessModes", spec.access_modes)
    if not spec.capacity:
        errors.append(required(f"{path}.capacity"))
    if "storage" not in spec.capacity or len(spec.capacity) > 1:
        errors.append(unsupported(f"{path}.capacity", dict(spec.capacity) or None, ("storage",)))
    for name, value in spec.capacity.items():
        if quantity.parse(value) <= 0:
            errors.append(invalid(f"{path}.capacity[{name}]", value, "must be greater than zero"))
    check_one_of(
        errors,
        f"{path}.persistentVolumeReclaimPolicy",
        spec.persistent_volume_reclaim_policy,
        ("Delete", "Recycle", "Retain"),
    )
    if spec.node_affinity is not None:
        if spec.node_affinity.required is None:
            errors.append(required(f"{path}.nodeAffinity.required", "must specify required node constraints"))
        else:
            check_node_selector(errors, f"{path}.nodeAffinity.required", spec.node_affinity.required)
    sources = _source_fields(spec)
    if not sources:
        errors.append(required(path, "must specify a volume type"))
    for name in sources[1:]:
        errors.append(forbidden(f"{path}.{_camel(name)}", "may not specify more than 1 volume type"))
    _check_source(errors, path, spec)
    if spec.storage_class_name:
        check_name(errors, f"{path}.storageClassName", spec.storage_class_name, names.dns_subdomain)
    check_one_of(errors, f"{path}.volumeMode", spec.volume_mode, VOLUME_MODES)


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.title() for part in rest)


def _check_source(errors: Errors, path: str, spec: Any) -> None:
    if spec.host_path is not None:
        check_host_path(errors, f"{path}.hostPath", spec.host_path)
        if spec.host_path.path == "/" and spec.persistent_volume_reclaim_policy == "Recycle":
            errors.append(
                forbidden("spec.persistentVolumeReclaimPolicy", "may not be 'recycle' for a hostPath mount of '/'")
            )
    if spec.nfs is not None:
        check_nfs(errors, f"{path}.nfs", spec.nfs)
    if spec.local is not None:
        if not spec.local.path:
            errors.append(required(f"{path}.local.path"))
        else:
            check_no_back_steps(errors, f"{path}.local.path", spec.local.path)
        if spec.node_affinity is None or spec.node_affinity.required is None:
            errors.append(required(f"{path}.nodeAffinity", "Local volume requires node affinity"))
    check_persistent_source(errors, path, spec)
    if spec.csi is not None:
        _check_csi(errors, f"{path}.csi", spec.csi)


def _check_csi(errors: Errors, path: str, source: Any) -> None:
    check_driver_name(errors, f"{path}.driver", source.driver)
    if not source.volume_handle:
        errors.append(required(f"{path}.volumeHandle"))
    for reference, name in (
        (source.controller_publish_secret_ref, "controllerPublishSecretRef"),
        (source.controller_expand_secret_ref, "controllerExpandSecretRef"),
        (source.node_publish_secret_ref, "nodePublishSecretRef"),
        (source.node_expand_secret_ref, "nodeExpandSecretRef"),
    ):
        if reference is not None:
            for value, field in ((reference.name, "name"), (reference.namespace, "namespace")):
                if not value:
                    errors.append(required(f"{path}.{name}.{field}"))


def _check_access_modes(errors: Errors, path: str, modes: Sequence[str]) -> None:
    for mode in modes:
        if mode not in ACCESS_MODES:
            errors.append(unsupported(path, mode, ACCESS_MODES))
    if "ReadWriteOncePod" in modes and len(modes) > 1:
        errors.append(forbidden(path, "may not use ReadWriteOncePod with other access modes"))


def validate_volume_update(new: Any, old: Any) -> Sequence[FieldError]:
    errors: Errors = []
    for name in sorted({*_source_fields(new.spec), *_source_fields(old.spec)}):
        if getattr(new.spec, name) != getattr(old.spec, name):
            errors.append(
                forbidden("spec.persistentvolumesource", "spec.persistentvolumesource is immutable after creation")
            )
            break
    check_immutable(errors, "spec.volumeMode", new.spec.volume_mode, old.spec.volume_mode)
    affinity = old.spec.node_affinity
    if affinity is not None and new.spec.node_affinity not in (affinity, _with_final_labels(affinity)):
        shown = go_value(new.spec.node_affinity)
        errors.append(invalid("nodeAffinity", shown, f"{IMMUTABLE}, except for updating from beta label to GA"))
    return errors


def _with_final_labels(affinity: Any) -> Any:
    """The only change a volume's affinity may see: labels' beta names become the ones they have now."""
    required = affinity.required
    if required is None:
        return affinity
    terms = []
    for term in required.node_selector_terms:
        expressions = tuple(replace(one, key=_FINAL_LABELS.get(one.key, one.key)) for one in term.match_expressions)
        terms.append(replace(term, match_expressions=expressions))
    return replace(affinity, required=replace(required, node_selector_terms=tuple(terms)))


def default_claim(obj: Any) -> Any:
    spec = default_claim_spec(obj.spec)
    changes: dict[str, Any] = {} if spec is obj.spec else {"spec": spec}
    if not obj.status.phase:
        changes["status"] = replace(obj.status, phase="Pending")
    return replace(obj, **changes) if changes else obj


def prepare_claim_create(obj: Any, context: StrategyContext) -> Any:
    spec = _with_data_source(obj.spec)
    return _with_finalizer(
        replace(obj, spec=spec, status=PersistentVolumeClaimStatus(phase="Pending")), "kubernetes.io/pvc-protection"
    )


def _with_data_source(spec: Any) -> Any:
    """dataSource and dataSourceRef say the same; what is neither a claim nor a snapshot is dropped from dataSource."""
    from kubeloop.actors.api.core_v1 import TypedLocalObjectReference, TypedObjectReference

    source, reference = spec.data_source, spec.data_source_ref
    if source is not None:
        group = source.api_group or ""
        known = (group == "" and source.kind == "PersistentVolumeClaim") or (
            group == "snapshot.storage.k8s.io" and source.kind == "VolumeSnapshot"
        )
        if not known and reference is None:
            return replace(spec, data_source=None)
        if reference is None:
            wanted = TypedObjectReference(api_group=source.api_group, kind=source.kind, name=source.name)
            return replace(spec, data_source_ref=wanted)
    elif reference is not None and not reference.namespace:
        local = TypedLocalObjectReference(api_group=reference.api_group, kind=reference.kind, name=reference.name)
        return replace(spec, data_source=local)
    return spec


def validate_claim(obj: Any) -> Sequence[FieldError]:
    errors: Errors = []
    check_claim_spec(errors, "spec", obj.spec)
    return errors


def check_claim_spec(errors: Errors, path: str, spec: Any) -> None:
    if not spec.access_modes:
        errors.append(required(f"{path}.accessModes", "at least 1 access mode is required"))
    check_label_selector(errors, f"{path}.selector", spec.selector)
    _check_access_modes(errors, f"{path}.accessModes", spec.access_modes)
    requests = spec.resources.requests if spec.resources is not None else {}
    storage = requests.get("storage")
    if storage is None:
        errors.append(required(f"{path}.resources[storage]"))
    elif quantity.parse(storage) <= 0:
        errors.append(invalid(f"{path}.resources[storage]", storage, "must be greater than zero"))
    if spec.storage_class_name:
        check_name(errors, f"{path}.storageClassName", spec.storage_class_name, names.dns_subdomain)
    if spec.volume_mode is not None:
        check_one_of(errors, f"{path}.volumeMode", spec.volume_mode, VOLUME_MODES)
    if spec.volume_attributes_class_name:
        name = spec.volume_attributes_class_name
        check_name(errors, f"{path}.volumeAttributesClassName", name, names.dns_subdomain)
    source = spec.data_source
    if source is not None:
        for value, name in ((source.name, "name"), (source.kind, "kind")):
            if not value:
                errors.append(required(f"{path}.dataSource.{name}"))
        if not source.api_group and source.kind != "PersistentVolumeClaim":
            errors.append(invalid(f"{path}.dataSource", source.kind, ""))


def validate_claim_update(new: Any, old: Any) -> Sequence[FieldError]:
    if new.spec is old.spec:
        return ()
    errors: Errors = []
    changes: dict[str, Any] = {}
    if not old.spec.volume_name and not old.spec.storage_class_name:
        changes["storage_class_name"] = old.spec.storage_class_name
    if not old.spec.volume_name:
        changes["volume_name"] = old.spec.volume_name
    bound = old.status.phase == "Bound"
    wanted = new.spec.resources.requests.get("storage") if new.spec.resources is not None else None
    before = old.spec.resources.requests.get("storage") if old.spec.resources is not None else None
    if bound:
        changes["resources"] = old.spec.resources
        changes["volume_attributes_class_name"] = old.spec.volume_attributes_class_name
    munged = replace(new.spec, **changes)
    if munged != old.spec:
        errors.append(forbidden("spec", f"{_SPEC_IMMUTABLE}\n{changes_shown(munged, old.spec)}"))
    if bound and wanted is not None and before is not None and quantity.parse(wanted) < quantity.parse(before):
        capacity = old.status.capacity.get("storage")
        if capacity is None or quantity.parse(wanted) < quantity.parse(capacity):
            errors.append(forbidden("spec.resources.requests.storage", "field can not be less than status.capacity"))
    check_immutable(errors, "spec.volumeMode", new.spec.volume_mode, old.spec.volume_mode)
    return errors


def validate_claim_status(new: Any, old: Any) -> Sequence[FieldError]:
    errors: Errors = []
    for name, value in new.status.capacity.items():
        if quantity.parse(value) < 0:
            errors.append(
                invalid(f"status.capacity[{name}]", int(quantity.parse(value)), "must be a valid resource quantity")
            )
    return errors


def short_modes(modes: Sequence[str]) -> str:
    return ",".join(short for mode, short in _SHORT_MODES if mode in modes)


def _claim_status(obj: Any, now: float) -> str:
    return "Terminating" if obj.metadata.deletion_timestamp else obj.status.phase or ""


def _claim_modes(obj: Any, now: float) -> str:
    return short_modes(obj.status.access_modes) if obj.spec.volume_name else ""


def _claim_capacity(obj: Any, now: float) -> str:
    return obj.status.capacity.get("storage", "") if obj.spec.volume_name else ""


def storage_class(obj: Any, now: float) -> str:
    return obj.metadata.annotations.get(BETA_CLASS) or obj.spec.storage_class_name or ""


def _attributes_class(obj: Any, now: float) -> str:
    return obj.spec.volume_attributes_class_name or "<unset>"


def _volume_mode(obj: Any, now: float) -> str:
    return obj.spec.volume_mode or "<unset>"


def _claim_of(obj: Any, now: float) -> str:
    reference = obj.spec.claim_ref
    return f"{reference.namespace}/{reference.name}" if reference is not None else ""


def _volume_pv_warnings(obj: Any) -> Sequence[str]:
    return list(volume_warnings("spec", obj.spec))


KINDS = (
    entry(
        "",
        "v1",
        "persistentvolumes",
        default=default_volume,
        prepare_for_create=prepare_volume_create,
        prepare_for_update=keep_status,
        prepare_for_status_update=prepare_volume_status,
        validate=validate_volume,
        validate_update=validate_volume_update,
        warnings=_volume_pv_warnings,
        return_deleted_object=True,
        columns=(
            NAME,
            text("Capacity", lambda obj, now: obj.spec.capacity.get("storage", "")),
            text("Access Modes", lambda obj, now: short_modes(obj.spec.access_modes)),
            text(
                "Reclaim Policy",
                lambda obj, now: obj.spec.persistent_volume_reclaim_policy or "",
            ),
            text("Status", _claim_status),
            text("Claim", _claim_of),
            text("StorageClass", storage_class),
            text("VolumeAttributesClass", _attributes_class),
            text("Reason", lambda obj, now: obj.status.reason or ""),
            AGE,
            text("VolumeMode", _volume_mode, wide=True),
        ),
    ),
    entry(
        "",
        "v1",
        "persistentvolumeclaims",
        default=default_claim,
        prepare_for_create=prepare_claim_create,
        prepare_for_update=keep_status,
        prepare_for_status_update=only_status,
        validate=validate_claim,
        validate_update=validate_claim_update,
        validate_status_update=validate_claim_status,
        return_deleted_object=True,
        columns=(
            NAME,
            text("Status", _claim_status),
            text("Volume", lambda obj, now: obj.spec.volume_name or ""),
            text("Capacity", _claim_capacity),
            text("Access Modes", _claim_modes),
            text("StorageClass", storage_class),
            text("VolumeAttributesClass", _attributes_class),
            AGE,
            text("VolumeMode", _volume_mode, wide=True),
        ),
    ),
)
