"""Whether a configuration to apply fits a custom resource's schema, in the words of server-side apply's typed objects.

Stricter than what a create or update has to pass: a field that the schema does not know is refused, not dropped.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from kubeloop.actors.apiserver.crd_schema import EMBEDDED, INT_OR_STRING, NO_SCHEMA, PRESERVE, ROOT_FIELDS, Schema

LIST_KEYS = "x-kubernetes-list-map-keys"


def problems(configuration: Mapping[str, Any], schema: Schema) -> list[str]:
    found: list[str] = []
    known = schema.get("properties", NO_SCHEMA)
    for name, value in configuration.items():
        if name in ROOT_FIELDS:
            continue
        if name in known:
            found.extend(_wrong(value, known[name], f".{name}"))
        elif not schema.get(PRESERVE):
            found.append(f".{name}: field not declared in schema")
    return found


def _wrong(value: Any, schema: Schema, path: str) -> Iterator[str]:
    type_ = schema.get("type")
    if value is None or schema.get(INT_OR_STRING):
        return
    if type_ == "object":
        if isinstance(value, dict):
            yield from _wrong_fields(value, schema, path)
        else:
            yield f"{path}: expected map, got &{{{_go(value)}}}"
    elif type_ == "array":
        if isinstance(value, list):
            yield from _wrong_items(value, schema, path)
        else:
            yield f"{path}: expected list, got &{{{_go(value)}}}"
    elif type_ == "string" and not isinstance(value, str):
        yield f"{path}: expected string, got &value.valueUnstructured{{Value:{_go_syntax(value)}}}"
    elif type_ == "boolean" and not isinstance(value, bool):
        yield f"{path}: expected boolean, got &{{{_go(value)}}}"
    elif type_ in ("integer", "number") and (isinstance(value, bool) or not isinstance(value, int | float)):
        yield f"{path}: expected numeric (int or float), got {_go_type(value)}"


def _wrong_fields(value: Mapping[str, Any], schema: Schema, path: str) -> Iterator[str]:
    known, additional = schema.get("properties", NO_SCHEMA), schema.get("additionalProperties")
    if not known and additional is None:
        return  # an object of which nothing is said: all of it is deduced
    for name, inner in value.items():
        if schema.get(EMBEDDED) and name in ROOT_FIELDS:
            continue
        if name in known:
            yield from _wrong(inner, known[name], f"{path}.{name}")
        elif isinstance(additional, dict):
            yield from _wrong(inner, additional, f"{path}.{name}")
        elif not (additional or schema.get(PRESERVE)):
            yield f"{path}.{name}: field not declared in schema"


def _wrong_items(values: list[Any], schema: Schema, path: str) -> Iterator[str]:
    items = schema.get("items", NO_SCHEMA)
    keys = schema.get(LIST_KEYS) or () if schema.get("x-kubernetes-list-type") == "map" else ()
    for index, value in enumerate(values):
        if not keys:
            yield from _wrong(value, items, f"{path}[{index}]")
            continue
        if not isinstance(value, dict):
            yield f"{path}: element {index}: associative list with keys may not have non-map elements"
            continue
        properties = items.get("properties", NO_SCHEMA)
        absent = [key for key in keys if key not in value and "default" not in properties.get(key, NO_SCHEMA)]
        if absent:
            text = f'associative list with keys has an element that omits key field "{absent[0]}"'
            yield f"{path}: element {index}: {text} (and doesn't have default value)"
            continue
        shown = ",".join(f"{key}={msgspec.json.encode(value.get(key)).decode()}" for key in keys)
        yield from _wrong(value, items, f"{path}[{shown}]")


def _go(value: Any) -> str:
    """A value as Go's %v shows it."""
    if isinstance(value, dict):
        return f"map[{' '.join(f'{key}:{_go(value[key])}' for key in sorted(value))}]"
    if isinstance(value, list):
        return f"[{' '.join(_go(one) for one in value)}]"
    return "<nil>" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _go_syntax(value: Any) -> str:
    """A value as Go's %#v shows it."""
    if isinstance(value, dict):
        inner = ", ".join(f"{_go_syntax(key)}:{_go_syntax(value[key])}" for key in sorted(value))
        return f"map[string]interface {{}}{{{inner}}}"
    if isinstance(value, list):
        return f"[]interface {{}}{{{', '.join(_go_syntax(one) for one in value)}}}"
    if isinstance(value, str):
        return msgspec.json.encode(value).decode()
    return "interface {}(nil)" if value is None else _go(value)


def _go_type(value: Any) -> str:
    if isinstance(value, dict):
        return "map[string]interface {}"
    if isinstance(value, list):
        return "[]interface {}"
    return "bool" if isinstance(value, bool) else "string"
