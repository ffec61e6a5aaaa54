"""Random days: workloads come, change and go while processes crash and hosts lose each other. In the end all is well.

A failing seed is played again with  pytest tests/controller_manager/test_swarm.py -k "seed-N"
"""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from kubeloop.actors.api import meta
from kubeloop.actors.api.errors import StatusError
from kubeloop.actors.controller_manager import pod_facts
from kubeloop.runtime.faults import Partition
from tests.controller_manager.factories import deployment
from tests.controller_manager.test_services import service
from tests.controller_manager.world import CONTROL_PLANE, FAR_AWAY, MANAGER, World, play

NAMES = ("a", "b", "c")


def named(name: str, replicas: int) -> Any:
    made = deployment(replicas)
    labels = {"app": name}
    template = msgspec.structs.replace(
        made.spec.template, metadata=msgspec.structs.replace(made.spec.template.metadata, labels=labels)
    )
    selector = msgspec.structs.replace(made.spec.selector, match_labels=labels)  # type: ignore[type-var]
    return msgspec.structs.replace(
        made,
        metadata=msgspec.structs.replace(made.metadata, name=name, uid=None),
        spec=msgspec.structs.replace(made.spec, template=template, selector=selector),
    )


async def something_happens(world: World, wanted: dict[str, int]) -> None:
    chance = world.system.clock.random
    name = chance.choice(NAMES)
    match chance.randrange(8):
        case 0 | 1 if name not in wanted:
            wanted[name] = chance.randrange(6)
            await world.client.create(named(name, wanted[name]))
        case 0 | 1 | 2 if name in wanted:
            wanted[name] = chance.randrange(8)
            patch: Any = {"spec": {"replicas": wanted[name]}}
            await world.client.patch("deployments.apps", name, patch, "default", type="merge")
        case 3 if name in wanted:
            container = {"name": "web", "image": f"web:{chance.randrange(4)}"}
            patch = {"spec": {"template": {"spec": {"containers": [container]}}}}
            await world.client.patch("deployments.apps", name, patch, "default")
        case 4 if name in wanted:
            del wanted[name]
            policy = chance.choice(["Background", "Foreground"])
            await world.client.delete("deployments.apps", name, "default", propagation_policy=policy)
        case 5:
            world.system.crash(MANAGER)
        case 6:
            partition = world.system.inject(Partition(FAR_AWAY, CONTROL_PLANE))
            await world.rest(chance.uniform(0.1, 5.0))
            partition.heal()
        case 7:
            pods = await world.pods()
            if pods:
                victim = chance.choice(pods)
                await world.client.delete("pods", meta.name(victim), "default")


async def settled(world: World, wanted: dict[str, int]) -> bool:
    """Desired is actual, and nothing is left of what was deleted."""
    pods = await world.pods()
    found = {meta.name(each): each for each in (await world.client.list("deployments.apps", "default")).items}
    sets = (await world.client.list("replicasets.apps", "default")).items
    owners = {meta.uid(each) for each in sets}
    return (
        sorted(found) == sorted(wanted)
        and all((each.status.available_replicas or 0) == wanted[name] for name, each in found.items())
        and len(pods) == sum(wanted.values())
        and all(pod_facts.is_ready(pod) for pod in pods)
        and all((owner := meta.controller_of(pod)) is not None and owner.uid in owners for pod in pods)
        and all((owner := meta.controller_of(each)) is not None and owner.name in found for each in sets)
    )


@pytest.mark.parametrize("seed", range(8), ids=lambda seed: f"seed-{seed}")
def test_a_random_day_ends_with_desired_equal_to_actual(seed: int) -> None:
    async def scenario(world: World) -> None:
        wanted: dict[str, int] = {}
        await world.client.create(service())
        for _ in range(60):
            try:
                await something_happens(world, wanted)
            except StatusError as error:
                assert error.reason in ("Conflict", "AlreadyExists", "NotFound"), error
                if error.reason == "AlreadyExists":  # the former one is still going
                    wanted.pop(str(error.status["details"]["name"]))
            await world.rest(world.system.clock.random.expovariate(2.0))
        await world.until(lambda: settled(world, wanted), timeout_seconds=120)
        await world.rest(15)
        before = await world.revision()
        await world.rest(60)
        assert await world.revision() - before == 12  # two nodes' leases

    play(scenario, seed=seed, latency_seconds=(0.001, 0.05))
