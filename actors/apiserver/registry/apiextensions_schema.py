"""Whether the schema of a CustomResourceDefinition is one that the API server can work with.

Follows the CustomResourceDefinition page: what OpenAPI v3 schemas may not hold, list and map types, and the rules that
make a schema structural. Schemas are plain dicts. CEL rules (x-kubernetes-validations) are not compiled here.
"""

import re
from collections.abc import Mapping
from typing import Any

from kubeloop.actors.api import codec
from kubeloop.actors.api.apiextensions_v1 import JSONSchemaProps
from kubeloop.actors.api.codec import to_builtins
from kubeloop.actors.api.errors import quoted
from kubeloop.actors.api.normalise import go_kind
from kubeloop.actors.apiserver import crd_schema, crd_validation
from kubeloop.actors.apiserver.crd_schema import EMBEDDED, INT_OR_STRING, PRESERVE, Schema
from kubeloop.actors.apiserver.registry.fields import Errors, forbidden, invalid, required, unsupported

TYPES = ("array", "boolean", "integer", "number", "object", "string")
LIST_TYPE, MAP_TYPE, LIST_KEYS = "x-kubernetes-list-type", "x-kubernetes-map-type", "x-kubernetes-list-map-keys"
META_FIELDS = ("metadata", "kind", "apiVersion")
_INT_OR_STRING = [{"type": "integer"}, {"type": "string"}]
_NOT_SUPPORTED = (
    ("id", "id is not supported"),
    ("additionalItems", "additionalItems is not supported"),
    ("patternProperties", "patternProperties is not supported"),
    ("definitions", "definitions is not supported"),
    ("dependencies", "dependencies is not supported"),
    ("$ref", "$ref is not supported"),
)
# what a schema within allOf, anyOf, oneOf and not may not say
_FORBIDDEN_WITHIN = (
    ("type", "must be empty to be structural"),
    ("title", "must be empty to be structural"),
    ("description", "must be empty to be structural"),
    ("default", "must be undefined to be structural"),
    ("additionalProperties", "must be undefined to be structural"),
    ("nullable", "must be false to be structural"),
    (PRESERVE, "must be false to be structural"),
    (EMBEDDED, "must be false to be structural"),
    (INT_OR_STRING, "must be false to be structural"),
    (LIST_TYPE, "must be undefined to be structural"),
    (LIST_KEYS, "must be empty to be structural"),
    (MAP_TYPE, "must be undefined to be structural"),
)
_AT_STATUS_ROOT = (
    "description",
    "type",
    "format",
    "title",
    "maximum",
    "exclusiveMaximum",
    "minimum",
    "exclusiveMinimum",
    "maxLength",
    "minLength",
    "pattern",
    "maxItems",
    "minItems",
    "uniqueItems",
    "multipleOf",
    "required",
    "items",
    "properties",
    "externalDocs",
    "example",
    PRESERVE,
    "x-kubernetes-validations",
)


def check_schema(errors: Errors, path: str, schema: Schema, *, has_status: bool) -> None:
    """Everything that is wrong with a root schema at `path`; `has_status`: the status subresource is enabled."""
    before = len(errors)
    if has_status:
        _check_status_root(errors, path, schema)
    if schema.get("nullable"):
        errors.append(forbidden(f"{path}.nullable", "nullable cannot be true at the root"))
    _check_openapi(errors, path, schema, root=True, inside_metadata=False)
    structural: Errors = []
    _check_structural(structural, path, schema, "root")
    errors.extend(structural)
    if not structural and len(errors) == before:
        _check_defaults(errors, path, schema, schema)


def _check_status_root(errors: Errors, path: str, schema: Schema) -> None:
    if schema.get("type") and schema["type"] != "object":
        detail = 'only "object" is allowed as the type at the root of the schema if the status subresource is enabled'
        errors.append(invalid(f"{path}.type", schema["type"], detail))
        return
    if any(schema[name] and name not in _AT_STATUS_ROOT for name in schema):
        shown = " ".join(name[:1].upper() + name[1:] for name in _AT_STATUS_ROOT if not name.startswith("x-"))
        detail = (
            f"only [{shown} XPreserveUnknownFields XValidations] fields are allowed at the root of the schema if the"
        )
        errors.append(invalid(path, dict(schema), f"{detail} status subresource is enabled"))


# what OpenAPI schemas may hold


