"""The entries of HorizontalPodAutoscaler, autoscaling/v2 (stored) and v1 (the same objects, converted)."""

from collections.abc import Callable, Sequence
from typing import Any

from msgspec.structs import replace

from kubeloop.actors.api import quantity
from kubeloop.actors.api.autoscaling_v2 import (
    HorizontalPodAutoscalerStatus,
    HPAScalingPolicy,
    HPAScalingRules,
    MetricSpec,
    MetricTarget,
    ResourceMetricSource,
)
from kubeloop.actors.api.errors import FieldError
from kubeloop.actors.apiserver.registry import names, workload_status
from kubeloop.actors.apiserver.registry.catalog import entry
from kubeloop.actors.apiserver.registry.fields import (
    Errors,
    check_name,
    check_one_of,
    forbidden,
    invalid,
    required,
    unsupported,
)
from kubeloop.actors.apiserver.registry.kind import Column
from kubeloop.actors.apiserver.registry.pod_defaults import each
from kubeloop.actors.apiserver.registry.printing import AGE, NAME, UNKNOWN, text
from kubeloop.actors.apiserver.registry.strategy import keep_status, only_status, status_reset

METRIC_TYPES = ("ContainerResource", "External", "Object", "Pods", "Resource")
_SOURCES = {
    "ContainerResource": ("container_resource", "containerResource"),
    "External": ("external", "external"),
    "Object": ("object", "object"),
    "Pods": ("pods", "pods"),
    "Resource": ("resource", "resource"),
}
_CPU = MetricSpec(
    type="Resource",
    resource=ResourceMetricSource(name="cpu", target=MetricTarget(type="Utilization", average_utilization=80)),
)
_UP = HPAScalingRules(
    stabilization_window_seconds=0,
    select_policy="Max",
    policies=(
        HPAScalingPolicy(type="Pods", value=4, period_seconds=15),
        HPAScalingPolicy(type="Percent", value=100, period_seconds=15),
    ),
)
_DOWN = HPAScalingRules(select_policy="Max", policies=(HPAScalingPolicy(type="Percent", value=100, period_seconds=15),))
WINDOW_SECONDS_MAX, PERIOD_SECONDS_MAX = 3600, 1800


def default_autoscaler(obj: Any) -> Any:
    spec = obj.spec
    changes: dict[str, Any] = {}
    if spec.min_replicas is None:
        changes["min_replicas"] = 1
    if not spec.metrics:
        changes["metrics"] = (_CPU,)
    else:
        metrics = each(spec.metrics, _default_metric)
        if metrics is not spec.metrics:
            changes["metrics"] = metrics
    behavior = spec.behavior
    if behavior is not None:
        up, down = _default_rules(behavior.scale_up, _UP), _default_rules(behavior.scale_down, _DOWN)
        if up is not behavior.scale_up or down is not behavior.scale_down:
            changes["behavior"] = replace(behavior, scale_up=up, scale_down=down)
    return replace(obj, spec=replace(spec, **changes)) if changes else obj


def _default_metric(metric: Any) -> Any:
    for field, _ in _SOURCES.values():
        source = getattr(metric, field)
        if source is not None and source.target is not None:
            changes = {
                name: quantity.canonical(value)
                for name, value in (("value", source.target.value), ("average_value", source.target.average_value))
                if value is not None and quantity.canonical(value) != value
            }
            if changes:
                return replace(metric, **{field: replace(source, target=replace(source.target, **changes))})
    return metric


def _default_rules(rules: Any, default: Any) -> Any:
    if rules is None:
        return default
    changes: dict[str, Any] = {}
    if rules.stabilization_window_seconds is None and default.stabilization_window_seconds is not None:
        changes["stabilization_window_seconds"] = default.stabilization_window_seconds
    if rules.select_policy is None:
        changes["select_policy"] = default.select_policy
    if not rules.policies:
        changes["policies"] = default.policies
    return replace(rules, **changes) if changes else rules


def validate_autoscaler(obj: Any) -> Sequence[FieldError]:
    errors: Errors = []
    spec = obj.spec
    lowest = 1
    if spec.min_replicas is not None and spec.min_replicas < lowest:
        errors.append(invalid("spec.minReplicas", spec.min_replicas, f"must be greater than or equal to {lowest}"))
    most = spec.max_replicas or 0
    if most < 1:
        errors.append(required("spec.maxReplicas", "must be set and greater than 0"))
    if spec.min_replicas is not None and most < spec.min_replicas:
        errors.append(invalid("spec.maxReplicas", most, "must be greater than or equal to `minReplicas`"))
    _check_reference(errors, "spec.scaleTargetRef", spec.scale_target_ref, scaled=True)
    for index, metric in enumerate(spec.metrics):
        _check_metric(errors, f"spec.metrics[{index}]", metric)
    if spec.min_replicas == 0 and not any(metric.type in ("Object", "External") for metric in spec.metrics):
        detail = "must specify at least one Object or External metric to support scaling to zero replicas"
        errors.append(forbidden("spec.metrics", detail))
    if spec.behavior is not None:
        _check_rules(errors, "spec.behavior.scaleUp", spec.behavior.scale_up)
        _check_rules(errors, "spec.behavior.scaleDown", spec.behavior.scale_down)
    return errors


