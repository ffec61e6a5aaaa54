"""The entries of apps/v1: Deployment, ReplicaSet, DaemonSet, ControllerRevision (StatefulSet: apps_statefulset)."""

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from kubeloop.actors.api import meta
from kubeloop.actors.api.apps_v1 import (
    DaemonSetSpec,
    DaemonSetStatus,
    DaemonSetUpdateStrategy,
    DeploymentSpec,
    DeploymentStatus,
    DeploymentStrategy,
    ReplicaSetSpec,
    ReplicaSetStatus,
    RollingUpdateDaemonSet,
    RollingUpdateDeployment,
)
from kubeloop.actors.api.errors import FieldError
from kubeloop.actors.apiserver.registry import workload_status
from kubeloop.actors.apiserver.registry.apps_statefulset import STATEFUL_SET
from kubeloop.actors.apiserver.registry.catalog import entry
from kubeloop.actors.apiserver.registry.fields import (
    NON_NEGATIVE,
    Errors,
    check_immutable,
    check_int_or_percent,
    check_non_negative,
    check_percent_at_most_100,
    forbidden,
    invalid,
    required,
    unsupported,
)
from kubeloop.actors.apiserver.registry.kind import StrategyContext
from kubeloop.actors.apiserver.registry.pod_defaults import default_pod_template
from kubeloop.actors.apiserver.registry.pod_warnings import pod_template_warnings
from kubeloop.actors.apiserver.registry.printing import (
    AGE,
    NAME,
    NONE,
    integer,
    label_text,
    selector_text,
    template_columns,
    text,
)
from kubeloop.actors.apiserver.registry.strategy import (
    keep_status,
    only_status,
    only_status_and_old_labels,
    status_reset,
)
from kubeloop.actors.apiserver.registry.workloads import check_replica_template, check_selector

TEMPLATE_GENERATION = "deprecated.daemonset.template.generation"
_QUARTER = RollingUpdateDeployment(max_surge="25%", max_unavailable="25%")
_ROLLING = DeploymentStrategy(type="RollingUpdate", rolling_update=_QUARTER)
_TEMPLATE = template_columns(lambda obj: obj.spec.template)
_SELECTOR = text("Selector", lambda obj, now: selector_text(obj.spec.selector), wide=True)


def default_deployment(obj: Any) -> Any:
    spec = obj.spec if obj.spec is not None else DeploymentSpec()
    changes: dict[str, Any] = {}
    template = default_pod_template(spec.template)
    if template is not spec.template:
        changes["template"] = template
    if spec.replicas is None:
        changes["replicas"] = 1
    if spec.revision_history_limit is None:
        changes["revision_history_limit"] = 10
    if spec.progress_deadline_seconds is None:
        changes["progress_deadline_seconds"] = 600
    strategy = _default_strategy(spec.strategy)
    if strategy is not spec.strategy:
        changes["strategy"] = strategy
    return replace(obj, spec=replace(spec, **changes)) if changes or obj.spec is None else obj


def _default_strategy(strategy: Any) -> Any:
    if strategy is None:
        return _ROLLING
    type_ = strategy.type or "RollingUpdate"
    rolling = strategy.rolling_update
    if type_ == "RollingUpdate":
        if rolling is None:
            rolling = _QUARTER
        elif rolling.max_surge is None or rolling.max_unavailable is None:
            rolling = RollingUpdateDeployment(
                max_surge="25%" if rolling.max_surge is None else rolling.max_surge,
                max_unavailable="25%" if rolling.max_unavailable is None else rolling.max_unavailable,
            )
    if type_ == strategy.type and rolling is strategy.rolling_update:
        return strategy
    return DeploymentStrategy(type=type_, rolling_update=rolling)


