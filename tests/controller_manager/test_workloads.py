"""StatefulSets, DaemonSets, Jobs and budgets in a living API server."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from kubeloop.actors.api import meta
from kubeloop.actors.api.apps_v1 import DaemonSet, DaemonSetSpec, StatefulSet, StatefulSetSpec
from kubeloop.actors.api.batch_v1 import Job, JobSpec
from kubeloop.actors.api.core_v1 import Pod
from kubeloop.actors.api.errors import StatusError
from kubeloop.actors.api.meta_v1 import LabelSelector, ObjectMeta
from kubeloop.actors.api.policy_v1 import PodDisruptionBudget, PodDisruptionBudgetSpec
from kubeloop.actors.controller_manager import pod_facts
from tests.controller_manager.factories import LABELS, deployment, template
from tests.controller_manager.world import MANAGER, World, play


async def end(world: World, pod: Pod, phase: str) -> None:
    """What a kubelet says when a pod's containers have ended for good."""
    await world.client.update_status(
        msgspec.structs.replace(pod, status=msgspec.structs.replace(pod.status, phase=phase))
    )


def stateful_set(replicas: int, **spec: Any) -> StatefulSet:
    return StatefulSet(
        metadata=ObjectMeta(name="db", namespace="default"),
        spec=StatefulSetSpec(
            replicas=replicas,
            service_name="db",
            selector=LabelSelector(match_labels=LABELS),
            template=template(),
            **spec,
        ),
    )


async def members_ready(world: World, count: int) -> bool:
    status = (await world.client.get("statefulsets.apps", "db", "default")).status
    return (status.ready_replicas or 0) == count == (status.updated_replicas or 0) and status.replicas == count


def test_members_have_names_and_come_in_order() -> None:
    async def scenario(world: World) -> None:
        await world.client.create(stateful_set(3))
        await world.until(lambda: members_ready(world, 3))
        assert await world.names("pods") == ["db-0", "db-1", "db-2"]
        born = [meta.creation_timestamp(pod) for pod in await world.pods()]
        assert born == sorted(born, key=str)
        await world.rest(1)
        before = await world.revision()
        await world.rest(7)
        assert await world.revision() == before

    play(scenario)


def test_a_lost_member_comes_back_under_its_name() -> None:
    async def scenario(world: World) -> None:
        await world.client.create(stateful_set(2))
        await world.until(lambda: members_ready(world, 2))
        (first, _) = await world.pods()
        await world.client.delete(first)

        async def replaced() -> bool:
            pods = await world.pods()
            return [meta.name(pod) for pod in pods] == ["db-0", "db-1"] and meta.uid(pods[0]) != meta.uid(first)

        await world.until(replaced)
        await world.until(lambda: members_ready(world, 2))

    play(scenario)


def test_a_set_is_updated_from_the_top_and_ends_on_one_revision() -> None:
    async def scenario(world: World) -> None:
        await world.client.create(stateful_set(3))
        await world.until(lambda: members_ready(world, 3))
        patch = {"spec": {"template": {"spec": {"containers": [{"name": "web", "image": "web:2"}]}}}}
        await world.client.patch("statefulsets.apps", "db", patch, "default")

        async def updated() -> bool:
            images = [pod.spec.containers[0].image for pod in await world.pods()]
            assert images == sorted(images, key=str)  # web:1 below, web:2 on top
            return images == ["web:2"] * 3 and await members_ready(world, 3)

        await world.until(updated)
        await world.rest(1)
        status = (await world.client.get("statefulsets.apps", "db", "default")).status
        assert status.current_revision == status.update_revision and status.current_replicas == 3
        assert len(await world.names("controllerrevisions.apps")) == 2

    play(scenario)


def daemon_set() -> DaemonSet:
    return DaemonSet(
        metadata=ObjectMeta(name="agent", namespace="default"),
        spec=DaemonSetSpec(selector=LabelSelector(match_labels=LABELS), template=template()),
    )


def test_a_daemon_runs_on_every_node_and_is_updated_one_after_the_other() -> None:
    async def scenario(world: World) -> None:
        await world.client.create(daemon_set())

        async def everywhere(image: str) -> bool:
            pods = [pod for pod in await world.pods() if pod_facts.is_ready(pod) and pod_facts.is_active(pod)]
            status = (await world.client.get("daemonsets.apps", "agent", "default")).status
            assert status.desired_number_scheduled in (0, 3)
            right = [pod for pod in pods if pod.spec.containers[0].image == image]
            return bool(len(right) == 3 == status.number_available == status.updated_number_scheduled)

        await world.until(lambda: everywhere("web:1"))
        assert len({pod_facts.node_name(pod) for pod in await world.pods()}) == 3
        patch = {"spec": {"template": {"spec": {"containers": [{"name": "web", "image": "web:2"}]}}}}
        await world.client.patch("daemonsets.apps", "agent", patch, "default")
        await world.until(lambda: everywhere("web:2"))
        await world.rest(1)
        before = await world.revision()
        await world.rest(7)
        assert await world.revision() - before <= 3  # the leases

    play(scenario, nodes=3)


def job(**spec: Any) -> Job:
    made = template()
    made = msgspec.structs.replace(made, spec=msgspec.structs.replace(made.spec, restart_policy="Never"))
    return Job(metadata=ObjectMeta(name="work", namespace="default"), spec=JobSpec(template=made, **spec))


