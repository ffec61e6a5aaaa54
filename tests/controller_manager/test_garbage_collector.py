"""The garbage collector against a living API server: cascades, and what must not be deleted."""

from __future__ import annotations

from typing import Any

import pytest

from kubeloop.actors.api import codec, meta
from kubeloop.actors.api.apiextensions_v1 import CustomResourceDefinition
from kubeloop.actors.api.core_v1 import ConfigMap
from kubeloop.actors.api.meta_v1 import ObjectMeta, OwnerReference
from kubeloop.actors.apiserver.messages import Request
from kubeloop.actors.apiserver.stored_resources import STORED_RESOURCES
from tests.controller_manager.factories import deployment
from tests.controller_manager.world import MANAGER, World, play


def config_map(
    name: str, *owners: Any, blocks: bool = True, namespace: str = "default", finalizers: tuple[str, ...] = ()
) -> ConfigMap:
    references = tuple(
        OwnerReference(
            api_version=owner["apiVersion"] if isinstance(owner, dict) else "v1",
            kind=owner["kind"] if isinstance(owner, dict) else "ConfigMap",
            name=meta.name(owner),
            uid=meta.uid(owner),
            block_owner_deletion=blocks,
        )
        for owner in owners
    )
    return ConfigMap(
        metadata=ObjectMeta(name=name, namespace=namespace, owner_references=references, finalizers=finalizers)
    )


async def web(world: World) -> None:
    await world.client.create(deployment(3))
    await world.until(world.rolled_out)


def test_background_deletion_takes_everything_below() -> None:
    async def scenario(world: World) -> None:
        await web(world)
        await world.client.delete("deployments.apps", "web", "default")

        async def nothing_left() -> bool:
            return not await world.names("replicasets.apps") and not await world.names("pods")

        await world.until(nothing_left)

    play(scenario)


def test_foreground_deletion_keeps_the_owner_until_its_dependents_are_gone() -> None:
    async def scenario(world: World) -> None:
        await web(world)
        await world.client.delete("deployments.apps", "web", "default", propagation_policy="Foreground")
        found = await world.client.get("deployments.apps", "web", "default")
        assert meta.deletion_timestamp(found) is not None
        while not await world.gone("deployments.apps", "web"):
            await world.rest(0.001)
        assert await world.names("replicasets.apps") == [] and await world.names("pods") == []

    play(scenario)


def test_orphaned_dependents_stay_and_forget_their_owner() -> None:
    async def scenario(world: World) -> None:
        await web(world)
        await world.client.delete("deployments.apps", "web", "default", propagation_policy="Orphan")
        await world.until(lambda: world.gone("deployments.apps", "web"))
        await world.rest(5)
        (left,) = (await world.client.list("replicasets.apps", "default")).items
        assert meta.owner_references(left) in ((), []) and len(await world.pods()) == 3

    play(scenario)


def test_a_dependent_of_an_owner_that_never_was_is_deleted() -> None:
    async def scenario(world: World) -> None:
        ghost = ConfigMap(metadata=ObjectMeta(name="ghost", uid="no-such-uid"))
        await world.client.create(config_map("child", ghost))
        await world.until(lambda: world.gone("configmaps", "child"))

    play(scenario, nodes=0)


def test_an_owner_of_the_same_name_but_another_uid_is_absent() -> None:
    async def scenario(world: World) -> None:
        await world.client.create(config_map("owner"))
        former = ConfigMap(metadata=ObjectMeta(name="owner", uid="former-uid"))
        await world.client.create(config_map("child", former))
        await world.until(lambda: world.gone("configmaps", "child"))
        assert not await world.gone("configmaps", "owner")

    play(scenario, nodes=0)


def test_one_owner_left_is_enough_and_the_lost_one_is_forgotten() -> None:
    async def scenario(world: World) -> None:
        first = await world.client.create(config_map("first"))
        second = await world.client.create(config_map("second"))
        await world.client.create(config_map("child", first, second))
        await world.client.delete("configmaps", "first", "default")

        async def forgotten() -> bool:
            child = await world.client.get("configmaps", "child", "default")
            return [reference.name for reference in meta.owner_references(child)] == ["second"]

        await world.until(forgotten)

    play(scenario, nodes=0)


def test_a_dependent_that_does_not_block_does_not_hold_its_owner() -> None:
    async def scenario(world: World) -> None:
        owner = await world.client.create(config_map("owner"))
        await world.client.create(config_map("child", owner, blocks=False, finalizers=("example.com/hold",)))
        await world.client.delete("configmaps", "owner", "default", propagation_policy="Foreground")
        await world.until(lambda: world.gone("configmaps", "owner"))
        assert not await world.gone("configmaps", "child")

    play(scenario, nodes=0)


