"""What is wrong with a CustomResourceDefinition: its names, versions, columns, subresources, and its schemas."""

from typing import Any

import pytest

from kubeloop.actors.api import codec
from kubeloop.actors.api.apiextensions_v1 import CustomResourceDefinition
from kubeloop.actors.apiserver.registry import kind_for
from kubeloop.actors.apiserver.registry.apiextensions import prepare_definition_create

FOUND = kind_for("apiextensions.k8s.io", "v1", "customresourcedefinitions")
assert FOUND is not None
KIND = FOUND
ROOT = "spec.validation.openAPIV3Schema"


def version(name: str = "v1", schema: Any = None, **more: Any) -> dict[str, Any]:
    schema = {"type": "object"} if schema is None else schema
    return {"name": name, "served": True, "storage": name == "v1", "schema": {"openAPIV3Schema": schema}, **more}


def definition(*versions: dict[str, Any], names: Any = None, **spec: Any) -> Any:
    names = {"kind": "Widget", "plural": "widgets", **(names or {})}
    group = spec.get("group", "example.com")
    document = {
        "metadata": {"name": f"{names['plural']}.{group}", **spec.pop("metadata", {})},
        "spec": {"group": group, "scope": "Namespaced", "names": names, "versions": list(versions), **spec},
    }
    return prepare_definition_create(KIND.default(codec.convert(document, CustomResourceDefinition)), None)  # type: ignore[arg-type]


def told(obj: Any) -> list[tuple[str, str]]:
    return [(error.field, error.body) for error in KIND.validate(obj)]


def field(**schema: Any) -> Any:
    """A definition whose field `a` has this schema."""
    return definition(version(schema={"type": "object", "properties": {"a": schema}}))


