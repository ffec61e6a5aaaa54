"""HorizontalPodAutoscalers as autoscaling/v1 shows them, stored as autoscaling/v2.

v1 has one percentage of CPU. Everything else travels in annotations, as the API reference says of autoscaling/v1:
metrics, current metrics, conditions and behaviour as JSON. Reading an object as v1 and writing it back loses nothing.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from kubeloop.actors.api import codec
from kubeloop.actors.api.meta_v1 import ObjectMeta

PREFIX = "autoscaling.alpha.kubernetes.io/"
METRICS, CURRENT_METRICS = f"{PREFIX}metrics", f"{PREFIX}current-metrics"
CONDITIONS, BEHAVIOR = f"{PREFIX}conditions", f"{PREFIX}behavior"
ANNOTATIONS = (METRICS, CURRENT_METRICS, CONDITIONS, BEHAVIOR)
DEFAULT_CPU_PERCENT = 80

# a metric's source in the annotation: (its field, the path of that in v2), in the order in which they are written
Layout = Mapping[str, Sequence[tuple[str, str]]]
_SPEC: Layout = {
    "object": (
        ("target", "describedObject"),
        ("metricName", "metric.name"),
        ("targetValue", "target.value"),
        ("selector", "metric.selector"),
        ("averageValue", "target.averageValue"),
    ),
    "pods": (
        ("metricName", "metric.name"),
        ("targetAverageValue", "target.averageValue"),
        ("selector", "metric.selector"),
    ),
    "resource": (
        ("name", "name"),
        ("targetAverageUtilization", "target.averageUtilization"),
        ("targetAverageValue", "target.averageValue"),
    ),
    "containerResource": (
        ("name", "name"),
        ("targetAverageUtilization", "target.averageUtilization"),
        ("targetAverageValue", "target.averageValue"),
        ("container", "container"),
    ),
    "external": (
        ("metricName", "metric.name"),
        ("metricSelector", "metric.selector"),
        ("targetValue", "target.value"),
        ("targetAverageValue", "target.averageValue"),
    ),
}
_STATUS: Layout = {
    "object": (
        ("target", "describedObject"),
        ("metricName", "metric.name"),
        ("currentValue", "current.value"),
        ("selector", "metric.selector"),
        ("averageValue", "current.averageValue"),
    ),
    "pods": (
        ("metricName", "metric.name"),
        ("currentAverageValue", "current.averageValue"),
        ("selector", "metric.selector"),
    ),
    "resource": (
        ("name", "name"),
        ("currentAverageUtilization", "current.averageUtilization"),
        ("currentAverageValue", "current.averageValue"),
    ),
    "containerResource": (
        ("name", "name"),
        ("currentAverageUtilization", "current.averageUtilization"),
        ("currentAverageValue", "current.averageValue"),
        ("container", "container"),
    ),
    "external": (
        ("metricName", "metric.name"),
        ("metricSelector", "metric.selector"),
        ("currentValue", "current.value"),
        ("currentAverageValue", "current.averageValue"),
    ),
}
_REFERENCE = ("kind", "name", "apiVersion")
_CONDITION = ("type", "status", "lastTransitionTime", "reason", "message")


# v2 -> v1


def autoscaler_from_v2(autoscaler: Any) -> Any:
    """autoscaling/v2 -> v1."""
    from kubeloop.actors.api import autoscaling_v1 as v1

    spec, status = autoscaler.spec, autoscaler.status
    others = [metric for metric in spec.metrics if not _is_cpu(metric)]
    added = {
        METRICS: [_shown(metric, _SPEC) for metric in others],
        CURRENT_METRICS: [_shown(metric, _STATUS) for metric in status.current_metrics],
        CONDITIONS: [_in_order(codec.to_builtins(one), _CONDITION) for one in status.conditions],
        BEHAVIOR: _go_behavior(spec.behavior),
    }
    texts = {name: json.dumps(value, separators=(",", ":")) for name, value in added.items() if value}
    metadata = autoscaler.metadata
    if texts:
        metadata = replace(metadata, annotations={**metadata.annotations, **texts})
    return v1.HorizontalPodAutoscaler(
        metadata=metadata,
        spec=v1.HorizontalPodAutoscalerSpec(
            scale_target_ref=_reference(spec.scale_target_ref, v1.CrossVersionObjectReference),
            min_replicas=spec.min_replicas,
            max_replicas=spec.max_replicas,
            target_cpu_utilization_percentage=next(
                (metric.resource.target.average_utilization for metric in spec.metrics if _is_cpu(metric)), None
            ),
        ),
        status=v1.HorizontalPodAutoscalerStatus(
            observed_generation=status.observed_generation,
            last_scale_time=status.last_scale_time,
            current_replicas=status.current_replicas or 0,
            desired_replicas=status.desired_replicas or 0,
            current_cpu_utilization_percentage=_current_cpu(status.current_metrics),
        ),
    )


def _is_cpu(metric: Any) -> bool:
    """Whether a metric is what v1's percentage says."""
    resource = metric.resource
    if metric.type != "Resource" or resource is None or resource.name != "cpu" or resource.target is None:
        return False
    return resource.target.average_utilization is not None


