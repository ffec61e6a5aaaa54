"""Kinds served in two shapes and stored in one: Events of two groups, HorizontalPodAutoscalers of two versions."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from kubeloop.actors.apiserver.autoscaler_conversion import autoscaler_from_v2, autoscaler_to_v2

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


CONVERSIONS: Mapping[tuple[str, str, str], Conversion] = {
    ("events.k8s.io", "v1", "events"): Conversion(("", "v1", "events"), event_to_core, event_from_core),
    ("autoscaling", "v1", "horizontalpodautoscalers"): Conversion(
        ("autoscaling", "v2", "horizontalpodautoscalers"), autoscaler_to_v2, autoscaler_from_v2
    ),
}
