"""Starting and stopping one container for a pod worker: config, hooks, events, in the order a kubelet does it."""

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from kubeloop.actors.api.core_v1 import Container
from kubeloop.actors.container_runtime import messages as cri
from kubeloop.actors.kubelet import environment
from kubeloop.actors.kubelet.backoff import raised
from kubeloop.actors.kubelet.environment import ConfigError
from kubeloop.actors.kubelet.prober import Prober
from kubeloop.actors.kubelet.probes import Outcome, check_within, probe_states
from kubeloop.actors.kubelet.record import ContainerRecord
from kubeloop.actors.kubelet.volumes import VolumeError, mounts
from kubeloop.runtime.actor import ActorStopped
from kubeloop.runtime.tasks import ChildCancelled

if TYPE_CHECKING:
    from kubeloop.actors.kubelet.worker import PodWorker

RETRY_SECONDS = 10.0
MINIMUM_GRACE_SECONDS = 2.0  # what a container still gets when its preStop hook used the grace period up
START_ERROR_EXIT_CODE = 128


async def start_container(worker: "PodWorker", container: Container, *, init: bool) -> None:
    """Create and start an attempt; what goes wrong is left in the record, to be retried."""
    kubelet, name = worker.kubelet, container.name or ""
    record = worker.records.get(name)
    if record is None:
        record = worker.records[name] = ContainerRecord()
    now = kubelet.clock.now()
    old = record.status
    attempt = record.restart_count + (old is not None)
    if old is not None:
        record.backoff = raised(record.backoff, old.finished_at, now)
    assert worker.sandbox is not None
    try:
        config = await _config(worker, container, attempt, init)
    except ConfigError as error:
        _failed(worker, container, record, "CreateContainerConfigError", str(error), now)
        return
    except VolumeError as error:
        worker.event("Warning", "FailedMount", str(error))
        record.retry_at = now + RETRY_SECONDS
        return
    image = f'Container image "{container.image}" already present on machine and can be accessed by the pod'
    worker.event("Normal", "Pulled", image, container)
    try:
        identifier = await kubelet.ask_runtime(cri.CreateContainer(worker.sandbox.id, config))
    except cri.RuntimeServiceError as error:
        _failed(worker, container, record, error.reason, error.message, now)
        return
    worker.event("Normal", "Created", "Container created", container)
    try:
        status: cri.ContainerStatus = await kubelet.ask_runtime(cri.StartContainer(identifier))
        worker.event("Normal", "Started", "Container started", container)
    except cri.RuntimeServiceError as error:
        worker.event("Warning", "Failed", f"Error: {error.message}", container)
        status = await _never_started(worker, identifier, error.message)
    record.waiting = None
    record.retry_at = 0.0
    record.kill_message = ""
    record.restart_count = attempt
    if record.previous is not None and record.previous.pod_sandbox_id:
        await kubelet.ask_runtime(cri.RemoveContainer(record.previous.id))
    record.previous, record.status = old, status
    if record.running:  # unless it ended at once
        await _started(worker, container, record, status)


async def _started(
    worker: "PodWorker", container: Container, record: ContainerRecord, status: cri.ContainerStatus
) -> None:
    record.started = True
    record.ready = status.ready_at <= worker.kubelet.clock.now()
    lifecycle = container.lifecycle
    if lifecycle is not None and lifecycle.post_start is not None:
        problem = await _hook(worker, container, status.id, lifecycle.post_start, 0.0)
        if problem:
            worker.event("Warning", "FailedPostStartHook", f"PostStartHook failed: {problem}", container)
            record.kill_message = f"FailedPostStartHook: {problem}"
            return
    states = probe_states(container)
    if states:
        prober = Prober(worker, container, record, states)
        worker.set_prober(container.name or "", prober)
        prober.start()


async def _never_started(worker: "PodWorker", identifier: str, message: str) -> cri.ContainerStatus:
    """The status of an attempt whose process could not be started: it ended with exit code 128."""
    status: cri.ContainerStatus = await worker.kubelet.ask_runtime(cri.GetContainerStatus(identifier))
    return replace(
        status,
        state=cri.CONTAINER_EXITED,
        finished_at=worker.kubelet.clock.now(),
        exit_code=START_ERROR_EXIT_CODE,
        reason="StartError",
        message=message,
    )


