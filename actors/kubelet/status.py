"""A pod's status, from its spec and its containers' records. Pure.

Pod lifecycle, "Pod phase", "Container states", "Pod conditions" of the Kubernetes documentation.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import msgspec

from kubeloop.actors.api.core_v1 import (
    Container,
    ContainerState,
    ContainerStateRunning,
    ContainerStateTerminated,
    ContainerStateWaiting,
    ContainerStatus,
    HostIP,
    Pod,
    PodCondition,
    PodIP,
    PodStatus,
)
from kubeloop.actors.container_runtime import messages as cri
from kubeloop.actors.kubelet.backoff import format_duration, restart_at
from kubeloop.actors.kubelet.plan import is_sidecar, restarts
from kubeloop.actors.kubelet.qos import qos_class
from kubeloop.actors.kubelet.record import ContainerRecord
from kubeloop.runtime.clock import format_rfc3339

OWN_CONDITIONS = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")
CONTAINER_CREATING = ContainerState(waiting=ContainerStateWaiting(reason="ContainerCreating"))
POD_INITIALIZING = ContainerState(waiting=ContainerStateWaiting(reason="PodInitializing"))


class PodFate(msgspec.Struct, frozen=True):
    """What was decided over the pod as a whole.

    ended: its containers will not be started again. failed: (reason, message) of a phase Failed, whatever they did.
    """

    ended: bool = False
    failed: tuple[str, str] | None = None


LIVES = PodFate()


@lru_cache(maxsize=4096)
def _second(seconds: int) -> str:
    return format_rfc3339(seconds)


def timestamp(seconds: float) -> str:
    """RFC 3339 to the second, as status times are written."""
    return _second(int(seconds))


def pod_status(
    pod: Pod,
    sandbox: cri.PodSandboxStatus | None,
    records: Mapping[str, ContainerRecord],
    *,
    now: float,
    host_ip: str,
    runtime_name: str,
    fate: PodFate = LIVES,
) -> PodStatus:
    """The status to report. Conditions of others, the nominated node and the like are kept from the pod's own."""
    spec, old = pod.spec, pod.status or PodStatus()
    assert spec is not None
    policy = spec.restart_policy or "Always"
    view = _View(pod, sandbox, records, now, policy, fate.ended or fate.failed is not None, runtime_name)
    initialized, init_failed, init_statuses, incomplete = _init(spec.init_containers, view)
    default = CONTAINER_CREATING if not spec.init_containers or initialized else POD_INITIALIZING
    statuses = [container_status(container, view, default) for container in spec.containers]
    phase = "Failed" if fate.failed else _phase(statuses, policy, initialized, init_failed, view.ended)
    if old.phase in ("Succeeded", "Failed"):
        phase = old.phase
    unready = [s.name for s in statuses if not s.ready]
    unready += [
        s.name for c, s in zip(spec.init_containers, init_statuses, strict=True) if is_sidecar(c) and not s.ready
    ]
    networked = sandbox is not None and sandbox.ready
    ip = sandbox.ip if sandbox is not None else old.pod_ip
    if spec.host_network and sandbox is not None:
        ip = host_ip
    changes: dict[str, Any] = {}
    if fate.failed:
        changes["reason"], changes["message"] = fate.failed
    return msgspec.structs.replace(
        old,
        phase=phase,
        conditions=_conditions(pod, old, phase, networked, initialized, incomplete, unready, timestamp(now)),
        host_ip=host_ip,
        host_ips=[HostIP(ip=host_ip)],
        pod_ip=ip or None,
        pod_ips=[PodIP(ip=ip)] if ip else (),
        start_time=old.start_time or timestamp(now),
        container_statuses=statuses,
        init_container_statuses=init_statuses or (),
        qos_class=old.qos_class or qos_class(pod),
        observed_generation=pod.metadata.generation if pod.metadata is not None else None,
        **changes,
    )


