"""The entries of Pod and PodTemplate (core/v1): strategies, rules of update, warnings, columns."""

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from kubeloop.actors.api.core_v1 import PodCondition
from kubeloop.actors.api.errors import FieldError
from kubeloop.actors.apiserver.registry.catalog import entry
from kubeloop.actors.apiserver.registry.fields import (
    INT32_MAX,
    Errors,
    forbidden,
    invalid,
    required,
)
from kubeloop.actors.apiserver.registry.kind import StrategyContext
from kubeloop.actors.apiserver.registry.pod_columns import COLUMNS, row_conditions
from kubeloop.actors.apiserver.registry.pod_defaults import (
    default_pod,
    default_pod_template,
    pending_status,
    qos_class,
)
from kubeloop.actors.apiserver.registry.pod_validation import check_pod_spec, check_pod_template
from kubeloop.actors.apiserver.registry.pod_warnings import pod_template_warnings, pod_warnings
from kubeloop.actors.apiserver.registry.printing import NAME, label_text, template_columns, text
from kubeloop.actors.apiserver.registry.strategy import field, flag

_MAY_CHANGE = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)


def validate_pod(pod: Any) -> Sequence[FieldError]:
    errors: Errors = []
    check_pod_spec(errors, "spec", pod.spec)
    return errors


def prepare_pod_create(pod: Any, context: StrategyContext) -> Any:
    status = pending_status(pod.spec)
    if pod.spec.scheduling_gates:
        gated = PodCondition(
            type="PodScheduled",
            status="False",
            reason="SchedulingGated",
            message="Scheduling is blocked due to non-empty scheduling gates",
        )
        status = replace(status, conditions=(gated,))
    return pod if pod.status is status else replace(pod, status=status)


def prepare_pod_update(new: Any, old: Any, context: StrategyContext) -> Any:
    return new if new.status is old.status else replace(new, status=old.status)


def prepare_pod_status(new: Any, old: Any, context: StrategyContext) -> Any:
    status = new.status if new.status is not None else old.status
    if status is not None and status.qos_class is None:
        status = replace(status, qos_class=qos_class(old.spec))
    metadata = new.metadata
    if metadata.owner_references != old.metadata.owner_references:
        metadata = replace(metadata, owner_references=old.metadata.owner_references)
    return replace(new, spec=old.spec, status=status, metadata=metadata)


def validate_pod_update(new: Any, old: Any) -> Sequence[FieldError]:
    errors: Errors = []
    if new.spec is old.spec:
        return errors
    for kind in ("containers", "init_containers"):
        json_name = "containers" if kind == "containers" else "initContainers"
        if not _check_container_updates(errors, f"spec.{json_name}", getattr(new.spec, kind), getattr(old.spec, kind)):
            return errors
    _check_deadline(errors, new.spec.active_deadline_seconds, old.spec.active_deadline_seconds)
    _check_tolerations_added(errors, new.spec.tolerations, old.spec.tolerations)
    munged = replace(
        new.spec,
        containers=_with_old_images(new.spec.containers, old.spec.containers),
        init_containers=_with_old_images(new.spec.init_containers, old.spec.init_containers),
        active_deadline_seconds=old.spec.active_deadline_seconds,
        tolerations=old.spec.tolerations,
        scheduling_gates=_gates(errors, new.spec.scheduling_gates, old.spec.scheduling_gates),
    )
    if old.spec.scheduling_gates:
        munged = replace(munged, node_selector=old.spec.node_selector, affinity=old.spec.affinity)
    if munged != old.spec:
        changed = [name for name in munged.__struct_fields__ if getattr(munged, name) != getattr(old.spec, name)]
        errors.append(forbidden("spec", f"{_MAY_CHANGE}\n{_difference(changed, munged, old.spec)}"))
    return errors


def _difference(changed: Sequence[str], new: Any, old: Any) -> str:
    return "\n".join(f"- {name}: {getattr(old, name)!r}\n+ {name}: {getattr(new, name)!r}"[:500] for name in changed)


