"""Namespaces in a living API server: what a new one gets, and how one goes."""

from __future__ import annotations

from kubeloop.actors.api import meta
from kubeloop.actors.api.core_v1 import ConfigMap, Namespace, Secret
from kubeloop.actors.api.errors import StatusError
from kubeloop.actors.api.meta_v1 import ObjectMeta
from kubeloop.actors.controller_manager import pod_facts
from kubeloop.actors.controller_manager.actor import PublishRootCa
from tests.controller_manager.factories import deployment
from tests.controller_manager.world import World, play


def namespace(name: str = "team") -> Namespace:
    return Namespace(metadata=ObjectMeta(name=name))


def test_every_namespace_has_a_default_service_account_again_and_again() -> None:
    async def scenario(world: World) -> None:
        await world.client.create(namespace())

        async def there() -> bool:
            return "default" in await world.names("serviceaccounts", "team")

        await world.until(there)
        await world.client.delete("serviceaccounts", "default", "team")
        await world.until(there)
        assert "default" in await world.names("serviceaccounts", "kube-system")

    play(scenario, nodes=0)


def test_the_root_certificate_is_published_and_kept_as_it_is() -> None:
    async def scenario(world: World) -> None:
        await world.client.create(namespace())

        async def published() -> bool:
            if "kube-root-ca.crt" not in await world.names("configmaps", "team"):
                return False
            found = await world.client.get("configmaps", "kube-root-ca.crt", "team")
            return bool(found.data.get("ca.crt") == "PEM")

        await world.until(published)
        await world.client.patch("configmaps", "kube-root-ca.crt", {"data": {"ca.crt": "bad"}}, "team", type="merge")
        await world.until(published)

    play(scenario, nodes=0, root_ca="PEM")


def test_a_deleted_namespace_takes_everything_in_it() -> None:
    async def scenario(world: World) -> None:
        await world.client.create(namespace())
        import msgspec

        web = deployment(3)
        metadata = msgspec.structs.replace(web.metadata, namespace="team", uid=None)
        await world.client.create(msgspec.structs.replace(web, metadata=metadata), "team")
        await world.client.create(Secret(metadata=ObjectMeta(name="s", namespace="team")), "team")

        async def running() -> bool:
            return len([pod for pod in await world.pods(namespace="team") if pod_facts.is_ready(pod)]) == 3

        await world.until(running)
        await world.client.delete("namespaces", "team")
        await world.until(lambda: world.gone("namespaces", "team", None))
        for resource in ("pods", "replicasets.apps", "deployments.apps", "secrets", "serviceaccounts"):
            assert await world.names(resource, "team") == []
        assert "default" in await world.names("serviceaccounts", "default")

    play(scenario)


def test_a_finalizer_holds_the_namespace_and_the_conditions_say_so() -> None:
    async def scenario(world: World) -> None:
        await world.client.create(namespace())
        held = ConfigMap(metadata=ObjectMeta(name="held", namespace="team", finalizers=("example.com/hold",)))
        await world.client.create(held, "team")
        await world.client.delete("namespaces", "team")
        await world.rest(20)
        found = await world.client.get("namespaces", "team")
        remaining = pod_facts.condition_of(found.status.conditions, "NamespaceContentRemaining")
        assert remaining is not None and remaining.status == "True" and "configmaps" in (remaining.message or "")
        finalizers = pod_facts.condition_of(found.status.conditions, "NamespaceFinalizersRemaining")
        assert finalizers is not None and "example.com/hold in 1 resource instances" in (finalizers.message or "")
        before = await world.revision()
        await world.rest(20)
        assert await world.revision() == before
        patch = {"metadata": {"finalizers": None}}
        await world.client.patch("configmaps", "held", patch, "team", type="merge")
        await world.until(lambda: world.gone("namespaces", "team", None))

    play(scenario, nodes=0)


def test_nothing_new_is_made_in_a_namespace_on_its_way_out() -> None:
    async def scenario(world: World) -> None:
        await world.client.create(namespace())
        held = ConfigMap(metadata=ObjectMeta(name="held", namespace="team", finalizers=("example.com/hold",)))
        await world.client.create(held, "team")
        await world.client.delete("namespaces", "team")
        await world.rest(1)
        try:
            await world.client.create(Secret(metadata=ObjectMeta(name="s", namespace="team")), "team")
        except StatusError as error:
            assert error.code == 403
        else:
            raise AssertionError("a create in a terminating namespace was accepted")
        assert meta.name(await world.client.get("namespaces", "team")) == "team"

    play(scenario, nodes=0)


def test_a_root_certificate_that_comes_later_is_published_then_and_only_then() -> None:
    async def scenario(world: World) -> None:
        manager = world.system.ref("kube-controller-manager", source_host="control-plane-0")
        await world.client.create(namespace())
        await world.client.create(ConfigMap(metadata=ObjectMeta(name="other", namespace="team")), "team")
        assert "kube-root-ca.crt" not in await world.names("configmaps", "team")
        await manager.ask(PublishRootCa("PEM"))

        async def published() -> bool:
            return "kube-root-ca.crt" in await world.names("configmaps", "team")

        await world.until(published)
        await manager.ask(PublishRootCa("PEM"))
        await world.client.delete("configmaps", "kube-root-ca.crt", "team")
        await world.until(published)

    play(scenario, nodes=0)
