"""The entries of resource.k8s.io/v1: devices that pods claim."""

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from kubeloop.actors.api.errors import FieldError
from kubeloop.actors.api.resource_v1 import ResourceClaimStatus
from kubeloop.actors.apiserver.registry import names
from kubeloop.actors.apiserver.registry.catalog import entry
from kubeloop.actors.apiserver.registry.fields import (
    IMMUTABLE,
    Errors,
    check_name,
    check_one_of,
    duplicate,
    invalid,
    required,
)
from kubeloop.actors.apiserver.registry.pod_defaults import NO_METADATA, each
from kubeloop.actors.apiserver.registry.printing import AGE, NAME, text
from kubeloop.actors.apiserver.registry.strategy import field, keep_status, only_status, status_reset

GROUP = "resource.k8s.io"
MODES = ("All", "ExactCount")


def _default_claim_spec(spec: Any) -> Any:
    devices = spec.devices
    if devices is None:
        return spec
    requests = each(devices.requests, _default_request)
    return spec if requests is devices.requests else replace(spec, devices=replace(devices, requests=requests))


def _default_request(request: Any) -> Any:
    changes: dict[str, Any] = {}
    if request.exactly is not None:
        exactly = _default_allocation(request.exactly)
        if exactly is not request.exactly:
            changes["exactly"] = exactly
    alternatives = each(request.first_available, _default_allocation)
    if alternatives is not request.first_available:
        changes["first_available"] = alternatives
    return replace(request, **changes) if changes else request


def _default_allocation(request: Any) -> Any:
    changes: dict[str, Any] = {}
    if not request.allocation_mode:
        changes["allocation_mode"] = "ExactCount"
    if (request.allocation_mode or "ExactCount") == "ExactCount" and not request.count:
        changes["count"] = 1
    return replace(request, **changes) if changes else request


def default_claim(obj: Any) -> Any:
    spec = _default_claim_spec(obj.spec)
    return obj if spec is obj.spec else replace(obj, spec=spec)


def default_template(obj: Any) -> Any:
    outer = obj.spec
    inner = _default_claim_spec(outer.spec)
    metadata = outer.metadata if outer.metadata != NO_METADATA else NO_METADATA
    if inner is outer.spec and metadata is outer.metadata:
        return obj
    return replace(obj, spec=replace(outer, spec=inner, metadata=metadata))


def _check_claim(errors: Errors, path: str, spec: Any) -> None:
    devices = spec.devices
    if devices is None:
        return
    seen: set[str] = set()
    for index, request in enumerate(devices.requests):
        where = f"{path}.devices.requests[{index}]"
        check_name(errors, f"{where}.name", request.name or "", names.dns_label)
        if (request.exactly is None) == (not request.first_available):
            errors.append(required(where, "exactly one of `exactly` or `firstAvailable` is required"))
        if request.exactly is not None:
            _check_allocation(errors, f"{where}.exactly", request.exactly)
        for number, alternative in enumerate(request.first_available):
            _check_allocation(errors, f"{where}.firstAvailable[{number}]", alternative)
        if request.name in seen:
            errors.append(duplicate(where, request.name))
        seen.add(request.name or "")


def _check_allocation(errors: Errors, path: str, request: Any) -> None:
    if not request.device_class_name:
        errors.append(required(f"{path}.deviceClassName"))
    else:
        check_name(errors, f"{path}.deviceClassName", request.device_class_name, names.dns_subdomain)
    check_one_of(errors, f"{path}.allocationMode", request.allocation_mode, MODES)
    if request.allocation_mode == "ExactCount" and (request.count or 0) <= 0:
        errors.append(invalid(f"{path}.count", request.count or 0, "must be greater than zero"))
    if request.allocation_mode == "All" and request.count:
        errors.append(invalid(f"{path}.count", request.count, "must not be specified when allocationMode is 'All'"))


def validate_claim(obj: Any) -> Sequence[FieldError]:
    errors: Errors = []
    _check_claim(errors, "spec", obj.spec)
    return errors


def validate_template(obj: Any) -> Sequence[FieldError]:
    errors: Errors = []
    _check_claim(errors, "spec.spec", obj.spec.spec)
    return errors


def _go_request(request: Any) -> dict[str, Any]:
    """A device request as Go prints its internal form."""
    exactly = request.exactly
    return {
        "Name": request.name,
        "Exactly": None
        if exactly is None
        else {
            "DeviceClassName": exactly.device_class_name or "",
            "Selectors": None,
            "AllocationMode": exactly.allocation_mode or "",
            "Count": exactly.count or 0,
            "AdminAccess": exactly.admin_access,
            "Tolerations": None,
            "Capacity": None,
        },
        "FirstAvailable": None,
    }