def _check_reference(errors: Errors, path: str, reference: Any, *, scaled: bool) -> None:
    kind, name, api_version = (
        (reference.kind or "", reference.name or "", reference.api_version or "")
        if reference is not None
        else ("", "", "")
    )
    for value, json_name in ((kind, "kind"), (name, "name")):
        if not value:
            errors.append(required(f"{path}.{json_name}"))
        else:
            check_name(errors, f"{path}.{json_name}", value, names.path_segment)
    if scaled and "/" not in api_version and (kind, api_version) != ("ReplicationController", "v1"):
        errors.append(invalid(f"{path}.apiVersion", api_version, "apiVersion must specify API group"))


def _check_metric(errors: Errors, path: str, metric: Any) -> None:
    type_ = metric.type or ""
    if not type_:
        errors.append(required(f"{path}.type", "must specify a metric source type"))
    elif type_ not in METRIC_TYPES:
        errors.append(unsupported(f"{path}.type", type_, METRIC_TYPES))
        errors.append(unsupported(f"{path}.type", type_, METRIC_TYPES))
        return
    given = [(kind, *names_) for kind, names_ in _SOURCES.items() if getattr(metric, names_[0]) is not None]
    for kind, field, json_name in given:
        _check_source(errors, f"{path}.{json_name}", getattr(metric, field), kind)
    if type_ in _SOURCES:
        _, json_name = _SOURCES[type_]
        if getattr(metric, _SOURCES[type_][0]) is None:
            errors.append(required(f"{path}.{json_name}", "must populate information for the given metric source"))
        for kind, _, other in given:
            if kind != type_:
                errors.append(forbidden(f"{path}.{other}", "must populate the given metric source only"))


def _check_source(errors: Errors, path: str, source: Any, kind: str) -> None:
    if kind in ("Resource", "ContainerResource"):
        if not source.name:
            errors.append(required(f"{path}.name", "must specify a resource name"))
        if kind == "ContainerResource" and not source.container:
            errors.append(required(f"{path}.container", "must specify a container name"))
    else:
        if kind == "Object":
            _check_reference(errors, f"{path}.describedObject", source.described_object, scaled=False)
        if source.metric is None or not source.metric.name:
            errors.append(required(f"{path}.metric.name"))
    target = source.target
    if target is None:
        errors.append(required(f"{path}.target.type", "must specify a metric target type"))
        return
    _check_target(errors, f"{path}.target", target)
    if kind in ("Resource", "ContainerResource"):
        if target.average_utilization is None and target.average_value is None:
            errors.append(
                required(
                    f"{path}.target.averageUtilization", "must set either a target raw value or a target utilization"
                )
            )
        if target.average_utilization is not None and target.average_value is not None:
            detail = "may not set both a target raw value and a target utilization"
            errors.append(forbidden(f"{path}.target.averageValue", detail))
    elif kind == "Pods":
        if target.average_value is None or quantity.parse(target.average_value) <= 0:
            errors.append(required(f"{path}.target.averageValue", "must specify a positive target averageValue"))
    elif target.value is None and target.average_value is None:
        errors.append(
            required(f"{path}.target.averageValue", "must set either a target value for metric or a per-pod target")
        )


def _check_target(errors: Errors, path: str, target: Any) -> None:
    types = ("AverageValue", "Utilization", "Value")
    if not target.type:
        errors.append(required(f"{path}.type", "must specify a metric target type"))
    elif target.type not in types:
        errors.append(invalid(f"{path}.type", target.type, "must be either Utilization, Value, or AverageValue"))
    if target.value is not None and quantity.parse(target.value) <= 0:
        errors.append(invalid(f"{path}.value", target.value, "must be positive"))
    if target.average_value is not None and quantity.parse(target.average_value) <= 0:
        errors.append(invalid(f"{path}.averageValue", target.average_value, "must be positive"))
    if target.average_utilization is not None and target.average_utilization < 1:
        errors.append(invalid(f"{path}.averageUtilization", target.average_utilization, "must be greater than 0"))


