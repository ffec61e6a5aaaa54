"""How kubectl's columns are computed: ages, durations, selectors, names of containers, lists cut short.

Follows what `kubectl get` shows for a real API server: printers return text for most cells, numbers and booleans for
columns declared so, and RFC 3339 text for dates.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kubeloop.actors.api import meta
from kubeloop.actors.apiserver.registry.kind import Column
from kubeloop.runtime.clock import parse_rfc3339

UNKNOWN, NONE = "<unknown>", "<none>"
Cell = Callable[[Any, float], Any]


def human_duration(seconds: float) -> str:
    """119 -> "119s", 600 -> "10m", 90000 -> "25h": two units at most, the smaller one only while it matters."""
    whole = int(seconds)
    if whole < -1:
        return "<invalid>"
    if whole < 0:
        return "0s"
    if whole < 120:
        return f"{whole}s"
    minutes, hours = whole // 60, whole // 3600
    if minutes < 10:
        return _two(minutes, "m", whole % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    if hours < 192:
        return _two(hours // 24, "d", hours % 24, "h")
    days = hours // 24
    if days < 730:
        return f"{days}d"
    if days < 2920:
        return _two(days // 365, "y", days % 365, "d")
    return f"{days // 365}y"


def _two(big: int, big_unit: str, small: int, small_unit: str) -> str:
    return f"{big}{big_unit}{small}{small_unit}" if small else f"{big}{big_unit}"


def since(timestamp: str | None, now: float) -> str:
    return human_duration(now - parse_rfc3339(timestamp)) if timestamp else UNKNOWN


def name_cell(obj: Any, now: float) -> str:
    return meta.name(obj)


def age_cell(obj: Any, now: float) -> str:
    return since(obj.metadata.creation_timestamp, now)


def created_cell(obj: Any, now: float) -> str:
    return obj.metadata.creation_timestamp or ""


NAME = Column("Name", name_cell, format="name")
AGE = Column("Age", age_cell)
CREATED_AT = Column("Created At", created_cell, type="date")


def text(name: str, cell: Cell, *, wide: bool = False) -> Column:
    return Column(name, cell, priority=int(wide))


def integer(name: str, cell: Cell) -> Column:
    return Column(name, cell, type="integer")


def boolean(name: str, cell: Cell) -> Column:
    return Column(name, cell, type="boolean")


def label_text(labels: Mapping[str, str]) -> str:
    return ",".join(f"{key}={labels[key]}" for key in sorted(labels)) or NONE


def selector_text(selector: Any) -> str:
    """A LabelSelector as one string: a=b,c in (d,e),!f; <none> when it is absent or empty."""
    if selector is None:
        return NONE
    parts = [(key, f"{key}={value}") for key, value in selector.match_labels.items()]
    for expression in selector.match_expressions:
        parts.append((expression.key, _expression_text(expression)))
    return ",".join(part for _, part in sorted(parts)) or NONE


def _expression_text(expression: Any) -> str:
    values = ",".join(sorted(expression.values))
    match expression.operator:
        case "In":
            return f"{expression.key} in ({values})"
        case "NotIn":
            return f"{expression.key} notin ({values})"
        case "DoesNotExist":
            return f"!{expression.key}"
        case _:
            return str(expression.key)


def container_names(containers: Sequence[Any]) -> str:
    return ",".join(container.name or "" for container in containers)


def container_images(containers: Sequence[Any]) -> str:
    return ",".join(container.image or "" for container in containers)


def template_columns(template_of: Callable[[Any], Any]) -> tuple[Column, Column]:
    """Containers and Images of a pod template, shown with -o wide."""

    def spec_containers(obj: Any) -> Sequence[Any]:
        template = template_of(obj)
        return () if template is None or template.spec is None else template.spec.containers

    return (
        text(
            "Containers",
            lambda obj, now: container_names(spec_containers(obj)),
            wide=True,
        ),
        text(
            "Images",
            lambda obj, now: container_images(spec_containers(obj)),
            wide=True,
        ),
    )


def first_of(items: Sequence[str], count_max: int) -> str:
    """a,b,c + 2 more..."""
    if len(items) <= count_max:
        return ",".join(items)
    return f"{','.join(items[:count_max])} + {len(items) - count_max} more..."


def or_none(value: str | None) -> str:
    return value or NONE
