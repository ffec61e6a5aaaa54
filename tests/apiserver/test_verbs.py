"""What each verb does, asked in process."""

from typing import Any

import pytest
from msgspec.structs import replace

from kubeloop.actors.api.apps_v1 import Deployment, DeploymentSpec
from kubeloop.actors.api.coordination_v1 import Lease
from kubeloop.actors.api.core_v1 import (
    Binding,
    ConfigMap,
    Container,
    Namespace,
    ObjectReference,
    Pod,
    PodSpec,
    PodTemplateSpec,
    Secret,
)
from kubeloop.actors.api.errors import StatusError
from kubeloop.actors.api.meta_v1 import LabelSelector, ObjectMeta
from tests.apiserver.conftest import Server


def config_map(name: str = "a", **metadata: Any) -> ConfigMap:
    return ConfigMap(metadata=ObjectMeta(name=name, **metadata), data={"k": "v"})


def pod(name: str = "p", **spec: Any) -> Pod:
    return Pod(metadata=ObjectMeta(name=name), spec=PodSpec(containers=(Container(name="c", image="i"),), **spec))


async def refused(awaitable: Any) -> StatusError:
    with pytest.raises(StatusError) as caught:
        await awaitable
    return caught.value


async def test_a_created_object_gets_what_the_server_fills_in(server: Server) -> None:
    made = await server.call("create", "configmaps", body=config_map())
    assert made.metadata.namespace == "default"
    assert made.metadata.uid and made.metadata.creation_timestamp and made.metadata.resource_version
    assert await server.call("get", "configmaps", "a") is made


async def test_a_name_that_is_taken_is_a_conflict(server: Server) -> None:
    await server.call("create", "configmaps", body=config_map())
    error = await refused(server.call("create", "configmaps", body=config_map()))
    assert (error.code, error.reason, error.message) == (409, "AlreadyExists", 'configmaps "a" already exists')


async def test_generate_name_makes_a_fresh_name_each_time(server: Server) -> None:
    named = ConfigMap(metadata=ObjectMeta(generate_name="x-"))
    names = {(await server.call("create", "configmaps", body=named)).metadata.name for _ in range(20)}
    assert len(names) == 20
    assert all(name.startswith("x-") and len(name) == 7 for name in names)


async def test_dry_run_changes_nothing(server: Server) -> None:
    made = await server.call("create", "configmaps", body=config_map(), dryRun="All")
    assert made.metadata.uid and made.metadata.resource_version is None
    assert (await refused(server.call("get", "configmaps", "a"))).code == 404
    stored = await server.call("create", "configmaps", body=config_map())
    await server.call("delete", "configmaps", "a", dryRun="All")
    await server.call("update", "configmaps", "a", replace(stored, data={"k": "w"}), dryRun="All")
    assert await server.call("get", "configmaps", "a") is stored


async def test_a_stale_update_is_refused_and_one_without_revision_is_not(server: Server) -> None:
    first = await server.call("create", "configmaps", body=config_map())
    second = await server.call("update", "configmaps", "a", replace(first, data={"k": "w"}))
    error = await refused(server.call("update", "configmaps", "a", replace(first, data={"k": "x"})))
    assert error.message == (
        'Operation cannot be fulfilled on configmaps "a": the object has been modified; '
        "please apply your changes to the latest version and try again"
    )
    third = await server.call("update", "configmaps", "a", config_map())
    assert int(third.metadata.resource_version) > int(second.metadata.resource_version)
    assert third.metadata.uid == first.metadata.uid


async def test_an_update_that_changes_nothing_is_not_written(server: Server) -> None:
    made = await server.call("create", "configmaps", body=config_map(labels={"a": "1", "b": "2"}))
    same = replace(made, metadata=replace(made.metadata, labels={"b": "2", "a": "1"}))
    assert await server.call("update", "configmaps", "a", same) is made


async def test_a_lease_is_created_by_updating_it(server: Server) -> None:
    made = await server.call("update", "leases", "l", Lease(metadata=ObjectMeta(name="l")))
    assert made.metadata.uid


