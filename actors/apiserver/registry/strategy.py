"""What strategies of many kinds share: who owns status, which parts of an object an endpoint may change."""

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from kubeloop.actors.apiserver.registry.kind import StrategyContext

Prepare = Callable[[Any, StrategyContext], Any]
PrepareUpdate = Callable[[Any, Any, StrategyContext], Any]


def status_reset(status: Any) -> Prepare:
    """On create: whatever status the client sent is dropped for `status`."""

    def prepare(obj: Any, context: StrategyContext) -> Any:
        return obj if obj.status is status else replace(obj, status=status)

    return prepare


def keep_status(new: Any, old: Any, context: StrategyContext) -> Any:
    """On update: status is the status subresource's."""
    return new if new.status is old.status else replace(new, status=old.status)


def only_status(new: Any, old: Any, context: StrategyContext) -> Any:
    """On a status update: everything but status (and what metadata may change) stays."""
    return new if new.spec is old.spec else replace(new, spec=old.spec)


def only_status_and_old_labels(new: Any, old: Any, context: StrategyContext) -> Any:
    return replace(new, spec=old.spec, metadata=replace(new.metadata, labels=old.metadata.labels))


def text_of(value: Any) -> str:
    """A field's value for field selectors."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def field(path: str) -> Callable[[Any], str]:
    """A getter along snake_case attributes: field("spec.node_name"). Absent parts read as ""."""
    parts = path.split(".")

    def get(obj: Any) -> str:
        for part in parts:
            obj = getattr(obj, part)
            if obj is None:
                return ""
        return text_of(obj)

    return get


def flag(path: str) -> Callable[[Any], str]:
    """The same for booleans: absent reads as "false"."""
    get = field(path)
    return lambda obj: get(obj) or "false"


def number(path: str) -> Callable[[Any], str]:
    """The same for integers: absent reads as "0"."""
    get = field(path)
    return lambda obj: get(obj) or "0"
