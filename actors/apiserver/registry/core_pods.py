"""The entries of Pod and PodTemplate (core/v1): strategies, rules of update, warnings, columns."""

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from kubeloop.actors.api.core_v1 import PodCondition, PodIP
from kubeloop.actors.api.errors import FieldError
from kubeloop.actors.apiserver.registry.catalog import entry
from kubeloop.actors.apiserver.registry.fields import Errors, forbidden, invalid
from kubeloop.actors.apiserver.registry.kind import StrategyContext
from kubeloop.actors.apiserver.registry.pod_columns import COLUMNS, row_conditions
from kubeloop.actors.apiserver.registry.pod_containers import check_image
from kubeloop.actors.apiserver.registry.pod_defaults import (
    default_pod,
    default_pod_template,
    pending_status,
    qos_class,
)
from kubeloop.actors.apiserver.registry.pod_updates import MIRROR, validate_pod_update
from kubeloop.actors.apiserver.registry.pod_validation import check_pod_spec, check_pod_template
from kubeloop.actors.apiserver.registry.pod_warnings import pod_template_warnings, pod_warnings
from kubeloop.actors.apiserver.registry.printing import NAME, label_text, template_columns, text
from kubeloop.actors.apiserver.registry.strategy import field, flag


def validate_pod(pod: Any) -> Sequence[FieldError]:
    errors: Errors = []
    spec = pod.spec
    if not spec.node_name and MIRROR in pod.metadata.annotations:
        value, detail = pod.metadata.annotations[MIRROR], "must set spec.nodeName if mirror pod annotation is set"
        errors.append(invalid(f"metadata.annotations[{MIRROR}]", value, detail))
    check_pod_spec(errors, "spec", spec)
    for containers, name in ((spec.containers, "containers"), (spec.init_containers, "initContainers")):
        for index, container in enumerate(containers):
            image = container.image
            if image and (image[0].isspace() or image[-1].isspace()):
                check_image(errors, f"spec.{name}[{index}]", container)
    if spec.ephemeral_containers:
        errors.append(forbidden("spec.ephemeralContainers", "cannot be set on create"))
    if spec.node_name and spec.scheduling_gates:
        errors.append(forbidden("spec.nodeName", "cannot be set until all schedulingGates have been cleared"))
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
    if status is not None:
        status = _with_one_address(status)
    metadata = new.metadata
    if metadata.owner_references != old.metadata.owner_references:
        metadata = replace(metadata, owner_references=old.metadata.owner_references)
    return replace(new, spec=old.spec, status=status, metadata=metadata)


def _with_one_address(status: Any) -> Any:
    """podIP is the first of podIPs: where the two differ, podIP is believed."""
    first = status.pod_ips[0].ip if status.pod_ips else None
    if status.pod_ip and status.pod_ip != first:
        status = replace(status, pod_ips=(PodIP(ip=status.pod_ip),))
    elif first and not status.pod_ip:
        status = replace(status, pod_ip=first)
    return status


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
        only_changes_checked=True,
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
