"""Deployments in a living API server: the world's state after a rollout, a scale, a rollback, a crash."""

from __future__ import annotations

import msgspec

from kubeloop.actors.api import meta
from kubeloop.actors.controller_manager import pod_facts
from tests.controller_manager.factories import deployment
from tests.controller_manager.world import MANAGER, World, play


async def image_is(world: World, image: str, count: int) -> bool:
    pods = [pod for pod in await world.pods() if pod_facts.is_active(pod)]
    return len(pods) == count and all(pod.spec.containers[0].image == image for pod in pods)


async def set_image(world: World, image: str) -> None:
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "web", "image": image}]}}}}
    await world.client.patch("deployments.apps", "web", patch, "default", type="strategic")


def test_a_deployment_becomes_available_and_then_rests() -> None:
    async def scenario(world: World) -> None:
        await world.client.create(deployment(3))
        await world.until(world.rolled_out)
        assert len(await world.pods()) == 3
        found = await world.client.get("deployments.apps", "web", "default")
        assert meta.annotations(found)["deployment.kubernetes.io/revision"] == "1"
        progressing = pod_facts.condition_of(found.status.conditions, "Progressing")
        assert progressing is not None and progressing.reason == "NewReplicaSetAvailable"
        available = pod_facts.condition_of(found.status.conditions, "Available")
        assert available is not None and available.status == "True"
        await world.rest(2)
        before = await world.revision()
        await world.rest(7)  # less than a lease's renewal
        assert await world.revision() == before

    play(scenario, nodes=2)


def test_a_rolling_update_never_has_too_few_or_too_many_pods() -> None:
    async def scenario(world: World) -> None:
        await world.client.create(deployment(8, surge=2, unavailable=2))
        await world.until(world.rolled_out)
        counts: list[tuple[int, int]] = []
        await set_image(world, "web:2")
        while not await image_is(world, "web:2", 8):
            active = [pod for pod in await world.pods() if pod_facts.is_active(pod)]
            counts.append((len(active), sum(pod_facts.is_ready(pod) for pod in active)))
            await world.rest(0.001)
        assert all(total <= 10 for total, _ in counts) and all(ready >= 6 for _, ready in counts)
        await world.until(world.rolled_out)
        sets = (await world.client.list("replicasets.apps", "default")).items
        assert sorted(
            (meta.annotations(each)["deployment.kubernetes.io/revision"], each.spec.replicas) for each in sets
        ) == [
            ("1", 0),
            ("2", 8),
        ]

    play(scenario)


def test_a_rollback_brings_the_first_revision_back_as_the_third() -> None:
    async def scenario(world: World) -> None:
        await world.client.create(deployment(3, "web:1"))
        await world.until(world.rolled_out)
        await set_image(world, "web:2")
        await world.until(lambda: image_is(world, "web:2", 3))
        await set_image(world, "web:1")
        await world.until(lambda: image_is(world, "web:1", 3))
        await world.until(world.rolled_out)
        sets = (await world.client.list("replicasets.apps", "default")).items
        revisions = sorted(meta.annotations(each)["deployment.kubernetes.io/revision"] for each in sets)
        assert revisions == ["2", "3"]
        found = await world.client.get("deployments.apps", "web", "default")
        assert meta.annotations(found)["deployment.kubernetes.io/revision"] == "3"

    play(scenario)


def test_scaling_up_and_down_changes_the_pods_only() -> None:
    async def scenario(world: World) -> None:
        await world.client.create(deployment(2))
        await world.until(world.rolled_out)
        for size in (5, 0, 3):
            await world.client.patch("deployments.apps", "web", {"spec": {"replicas": size}}, "default", type="merge")
            await world.until(world.rolled_out)

            async def has_size(size: int = size) -> bool:
                return len(await world.pods()) == size

            await world.until(has_size)
        assert len(await world.names("replicasets.apps")) == 1

    play(scenario)


def test_recreate_never_runs_two_revisions_at_once() -> None:
    async def scenario(world: World) -> None:
        await world.client.create(deployment(3, recreate=True))
        await world.until(world.rolled_out)
        await set_image(world, "web:2")
        while not await image_is(world, "web:2", 3):
            images = {pod.spec.containers[0].image for pod in await world.pods()}
            assert len(images) <= 1
            await world.rest(0.001)
        await world.until(world.rolled_out)

    play(scenario)


def test_a_rollout_that_cannot_get_ready_stops_and_says_so() -> None:
    async def scenario(world: World) -> None:
        world.broken_images.add("web:broken")
        await world.client.create(deployment(4, progress_deadline_seconds=30))
        await world.until(world.rolled_out)
        await set_image(world, "web:broken")
        await world.rest(40)
        found = await world.client.get("deployments.apps", "web", "default")
        progressing = pod_facts.condition_of(found.status.conditions, "Progressing")
        assert progressing is not None and progressing.reason == "ProgressDeadlineExceeded"
        assert sum(pod_facts.is_ready(pod) for pod in await world.pods()) >= 3
        before = await world.revision()
        await world.rest(7)
        assert await world.revision() - before <= 2  # the leases

    play(scenario)


def test_a_failed_pod_is_replaced_at_once() -> None:
    async def scenario(world: World) -> None:
        await world.client.create(deployment(3))
        await world.until(world.rolled_out)
        victim = (await world.pods())[0]
        started = world.system.clock.monotonic()
        await world.client.update_status(
            msgspec.structs.replace(victim, status=msgspec.structs.replace(victim.status, phase="Failed"))
        )
        while sum(pod_facts.is_active(pod) for pod in await world.pods()) < 3:
            await world.rest(0.001)
        assert world.system.clock.monotonic() - started <= 0.05

    play(scenario)


def test_a_crashed_manager_finishes_what_it_began() -> None:
    async def scenario(world: World) -> None:
        await world.client.create(deployment(6))
        for _ in range(4):
            await world.rest(0.002)
            world.system.crash(MANAGER)
        await set_image(world, "web:2")
        await world.rest(0.003)
        world.system.crash(MANAGER)
        await world.until(lambda: image_is(world, "web:2", 6))
        await world.until(world.rolled_out)
        assert len(await world.names("replicasets.apps")) <= 2

    play(scenario)


def test_the_same_seed_gives_the_same_world() -> None:
    traces: list[list[str]] = []

    async def scenario(world: World) -> None:
        await world.client.create(deployment(5))
        await world.until(world.rolled_out)
        await set_image(world, "web:2")
        await world.until(lambda: image_is(world, "web:2", 5))
        await world.until(world.rolled_out)
        traces.append([*sorted(await world.names("pods")), str(await world.revision())])

    for _ in range(2):
        play(scenario, seed=7)
    assert traces[0] == traces[1]
