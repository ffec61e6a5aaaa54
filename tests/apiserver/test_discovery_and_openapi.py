"""Facts about how the API describes itself: discovery documents and OpenAPI."""

from typing import Any

import msgspec
import pytest

from kubeloop.actors.api.resources import ResourceType
from kubeloop.actors.apiserver import discovery, openapi, protobuf
from kubeloop.actors.apiserver.registry.catalog import ALL_VERBS, STATUS, Served

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
PREFIX = "#/components/schemas/"


def custom(version: str, plural: str = "widgets") -> Served:
    own = ResourceType(group="example.com", version=version, kind="Widget", plural=plural, singular="widget")
    return Served(own, ALL_VERBS, (STATUS,), f"example.com/{plural}")


def read(document: Any) -> Any:
    assert document is not None
    return msgspec.json.decode(document.body)


def test_the_groups_are_those_of_the_catalogue_with_their_preferred_versions() -> None:
    groups = read(discovery.answer("/apis"))["groups"]
    assert [group["name"] for group in groups][:3] == ["apiregistration.k8s.io", "apps", "events.k8s.io"]
    autoscaling = next(group for group in groups if group["name"] == "autoscaling")
    assert [version["version"] for version in autoscaling["versions"]] == ["v2", "v1"]
    assert autoscaling["preferredVersion"]["groupVersion"] == "autoscaling/v2"


def test_a_resource_is_listed_with_its_subresources_behind_it() -> None:
    resources = {one["name"]: one for one in read(discovery.answer("/apis/apps/v1"))["resources"]}
    assert resources["deployments"]["shortNames"] == ["deploy"]
    assert resources["deployments"]["storageVersionHash"] == "8aSe+NMegvE="
    assert resources["deployments/scale"]["group"] == "autoscaling"
    assert resources["deployments/scale"]["kind"] == "Scale"


def test_the_aggregated_form_is_given_to_those_who_ask_for_it() -> None:
    document = discovery.answer("/api", f"{AGGREGATED},application/json")
    assert document is not None
    assert document.content_type == AGGREGATED
    (core,) = read(document)["items"]
    pods = next(one for one in core["versions"][0]["resources"] if one["resource"] == "pods")
    assert pods["responseKind"] == {"group": "", "version": "v1", "kind": "Pod"}
    assert "eviction" in [one["subresource"] for one in pods["subresources"]]
    plain = discovery.answer("/api", "application/json")
    assert plain is not None
    assert read(plain)["kind"] == "APIVersions"


def test_custom_groups_come_last_with_the_most_stable_version_first() -> None:
    served = [custom("v1alpha1"), custom("v2"), custom("v1"), custom("v1beta1")]
    groups = read(discovery.answer("/apis", custom=served))["groups"]
    assert groups[-1]["name"] == "example.com"
    assert [one["version"] for one in groups[-1]["versions"]] == ["v2", "v1", "v1beta1", "v1alpha1"]
    names = [one["name"] for one in read(discovery.answer("/apis/example.com/v1", custom=served))["resources"]]
    assert names == ["widgets", "widgets/status"]


def test_an_unknown_path_is_not_discovery() -> None:
    assert discovery.answer("/apis/nothing.example.com") is None
    assert discovery.answer("/apis/apps/v9") is None


def test_the_tag_of_a_document_changes_with_its_content() -> None:
    before, after = discovery.answer("/apis"), discovery.answer("/apis", custom=[custom("v1")])
    assert before is not None
    assert after is not None
    assert before.etag != after.etag


@pytest.mark.parametrize(("group", "version"), openapi.group_versions())
def test_every_reference_of_an_openapi_document_leads_somewhere(group: str, version: str) -> None:
    path = f"/openapi/v3/apis/{group}/{version}" if group else f"/openapi/v3/api/{version}"
    document = read(openapi.answer(path))
    schemas = document["components"]["schemas"]
    assert document["paths"]

    def check(value: Any) -> None:
        if isinstance(value, dict):
            reference = value.get("$ref")
            if isinstance(reference, str):
                assert reference.removeprefix(PREFIX) in schemas
            for one in value.values():
                check(one)
        elif isinstance(value, list):
            for one in value:
                check(one)

    check(document)