def whole_schema(schema: Schema) -> dict[str, Any]:
    """A schema with the parts that the object model leaves as they are (items, additionalProperties ...) read as Go
    reads them: unknown fields are dropped, null is an empty schema. Raises DecodeError."""
    found = dict(schema)
    for name in ("properties", "patternProperties", "definitions"):
        if name in found:
            found[name] = {key: whole_schema(part) for key, part in found[name].items()}
    for name in ("allOf", "anyOf", "oneOf"):
        if name in found:
            found[name] = [whole_schema(part) for part in found[name]]
    if "not" in found:
        found["not"] = whole_schema(found["not"])
    if "dependencies" in found:
        found["dependencies"] = {
            key: list(part) if isinstance(part, list) else _read(part) for key, part in found["dependencies"].items()
        }
    for name in ("items", "additionalItems", "additionalProperties"):
        part = found.get(name)
        if isinstance(part, dict):
            found[name] = _read(part)
        elif name == "items" and isinstance(part, list):
            found[name] = [_read(one) for one in part]
        elif name == "items" or part is None:
            found.pop(name, None)
        elif not isinstance(part, bool):
            raise codec.DecodeError("boolean or JSON schema expected")
    return found


def _read(part: Any) -> dict[str, Any]:
    if part is None:
        return {}
    if not isinstance(part, dict):
        raise codec.DecodeError(f"json: cannot unmarshal {go_kind(part)} into Go value of type v1.JSONSchemaProps")
    return whole_schema(to_builtins(codec.decode_object(part, JSONSchemaProps).obj))


def _check_openapi(errors: Errors, path: str, schema: Schema, *, root: bool, inside_metadata: bool) -> None:
    _check_unsupported(errors, path, schema, inside_metadata)
    if schema.get("uniqueItems"):
        detail = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
        errors.append(forbidden(f"{path}.uniqueItems", detail))
    additional, properties = schema.get("additionalProperties"), schema.get("properties") or {}
    if additional is not None and properties:
        detail = "additionalProperties and properties are mutual exclusive"
        errors.append(forbidden(f"{path}.additionalProperties", detail))
    if isinstance(additional, dict):
        _check_openapi(errors, f"{path}.additionalProperties", additional, root=False, inside_metadata=inside_metadata)
    for name in sorted(properties):
        inside = inside_metadata or ((root or bool(schema.get(EMBEDDED))) and name in META_FIELDS)
        _check_openapi(errors, f"{path}.properties[{name}]", properties[name], root=False, inside_metadata=inside)
    if isinstance(schema.get("not"), dict):
        _check_openapi(errors, f"{path}.not", schema["not"], root=False, inside_metadata=inside_metadata)
    for name in ("allOf", "oneOf", "anyOf"):
        for index, part in enumerate(schema.get(name) or ()):
            _check_openapi(errors, f"{path}.{name}[{index}]", part, root=False, inside_metadata=inside_metadata)
    if isinstance(schema.get("items"), dict):
        _check_openapi(errors, f"{path}.items", schema["items"], root=False, inside_metadata=inside_metadata)
    if schema.get(PRESERVE) is False:
        errors.append(invalid(f"{path}.{PRESERVE}", False, "must be true or undefined"))
    _check_map_type(errors, path, schema)
    _check_list_type(errors, path, schema)


def _check_unsupported(errors: Errors, path: str, schema: Schema, inside_metadata: bool) -> None:
    type_ = schema.get("type")
    if type_ == "null":
        detail = "type cannot be set to null, use nullable as an alternative"
        errors.append(forbidden(f"{path}.type", detail))
    elif type_ and type_ not in TYPES:
        errors.append(unsupported(f"{path}.type", type_, TYPES))
    if "default" in schema and inside_metadata:
        errors.append(forbidden(f"{path}.default", "must not be specified in object metadata"))
    for name, detail in _NOT_SUPPORTED:
        if schema.get(name) not in (None, "", {}, []):
            errors.append(forbidden(f"{path}.{name}", detail))
    if isinstance(schema.get("items"), list):
        errors.append(forbidden(f"{path}.items", "items must be a schema object and not an array"))
    if inside_metadata and schema.get(EMBEDDED):
        errors.append(forbidden(f"{path}.{EMBEDDED}", "must not be used inside of resource meta"))
    pattern = schema.get("pattern")
    if pattern:
        try:
            re.compile(pattern)
        except re.error as error:
            detail = f"must be a valid regular expression, but isn't: error parsing regexp: {error.msg}: `{pattern}`"
            errors.append(invalid(f"{path}.pattern", pattern, detail))


def _check_map_type(errors: Errors, path: str, schema: Schema) -> None:
    map_type, type_ = schema.get(MAP_TYPE), schema.get("type")
    if map_type is None:
        return
    if type_ != "object":
        detail = f"must be object if {MAP_TYPE} is specified"
        errors.append(invalid(f"{path}.type", type_, detail) if type_ else required(f"{path}.type", detail))
    if map_type not in ("atomic", "granular"):
        errors.append(unsupported(f"{path}.{MAP_TYPE}", map_type, ("atomic", "granular")))


