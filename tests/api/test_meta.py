from typing import Any

import pytest

from kubeloop.actors.api import meta
from kubeloop.actors.api.core_v1 import Node, Pod, PodStatus
from kubeloop.actors.api.meta_v1 import ObjectMeta, OwnerReference
from kubeloop.actors.api.resources import RESOURCES, ResourceType, UnknownResource, resource_for

OWNERS = (OwnerReference(kind="Job", name="j", uid="1"), OwnerReference(kind="ReplicaSet", uid="2", controller=True))
TYPED = Pod(
    metadata=ObjectMeta(
        name="web",
        namespace="shop",
        uid="u",
        resource_version="7",
        generation=3,
        labels={"a": "b"},
        annotations={"c": "d"},
        finalizers=("f",),
        deletion_timestamp="2026-01-01T00:00:00Z",
        owner_references=OWNERS,
    )
)
UNTYPED: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {
        "name": "web",
        "namespace": "shop",
        "uid": "u",
        "resourceVersion": "7",
        "generation": 3,
        "labels": {"a": "b"},
        "annotations": {"c": "d"},
        "finalizers": ["f"],
        "deletionTimestamp": "2026-01-01T00:00:00Z",
        "ownerReferences": [
            {"kind": "Job", "name": "j", "uid": "1"},
            {"kind": "ReplicaSet", "uid": "2", "controller": True},
        ],
    },
}


@pytest.mark.parametrize("obj", [TYPED, UNTYPED], ids=["struct", "dict"])
def test_accessors_read_structs_and_dicts(obj: Any) -> None:
    assert (meta.name(obj), meta.namespace(obj), meta.key(obj)) == ("web", "shop", "shop/web")
    assert (meta.uid(obj), meta.resource_version(obj), meta.generation(obj)) == ("u", "7", 3)
    assert meta.labels(obj) == {"a": "b"} and meta.annotations(obj) == {"c": "d"}
    assert tuple(meta.finalizers(obj)) == ("f",) and meta.deletion_timestamp(obj) == "2026-01-01T00:00:00Z"
    assert tuple(meta.owner_references(obj)) == OWNERS and meta.controller_of(obj) == OWNERS[1]
    assert meta.gvk(obj) == ("", "v1", "Pod")


@pytest.mark.parametrize("obj", [Pod(), {}, {"metadata": None}, {"metadata": {}}], ids=repr)
def test_what_is_not_there_is_empty(obj: Any) -> None:
    assert meta.name(obj) == meta.namespace(obj) == meta.uid(obj) == meta.resource_version(obj) == ""
    assert meta.labels(obj) == {} and not meta.finalizers(obj) and not meta.owner_references(obj)
    assert meta.controller_of(obj) is None
    assert meta.deletion_timestamp(obj) is None and meta.creation_timestamp(obj) is None


def test_keys_of_cluster_scoped_objects_are_their_names() -> None:
    assert meta.key(Node(metadata=ObjectMeta(name="n"))) == meta.key({"metadata": {"name": "n"}}) == "n"
    assert meta.split_key("shop/web") == ("shop", "web") and meta.split_key("n") == ("", "n")


def test_metadata_is_replaced_in_a_copy() -> None:
    changed = meta.replace_metadata(TYPED, namespace="other", labels=None, finalizers=None, uid=None)
    assert (meta.namespace(changed), meta.labels(changed), meta.uid(changed)) == ("other", {}, "")
    assert meta.finalizers(changed) == () and meta.namespace(TYPED) == "shop"
    untyped = meta.replace_metadata(UNTYPED, namespace="other", labels=None, owner_references=OWNERS[1:])
    assert "labels" not in untyped["metadata"] and meta.controller_of(untyped) == OWNERS[1]
    assert untyped["metadata"]["ownerReferences"] == [{"kind": "ReplicaSet", "uid": "2", "controller": True}]
    assert UNTYPED["metadata"]["namespace"] == "shop"


def test_a_status_is_replaced_in_a_copy() -> None:
    assert meta.replace_status(TYPED, PodStatus(phase="Running")).status.phase == "Running"
    assert meta.replace_status(UNTYPED, {"phase": "Running"})["status"] == {"phase": "Running"}


@pytest.mark.parametrize(
    ("what", "name"),
    [
        (Pod, "pods"),
        (Pod(), "pods"),
        (UNTYPED, "pods"),
        (("apps/v1", "Deployment"), "deployments.apps"),
        ("pods", "pods"),
        ("pod", "pods"),
        ("po", "pods"),
        ("Pod", "pods"),
        ("deploy", "deployments.apps"),
        ("deployments.apps", "deployments.apps"),
        ("deployments.v1.apps", "deployments.apps"),
        ("events", "events"),
        ("events.events.k8s.io", "events.events.k8s.io"),
        ("crds", "customresourcedefinitions.apiextensions.k8s.io"),
    ],
)
def test_a_resource_is_found_by_every_name(what: Any, name: str) -> None:
    assert resource_for(what).name == name


def test_the_preferred_version_is_meant() -> None:
    assert resource_for("hpa").version == "v2" and resource_for("hpa.v1.autoscaling").version == "v1"


@pytest.mark.parametrize("what", ["widgets", "", 3, {}, {"apiVersion": "v1", "kind": "Widget"}, object, ObjectMeta])
def test_what_names_no_resource(what: Any) -> None:
    with pytest.raises(UnknownResource):
        resource_for(what)


def test_there_are_68_stable_resources_and_custom_ones_have_no_type() -> None:
    assert len(RESOURCES) == 68
    custom = ResourceType("example.com", "v1", "Widget", "widgets", "widget")
    assert custom.type is None and custom.api_version == "example.com/v1" and resource_for(custom) is custom