def _failed(
    worker: "PodWorker", container: Container, record: ContainerRecord, reason: str, message: str, now: float
) -> None:
    worker.event("Warning", "Failed", f"Error: {message}", container)
    record.waiting = (reason, message)
    record.retry_at = now + RETRY_SECONDS


async def _config(worker: "PodWorker", container: Container, attempt: int, init: bool) -> cri.ContainerConfig:
    """ConfigError, VolumeError."""
    kubelet, name, image = worker.kubelet, container.name or "", container.image or ""
    references = environment.references(container)
    if not references and not kubelet.needs_environment(image):
        return cri.ContainerConfig(name, image, attempt, init)
    facts = worker.facts()
    sources = await kubelet.dependencies.fetch(worker.namespace, references) if references else {}
    services = await kubelet.dependencies.service_environment(worker.pod)
    values = environment.resolve(container, worker.pod, facts, sources, services)
    mounted: list[cri.Mount] = []
    if container.volume_mounts and kubelet.runtime.volumes_dir:
        mounted = mounts(container, await kubelet.dependencies.set_up_volumes(worker), values)
    return cri.ContainerConfig(
        name,
        image,
        attempt,
        init,
        [environment.expand(part, values) for part in container.command],
        [environment.expand(part, values) for part in container.args],
        container.working_dir or "",
        values,
        mounted,
        container.termination_message_path or "",
        container.termination_message_policy == "FallbackToLogsOnError",
        bool(container.stdin),
        bool(container.stdin_once),
        bool(container.tty),
    )


async def stop_container(
    worker: "PodWorker", container: Container | None, record: ContainerRecord, grace_seconds: float, hook: bool
) -> None:
    """preStop hook (if `hook`), SIGTERM, SIGKILL; the worker is told when it is over."""
    kubelet, status = worker.kubelet, record.status
    assert status is not None
    left = grace_seconds
    lifecycle = container.lifecycle if container is not None else None
    if hook and lifecycle is not None and lifecycle.pre_stop is not None and grace_seconds > 0:
        begun = kubelet.clock.now()
        problem = await _hook(worker, container, status.id, lifecycle.pre_stop, grace_seconds)
        if problem:
            worker.event("Warning", "FailedPreStopHook", f"PreStopHook failed: {problem}", container)
        left = max(MINIMUM_GRACE_SECONDS, grace_seconds - (kubelet.clock.now() - begun))
    try:
        await kubelet.ask_runtime(cri.StopContainer(status.id, left))
        ended: cri.ContainerStatus = await kubelet.ask_runtime(cri.GetContainerStatus(status.id))
    except (cri.RuntimeServiceError, ActorStopped):
        return  # it has gone with its sandbox or its runtime, which say so themselves
    worker.observe(ended)


async def _hook(worker: "PodWorker", container: Any, container_id: str, handler: Any, limit_seconds: float) -> str:
    """Run a lifecycle handler; what went wrong, or "". `limit_seconds` 0: no limit."""
    kubelet = worker.kubelet
    try:
        if handler.sleep is not None:
            seconds = float(handler.sleep.seconds or 0)
            await kubelet.clock.sleep(min(seconds, limit_seconds) if limit_seconds else seconds)
            return ""
        if handler.exec is not None:
            request = cri.ExecSync(container_id, handler.exec.command, limit_seconds)
            result: cri.ExecResult = await kubelet.ask_runtime(request)
            if result.exit_code == 0 or kubelet.runtime.scripted_probes:
                return ""
            output = result.stderr.decode(errors="replace")
            return f"command '{' '.join(handler.exec.command)}' exited with {result.exit_code}: {output}"
        if kubelet.runtime.scripted_probes:
            return ""
        check = (check_within, handler, container, worker.address(), limit_seconds)
        outcome: Outcome = await kubelet.spawn(*check, name="hook")
        return "" if outcome.success else outcome.message
    except (ChildCancelled, cri.RuntimeServiceError, ActorStopped) as error:
        return str(error)