def _check_list_type(errors: Errors, path: str, schema: Schema) -> None:
    list_type, type_, items = schema.get(LIST_TYPE), schema.get("type"), schema.get("items")
    if list_type is not None and type_ != "array":
        detail = f"must be array if {LIST_TYPE} is specified"
        errors.append(invalid(f"{path}.type", type_, detail) if type_ else required(f"{path}.type", detail))
    elif list_type == "set" and isinstance(items, dict):
        detail = f"must be atomic as item of a list with {LIST_TYPE}=set"
        if items.get("type") == "array" and items.get(LIST_TYPE) not in (None, "atomic"):
            errors.append(invalid(f"{path}.items.{LIST_TYPE}", items[LIST_TYPE], detail))
        if items.get("type") == "object" and items.get(MAP_TYPE) != "atomic":
            errors.append(invalid(f"{path}.items.{MAP_TYPE}", items.get(MAP_TYPE), detail))
    if list_type is not None and list_type not in ("atomic", "set", "map"):
        errors.append(unsupported(f"{path}.{LIST_TYPE}", list_type, ("atomic", "set", "map")))
    if schema.get(LIST_KEYS) and list_type != "map":
        detail = f"must be map if {LIST_KEYS} is non-empty"
        where = f"{path}.{LIST_TYPE}"
        errors.append(required(where, detail) if list_type is None else invalid(where, list_type, detail))
    if list_type == "map":
        _check_map_list(errors, path, schema)
    if list_type in ("map", "set") and isinstance(items, dict) and items.get("nullable"):
        errors.append(forbidden(f"{path}.items.nullable", f"cannot be nullable when {LIST_TYPE} is {list_type}"))


def _check_map_list(errors: Errors, path: str, schema: Schema) -> None:
    keys, items = list(schema.get(LIST_KEYS) or ()), schema.get("items")
    if not keys:
        errors.append(required(f"{path}.{LIST_KEYS}", f"must not be empty if {LIST_TYPE} is map"))
    if items is None:
        errors.append(required(f"{path}.items", f"must have a schema if {LIST_TYPE} is map"))
        return
    if not isinstance(items, dict):
        detail = f"must only have a single schema if {LIST_TYPE} is map"
        errors.append(invalid(f"{path}.items", items, detail))
        return
    if items.get("type") != "object":
        detail = f"must be object if parent array's {LIST_TYPE} is map"
        errors.append(invalid(f"{path}.items.type", items.get("type") or "", detail))
        return
    properties = items.get("properties") or {}
    for index, key in enumerate(keys):
        if key not in properties:
            detail = "entries must all be names of item properties"
            errors.append(invalid(f"{path}.{LIST_KEYS}", keys, detail))
        elif properties[key].get("type") in ("array", "object"):
            detail = f"must be a scalar type if parent array's {LIST_TYPE} is map"
            errors.append(invalid(f"{path}.items.properties[{key}].type", "object", detail))
        if key in keys[:index]:
            errors.append(invalid(f"{path}.{LIST_KEYS}", keys, "must not contain duplicate entries"))
    for key in keys:
        part, where = properties.get(key) or {}, f"{path}.items.properties[{key}]"
        if "default" not in part and key not in (items.get("required") or ()):
            detail = f"this property is in {LIST_KEYS}, so it must have a default or be a required property"
            errors.append(required(f"{where}.default", detail))
        if part.get("nullable"):
            errors.append(forbidden(f"{where}.nullable", f"this property is in {LIST_KEYS}, so it cannot be nullable"))


# what makes a schema structural


_EMPTY_TYPE = {
    "root": "must not be empty at the root",
    "items": "must not be empty for specified array items",
    "field": "must not be empty for specified object fields",
}


def _check_structural(errors: Errors, path: str, schema: Schema, level: str) -> None:
    if isinstance(schema.get("items"), dict):
        _check_structural(errors, f"{path}.items", schema["items"], "items")
    properties = schema.get("properties") or {}
    for name in sorted(properties):
        _check_structural(errors, f"{path}.properties[{name}]", properties[name], "field")
    additional = schema.get("additionalProperties")
    if additional is not None and level == "root":
        errors.append(forbidden(f"{path}.additionalProperties", "must not be used at the root"))
    if isinstance(additional, dict):
        _check_structural(errors, f"{path}.additionalProperties", additional, "field")
    if schema.get(INT_OR_STRING):
        for name in (PRESERVE, EMBEDDED):
            if schema.get(name):
                errors.append(invalid(f"{path}.{name}", True, f"must be false if {INT_OR_STRING} is true"))
    _check_quantifiers(errors, path, schema, schema)
    _check_type(errors, path, schema, level)
    _check_metadata(errors, path, schema, level)


