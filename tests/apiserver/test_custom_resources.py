"""Custom resources: what their schemas refuse and let through, their scale, and the names of their definitions."""

import asyncio
from typing import Any

import pytest

from kubeloop.actors.api.errors import StatusError
from kubeloop.actors.apiserver import crd_schema, crd_validation
from kubeloop.actors.apiserver.messages import WatchEvent
from tests.apiserver.conftest import Server

GROUP = "example.com"


def told(value: Any, schema: dict[str, Any], old: Any = crd_validation.UNKNOWN) -> list[tuple[str, str]]:
    whole = {"type": "object", "properties": {"a": schema}}
    before = old if old is crd_validation.UNKNOWN else {"a": old}
    return [(error.field, error.body) for error in crd_validation.validate({"a": value}, whole, {}, before)]


@pytest.mark.parametrize(
    ("value", "schema", "wrong"),
    [
        (3, {"multipleOf": 2}, [("a", "Invalid value: 3: a in body should be a multiple of 2")]),
        (1, {"minimum": 1, "exclusiveMinimum": True}, [("a", "Invalid value: 1: a in body should be greater than 1")]),
        ("abc", {"maxLength": 2, "pattern": "^b"}, [("a", "Too long: may not be more than 2 bytes")]),
        (
            "x",
            {"type": "string", "format": "ipv4"},
            [("a", 'Invalid value: "x": a in body must be of type ipv4: "x"')],
        ),
        ("2026-01-02T03:04:05Z", {"type": "string", "format": "date-time"}, []),
        ("x", {"type": "string", "format": "unheard"}, []),
        ([], {"type": "array", "minItems": 1}, [("a", "Invalid value: 0: a in body should have at least 1 items")]),
        ({}, {"type": "object", "required": ["b"]}, [("a.b", "Required value")]),
        (
            {},
            {"oneOf": [{"required": ["b"]}, {"required": ["b", "c"]}]},
            [
                ("<nil>", 'Invalid value: "": "a" must validate one and only one schema (oneOf). Found none valid'),
                ("a.b", "Required value"),
            ],
        ),
        (
            "no",
            {"not": {"enum": ["no"]}},
            [("<nil>", 'Invalid value: "": "a" must not validate the schema (not)')],
        ),
        (
            ["x", "x"],
            {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
            [("a[1]", 'Duplicate value: "x"')],
        ),
        (True, {"enum": [1]}, [("a", 'Unsupported value: true: supported values: "1"')]),
    ],
)
def test_a_schema_says_what_is_wrong(value: Any, schema: dict[str, Any], wrong: list[tuple[str, str]]) -> None:
    assert told(value, schema) == wrong


def test_an_update_is_not_refused_for_what_it_leaves_as_it_was() -> None:
    keyed = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["n"]}
    item = {"type": "object", "properties": {"n": {"type": "string"}, "v": {"type": "integer", "maximum": 5}}}
    schema = {"type": "array", "items": item, **keyed}
    old = [{"n": "a", "v": 9}]
    assert told([{"n": "b", "v": 1}, *old], schema, old) == []
    assert [field for field, _ in told([{"n": "b", "v": 7}, *old], schema, old)] == ["a[0].v"]


EMBEDDED = {"type": "object", "x-kubernetes-embedded-resource": True, "x-kubernetes-preserve-unknown-fields": True}


def test_embedded_objects_say_what_they_are_and_have_metadata_that_are_right() -> None:
    assert told({}, EMBEDDED) == [("a.apiVersion", "Required value"), ("a.kind", "Required value")]
    wrong = {"apiVersion": "a/b/c", "kind": "Bad_", "metadata": {"labels": {"l": "a b"}}}
    assert [field for field, _ in told(wrong, EMBEDDED)] == ["a.apiVersion", "a.kind", "a.metadata.labels"]
    schema = {"type": "object", "properties": {"a": EMBEDDED}}
    given = {"a": {"kind": "K", "metadata": {"name": "n", "unheard": 1}, "more": 1}}
    pruned, dropped = crd_schema.prune(given, schema)
    assert (pruned["a"], dropped) == ({"kind": "K", "metadata": {"name": "n"}, "more": 1}, ["a.metadata.unheard"])
    with pytest.raises(crd_schema.WrongEmbedded, match="a.kind: Invalid value: 7: must be a string"):
        crd_schema.prune({"a": {"kind": 7}}, schema)


def definition(plural: str, kind: str, **version: Any) -> dict[str, Any]:
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    return {
        "metadata": {"name": f"{plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema, **version}],
        },
    }


async def settled(server: Server, body: dict[str, Any]) -> Any:
    """The definition, created, with what the API server thinks of its names."""
    done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    recorder, handle = await server.watch("customresourcedefinitions")

    def on_event(event: WatchEvent) -> None:
        found = event.object
        if found.metadata.name == body["metadata"]["name"] and found.status.conditions and not done.done():
            done.set_result(found)

    recorder.on_event = on_event  # type: ignore[method-assign]
    await server.call("create", "customresourcedefinitions", body=body, namespace="")
    found = await done
    handle.cancel()
    return found


async def test_names_are_accepted_one_by_one_and_served_when_all_are(server: Server) -> None:
    first = await settled(server, definition("widgets", "Widget"))
    assert first.status.accepted_names.kind == "Widget"
    second = await settled(server, definition("others", "Widget"))
    names, conditions = second.status.accepted_names, second.status.conditions
    assert (names.plural, names.singular, names.kind) == ("others", None, "")
    assert [(one.type, one.status, one.reason) for one in conditions] == [
        ("NamesAccepted", "False", "ListKindConflict"),
        ("Established", "False", "NotAccepted"),
    ]
    with pytest.raises(StatusError) as refused:
        await server.call("list", "others", group=GROUP)
    assert refused.value.code == 404


async def test_the_scale_is_where_the_definition_says(server: Server) -> None:
    paths = {"specReplicasPath": ".spec.n", "statusReplicasPath": ".status.r", "labelSelectorPath": ".status.s"}
    await settled(server, definition("sets", "Set", subresources={"status": {}, "scale": paths}))
    made = {"apiVersion": f"{GROUP}/v1", "kind": "Set", "metadata": {"name": "a"}, "spec": {"n": 2, "other": "kept"}}
    await server.call("create", "sets", body=made, group=GROUP)
    scale = {"metadata": {"name": "a"}, "spec": {"replicas": 5}}
    answer = await server.call("update", "sets", "a", scale, subresource="scale", group=GROUP)
    assert answer.spec.replicas == 5
    assert (await server.call("get", "sets", "a", group=GROUP))["spec"] == {"n": 5, "other": "kept"}
