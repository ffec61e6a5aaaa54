"""What a new worker knows of containers that are there already: after a kubelet's restart, or a runtime's. Pure."""

from collections.abc import Iterable, Sequence
from typing import Any

from msgspec.structs import replace

from kubeloop.actors.api.core_v1 import Pod
from kubeloop.actors.container_runtime import messages as cri
from kubeloop.actors.kubelet.record import ContainerRecord
from kubeloop.runtime.clock import parse_rfc3339

LOST_EXIT_CODE = 137
LOST_REASON = "ContainerStatusUnknown"
LOST_MESSAGE = "The container could not be located when the pod was deleted.  The container used to be Running"


def latest_sandbox(sandboxes: Iterable[cri.PodSandboxStatus]) -> cri.PodSandboxStatus | None:
    return max(sandboxes, key=lambda sandbox: sandbox.config.attempt, default=None)


def adopt(pod: Pod, found: Sequence[cri.ContainerStatus], now: float) -> dict[str, ContainerRecord]:
    """Records of the containers that the runtime has, and of those that only the pod's status still tells of.

    What the status calls running and the runtime does not know is lost: it ended at `now` with exit code 137.
    """
    records: dict[str, ContainerRecord] = {}
    for status in sorted(found, key=lambda status: status.attempt):
        record = records.setdefault(status.name, ContainerRecord())
        record.previous, record.status = record.status, status
        record.restart_count = status.attempt
        record.started = record.ready = status.state == cri.CONTAINER_RUNNING and status.ready_at <= now
    told = pod.status
    for reported in (*told.init_container_statuses, *told.container_statuses) if told is not None else ():
        name = reported.name or ""
        if name not in records:
            lost = lost_status(reported, now)
            if lost is not None:
                record = records[name] = ContainerRecord()
                record.status = lost
                record.restart_count = reported.restart_count or 0
    return records


def lost_status(reported: Any, now: float) -> cri.ContainerStatus | None:
    """The runtime's words for what the pod's status says of a container that the runtime does not know."""
    state = reported.state
    if state is None or (state.running is None and state.terminated is None):
        last = reported.last_state
        if last is None or last.terminated is None:
            return None
        state = last
    base = cri.ContainerStatus(
        id=(reported.container_id or "").rpartition("/")[2],
        pod_sandbox_id="",
        pod_uid="",
        name=reported.name or "",
        attempt=reported.restart_count or 0,
        image=reported.image or "",
        image_ref=reported.image_id or "",
        state=cri.CONTAINER_EXITED,
        created_at=now,
    )
    if state.terminated is not None:
        ended = state.terminated
        return replace(
            base,
            started_at=parse_rfc3339(ended.started_at) if ended.started_at else 0.0,
            finished_at=parse_rfc3339(ended.finished_at) if ended.finished_at else now,
            exit_code=ended.exit_code or 0,
            reason=ended.reason or "",
            message=ended.message or "",
        )
    return lost(base, state.running.started_at, now)


def lost(base: cri.ContainerStatus, started_at: str | None, now: float) -> cri.ContainerStatus:
    return replace(
        base,
        state=cri.CONTAINER_EXITED,
        pod_sandbox_id="",
        started_at=parse_rfc3339(started_at) if started_at else base.started_at,
        finished_at=now,
        exit_code=LOST_EXIT_CODE,
        reason=LOST_REASON,
        message=LOST_MESSAGE,
    )
