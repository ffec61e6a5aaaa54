"""The columns of `kubectl get pods`, above all STATUS: one word that sums up phase, containers and deletion."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from kubeloop.actors.apiserver.registry.printing import AGE, NAME, NONE, or_none, since, text


class Summary(msgspec.Struct, frozen=True):
    """What the statuses of a pod's containers come down to."""

    reason: str
    ready: int
    total: int
    restarts: int
    last_restart: str  # RFC 3339, "" when there was none


def _is_sidecar(container: Any) -> bool:
    return container is not None and container.restart_policy == "Always"


def _last_restart(status: Any, latest: str) -> str:
    last = status.last_state
    if last is None or last.terminated is None:
        return latest
    return max(latest, last.terminated.finished_at or "")


def _condition_is_true(status: Any, type_: str) -> bool:
    return any(condition.type == type_ and condition.status == "True" for condition in status.conditions)


def _exit_reason(terminated: Any) -> str:
    if terminated.reason:
        return str(terminated.reason)
    return f"Signal:{terminated.signal}" if terminated.signal else f"ExitCode:{terminated.exit_code or 0}"


def _init_reason(status: Any, index: int, total: int) -> str:
    """What an init container that is not through yet says of the pod."""
    state = status.state
    if state is not None and state.terminated is not None:
        return f"Init:{_exit_reason(state.terminated)}"
    waiting = state.waiting if state is not None else None
    if waiting is not None and waiting.reason and waiting.reason != "PodInitializing":
        return f"Init:{waiting.reason}"
    return f"Init:{index}/{total}"


class _Tally:
    """Running totals while the container statuses are walked."""

    def __init__(self) -> None:
        self.ready = self.restarts = 0
        self.last_restart = ""

    def restarted(self, status: Any) -> None:
        self.restarts += status.restart_count or 0
        self.last_restart = _last_restart(status, self.last_restart)


def _walk_init(pod: Any, tally: _Tally, sidecars: _Tally) -> str:
    """The reason that holds the pod in initialization, "" when nothing does."""
    containers = {container.name: container for container in pod.spec.init_containers}
    for index, status in enumerate(pod.status.init_container_statuses):
        tally.restarted(status)
        sidecar = _is_sidecar(containers.get(status.name))
        if sidecar:
            sidecars.restarted(status)
        terminated = status.state.terminated if status.state is not None else None
        if terminated is not None and not terminated.exit_code:
            continue
        if sidecar and status.started:
            sidecars.ready += bool(status.ready)
            continue
        return _init_reason(status, index, len(pod.spec.init_containers))
    return ""


def _walk_containers(pod: Any, tally: _Tally, reason: str) -> str:
    running = False
    for status in reversed(pod.status.container_statuses):
        tally.restarted(status)
        state = status.state
        if state is not None and state.waiting is not None and state.waiting.reason:
            reason = state.waiting.reason
        elif state is not None and state.terminated is not None:
            reason = _exit_reason(state.terminated)
        elif status.ready and state is not None and state.running is not None:
            running = True
            tally.ready += 1
    if reason == "Completed" and running:
        return "Running" if _condition_is_true(pod.status, "Ready") else "NotReady"
    return reason


def summarise(pod: Any) -> Summary:
    status, metadata = pod.status, pod.metadata
    total = len(pod.spec.containers) + sum(_is_sidecar(container) for container in pod.spec.init_containers)
    if status is None:
        return Summary("", 0, total, 0, "")
    reason = status.reason or status.phase or ""
    for condition in status.conditions:
        if condition.type == "PodScheduled" and condition.reason == "SchedulingGated":
            reason = "SchedulingGated"
    everything, sidecars = _Tally(), _Tally()
    initializing = _walk_init(pod, everything, sidecars) if status.init_container_statuses else ""
    tally = everything
    if initializing:
        reason = initializing
    if not initializing or _condition_is_true(status, "Initialized"):
        tally = sidecars
        reason = _walk_containers(pod, tally, reason)
    if metadata.deletion_timestamp:
        if status.reason == "NodeLost":
            reason = "Unknown"
        elif status.phase not in ("Succeeded", "Failed"):
            reason = "Terminating"
    ready = sidecars.ready if tally is everything else tally.ready
    return Summary(reason, ready, total, tally.restarts, tally.last_restart)


def ready_cell(pod: Any, now: float) -> str:
    summary = summarise(pod)
    return f"{summary.ready}/{summary.total}"


def status_cell(pod: Any, now: float) -> str:
    return summarise(pod).reason


def restarts_cell(pod: Any, now: float) -> str:
    summary = summarise(pod)
    if summary.restarts and summary.last_restart:
        return f"{summary.restarts} ({since(summary.last_restart, now)} ago)"
    return str(summary.restarts)


def ip_cell(pod: Any, now: float) -> str:
    status = pod.status
    if status is None:
        return NONE
    return (status.pod_ips[0].ip if status.pod_ips else status.pod_ip) or NONE


def readiness_gates_cell(pod: Any, now: float) -> str:
    gates = pod.spec.readiness_gates
    if not gates:
        return NONE
    true = sum(_condition_is_true(pod.status, gate.condition_type) for gate in gates)
    return f"{true}/{len(gates)}"


def nominated_node_cell(pod: Any, now: float) -> str:
    return or_none(pod.status.nominated_node_name if pod.status is not None else None)


_ENDED = {
    "Succeeded": ({"type": "Completed", "status": "True", "reason": "Succeeded", "message": "The pod has completed."},),
    "Failed": ({"type": "Completed", "status": "True", "reason": "Failed", "message": "The pod failed."},),
}


def row_conditions(pod: Any) -> Sequence[Mapping[str, str]]:
    """Clients may grey out or leave away pods that have ended."""
    return _ENDED.get(pod.status.phase, ())


COLUMNS = (
    NAME,
    text("Ready", ready_cell),
    text("Status", status_cell),
    text("Restarts", restarts_cell),
    AGE,
    text("IP", ip_cell, wide=True),
    text("Node", lambda pod, now: or_none(pod.spec.node_name), wide=True),
    text("Nominated Node", nominated_node_cell, wide=True),
    text("Readiness Gates", readiness_gates_cell, wide=True),
)
