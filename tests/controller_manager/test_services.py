"""Services' endpoints in a living API server."""

from __future__ import annotations

import msgspec

from kubeloop.actors.api import meta
from kubeloop.actors.api.core_v1 import Service, ServicePort, ServiceSpec
from kubeloop.actors.api.meta_v1 import ObjectMeta
from kubeloop.actors.controller_manager import pod_facts
from tests.controller_manager.factories import LABELS, deployment
from tests.controller_manager.world import World, play

SELECTOR = "kubernetes.io/service-name=web"


def service() -> Service:
    return Service(
        metadata=ObjectMeta(name="web", namespace="default"),
        spec=ServiceSpec(selector=LABELS, ports=(ServicePort(name="http", port=80, target_port=8080),)),
    )


async def addresses(world: World, *, ready: bool = True) -> list[str]:
    slices = (await world.client.list("endpointslices.discovery.k8s.io", "default", label_selector=SELECTOR)).items
    return sorted(
        endpoint.addresses[0]
        for each in slices
        for endpoint in each.endpoints
        if endpoint.conditions is not None and endpoint.conditions.ready is ready
    )


async def ready_ips(world: World) -> list[str]:
    return sorted(pod_facts.pod_ips(pod)[0] for pod in await world.pods() if pod_facts.is_ready(pod))


def test_ready_pods_are_published_in_both_forms() -> None:
    async def scenario(world: World) -> None:
        await world.client.create(service())
        await world.client.create(deployment(3))
        await world.until(world.rolled_out)
        await world.rest(1)
        assert await addresses(world) == await ready_ips(world) and len(await addresses(world)) == 3
        endpoints = await world.client.get("endpoints", "web", "default")
        assert sorted(address.ip for address in endpoints.subsets[0].addresses) == await ready_ips(world)
        assert [(port.name, port.port) for port in endpoints.subsets[0].ports] == [("http", 8080)]
        before = await world.revision()
        await world.rest(5)
        assert await world.revision() == before

    play(scenario)


def test_a_pod_that_loses_readiness_leaves_the_ready_endpoints_at_once() -> None:
    async def scenario(world: World) -> None:
        await world.client.create(service())
        await world.client.create(deployment(2))
        await world.until(world.rolled_out)
        victim = (await world.pods())[0]
        conditions = tuple(msgspec.structs.replace(each, status="False") for each in victim.status.conditions)
        status = msgspec.structs.replace(victim.status, conditions=conditions)
        await world.client.update_status(msgspec.structs.replace(victim, status=status))
        await world.rest(0.05)
        assert await addresses(world, ready=False) == [pod_facts.pod_ips(victim)[0]]
        assert len(await addresses(world)) == 1

    play(scenario)


def test_a_deleted_service_takes_its_endpoints_with_it() -> None:
    async def scenario(world: World) -> None:
        await world.client.create(service())
        await world.client.create(deployment(1))
        await world.until(world.rolled_out)
        await world.client.delete("services", "web", "default")

        async def gone() -> bool:
            slices = await world.names("endpointslices.discovery.k8s.io", label_selector=SELECTOR)
            return not slices and "web" not in await world.names("endpoints")

        await world.until(gone)

    play(scenario)


def test_a_slice_that_somebody_deletes_comes_back() -> None:
    async def scenario(world: World) -> None:
        await world.client.create(service())
        await world.client.create(deployment(2))
        await world.until(world.rolled_out)
        await world.rest(1)
        (name,) = await world.names("endpointslices.discovery.k8s.io", label_selector=SELECTOR)
        await world.client.delete("endpointslices.discovery.k8s.io", name, "default")

        async def back() -> bool:
            return len(await addresses(world)) == 2

        await world.until(back)
        (found,) = (
            await world.client.list("endpointslices.discovery.k8s.io", "default", label_selector=SELECTOR)
        ).items
        owner = meta.controller_of(found)
        assert owner is not None and owner.kind == "Service"

    play(scenario)