def _current_cpu(metrics: Sequence[Any]) -> int | None:
    found = None
    for metric in metrics:
        resource = metric.resource
        if metric.type == "Resource" and resource is not None and resource.name == "cpu" and resource.current:
            found = resource.current.average_utilization
    return found


def _reference(reference: Any, type_: Any) -> Any:
    if reference is None:
        return None
    return type_(api_version=reference.api_version, kind=reference.kind, name=reference.name)


def _shown(metric: Any, layout: Layout) -> dict[str, Any]:
    builtins = codec.to_builtins(metric)
    shown: dict[str, Any] = {"type": builtins.get("type", "")}
    for source, fields in layout.items():
        if source not in builtins:
            continue
        found = {name: _at(builtins[source], path) for name, path in fields}
        if source == "object":
            found["target"] = _in_order(found["target"] or {}, _REFERENCE)
            found["currentValue" if layout is _STATUS else "targetValue"] = found[fields[2][0]] or "0"
        shown[source] = {name: value for name, value in found.items() if value is not None}
    return shown


def _at(value: Any, path: str) -> Any:
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _in_order(value: dict[str, Any], order: Sequence[str]) -> dict[str, Any]:
    return {name: value[name] for name in order if name in value}


def _go_behavior(behavior: Any) -> dict[str, Any] | None:
    """The behaviour as the API server's internal type is printed: capitalised, absent fields null."""
    if behavior is None:
        return None
    return {"ScaleUp": _go_rules(behavior.scale_up), "ScaleDown": _go_rules(behavior.scale_down)}


def _go_rules(rules: Any) -> dict[str, Any] | None:
    if rules is None:
        return None
    policies = [{"Type": one.type, "Value": one.value, "PeriodSeconds": one.period_seconds} for one in rules.policies]
    return {
        "StabilizationWindowSeconds": rules.stabilization_window_seconds,
        "SelectPolicy": rules.select_policy,
        "Policies": policies or None,
        "Tolerance": rules.tolerance,
    }


# v1 -> v2