def test_the_schema_of_a_pod_says_types_kinds_and_how_lists_merge() -> None:
    schemas = read(openapi.answer("/openapi/v3/api/v1"))["components"]["schemas"]
    pod = schemas["io.k8s.api.core.v1.Pod"]
    assert pod["x-kubernetes-group-version-kind"] == [{"group": "", "version": "v1", "kind": "Pod"}]
    containers = schemas["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"]
    assert containers["items"] == {"$ref": f"{PREFIX}io.k8s.api.core.v1.Container"}
    assert containers["x-kubernetes-list-map-keys"] == ["name"]
    assert schemas["io.k8s.api.core.v1.ContainerPort"]["properties"]["containerPort"] == {
        "type": "integer",
        "format": "int32",
    }


def test_patches_say_that_dry_run_and_field_validation_are_supported() -> None:
    paths = read(openapi.answer("/openapi/v3/apis/apps/v1"))["paths"]
    patch = paths["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"]
    assert {"dryRun", "fieldManager", "fieldValidation", "force"} == {one["name"] for one in patch["parameters"]}
    assert patch["x-kubernetes-group-version-kind"]["kind"] == "Deployment"


def test_the_index_leads_to_documents_by_a_hash_of_their_content() -> None:
    schema = openapi.CustomSchema(custom("v1"), {"properties": {"spec": {"type": "object"}}})
    paths = read(openapi.answer("/openapi/v3", custom=[schema]))["paths"]
    assert paths["apis/example.com/v1"]["serverRelativeURL"].startswith("/openapi/v3/apis/example.com/v1?hash=")
    document = read(openapi.answer("/openapi/v3/apis/example.com/v1", custom=[schema]))
    assert document["components"]["schemas"]["com.example.v1.Widget"]["properties"]["spec"] == {"type": "object"}


def fields(data: bytes) -> dict[int, list[Any]]:
    """The fields of a protobuf message by their numbers."""
    found: dict[int, list[Any]] = {}
    for number, _, value in protobuf.parts(data):
        found.setdefault(number, []).append(value)
    return found


def by_name(data: bytes, number: int) -> dict[str, dict[int, list[Any]]]:
    """One of gnostic's maps: name -> the fields of the value."""
    pairs = [fields(pair) for pair in fields(data).get(number, [])]
    return {pair[1][0].decode(): fields(pair[2][0]) for pair in pairs}


def test_openapi_v2_is_spoken_in_protobuf_to_those_who_ask_for_nothing_else() -> None:
    schema = openapi.CustomSchema(custom("v1"), {"properties": {"size": {"type": "integer", "maximum": 3}}})
    document = openapi.answer("/openapi/v2", "application/com.github.proto-openapi.spec.v2@v1.0+protobuf", [schema])
    assert document is not None
    assert document.content_type == "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
    root = fields(document.body)
    assert root[1] == [b"2.0"]
    definitions, paths = by_name(root[9][0], 1), by_name(root[8][0], 2)
    written = read(openapi.answer("/openapi/v2", "application/json", [schema]))
    assert (list(definitions), list(paths)) == (list(written["definitions"]), list(written["paths"]))
    widget = definitions["com.example.v1.Widget"]
    extensions = {fields(one)[1][0]: fields(fields(one)[2][0])[2][0] for one in widget[31]}
    kinds = msgspec.json.decode(extensions[b"x-kubernetes-group-version-kind"])
    assert kinds == [{"group": "example.com", "version": "v1", "kind": "Widget"}]
    size = by_name(widget[25][0], 1)["size"]
    assert (fields(size[22][0])[1], size[7]) == ([b"integer"], [b"\x00\x00\x00\x00\x00\x00\x08\x40"])
    patch = fields(paths["/api/v1/namespaces/{namespace}/pods/{name}"][8][0])
    queries = [fields(fields(fields(one)[1][0]).get(2, [b""])[0]).get(3) for one in patch[8]]
    assert b"fieldValidation" in [fields(query[0])[4][0] for query in queries if query]


def test_openapi_v2_is_json_to_everyone_else() -> None:
    assert read(openapi.answer("/openapi/v2", "application/json"))["swagger"] == "2.0"
    assert read(openapi.answer("/openapi/v2", "*/*"))["swagger"] == "2.0"