def _check_rules(errors: Errors, path: str, rules: Any) -> None:
    if rules is None:
        return
    window = rules.stabilization_window_seconds
    if window is not None and window < 0:
        errors.append(invalid(f"{path}.stabilizationWindowSeconds", window, "must be greater than or equal to zero"))
    if window is not None and window > WINDOW_SECONDS_MAX:
        errors.append(
            invalid(f"{path}.stabilizationWindowSeconds", window, f"must be less than or equal to {WINDOW_SECONDS_MAX}")
        )
    if rules.select_policy is not None:
        check_one_of(errors, f"{path}.selectPolicy", rules.select_policy, ("Disabled", "Max", "Min"))
    if not rules.policies:
        errors.append(required(f"{path}.policies", "must specify at least one Policy"))
    for index, policy in enumerate(rules.policies):
        where = f"{path}.policies[{index}]"
        if policy.type not in ("Percent", "Pods"):
            errors.append(unsupported(f"{where}.type", policy.type or "", ("Percent", "Pods")))
        if (policy.value or 0) <= 0:
            errors.append(invalid(f"{where}.value", policy.value or 0, "must be greater than zero"))
        period = policy.period_seconds or 0
        if period <= 0:
            errors.append(invalid(f"{where}.periodSeconds", period, "must be greater than zero"))
        if period > PERIOD_SECONDS_MAX:
            errors.append(
                invalid(f"{where}.periodSeconds", period, f"must be less than or equal to {PERIOD_SECONDS_MAX}")
            )


def _reference_cell(obj: Any, now: float) -> str:
    reference = obj.spec.scale_target_ref
    return f"{reference.kind}/{reference.name}" if reference is not None else ""


def _target_text(source: Any, current: Any) -> str:
    """current/target of one metric."""
    target = source.target
    now = current.current if current is not None else None
    if target.average_utilization is not None:
        shown = now.average_utilization if now is not None else None
        return f"{UNKNOWN if shown is None else f'{shown}%'}/{target.average_utilization}%"
    if target.average_value is not None:
        shown = now.average_value if now is not None else None
        average = " (avg)" if target.type == "AverageValue" and not hasattr(source, "container") else ""
        return f"{UNKNOWN if shown is None else shown}/{target.average_value}{average}"
    shown = now.value if now is not None else None
    return f"{UNKNOWN if shown is None else shown}/{target.value}"


def _targets_cell(obj: Any, now: float) -> str:
    spec, status = obj.spec, obj.status
    if not hasattr(spec, "metrics"):  # autoscaling/v1
        wanted, found = spec.target_cpu_utilization_percentage, status.current_cpu_utilization_percentage
        return f"cpu: {UNKNOWN if found is None else f'{found}%'}/{UNKNOWN if wanted is None else f'{wanted}%'}"
    if not spec.metrics:
        return "<none>"
    found = []
    for index, metric in enumerate(spec.metrics[:2]):
        field = _SOURCES.get(metric.type, ("", ""))[0]
        source = getattr(metric, field, None)
        if source is None:
            continue
        current = status.current_metrics[index] if index < len(status.current_metrics) else None
        shown = _target_text(source, getattr(current, field, None) if current is not None else None)
        prefix = f"{source.name}: " if metric.type in ("Resource", "ContainerResource") else ""
        found.append(f"{prefix}{shown}")
    more = f" + {len(spec.metrics) - 2} more..." if len(spec.metrics) > 2 else ""
    return f"{', '.join(found)}{more}"


def _spec_number(name: str, absent: str) -> Callable[[Any, float], str]:
    def cell(obj: Any, now: float) -> str:
        value = getattr(obj.spec, name)
        return absent if value is None else str(value)

    return cell


COLUMNS: tuple[Column, ...] = (
    NAME,
    text("Reference", _reference_cell),
    text("Targets", _targets_cell),
    text("MinPods", _spec_number("min_replicas", "<unset>")),
    text("MaxPods", lambda obj, now: obj.spec.max_replicas or 0),
    text("Replicas", lambda obj, now: obj.status.current_replicas or 0),
    AGE,
)
_BEHAVIOUR: dict[str, Any] = {
    "default": default_autoscaler,
    "prepare_for_create": status_reset(HorizontalPodAutoscalerStatus(desired_replicas=0)),
    "prepare_for_update": keep_status,
    "prepare_for_status_update": only_status,
    "validate_status_update": workload_status.AUTOSCALER,
    "validate": validate_autoscaler,
    "columns": COLUMNS,
}

KINDS = (
    entry("autoscaling", "v2", "horizontalpodautoscalers", nulls=("status.currentMetrics",), **_BEHAVIOUR),
    entry("autoscaling", "v1", "horizontalpodautoscalers", **_BEHAVIOUR),
)
