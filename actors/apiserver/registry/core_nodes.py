"""The entry of Node (core/v1)."""

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from kubeloop.actors.api.core_v1 import DaemonEndpoint, NodeDaemonEndpoints, NodeSpec, NodeStatus, NodeSystemInfo
from kubeloop.actors.api.errors import FieldError
from kubeloop.actors.apiserver.registry import names
from kubeloop.actors.apiserver.registry.catalog import entry
from kubeloop.actors.apiserver.registry.fields import (
    Errors,
    check_name,
    check_one_of,
    duplicate,
    forbidden,
    required,
)
from kubeloop.actors.apiserver.registry.pod_defaults import canonical_quantities
from kubeloop.actors.apiserver.registry.pod_scheduling import EFFECTS
from kubeloop.actors.apiserver.registry.printing import AGE, NAME, NONE, UNKNOWN, or_none, text
from kubeloop.actors.apiserver.registry.strategy import flag, keep_status, only_status

_ROLE_PREFIX = "node-role.kubernetes.io/"
_ROLE_LABEL = "kubernetes.io/role"
NO_INFO = NodeSystemInfo(
    architecture="",
    boot_id="",
    container_runtime_version="",
    kernel_version="",
    kube_proxy_version="",
    kubelet_version="",
    machine_id="",
    operating_system="",
    os_image="",
    system_uuid="",
)
NO_ENDPOINTS = NodeDaemonEndpoints(kubelet_endpoint=DaemonEndpoint(port=0))
NO_SPEC = NodeSpec()
NO_STATUS = NodeStatus(node_info=NO_INFO, daemon_endpoints=NO_ENDPOINTS)


def default_node(obj: Any) -> Any:
    changes: dict[str, Any] = {}
    if obj.spec is None:
        changes["spec"] = NO_SPEC
    elif obj.spec.pod_cidr and obj.spec.pod_cidrs[:1] != (obj.spec.pod_cidr,):
        changes["spec"] = replace(obj.spec, pod_cidrs=(obj.spec.pod_cidr,))
    elif obj.spec.pod_cidrs and not obj.spec.pod_cidr:
        changes["spec"] = replace(obj.spec, pod_cidr=obj.spec.pod_cidrs[0])
    status = obj.status
    if status is None:
        changes["status"] = NO_STATUS
    else:
        more: dict[str, Any] = {}
        if status.capacity:
            capacity = canonical_quantities(status.capacity)
            if capacity is not status.capacity:
                more["capacity"] = capacity
            if not status.allocatable:
                more["allocatable"] = capacity
        if status.node_info is None:
            more["node_info"] = NO_INFO
        if status.daemon_endpoints is None:
            more["daemon_endpoints"] = NO_ENDPOINTS
        if more:
            changes["status"] = replace(status, **more)
    return replace(obj, **changes) if changes else obj


def validate_node(obj: Any) -> Sequence[FieldError]:
    errors: Errors = []
    seen: set[tuple[Any, Any]] = set()
    for index, taint in enumerate(obj.spec.taints):
        path = f"spec.taints[{index}]"
        check_name(errors, f"{path}.key", taint.key or "", names.qualified_name)
        check_name(errors, f"{path}.value", taint.value or "", names.label_value)
        if not taint.effect:
            errors.append(required(f"{path}.effect"))
        else:
            check_one_of(errors, f"{path}.effect", taint.effect, EFFECTS)
        if (taint.key, taint.effect) in seen:
            shown = {"key": taint.key, "value": taint.value or "", "effect": taint.effect}
            error = duplicate(path, {key: value for key, value in shown.items() if value})
            errors.append(FieldError(error.type, path, error.value, "taints must be unique by key and effect pair"))
        seen.add((taint.key, taint.effect))
    return errors


def validate_node_update(new: Any, old: Any) -> Sequence[FieldError]:
    errors: Errors = []
    if old.spec.pod_cidrs and new.spec.pod_cidrs != old.spec.pod_cidrs:
        errors.append(forbidden("spec.podCIDRs", 'node updates may not change podCIDR except from "" to valid'))
    if old.spec.provider_id and new.spec.provider_id != old.spec.provider_id:
        errors.append(forbidden("spec.providerID", 'node updates may not change providerID except from "" to valid'))
    return errors


def _status_cell(node: Any, now: float) -> str:
    found = []
    for condition in node.status.conditions if node.status is not None else ():
        if condition.type == "Ready":
            found.append("Ready" if condition.status == "True" else "NotReady")
    if not found:
        found.append("Unknown")
    if node.spec.unschedulable:
        found.append("SchedulingDisabled")
    return ",".join(found)


def _roles_cell(node: Any, now: float) -> str:
    roles = set()
    for key, value in node.metadata.labels.items():
        if key.startswith(_ROLE_PREFIX):
            if key != _ROLE_PREFIX:
                roles.add(key.removeprefix(_ROLE_PREFIX))
        elif key == _ROLE_LABEL and value:
            roles.add(value)
    return ",".join(sorted(roles)) or NONE


def _info(name: str, absent: str) -> Any:
    def cell(node: Any, now: float) -> str:
        info = node.status.node_info if node.status is not None else None
        return (getattr(info, name) if info is not None else None) or absent

    return cell


def _address(type_: str) -> Any:
    def cell(node: Any, now: float) -> str:
        addresses = node.status.addresses if node.status is not None else ()
        return or_none(next((one.address for one in addresses if one.type == type_), None))

    return cell


KINDS = (
    entry(
        "",
        "v1",
        "nodes",
        default=default_node,
        prepare_for_update=keep_status,
        prepare_for_status_update=only_status,
        validate=validate_node,
        validate_update=validate_node_update,
        selectable_fields={"spec.unschedulable": flag("spec.unschedulable")},
        columns=(
            NAME,
            text("Status", _status_cell),
            text("Roles", _roles_cell),
            AGE,
            text("Version", _info("kubelet_version", "")),
            text("Internal-IP", _address("InternalIP"), wide=True),
            text("External-IP", _address("ExternalIP"), wide=True),
            text("OS-Image", _info("os_image", UNKNOWN), wide=True),
            text("Kernel-Version", _info("kernel_version", UNKNOWN), wide=True),
            text("Container-Runtime", _info("container_runtime_version", UNKNOWN), wide=True),
        ),
    ),
)