def _check_type(errors: Errors, path: str, schema: Schema, level: str) -> None:
    type_, embedded = schema.get("type"), bool(schema.get(EMBEDDED))
    if embedded and type_ != "object":
        detail = f"must be object if {EMBEDDED} is true"
        errors.append(invalid(f"{path}.type", type_, detail) if type_ else required(f"{path}.type", detail))
    elif not type_ and not schema.get(INT_OR_STRING) and not schema.get(PRESERVE):
        errors.append(required(f"{path}.type", _EMPTY_TYPE[level]))
    if embedded and schema.get("additionalProperties") is not None:
        errors.append(forbidden(f"{path}.additionalProperties", f"must not be used if {EMBEDDED} is set"))
    if level == "root" and type_ and type_ != "object":
        errors.append(invalid(f"{path}.type", type_, "must be object at the root"))
    if embedded and not schema.get(PRESERVE) and not schema.get("properties"):
        detail = f"must not be empty if {EMBEDDED} is true without {PRESERVE}"
        errors.append(required(f"{path}.properties", detail))


def _check_metadata(errors: Errors, path: str, schema: Schema, level: str) -> None:
    if level != "root" and not schema.get(EMBEDDED):
        return
    properties = schema.get("properties") or {}
    for name, wanted in (("kind", "string"), ("apiVersion", "string"), ("metadata", "object")):
        if name in properties and properties[name].get("type") != wanted:
            found = properties[name].get("type") or ""
            errors.append(invalid(f"{path}.properties[{name}].type", found, f"must be {wanted}"))
    metadata = properties.get("metadata")
    if metadata is None or level != "root":
        return
    named = set(metadata.get("properties") or ())
    others = {name for name, value in metadata.items() if value} - {"type", "properties", "default"}
    if others or (named and not named <= {"name", "generateName"}):
        detail = "must not specify anything other than name and generateName, but metadata is implicitly specified"
        errors.append(forbidden(f"{path}.properties[metadata]", detail))


def _check_quantifiers(errors: Errors, path: str, schema: Schema, outer: Schema) -> None:
    """allOf, anyOf, oneOf and not only restrict what is specified outside of them."""
    parts = [(f"{path}.{name}[{index}]", part) for name in ("allOf", "anyOf", "oneOf")
             for index, part in enumerate(schema.get(name) or ())]  # fmt: skip
    if isinstance(schema.get("not"), dict):
        parts.append((f"{path}.not", schema["not"]))
    for where, part in parts:
        if schema.get(INT_OR_STRING) and where.startswith(f"{path}.anyOf") and schema["anyOf"] == _INT_OR_STRING:
            continue
        if schema.get(INT_OR_STRING) and where == f"{path}.allOf[0]" and part.get("anyOf") == _INT_OR_STRING:
            continue
        _check_within(errors, where, part, outer)


def _check_within(errors: Errors, path: str, part: Schema, outer: Schema) -> None:
    for name, detail in _FORBIDDEN_WITHIN:
        if part.get(name) not in (None, "", False, [], {}):
            errors.append(forbidden(f"{path}.{name}", detail))
    _check_quantifiers(errors, path, part, outer)
    properties: Mapping[str, Any] = outer.get("properties") or {}
    for name, inner in (part.get("properties") or {}).items():
        if name not in properties and not isinstance(outer.get("additionalProperties"), dict):
            where = path.split(".allOf[")[0].split(".anyOf[")[0].split(".oneOf[")[0].removesuffix(".not")
            detail = f"because it is defined in {path}.properties[{name}]"
            errors.append(required(f"{where}.properties[{name}]", detail))
        _check_within(errors, f"{path}.properties[{name}]", inner, properties.get(name) or {})
    if isinstance(part.get("items"), dict):
        items = outer.get("items")
        _check_within(errors, f"{path}.items", part["items"], items if isinstance(items, dict) else {})


# defaults


def _check_defaults(errors: Errors, path: str, schema: Schema, root: Schema) -> None:
    """A default must be what the schema lets through."""
    if "default" in schema:
        value, where = schema["default"], f"{path}.default"
        pruned, dropped = crd_schema.prune_value(value, schema)
        if dropped:
            errors.append(invalid(where, value, f"must not have unknown fields: {', '.join(map(quoted, dropped))}"))
        for error in crd_validation.wrong(pruned, schema, ""):
            field = where if error.field in ("", "<nil>") else f"{where}.{error.field}"
            errors.append(type(error)(error.type, field, error.value, error.detail))
    for name in sorted(schema.get("properties") or {}):
        _check_defaults(errors, f"{path}.properties[{name}]", schema["properties"][name], root)
    for name in ("items", "additionalProperties"):
        if isinstance(schema.get(name), dict):
            _check_defaults(errors, f"{path}.{name}", schema[name], root)