def autoscaler_to_v2(autoscaler: Any) -> Any:
    """autoscaling/v1 -> v2. An annotation that cannot be read says nothing."""
    from kubeloop.actors.api import autoscaling_v2 as v2

    spec, status = autoscaler.spec, autoscaler.status
    annotations = autoscaler.metadata.annotations
    metrics: list[Any] = []
    if spec.target_cpu_utilization_percentage is not None:
        metrics.append(_cpu_metric(v2, spec.target_cpu_utilization_percentage))
    metrics += _read(annotations.get(METRICS), _SPEC, v2.MetricSpec, "target")
    if not metrics:
        metrics.append(_cpu_metric(v2, DEFAULT_CPU_PERCENT))
    current = _read(annotations.get(CURRENT_METRICS), _STATUS, v2.MetricStatus, "current")
    if not current and status.current_cpu_utilization_percentage is not None:
        value = v2.MetricValueStatus(average_utilization=status.current_cpu_utilization_percentage)
        current = [v2.MetricStatus(type="Resource", resource=v2.ResourceMetricStatus(name="cpu", current=value))]
    conditions = _parsed(annotations.get(CONDITIONS), list)
    behavior = _behavior(_parsed(annotations.get(BEHAVIOR), dict))
    metadata = autoscaler.metadata
    if any(name in annotations for name in ANNOTATIONS):
        kept = {name: value for name, value in annotations.items() if name not in ANNOTATIONS}
        metadata = replace(metadata, annotations=kept or ObjectMeta().annotations)
    return v2.HorizontalPodAutoscaler(
        metadata=metadata,
        spec=v2.HorizontalPodAutoscalerSpec(
            scale_target_ref=_reference(spec.scale_target_ref, v2.CrossVersionObjectReference),
            min_replicas=spec.min_replicas,
            max_replicas=spec.max_replicas,
            metrics=tuple(metrics),
            behavior=_converted(behavior, v2.HorizontalPodAutoscalerBehavior) if behavior else None,
        ),
        status=v2.HorizontalPodAutoscalerStatus(
            observed_generation=status.observed_generation,
            last_scale_time=status.last_scale_time,
            current_replicas=status.current_replicas,
            desired_replicas=status.desired_replicas,
            current_metrics=tuple(current),
            conditions=tuple(
                one
                for one in (_converted(found, v2.HorizontalPodAutoscalerCondition) for found in conditions or ())
                if one is not None
            ),
        ),
    )


def _cpu_metric(v2: Any, percent: int) -> Any:
    target = v2.MetricTarget(type="Utilization", average_utilization=percent)
    return v2.MetricSpec(type="Resource", resource=v2.ResourceMetricSource(name="cpu", target=target))


def _parsed(text: str | None, kind: type) -> Any:
    try:
        found = json.loads(text) if text else None
    except ValueError:
        return None
    return found if isinstance(found, kind) else None


def _converted(document: Any, type_: Any) -> Any:
    try:
        return codec.convert(document, type_)
    except (codec.DecodeError, AttributeError, TypeError):
        return None


def _read(text: str | None, layout: Layout, type_: Any, value_field: str) -> list[Any]:
    metrics = []
    for shown in _parsed(text, list) or ():
        if not isinstance(shown, dict):
            continue
        document: dict[str, Any] = {"type": shown.get("type")}
        for source, fields in layout.items():
            if isinstance(shown.get(source), dict):
                document[source] = _source(shown[source], fields, value_field)
        found = _converted(document, type_)
        if found is not None:
            metrics.append(found)
    return metrics


def _source(shown: dict[str, Any], fields: Sequence[tuple[str, str]], value_field: str) -> dict[str, Any]:
    document: dict[str, Any] = {value_field: {}}
    for name, path in fields:
        if name in shown:
            outer, _, inner = path.partition(".")
            if inner:
                document.setdefault(outer, {})[inner] = shown[name]
            else:
                document[outer] = shown[name]
    value = document[value_field]
    if value.get("value") == "0" and "averageValue" in value:
        del value["value"]
    if value_field == "target":
        types = {"averageUtilization": "Utilization", "averageValue": "AverageValue"}
        value["type"] = next((type_ for name, type_ in types.items() if name in value), "Value")
    return document


def _behavior(shown: dict[str, Any] | None) -> dict[str, Any]:
    found = {}
    for name, field in (("ScaleUp", "scaleUp"), ("ScaleDown", "scaleDown")):
        rules = (shown or {}).get(name)
        if isinstance(rules, dict):
            found[field] = _uncapitalised(rules)
    return found


def _uncapitalised(value: Any) -> Any:
    if isinstance(value, dict):
        return {key[:1].lower() + key[1:]: _uncapitalised(item) for key, item in value.items() if item is not None}
    return [_uncapitalised(item) for item in value] if isinstance(value, list) else value