async def job_status(world: World) -> Any:
    return (await world.client.get("jobs.batch", "work", "default")).status


async def finish(world: World, phase: str = "Succeeded") -> None:
    """Every running pod of the job ends."""
    for pod in await world.pods():
        if pod_facts.phase(pod) == "Running":
            await end(world, pod, phase)


def test_a_job_counts_each_success_once_and_completes() -> None:
    async def scenario(world: World) -> None:
        await world.client.create(job(completions=5, parallelism=2))

        async def complete() -> bool:
            await finish(world)
            world.system.crash(MANAGER)  # every time again: nothing may be counted twice
            await world.rest(1.0)
            status = await job_status(world)
            assert (status.active or 0) <= 2 and (status.succeeded or 0) <= 5
            return pod_facts.condition_of(status.conditions, "Complete") is not None

        await world.until(complete, timeout_seconds=600)
        status = await job_status(world)
        assert status.succeeded == 5 and not status.failed and status.completion_time
        pods = await world.pods()
        assert len(pods) == 5 and all(not meta.finalizers(pod) for pod in pods)

    play(scenario)


@pytest.mark.parametrize("seed", range(3))
def test_a_manager_that_crashes_all_the_time_counts_each_end_once(seed: int) -> None:
    async def scenario(world: World) -> None:
        chance = world.system.clock.random
        await world.client.create(job(completions=8, parallelism=3, backoff_limit=100))
        failures = 0
        for _ in range(400):
            for pod in await world.pods():
                if pod_facts.phase(pod) == "Running" and chance.random() < 0.5:
                    fails = chance.random() < 0.2
                    failures += fails
                    await end(world, pod, "Failed" if fails else "Succeeded")
            await world.rest(chance.uniform(0.1, 4.0))
            if chance.random() < 0.5:
                world.system.crash(MANAGER)
            status = await job_status(world)
            if pod_facts.condition_of(status.conditions, "Complete") is not None:
                break
        assert pod_facts.condition_of(status.conditions, "Complete") is not None
        assert (status.succeeded, status.failed or 0) == (8, failures)
        assert sum(pod_facts.phase(pod) == "Succeeded" for pod in await world.pods()) == 8

    play(scenario, seed=seed, latency_seconds=(0.005, 0.1))


def test_a_job_that_always_fails_gives_up_after_its_limit() -> None:
    async def scenario(world: World) -> None:
        await world.client.create(job(completions=1, backoff_limit=2))

        async def failed() -> bool:
            await finish(world, "Failed")
            return pod_facts.condition_of((await job_status(world)).conditions, "Failed") is not None

        started = world.system.clock.monotonic()
        await world.until(failed, timeout_seconds=300)
        assert 25 <= world.system.clock.monotonic() - started <= 60  # pauses of 10 and 20 seconds
        assert (await job_status(world)).failed == 3

    play(scenario)


def test_an_indexed_job_runs_each_index() -> None:
    async def scenario(world: World) -> None:
        await world.client.create(job(completions=3, parallelism=3, completion_mode="Indexed"))

        async def complete() -> bool:
            await finish(world)
            return pod_facts.condition_of((await job_status(world)).conditions, "Complete") is not None

        await world.until(complete)
        assert (await job_status(world)).completed_indexes == "0-2"
        indexes = sorted(
            meta.annotations(pod)["batch.kubernetes.io/job-completion-index"] for pod in await world.pods()
        )
        assert indexes == ["0", "1", "2"]

    play(scenario)


def test_a_finished_job_goes_when_its_time_is_up() -> None:
    async def scenario(world: World) -> None:
        await world.client.create(job(completions=1, ttl_seconds_after_finished=100))

        async def complete() -> bool:
            await finish(world)
            return pod_facts.condition_of((await job_status(world)).conditions, "Complete") is not None

        await world.until(complete)
        await world.rest(90)
        assert not await world.gone("jobs.batch", "work")
        await world.rest(15)
        assert await world.gone("jobs.batch", "work") and await world.names("pods") == []

    play(scenario)


def test_a_budget_lets_one_pod_go_at_a_time() -> None:
    async def scenario(world: World) -> None:
        await world.client.create(deployment(3))
        spec = PodDisruptionBudgetSpec(min_available=2, selector=LabelSelector(match_labels=LABELS))
        await world.client.create(PodDisruptionBudget(metadata=ObjectMeta(name="web", namespace="default"), spec=spec))
        await world.until(world.rolled_out)

        async def allowed() -> bool:
            budget = await world.client.get("poddisruptionbudgets.policy", "web", "default")
            return bool(budget.status.disruptions_allowed == 1)

        await world.until(allowed)
        first, second, _ = await world.names("pods")
        await world.client.evict(first, "default")
        with pytest.raises(StatusError) as refused:
            await world.client.evict(second, "default")
        assert refused.value.code == 429
        await world.until(world.rolled_out)
        await world.until(allowed)
        await world.client.evict(second, "default")

    play(scenario)


def test_a_job_that_another_controller_manages_is_left_alone() -> None:
    async def scenario(world: World) -> None:
        await world.client.create(job(managed_by="example.com/other"))
        await world.rest(5.0)
        assert await world.names("pods") == []
        assert (await job_status(world)).start_time is None

    play(scenario)
