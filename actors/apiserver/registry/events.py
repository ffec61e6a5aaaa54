"""The entries of Event, in its two groups: core/v1 (stored) and events.k8s.io/v1 (the same objects, stricter)."""

from collections.abc import Callable, Sequence
from typing import Any

from msgspec.structs import replace

from kubeloop.actors.api.core_v1 import EventSource, ObjectReference
from kubeloop.actors.api.errors import FieldError
from kubeloop.actors.apiserver.registry import names
from kubeloop.actors.apiserver.registry.catalog import entry
from kubeloop.actors.apiserver.registry.fields import Errors, check_name, invalid, required
from kubeloop.actors.apiserver.registry.kind import Column
from kubeloop.actors.apiserver.registry.printing import NAME, since, text
from kubeloop.actors.apiserver.registry.strategy import field

NO_SOURCE = EventSource()
NO_REFERENCE = ObjectReference()
# events.k8s.io name -> core name
_SAME = {
    "regarding": "involved_object",
    "note": "message",
    "reporting_controller": "reporting_component",
    "deprecated_source": "source",
    "deprecated_first_timestamp": "first_timestamp",
    "deprecated_last_timestamp": "last_timestamp",
    "deprecated_count": "count",
}
_NEW_NAMES = {core: new for new, core in _SAME.items()}


def of(event: Any, name: str) -> Any:
    """A field of an event of either group, by its name in core/v1."""
    return getattr(event, name if hasattr(event, name) else _NEW_NAMES[name])


def default_event(obj: Any) -> Any:
    changes: dict[str, Any] = {}
    if obj.source is None:
        changes["source"] = NO_SOURCE
    if obj.involved_object is None:
        changes["involved_object"] = NO_REFERENCE
    for name in ("reporting_component", "reporting_instance"):
        if getattr(obj, name) is None:
            changes[name] = ""
    return replace(obj, **changes) if changes else obj


def _namespace_errors(obj: Any) -> Errors:
    errors: Errors = []
    involved = obj.involved_object.namespace or ""
    namespace = obj.metadata.namespace or ""
    if not involved:
        if namespace not in ("", "default"):
            errors.append(invalid("involvedObject.namespace", involved, "does not match event.namespace"))
    elif involved != namespace:
        errors.append(invalid("involvedObject.namespace", involved, "does not match event.namespace"))
    return errors


def validate_core_event(obj: Any) -> Sequence[FieldError]:
    errors = _namespace_errors(obj)
    if obj.metadata.namespace and names.dns_label(obj.metadata.namespace):
        check_name(errors, "namespace", obj.metadata.namespace, names.dns_subdomain)
    return errors


def validate_new_event(obj: Any) -> Sequence[FieldError]:
    """events.k8s.io/v1 asks for more: who reports, what was done, why."""
    errors = _namespace_errors(obj)
    if not obj.event_time:
        errors.append(required("eventTime"))
    else:
        controller = obj.reporting_component or ""
        if not controller:
            errors.append(required("reportingController"))
        check_name(errors, "reportingController", controller, names.qualified_name)
        for value, name, length_max in (
            (obj.reporting_instance, "reportingInstance", 128),
            (obj.action, "action", 128),
            (obj.reason, "reason", 128),
        ):
            if not value:
                errors.append(required(name))
            elif len(value) > length_max:
                errors.append(invalid(name, "", f"can have at most {length_max} characters"))
        if len(obj.message or "") > 1024:
            errors.append(invalid("message", "", "can have at most 1024 characters"))
    if obj.type not in ("Normal", "Warning"):
        errors.append(invalid("type", "", f"has invalid value: {obj.type or ''}"))
    if obj.event_time:
        for value, name in (
            (obj.first_timestamp, "firstTimestamp"),
            (obj.last_timestamp, "lastTimestamp"),
            (obj.count, "count"),
        ):
            if value:
                errors.append(invalid(name, "", "needs to be unset"))
        if obj.source is not None and (obj.source.component or obj.source.host):
            errors.append(invalid("source", "", "needs to be unset"))
    return errors


