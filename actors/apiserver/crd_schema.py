"""Structural schemas of custom resources: pruning, defaulting and validation of an object given as builtins.

Follows the CustomResourceDefinition page ("Specifying a structural schema"). Schemas are OpenAPI v3 as plain dicts.
Rules in CEL (x-kubernetes-validations) are not evaluated here.
"""

import copy
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from kubeloop.actors.api.errors import FieldError
from kubeloop.actors.apiserver.registry import fields

Schema = Mapping[str, Any]
ROOT_FIELDS = ("apiVersion", "kind", "metadata")
PRESERVE = "x-kubernetes-preserve-unknown-fields"
EMBEDDED = "x-kubernetes-embedded-resource"
INT_OR_STRING = "x-kubernetes-int-or-string"
NO_SCHEMA: Schema = {}


def child(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


# pruning


def prune(value: Any, schema: Schema, path: str = "", *, root: bool = True) -> tuple[Any, list[str]]:
    """(`value` without the fields that the schema does not know, their paths)."""
    dropped: list[str] = []
    return _pruned(value, schema, path, root, dropped), dropped


def _pruned(value: Any, schema: Schema, path: str, root: bool, dropped: list[str]) -> Any:
    if isinstance(value, dict):
        known, additional = schema.get("properties", NO_SCHEMA), schema.get("additionalProperties")
        keep_all = bool(schema.get(PRESERVE))
        kept = {}
        for key, item in value.items():
            if (root or schema.get(EMBEDDED)) and key in ROOT_FIELDS:
                kept[key] = item
            elif key in known:
                kept[key] = _pruned(item, known[key], child(path, key), False, dropped)
            elif isinstance(additional, dict):
                kept[key] = _pruned(item, additional, child(path, key), False, dropped)
            elif additional is True or keep_all:
                kept[key] = item
            else:
                dropped.append(child(path, key))
        return kept
    if isinstance(value, list):
        items = schema.get("items", NO_SCHEMA)
        return [_pruned(item, items, f"{path}[{index}]", False, dropped) for index, item in enumerate(value)]
    return value


# defaulting


def default(value: Any, schema: Schema) -> Any:
    """`value` with the schema's defaults for what is absent (or null where null is not allowed)."""
    if isinstance(value, dict):
        found = dict(value)
        properties = schema.get("properties", NO_SCHEMA)
        for key, part in properties.items():
            if "default" in part and (key not in found or (found[key] is None and not part.get("nullable"))):
                found[key] = copy.deepcopy(part["default"])
            elif key in found and found[key] is None and not part.get("nullable"):
                del found[key]
            if key in found:
                found[key] = default(found[key], part)
        additional = schema.get("additionalProperties")
        if isinstance(additional, dict):
            for key in found:
                if key not in properties:
                    found[key] = default(found[key], additional)
        return found
    if isinstance(value, list):
        items = schema.get("items", NO_SCHEMA)
        return [default(item, items) for item in value]
    return value


# validation


def validate(value: Any, schema: Schema, path: str = "") -> list[FieldError]:
    """Field errors in the schema's order, worded as the API words them."""
    errors: list[FieldError] = []
    _check(errors, value, schema, path)
    return errors


def _check(errors: list[FieldError], value: Any, schema: Schema, path: str) -> None:
    if value is None and schema.get("nullable"):
        return
    if not _check_type(errors, value, schema, path):
        return
    if "enum" in schema and value not in schema["enum"]:
        supported = [str(one) for one in schema["enum"]]
        errors.append(fields.unsupported(path, value, supported))
    if isinstance(value, str):
        _check_string(errors, value, schema, path)
    elif isinstance(value, bool):
        pass
    elif isinstance(value, int | float):
        _check_number(errors, value, schema, path)
    elif isinstance(value, list):
        _check_list(errors, value, schema, path)
    elif isinstance(value, dict):
        _check_object(errors, value, schema, path)
    _check_logic(errors, value, schema, path)


def type_of(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


def _check_type(errors: list[FieldError], value: Any, schema: Schema, path: str) -> bool:
    wanted = schema.get("type")
    found = type_of(value)
    if schema.get(INT_OR_STRING):
        if found not in ("integer", "string"):
            errors.append(_wrong_type(path, "integer,string", found))
            return False
        return True
    if not wanted or found == wanted or (wanted == "number" and found == "integer"):
        return True
    if wanted == "integer" and isinstance(value, float) and value.is_integer():
        return True
    errors.append(_wrong_type(path, wanted, found))
    return False


def _wrong_type(path: str, wanted: str, found: str) -> FieldError:
    where = path or "<nil>"
    detail = f'{path} in body must be of type {wanted}: "{found}"'
    return FieldError("FieldValueTypeInvalid", where, found, detail)


@lru_cache(1024)
def _pattern(text: str) -> re.Pattern[str] | None:
    try:
        return re.compile(text)
    except re.error:
        return None


def _check_string(errors: list[FieldError], value: str, schema: Schema, path: str) -> None:
    low, high, pattern = schema.get("minLength"), schema.get("maxLength"), schema.get("pattern")
    if high is not None and len(value) > high:
        detail = f"may not be more than {high} bytes"
        errors.append(FieldError("FieldValueTooLong", path, "", detail))
    if low is not None and len(value) < low:
        errors.append(fields.invalid(path, value, f"{path} in body should be at least {low} chars long"))
    if pattern:
        found = _pattern(pattern)
        if found is not None and not found.search(value):
            errors.append(fields.invalid(path, value, f"{path} in body should match '{pattern}'"))


def _check_number(errors: list[FieldError], value: float, schema: Schema, path: str) -> None:
    low, high, step = schema.get("minimum"), schema.get("maximum"), schema.get("multipleOf")
    if high is not None:
        if schema.get("exclusiveMaximum") and value >= high:
            errors.append(fields.invalid(path, value, f"{path} in body should be less than {high}"))
        elif value > high:
            errors.append(fields.invalid(path, value, f"{path} in body should be less than or equal to {high}"))
    if low is not None:
        if schema.get("exclusiveMinimum") and value <= low:
            errors.append(fields.invalid(path, value, f"{path} in body should be greater than {low}"))
        elif value < low:
            errors.append(fields.invalid(path, value, f"{path} in body should be greater than or equal to {low}"))
    if step and value % step:
        errors.append(fields.invalid(path, value, f"{path} in body should be a multiple of {step}"))


def _check_list(errors: list[FieldError], value: list[Any], schema: Schema, path: str) -> None:
    low, high = schema.get("minItems"), schema.get("maxItems")
    if high is not None and len(value) > high:
        errors.append(fields.too_many(path, len(value), high))
    if low is not None and len(value) < low:
        errors.append(fields.invalid(path, len(value), f"{path} in body should have at least {low} items"))
    items = schema.get("items")
    if items:
        for index, item in enumerate(value):
            _check(errors, item, items, f"{path}[{index}]")
    list_type = schema.get("x-kubernetes-list-type")
    if list_type in ("set", "map") or schema.get("uniqueItems"):
        _check_unique(errors, value, schema, path, list_type == "map")


def _check_unique(errors: list[FieldError], value: list[Any], schema: Schema, path: str, keyed: bool) -> None:
    keys: Sequence[str] = schema.get("x-kubernetes-list-map-keys", ())
    seen: list[Any] = []
    for index, item in enumerate(value):
        shown = {key: item.get(key) for key in keys if key in item} if keyed and isinstance(item, dict) else item
        if shown in seen:
            errors.append(fields.duplicate(f"{path}[{index}]", shown))
        else:
            seen.append(shown)


def _check_object(errors: list[FieldError], value: dict[str, Any], schema: Schema, path: str) -> None:
    for name in schema.get("required", ()):
        if name not in value:
            errors.append(fields.required(child(path, name)))
    low, high = schema.get("minProperties"), schema.get("maxProperties")
    if high is not None and len(value) > high:
        errors.append(fields.too_many(path, len(value), high))
    if low is not None and len(value) < low:
        errors.append(fields.invalid(path, len(value), f"{path} in body should have at least {low} properties"))
    properties, additional = schema.get("properties", NO_SCHEMA), schema.get("additionalProperties")
    for name, item in value.items():
        part = properties.get(name)
        if part is None and isinstance(additional, dict):
            part = additional
        if part is not None and not (not path and name in ROOT_FIELDS):
            _check(errors, item, part, child(path, name))


def _check_logic(errors: list[FieldError], value: Any, schema: Schema, path: str) -> None:
    for part in schema.get("allOf", ()):
        _check(errors, value, part, path)
    any_of = () if schema.get(INT_OR_STRING) else schema.get("anyOf", ())
    if any_of and all(validate(value, part, path) for part in any_of):
        errors.append(fields.invalid(path, value, f'"{path}" must validate at least one schema (anyOf)'))
    if "oneOf" in schema:
        hits = sum(not validate(value, part, path) for part in schema["oneOf"])
        if hits != 1:
            found = "Found none valid" if not hits else f"Found {hits} valid alternatives"
            errors.append(
                fields.invalid(path, value, f'"{path}" must validate one and only one schema (oneOf). {found}')
            )
    if "not" in schema and not validate(value, schema["not"], path):
        errors.append(fields.invalid(path, value, f'"{path}" must not validate the schema (not)'))
