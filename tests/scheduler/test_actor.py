"""The scheduler in a real control plane, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec

from kubeloop import Cluster
from kubeloop.actors.api.core_v1 import Event, Node, Pod, PodCondition
from kubeloop.actors.client.client import Client
from kubeloop.runtime.simulation import simulate
from tests.scheduler.objects import plain_node, plain_pod


async def add_node(client: Client, node: Node) -> None:
    """The kubelet's and the node controller's part: a node without the taint of being new."""
    made = await client.create(node)
    if made.spec is not None and made.spec.taints:
        await client.update(msgspec.structs.replace(made, spec=msgspec.structs.replace(made.spec, taints=())))


def unborn(pod: Pod) -> Pod:
    """As a user would create it."""
    assert pod.metadata is not None and pod.spec is not None
    metadata = msgspec.structs.replace(pod.metadata, uid=None)
    return msgspec.structs.replace(pod, metadata=metadata, spec=msgspec.structs.replace(pod.spec, priority=None))


async def pod_when(client: Client, name: str, condition: Callable[[Pod], bool]) -> Pod:
    """The pod once the condition holds; virtual time, so waiting costs nothing."""
    for _ in range(1000):
        pod = await client.get(Pod, name)
        if condition(pod):
            return pod
        await asyncio.sleep(0.01)
    raise AssertionError(f"{name} never got there: {await client.get(Pod, name)}")


def scheduled(pod: Pod) -> PodCondition:
    assert pod.status is not None
    return next(each for each in pod.status.conditions if each.type == "PodScheduled")


def is_bound(pod: Pod) -> bool:
    return pod.spec is not None and bool(pod.spec.node_name)


def has_condition(pod: Pod) -> bool:
    return pod.status is not None and any(each.type == "PodScheduled" for each in pod.status.conditions)


def lonely() -> Cluster:
    return Cluster(nodes=0, without=["controller-manager"])


async def reasons(client: Client, name: str) -> list[tuple[str | None, str | None]]:
    events = (await client.list(Event, "default")).items
    return [(e.reason, e.message) for e in events if e.involved_object is not None and e.involved_object.name == name]


def test_a_pod_waits_with_a_reason_until_a_node_comes() -> None:
    async def main() -> None:
        async with lonely() as cluster:
            client = cluster.client
            await client.create(unborn(plain_pod("p")))
            waiting = await pod_when(client, "p", has_condition)
            condition = scheduled(waiting)
            assert (condition.status, condition.reason) == ("False", "Unschedulable")
            assert condition.message == "no nodes available to schedule pods"
            await add_node(client, plain_node("n1"))
            placed = await pod_when(client, "p", is_bound)
            assert scheduled(placed).status == "True"
            await asyncio.sleep(1)
            told = await reasons(client, "p")
            assert told[0] == ("FailedScheduling", "no nodes available to schedule pods")
            assert told[-1] == ("Scheduled", "Successfully assigned default/p to n1")

    simulate(main(), seed=1)


def test_a_restarted_scheduler_goes_on_where_it_was() -> None:
    async def main() -> None:
        async with lonely() as cluster:
            client = cluster.client
            await add_node(client, plain_node("n1", cpu="2"))
            await client.create(unborn(plain_pod("a", cpu="1500m")))
            await pod_when(client, "a", is_bound)
            cluster.crash("scheduler")
            await client.create(unborn(plain_pod("b", cpu="1")))
            await client.create(unborn(plain_pod("c", cpu="500m")))
            await pod_when(client, "c", is_bound)
            condition = scheduled(await pod_when(client, "b", has_condition))
            assert condition.message is not None
            assert condition.message.startswith("0/1 nodes are available: 1 Insufficient cpu.")

    simulate(main(), seed=1)


def test_preemption_evicts_and_then_binds() -> None:
    async def main() -> None:
        async with lonely() as cluster:
            client = cluster.client
            await add_node(client, plain_node("n1", cpu="1"))
            high: dict[str, Any] = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "value": 1000}
            await client.create({**high, "metadata": {"name": "high"}})
            await client.create(unborn(plain_pod("low", cpu="1")))
            await pod_when(client, "low", is_bound)
            await client.create(unborn(plain_pod("high", cpu="1", priorityClassName="high")))
            nominated = await pod_when(client, "high", has_condition)
            assert nominated.status is not None and nominated.status.nominated_node_name == "n1"
            victim = await pod_when(
                client, "low", lambda p: p.metadata is not None and bool(p.metadata.deletion_timestamp)
            )
            assert victim.status is not None
            assert "DisruptionTarget" in [each.type for each in victim.status.conditions]
            await client.delete("pods", "low", grace_period_seconds=0)
            assert is_bound(await pod_when(client, "high", is_bound))

    simulate(main(), seed=1)


def test_many_pods_are_all_bound_and_no_node_is_overfull() -> None:
    async def main() -> None:
        async with lonely() as cluster:
            client = cluster.client
            for index in range(20):
                await add_node(client, plain_node(f"n{index}", cpu="2"))
            for index in range(200):
                await client.create(unborn(plain_pod(f"p{index}", cpu="200m")))
            await pod_when(client, "p199", is_bound)
            pods = (await client.list(Pod)).items
            nodes = [pod.spec.node_name for pod in pods if pod.spec is not None]
            assert {nodes.count(f"n{index}") for index in range(20)} == {10}

    simulate(main(), seed=1)


def test_an_idle_scheduler_has_no_task() -> None:
    async def main() -> None:
        async with lonely() as cluster:
            await add_node(cluster.client, plain_node("n1"))
            await cluster.client.create(unborn(plain_pod("p")))
            await pod_when(cluster.client, "p", is_bound)
            await asyncio.sleep(30)
            statistics = {each.name: each for each in cluster.system.statistics()}
            assert statistics["kube-scheduler"].children == 0

    simulate(main(), seed=1)
