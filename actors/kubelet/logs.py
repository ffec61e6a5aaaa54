"""The kubelet's answers about a container's log and to commands in it, with the errors that a real one gives."""

from typing import TYPE_CHECKING

from kubeloop.actors.api import errors
from kubeloop.actors.container_runtime import messages as cri
from kubeloop.actors.kubelet.messages import ExecInPod, OpenLog
from kubeloop.actors.kubelet.record import ContainerRecord
from kubeloop.actors.kubelet.worker import PodWorker
from kubeloop.runtime.clock import parse_rfc3339

if TYPE_CHECKING:
    from kubeloop.actors.kubelet.actor import Kubelet

STREAMS = {"All": "", "Stdout": "stdout", "Stderr": "stderr"}


def _worker(kubelet: "Kubelet", namespace: str, name: str, uid: str) -> PodWorker:
    for worker in kubelet.workers.values():
        if worker.name == name and worker.namespace == namespace and (not uid or uid == worker.uid):
            return worker
    raise errors.not_found("pods", name)


def _known(worker: PodWorker, container: str) -> None:
    spec = worker.pod.spec
    assert spec is not None
    if all(c.name != container for c in (*spec.containers, *spec.init_containers)):
        raise errors.bad_request(f"container {container} is not valid for pod {worker.name}")


async def open_log(kubelet: "Kubelet", request: OpenLog) -> cri.LogStream:
    """StatusError: no such pod or container, or it has not been started yet."""
    worker = _worker(kubelet, request.namespace, request.pod, request.uid)
    _known(worker, request.container)
    record = worker.records.get(request.container)
    status = _attempt(record, request.previous, _waits(worker, request.container)) if record is not None else None
    if status is None:
        if request.previous:
            raise errors.bad_request(
                f'previous terminated container "{request.container}" in pod "{request.pod}" not found'
            )
        reason = record.waiting[0] if record is not None and record.waiting is not None else _waiting_reason(worker)
        raise errors.bad_request(
            f'container "{request.container}" in pod "{request.pod}" is waiting to start: {reason}'
        )
    since = parse_rfc3339(request.since_time) if request.since_time else None
    if request.since_seconds is not None:
        since = kubelet.clock.now() - request.since_seconds
    message = cri.ReadLog(
        status.id,
        request.follow,
        request.tail_lines,
        since,
        request.timestamps,
        request.limit_bytes,
        STREAMS[request.stream],
    )
    try:
        stream: cri.LogStream = await kubelet.ask_runtime(message)
    except cri.ContainerNotFound as error:
        raise errors.bad_request(
            f"unable to retrieve container logs for {kubelet.runtime.name}://{status.id}"
        ) from error
    return stream


def _attempt(record: ContainerRecord, previous: bool, waits: bool) -> cri.ContainerStatus | None:
    """The attempt whose log is meant: while a container waits for its restart, the one that ended is the one before."""
    status = record.status
    if status is not None and not status.pod_sandbox_id:
        return record.previous  # lost with its runtime, and its log too
    if previous and not (waits and record.exited):
        return record.previous
    return status


def _waits(worker: PodWorker, container: str) -> bool:
    status = worker.pod.status
    reported = status.container_statuses if status is not None else ()
    return any(one.name == container and one.state is not None and one.state.waiting is not None for one in reported)


def _waiting_reason(worker: PodWorker) -> str:
    spec = worker.pod.spec
    return "PodInitializing" if spec is not None and spec.init_containers else "ContainerCreating"


async def exec_in_pod(kubelet: "Kubelet", request: ExecInPod) -> cri.ExecResult:
    """StatusError: no such pod or container, or it does not run, or the command took too long."""
    worker = _worker(kubelet, request.namespace, request.pod, request.uid)
    _known(worker, request.container)
    record = worker.records.get(request.container)
    if record is None or record.status is None or not record.running:
        raise errors.bad_request(f"container {request.container} is not running in pod {request.pod}")
    message = cri.ExecSync(record.status.id, request.command, request.timeout_seconds, request.stdin)
    try:
        result: cri.ExecResult = await kubelet.ask_runtime(message)
    except cri.RuntimeServiceError as error:
        raise errors.internal_error(error.message) from None
    return result
