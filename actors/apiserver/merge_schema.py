"""What patches must know of a type: its fields, which lists are maps or sets, what is replaced as a whole.

Built lazily from the generated model's `__merge__`, `__required__` and `__atomic__`, or from a custom resource's
OpenAPI schema. Where nothing is declared, `DEDUCED` holds: maps are merged, lists replaced.
"""

import types
import typing
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, Final

import msgspec

ASSOCIATIVE = ("set", "map")
KEY_DEFAULTS: Mapping[str, Any] = {"protocol": "TCP"}

# Structs that Go holds by value though no JSON schema says so: an object always has them, empty when nothing is set.
VALUE_STRUCTS: Final = frozenset(
    {
        ("Container", "resources"),
        ("EphemeralContainer", "resources"),
        ("PersistentVolumeClaimSpec", "resources"),
        ("DeploymentSpec", "strategy"),
        ("StatefulSetSpec", "updateStrategy"),
        ("DaemonSetSpec", "updateStrategy"),
        ("ServiceStatus", "loadBalancer"),
        ("IngressStatus", "loadBalancer"),
        ("NodeStatus", "daemonEndpoints"),
        ("NodeStatus", "nodeInfo"),
        ("NodeDaemonEndpoints", "kubeletEndpoint"),
        ("ContainerStatus", "state"),
        ("ContainerStatus", "lastState"),
        ("Event", "source"),
        ("NetworkPolicySpec", "podSelector"),
    }
)


class Node:
    """The schema of one value. `form`: "struct", "map", "list", "scalar" or "any" (deduced from the value).

    `atomic` values are one leaf, whatever is in them. A list that is not atomic has `list_type` "set" or "map".
    `strategies` and `merge_key` are strategic merge patch's. `always`: fields that an object has even when none is set.
    """

    __slots__ = (
        "_always",
        "_fields",
        "atomic",
        "element",
        "form",
        "key_defaults",
        "keys",
        "list_type",
        "merge_key",
        "name",
        "strategies",
    )

    def __init__(
        self,
        form: str,
        *,
        name: str = "",
        atomic: bool = False,
        fields: "Callable[[], Mapping[str, Node]]" = dict,
        element: "Node | None" = None,
        list_type: str = "atomic",
        keys: Sequence[str] = (),
        key_defaults: Mapping[str, Any] = KEY_DEFAULTS,
        strategies: Sequence[str] = (),
        merge_key: str = "",
        always: Callable[[], Mapping[str, Any]] = dict,
    ) -> None:
        self.form = form
        self.name = name
        self.atomic = atomic
        self._fields: Callable[[], Mapping[str, Node]] | Mapping[str, Node] = fields
        self.element = element
        self.list_type = list_type
        self.keys = tuple(keys)
        self.key_defaults = key_defaults
        self.strategies = tuple(strategies)
        self.merge_key = merge_key
        self._always: Callable[[], Mapping[str, Any]] | Mapping[str, Any] = always

    @property
    def fields(self) -> "Mapping[str, Node]":
        if callable(self._fields):
            self._fields = self._fields()
        return self._fields

    @property
    def always(self) -> "Mapping[str, Any]":
        if callable(self._always):
            self._always = self._always()
        return self._always

    def declares(self, field: str) -> bool:
        return self.form == "struct" and field in self.fields

    def leaves_out(self, field: str, value: Any) -> bool:
        """Whether a value is what Go's encoding leaves out, or shows in every object: the empty text of a struct."""
        return value == "" and bool(self.name) and self.child(field).form == "scalar"

    def child(self, field: str) -> "Node":
        """The schema of a map's or struct's entry."""
        if self.form == "struct":
            return self.fields.get(field, DEDUCED)
        if self.form == "map" and self.element is not None:
            return self.element
        return DEDUCED

    def of(self, value: Any) -> "Node":
        """This schema, or the one deduced from a value whose own says nothing."""
        if self.form != "any":
            return self
        if isinstance(value, dict):
            return DEDUCED_MAP
        return DEDUCED_LIST if isinstance(value, list) else DEDUCED_SCALAR


DEDUCED = Node("any")
DEDUCED_MAP = Node("map", element=DEDUCED)
DEDUCED_LIST = Node("list", element=DEDUCED, atomic=True)
DEDUCED_SCALAR = Node("scalar")


def schema_of(type_: type | None) -> Node:
    """The schema of a generated type; `DEDUCED_MAP` for None."""
    return DEDUCED_OBJECT if type_ is None else struct_node(type_)


@cache
def struct_node(type_: type, atomic: bool = False, strategies: tuple[str, ...] = ()) -> Node:
    marked: Any = type_
    return Node(
        "struct",
        name=type_.__name__,
        atomic=atomic or marked.__atomic__,
        fields=lambda: struct_fields(type_),
        strategies=strategies,
        always=lambda: always_fields(type_),
    )


