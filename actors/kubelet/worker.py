"""One pod's worker: brings what runs in line with the pod, and reports it. Serial per pod; no task of its own.

The kubelet calls `sync` after anything happened: the pod changed, a container ended, a timer rang. Each call looks at
the world, asks `plan` what to do, does it, and writes the status when it differs from what the API server has.
"""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec.structs import replace

from kubeloop.actors.api.core_v1 import Container, Pod, PodStatus
from kubeloop.actors.api.errors import StatusError, is_conflict, is_not_found
from kubeloop.actors.container_runtime import messages as cri
from kubeloop.actors.kubelet.containers import start_container, stop_container
from kubeloop.actors.kubelet.environment import PodFacts
from kubeloop.actors.kubelet.plan import NEVER_MIND, NOTHING, Kill, is_sidecar, plan_pod, plan_termination
from kubeloop.actors.kubelet.prober import Prober
from kubeloop.actors.kubelet.record import ContainerRecord
from kubeloop.actors.kubelet.status import LIVES, PodFate, pod_status
from kubeloop.actors.kubelet.volumes import VolumeError
from kubeloop.runtime.clock import parse_rfc3339

if TYPE_CHECKING:
    from kubeloop.actors.kubelet.actor import Kubelet

STEPS_MAX = 100  # plans made in one go; each starts at least one container
STATUS_TRIES_MAX = 5
VOLUME_SECONDS = 60.0
TERMINATION_GRACE_SECONDS = 30.0
FORCED_GRACE_SECONDS = 1.0
DEADLINE = ("DeadlineExceeded", "Pod was active on the node longer than the specified deadline")
TERMINAL = ("Succeeded", "Failed")


