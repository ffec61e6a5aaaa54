"""The entry of ReplicationController (core/v1), the ReplicaSet of old."""

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from kubeloop.actors.api.core_v1 import ReplicationControllerSpec, ReplicationControllerStatus
from kubeloop.actors.api.errors import FieldError
from kubeloop.actors.apiserver.registry import workload_status
from kubeloop.actors.apiserver.registry.catalog import entry
from kubeloop.actors.apiserver.registry.fields import Errors, check_non_negative, invalid, required
from kubeloop.actors.apiserver.registry.pod_defaults import default_pod_template
from kubeloop.actors.apiserver.registry.pod_warnings import pod_template_warnings
from kubeloop.actors.apiserver.registry.printing import AGE, NAME, integer, label_text, template_columns, text
from kubeloop.actors.apiserver.registry.strategy import keep_status, number, only_status, status_reset
from kubeloop.actors.apiserver.registry.workloads import NO_MATCH, check_running_template, template_labels


def default_replication_controller(obj: Any) -> Any:
    spec = obj.spec if obj.spec is not None else ReplicationControllerSpec()
    changes: dict[str, Any] = {}
    metadata = obj.metadata
    if spec.template is not None:
        template = default_pod_template(spec.template)
        if template is not spec.template:
            changes["template"] = template
        labels = template_labels(template)
        if labels and not spec.selector:
            changes["selector"] = labels
        if labels and not metadata.labels:
            metadata = replace(metadata, labels=labels)
    if spec.replicas is None:
        changes["replicas"] = 1
    if not changes and metadata is obj.metadata and obj.spec is not None:
        return obj
    return replace(obj, metadata=metadata, spec=replace(spec, **changes))


def validate_replication_controller(obj: Any) -> Sequence[FieldError]:
    errors: Errors = []
    spec = obj.spec
    check_non_negative(errors, "spec.minReadySeconds", spec.min_ready_seconds)
    if not spec.selector:
        errors.append(required("spec.selector"))
    check_non_negative(errors, "spec.replicas", spec.replicas)
    if spec.template is None:
        errors.append(required("spec.template"))
        return errors
    labels = template_labels(spec.template) or {}
    if any(labels.get(key) != value for key, value in spec.selector.items()):
        errors.append(invalid("spec.template.metadata.labels", dict(labels) or None, NO_MATCH))
    check_running_template(errors, spec.template, "ReplicationController")
    return errors


def _status_number(name: str) -> Any:
    def cell(obj: Any, now: float) -> int:
        return (getattr(obj.status, name) or 0) if obj.status is not None else 0

    return cell


KINDS = (
    entry(
        "",
        "v1",
        "replicationcontrollers",
        tracks_generation=True,
        default=default_replication_controller,
        prepare_for_create=status_reset(ReplicationControllerStatus(replicas=0)),
        prepare_for_update=keep_status,
        prepare_for_status_update=only_status,
        validate=validate_replication_controller,
        validate_status_update=workload_status.REPLICA_SET,
        warnings=lambda obj: (
            pod_template_warnings("spec.template", obj.spec.template) if obj.spec.template is not None else ()
        ),
        selectable_fields={"status.replicas": number("status.replicas")},
        scale={"specReplicas": "spec.replicas", "statusReplicas": "status.replicas", "selector": "spec.selector"},
        columns=(
            NAME,
            integer("Desired", lambda obj, now: obj.spec.replicas or 0),
            integer("Current", _status_number("replicas")),
            integer("Ready", _status_number("ready_replicas")),
            AGE,
            *template_columns(lambda obj: obj.spec.template),
            text("Selector", lambda obj, now: label_text(obj.spec.selector), wide=True),
        ),
    ),
)