def validate_new_event_update(new: Any, old: Any) -> Sequence[FieldError]:
    errors: Errors = []
    for name, json_name in (
        ("involved_object", "involvedObject"),
        ("reason", "reason"),
        ("message", "message"),
        ("source", "source"),
        ("first_timestamp", "firstTimestamp"),
        ("last_timestamp", "lastTimestamp"),
        ("count", "count"),
        ("type", "type"),
        ("event_time", "eventTime"),
        ("action", "action"),
        ("related", "related"),
        ("reporting_component", "reportingController"),
        ("reporting_instance", "reportingInstance"),
    ):
        if getattr(new, name) != getattr(old, name):
            errors.append(invalid(json_name, getattr(new, name), "field is immutable"))
    return errors


def _first_seen(event: Any, now: float) -> str:
    return since(of(event, "first_timestamp") or event.event_time, now)


def _last_seen(event: Any, now: float) -> str:
    if event.series is not None:
        return since(event.series.last_observed_time, now)
    last = of(event, "last_timestamp")
    return since(last, now) if last else _first_seen(event, now)


def _object(event: Any, now: float) -> str:
    target = of(event, "involved_object")
    if target is None:
        return ""
    kind, name = (target.kind or "").lower(), target.name or ""
    return f"{kind}/{name}" if name else kind


def _source(event: Any, now: float) -> str:
    source = of(event, "source")
    component = (source.component if source is not None else None) or of(event, "reporting_component") or ""
    host = (source.host if source is not None else None) or event.reporting_instance or ""
    return f"{component}, {host}" if host else component


def _count(event: Any, now: float) -> int:
    if event.series is not None:
        return int(event.series.count or 0)
    return int(of(event, "count") or 1)


def _subobject(event: Any, now: float) -> str:
    target = of(event, "involved_object")
    return (target.field_path if target is not None else None) or ""


def _message(event: Any, now: float) -> str:
    return (of(event, "message") or "").strip()


COLUMNS: tuple[Column, ...] = (
    text("Last Seen", _last_seen),
    text("Type", lambda event, now: event.type or ""),
    text("Reason", lambda event, now: event.reason or ""),
    text("Object", _object),
    text("Subobject", _subobject, wide=True),
    text("Source", _source, wide=True),
    text("Message", _message),
    text("First Seen", _first_seen, wide=True),
    text("Count", _count, wide=True),
    replace(NAME, priority=1),
)


def _selectable(prefix: str) -> dict[str, Callable[[Any], str]]:
    """`prefix` is how the group calls the involved object."""
    json_names = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
    snake = ("kind", "namespace", "name", "uid", "api_version", "resource_version", "field_path")
    found = {f"{prefix}.{json}": field(f"involved_object.{name}") for json, name in zip(json_names, snake, strict=True)}
    found |= {"reason": field("reason"), "type": field("type")}
    return found


def _source_of(event: Any) -> str:
    component = event.source.component if event.source is not None else None
    return component or event.reporting_component or ""


KINDS = (
    entry(
        "",
        "v1",
        "events",
        nulls=("eventTime", "firstTimestamp", "lastTimestamp"),
        default=default_event,
        validate=validate_core_event,
        create_on_update=True,
        selectable_fields={
            **_selectable("involvedObject"),
            "reportingComponent": field("reporting_component"),
            "source": _source_of,
        },
        columns=COLUMNS,
    ),
    entry(
        "events.k8s.io",
        "v1",
        "events",
        nulls=("eventTime", "deprecatedFirstTimestamp", "deprecatedLastTimestamp"),
        default=default_event,
        validate=validate_new_event,
        validate_update=validate_new_event_update,
        create_on_update=True,
        selectable_fields={**_selectable("regarding"), "reportingController": field("reporting_component")},
        columns=COLUMNS,
    ),
)
