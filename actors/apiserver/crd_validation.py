"""Validation of custom resources by their schemas, worded as the API words it.

Follows the CustomResourceDefinition page ("Validation", "Validation ratcheting"): what an update leaves as it was is
not looked at again. Schemas are OpenAPI v3 as plain dicts. CEL rules (x-kubernetes-validations) are not evaluated here.
"""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import msgspec

from kubeloop.actors.api import codec
from kubeloop.actors.api.errors import FieldError, quoted
from kubeloop.actors.api.meta_v1 import ObjectMeta
from kubeloop.actors.apiserver import crd_formats, metadata
from kubeloop.actors.apiserver.crd_schema import EMBEDDED, INT_OR_STRING, NO_SCHEMA, ROOT_FIELDS, Schema, child
from kubeloop.actors.apiserver.registry import fields, names

UNKNOWN: Any = object()  # there is no old value to compare with
INT32_MAX = 2147483647


def validate(value: Any, schema: Schema, scale: Mapping[str, Any], old: Any = UNKNOWN) -> list[FieldError]:
    """Everything that is wrong with a whole object. `scale`: the paths of its scale subresource."""
    errors: list[FieldError] = []
    _check(errors, value, schema, "", old)
    _check_scale(errors, value, scale)
    _check_embedded(errors, value, schema, "", True)
    duplicates = list_errors(value, schema)
    if duplicates and (old is UNKNOWN or not list_errors(old, schema)):
        errors.extend(duplicates)
    return errors


def _check(errors: list[FieldError], value: Any, schema: Schema, path: str, old: Any = UNKNOWN) -> None:
    if old is not UNKNOWN and type(old) is type(value) and old == value:
        return
    if value is None and schema.get("nullable"):
        return
    if not _check_type(errors, value, schema, path):
        return
    _check_logic(errors, value, schema, path)
    if isinstance(value, str):
        _check_string(errors, value, schema, path)
    elif isinstance(value, bool):
        pass
    elif isinstance(value, int | float):
        _check_number(errors, value, schema, path)
    elif isinstance(value, list):
        _check_list(errors, value, schema, path, old)
    if "enum" in schema and not any(one == value and type(one) is type(value) for one in schema["enum"]):
        supported = [one if isinstance(one, str) else msgspec.json.encode(one).decode() for one in schema["enum"]]
        errors.append(fields.unsupported(path, value, supported))
    if isinstance(value, dict):
        _check_object(errors, value, schema, path, old)


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
    """The first rule that it breaks."""
    low, high, pattern = schema.get("minLength"), schema.get("maxLength"), schema.get("pattern")
    found = _pattern(pattern) if pattern else None
    if high is not None and len(value) > high:
        errors.append(FieldError("FieldValueTooLong", path, "", f"may not be more than {high} bytes"))
    elif low is not None and len(value) < low:
        errors.append(fields.invalid(path, value, f"{path} in body should be at least {low} chars long"))
    elif found is not None and not found.search(value):
        errors.append(fields.invalid(path, value, f"{path} in body should match '{pattern}'"))
    format_ = schema.get("format")
    if format_ and not crd_formats.matches(format_, value):
        detail = f"{path} in body must be of type {format_}: {quoted(value)}"
        errors.append(FieldError("FieldValueTypeInvalid", path, value, detail))


def _check_number(errors: list[FieldError], value: float, schema: Schema, path: str) -> None:
    low, high, step = schema.get("minimum"), schema.get("maximum"), schema.get("multipleOf")
    if step and value % step:
        errors.append(fields.invalid(path, value, f"{path} in body should be a multiple of {shown(step)}"))
    if high is not None:
        exclusive = bool(schema.get("exclusiveMaximum"))
        if value > high or (exclusive and value == high):
            words = "less than" if exclusive else "less than or equal to"
            errors.append(fields.invalid(path, value, f"{path} in body should be {words} {shown(high)}"))
    if low is not None:
        exclusive = bool(schema.get("exclusiveMinimum"))
        if value < low or (exclusive and value == low):
            words = "greater than" if exclusive else "greater than or equal to"
            errors.append(fields.invalid(path, value, f"{path} in body should be {words} {shown(low)}"))


def shown(number: float) -> str:
    return str(int(number)) if float(number).is_integer() else str(number)


