"""What `kubectl wait --for` and `Cluster.wait` understand, as a predicate over one object."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import kubeloop.actors.api.codec as codec

Predicate = Callable[[Any | None], bool]

PHASES = frozenset(
    ["Pending", "Running", "Succeeded", "Failed", "Active", "Terminating", "Bound", "Available", "Released"]
)
JSONPATH = re.compile(r"^jsonpath='?\{\.?(?P<path>[^}]*)\}'?(?:=(?P<value>.*))?$")


def predicate(condition: str | Callable[[Any], bool]) -> Predicate:
    """A predicate over the object as it is now (None: it is not there).

    `condition` is what `kubectl wait --for` takes: "create", "delete", "condition=TYPE[=STATUS]" or just
    "TYPE[=STATUS]" (types without regard to case, status default True), "jsonpath={.status.phase}=Running"; or a
    callable that gets the object.
    A phase ("Running") that is no condition of the object is compared with status.phase.
    Raises ValueError for a text that is none of these.
    """
    if callable(condition):
        return lambda obj: obj is not None and bool(condition(obj))
    if condition in ("create", "created", "exists"):
        return lambda obj: obj is not None
    if condition in ("delete", "deleted"):
        return lambda obj: obj is None
    if condition.startswith("jsonpath="):
        return _jsonpath(condition)
    wanted, _, status = condition.removeprefix("condition=").partition("=")
    if not re.fullmatch(r"[A-Za-z][\w./-]*", wanted):
        raise ValueError(
            f"condition {condition!r}: give create, delete, [condition=]TYPE[=STATUS], jsonpath={{.path}}=VALUE, "
            "or a callable"
        )
    return lambda obj: obj is not None and _holds(codec.to_builtins(obj), wanted, status or "True")


def _holds(document: dict[str, Any], wanted: str, status: str) -> bool:
    holder = document.get("status") or {}
    generation = document.get("metadata", {}).get("generation")
    observed = holder.get("observedGeneration")
    if generation is not None and observed is not None and observed < generation:
        return False
    for condition in holder.get("conditions") or ():
        if condition.get("type", "").lower() == wanted.lower():
            return bool(condition.get("status", "").lower() == status.lower())
    return bool(wanted in PHASES and status == "True" and holder.get("phase") == wanted)


def _jsonpath(condition: str) -> Predicate:
    found = JSONPATH.match(condition)
    if found is None:
        raise ValueError(f"condition {condition!r}: a jsonpath condition is written jsonpath={{.status.phase}}=Running")
    steps = [step for step in re.split(r"\.|\[|\]", found["path"]) if step]
    value = found["value"]

    def holds(obj: Any | None) -> bool:
        here: Any = None if obj is None else codec.to_builtins(obj)
        for step in steps:
            if isinstance(here, list) and step.isdigit() and int(step) < len(here):
                here = here[int(step)]
            elif isinstance(here, dict):
                here = here.get(step)
            else:
                return False
        if here is None:
            return False
        return value is None or _text(here) == value.strip("\"'")

    return holds


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def describe_status(obj: Any) -> str:
    """The status in a line, for a message."""
    status = codec.to_builtins(obj).get("status") or {}
    conditions = [f"{c.get('type')}={c.get('status')} ({c.get('reason', '')})" for c in status.get("conditions") or ()]
    rest = [f"{key}={value}" for key, value in status.items() if isinstance(value, str | int)]
    return ", ".join([*rest, *conditions]) or "empty"
