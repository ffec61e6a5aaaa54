"""ReplicaSets in a living API server: adoption, release, and never one pod too many."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from kubeloop.actors.api import meta
from kubeloop.actors.api.apps_v1 import ReplicaSet, ReplicaSetSpec
from kubeloop.actors.api.core_v1 import (
    Container,
    Pod,
    PodSpec,
    ReplicationController,
    ReplicationControllerSpec,
)
from kubeloop.actors.api.meta_v1 import LabelSelector, ObjectMeta
from kubeloop.actors.client.informer import InformerFactory
from kubeloop.actors.controller_manager import pod_facts
from tests.controller_manager.factories import LABELS, template
from tests.controller_manager.world import MANAGER, World, play


def replica_set(replicas: int, **spec: Any) -> ReplicaSet:
    return ReplicaSet(
        metadata=ObjectMeta(name="web", namespace="default"),
        spec=ReplicaSetSpec(
            replicas=replicas, selector=LabelSelector(match_labels=LABELS), template=template(), **spec
        ),
    )


async def ready(world: World, count: int, resource: str = "replicasets.apps") -> bool:
    found = await world.client.get(resource, "web", "default")
    return (found.status.ready_replicas or 0) == count and found.status.replicas == count


def test_pods_are_made_with_an_owner_and_an_event() -> None:
    async def scenario(world: World) -> None:
        await world.client.create(replica_set(3))
        await world.until(lambda: ready(world, 3))
        for pod in await world.pods():
            owner = meta.controller_of(pod)
            assert owner is not None and (owner.kind, owner.name, owner.block_owner_deletion) == (
                "ReplicaSet",
                "web",
                True,
            )
        await world.rest(1)
        events = (await world.client.list("events", "default")).items
        assert sum("Created pod: web-" in (event.message or "") for event in events) >= 1
        assert {event.reason for event in events} == {"SuccessfulCreate"}

    play(scenario)


def test_a_matching_orphan_is_adopted_and_a_relabelled_pod_released() -> None:
    async def scenario(world: World) -> None:
        orphan = Pod(
            metadata=ObjectMeta(name="orphan", namespace="default", labels=LABELS),
            spec=PodSpec(containers=(Container(name="web", image="web:1"),)),
        )
        await world.client.create(orphan)
        await world.client.create(replica_set(2))
        await world.until(lambda: ready(world, 2))
        pods = await world.pods()
        assert len(pods) == 2 and all(meta.controller_of(pod) is not None for pod in pods)
        assert "orphan" in [meta.name(pod) for pod in pods]
        await world.client.patch("pods", "orphan", {"metadata": {"labels": {"app": "other"}}}, "default", type="merge")

        async def released() -> bool:
            pods = {meta.name(pod): pod for pod in await world.pods()}
            return len(pods) == 3 and meta.controller_of(pods["orphan"]) is None

        await world.until(released)

    play(scenario)


def test_two_thousand_pods_are_made_exactly_once() -> None:
    async def scenario(world: World) -> None:
        await world.client.create(replica_set(2000))

        async def all_there() -> bool:
            assert len(await world.pods()) <= 2000
            return await ready(world, 2000)

        await world.until(all_there)
        assert len(await world.pods()) == 2000

    play(scenario, nodes=4)


def test_crashes_in_between_make_no_pod_too_many() -> None:
    async def scenario(world: World) -> None:
        await world.client.create(replica_set(60))
        for _ in range(5):
            world.system.crash(MANAGER)
            await world.rest(0.5)
            assert len(await world.pods()) <= 60
        await world.until(lambda: ready(world, 60))

    play(scenario)


@pytest.mark.parametrize("seed", range(4))
def test_caches_that_lag_behind_lead_to_no_pod_too_many(seed: int) -> None:
    async def scenario(world: World) -> None:
        factory = InformerFactory(world.client, world.system, world.system.clock)
        pods = factory.informer("pods")  # this one does not lag
        most = [0]
        pods.add_handler(lambda old, new: most.append(len(pods)))
        await factory.start()
        await world.client.create(replica_set(0))
        for size in range(1, 31):
            await world.client.patch("replicasets.apps", "web", {"spec": {"replicas": size}}, "default", type="merge")
            while not await ready(world, size):
                await world.rest(0.2)
            await world.rest(1.0)
            assert max(most) == size
        factory.stop()

    play(scenario, seed=seed, latency_seconds=(0.0, 3.0))


def test_scaling_down_takes_the_unready_first() -> None:
    async def scenario(world: World) -> None:
        await world.client.create(replica_set(4))
        await world.until(lambda: ready(world, 4))
        victim = (await world.pods())[2]
        conditions = tuple(msgspec.structs.replace(each, status="False") for each in victim.status.conditions)
        status = msgspec.structs.replace(victim.status, conditions=conditions)
        await world.client.update_status(msgspec.structs.replace(victim, status=status))
        await world.client.patch("replicasets.apps", "web", {"spec": {"replicas": 3}}, "default", type="merge")
        await world.until(lambda: ready(world, 3))
        assert meta.name(victim) not in await world.names("pods")

    play(scenario)


def test_availability_waits_for_min_ready_seconds() -> None:
    async def scenario(world: World) -> None:
        await world.client.create(replica_set(1, min_ready_seconds=20))
        await world.until(lambda: ready(world, 1))
        assert not (await world.client.get("replicasets.apps", "web", "default")).status.available_replicas
        await world.rest(21)
        assert (await world.client.get("replicasets.apps", "web", "default")).status.available_replicas == 1

    play(scenario)


def test_a_replication_controller_does_the_same() -> None:
    async def scenario(world: World) -> None:
        controller = ReplicationController(
            metadata=ObjectMeta(name="web", namespace="default"),
            spec=ReplicationControllerSpec(replicas=2, selector=LABELS, template=template()),
        )
        await world.client.create(controller)
        await world.until(lambda: ready(world, 2, "replicationcontrollers"))
        victim = (await world.pods())[0]
        await world.client.delete(victim)

        async def replaced() -> bool:
            names = await world.names("pods")
            return len(names) == 2 and meta.name(victim) not in names

        await world.until(replaced)
        assert all(pod_facts.is_active(pod) for pod in await world.pods())

    play(scenario)