def test_a_cycle_in_foreground_deletion_ends() -> None:
    async def scenario(world: World) -> None:
        first = await world.client.create(config_map("first"))
        second = await world.client.create(config_map("second", first))
        reference = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "name": "second",
            "uid": meta.uid(second),
            "blockOwnerDeletion": True,
        }
        patch = {"metadata": {"ownerReferences": [reference]}}
        await world.client.patch("configmaps", "first", patch, "default", type="merge")
        await world.rest(1)
        await world.client.delete("configmaps", "first", "default", propagation_policy="Foreground")

        async def both_gone() -> bool:
            return await world.gone("configmaps", "first") and await world.gone("configmaps", "second")

        await world.until(both_gone)

    play(scenario, nodes=0)


def test_an_owner_in_another_namespace_is_no_owner() -> None:
    async def scenario(world: World) -> None:
        owner = await world.client.create(config_map("owner"))
        await world.client.create(config_map("child", owner, namespace="kube-public"))
        await world.until(lambda: world.gone("configmaps", "child", "kube-public"))
        assert not await world.gone("configmaps", "owner")

    play(scenario, nodes=0)


def ingress_class(name: str, *owners: Any) -> Any:
    from kubeloop.actors.api.networking_v1 import IngressClass, IngressClassSpec

    references = config_map("unused", *owners).metadata.owner_references
    metadata = ObjectMeta(name=name, owner_references=references)
    return IngressClass(metadata=metadata, spec=IngressClassSpec(controller="example.com/ingress"))


@pytest.mark.parametrize("tells", [True, False])
def test_a_resource_that_nobody_used_before_is_collected_too(tells: bool) -> None:
    async def scenario(world: World) -> None:
        await world.rest(1)
        owner = await world.client.create(ingress_class("owner"))
        reference = {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "IngressClass",
            "name": "owner",
            "uid": meta.uid(owner),
        }
        await world.client.create(config_map("child"))
        patch = {"metadata": {"ownerReferences": [reference]}}
        await world.client.patch("configmaps", "child", patch, "default", type="merge")
        await world.rest(1)
        assert not await world.gone("configmaps", "child")
        await world.client.delete("ingressclasses", "owner")
        await world.until(lambda: world.gone("configmaps", "child"))

    play(scenario, nodes=0, tells_what_is_stored=tells)


def test_the_first_object_of_a_resource_may_be_one_in_foreground_deletion() -> None:
    async def scenario(world: World) -> None:
        await world.rest(1)
        await world.client.create(ingress_class("alone"))
        await world.client.delete("ingressclasses", "alone", propagation_policy="Foreground")
        await world.until(lambda: world.gone("ingressclasses", "alone", None))

    play(scenario, nodes=0)


def test_only_resources_that_hold_objects_are_watched() -> None:
    async def scenario(world: World) -> None:
        names = [each["metadata"]["name"] for each in (await world.client.list(STORED_RESOURCES)).items]
        assert "namespaces" in names and "ingressclasses.networking.k8s.io" not in names
        await world.client.create(ingress_class("first"))
        names = [each["metadata"]["name"] for each in (await world.client.list(STORED_RESOURCES)).items]
        assert "ingressclasses.networking.k8s.io" in names

    play(scenario, nodes=0)


def definition() -> CustomResourceDefinition:
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    found: CustomResourceDefinition = codec.convert(
        {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": "widgets.example.com"},
            "spec": {
                "group": "example.com",
                "scope": "Namespaced",
                "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"},
                "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
            },
        },
        CustomResourceDefinition,
    )
    return found


def test_what_a_crash_left_undone_is_done_after_the_restart() -> None:
    async def scenario(world: World) -> None:
        await web(world)
        world.system.crash(MANAGER)
        await world.client.delete("deployments.apps", "web", "default")

        async def nothing_left() -> bool:
            return not await world.names("replicasets.apps") and not await world.names("pods")

        await world.until(nothing_left)

    play(scenario)


@pytest.mark.parametrize("policy", ["Background", "Foreground"])
def test_custom_resources_own_and_are_owned(policy: str) -> None:
    async def scenario(world: World) -> None:
        await world.client.create(definition())
        owner = await world.client.create(config_map("owner"))
        widget = {
            "apiVersion": "example.com/v1",
            "kind": "Widget",
            "metadata": {
                "name": "middle",
                "namespace": "default",
                "ownerReferences": [
                    {
                        "apiVersion": "v1",
                        "kind": "ConfigMap",
                        "name": "owner",
                        "uid": meta.uid(owner),
                        "blockOwnerDeletion": True,
                    }
                ],
            },
        }
        await world.rest(1)
        request = Request("create", "example.com", "v1", "widgets", namespace="default", body=widget)
        middle = (await world.client.raw(request)).body
        await world.client.create(config_map("child", middle))
        await world.rest(1)
        assert not await world.gone("configmaps", "child")
        await world.client.delete("configmaps", "owner", "default", propagation_policy=policy)
        await world.until(lambda: world.gone("configmaps", "child"))
        await world.until(lambda: world.gone("configmaps", "owner"))
        assert (await world.client.raw(Request("list", "example.com", "v1", "widgets"))).body.items == []

    play(scenario, nodes=0)
