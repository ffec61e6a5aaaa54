"""Pods of real processes, through the real API server."""

import sys

import pytest
from msgspec.structs import replace

from kubeloop.actors.api.core_v1 import (
    ConfigMap,
    ConfigMapEnvSource,
    ConfigMapVolumeSource,
    Container,
    EmptyDirVolumeSource,
    EnvFromSource,
    EnvVar,
    EnvVarSource,
    ExecAction,
    Lifecycle,
    LifecycleHandler,
    ObjectFieldSelector,
    Probe,
    TCPSocketAction,
    Volume,
    VolumeMount,
)
from kubeloop.actors.api.meta_v1 import ObjectMeta
from kubeloop.actors.container_runtime import messages as cri
from kubeloop.actors.kubelet.messages import OpenLog
from tests.kubelet.harness import World, container, is_ready, phase, world

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="sh")


def shell(script: str, **more: object) -> Container:
    return Container(name="app", image="label", command=["sh", "-c", script], **more)  # type: ignore[arg-type]


async def log(one: World, *, follow: bool = True) -> str:
    stream = await one.ask("kubelet/node-1", OpenLog("default", "web", "app", follow=follow))
    return b"".join([chunk async for chunk in stream]).decode()


async def test_a_container_sees_its_environment_and_its_volumes() -> None:
    async with world(process=True) as one:
        settings = ConfigMap(metadata=ObjectMeta(name="settings", namespace="default"), data={"LEVEL": "high"})
        await one.client.create(settings)
        address = EnvVarSource(field_ref=ObjectFieldSelector(field_path="status.podIP"))
        writer = Container(
            name="writer",
            image="label",
            command=["sh", "-c", "echo from init > shared/rows"],
            volume_mounts=[VolumeMount(name="shared", mount_path="/shared")],
        )
        reader = shell(
            'cat etc/settings/LEVEL; echo; cat "$KUBELOOP_ROOT/shared/rows"; echo $LEVEL $ADDRESS $0',
            args=["$(WHO)"],
            env=[EnvVar(name="WHO", value="me"), EnvVar(name="ADDRESS", value_from=address)],
            env_from=[EnvFromSource(config_map_ref=ConfigMapEnvSource(name="settings"))],
            volume_mounts=[
                VolumeMount(name="shared", mount_path="/shared"),
                VolumeMount(name="settings", mount_path="/etc/settings"),
            ],
        )
        volumes = [
            Volume(name="shared", empty_dir=EmptyDirVolumeSource()),
            Volume(name="settings", config_map=ConfigMapVolumeSource(name="settings")),
        ]
        await one.run(containers=[reader], init_containers=[writer], volumes=volumes, restart_policy="Never")
        pod = await one.until(lambda pod: phase(pod) == "Succeeded")
        assert pod.status is not None
        assert (await log(one)).splitlines() == ["high", "from init", f"high {pod.status.pod_ip} me"]


async def test_a_probe_without_an_answer_in_time_fails() -> None:
    async with world(process=True) as one:
        slow = Probe(exec=ExecAction(command=["sleep", "600"]), timeout_seconds=1, period_seconds=1)
        await one.run(containers=[shell("sleep 600", readiness_probe=slow)])
        await one.until(lambda pod: phase(pod) == "Running")

        async def told() -> bool:
            return any(
                reason == "Unhealthy" and "timed out" in (message or "") for reason, message in await one.events()
            )

        await one.until_true(told)
        assert not is_ready(await one.pod())


async def test_a_process_is_ready_when_it_listens_and_restarted_when_it_does_no_more() -> None:
    serve = (
        "import os, socket, time; s = socket.create_server((os.environ['POD_IP'], 8080)); time.sleep(1.5); s.close();"
        "time.sleep(600)"
    )
    port = TCPSocketAction(port=8080)
    liveness = Probe(tcp_socket=port, period_seconds=1, failure_threshold=2, initial_delay_seconds=1)
    readiness = Probe(tcp_socket=port, period_seconds=1)
    async with world(process=True) as one:
        server = Container(
            name="app",
            image="label",
            command=["python", "-c", serve],
            liveness_probe=replace(liveness, termination_grace_period_seconds=1),
            readiness_probe=readiness,
        )
        await one.run(containers=[server])
        await one.running()
        pod = await one.until(lambda pod: container(pod).restart_count == 1)
        assert container(pod).last_state.terminated.exit_code in (143, 137)


async def test_hooks_run_in_the_container() -> None:
    hooks = Lifecycle(
        post_start=LifecycleHandler(exec=ExecAction(command=["sh", "-c", "echo started > $KUBELOOP_ROOT/mark"])),
        pre_stop=LifecycleHandler(exec=ExecAction(command=["sh", "-c", "echo stopping > $KUBELOOP_ROOT/mark"])),
    )
    script = (
        "trap 'cat mark; exit 0' TERM; until [ -e mark ]; do sleep 0.01; done; cat mark; while :; do sleep 0.01; done"
    )
    async with world(process=True) as one:
        await one.run(containers=[shell(script, lifecycle=hooks)])
        await one.running()

        async def started() -> bool:
            return await log(one, follow=False) == "started\n"

        await one.until_true(started)
        stream = await one.ask("kubelet/node-1", OpenLog("default", "web", "app", follow=True))
        await one.client.delete("pods", "web", "default")
        assert b"".join([chunk async for chunk in stream]) == b"started\nstopping\n"
        await one.until(lambda pod: pod is None)


async def test_a_restarted_kubelet_finds_its_processes() -> None:
    async with world(process=True) as one:
        await one.run(containers=[shell("sleep 600")])
        before = container(await one.running())
        one.system.crash("kubelet/node-1")
        await one.run("late", containers=[shell("sleep 600")])
        await one.running("late")
        assert container(await one.pod()).container_id == before.container_id
        assert len(await one.ask("container-runtime/node-1", cri.ListContainers())) == 2