A = f"{ROOT}.properties[a]"
KEYED = {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"]}
WRONG: list[tuple[Any, str, str]] = [
    (definition(version(), group="nodots"), "spec.group", "should be a domain with at least one dot"),
    (definition(version(), scope=""), "spec.scope", "Required value"),
    (
        definition(version(), scope="Global"),
        "spec.scope",
        'Unsupported value: "Global": supported values: "Cluster", "Namespaced"',
    ),
    (definition(version(), names={"kind": "Bad_Kind"}), "spec.names.kind", "may have mixed case, but should otherwise"),
    (definition(version(), names={"listKind": "Widget"}), "spec.names.listKind", "kind and listKind may not be the"),
    (definition(version(), names={"shortNames": ["A"]}), "spec.names.shortNames[0]", "a DNS-1035 label must consist"),
    (definition(version("v1"), version("v1")), "spec.versions", "must contain unique version names"),
    (definition(version("v2")), "spec.versions", "must have exactly one version marked as storage version"),
    (definition(version("v2")), "status.storedVersions", "Invalid value: []: must have at least one stored version"),
    (definition(version("V1", storage=True)), "spec.versions[0].name", "a DNS-1035 label must consist"),
    (
        definition(version(deprecationWarning="gone")),
        "spec.versions[0].deprecationWarning",
        "can only be set for deprecated versions",
    ),
    (
        definition({"name": "v1", "served": True, "storage": True}),
        "spec.versions[0].schema.openAPIV3Schema",
        "Required value: schemas are required",
    ),
    (
        definition(version(), group="x.k8s.io"),
        "metadata.annotations[api-approved.kubernetes.io]",
        "Required value: protected groups must have approval annotation",
    ),
    (
        definition(version(additionalPrinterColumns=[{"name": "a", "type": "text", "jsonPath": "spec"}])),
        "spec.additionalPrinterColumns[0].type",
        "must be one of boolean,date,integer,number,string",
    ),
    (
        definition(version(additionalPrinterColumns=[{"name": "a", "type": "string", "jsonPath": "spec"}])),
        "spec.additionalPrinterColumns[0].JSONPath",
        "must be a simple json path starting with .",
    ),
    (
        definition(version(subresources={"scale": {"specReplicasPath": ".a", "statusReplicasPath": ".status.b"}})),
        "spec.subresources.scale.specReplicasPath",
        "should be a json path under .spec",
    ),
    (
        definition(
            version(), version("v2", additionalPrinterColumns=[{"name": "", "type": "string", "jsonPath": ".a"}])
        ),
        "spec.versions[1].additionalPrinterColumns[0].name",
        "Required value",
    ),
    (
        definition(version(), conversion={"strategy": "Webhook"}),
        "spec.conversion.webhookClientConfig",
        "Required value: required when strategy is set to Webhook",
    ),
    (definition(version(), preserveUnknownFields=True), "spec.preserveUnknownFields", "cannot set to true"),
    (definition(version(schema={})), f"{ROOT}.type", "Required value: must not be empty at the root"),
    (definition(version(schema={"type": "string"})), f"{ROOT}.type", "must be object at the root"),
    (
        definition(version(schema={"type": "object", "nullable": True})),
        f"{ROOT}.nullable",
        "Forbidden: nullable cannot be true at the root",
    ),
    (field(), f"{A}.type", "Required value: must not be empty for specified object fields"),
    (field(type="list"), f"{A}.type", 'Unsupported value: "list"'),
    (field(type="array", items={}), f"{A}.items.type", "must not be empty for specified array items"),
    (field(type="array", uniqueItems=True), f"{A}.uniqueItems", "runtime complexity becomes quadratic"),
    (field(**{"$ref": "#/x", "type": "object"}), f"{A}.$ref", "Forbidden: $ref is not supported"),
    (
        field(type="object", properties={"b": {"type": "string"}}, additionalProperties={"type": "string"}),
        f"{A}.additionalProperties",
        "additionalProperties and properties are mutual exclusive",
    ),
    (
        field(**{"type": "string", "x-kubernetes-list-type": "set"}),
        f"{A}.type",
        "must be array if x-kubernetes-list-type is specified",
    ),
    (
        field(**{**KEYED, "items": {"type": "object"}}),
        f"{A}.x-kubernetes-list-map-keys",
        "entries must all be names of item properties",
    ),
    (
        field(**{**KEYED, "items": {"type": "object", "properties": {"k": {"type": "string"}}}}),
        f"{A}.items.properties[k].default",
        "so it must have a default or be a required property",
    ),
    (
        field(type="string", anyOf=[{"type": "string"}]),
        f"{A}.anyOf[0].type",
        "Forbidden: must be empty to be structural",
    ),
    (
        field(type="object", allOf=[{"properties": {"b": {"minLength": 1}}}]),
        f"{A}.properties[b]",
        f"Required value: because it is defined in {A}.allOf[0].properties[b]",
    ),
    (field(type="integer", default="x"), f"{A}.default", 'must be of type integer: "string"'),
    (field(type="string", pattern="("), f"{A}.pattern", "must be a valid regular expression, but isn't"),
    (
        definition(
            version(schema={"type": "object", "properties": {"metadata": {"type": "object", "nullable": True}}})
        ),
        f"{ROOT}.properties[metadata]",
        "must not specify anything other than name and generateName",
    ),
    (
        definition(version(selectableFields=[{"jsonPath": ".spec.a"}])),
        "spec.selectableFields[0].jsonPath",
        "is an invalid path: does not refer to a valid field",
    ),
]


@pytest.mark.parametrize(("obj", "where", "message"), WRONG, ids=[f"{where}: {text}" for _, where, text in WRONG])
def test_each_rule_names_the_field_and_what_is_wrong(obj: Any, where: str, message: str) -> None:
    assert any(field == where and message in body for field, body in told(obj)), told(obj)


def test_what_the_documentation_shows_is_right() -> None:
    crontab = {
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "properties": {
                    "cronSpec": {"type": "string", "pattern": r"^(\d+|\*)(/\d+)?(\s+(\d+|\*)(/\d+)?){4}$"},
                    "image": {"type": "string", "default": "i"},
                    "replicas": {"type": "integer", "minimum": 1, "maximum": 10, "default": 1},
                    "port": {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]},
                    "raw": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                },
            },
            "status": {"type": "object", "properties": {"replicas": {"type": "integer"}}},
        },
    }
    subresources = {
        "status": {},
        "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"},
    }
    columns = [
        {"name": "Spec", "type": "string", "jsonPath": ".spec.cronSpec"},
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    ]
    whole = version(schema=crontab, subresources=subresources, additionalPrinterColumns=columns)
    assert told(definition(whole)) == []


def test_group_and_plural_never_change_and_scope_and_kind_not_once_established() -> None:
    old, new = definition(version()), definition(version(), group="other.com", scope="Cluster")
    assert [error.field for error in KIND.validate_update(new, old)] == ["spec.group"]