@cache
def always_fields(type_: type) -> dict[str, Any]:
    marked: Any = type_
    found: dict[str, Any] = {}
    for field in msgspec.structs.fields(type_):
        name = field.encode_name
        by_value = isinstance(field.default, msgspec.Struct) or (type_.__name__, name) in VALUE_STRUCTS
        form = struct_fields(type_)[name].form
        if form == "struct" and (by_value or name in marked.__required__):
            found[name] = {}
        elif form in ("list", "map") and name in marked.__required__:
            found[name] = None
    return found


@cache
def struct_fields(type_: type) -> Mapping[str, Node]:
    marked: Any = type_
    merges = marked.__merge__
    return {
        field.encode_name: annotated(field.type, merges.get(field.encode_name))
        for field in msgspec.structs.fields(type_)
    }


def annotated(annotation: Any, merge: Any) -> Node:
    """The schema of a field's annotation with its Merge marks (or None)."""
    annotation = bare(annotation)
    origin = typing.get_origin(annotation)
    strategies = merge.patch_strategy if merge is not None else ()
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        return struct_node(annotation, merge is not None and merge.map_type == "atomic", strategies)
    arguments = typing.get_args(annotation)
    if origin is not None and issubclass(origin, Mapping):
        atomic = merge is not None and merge.map_type == "atomic"
        return Node("map", element=annotated(arguments[1], None), atomic=atomic, strategies=strategies)
    if origin is not None and issubclass(origin, Sequence):
        list_type, keys = list_relation(merge)
        return Node(
            "list",
            element=annotated(arguments[0], None),
            atomic=list_type == "atomic",
            list_type=list_type,
            keys=keys,
            strategies=strategies,
            merge_key=merge.patch_merge_key if merge is not None else "",
        )
    return DEDUCED if annotation is Any else DEDUCED_SCALAR


def bare(annotation: Any) -> Any:
    """Without Annotated and without None."""
    while True:
        origin = typing.get_origin(annotation)
        if origin is typing.Annotated:
            annotation = typing.get_args(annotation)[0]
        elif origin in (typing.Union, types.UnionType):
            left = [one for one in typing.get_args(annotation) if one is not type(None)]
            if len(left) != 1:
                return str
            annotation = left[0]
        else:
            return annotation


def list_relation(merge: Any) -> tuple[str, Sequence[str]]:
    """List type and keys; without a list type, strategic merge patch's marks say what the list is."""
    if merge is None:
        return "atomic", ()
    if merge.list_type:
        return merge.list_type, merge.list_map_keys
    if "merge" in merge.patch_strategy:
        return ("map", (merge.patch_merge_key,)) if merge.patch_merge_key else ("set", ())
    return "atomic", ()


def schema_of_openapi(schema: Mapping[str, Any]) -> Node:
    """The schema of a custom resource, from its structural OpenAPI schema (`x-kubernetes-*` as the CRD page says)."""
    root = openapi_node(schema)
    fields = {**root.fields, "metadata": DEDUCED_OBJECT.fields["metadata"]}
    return Node("struct", fields=lambda: {**DEDUCED_OBJECT.fields, **fields}, always=_object_always)


def openapi_node(schema: Mapping[str, Any]) -> Node:
    if "properties" in schema:
        children = {name: openapi_node(child) for name, child in schema["properties"].items()}
        atomic = schema.get("x-kubernetes-map-type") == "atomic"
        return Node("struct", fields=lambda: children, atomic=atomic)
    if schema.get("type") == "array":
        items = schema.get("items", {})
        list_type = schema.get("x-kubernetes-list-type", "atomic")
        keys = schema.get("x-kubernetes-list-map-keys", ())
        properties = items.get("properties", {})
        defaults = {key: properties[key]["default"] for key in keys if "default" in properties.get(key, {})}
        return Node(
            "list",
            element=openapi_node(items),
            atomic=list_type == "atomic",
            list_type=list_type,
            keys=keys,
            key_defaults=defaults,
        )
    if schema.get("type") == "object" and not schema.get("x-kubernetes-preserve-unknown-fields"):
        values = schema.get("additionalProperties")
        element = openapi_node(values) if isinstance(values, Mapping) else DEDUCED
        return Node("map", element=element, atomic=schema.get("x-kubernetes-map-type") == "atomic")
    return DEDUCED if schema.get("type") in (None, "object") else DEDUCED_SCALAR


def _object_fields() -> Mapping[str, Node]:
    from kubeloop.actors.api.meta_v1 import ObjectMeta

    return {"apiVersion": DEDUCED_SCALAR, "kind": DEDUCED_SCALAR, "metadata": struct_node(ObjectMeta)}


def _object_always() -> Mapping[str, Any]:
    return {"metadata": {}}


DEDUCED_OBJECT = Node("struct", fields=_object_fields, always=_object_always)
"""A custom resource without a schema: its metadata is every object's, the rest is deduced."""