class _View:
    """The snapshot, as the functions below pass it on."""

    __slots__ = ("ended", "now", "pod", "policy", "records", "runtime_name", "sandbox_id")

    def __init__(
        self,
        pod: Pod,
        sandbox: cri.PodSandboxStatus | None,
        records: Mapping[str, ContainerRecord],
        now: float,
        policy: str,
        ended: bool,
        runtime_name: str,
    ) -> None:
        self.pod = pod
        self.sandbox_id = sandbox.id if sandbox is not None else ""
        self.records = records
        self.now = now
        self.policy = policy
        self.ended = ended
        self.runtime_name = runtime_name


def _init(containers: Sequence[Container], view: _View) -> tuple[bool, bool, list[ContainerStatus], list[str]]:
    """(all done, one failed for good, statuses, names of those not done)."""
    statuses: list[ContainerStatus] = []
    incomplete: list[str] = []
    failed = False
    for container in containers:
        status = container_status(container, view, POD_INITIALIZING if statuses else CONTAINER_CREATING)
        terminated = status.state.terminated if status.state is not None else None
        if is_sidecar(container):
            done = bool(status.started) or (terminated is not None and view.ended)
        else:
            done = terminated is not None and terminated.exit_code == 0
            if done:
                status = msgspec.structs.replace(status, ready=True)
            elif terminated is not None and view.policy == "Never":
                failed = True
        if not done:
            incomplete.append(container.name or "")
        statuses.append(status)
    return not incomplete, failed, statuses, incomplete


def container_status(container: Container, view: _View, default: ContainerState) -> ContainerStatus:
    """The status of one container; `default` while there is no attempt."""
    name = container.name or ""
    record = view.records.get(name)
    resources = container.resources
    common: dict[str, Any] = {"name": name, "image": container.image, "image_id": ""}
    if resources is not None and (resources.requests or resources.limits):
        common["resources"] = resources
        common["allocated_resources"] = resources.requests
    if record is None:
        return ContainerStatus(state=default, ready=False, restart_count=0, started=False, **common)
    status, previous = record.status, record.previous
    common["restart_count"] = record.restart_count
    last = _terminated(previous, view.runtime_name) if previous is not None and previous.finished_at else None
    if status is not None:
        common["image_id"] = status.image_ref
        common["container_id"] = f"{view.runtime_name}://{status.id}"
    if status is not None and record.running and status.pod_sandbox_id == view.sandbox_id:
        state = ContainerState(running=ContainerStateRunning(started_at=timestamp(status.started_at)))
        return ContainerStatus(state=state, last_state=last, ready=record.ready, started=record.started, **common)
    if record.waiting is not None:
        reason, message = record.waiting
        state = ContainerState(waiting=ContainerStateWaiting(reason=reason, message=message or None))
        if record.exited and status is not None:
            last = _terminated(status, view.runtime_name)
    elif status is not None and record.exited:
        ended = _terminated(status, view.runtime_name)
        state, last = _after_exit(container, record, status, ended, last, view, default)
    else:
        state = default
    return ContainerStatus(state=state, last_state=last, ready=False, started=False, **common)


def _after_exit(
    container: Container,
    record: ContainerRecord,
    status: cri.ContainerStatus,
    ended: ContainerState,
    last: ContainerState | None,
    view: _View,
    default: ContainerState,
) -> tuple[ContainerState, ContainerState | None]:
    policy = "Always" if is_sidecar(container) else container.restart_policy or view.policy
    if view.ended or not restarts(policy, status.exit_code):
        return ended, last
    if view.sandbox_id and status.pod_sandbox_id != view.sandbox_id:
        return default, ended
    again = restart_at(record.backoff, status.finished_at)
    if again <= view.now:
        return ended, last
    metadata = view.pod.metadata
    assert metadata is not None and record.backoff is not None
    message = (
        f"back-off {format_duration(record.backoff.seconds)} restarting failed container={container.name} "
        f"pod={metadata.name}_{metadata.namespace}({metadata.uid})"
    )
    return ContainerState(waiting=ContainerStateWaiting(reason="CrashLoopBackOff", message=message)), ended