def _check_list(errors: list[FieldError], value: list[Any], schema: Schema, path: str, old: Any) -> None:
    items = schema.get("items")
    if items:
        before = _by_key(old, schema)
        for index, item in enumerate(value):
            _check(errors, item, items, f"{path}[{index}]", before.get(_key(item, schema), UNKNOWN))
    low, high = schema.get("minItems"), schema.get("maxItems")
    if low is not None and len(value) < low:
        errors.append(fields.invalid(path, len(value), f"{path} in body should have at least {low} items"))
    if high is not None and len(value) > high:
        errors.append(fields.too_many(path, len(value), high))
    if schema.get("uniqueItems") and any(item in value[:index] for index, item in enumerate(value)):
        errors.append(fields.invalid(path, "", f"{path} in body shouldn't contain duplicates"))


def _key(item: Any, schema: Schema) -> str | None:
    """What tells items of a list of type map apart; None where they cannot be compared with those of an older list."""
    if schema.get("x-kubernetes-list-type") != "map" or not isinstance(item, dict):
        return None
    return repr([item.get(key) for key in schema.get("x-kubernetes-list-map-keys", ())])


def _by_key(old: Any, schema: Schema) -> dict[str | None, Any]:
    if not isinstance(old, list):
        return {}
    found = {_key(item, schema): item for item in old}
    found.pop(None, None)
    return found


def _check_object(errors: list[FieldError], value: dict[str, Any], schema: Schema, path: str, old: Any) -> None:
    low, high = schema.get("minProperties"), schema.get("maxProperties")
    if low is not None and len(value) < low:
        errors.append(fields.invalid(path, len(value), f"{path} in body should have at least {low} properties"))
    if high is not None and len(value) > high:
        errors.append(fields.too_many(path, len(value), high))
    properties, additional = schema.get("properties", NO_SCHEMA), schema.get("additionalProperties")
    for name, item in value.items():
        part = properties.get(name)
        if part is None and isinstance(additional, dict):
            part = additional
        if part is not None and not (not path and name in ROOT_FIELDS):
            before = old.get(name, UNKNOWN) if isinstance(old, dict) else UNKNOWN
            _check(errors, item, part, child(path, name), before)
    for name in schema.get("required", ()):
        if name not in value:
            errors.append(fields.required(child(path, name)))


