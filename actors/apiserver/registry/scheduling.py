"""The entries of PriorityClass (scheduling.k8s.io), Lease (coordination.k8s.io) and RuntimeClass (node.k8s.io)."""

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from kubeloop.actors.api.errors import FieldError
from kubeloop.actors.apiserver.registry import names
from kubeloop.actors.apiserver.registry.catalog import entry
from kubeloop.actors.apiserver.registry.fields import (
    Errors,
    check_immutable,
    check_labels,
    check_name,
    check_one_of,
    forbidden,
    invalid,
    required,
)
from kubeloop.actors.apiserver.registry.pod_defaults import canonical_quantities
from kubeloop.actors.apiserver.registry.pod_scheduling import check_tolerations
from kubeloop.actors.apiserver.registry.printing import AGE, NAME, boolean, integer, text
from kubeloop.actors.apiserver.registry.resource_checks import check_container_resource

USER_PRIORITY_MAX = 1000000000
SYSTEM_CLASSES = {"system-node-critical": 2000001000, "system-cluster-critical": 2000000000}


def default_priority_class(obj: Any) -> Any:
    changes: dict[str, Any] = {}
    if not obj.preemption_policy:
        changes["preemption_policy"] = "PreemptLowerPriority"
    if obj.value is None:
        changes["value"] = 0
    return replace(obj, **changes) if changes else obj


def validate_priority_class(obj: Any) -> Sequence[FieldError]:
    errors: Errors = []
    name, value = obj.metadata.name or "", obj.value
    if name.startswith("system-"):
        reserved = "priority class names with 'system-' prefix are reserved for system use only. error: "
        if name not in SYSTEM_CLASSES:
            errors.append(forbidden("metadata.name", f"{reserved}{name} is not a known system priority class"))
        elif value != SYSTEM_CLASSES[name]:
            errors.append(
                forbidden("metadata.name", f"{reserved}value of {name} PriorityClass must be {SYSTEM_CLASSES[name]}")
            )
    elif value > USER_PRIORITY_MAX:
        errors.append(forbidden("value", f"maximum allowed value of a user defined priority is {USER_PRIORITY_MAX}"))
    check_one_of(errors, "preemptionPolicy", obj.preemption_policy, ("PreemptLowerPriority", "Never"))
    return errors


def validate_priority_class_update(new: Any, old: Any) -> Sequence[FieldError]:
    errors: Errors = []
    if new.value != old.value:
        errors.append(forbidden("value", "may not be changed in an update."))
    check_immutable(errors, "preemptionPolicy", new.preemption_policy, old.preemption_policy)
    return errors


def validate_lease(obj: Any) -> Sequence[FieldError]:
    errors: Errors = []
    spec = obj.spec
    if spec.lease_duration_seconds is not None and spec.lease_duration_seconds <= 0:
        errors.append(invalid("spec.leaseDurationSeconds", spec.lease_duration_seconds, "must be greater than 0"))
    if spec.lease_transitions is not None and spec.lease_transitions < 0:
        errors.append(invalid("spec.leaseTransitions", spec.lease_transitions, "must be greater than or equal to 0"))
    if spec.preferred_holder and not spec.strategy:
        errors.append(invalid("spec.preferredHolder", spec.preferred_holder, "must be empty when `strategy` is empty"))
    return errors


def default_runtime_class(obj: Any) -> Any:
    if obj.overhead is None:
        return obj
    fixed = canonical_quantities(obj.overhead.pod_fixed)
    return obj if fixed is obj.overhead.pod_fixed else replace(obj, overhead=replace(obj.overhead, pod_fixed=fixed))


def validate_runtime_class(obj: Any) -> Sequence[FieldError]:
    errors: Errors = []
    if not obj.handler:
        errors.append(required("handler"))
    else:
        check_name(errors, "handler", obj.handler, names.dns_label)
    if obj.overhead is not None:
        for name, value in obj.overhead.pod_fixed.items():
            check_container_resource(errors, f"overhead.limits[{name}]", name, value)
    if obj.scheduling is not None:
        check_labels(errors, "scheduling.nodeSelector", obj.scheduling.node_selector)
        check_tolerations(errors, "scheduling.tolerations", obj.scheduling.tolerations)
    return errors


def validate_runtime_class_update(new: Any, old: Any) -> Sequence[FieldError]:
    errors: Errors = []
    check_immutable(errors, "handler", new.handler, old.handler)
    return errors


KINDS = (
    entry(
        "scheduling.k8s.io",
        "v1",
        "priorityclasses",
        default=default_priority_class,
        validate=validate_priority_class,
        validate_update=validate_priority_class_update,
        only_changes_checked=True,
        tracks_generation=True,
        fixed_generation=True,
        columns=(
            NAME,
            integer("Value", lambda obj, now: obj.value or 0),
            boolean("Global-Default", lambda obj, now: bool(obj.global_default)),
            AGE,
            text(
                "PreemptionPolicy",
                lambda obj, now: obj.preemption_policy or "",
            ),
        ),
    ),
    entry(
        "coordination.k8s.io",
        "v1",
        "leases",
        validate=validate_lease,
        create_on_update=True,
        unconditional_update=False,
        columns=(NAME, text("Holder", lambda obj, now: obj.spec.holder_identity or ""), AGE),
    ),
    entry(
        "node.k8s.io",
        "v1",
        "runtimeclasses",
        default=default_runtime_class,
        validate=validate_runtime_class,
        validate_update=validate_runtime_class_update,
        unconditional_update=False,
        columns=(NAME, text("Handler", lambda obj, now: obj.handler or ""), AGE),
    ),
)
