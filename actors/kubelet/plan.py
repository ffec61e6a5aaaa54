"""What to do next for a pod: pure, from its spec and what the runtime says.

Pod lifecycle, "Init containers", "Sidecar containers", "Pod termination" of the Kubernetes documentation.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from kubeloop.actors.api.core_v1 import Container, Pod
from kubeloop.actors.container_runtime.messages import PodSandboxStatus
from kubeloop.actors.kubelet.backoff import restart_at
from kubeloop.actors.kubelet.record import ContainerRecord

RUNNING, START, WAIT, SUCCEEDED, FAILED = "Running", "Start", "Wait", "Succeeded", "Failed"
NEVER_MIND = float("inf")


class Kill(msgspec.Struct, frozen=True):
    """Stop a container. `message` ends its Killing event."""

    name: str
    message: str = ""


class PodPlan(msgspec.Struct, frozen=True):
    """create_sandbox: first of all, then plan again. start: in order. wake_at: plan again then (unix seconds).

    finished: nothing of this pod will run again.
    """

    create_sandbox: bool = False
    start: Sequence[Container] = ()
    kill: Sequence[Kill] = ()
    wake_at: float = NEVER_MIND
    finished: bool = False


NOTHING = PodPlan()


def is_sidecar(container: Container) -> bool:
    """An init container that keeps running beside the others (restartPolicy Always)."""
    return container.restart_policy == "Always"


def restarts(policy: str, exit_code: int) -> bool:
    return policy == "Always" or (policy == "OnFailure" and exit_code != 0)


def verdict(record: ContainerRecord | None, policy: str, sandbox_id: str, now: float) -> tuple[str, float]:
    """What a container is or needs, and when to look again."""
    if record is None:
        return START, NEVER_MIND
    status = record.status
    if record.retry_at > now:
        return WAIT, record.retry_at
    if status is None or status.pod_sandbox_id != sandbox_id:
        return START, NEVER_MIND
    if not record.exited:
        return RUNNING, NEVER_MIND
    if not restarts(policy, status.exit_code):
        return (SUCCEEDED if status.exit_code == 0 else FAILED), NEVER_MIND
    again = restart_at(record.backoff, status.finished_at)
    return (START, NEVER_MIND) if again <= now else (WAIT, again)


def plan_pod(pod: Pod, sandbox: PodSandboxStatus | None, records: Mapping[str, ContainerRecord], now: float) -> PodPlan:
    """The plan for a pod that is meant to run (not deleted, not failed for good)."""
    spec = pod.spec
    assert spec is not None
    policy = spec.restart_policy or "Always"
    if sandbox is None or not sandbox.ready:
        if sandbox is None and not records:
            return PodPlan(create_sandbox=True)
        if _all_done(spec.containers, records, policy):
            return PodPlan(finished=True)
        return PodPlan(create_sandbox=True)
    kill = [
        Kill(name, record.kill_message) for name, record in records.items() if record.kill_message and record.running
    ]
    kill += _changed(spec, records)
    wake_at = NEVER_MIND
    if spec.init_containers:
        waiting, start, wake_at = _plan_init(spec, records, policy, sandbox.id, now)
        if waiting == FAILED:
            return PodPlan(kill=_kill_sidecars(spec, records), finished=True)
        if waiting:
            return PodPlan(start=start, kill=kill, wake_at=wake_at)
    else:
        start = []
    done = True
    for container in spec.containers:
        own_policy = container.restart_policy or policy
        what, again = verdict(records.get(container.name or ""), own_policy, sandbox.id, now)
        if what == START:
            start.append(container)
        if what in (START, WAIT, RUNNING):
            done = False
            wake_at = min(wake_at, again)
    if done:
        return PodPlan(kill=_kill_sidecars(spec, records), finished=True)
    return PodPlan(start=start, kill=kill, wake_at=wake_at)


def _plan_init(
    spec: Any, records: Mapping[str, ContainerRecord], policy: str, sandbox_id: str, now: float
) -> tuple[str, list[Container], float]:
    """(why the others must wait or "", what to start, when to look again)."""
    start: list[Container] = []
    wake_at = NEVER_MIND
    begun = any(_ran_in(records.get(c.name), sandbox_id) for c in spec.containers)
    for container in spec.init_containers:
        sidecar = is_sidecar(container)
        record = records.get(container.name or "")
        if begun and not sidecar:
            continue
        own_policy = "Always" if sidecar else "OnFailure" if policy == "Always" else policy
        what, again = verdict(record, own_policy, sandbox_id, now)
        if what == START:
            start.append(container)
        if what in (WAIT, START):
            wake_at = min(wake_at, again)
        if begun:
            continue
        if what == FAILED:
            return FAILED, start, wake_at
        if what in (START, WAIT) or (what == RUNNING and not (sidecar and record is not None and record.started)):
            return WAIT, start, wake_at
    return "", start, wake_at


def _changed(spec: Any, records: Mapping[str, ContainerRecord]) -> list[Kill]:
    """Running containers whose image is another in the pod's spec by now."""
    found = []
    for container in (*spec.containers, *spec.init_containers):
        record = records.get(container.name or "")
        if record is None or record.status is None or not record.running or record.kill_message:
            continue
        if record.status.image != (container.image or ""):
            message = f"Container {container.name} definition changed, will be restarted"
            found.append(Kill(container.name or "", message))
    return found


def _ran_in(record: ContainerRecord | None, sandbox_id: str) -> bool:
    return record is not None and record.status is not None and record.status.pod_sandbox_id == sandbox_id


def _all_done(containers: Sequence[Container], records: Mapping[str, ContainerRecord], policy: str) -> bool:
    for container in containers:
        record = records.get(container.name or "")
        if record is None or record.status is None or not record.exited:
            return False
        if restarts(container.restart_policy or policy, record.status.exit_code):
            return False
    return True


def _kill_sidecars(spec: Any, records: Mapping[str, ContainerRecord]) -> list[Kill]:
    """The main containers are done: sidecars end one by one, the last first."""
    running = [c.name for c in spec.init_containers if is_sidecar(c) and _runs(records.get(c.name))]
    return [Kill(running[-1])] if running else []


def plan_termination(pod: Pod, records: Mapping[str, ContainerRecord]) -> list[Kill]:
    """What to stop now of a pod that must end: all but sidecars at once, then the sidecars, the last first."""
    spec = pod.spec
    assert spec is not None
    sidecars = [c.name for c in spec.init_containers if is_sidecar(c)]
    others = [name for name, record in records.items() if name not in sidecars and record.running]
    return [Kill(name) for name in others] if others else _kill_sidecars(spec, records)


def _runs(record: ContainerRecord | None) -> bool:
    return record is not None and record.running
