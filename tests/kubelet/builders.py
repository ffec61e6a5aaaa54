"""Pods and records for tests of the pure decisions."""

from typing import Any

from kubeloop.actors.api.core_v1 import Container, Pod, PodSpec
from kubeloop.actors.api.meta_v1 import ObjectMeta
from kubeloop.actors.container_runtime import messages as cri
from kubeloop.actors.kubelet.record import ContainerRecord

SANDBOX = cri.PodSandboxStatus("s1", cri.PodSandboxConfig("web", "default", "uid-1"), 100.0, "10.244.1.2")


def pod(*containers: Container, **spec: Any) -> Pod:
    chosen = containers or (Container(name="app", image="app:1"),)
    return Pod(
        metadata=ObjectMeta(name="web", namespace="default", uid="uid-1", generation=1),
        spec=PodSpec(containers=list(chosen), **spec),
    )


def record(
    name: str = "app",
    state: str = cri.CONTAINER_RUNNING,
    *,
    exit_code: int = 0,
    sandbox: str = "s1",
    finished_at: float = 110.0,
    ready: bool = True,
) -> ContainerRecord:
    made = ContainerRecord()
    exited = state == cri.CONTAINER_EXITED
    made.status = cri.ContainerStatus(
        id=f"id-{name}",
        pod_sandbox_id=sandbox,
        pod_uid="uid-1",
        name=name,
        attempt=0,
        image="app:1",
        image_ref="app:1",
        state=state,
        created_at=100.0,
        started_at=100.0,
        finished_at=finished_at if exited else 0.0,
        exit_code=exit_code,
        reason=("Completed" if exit_code == 0 else "Error") if exited else "",
    )
    made.started = not exited
    made.ready = not exited and ready
    return made


def exited(name: str = "app", exit_code: int = 0, **more: Any) -> ContainerRecord:
    return record(name, cri.CONTAINER_EXITED, exit_code=exit_code, **more)