def validate_claim_update(new: Any, old: Any) -> Sequence[FieldError]:
    if new.spec == old.spec:
        return ()
    requests = new.spec.devices.requests if new.spec.devices is not None else ()
    shown = {
        "Devices": {"Requests": [_go_request(one) for one in requests] or None, "Constraints": None, "Config": None}
    }
    return (invalid("spec", shown, IMMUTABLE),)


def validate_template_update(new: Any, old: Any) -> Sequence[FieldError]:
    return () if new.spec == old.spec else (invalid("spec", "", IMMUTABLE),)


def _listed(names_: Sequence[str]) -> str:
    return "{" + ", ".join(f"`{name}`" for name in names_) + "}"


def validate_slice(obj: Any) -> Sequence[FieldError]:
    errors: Errors = []
    spec = obj.spec
    if not spec.driver:
        errors.append(required("spec.driver"))
    else:
        check_name(errors, "spec.driver", spec.driver, names.dns_subdomain)
    if spec.pool is None or not spec.pool.name:
        errors.append(required("spec.pool.name"))
    if spec.pool is None or (spec.pool.resource_slice_count or 0) <= 0:
        count = (spec.pool.resource_slice_count if spec.pool is not None else 0) or 0
        errors.append(invalid("spec.pool.resourceSliceCount", count, "must be greater than zero"))
    if spec.pool is not None and (spec.pool.generation or 0) < 0:
        errors.append(invalid("spec.pool.generation", spec.pool.generation, "must be greater than or equal to zero"))
    places = ("nodeName", "nodeSelector", "allNodes", "perDeviceNodeSelection")
    given = [spec.node_name, spec.node_selector, spec.all_nodes, spec.per_device_node_selection]
    if sum(bool(one) for one in given) != 1:
        listed = ", ".join(f"`{place}`" for place in places)
        chosen = [place for place, one in zip(places, given, strict=True) if one]
        detail = f"exactly one of {listed} is required"
        wrong = (
            required("spec", detail)
            if not chosen
            else invalid("spec", _listed(chosen), f"{detail}, but multiple fields are set")
        )
        errors.append(wrong)
    seen: set[str] = set()
    for index, device in enumerate(spec.devices):
        check_name(errors, f"spec.devices[{index}].name", device.name or "", names.dns_label)
        if device.name in seen:
            errors.append(duplicate(f"spec.devices[{index}].name", device.name))
        seen.add(device.name or "")
    return errors


def _state(obj: Any, now: float) -> str:
    states = []
    if obj.metadata.deletion_timestamp:
        states.append("deleted")
    if obj.status.allocation is None:
        states.append("pending")
    else:
        states.append("allocated")
        if obj.status.reserved_for:
            states.append("reserved")
    return ",".join(states)


def _node(obj: Any, now: float) -> str:
    if obj.spec.all_nodes:
        return "<all nodes>"
    return obj.spec.node_name or ""


KINDS = (
    entry(GROUP, "v1", "deviceclasses", tracks_generation=True, return_deleted_object=True, columns=(NAME, AGE)),
    entry(
        GROUP,
        "v1",
        "resourceclaims",
        default=default_claim,
        prepare_for_create=status_reset(ResourceClaimStatus()),
        prepare_for_update=keep_status,
        prepare_for_status_update=only_status,
        validate=validate_claim,
        validate_update=validate_claim_update,
        return_deleted_object=True,
        columns=(NAME, text("State", _state), AGE),
    ),
    entry(
        GROUP,
        "v1",
        "resourceclaimtemplates",
        default=default_template,
        validate=validate_template,
        validate_update=validate_template_update,
        return_deleted_object=True,
        columns=(NAME, AGE),
    ),
    entry(
        GROUP,
        "v1",
        "resourceslices",
        validate=validate_slice,
        tracks_generation=True,
        return_deleted_object=True,
        selectable_fields={"spec.nodeName": field("spec.node_name"), "spec.driver": field("spec.driver")},
        columns=(
            NAME,
            text("Node", _node),
            text("Driver", lambda obj, now: obj.spec.driver or ""),
            text("Pool", lambda obj, now: (obj.spec.pool.name if obj.spec.pool is not None else "") or ""),
            AGE,
        ),
    ),
)
