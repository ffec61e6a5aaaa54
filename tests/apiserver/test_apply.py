"""Server-side apply: what an applied configuration may say of its object, and what is none."""

from typing import Any

import pytest

from kubeloop.actors.api.errors import StatusError
from kubeloop.actors.apiserver import crd_typed
from tests.apiserver.conftest import Server

APPLY = "apply"


async def apply(server: Server, name: str = "a", **metadata: Any) -> Any:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **metadata}, "data": {"k": "v"}}
    return await server.call("patch", "configmaps", name, body, content_type=APPLY, fieldManager="m")


async def test_an_applied_configuration_may_say_of_which_object_and_version_it_is(server: Server) -> None:
    made = await apply(server)
    same = await apply(server, uid=made.metadata.uid, resourceVersion=made.metadata.resource_version)
    assert same.metadata.resource_version == made.metadata.resource_version
    for name, metadata, message in (
        ("a", {"resourceVersion": "1"}, "the object has been modified"),
        ("b", {"uid": "x"}, "uid mismatch: the provided object specified uid x, and no existing object was found"),
    ):
        with pytest.raises(StatusError) as refused:
            await apply(server, name, **metadata)
        assert (refused.value.reason, message in refused.value.message) == ("Conflict", True)


@pytest.mark.parametrize(
    ("data", "validation", "message"),
    [
        (b"[1]", "", "error decoding YAML: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal array"),
        (b"kind: Secret\napiVersion: v1\n", "", "expected an object of kind ConfigMap, but got Secret"),
        (
            b"apiVersion: v1\nkind: ConfigMap\ndata: {a: b}\ndata: {a: c}\n",
            "Strict",
            'error strict decoding YAML: error converting YAML to JSON: yaml: unmarshal errors:\n  line 4: key "data"',
        ),
    ],
)
async def test_what_is_no_configuration_is_refused(server: Server, data: bytes, validation: str, message: str) -> None:
    options = {"fieldManager": "m", **({"fieldValidation": validation} if validation else {})}
    with pytest.raises(StatusError) as refused:
        type_ = "application/apply-patch+yaml"
        await server.call("patch", "configmaps", "a", data, content_type=type_, **options)
    assert refused.value.code == 400 and message in refused.value.message


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "object"}, {"anything": [1, {"a": "b"}]}),
        ({"type": "object", "x-kubernetes-preserve-unknown-fields": True}, {"anything": 1}),
        ({"type": "object", "additionalProperties": True}, {"anything": 1}),
        ({"x-kubernetes-preserve-unknown-fields": True}, [1, "a"]),
        ({"x-kubernetes-int-or-string": True}, "5%"),
        ({"x-kubernetes-int-or-string": True}, 5),
        ({"type": "number"}, 5),
        ({"type": "string", "nullable": True}, None),
        ({"type": "array", "items": {"type": "string"}}, ["a", None]),
        (
            {"type": "object", "x-kubernetes-embedded-resource": True, "properties": {"spec": {"type": "object"}}},
            {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {}},
        ),
    ],
)
def test_a_schema_lets_be_applied_what_it_leaves_open(schema: dict[str, Any], value: Any) -> None:
    whole = {"type": "object", "properties": {"a": schema}}
    assert crd_typed.problems({"apiVersion": "g/v1", "kind": "K", "metadata": {"name": "n"}, "a": value}, whole) == []
