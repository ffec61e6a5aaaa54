"""Structural schemas of custom resources: pruning and defaulting of an object given as builtins.

Follows the CustomResourceDefinition page ("Specifying a structural schema"). Schemas are OpenAPI v3 as plain dicts.
"""

import copy
from collections.abc import Mapping
from typing import Any

from kubeloop.actors.api import codec
from kubeloop.actors.api.errors import FieldError
from kubeloop.actors.api.meta_v1 import ObjectMeta
from kubeloop.actors.api.normalise import go_kind
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


def prune(value: Any, schema: Schema) -> tuple[Any, list[str]]:
    """(`value` without the fields that the schema does not know, their paths).

    Raises WrongEmbedded for an embedded object that says what it is in no text, or has metadata that are none, and
    DecodeError where its own metadata are none.
    """
    dropped: list[str] = []
    return _pruned(value, schema, "", True, dropped), dropped


def read_metadata(value: Any, dropped: list[str]) -> Any:
    """Metadata as every kind has them; what is unknown in them is dropped. Raises DecodeError."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise codec.DecodeError(f"json: cannot unmarshal {go_kind(value)} into Go value of type v1.ObjectMeta")
    found = codec.decode_object(value, ObjectMeta)
    dropped.extend(f"metadata.{name}" for name in found.unknown)
    return codec.to_builtins(found.obj)


def prune_value(value: Any, schema: Schema) -> tuple[Any, list[str]]:
    """The same of a value within an object."""
    dropped: list[str] = []
    return _pruned(value, schema, "", False, dropped), dropped


class WrongEmbedded(ValueError):
    """An embedded object that cannot be read; the message is a field error."""

    def __init__(self, error: FieldError) -> None:
        super().__init__(f"{error.field}: {error.body}")


def _pruned(value: Any, schema: Schema, path: str, root: bool, dropped: list[str]) -> Any:
    if isinstance(value, dict):
        known, additional = schema.get("properties", NO_SCHEMA), schema.get("additionalProperties")
        keep_all, embedded = bool(schema.get(PRESERVE)), bool(schema.get(EMBEDDED)) and not root
        kept = {}
        for key, item in value.items():
            if embedded and key in ROOT_FIELDS:
                kept[key] = _embedded(key, item, child(path, key), dropped)
            elif root and key in ROOT_FIELDS:
                kept[key] = read_metadata(item, dropped) if key == "metadata" else item
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


def _embedded(key: str, value: Any, path: str, dropped: list[str]) -> Any:
    """apiVersion, kind or metadata of an embedded object."""
    if key != "metadata":
        if not isinstance(value, str):
            raise WrongEmbedded(fields.invalid(path, value, "must be a string"))
        return value
    try:
        found = codec.decode_object(value, ObjectMeta)
    except (codec.DecodeError, AttributeError, TypeError) as error:
        raise WrongEmbedded(fields.invalid(path, value, str(error))) from None
    dropped.extend(f"{path}.{name}" for name in found.unknown)
    return codec.to_builtins(found.obj)


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
