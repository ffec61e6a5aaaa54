"""What a list, watch or deletecollection selects: a scope (namespace, key, indexed value) and a predicate."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from kubeloop.actors.api import meta, selectors
from kubeloop.actors.api.errors import StatusError, bad_request
from kubeloop.actors.apiserver.call import Route
from kubeloop.actors.apiserver.options import ListOptions
from kubeloop.actors.apiserver.registry.kind import Kind

GENERIC_FIELDS: Mapping[str, Callable[[Any], str]] = {"metadata.name": meta.name, "metadata.namespace": meta.namespace}


class Selection(msgspec.Struct, frozen=True):
    """`matches` None: everything in scope. `key`: one object only; `index_value`: one value of the indexed field.

    `selective`: a selector was given, so counts of keys are not counts of matches.
    """

    namespace: str = ""
    key: str = ""
    index_value: str | None = None
    matches: Callable[[Any], bool] | None = None
    selective: bool = False


def selection(route: Route, namespace: str, options: ListOptions) -> Selection:
    """Raises 400 for selectors that cannot be parsed, and for fields that the resource cannot select by."""
    if not options.label_selector and not options.field_selector:
        return Selection(namespace)
    assert route.store is not None
    kind, index_field = route.own_kind, route.store.cache.index_field  # its getters read the stored object
    labels = parse(selectors.parse_label_selector, options.label_selector)
    fields = parse(selectors.parse_field_selector, options.field_selector)
    checks: list[Callable[[Any], bool]] = []
    key, index_value = "", None
    for requirement in fields or ():
        getter = getter_of(kind, requirement.field)
        if requirement.operator == "=":
            if requirement.field == "metadata.name" and (namespace or not kind.resource.namespaced):
                key = f"{namespace}/{requirement.value}" if kind.resource.namespaced else requirement.value
            elif requirement.field == index_field:
                index_value = requirement.value
        checks.append(field_check(getter, requirement.operator, requirement.value))
    if labels is not None and not labels.empty:
        checks.append(lambda entry: labels.matches(meta.labels(entry.object)))
    if namespace and index_value is not None:
        checks.append(lambda entry: bool(entry.namespace == namespace))
    return Selection(namespace, key, index_value, conjunction(checks), True)


def parse(function: Callable[[str], Any], text: str) -> Any:
    if not text:
        return None
    try:
        return function(text)
    except StatusError:
        raise
    except ValueError as error:
        raise bad_request(str(error)) from None


def getter_of(kind: Kind, field: str) -> Callable[[Any], str]:
    own = kind.resource
    getter = kind.selectable_fields.get(field) or GENERIC_FIELDS.get(field)
    if own.type_path is None and field == "metadata.namespace" and not own.namespaced:
        getter = None
    if getter is not None:
        return getter
    if own.type_path is None:
        raise bad_request(f"field label not supported: {field}")
    if not kind.selectable_fields or own.group == "apps":
        raise bad_request(f'"{field}" is not a known field selector: only "metadata.name", "metadata.namespace"')
    if own.group == "batch":
        raise bad_request(f'field label "{field}" not supported for {own.kind}')
    raise bad_request(f"field label not supported: {field}")


def field_check(getter: Callable[[Any], str], operator: str, value: str) -> Callable[[Any], bool]:
    if operator == "!=":
        return lambda entry: bool(getter(entry.object) != value)
    return lambda entry: bool(getter(entry.object) == value)


def conjunction(checks: list[Callable[[Any], bool]]) -> Callable[[Any], bool] | None:
    if not checks:
        return None
    if len(checks) == 1:
        return checks[0]
    return lambda entry: all(check(entry) for check in checks)
