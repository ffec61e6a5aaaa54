"""Nodes that fall silent, and what becomes of their pods."""

from __future__ import annotations

import msgspec

from kubeloop.actors.api import meta
from kubeloop.actors.api.core_v1 import Toleration
from kubeloop.actors.controller_manager import node_health, pod_facts
from tests.controller_manager.factories import deployment
from tests.controller_manager.test_services import addresses, service
from tests.controller_manager.world import World, play

QUICK = (
    Toleration(key=node_health.UNREACHABLE, operator="Exists", effect="NoExecute", toleration_seconds=5),
    Toleration(key=node_health.NOT_READY, operator="Exists", effect="NoExecute", toleration_seconds=5),
)


async def taints(world: World, name: str) -> list[tuple[str | None, str | None]]:
    node = await world.client.get("nodes", name)
    return sorted((taint.key, taint.effect) for taint in (node.spec.taints))


async def deploy(world: World, replicas: int) -> None:
    web = deployment(replicas)
    template = msgspec.structs.replace(
        web.spec.template, spec=msgspec.structs.replace(web.spec.template.spec, tolerations=QUICK)
    )
    await world.client.create(msgspec.structs.replace(web, spec=msgspec.structs.replace(web.spec, template=template)))
    await world.until(world.rolled_out)


def test_a_living_node_has_no_taints_and_keeps_quiet() -> None:
    async def scenario(world: World) -> None:
        await world.rest(1)
        assert await taints(world, "node-1") == []
        before = await world.revision()
        await world.rest(300)
        assert await world.revision() - before == 30 * 2 + 1  # the leases of two nodes, the compactor's clock

    play(scenario)


def test_pods_of_a_lost_node_move_and_its_endpoints_go() -> None:
    async def scenario(world: World) -> None:
        await world.client.create(service())
        await deploy(world, 4)
        assert len(await addresses(world)) == 4
        lost = [pod for pod in await world.pods() if pod_facts.node_name(pod) == "node-2"]
        world.dead.add("node-2")

        async def silent() -> bool:
            return node_health.ready_status(await world.client.get("nodes", "node-2")) == "Unknown"

        started = world.system.clock.monotonic()
        await world.until(silent)
        assert 25 <= world.system.clock.monotonic() - started <= 41
        await world.rest(0.5)
        assert await taints(world, "node-2") == [
            (node_health.UNREACHABLE, "NoExecute"),
            (node_health.UNREACHABLE, "NoSchedule"),
        ]
        assert len(await addresses(world)) == 4 - len(lost)
        await world.rest(6)
        active = [pod for pod in await world.pods() if pod_facts.is_active(pod)]
        assert len(active) == 4 and {pod_facts.node_name(pod) for pod in active} == {"node-1"}
        assert len(await addresses(world)) == 4

    play(scenario)


def test_a_node_that_comes_back_in_time_keeps_its_pods() -> None:
    async def scenario(world: World) -> None:
        await world.client.create(deployment(4))  # tolerates 300 s
        await world.until(world.rolled_out)
        names = await world.names("pods")
        world.dead.add("node-2")
        await world.rest(100)
        assert await taints(world, "node-2") != []
        world.dead.discard("node-2")
        await world.rest(15)
        assert await taints(world, "node-2") == []
        await world.rest(400)
        assert await world.names("pods") == names

    play(scenario)


def test_pods_of_a_deleted_node_are_collected() -> None:
    async def scenario(world: World) -> None:
        await world.client.create(deployment(4))
        await world.until(world.rolled_out)
        world.dead.add("node-2")
        await world.client.delete("nodes", "node-2")
        await world.rest(45)
        pods = await world.pods()
        assert len(pods) == 4 and {pod_facts.node_name(pod) for pod in pods} == {"node-1"}

    play(scenario)


def test_a_no_execute_taint_evicts_what_does_not_tolerate_it() -> None:
    async def scenario(world: World) -> None:
        await world.client.create(deployment(4))
        await world.until(world.rolled_out)
        patch = {"spec": {"taints": [{"key": "maintenance", "effect": "NoExecute"}]}}
        moved = [meta.name(pod) for pod in await world.pods() if pod_facts.node_name(pod) == "node-1"]
        await world.client.patch("nodes", "node-1", patch, type="merge")

        async def evicted() -> bool:
            return not set(moved) & set(await world.names("pods"))

        await world.until(evicted)

    play(scenario)


def test_a_pod_that_tolerates_a_taint_for_a_minute_leaves_after_it_though_the_taint_has_no_time() -> None:
    async def scenario(world: World) -> None:
        await world.client.create(deployment(4))
        await world.until(world.rolled_out)
        stays = [pod for pod in await world.pods() if pod_facts.node_name(pod) == "node-1"]
        minute = Toleration(key="maintenance", operator="Exists", effect="NoExecute", toleration_seconds=60)
        for pod in stays:
            spec = msgspec.structs.replace(pod.spec, tolerations=(*pod.spec.tolerations, minute))
            await world.client.update(msgspec.structs.replace(pod, spec=spec))
        names = {meta.name(pod) for pod in stays}
        patch = {"spec": {"taints": [{"key": "maintenance", "effect": "NoExecute"}]}}
        await world.client.patch("nodes", "node-1", patch, type="merge")
        await world.rest(55)
        assert names <= set(await world.names("pods"))
        await world.rest(10)
        assert not names & set(await world.names("pods"))

    play(scenario)