async def test_the_generation_counts_changes_of_the_spec_only(server: Server) -> None:
    labels = {"app": "web"}
    template = PodTemplateSpec(metadata=ObjectMeta(labels=labels), spec=pod().spec)
    spec = DeploymentSpec(selector=LabelSelector(match_labels=labels), template=template)
    made = await server.call("create", "deployments", body=Deployment(metadata=ObjectMeta(name="d"), spec=spec))
    assert made.metadata.generation == 1
    scaled = await server.call("update", "deployments", "d", replace(made, spec=replace(made.spec, replicas=3)))
    assert scaled.metadata.generation == 2
    status = replace(scaled, status=replace(scaled.status, replicas=3), spec=made.spec)
    reported = await server.call("update", "deployments", "d", status, subresource="status")
    assert (reported.metadata.generation, reported.spec, reported.status.replicas) == (2, scaled.spec, 3)


@pytest.mark.parametrize(
    ("content_type", "patch"),
    [
        ("application/json-patch+json", [{"op": "replace", "path": "/data/k", "value": "w"}]),
        ("application/merge-patch+json", {"data": {"k": "w"}}),
        ("application/strategic-merge-patch+json", {"data": {"k": "w"}}),
        ("application/apply-patch+yaml", {"apiVersion": "v1", "kind": "ConfigMap", "data": {"k": "w"}}),
    ],
)
async def test_each_patch_type_patches(server: Server, content_type: str, patch: Any) -> None:
    await server.call("create", "configmaps", body=config_map())
    options = {"fieldManager": "m", "force": "true"} if "apply" in content_type else {}
    patched = await server.call("patch", "configmaps", "a", patch, content_type=content_type, **options)
    assert dict(patched.data) == {"k": "w"}


async def test_an_apply_of_what_is_not_there_creates_it(server: Server) -> None:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "new"}, "data": {"k": "v"}}
    made = await server.call(
        "patch", "configmaps", "new", body, content_type="application/apply-patch+yaml", fieldManager="m"
    )
    assert [entry.manager for entry in made.metadata.managed_fields] == ["m"]


async def test_finalizers_hold_an_object_until_they_are_taken_away(server: Server) -> None:
    await server.call("create", "configmaps", body=config_map(finalizers=("example.com/hold",)))
    going = await server.call("delete", "configmaps", "a")
    assert going.metadata.deletion_timestamp and going.metadata.deletion_grace_period_seconds == 0
    more = replace(going, metadata=replace(going.metadata, finalizers=("example.com/hold", "example.com/two")))
    assert (await refused(server.call("update", "configmaps", "a", more))).code == 422
    await server.call("update", "configmaps", "a", replace(going, metadata=replace(going.metadata, finalizers=())))
    assert (await refused(server.call("get", "configmaps", "a"))).code == 404


@pytest.mark.parametrize(("policy", "finalizer"), [("Foreground", "foregroundDeletion"), ("Orphan", "orphan")])
async def test_a_propagation_policy_leaves_its_finalizer(server: Server, policy: str, finalizer: str) -> None:
    await server.call("create", "configmaps", body=config_map())
    going = await server.call("delete", "configmaps", "a", {"propagationPolicy": policy})
    assert going.metadata.finalizers == (finalizer,)


async def test_preconditions_guard_a_deletion(server: Server) -> None:
    made = await server.call("create", "configmaps", body=config_map())
    error = await refused(server.call("delete", "configmaps", "a", {"preconditions": {"uid": "other"}}))
    assert error.code == 409 and "the UID in the precondition (other)" in error.message
    status = await server.call("delete", "configmaps", "a", {"preconditions": {"uid": made.metadata.uid}})
    assert status["status"] == "Success" and status["details"]["uid"] == made.metadata.uid


async def test_a_bound_pod_is_deleted_by_its_kubelet_and_an_unbound_one_at_once(server: Server) -> None:
    await server.call("create", "pods", body=pod("bound", node_name="n"))
    await server.call("create", "pods", body=pod("free"))
    going = await server.call("delete", "pods", "bound")
    assert going.metadata.deletion_grace_period_seconds == 30
    assert (await server.call("delete", "pods", "bound", {"gracePeriodSeconds": 5})).metadata.generation == 2
    await server.call("delete", "pods", "free")
    assert [one.metadata.name for one in (await server.call("list", "pods")).items] == ["bound"]
    await server.call("delete", "pods", "bound", {"gracePeriodSeconds": 0})
    assert (await server.call("list", "pods")).items == []