def wrong(value: Any, schema: Schema, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    _check(errors, value, schema, path)
    return errors


def _check_logic(errors: list[FieldError], value: Any, schema: Schema, path: str) -> None:
    """allOf, anyOf, oneOf and not; of alternatives that all fail, what the nearest of them says is told too."""
    parts = schema.get("allOf", ())
    failed = 0
    for part in parts:
        found = wrong(value, part, path)
        errors.extend(found)
        failed += bool(found)
    if failed:
        none = ". None validated" if failed == len(parts) else ""
        errors.append(_composite(f"{quoted(path)} must validate all the schemas (allOf){none}"))
    any_of = () if schema.get(INT_OR_STRING) else schema.get("anyOf", ())
    failures = [wrong(value, part, path) for part in any_of]
    if failures and all(failures):
        errors.append(_composite(f"{quoted(path)} must validate at least one schema (anyOf)"))
        errors.extend(sorted(failures, key=len)[0])
    if "oneOf" in schema:
        failures = [wrong(value, part, path) for part in schema["oneOf"]]
        hits = sum(not failure for failure in failures)
        if hits != 1:
            found_text = "Found none valid" if not hits else f"Found {hits} valid alternatives"
            text = f"{quoted(path)} must validate one and only one schema (oneOf). {found_text}"
            errors.append(_composite(text))
            if not hits:
                errors.extend(sorted(failures, key=len)[0])
    if "not" in schema and not wrong(value, schema["not"], path):
        errors.append(_composite(f"{quoted(path)} must not validate the schema (not)"))


def _composite(text: str) -> FieldError:
    """An error of several schemas together belongs to no field."""
    return fields.invalid("<nil>", "", text)


# beside the schema


def _check_scale(errors: list[FieldError], value: Any, scale: Mapping[str, Any]) -> None:
    """What the scale subresource reads must be numbers, and a text."""
    for name in ("specReplicas", "statusReplicas"):
        path = scale.get(name)
        if not isinstance(path, str):
            continue
        found = _at(value, path)
        if found is None:
            continue
        if type(found) is not int:
            detail = f"{path} accessor error: {found} is of the type {go_type(found)}, expected int64"
            errors.append(fields.invalid(path, 0, detail))
        elif found < 0:
            errors.append(fields.invalid(path, found, "should be a non-negative integer"))
        elif found > INT32_MAX:
            errors.append(fields.invalid(path, found, f"should be less than or equal to {INT32_MAX}"))


def _at(value: Any, path: str) -> Any:
    for part in path.strip(".").split("."):
        if not isinstance(value, dict):
            return None
        value = value.get(part)
    return value


def go_type(value: Any) -> str:
    if isinstance(value, dict):
        return "map[string]interface {}"
    if isinstance(value, list):
        return "[]interface {}"
    return {str: "string", bool: "bool", float: "float64", int: "int64"}.get(type(value), "nil")


def list_errors(value: Any, schema: Schema, path: str = "") -> list[FieldError]:
    """Items of lists of type set and map that are there twice."""
    errors: list[FieldError] = []
    _check_lists(errors, value, schema, path)
    return errors


def _check_lists(errors: list[FieldError], value: Any, schema: Schema, path: str) -> None:
    if isinstance(value, list):
        list_type = schema.get("x-kubernetes-list-type")
        if list_type in ("set", "map"):
            _check_unique(errors, value, schema, path, list_type == "map")
        items = schema.get("items")
        if items:
            for index, item in enumerate(value):
                _check_lists(errors, item, items, f"{path}[{index}]")
    elif isinstance(value, dict):
        properties, additional = schema.get("properties", NO_SCHEMA), schema.get("additionalProperties")
        for name, item in value.items():
            if name in properties:
                _check_lists(errors, item, properties[name], child(path, name))
            elif isinstance(additional, dict):
                _check_lists(errors, item, additional, f"{path}[{name}]")


def _check_unique(errors: list[FieldError], value: list[Any], schema: Schema, path: str, keyed: bool) -> None:
    keys: Sequence[str] = schema.get("x-kubernetes-list-map-keys", ())
    seen: list[Any] = []
    told: list[Any] = []
    for index, item in enumerate(value):
        shown_item = {key: item.get(key) for key in keys if key in item} if keyed and isinstance(item, dict) else item
        if shown_item not in seen:
            seen.append(shown_item)
        elif shown_item not in told:
            told.append(shown_item)
            errors.append(fields.duplicate(f"{path}[{index}]", shown_item))


def _check_embedded(errors: list[FieldError], value: Any, schema: Schema, path: str, root: bool) -> None:
    """Embedded objects say what they are, and their metadata are right."""
    if isinstance(value, list):
        items = schema.get("items")
        if items:
            for index, item in enumerate(value):
                _check_embedded(errors, item, items, f"{path}[{index}]", False)
    elif isinstance(value, dict):
        if schema.get(EMBEDDED) and not root:
            _check_embedded_object(errors, value, path)
        properties, additional = schema.get("properties", NO_SCHEMA), schema.get("additionalProperties")
        for name, item in value.items():
            if name in properties:
                _check_embedded(errors, item, properties[name], child(path, name), False)
            elif isinstance(additional, dict):
                _check_embedded(errors, item, additional, f"{path}[{name}]", False)


def _check_embedded_object(errors: list[FieldError], value: dict[str, Any], path: str) -> None:
    for name in ("apiVersion", "kind"):
        if not value.get(name):
            errors.append(fields.required(child(path, name)))
    api_version, kind = value.get("apiVersion") or "", value.get("kind") or ""
    if api_version.count("/") > 1:
        detail = f"unexpected GroupVersion string: {api_version}"
        errors.append(fields.invalid(child(path, "apiVersion"), api_version, detail))
    messages = names.dns_1035_label(kind.lower()) if kind else ()
    if messages:
        detail = "may have mixed case, but should otherwise match: " + ",".join(messages)
        errors.append(fields.invalid(child(path, "kind"), kind, detail))
    if "metadata" in value:
        found = codec.convert(value["metadata"] or {}, ObjectMeta)
        named = found if found.name else msgspec.structs.replace(found, name="fakename")
        for error in metadata.check(named, namespaced=bool(found.namespace), name_rule="path_segment"):
            errors.append(msgspec.structs.replace(error, field=child(path, error.field)))
