"""Validation of a pod's volumes (core/v1 Volume): a name, exactly one source, and the source's own rules."""

import re
from collections.abc import Callable, Sequence
from typing import Any

from kubeloop.actors.api import quantity
from kubeloop.actors.apiserver.registry import names
from kubeloop.actors.apiserver.registry.fields import (
    Errors,
    check_name,
    check_no_back_steps,
    check_one_of,
    check_relative_path,
    duplicate,
    forbidden,
    invalid,
    required,
    too_long,
)
from kubeloop.actors.apiserver.registry.pod_containers import check_resource_field_ref, check_volume_field_ref

_MODE_MESSAGE = "must be a number between 0 and 0777 (octal), both inclusive"
DRIVER_NAME_BYTES_MAX = 63
HOST_PATH_TYPES = ("", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket")
Check = Callable[[Errors, str, Any], None]


def check_volumes(errors: Errors, path: str, volumes: Sequence[Any]) -> dict[str, Any]:
    """The valid volumes by name: mounts of others are errors of their own."""
    found: dict[str, Any] = {}
    for index, volume in enumerate(volumes):
        before = len(errors)
        name = volume.name or ""
        check_source(errors, f"{path}[{index}]", volume)
        if not name:
            errors.append(required(f"{path}[{index}].name"))
        elif names.dns_label(name):
            check_name(errors, f"{path}[{index}].name", name, names.dns_label)
        if name in found:
            errors.append(duplicate(f"{path}[{index}].name", name))
        if len(errors) == before:
            found[name] = volume
    return found


def check_source(errors: Errors, path: str, volume: Any) -> None:
    count = 0
    for field, json_name, check in _SOURCES:
        source = getattr(volume, field, None)
        if source is None:
            continue
        if count:
            errors.append(forbidden(f"{path}.{json_name}", "may not specify more than 1 volume type"))
            continue
        count = 1
        if check is not None:
            check(errors, f"{path}.{json_name}", source)
    if not count:
        errors.append(required(path, "must specify a volume type"))


def check_persistent_source(errors: Errors, path: str, spec: Any) -> None:
    """The source of a PersistentVolume that pods' volumes have as well."""
    for field, json_name, check in _SOURCES:
        source = getattr(spec, field, None) if field in PERSISTENT else None
        if source is not None and check is not None:
            check(errors, f"{path}.{json_name}", source)


def _required_fields(*fields: tuple[str, str]) -> Check:
    """A check that these (field, JSON name) are given."""

    def check(errors: Errors, path: str, source: Any) -> None:
        for field, json_name in fields:
            if not getattr(source, field):
                errors.append(required(f"{path}.{json_name}"))

    return check


def _check_empty_dir(errors: Errors, path: str, source: Any) -> None:
    if source.size_limit and quantity.parse(source.size_limit) < 0:
        errors.append(forbidden(f"{path}.sizeLimit", "SizeLimit field must be a valid resource quantity"))


def check_host_path(errors: Errors, path: str, source: Any) -> None:
    if not source.path:
        errors.append(required(f"{path}.path"))
        return
    check_no_back_steps(errors, f"{path}.path", source.path)
    if source.type is not None:
        check_one_of(errors, f"{path}.type", source.type, HOST_PATH_TYPES)


def check_nfs(errors: Errors, path: str, source: Any) -> None:
    if not source.server:
        errors.append(required(f"{path}.server"))
    if not source.path:
        errors.append(required(f"{path}.path"))
    elif not source.path.startswith("/"):
        errors.append(invalid(f"{path}.path", source.path, "must be an absolute path"))


def _check_mode(errors: Errors, path: str, mode: int | None) -> None:
    if mode is not None and not 0 <= mode <= 0o777:
        errors.append(invalid(path, mode, _MODE_MESSAGE))


def _check_items(errors: Errors, path: str, items: Sequence[Any]) -> None:
    for index, item in enumerate(items):
        if not item.key:
            errors.append(required(f"{path}[{index}].key"))
        _check_item_path(errors, f"{path}[{index}].path", item.path or "")
        _check_mode(errors, f"{path}[{index}].mode", item.mode)


def _check_item_path(errors: Errors, path: str, value: str) -> None:
    if not value:
        errors.append(required(path))
        return
    check_relative_path(errors, path, value)
    if value.startswith("..") and not value.startswith("../"):
        errors.append(invalid(path, value, "must not start with '..'"))


def _check_secret(errors: Errors, path: str, source: Any) -> None:
    if not source.secret_name:
        errors.append(required(f"{path}.secretName"))
    _check_mode(errors, f"{path}.defaultMode", source.default_mode)
    _check_items(errors, f"{path}.items", source.items)


def _check_config_map(errors: Errors, path: str, source: Any) -> None:
    if not source.name:
        errors.append(required(f"{path}.name"))
    _check_mode(errors, f"{path}.defaultMode", source.default_mode)
    _check_items(errors, f"{path}.items", source.items)


def _check_downward(errors: Errors, path: str, source: Any) -> None:
    _check_mode(errors, f"{path}.defaultMode", getattr(source, "default_mode", None))
    for index, item in enumerate(source.items):
        where = f"{path}.items[{index}]"
        _check_item_path(errors, f"{where}.path", item.path or "")
        if item.field_ref is not None:
            check_volume_field_ref(errors, f"{where}.fieldRef", item.field_ref)
            if item.resource_field_ref is not None:
                errors.append(
                    invalid(f"{where}", "resource", "fieldRef and resourceFieldRef can not be specified simultaneously")
                )
        elif item.resource_field_ref is not None:
            check_resource_field_ref(errors, f"{where}.resourceFieldRef", item.resource_field_ref, in_volume=True)
        else:
            errors.append(required(f"{where}.fieldRef", "one of fieldRef and resourceFieldRef is required"))
        _check_mode(errors, f"{where}.mode", item.mode)


def _check_projected(errors: Errors, path: str, source: Any) -> None:
    _check_mode(errors, f"{path}.defaultMode", source.default_mode)
    for index, projection in enumerate(source.sources):
        where = f"{path}.sources[{index}]"
        count = 0
        for field, json_name, check in _PROJECTIONS:
            one = getattr(projection, field, None)
            if one is None:
                continue
            if count:
                errors.append(forbidden(f"{where}.{json_name}", "may not specify more than 1 volume type per source"))
                continue
            count = 1
            check(errors, f"{where}.{json_name}", one)
        if not count:
            errors.append(required(where, "must specify one of the volume types"))


def _check_projected_items(errors: Errors, path: str, projection: Any) -> None:
    if not projection.name:
        errors.append(required(f"{path}.name"))
    _check_items(errors, f"{path}.items", projection.items)


def _check_token(errors: Errors, path: str, projection: Any) -> None:
    seconds = projection.expiration_seconds
    if seconds is not None and seconds < 600:
        errors.append(invalid(f"{path}.expirationSeconds", seconds, "may not specify a duration less than 10 minutes"))
    elif seconds is not None and seconds > 1 << 32:
        errors.append(
            invalid(f"{path}.expirationSeconds", seconds, "may not specify a duration larger than 2^32 seconds")
        )
    _check_item_path(errors, f"{path}.path", projection.path or "")


_IQN = re.compile(r"iqn\.\d{4}-\d{2}\.[A-Za-z0-9.-]+(:[^,;*&$|\s]+)?\Z")
_EUI = re.compile(r"eui\.[A-Za-z0-9]{16}\Z")
_NAA = re.compile(r"naa\.([A-Za-z0-9]{16}|[A-Za-z0-9]{32})\Z")
_LUN = "must be between 0 and 255, inclusive"


def _check_iscsi(errors: Errors, path: str, source: Any) -> None:
    if not source.target_portal:
        errors.append(required(f"{path}.targetPortal"))
    if not source.iqn:
        errors.append(required(f"{path}.iqn"))
    elif not source.iqn.startswith(("iqn", "eui", "naa")):
        errors.append(invalid(f"{path}.iqn", source.iqn, "must be valid format starting with iqn, eui, or naa"))
    elif not any(form.match(source.iqn) for form in (_IQN, _EUI, _NAA)):
        errors.append(invalid(f"{path}.iqn", source.iqn, "must be valid format"))
    if source.lun is not None and not 0 <= source.lun <= 255:
        errors.append(invalid(f"{path}.lun", source.lun, _LUN))
    if (source.chap_auth_discovery or source.chap_auth_session) and source.secret_ref is None:
        errors.append(required(f"{path}.secretRef"))


def _check_fc(errors: Errors, path: str, source: Any) -> None:
    if not source.target_wwns and not source.wwids:
        errors.append(required(f"{path}.targetWWNs", "must specify either targetWWNs or wwids, but not both"))
    if source.target_wwns and source.wwids:
        detail = "targetWWNs and wwids can not be specified simultaneously"
        errors.append(invalid(f"{path}.targetWWNs", list(source.target_wwns), detail))
    if source.target_wwns:
        if source.lun is None:
            errors.append(required(f"{path}.lun", "lun is required if targetWWNs is specified"))
        elif not 0 <= source.lun <= 255:
            errors.append(invalid(f"{path}.lun", source.lun, _LUN))


def check_driver_name(errors: Errors, path: str, name: str | None) -> None:
    if not name:
        errors.append(required(path))
        return
    if len(name) > DRIVER_NAME_BYTES_MAX:
        errors.append(too_long(path, name, DRIVER_NAME_BYTES_MAX))
    for message in names.dns_subdomain(name.lower()):
        errors.append(invalid(path, name, message))


def _check_csi(errors: Errors, path: str, source: Any) -> None:
    check_driver_name(errors, f"{path}.driver", source.driver)
    reference = source.node_publish_secret_ref
    if reference is not None and not reference.name:
        errors.append(required(f"{path}.nodePublishSecretRef.name"))


def _check_ephemeral(errors: Errors, path: str, source: Any) -> None:
    template = source.volume_claim_template
    if template is None:
        errors.append(required(f"{path}.volumeClaimTemplate"))
        return
    from kubeloop.actors.apiserver.registry.core_volumes import check_claim_spec

    check_claim_spec(errors, f"{path}.volumeClaimTemplate.spec", template.spec)


_PROJECTIONS: tuple[tuple[str, str, Check], ...] = (
    ("secret", "secret", _check_projected_items),
    ("config_map", "configMap", _check_projected_items),
    ("downward_api", "downwardAPI", _check_downward),
    ("service_account_token", "serviceAccountToken", _check_token),
    ("cluster_trust_bundle", "clusterTrustBundle", _required_fields(("path", "path"))),
    ("pod_certificate", "podCertificate", _required_fields(("signer_name", "signerName"), ("key_type", "keyType"))),
)

# sources that persistent volumes have too, and that are alike there
PERSISTENT = (
    "aws_elastic_block_store",
    "azure_disk",
    "fc",
    "gce_persistent_disk",
    "iscsi",
    "photon_persistent_disk",
    "portworx_volume",
    "quobyte",
    "vsphere_volume",
)
_SOURCES: tuple[tuple[str, str, Check | None], ...] = (
    ("empty_dir", "emptyDir", _check_empty_dir),
    ("host_path", "hostPath", check_host_path),
    ("git_repo", "gitRepo", _required_fields(("repository", "repository"))),
    ("gce_persistent_disk", "gcePersistentDisk", _required_fields(("pd_name", "pdName"))),
    ("aws_elastic_block_store", "awsElasticBlockStore", _required_fields(("volume_id", "volumeID"))),
    ("secret", "secret", _check_secret),
    ("nfs", "nfs", check_nfs),
    ("iscsi", "iscsi", _check_iscsi),
    ("glusterfs", "glusterfs", _required_fields(("endpoints", "endpoints"), ("path", "path"))),
    ("flocker", "flocker", None),
    ("rbd", "rbd", _required_fields(("monitors", "monitors"), ("image", "image"))),
    ("cinder", "cinder", _required_fields(("volume_id", "volumeID"))),
    ("cephfs", "cephfs", _required_fields(("monitors", "monitors"))),
    ("quobyte", "quobyte", _required_fields(("registry", "registry"), ("volume", "volume"))),
    ("downward_api", "downwardAPI", _check_downward),
    ("fc", "fc", _check_fc),
    ("config_map", "configMap", _check_config_map),
    ("azure_file", "azureFile", _required_fields(("secret_name", "secretName"), ("share_name", "shareName"))),
    ("vsphere_volume", "vsphereVolume", _required_fields(("volume_path", "volumePath"))),
    ("photon_persistent_disk", "photonPersistentDisk", _required_fields(("pd_id", "pdID"))),
    ("portworx_volume", "portworxVolume", _required_fields(("volume_id", "volumeID"))),
    ("azure_disk", "azureDisk", _required_fields(("disk_name", "diskName"), ("disk_uri", "diskURI"))),
    ("storageos", "storageos", None),
    ("scale_io", "scaleIO", _required_fields(("gateway", "gateway"), ("system", "system"))),
    ("projected", "projected", _check_projected),
    ("csi", "csi", _check_csi),
    ("ephemeral", "ephemeral", _check_ephemeral),
    ("flex_volume", "flexVolume", _required_fields(("driver", "driver"))),
    ("image", "image", _required_fields(("reference", "reference"))),
    (
        "persistent_volume_claim",
        "persistentVolumeClaim",
        _required_fields(("claim_name", "claimName")),
    ),
)
