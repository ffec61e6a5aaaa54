"""The kubelet's answers to exec, attach and port-forward: what it passes on to its runtime, what it refuses itself.

The texts are a kubelet's own. The streams pass through it: when it ends, so do they.
"""

from typing import TYPE_CHECKING, Any

from kubeloop.actors.container_runtime import messages as cri
from kubeloop.actors.kubelet.messages import AttachToContainer, ExecInContainer, ForwardPort, KubeletError
from kubeloop.actors.kubelet.worker import PodWorker
from kubeloop.runtime.actor import ActorStopped

if TYPE_CHECKING:
    from kubeloop.actors.kubelet.actor import Kubelet

STREAMS_MAX = 1_000  # of one kubelet
CLAIM_SECONDS = 60.0


async def exec_in_container(kubelet: "Kubelet", request: ExecInContainer) -> cri.Streams:
    """KubeletError: no such pod, or the container does not run, or not this way."""
    worker = _worker(kubelet, request)
    record = worker.records.get(request.container)
    if record is None or record.status is None or not record.running:
        raise KubeletError(500, f'container not found ("{request.container}")')
    _check_pipes(request)
    stderr = request.stderr and not request.tty
    message = cri.Exec(record.status.id, request.command, request.stdin, request.stdout, stderr, request.tty)
    return await _open(kubelet, message)


async def attach_to_container(kubelet: "Kubelet", request: AttachToContainer) -> cri.Streams:
    worker = _worker(kubelet, request)
    record = worker.records.get(request.container)
    if record is None or record.status is None or not record.running:
        full_name = f"{worker.name}_{worker.namespace}"
        raise KubeletError(500, f"container {request.container} not found in pod {full_name}")
    _check_pipes(request)
    return await _open(kubelet, cri.Attach(record.status.id, request.stdin, request.stdout, request.stderr))


async def forward_port(kubelet: "Kubelet", request: ForwardPort) -> cri.Streams | None:
    worker = _worker(kubelet, request)
    sandbox = worker.sandbox
    if sandbox is None or not sandbox.ready or not any(record.running for record in worker.records.values()):
        raise KubeletError(500, f'pod not found ("{worker.name}_{worker.namespace}")')
    if not request.port:
        return None
    return await _open(kubelet, cri.PortForward(sandbox.id, request.port))


def _worker(kubelet: "Kubelet", request: Any) -> PodWorker:
    for worker in kubelet.workers.values():
        same = worker.name == request.pod and worker.namespace == request.namespace
        if same and request.uid in ("", worker.uid):
            return worker
    raise KubeletError(404, "pod does not exist")


def _check_pipes(request: ExecInContainer | AttachToContainer) -> None:
    if not request.stdin and not request.stdout and not request.stderr:
        raise KubeletError(400, "you must specify at least 1 of stdin, stdout, stderr")


async def _open(kubelet: "Kubelet", message: Any) -> cri.Streams:
    if kubelet.streams.full:
        raise KubeletError(429, f"this kubelet has {STREAMS_MAX} streams open already, no more are accepted")
    try:
        streams: cri.Streams = await kubelet.ask_runtime(message)
    except cri.RuntimeServiceError as error:
        raise KubeletError(500, error.message) from None
    except ActorStopped as error:
        raise KubeletError(500, f"the container runtime does not run: {error}") from None
    hold(kubelet, streams)
    return streams


def hold(kubelet: "Kubelet", streams: cri.Streams) -> None:
    """They end with this kubelet, or when nobody has claimed them after a while: their answer got lost."""
    if streams.over:
        return
    kubelet.streams.add(streams)
    timer = kubelet.clock.call_later(CLAIM_SECONDS, streams.close_unclaimed)
    streams.when_over.append(lambda _: timer.cancel())