def _check_container_updates(errors: Errors, path: str, new: Sequence[Any], old: Sequence[Any]) -> bool:
    if len(new) != len(old):
        errors.append(forbidden(path, "pod updates may not add or remove containers"))
        return False
    for index, container in enumerate(new):
        if not (container.image or "").strip():
            errors.append(required(f"{path}[{index}].image"))
    return True


def _with_old_images(new: Sequence[Any], old: Sequence[Any]) -> Sequence[Any]:
    if new is old:
        return old
    munged = [
        one if one.image == other.image else replace(one, image=other.image)
        for one, other in zip(new, old, strict=True)
    ]
    return old if munged == list(old) else munged


def _check_deadline(errors: Errors, new: int | None, old: int | None) -> None:
    if new is None:
        if old is not None:
            errors.append(
                invalid("spec.activeDeadlineSeconds", None, "must not update from a positive integer to nil value")
            )
        return
    if not 0 <= new <= INT32_MAX:
        errors.append(invalid("spec.activeDeadlineSeconds", new, f"must be between 0 and {INT32_MAX}, inclusive"))
    elif old is not None and old < new:
        errors.append(invalid("spec.activeDeadlineSeconds", new, "must be less than or equal to previous value"))


def _check_tolerations_added(errors: Errors, new: Sequence[Any], old: Sequence[Any]) -> None:
    if new is old:
        return
    kept = [replace(one, toleration_seconds=None) for one in new]
    for toleration in old:
        if replace(toleration, toleration_seconds=None) not in kept:
            errors.append(
                forbidden("spec.tolerations", "existing toleration can not be modified except its tolerationSeconds")
            )
            return


def _gates(errors: Errors, new: Sequence[Any], old: Sequence[Any]) -> Sequence[Any]:
    """Scheduling gates may only go."""
    if new is not old and any(gate not in old for gate in new):
        added = next(gate for gate in new if gate not in old)
        errors.append(
            forbidden("spec.schedulingGates", f"only deletion is allowed, but found new scheduling gate '{added.name}'")
        )
    return old


def default_pod_template_object(obj: Any) -> Any:
    template = default_pod_template(obj.template)
    return obj if template is obj.template else replace(obj, template=template)


def validate_pod_template_object(obj: Any) -> Sequence[FieldError]:
    errors: Errors = []
    check_pod_template(errors, "template", obj.template)
    return errors


def node_name(pod: Any) -> str:
    """As field("spec.node_name"), quicker: the index of pods by node asks for it at every write."""
    return pod.spec.node_name or ""


KINDS = (
    entry(
        "",
        "v1",
        "pods",
        spec_decides=True,
        tracks_generation=True,
        return_deleted_object=True,
        default=default_pod,
        prepare_for_create=prepare_pod_create,
        prepare_for_update=prepare_pod_update,
        prepare_for_status_update=prepare_pod_status,
        validate=validate_pod,
        validate_update=validate_pod_update,
        warnings=pod_warnings,
        graceful_deletion=True,
        writes_all_parts=True,
        selectable_fields={
            "spec.nodeName": node_name,
            "spec.restartPolicy": field("spec.restart_policy"),
            "spec.schedulerName": field("spec.scheduler_name"),
            "spec.serviceAccountName": field("spec.service_account_name"),
            "spec.hostNetwork": flag("spec.host_network"),
            "status.phase": field("status.phase"),
            "status.podIP": field("status.pod_ip"),
            "status.nominatedNodeName": field("status.nominated_node_name"),
        },
        columns=COLUMNS,
        row_conditions=row_conditions,
    ),
    entry(
        "",
        "v1",
        "podtemplates",
        tracks_generation=True,
        return_deleted_object=True,
        default=default_pod_template_object,
        validate=validate_pod_template_object,
        warnings=lambda obj: pod_template_warnings("template", obj.template),
        columns=(
            NAME,
            *(replace(column, priority=0) for column in template_columns(lambda obj: obj.template)),
            text(
                "Pod Labels",
                lambda obj, now: label_text(obj.template.metadata.labels if obj.template.metadata else {}),
            ),
        ),
    ),
)
