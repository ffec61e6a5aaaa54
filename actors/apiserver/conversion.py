"""Kinds served in two shapes and stored in one: Events of two groups, HorizontalPodAutoscalers of two versions."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

Convert = Callable[[Any], Any]


class Conversion(msgspec.Struct, frozen=True):
    """`stored_as`: (group, version, plural) of the kind that is stored."""

    stored_as: tuple[str, str, str]
    to_storage: Convert
    from_storage: Convert


def event_to_core(event: Any) -> Any:
    """events.k8s.io/v1 -> v1."""
    from kubeloop.actors.api import core_v1

    return core_v1.Event(
        metadata=event.metadata,
        involved_object=event.regarding,
        related=event.related,
        reason=event.reason,
        message=event.note,
        type=event.type,
        action=event.action,
        event_time=event.event_time,
        series=_series(event.series, core_v1.EventSeries),
        reporting_component=event.reporting_controller,
        reporting_instance=event.reporting_instance,
        source=event.deprecated_source,
        first_timestamp=event.deprecated_first_timestamp,
        last_timestamp=event.deprecated_last_timestamp,
        count=event.deprecated_count,
    )


def event_from_core(event: Any) -> Any:
    """v1 -> events.k8s.io/v1."""
    from kubeloop.actors.api import events_v1

    return events_v1.Event(
        metadata=event.metadata,
        regarding=event.involved_object,
        related=event.related,
        reason=event.reason,
        note=event.message,
        type=event.type,
        action=event.action,
        event_time=event.event_time,
        series=_series(event.series, events_v1.EventSeries),
        reporting_controller=event.reporting_component or None,
        reporting_instance=event.reporting_instance or None,
        deprecated_source=event.source,
        deprecated_first_timestamp=event.first_timestamp,
        deprecated_last_timestamp=event.last_timestamp,
        deprecated_count=event.count,
    )


def _series(series: Any, type_: Any) -> Any:
    if series is None:
        return None
    return type_(count=series.count, last_observed_time=series.last_observed_time)


def autoscaler_to_v2(autoscaler: Any) -> Any:
    """autoscaling/v1 -> v2: the CPU percentage becomes a resource metric."""
    from kubeloop.actors.api import autoscaling_v2 as v2

    spec, status = autoscaler.spec, autoscaler.status
    metrics: tuple[Any, ...] = ()
    if spec.target_cpu_utilization_percentage is not None:
        target = v2.MetricTarget(type="Utilization", average_utilization=spec.target_cpu_utilization_percentage)
        metrics = (v2.MetricSpec(type="Resource", resource=v2.ResourceMetricSource(name="cpu", target=target)),)
    reference = spec.scale_target_ref
    return v2.HorizontalPodAutoscaler(
        metadata=autoscaler.metadata,
        spec=v2.HorizontalPodAutoscalerSpec(
            scale_target_ref=_reference(reference, v2.CrossVersionObjectReference),
            min_replicas=spec.min_replicas,
            max_replicas=spec.max_replicas,
            metrics=metrics,
        ),
        status=v2.HorizontalPodAutoscalerStatus(
            observed_generation=status.observed_generation,
            last_scale_time=status.last_scale_time,
            current_replicas=status.current_replicas,
            desired_replicas=status.desired_replicas,
        ),
    )


def autoscaler_from_v2(autoscaler: Any) -> Any:
    """autoscaling/v2 -> v1: the CPU metric becomes the percentage; other metrics do not fit."""
    from kubeloop.actors.api import autoscaling_v1 as v1

    spec, status = autoscaler.spec, autoscaler.status
    percentage = None
    for metric in spec.metrics:
        if metric.type == "Resource" and metric.resource is not None and metric.resource.name == "cpu":
            percentage = metric.resource.target.average_utilization
    reference = spec.scale_target_ref
    return v1.HorizontalPodAutoscaler(
        metadata=autoscaler.metadata,
        spec=v1.HorizontalPodAutoscalerSpec(
            scale_target_ref=_reference(reference, v1.CrossVersionObjectReference),
            min_replicas=spec.min_replicas,
            max_replicas=spec.max_replicas,
            target_cpu_utilization_percentage=percentage,
        ),
        status=v1.HorizontalPodAutoscalerStatus(
            observed_generation=status.observed_generation,
            last_scale_time=status.last_scale_time,
            current_replicas=status.current_replicas or 0,
            desired_replicas=status.desired_replicas or 0,
        ),
    )


def _reference(reference: Any, type_: Any) -> Any:
    if reference is None:
        return None
    return type_(api_version=reference.api_version, kind=reference.kind, name=reference.name)


CONVERSIONS: Mapping[tuple[str, str, str], Conversion] = {
    ("events.k8s.io", "v1", "events"): Conversion(("", "v1", "events"), event_to_core, event_from_core),
    ("autoscaling", "v1", "horizontalpodautoscalers"): Conversion(
        ("autoscaling", "v2", "horizontalpodautoscalers"), autoscaler_to_v2, autoscaler_from_v2
    ),
}
