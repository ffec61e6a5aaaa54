"""Pods' lives on simulated nodes, in virtual time, through the real API server."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest

from kubeloop.actors.api.core_v1 import (
    ConfigMap,
    ConfigMapKeySelector,
    Container,
    EnvVar,
    EnvVarSource,
    ExecAction,
    Lifecycle,
    LifecycleHandler,
    Pod,
    Probe,
    ResourceRequirements,
    Service,
    ServicePort,
    ServiceSpec,
    SleepAction,
    TCPSocketAction,
)
from kubeloop.actors.api.errors import StatusError
from kubeloop.actors.api.meta_v1 import ObjectMeta
from kubeloop.actors.container_runtime import messages as cri
from kubeloop.actors.container_runtime.sim import SimContext
from kubeloop.actors.kubelet.messages import ExecInPod, OpenLog
from kubeloop.runtime.simulation import simulate
from tests.kubelet.harness import SIM, World, container, is_ready, phase, world

Story = Callable[[World], Awaitable[None]]


def play(story: Story, **options: Any) -> None:
    async def main() -> None:
        async with world(**options) as one, asyncio.timeout(100_000):
            await story(one)

    simulate(main(), seed=1)


def scripted(**annotations: str) -> dict[str, str]:
    return {SIM + name.replace("_", "-"): value for name, value in annotations.items()}


def waiting(pod: Any) -> str | None:
    state = container(pod).state if pod.status is not None and pod.status.container_statuses else None
    return state.waiting.reason if state is not None and state.waiting is not None else None


def attempt_runs(restarts: int, pod: Pod | None) -> bool:
    status = container(pod)
    return status.restart_count == restarts and status.state.running is not None


def test_a_bound_pod_runs_after_one_status_write() -> None:
    async def story(one: World) -> None:
        created = await one.run()
        events = one.client.watch("pods", "default", resource_version=created.metadata.resource_version)
        first = await anext(events)
        assert is_ready(first.object) and phase(first.object) == "Running"
        await asyncio.sleep(3600)
        assert (await one.running()).metadata.resource_version == first.object.metadata.resource_version
        assert sorted(reason or "" for reason, _ in await one.events()) == ["Created", "Pulled", "Started"]
        await events.aclose()

    play(story)


def test_pods_of_one_node_have_different_addresses() -> None:
    async def story(one: World) -> None:
        for number in range(20):
            await one.run(f"web-{number}")
        pods = [await one.running(f"web-{number}") for number in range(20)]
        assert len({pod.status.pod_ip for pod in pods if pod.status is not None}) == 20

    play(story)


def test_a_crashing_container_backs_off_longer_each_time() -> None:
    async def story(one: World) -> None:
        await one.run(annotations=scripted(exit_code="1", run_time="1"))
        starts = []
        for restarts in range(5):
            pod = await one.until(
                partial(attempt_runs, restarts),
                timeout_seconds=200,
            )
            starts.append(asyncio.get_running_loop().time())
        assert waiting(pod) is None
        assert [round(after - before) for before, after in zip(starts, starts[1:], strict=False)] == [1, 11, 21, 41]
        pod = await one.until(lambda pod: waiting(pod) == "CrashLoopBackOff")
        assert phase(pod) == "Running" and not is_ready(pod)
        assert container(pod).state.waiting.message.startswith(
            "back-off 1m20s restarting failed container=app pod=web_default("
        )
        assert container(pod).last_state.terminated.exit_code == 1
        back_offs = [message for reason, message in await one.events() if reason == "BackOff"]
        assert back_offs and (back_offs[0] or "").startswith(
            "Back-off restarting failed container app in pod web_default("
        )

    play(story)


@pytest.mark.parametrize(("exit_code", "expected"), [("0", "Succeeded"), ("1", "Failed")])
def test_a_pod_that_runs_once_ends(exit_code: str, expected: str) -> None:
    async def story(one: World) -> None:
        await one.run(restart_policy="Never", annotations=scripted(exit_code=exit_code, run_time="5"))
        pod = await one.until(lambda pod: phase(pod) == expected)
        assert container(pod).state.terminated.exit_code == int(exit_code)
        sandboxes = await one.ask("container-runtime/node-1", cri.ListPodSandbox())
        assert [sandbox.ready for sandbox in sandboxes] == [False]

    play(story)


def test_init_containers_run_first_and_sidecars_beside() -> None:
    async def story(one: World) -> None:
        init = [
            Container(name="first", image="i"),
            Container(name="proxy", image="i", restart_policy="Always"),
            Container(name="second", image="i"),
        ]
        annotations = {**scripted(), SIM + "first.run-time": "5", SIM + "second.run-time": "7"}
        await one.run(init_containers=init, annotations=annotations)
        pod = await one.until(lambda pod: phase(pod) == "Pending" and waiting(pod) == "PodInitializing")
        pod = await one.running()
        assert asyncio.get_running_loop().time() == pytest.approx(12, abs=0.1)
        assert pod.status is not None
        states = [status.state for status in pod.status.init_container_statuses]
        assert [state.terminated is not None for state in states if state is not None] == [True, False, True]

    play(story)


def test_a_pod_is_ready_when_its_script_says_so_with_a_probe_or_without() -> None:
    async def story(one: World) -> None:
        probe = Probe(exec=ExecAction(command=["check"]), period_seconds=2)
        await one.run("plain", annotations=scripted(ready_after="9"))
        await one.run(
            "probed",
            containers=[Container(name="app", image="i", readiness_probe=probe)],
            annotations=scripted(ready_after="9"),
        )
        await one.until(lambda pod: phase(pod) == "Running", "plain")
        assert not is_ready(await one.pod("plain"))
        await one.running("plain")
        assert asyncio.get_running_loop().time() == pytest.approx(9, abs=0.1)
        await one.running("probed")
        assert asyncio.get_running_loop().time() == pytest.approx(10, abs=0.1)
        assert any(
            reason == "Unhealthy" and (m or "").startswith("Readiness probe failed: ")
            for reason, m in await one.events()
        )

    play(story)


def test_a_container_that_fails_its_liveness_probe_is_restarted() -> None:
    async def story(one: World) -> None:
        probe = Probe(exec=ExecAction(command=["check"]), period_seconds=5, failure_threshold=3)
        await one.run(
            containers=[Container(name="app", image="i", liveness_probe=probe)],
            annotations=scripted(unhealthy_after="60"),
        )
        pod = await one.until(lambda pod: container(pod).restart_count == 1 and is_ready(pod), timeout_seconds=100)
        assert asyncio.get_running_loop().time() == pytest.approx(70, abs=0.5)
        assert container(pod).last_state.terminated is not None
        await asyncio.sleep(1)
        assert ("Killing", "Container app failed liveness probe, will be restarted") in await one.events()

    play(story)


def test_deletion_is_graceful_and_frees_everything() -> None:
    async def story(one: World) -> None:
        await one.run(annotations=scripted(stop_delay="10"))
        await one.running()
        await one.client.delete("pods", "web", "default")
        await asyncio.sleep(9)
        pod = await one.pod()
        assert pod is not None and pod.metadata.deletion_timestamp is not None and is_ready(pod)
        await one.until(lambda pod: pod is None)
        assert asyncio.get_running_loop().time() == pytest.approx(10, abs=0.1)
        await asyncio.sleep(1)
        assert await one.ask("container-runtime/node-1", cri.ListPodSandbox()) == ()
        assert await one.ask("container-runtime/node-1", cri.ListContainers()) == ()

    play(story)


def test_a_deleted_pod_is_ready_for_as_long_as_its_readiness_probe_says() -> None:
    async def story(one: World) -> None:
        probe = Probe(tcp_socket=TCPSocketAction(port=80), period_seconds=1, failure_threshold=1)
        await one.run(
            annotations=scripted(stop_delay="20", unhealthy_after="5"),
            containers=[Container(name="app", image="app:1", readiness_probe=probe, liveness_probe=probe)],
        )
        await one.running()
        await one.client.delete("pods", "web", "default")
        await asyncio.sleep(10)  # the liveness probe would have failed by now
        pod = await one.pod()
        assert pod is not None and is_ready(pod)
        assert not [event for event in await one.events() if event[0] == "Unhealthy"]
        await one.until(lambda pod: pod is None)

    play(story)


def test_a_container_that_ignores_sigterm_is_killed_after_its_grace_period() -> None:
    async def story(one: World) -> None:
        await one.run(annotations=scripted(stop_delay="600"), termination_grace_period_seconds=5)
        await one.running()
        await one.client.delete("pods", "web", "default")
        await one.until(lambda pod: pod is None)
        assert asyncio.get_running_loop().time() == pytest.approx(5, abs=0.1)

    play(story)


def test_a_forced_deletion_ends_the_containers_at_once() -> None:
    async def story(one: World) -> None:
        await one.run(annotations=scripted(stop_delay="600"))
        await one.running()
        await one.client.delete("pods", "web", "default", grace_period_seconds=0)
        assert await one.pod() is None
        await asyncio.sleep(2)
        assert await one.ask("container-runtime/node-1", cri.ListContainers()) == ()

    play(story)


def test_a_pre_stop_sleep_is_part_of_the_grace_period() -> None:
    async def story(one: World) -> None:
        hook = Lifecycle(pre_stop=LifecycleHandler(sleep=SleepAction(seconds=4)))
        await one.run(containers=[Container(name="app", image="i", lifecycle=hook)])
        await one.running()
        await one.client.delete("pods", "web", "default")
        await one.until(lambda pod: pod is None)
        assert asyncio.get_running_loop().time() == pytest.approx(4, abs=0.1)

    play(story)


def test_a_pod_past_its_deadline_fails() -> None:
    async def story(one: World) -> None:
        await one.run(active_deadline_seconds=20)
        pod = await one.until(lambda pod: phase(pod) == "Failed", timeout_seconds=40)
        assert pod.status is not None
        assert (pod.status.reason, round(asyncio.get_running_loop().time())) == ("DeadlineExceeded", 20)
        assert container(pod).state.terminated is not None

    play(story)


def test_a_pod_that_the_node_has_no_room_for_is_rejected() -> None:
    async def story(one: World) -> None:
        def asking(cpu: str) -> list[Container]:
            return [Container(name="app", image="i", resources=ResourceRequirements(requests={"cpu": cpu}))]

        await one.run("first", containers=asking("6"))
        await one.run("second", containers=asking("3"))
        pod = await one.until(lambda pod: phase(pod) == "Failed", "second")
        assert pod.status is not None
        assert (pod.status.reason, pod.status.message) == (
            "OutOfcpu",
            "Pod was rejected: Node didn't have enough resource: cpu, requested: 3000, used: 6000, capacity: 8000",
        )
        await one.client.delete("pods", "first", "default")
        await one.until(lambda pod: pod is None, "first")
        await one.run("third", containers=asking("3"))
        await one.running("third")

    play(story)


def test_a_container_waits_for_the_config_map_that_it_names() -> None:
    async def story(one: World) -> None:
        source = EnvVarSource(config_map_key_ref=ConfigMapKeySelector(name="settings", key="level"))
        await one.run(containers=[Container(name="app", image="i", env=[EnvVar(name="LEVEL", value_from=source)])])
        pod = await one.until(
            lambda pod: (
                pod is not None and pod.status.container_statuses and waiting(pod) == "CreateContainerConfigError"
            )
        )
        assert container(pod).state.waiting.message == 'configmap "settings" not found'
        await one.client.create(
            ConfigMap(metadata=ObjectMeta(name="settings", namespace="default"), data={"level": "1"})
        )
        await one.running()

    play(story)


def test_a_restarted_kubelet_adopts_what_runs() -> None:
    async def story(one: World) -> None:
        await one.run()
        before = container(await one.running())
        one.system.crash("kubelet/node-1")
        await one.run("late")
        await one.running("late")
        await asyncio.sleep(60)
        after = container(await one.running())
        assert (after.container_id, after.restart_count) == (before.container_id, 0)
        assert len(await one.ask("container-runtime/node-1", cri.ListContainers())) == 2
        await one.client.delete("pods", "web", "default")
        await one.until(lambda pod: pod is None)

    play(story)


def test_a_pod_deleted_while_the_kubelet_was_down_is_cleaned_up() -> None:
    async def story(one: World) -> None:
        await one.run()
        await one.running()
        one.system.crash("kubelet/node-1")
        await one.client.delete("pods", "web", "default", grace_period_seconds=0)
        await asyncio.sleep(60)
        assert await one.ask("container-runtime/node-1", cri.ListPodSandbox()) == ()

    play(story)


@pytest.mark.parametrize("whole_node", [False, True])
def test_containers_that_died_with_their_runtime_are_started_again(whole_node: bool) -> None:
    async def story(one: World) -> None:
        await one.run()
        before = await one.running()
        if whole_node:
            one.system.crash_host("node-1")
            await asyncio.sleep(5)
            await one.system.start_host("node-1")
        else:
            one.system.crash("container-runtime/node-1")
        pod = await one.until(lambda pod: container(pod).restart_count == 1 and is_ready(pod))
        assert container(pod).container_id != container(before).container_id
        ended = container(pod).last_state.terminated
        assert (ended.exit_code, ended.reason) == (137, "ContainerStatusUnknown")

    play(story)


def test_a_new_image_restarts_the_container() -> None:
    async def story(one: World) -> None:
        await one.run()
        pod = await one.running()
        assert pod.spec is not None
        await one.client.patch("pods", "web", {"spec": {"containers": [{"name": "app", "image": "app:2"}]}}, "default")
        pod = await one.until(lambda pod: container(pod).image_id == "app:2" and is_ready(pod))
        assert container(pod).restart_count == 1
        assert ("Killing", "Container app definition changed, will be restarted") in await one.events()

    play(story)


def test_the_lease_is_renewed_and_a_deleted_node_comes_back() -> None:
    async def story(one: World) -> None:
        async def renewed() -> str | None:
            lease = await one.client.get("leases.coordination.k8s.io", "node-1", "kube-node-lease")
            return lease.spec.renew_time if lease.spec is not None else None

        times = []
        for _ in range(3):
            times.append(await renewed())
            await asyncio.sleep(11)
        assert len(set(times)) == 3
        await one.client.delete("nodes", "node-1")
        await asyncio.sleep(301)
        assert (await one.client.get("nodes", "node-1")).metadata.name == "node-1"

    play(story)


def test_a_node_cut_off_runs_on_and_reports_when_it_is_back() -> None:
    async def story(one: World) -> None:
        await one.run(annotations=scripted(run_time="30", exit_code="0"), restart_policy="Never")
        await one.running()
        cut = one.system.network.partition("node-1", "control-plane-0")
        await asyncio.sleep(60)
        assert phase(await one.pod()) == "Running"
        cut.heal()
        await one.until(lambda pod: phase(pod) == "Succeeded", timeout_seconds=120)

    play(story)


def test_behaviours_see_services_and_fields() -> None:
    seen: dict[str, str] = {}

    def serve(context: SimContext) -> None:
        seen.update(context.env)

    async def story(one: World) -> None:
        ports = [ServicePort(port=5432)]
        service = Service(
            metadata=ObjectMeta(name="db", namespace="default"), spec=ServiceSpec(cluster_ip="10.96.0.77", ports=ports)
        )
        await one.client.create(service)
        await one.run(
            containers=[Container(name="app", image="web:1", env=[EnvVar(name="DB", value="$(DB_SERVICE_HOST):5432")])]
        )
        await one.running()
        assert (seen["DB"], seen["DB_SERVICE_PORT"]) == ("10.96.0.77:5432", "5432")
        assert "KUBERNETES_SERVICE_HOST" in seen

    play(story, behaviors={"web": serve})


def test_logs_and_commands_reach_the_container() -> None:
    def shell(context: SimContext) -> None:
        context.log("up")
        context.on_exec(lambda command: cri.ExecResult(" ".join(command).encode(), b"", 0))

    async def story(one: World) -> None:
        await one.run(containers=[Container(name="app", image="shell")])
        await one.running()
        stream = await one.ask("kubelet/node-1", OpenLog("default", "web", "app"))
        assert b"".join([chunk async for chunk in stream]) == b"up\n"
        result = await one.ask("kubelet/node-1", ExecInPod("default", "web", "app", ["echo", "hi"]))
        assert result == cri.ExecResult(b"echo hi", b"", 0)

        async def refused(request: Any) -> str:
            with pytest.raises(StatusError) as caught:
                await one.ask("kubelet/node-1", request)
            return caught.value.message

        assert await refused(OpenLog("default", "web", "no")) == "container no is not valid for pod web"
        assert await refused(OpenLog("default", "web", "app", previous=True)) == (
            'previous terminated container "app" in pod "web" not found'
        )
        assert await refused(OpenLog("default", "none", "app")) == 'pods "none" not found'

    play(story, behaviors={"shell": shell})


def test_logs_of_the_attempt_before_can_be_read() -> None:
    async def story(one: World) -> None:
        await one.run(annotations=scripted(run_time="3", exit_code="1", log_lines="once"))
        await one.until(lambda pod: container(pod).restart_count == 1)
        request = OpenLog("default", "web", "app", previous=True, timestamps=True)

        async def read() -> bytes:
            return b"".join([chunk async for chunk in await one.ask("kubelet/node-1", request)])

        assert await read() == b"2026-01-01T00:00:00.000000000Z once\n"
        await one.until(lambda pod: waiting(pod) == "CrashLoopBackOff")
        assert await read() == b"2026-01-01T00:00:03.000000000Z once\n"

    play(story)