def validate_deployment(obj: Any) -> Sequence[FieldError]:
    errors: Errors = []
    spec = obj.spec
    check_non_negative(errors, "spec.replicas", spec.replicas)
    if check_selector(errors, spec.selector, "deployment"):
        check_replica_template(errors, spec.selector, spec.template)
    _check_strategy(errors, spec.strategy)
    check_non_negative(errors, "spec.minReadySeconds", spec.min_ready_seconds)
    check_non_negative(errors, "spec.revisionHistoryLimit", spec.revision_history_limit)
    deadline = spec.progress_deadline_seconds
    check_non_negative(errors, "spec.progressDeadlineSeconds", deadline)
    if deadline is not None and deadline <= (spec.min_ready_seconds or 0):
        errors.append(invalid("spec.progressDeadlineSeconds", deadline, "must be greater than minReadySeconds"))
    return errors


def _check_strategy(errors: Errors, strategy: Any) -> None:
    path = "spec.strategy"
    rolling = strategy.rolling_update
    if strategy.type == "Recreate":
        if rolling is not None:
            errors.append(forbidden(f"{path}.rollingUpdate", "may not be specified when strategy `type` is 'Recreate'"))
    elif strategy.type != "RollingUpdate":
        shown = {"Type": strategy.type, "RollingUpdate": None}
        errors.append(unsupported(path, shown, ("Recreate", "RollingUpdate")))
    else:
        check_int_or_percent(errors, f"{path}.rollingUpdate.maxUnavailable", rolling.max_unavailable)
        check_int_or_percent(errors, f"{path}.rollingUpdate.maxSurge", rolling.max_surge)
        if rolling.max_unavailable in (0, "0%") and rolling.max_surge in (0, "0%"):
            errors.append(
                invalid(
                    f"{path}.rollingUpdate.maxUnavailable",
                    rolling.max_unavailable,
                    "may not be 0 when `maxSurge` is 0",
                )
            )
        check_percent_at_most_100(errors, f"{path}.rollingUpdate.maxUnavailable", rolling.max_unavailable)


def _selector_is_immutable(new: Any, old: Any) -> Sequence[FieldError]:
    if new.spec.selector == old.spec.selector:
        return ()
    errors: Errors = []
    check_immutable(errors, "spec.selector", new.spec.selector, old.spec.selector)
    return errors


def validate_deployment_status(new: Any, old: Any) -> Sequence[FieldError]:
    errors: Errors = []
    status = new.status
    if status is None:
        return errors
    check_non_negative(errors, "status.observedGeneration", status.observed_generation)
    counts = (
        ("replicas", status.replicas),
        ("updatedReplicas", status.updated_replicas),
        ("readyReplicas", status.ready_replicas),
        ("availableReplicas", status.available_replicas),
        ("unavailableReplicas", status.unavailable_replicas),
    )
    for name, value in counts:
        check_non_negative(errors, f"status.{name}", value)
    replicas, ready, available = status.replicas or 0, status.ready_replicas or 0, status.available_replicas or 0
    for name, value in counts[1:4]:
        if (value or 0) > replicas:
            errors.append(invalid(f"status.{name}", value or 0, "cannot be greater than status.replicas"))
    if available > ready:
        errors.append(invalid("status.availableReplicas", available, "cannot be greater than readyReplicas"))
    return errors


def _counts_cell(obj: Any, now: float) -> str:
    ready = obj.status.ready_replicas if obj.status is not None else None
    return f"{ready or 0}/{obj.spec.replicas or 0}"


def _status_number(name: str) -> Any:
    def cell(obj: Any, now: float) -> int:
        return (getattr(obj.status, name) or 0) if obj.status is not None else 0

    return cell


def default_replica_set(obj: Any) -> Any:
    spec = obj.spec if obj.spec is not None else ReplicaSetSpec()
    template = default_pod_template(spec.template)
    if template is spec.template and spec.replicas is not None and obj.spec is not None:
        return obj
    replicas = 1 if spec.replicas is None else spec.replicas
    return replace(obj, spec=replace(spec, template=template, replicas=replicas))


def validate_replica_set(obj: Any) -> Sequence[FieldError]:
    errors: Errors = []
    spec = obj.spec
    check_non_negative(errors, "spec.replicas", spec.replicas)
    check_non_negative(errors, "spec.minReadySeconds", spec.min_ready_seconds)
    if check_selector(errors, spec.selector, "deployment"):
        check_replica_template(errors, spec.selector, spec.template)
    return errors


