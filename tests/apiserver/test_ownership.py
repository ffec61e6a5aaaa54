"""Field ownership through the API server: what is tracked, and applies beside updates and scales."""

import json
from typing import Any

import pytest

from kubeloop.actors.api.apps_v1 import Deployment
from kubeloop.actors.api.core_v1 import ConfigMap
from kubeloop.actors.api.errors import StatusError
from kubeloop.actors.api.meta_v1 import ObjectMeta
from tests.apiserver.conftest import Server

APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"


def config_map(**data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": data}


def deployment(replicas: int) -> dict[str, Any]:
    template = {"metadata": {"labels": {"a": "1"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": {"a": "1"}}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}, "spec": spec}


def owners(obj: ConfigMap | Deployment) -> list[tuple[str | None, str | None, str | None]]:
    return [(entry.manager, entry.operation, entry.subresource) for entry in obj.metadata.managed_fields]


async def test_writes_in_process_are_tracked_only_when_they_name_a_manager(server: Server) -> None:
    untracked = ConfigMap(metadata=ObjectMeta(name="untracked"), data={"k": "v"})
    assert owners(await server.call("create", "configmaps", body=untracked)) == []
    tracked = ConfigMap(metadata=ObjectMeta(name="tracked"), data={"k": "v"})
    made = await server.call("create", "configmaps", body=tracked, fieldManager="m")
    assert owners(made) == [("m", "Update", None)]
    assert made.metadata.managed_fields[0].fields_v1 == {"f:data": {".": {}, "f:k": {}}}
    changed = ConfigMap(metadata=ObjectMeta(name="tracked"), data={"k": "w"})
    updated = await server.call("update", "configmaps", "tracked", changed)
    assert owners(updated) == [("kubeloop", "Update", None), ("m", "Update", None)]


async def test_writes_as_bytes_are_tracked_under_their_user_agent(server: Server) -> None:
    body = json.dumps(config_map(k="v")).encode()
    assert owners(await server.call("create", "configmaps", body=body)) == [("kubeloop", "Update", None)]


async def test_an_apply_creates_conflicts_and_forces(server: Server) -> None:
    async def apply(manager: str, **options: str) -> Any:
        body = config_map(k=manager)
        return await server.call("patch", "configmaps", "a", body, content_type=APPLY, fieldManager=manager, **options)

    assert owners(await apply("one")) == [("one", "Apply", None)]
    with pytest.raises(StatusError, match='^Apply failed with 1 conflict: conflict with "one": .data.k$') as caught:
        await apply("two")
    assert caught.value.code == 409
    forced = await apply("two", force="true")
    assert (owners(forced), forced.data) == ([("two", "Apply", None)], {"k": "two"})
    again = await apply("two")
    assert again is forced, "nothing changed, nothing was written"


async def test_a_patch_takes_fields_from_an_applier(server: Server) -> None:
    await server.call("patch", "configmaps", "a", config_map(k="1", l="1"), content_type=APPLY, fieldManager="one")
    patch = {"data": {"k": "2"}}
    patched = await server.call("patch", "configmaps", "a", patch, content_type=MERGE, fieldManager="patcher")
    assert owners(patched) == [("one", "Apply", None), ("patcher", "Update", None)]
    assert patched.metadata.managed_fields[0].fields_v1 == {"f:data": {"f:l": {}}}


async def test_a_scale_is_applied_under_its_subresource(server: Server) -> None:
    async def scale(replicas: int, **options: str) -> Any:
        body = {
            "apiVersion": "autoscaling/v1",
            "kind": "Scale",
            "metadata": {"name": "a"},
            "spec": {"replicas": replicas},
        }
        options["fieldManager"] = "scaler"
        return await server.call("patch", "deployments", "a", body, subresource="scale", content_type=APPLY, **options)

    await server.call("patch", "deployments", "a", deployment(1), content_type=APPLY, fieldManager="one")
    with pytest.raises(StatusError, match='conflict with "one": .spec.replicas$'):
        await scale(2)
    assert (await scale(2, force="true")).spec.replicas == 2
    found = await server.call("get", "deployments", "a")
    assert owners(found) == [("one", "Apply", None), ("scaler", "Apply", "scale")]
    with pytest.raises(StatusError, match='conflict with "scaler" with subresource "scale": .spec.replicas$'):
        await server.call("patch", "deployments", "a", deployment(1), content_type=APPLY, fieldManager="one")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"unknown": 1}, ".unknown: field not declared in schema"),
        ({"data": {"k": 7}}, "cannot unmarshal number"),
        ({"apiVersion": "v2"}, "incorrect version specified in apply patch"),
    ],
)
async def test_what_cannot_be_applied_is_refused(server: Server, change: dict[str, Any], message: str) -> None:
    body = {**config_map(), **change}
    with pytest.raises(StatusError) as caught:
        await server.call("patch", "configmaps", "a", body, content_type=APPLY, fieldManager="one")
    assert caught.value.code == 400
    assert message in caught.value.message