async def test_a_binding_assigns_a_pod_once(server: Server) -> None:
    await server.call("create", "pods", body=pod())
    binding = Binding(metadata=ObjectMeta(name="p"), target=ObjectReference(kind="Node", name="n"))
    await server.call("create", "pods", "p", binding, subresource="binding")
    bound = await server.call("get", "pods", "p")
    assert bound.spec.node_name == "n"
    assert [(one.type, one.status) for one in bound.status.conditions] == [("PodScheduled", "True")]
    error = await refused(server.call("create", "pods", "p", binding, subresource="binding"))
    assert (error.code, error.message) == (
        409,
        'Operation cannot be fulfilled on pods/binding "p": pod p is already assigned to node "n"',
    )


async def test_scale_reads_and_sets_replicas(server: Server) -> None:
    labels = {"app": "web"}
    template = PodTemplateSpec(metadata=ObjectMeta(labels=labels), spec=pod().spec)
    spec = DeploymentSpec(selector=LabelSelector(match_labels=labels), template=template, replicas=2)
    await server.call("create", "deployments", body=Deployment(metadata=ObjectMeta(name="d"), spec=spec))
    scale = await server.call("get", "deployments", "d", subresource="scale")
    assert (scale.spec.replicas, scale.status.selector) == (2, "app=web")
    await server.call(
        "update", "deployments", "d", replace(scale, spec=replace(scale.spec, replicas=5)), subresource="scale"
    )
    assert (await server.call("get", "deployments", "d")).spec.replicas == 5


async def test_nothing_is_created_in_a_namespace_that_goes_or_is_not_there(server: Server) -> None:
    await server.call("create", "namespaces", body=Namespace(metadata=ObjectMeta(name="n")), namespace="")
    going = await server.call("delete", "namespaces", "n", namespace="")
    assert going.status.phase == "Terminating"
    error = await refused(server.call("create", "configmaps", body=config_map(), namespace="n"))
    assert (error.code, error.status["details"]["causes"][0]["reason"]) == (403, "NamespaceTerminating")
    assert (await refused(server.call("create", "configmaps", body=config_map(), namespace="absent"))).code == 404
    await server.call(
        "update", "namespaces", "n", Namespace(metadata=ObjectMeta(name="n")), namespace="", subresource="finalize"
    )
    assert (await refused(server.call("get", "namespaces", "n", namespace=""))).code == 404


async def test_pages_show_one_revision_whatever_happens_between_them(server: Server) -> None:
    for name in "abcde":
        await server.call("create", "configmaps", body=config_map(name))
    first = await server.call("list", "configmaps", limit="2")
    assert ([one.metadata.name for one in first.items], first.remaining_item_count) == (["a", "b"], 3)
    await server.call("delete", "configmaps", "c")
    await server.call("create", "configmaps", body=config_map("cc"))
    second = await server.call("list", "configmaps", limit="9", continue_=first.continue_)
    assert [one.metadata.name for one in second.items] == ["c", "d", "e"]
    assert (second.resource_version, second.continue_) == (first.resource_version, "")


async def test_selectors_choose_what_is_listed_and_deleted(server: Server) -> None:
    for name, tier in (("a", "web"), ("b", "db"), ("c", "web")):
        await server.call("create", "secrets", body=Secret(metadata=ObjectMeta(name=name, labels={"tier": tier})))
    found = await server.call("list", "secrets", labelSelector="tier=web", fieldSelector="metadata.name!=a")
    assert [one.metadata.name for one in found.items] == ["c"]
    await server.call("deletecollection", "secrets", labelSelector="tier in (web)")
    assert [one.metadata.name for one in (await server.call("list", "secrets")).items] == ["b"]


@pytest.mark.parametrize("name", ["default", "kube-system", "kube-public"])
async def test_a_namespace_that_a_cluster_cannot_be_without_stays(server: Server, name: str) -> None:
    error = await refused(server.call("delete", "namespaces", name, namespace=""))
    text = f'namespaces "{name}" is forbidden: this namespace may not be deleted'
    assert (error.code, error.reason, error.message) == (403, "Forbidden", text)
    assert (await server.call("get", "namespaces", name, namespace="")).status.phase == "Active"


async def test_the_namespace_of_node_leases_may_be_deleted_as_any_other(server: Server) -> None:
    gone = await server.call("delete", "namespaces", "kube-node-lease", namespace="")
    assert gone.status.phase == "Terminating"


async def test_a_pod_without_a_node_has_no_log(server: Server) -> None:
    await server.call("create", "pods", body=pod())
    stream = await server.call("get", "pods", "p", subresource="log")
    assert [chunk async for chunk in stream] == []