def default_daemon_set(obj: Any) -> Any:
    spec = obj.spec if obj.spec is not None else DaemonSetSpec()
    changes: dict[str, Any] = {}
    template = default_pod_template(spec.template)
    if template is not spec.template:
        changes["template"] = template
    if spec.revision_history_limit is None:
        changes["revision_history_limit"] = 10
    strategy = spec.update_strategy if spec.update_strategy is not None else DaemonSetUpdateStrategy()
    if strategy.type in (None, "", "RollingUpdate"):
        rolling = strategy.rolling_update if strategy.rolling_update is not None else RollingUpdateDaemonSet()
        if rolling.max_unavailable is None or rolling.max_surge is None or not strategy.type:
            rolling = RollingUpdateDaemonSet(
                max_unavailable=1 if rolling.max_unavailable is None else rolling.max_unavailable,
                max_surge=0 if rolling.max_surge is None else rolling.max_surge,
            )
            changes["update_strategy"] = DaemonSetUpdateStrategy(type="RollingUpdate", rolling_update=rolling)
    return replace(obj, spec=replace(spec, **changes)) if changes or obj.spec is None else obj


def validate_daemon_set(obj: Any) -> Sequence[FieldError]:
    errors: Errors = []
    spec = obj.spec
    if check_selector(errors, spec.selector, "daemonset"):
        check_replica_template(errors, spec.selector, spec.template, owner="DaemonSet")
    check_non_negative(errors, "spec.minReadySeconds", spec.min_ready_seconds)
    strategy = spec.update_strategy
    path = "spec.updateStrategy"
    if strategy.type == "RollingUpdate":
        rolling = strategy.rolling_update
        check_int_or_percent(errors, f"{path}.rollingUpdate.maxUnavailable", rolling.max_unavailable)
        check_percent_at_most_100(errors, f"{path}.rollingUpdate.maxUnavailable", rolling.max_unavailable)
        check_int_or_percent(errors, f"{path}.rollingUpdate.maxSurge", rolling.max_surge)
        check_percent_at_most_100(errors, f"{path}.rollingUpdate.maxSurge", rolling.max_surge)
        unavailable, surge = rolling.max_unavailable not in (0, "0%"), rolling.max_surge not in (0, "0%")
        if unavailable and surge:
            detail = "may not be set when maxUnavailable is non-zero"
            errors.append(invalid(f"{path}.rollingUpdate.maxSurge", rolling.max_surge, detail))
        elif not unavailable and not surge:
            errors.append(required(f"{path}.rollingUpdate.maxUnavailable", "cannot be 0 when maxSurge is 0"))
    elif strategy.type != "OnDelete":
        shown = {"Type": strategy.type, "RollingUpdate": None}
        errors.append(unsupported(path, shown, ("RollingUpdate", "OnDelete")))
    check_non_negative(errors, "spec.revisionHistoryLimit", spec.revision_history_limit)
    return errors


def _prepare_daemon_set_create(obj: Any, context: StrategyContext) -> Any:
    return _with_template_generation(replace(obj, status=_NO_DAEMONS), 1)


def _prepare_daemon_set_update(new: Any, old: Any, context: StrategyContext) -> Any:
    generation = int(meta.annotations(old).get(TEMPLATE_GENERATION, "1"))
    if new.spec.template != old.spec.template:
        generation += 1
    return _with_template_generation(replace(new, status=old.status), generation)


def _with_template_generation(obj: Any, generation: int) -> Any:
    annotations = {**obj.metadata.annotations, TEMPLATE_GENERATION: str(generation)}
    return replace(obj, metadata=replace(obj.metadata, annotations=annotations))


def validate_controller_revision(obj: Any) -> Sequence[FieldError]:
    errors: Errors = []
    if obj.data is None:
        errors.append(required("data", "data is mandatory"))
    if (obj.revision or 0) < 0:
        errors.append(invalid("revision", obj.revision, NON_NEGATIVE))
    return errors