class PodWorker:
    """State of one pod on this node.

    admitted: its resources are counted. gone: the API server has it no more. end_by: when the grace period is over.
    """

    __slots__ = (
        "admitted", "busy", "dirty", "end_by", "failures", "fate", "gone", "key", "kubelet", "name", "namespace", "pod",
        "probers", "queued", "records", "reporting", "sandbox", "sandboxes_made", "stopping", "timer", "uid",
        "volumes_until",
    )  # fmt: skip

    def __init__(self, kubelet: "Kubelet", pod: Pod) -> None:
        metadata = pod.metadata
        assert metadata is not None
        self.kubelet = kubelet
        self.pod = pod
        self.name = metadata.name or ""
        self.namespace = metadata.namespace or ""
        self.uid = metadata.uid or ""
        self.key = f"{self.namespace}/{self.name}"
        self.records: dict[str, ContainerRecord] = {}
        self.sandbox: cri.PodSandboxStatus | None = None
        self.sandboxes_made = 0
        self.probers: dict[str, Prober] | None = None
        self.stopping: dict[str, float] | None = None
        self.fate = LIVES
        self.end_by = 0.0
        self.admitted = False
        self.gone = False
        self.busy = self.dirty = self.queued = False
        self.failures = 0
        self.volumes_until = 0.0
        self.reporting: PodStatus | None = None
        self.timer: asyncio.TimerHandle | None = None

    # what others ask and tell

    def address(self) -> str:
        """The pod's IP, the node's for the host network."""
        if self.sandbox is None or self.sandbox.config.host_network:
            return self.kubelet.identity.address
        return self.sandbox.ip

    def facts(self) -> PodFacts:
        identity = self.kubelet.identity
        return PodFacts(identity.name, self.address(), identity.address, identity.capacity)

    def event(self, kind: str, reason: str, message: str, container: Container | None = None) -> None:
        self.kubelet.record_event(self.pod, kind, reason, message, container)

    def set_prober(self, name: str, prober: Prober) -> None:
        self.close_prober(name)
        if self.probers is None:
            self.probers = {}
        self.probers[name] = prober

    def close_prober(self, name: str) -> None:
        prober = self.probers.pop(name, None) if self.probers else None
        if prober is not None:
            prober.close()

    def observe(self, status: cri.ContainerStatus) -> None:
        """The runtime's news of a container."""
        record = self.records.get(status.name)
        if record is None or record.status is None or record.status.id != status.id or record.status == status:
            return
        record.status = status
        if status.state == cri.CONTAINER_EXITED:
            record.started = record.ready = False
            record.kill_message = ""
            self.close_prober(status.name)
            if self.stopping:
                self.stopping.pop(status.name, None)
        self.kubelet.enqueue(self)

    def changed_by(self, pod: Pod) -> bool:
        """Take a newer version of the pod in; whether it is more than our own status write coming back."""
        mine, other, old = self.pod.metadata, pod.metadata, self.pod
        assert mine is not None and other is not None
        self._take(pod)
        if pod.spec is not old.spec and pod.spec != old.spec:
            return True
        if mine.deletion_timestamp != other.deletion_timestamp:
            return True
        if mine.deletion_grace_period_seconds != other.deletion_grace_period_seconds:
            return True
        expected = self.reporting if self.reporting is not None else old.status
        return pod.status is not expected and pod.status != expected

    def close(self) -> None:
        """Forget timers; the containers stay as they are."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        for prober in (self.probers or {}).values():
            prober.close()
        self.probers = None

    # the loop's body

    async def sync(self) -> None:
        """One go. Raises what the API server or the runtime raise; the kubelet calls again later."""
        metadata, status = self.pod.metadata, self.pod.status
        assert metadata is not None
        if self.gone or metadata.deletion_timestamp is not None:
            await self._terminate()
        elif self.fate.ended or self.fate.failed:
            await self._finish()
        elif status is not None and status.phase in TERMINAL:
            if self.sandbox is not None:
                await self._finish()
        elif self.admitted or self._admit():
            await self._run()
        else:
            await self._report()

    def _admit(self) -> bool:
        rejection = self.kubelet.admit(self)
        if rejection is None:
            return True
        self.fate = PodFate(True, (rejection.reason, rejection.message))
        self.event("Warning", rejection.reason, rejection.message.removeprefix("Pod was rejected: "))
        return False

    async def _run(self) -> None:
        kubelet = self.kubelet
        if self._deadline() <= kubelet.clock.now():
            self.fate = PodFate(True, DEADLINE)
            self.event("Normal", DEADLINE[0], DEADLINE[1])
            await self._finish()
            return
        plan = NOTHING
        for _ in range(STEPS_MAX):
            unborn = self.sandbox is None and not self.records
            if (unborn or plan.create_sandbox) and not await self._create_sandbox():
                break
            plan = plan_pod(self.pod, self.sandbox, self.records, kubelet.clock.now())
            if plan.create_sandbox:
                continue
            if plan.kill:
                self._kill(plan.kill)
            if not plan.start or self._interrupted():
                break
            if await self._start(plan.start):
                break
        if plan.finished and not any(record.running for record in self.records.values()):
            self.fate = replace(self.fate, ended=True)
            await self._finish()
            return
        wake_at = min(plan.wake_at, self._refresh_readiness(), await self._renew_volumes())
        if wake_at < NEVER_MIND:
            self._tell_backoff()
        await self._report()
        self._wake(min(wake_at, self._deadline()))

    async def _start(self, containers: Sequence[Container]) -> bool:
        """Start them; True when there is nothing more to plan: no init containers, and all of these run."""
        spec = self.pod.spec
        inits = spec.init_containers if spec is not None else ()
        running = not inits
        for container in containers:
            await start_container(self, container, init=container in inits and not is_sidecar(container))
            record = self.records[container.name or ""]
            running = running and record.running and not record.kill_message
        return running

    def _tell_backoff(self) -> None:
        """One event for each end after which a container has to wait."""
        for name, record in self.records.items():
            status = record.status
            if status is None or not record.exited or record.backoff is None or record.told_backoff == status.id:
                continue
            record.told_backoff = status.id
            pod = f"{self.name}_{self.namespace}({self.uid})"
            message = f"Back-off restarting failed container {name} in pod {pod}"
            self.event("Warning", "BackOff", message, self._container(name))

    def _container(self, name: str) -> Container | None:
        spec = self.pod.spec
        assert spec is not None
        return next((c for c in (*spec.containers, *spec.init_containers) if c.name == name), None)

    def _interrupted(self) -> bool:
        """The pod was deleted while this went on."""
        return self.gone or (self.pod.metadata is not None and self.pod.metadata.deletion_timestamp is not None)

    def _refresh_readiness(self) -> float:
        """Containers whose script says when they are ready, without a probe; when to look again."""
        wake_at, now = NEVER_MIND, self.kubelet.clock.now()
        for name, record in self.records.items():
            status = record.status
            if status is None or not status.ready_at or not record.running or (self.probers and name in self.probers):
                continue
            record.ready = status.ready_at <= now
            if not record.ready:
                wake_at = min(wake_at, status.ready_at)
        return wake_at

    async def _renew_volumes(self) -> float:
        """Volumes follow their ConfigMaps and Secrets, once a minute; when next (never without volumes)."""
        spec, now = self.pod.spec, self.kubelet.clock.now()
        if spec is None or not spec.volumes or not self.kubelet.runtime.volumes_dir or self.sandbox is None:
            return NEVER_MIND
        if now >= self.volumes_until:
            if self.volumes_until:
                try:
                    await self.kubelet.dependencies.set_up_volumes(self)
                except VolumeError as error:
                    self.event("Warning", "FailedMount", str(error))
            self.volumes_until = now + VOLUME_SECONDS
        return self.volumes_until

    def _deadline(self) -> float:
        spec, status = self.pod.spec, self.pod.status
        if spec is None or spec.active_deadline_seconds is None or status is None or status.start_time is None:
            return NEVER_MIND
        return parse_rfc3339(status.start_time) + spec.active_deadline_seconds

    async def _create_sandbox(self) -> bool:
        kubelet, metadata, spec = self.kubelet, self.pod.metadata, self.pod.spec
        assert metadata is not None and spec is not None
        if spec.volumes and kubelet.runtime.volumes_dir:
            try:
                await kubelet.dependencies.set_up_volumes(self)
            except VolumeError as error:
                self.event("Warning", "FailedMount", str(error))
                self.retry_later()
                return False
        config = cri.PodSandboxConfig(
            self.name,
            self.namespace,
            self.uid,
            self.sandboxes_made,
            spec.hostname or self.name,
            metadata.labels,
            metadata.annotations,
            bool(spec.host_network),
        )
        try:
            self.sandbox = await kubelet.ask_runtime(cri.RunPodSandbox(config))
        except cri.RuntimeServiceError as error:
            self.event("Warning", "FailedCreatePodSandBox", f"Failed to create pod sandbox: {error.message}")
            self.retry_later()
            return False
        self.sandboxes_made += 1
        return True

    def retry_later(self) -> None:
        self.failures += 1
        self._wake(self.kubelet.clock.now() + min(300.0, 2.0**self.failures))

    # ending

    def _kill(self, kills: Sequence[Kill], grace_seconds: float | None = None) -> None:
        for kill in kills:
            record = self.records[kill.name]
            container = self._container(kill.name)
            grace = self._grace(container, kill) if grace_seconds is None else grace_seconds
            end = self.kubelet.clock.now() + grace
            if self.stopping is None:
                self.stopping = {}
            before = self.stopping.get(kill.name)
            if before is not None and before <= end:
                continue
            self.stopping[kill.name] = end
            if before is None:
                self.event("Normal", "Killing", kill.message or f"Stopping container {kill.name}", container)
            self._stop_probing(kill.name, record)
            self.kubelet.drive(stop_container, self, container, record, grace, before is None)

    def _stop_probing(self, name: str, record: ContainerRecord) -> None:
        """A deleted pod stays ready, and its readiness is still probed, until its containers end: traffic drains."""
        if not self._interrupted():
            self.close_prober(name)
            record.ready = False
        elif self.probers and name in self.probers:
            self.probers[name].keep_readiness()

    def _grace(self, container: Container | None, kill: Kill) -> float:
        spec = self.pod.spec
        probe = container.liveness_probe if container is not None and kill.message else None
        if probe is not None and probe.termination_grace_period_seconds is not None:
            return float(probe.termination_grace_period_seconds)
        seconds = spec.termination_grace_period_seconds if spec is not None else None
        return TERMINATION_GRACE_SECONDS if seconds is None else float(seconds)

    async def _stop_everything(self) -> bool:
        """Ask what still runs to end; True when nothing does and the sandbox is down."""
        for _ in range(STEPS_MAX):
            kills = plan_termination(self.pod, self.records)
            if not kills:
                break
            self._kill(kills, max(0.0, self.end_by - self.kubelet.clock.now()))
            if any(self.records[kill.name].running for kill in kills):
                return False
        if self.sandbox is not None and self.sandbox.ready:
            await self.kubelet.ask_runtime(cri.StopPodSandbox(self.sandbox.id))
            self.sandbox = replace(self.sandbox, ready=False)
        self.kubelet.release(self)
        return True

    async def _finish(self) -> None:
        """A pod that will not run again, but stays in the API: Succeeded, Failed, rejected, past its deadline."""
        if not self.end_by:
            self.end_by = self.kubelet.clock.now() + self._grace(None, Kill(""))
        if await self._stop_everything():
            self.fate = replace(self.fate, ended=True)
        await self._report()

    async def _terminate(self) -> None:
        """The pod is being deleted, or is gone already."""
        kubelet, metadata = self.kubelet, self.pod.metadata
        assert metadata is not None
        grace = metadata.deletion_grace_period_seconds
        if self.gone:
            grace_seconds = FORCED_GRACE_SECONDS
        else:
            grace_seconds = self._grace(None, Kill("")) if grace is None else float(grace)
        end_by = kubelet.clock.now() + grace_seconds
        self.end_by = min(self.end_by, end_by) if self.end_by else end_by
        if not await self._stop_everything():
            if not self.gone:
                await self._report()
            return
        self.fate = replace(self.fate, ended=True)
        if self.gone:
            await self._clean_up()
            return
        if self.records:
            await self._report()
        if self.gone:
            await self._clean_up()
            return
        try:
            await kubelet.client.delete(
                "pods", self.name, self.namespace, grace_period_seconds=0, preconditions={"uid": self.uid}
            )
        except StatusError as error:
            if not is_not_found(error) and not is_conflict(error):
                raise
            self.gone = True
            kubelet.enqueue(self)

    async def _clean_up(self) -> None:
        if self.sandbox is not None:
            await self.kubelet.ask_runtime(cri.RemovePodSandbox(self.sandbox.id))
        self.kubelet.forget(self)

    # reporting

    async def _report(self) -> None:
        """Write the status when it differs from the API server's. What others wrote in between is taken in first."""
        kubelet = self.kubelet
        for _ in range(STATUS_TRIES_MAX):
            if self.gone:
                return
            status = self._status()
            if status == self.pod.status:
                return
            self.reporting = status
            try:
                written: Pod = await kubelet.client.update_status(replace(self.pod, status=status))
            except StatusError as error:
                if is_not_found(error):
                    return  # the watch says so too
                if not is_conflict(error):
                    raise
                await self._refresh()
                continue
            finally:
                self.reporting = None
            self._take(written)
            return

    def _status(self) -> PodStatus:
        kubelet = self.kubelet
        return pod_status(
            self.pod,
            self.sandbox,
            self.records,
            now=kubelet.clock.now(),
            host_ip=kubelet.identity.address,
            fate=self.fate,
            runtime_name=kubelet.runtime.name,
        )

    async def _refresh(self) -> None:
        try:
            fresh: Pod = await self.kubelet.client.get("pods", self.name, self.namespace)
        except StatusError as error:
            if not is_not_found(error):
                raise
            self.gone = True
            return
        if fresh.metadata is None or fresh.metadata.uid != self.uid:
            self.gone = True
            return
        self._take(fresh)

    def _take(self, pod: Pod) -> None:
        """Keep the newer of two versions."""
        mine, other = self.pod.metadata, pod.metadata
        assert mine is not None and other is not None
        if int(other.resource_version or 0) >= int(mine.resource_version or 0):
            self.pod = pod

    def _wake(self, at: float) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        if at < NEVER_MIND:
            delay = max(0.0, at - self.kubelet.clock.now())
            self.timer = self.kubelet.clock.call_later(delay, self.kubelet.enqueue, self)