def _terminated(status: cri.ContainerStatus, runtime_name: str) -> ContainerState:
    return ContainerState(
        terminated=ContainerStateTerminated(
            exit_code=status.exit_code,
            reason=status.reason,
            message=status.message or None,
            started_at=timestamp(status.started_at or status.finished_at),
            finished_at=timestamp(status.finished_at),
            container_id=f"{runtime_name}://{status.id}",
        )
    )


def _phase(statuses: Sequence[ContainerStatus], policy: str, initialized: bool, init_failed: bool, ended: bool) -> str:
    if init_failed:
        return "Failed"
    running = waiting = stopped = succeeded = 0
    for status in statuses:
        state = status.state
        if state is not None and state.running is not None:
            running += 1
            continue
        terminated = state.terminated if state is not None else None
        if terminated is None and status.last_state is not None:
            terminated = status.last_state.terminated
        if terminated is None:
            waiting += 1
            continue
        stopped += 1
        succeeded += terminated.exit_code == 0
    if ended and not running:
        return "Succeeded" if succeeded == len(statuses) and initialized else "Failed"
    if not initialized and not running and not stopped:
        return "Pending"
    if waiting:
        return "Pending"
    if running or policy == "Always":
        return "Running"
    still_waits = any(s.state is not None and s.state.waiting is not None for s in statuses)
    if still_waits:
        return "Running"
    if succeeded == stopped:
        return "Succeeded"
    return "Failed" if policy == "Never" else "Running"


def _conditions(
    pod: Pod,
    old: PodStatus,
    phase: str,
    networked: bool,
    initialized: bool,
    incomplete: Sequence[str],
    unready: Sequence[str | None],
    now: str,
) -> list[PodCondition]:
    before = {condition.type: condition for condition in old.conditions}
    generation = pod.metadata.generation if pod.metadata is not None else None

    def condition(kind: str, true: bool, reason: str | None = None, message: str | None = None) -> PodCondition:
        status = "True" if true else "False"
        previous = before.get(kind)
        since = previous.last_transition_time if previous is not None and previous.status == status else now
        return PodCondition(
            type=kind,
            status=status,
            reason=reason,
            message=message,
            last_transition_time=since,
            observed_generation=generation,
        )

    ready_reason = message = None
    if phase == "Succeeded":
        ready_reason = "PodCompleted"
    elif phase == "Failed":
        ready_reason = "PodFailed"
    elif unready:
        ready_reason = "ContainersNotReady"
        message = f"containers with unready status: [{' '.join(name or '' for name in unready)}]"
    containers_ready = condition("ContainersReady", ready_reason is None, ready_reason, message)
    gates = _gates(pod, before) if ready_reason is None else None
    ready = condition("Ready", False, "ReadinessGatesNotReady", gates) if gates else condition(
        "Ready", ready_reason is None, ready_reason, message
    )  # fmt: skip
    if phase == "Succeeded":
        init = condition("Initialized", True, "PodCompleted")
    elif initialized:
        init = condition("Initialized", True)
    else:
        init = condition(
            "Initialized", False, "ContainersNotInitialized",
            f"containers with incomplete status: [{' '.join(incomplete)}]",
        )  # fmt: skip
    scheduled = before.get("PodScheduled")
    if scheduled is None or scheduled.status != "True":
        scheduled = condition("PodScheduled", True)
    others = [c for c in old.conditions if c.type not in OWN_CONDITIONS]
    return [condition("PodReadyToStartContainers", networked), init, ready, containers_ready, scheduled, *others]


def _gates(pod: Pod, conditions: Mapping[str | None, PodCondition]) -> str | None:
    """What a readiness gate still waits for, or None."""
    spec = pod.spec
    assert spec is not None
    messages = []
    for gate in spec.readiness_gates:
        condition = conditions.get(gate.condition_type)
        if condition is None:
            messages.append(f'corresponding condition of pod readiness gate "{gate.condition_type}" does not exist.')
        elif condition.status != "True":
            messages.append(
                f'the status of pod readiness gate "{gate.condition_type}" is not "True", but {condition.status}'
            )
    return ", ".join(messages) or None