def validate_controller_revision_update(new: Any, old: Any) -> Sequence[FieldError]:
    errors: Errors = []
    if new.data != old.data:
        errors.append(invalid("data", new.data, "field is immutable"))
    return errors


def _controller_cell(obj: Any, now: float) -> str:
    owner = meta.controller_of(obj)
    if owner is None:
        return NONE
    group = (owner.api_version or "").rpartition("/")[0]
    return f"{(owner.kind or '').lower()}{'.' if group else ''}{group}/{owner.name}"


_NO_DAEMONS = DaemonSetStatus(
    current_number_scheduled=0, desired_number_scheduled=0, number_misscheduled=0, number_ready=0
)

KINDS = (
    entry(
        "apps",
        "v1",
        "deployments",
        tracks_generation=True,
        default=default_deployment,
        prepare_for_create=status_reset(DeploymentStatus()),
        prepare_for_update=keep_status,
        prepare_for_status_update=only_status_and_old_labels,
        validate=validate_deployment,
        validate_update=_selector_is_immutable,
        validate_status_update=validate_deployment_status,
        warnings=lambda obj: pod_template_warnings("spec.template", obj.spec.template),
        scale={"specReplicas": "spec.replicas", "statusReplicas": "status.replicas", "selector": "spec.selector"},
        columns=(
            NAME,
            text("Ready", _counts_cell),
            text("Up-to-date", _status_number("updated_replicas")),
            text("Available", _status_number("available_replicas")),
            AGE,
            *_TEMPLATE,
            _SELECTOR,
        ),
    ),
    entry(
        "apps",
        "v1",
        "replicasets",
        tracks_generation=True,
        default=default_replica_set,
        validate_status_update=workload_status.REPLICA_SET,
        prepare_for_create=status_reset(ReplicaSetStatus(replicas=0)),
        prepare_for_update=keep_status,
        prepare_for_status_update=only_status,
        validate=validate_replica_set,
        validate_update=_selector_is_immutable,
        warnings=lambda obj: pod_template_warnings("spec.template", obj.spec.template),
        scale={"specReplicas": "spec.replicas", "statusReplicas": "status.replicas", "selector": "spec.selector"},
        columns=(
            NAME,
            integer("Desired", lambda obj, now: obj.spec.replicas or 0),
            integer("Current", _status_number("replicas")),
            integer("Ready", _status_number("ready_replicas")),
            AGE,
            *_TEMPLATE,
            _SELECTOR,
        ),
    ),
    STATEFUL_SET,
    entry(
        "apps",
        "v1",
        "daemonsets",
        tracks_generation=True,
        default=default_daemon_set,
        validate_status_update=workload_status.DAEMON_SET,
        prepare_for_create=_prepare_daemon_set_create,
        prepare_for_update=_prepare_daemon_set_update,
        prepare_for_status_update=only_status,
        validate=validate_daemon_set,
        validate_update=_selector_is_immutable,
        warnings=lambda obj: pod_template_warnings("spec.template", obj.spec.template),
        columns=(
            NAME,
            integer("Desired", _status_number("desired_number_scheduled")),
            integer("Current", _status_number("current_number_scheduled")),
            integer("Ready", _status_number("number_ready")),
            integer("Up-to-date", _status_number("updated_number_scheduled")),
            integer("Available", _status_number("number_available")),
            text(
                "Node Selector",
                lambda obj, now: label_text(obj.spec.template.spec.node_selector),
            ),
            AGE,
            *_TEMPLATE,
            _SELECTOR,
        ),
    ),
    entry(
        "apps",
        "v1",
        "controllerrevisions",
        validate=validate_controller_revision,
        validate_update=validate_controller_revision_update,
        columns=(
            NAME,
            text("Controller", _controller_cell),
            text("Revision", lambda obj, now: obj.revision or 0),
            AGE,
        ),
    ),
)
