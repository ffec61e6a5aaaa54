"""The kubelet of one node, as an actor.

State: the workers of its pods, what their resources add up to, its Node and Lease.
Messages: ContainerEvent and RuntimeReady from its container runtime; what the API server asks: see `ASKED`.
Loop: a pod whose world changed makes one go (`PodWorker.sync`), serially per pod, as a message of the kubelet's to
itself: so a go that need not wait (sim) owns no task, and what must wait goes on in one.
Crash: memory is lost, containers run on; the next kubelet adopts them from the runtime's lists.
"""

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, ClassVar

import msgspec

from kubeloop.actors.api.core_v1 import Container, Pod, Taint
from kubeloop.actors.api.errors import StatusError
from kubeloop.actors.client.client import Client
from kubeloop.actors.client.events import EventRecorder
from kubeloop.actors.client.informer import Informer, InformerFactory
from kubeloop.actors.client.transport import InProcessTransport
from kubeloop.actors.container_runtime import messages as cri
from kubeloop.actors.kubelet.admission import PODS, Rejection, admit
from kubeloop.actors.kubelet.adoption import adopt, latest_sandbox, lost
from kubeloop.actors.kubelet.dependencies import Dependencies
from kubeloop.actors.kubelet.logs import exec_in_pod, open_log
from kubeloop.actors.kubelet.messages import (
    AttachToContainer,
    ExecInContainer,
    ExecInPod,
    ForwardPort,
    OpenLog,
    ServeHttp,
)
from kubeloop.actors.kubelet.node import CAPACITY, NodeIdentity, node_address, parse_taint
from kubeloop.actors.kubelet.prober import Prober
from kubeloop.actors.kubelet.probes import probe_states
from kubeloop.actors.kubelet.qos import milli_amounts, pod_requests
from kubeloop.actors.kubelet.registration import Registration
from kubeloop.actors.kubelet.server import serve_http
from kubeloop.actors.kubelet.streams import STREAMS_MAX, attach_to_container, exec_in_container, forward_port
from kubeloop.actors.kubelet.worker import PodWorker
from kubeloop.runtime.actor import Actor, ActorStopped, UnknownMessage, Unreachable
from kubeloop.runtime.clock import Clock
from kubeloop.runtime.streams import StreamSet

RUNTIME_DOWN = "container runtime is down"
RETRY_SECONDS_MIN, RETRY_SECONDS_MAX = 0.25, 60.0


class Work(msgspec.Struct, frozen=True):
    """To itself: go on with this."""

    function: Callable[..., Awaitable[None]]
    arguments: tuple[Any, ...]


class Kubelet(Actor):
    """`kubelet/NODE`. `runtime` and `proxy` are actor names on the same host.

    proxy: the kube-proxy to ask where services are to be reached (process mode); empty: by their cluster IPs.
    pod_cidr: as the runtime gives pod addresses out. address: the node's; by default the range's first.
    taints: as `key=value:Effect`. record_events False: only Warnings (three Normal ones a pod cost as much as the pod).
    """

    concurrent: ClassVar[bool] = True
    transient: ClassVar[tuple[type[Exception], ...]] = (
        StatusError,
        cri.RuntimeServiceError,
        ActorStopped,
        Unreachable,
        TimeoutError,
        OSError,
    )

    def __init__(
        self,
        client: Client,
        *,
        node_name: str,
        runtime: str = "",
        proxy: str = "",
        address: str = "",
        pod_cidr: str = "",
        labels: Mapping[str, str] | None = None,
        taints: Sequence[str] = (),
        capacity: Mapping[str, str] | None = None,
        lease_duration_seconds: float = 40.0,
        record_events: bool = True,
    ) -> None:
        parsed: list[Taint] = [parse_taint(taint) for taint in taints]
        whole = {**CAPACITY, **capacity} if capacity else CAPACITY
        self.client = client
        self.identity = NodeIdentity(
            node_name, address or node_address(pod_cidr), labels or {}, parsed, whole, pod_cidr
        )
        self.runtime = cri.RuntimeStatus("", "")
        self.workers: dict[str, PodWorker] = {}
        self.streams = StreamSet(STREAMS_MAX)
        self._runtime_name = runtime or f"container-runtime/{node_name}"
        self._proxy_name = proxy
        self.lease_duration_seconds = lease_duration_seconds
        self._record_events = record_events
        self._allocatable = milli_amounts(whole)
        self._used: dict[str, int] = {}
        self._sandboxes: dict[str, list[cri.PodSandboxStatus]] = {}
        self._containers: dict[str, list[cri.ContainerStatus]] = {}
        self._inline = isinstance(client.transport, InProcessTransport)
        self._events: EventRecorder | None = None
        self._ended = False

    @property
    def clock(self) -> Clock:
        return self.context.clock

    @property
    def log(self) -> Any:
        return self.context.log

    # start and stop

    async def on_start(self) -> None:
        self._self = self.self_ref
        self._runtime_ref = self.ref(self._runtime_name)
        self.registration = Registration(self, self.lease_duration_seconds)
        self.factory = InformerFactory(self.client, self, self.clock)
        self.dependencies = Dependencies(self, self.ref(self._proxy_name) if self._proxy_name else None)
        self.defer(self._end)
        down = "" if await self._meet_runtime() else RUNTIME_DOWN
        try:
            await self._join(down)
        except self.transient as error:
            self.log.warning("registration_failed", error=str(error))
            self.spawn(self._join_later, down, name="register")

    async def _meet_runtime(self) -> bool:
        """Learn what the runtime is and runs; False when it is down (it tells when it is back)."""
        try:
            self.runtime = await self._runtime_ref.ask(cri.Status())
            sandboxes: tuple[cri.PodSandboxStatus, ...] = await self._runtime_ref.ask(cri.ListPodSandbox())
            containers: tuple[cri.ContainerStatus, ...] = await self._runtime_ref.ask(cri.ListContainers())
        except ActorStopped:
            return False
        for sandbox in sandboxes:
            self._sandboxes.setdefault(sandbox.config.uid, []).append(sandbox)
        for container in containers:
            self._containers.setdefault(container.pod_uid, []).append(container)
        version = f"{self.runtime.name}://{self.runtime.version}"
        self.identity = NodeIdentity(**{**_fields(self.identity), "runtime": version})
        return True

    async def _join(self, not_ready: str) -> None:
        await self.registration.register(not_ready)
        self._pods: Informer[Pod] = self.factory.informer(Pod, field_selector=f"spec.nodeName={self.identity.name}")
        self._pods.add_handler(self._on_pod)
        await self.factory.start()
        await self._remove_orphans()

    async def _join_later(self, not_ready: str) -> None:
        delay = RETRY_SECONDS_MIN
        while True:
            await self.clock.sleep(delay)
            try:
                await self._join(not_ready)
                return
            except self.transient as error:
                delay = min(delay * 2, RETRY_SECONDS_MAX)
                self.log.warning("registration_failed", error=str(error), retry_seconds=delay)

    async def _remove_orphans(self) -> None:
        """Sandboxes of pods that the API server does not have (any more) are taken down."""
        for uid in list(self._sandboxes):
            for sandbox in self._sandboxes.pop(uid):
                await self.ask_runtime(cri.RemovePodSandbox(sandbox.id))
        self._containers.clear()

    def _end(self) -> None:
        self._ended = True
        self.streams.abort(ActorStopped(f"{self.context.name} does not run"))
        self.factory.stop()
        self.registration.close()
        for worker in self.workers.values():
            worker.close()

    # messages

    def describe(self) -> str:
        """What it holds, in words."""
        return f"{len(self.workers)} pods"

    async def on_message(self, message: Any) -> Any:
        kind = type(message)
        if kind is Work:
            return await message.function(*message.arguments)
        if kind is cri.ContainerEvent:
            worker = self.workers.get(message.status.pod_uid)
            if worker is not None:
                worker.observe(message.status)
            return None
        if kind is cri.RuntimeReady:
            return await self._runtime_restarted()
        handler = ASKED.get(kind)
        if handler is not None:
            return await handler(self, message)
        raise UnknownMessage(message)

    async def _runtime_restarted(self) -> None:
        """Every container died with the runtime that was there before."""
        if not await self._meet_runtime():
            return
        now = self.clock.now()
        for worker in list(self.workers.values()):
            worker.close()
            worker.sandbox = None
            worker.stopping = None
            for record in worker.records.values():
                if record.running and record.status is not None:
                    record.status = lost(record.status, None, now)
                    record.started = record.ready = False
            self.enqueue(worker)
        await self.registration.set_ready("")

    # pods

    def _on_pod(self, old: Pod | None, new: Pod | None) -> None:
        if self._ended:
            return
        pod = new if new is not None else old
        if pod is None or pod.metadata is None:
            return
        worker = self.workers.get(pod.metadata.uid or "")
        if new is None:
            if worker is not None:
                worker.gone = True
                self.enqueue(worker)
            return
        if worker is None:
            if old is not None and old.metadata is not None and old.metadata.uid != pod.metadata.uid:
                self._on_pod(old, None)
            worker = self._new_worker(pod)
        elif not worker.changed_by(pod):
            return
        self.enqueue(worker)

    def _new_worker(self, pod: Pod) -> PodWorker:
        worker = PodWorker(self, pod)
        self.workers[worker.uid] = worker
        sandboxes = self._sandboxes.pop(worker.uid, None) if self._sandboxes else None
        if sandboxes is None and (pod.status is None or not pod.status.container_statuses):
            return worker
        worker.sandbox = latest_sandbox(sandboxes or ())
        worker.sandboxes_made = worker.sandbox.config.attempt + 1 if worker.sandbox is not None else 0
        worker.records = adopt(pod, self._containers.pop(worker.uid, ()), self.clock.now())
        if worker.sandbox is not None:
            worker.admitted = True
            self._count(pod_requests(pod), 1)
            self._adopt_probes(worker)
        return worker

    def _adopt_probes(self, worker: PodWorker) -> None:
        spec, status = worker.pod.spec, worker.pod.status
        assert spec is not None
        ready = (
            {reported.name for reported in status.container_statuses if reported.ready} if status is not None else ()
        )
        for container in (*spec.containers, *spec.init_containers):
            record = worker.records.get(container.name or "")
            states = probe_states(container) if record is not None and record.running else []
            if states and record is not None:
                prober = Prober(worker, container, record, states)
                worker.set_prober(container.name or "", prober)
                prober.start(was_ready=container.name in ready)

    def admit(self, worker: PodWorker) -> Rejection | None:
        """Take the pod's resources, or say why not."""
        requests = pod_requests(worker.pod)
        rejection = admit(requests, self._used, self._allocatable)
        if rejection is None:
            worker.admitted = True
            self._count(requests, 1)
        return rejection

    def release(self, worker: PodWorker) -> None:
        """Give the pod's resources back. Idempotent."""
        if worker.admitted:
            worker.admitted = False
            self._count(pod_requests(worker.pod), -1)

    def _count(self, requests: Mapping[str, int], sign: int) -> None:
        used = self._used
        for name, amount in requests.items():
            used[name] = used.get(name, 0) + sign * amount
        used[PODS] = used.get(PODS, 0) + sign * 1000

    def forget(self, worker: PodWorker) -> None:
        """The pod is gone and nothing of it runs."""
        self.release(worker)
        worker.close()
        self.workers.pop(worker.uid, None)
        self.dependencies.forget(worker.uid)

    # the loop

    def enqueue(self, worker: PodWorker) -> None:
        """The worker makes a go soon; one that is at it makes another after."""
        if worker.busy:
            worker.dirty = True
        elif not worker.queued and not self._ended:
            worker.queued = True
            self.drive(self._sync, worker)

    async def _sync(self, worker: PodWorker) -> None:
        worker.queued = False
        if worker.busy:
            worker.dirty = True
            return
        worker.busy = True
        try:
            worker.dirty = False
            await worker.sync()
            worker.failures = 0
        except self.transient as error:
            if isinstance(error, ActorStopped):
                self.spawn(self._runtime_lost, name="runtime lost")
            self.log.warning("pod_sync_failed", key=worker.key, error=str(error))
            worker.retry_later()
        finally:
            worker.busy = False
        if worker.dirty:
            self.enqueue(worker)

    async def _runtime_lost(self) -> None:
        try:
            await self._runtime_ref.ask(cri.Status())
        except ActorStopped:
            try:
                await self.registration.set_ready(RUNTIME_DOWN)
            except self.transient as error:
                self.log.warning("heartbeat_failed", what="status", error=str(error))

    def drive(self, function: Callable[..., Awaitable[None]], *arguments: Any) -> None:
        """Run something of this actor's soon. With the API server in process it goes on without a task of its own as
        long as it need not wait; an HTTP client needs a task from the start."""
        if self._ended:
            return
        if self._inline:
            self._self.tell_nowait(Work(function, arguments))
        else:
            self.spawn(function, *arguments, name="work")

    def begin_inline(self, function: Callable[..., Coroutine[Any, Any, None]], *arguments: Any) -> None:
        """As `drive`, but at once: for timers, inside whose call nobody else's work is under way."""
        if self._ended:
            return
        if self._inline:
            self.begin(function, *arguments, name="work")
        else:
            self.spawn(function, *arguments, name="work")

    async def ask_runtime(self, message: Any) -> Any:
        return await self._runtime_ref.ask(message)

    # what workers need of the outside

    def needs_environment(self, image: str) -> bool:
        """Whether a container of this image looks at its environment."""
        images = self.runtime.environment_images
        return images is None or (bool(images) and (image in images or image.rpartition(":")[0] in images))

    def pod(self, namespace: str, name: str) -> Pod | None:
        return self._pods.get(f"{namespace}/{name}")

    def record_event(self, pod: Pod, kind: str, reason: str, message: str, container: Container | None) -> None:
        if self._record_events or kind == "Warning":
            if self._events is None:
                self._events = EventRecorder(self.client, "kubelet", self.identity.name, self.clock, spawner=self)
            path = None if container is None else self._field_path(pod, container)
            self._events.event(pod, kind, reason, message, field_path=path)

    @staticmethod
    def _field_path(pod: Pod, container: Container) -> str:
        init = pod.spec is not None and any(c.name == container.name for c in pod.spec.init_containers)
        return f"spec.{'initContainers' if init else 'containers'}{{{container.name}}}"


ASKED: Mapping[type, Callable[[Kubelet, Any], Awaitable[Any]]] = {
    OpenLog: open_log,
    ExecInPod: exec_in_pod,
    ExecInContainer: exec_in_container,
    AttachToContainer: attach_to_container,
    ForwardPort: forward_port,
    ServeHttp: serve_http,
}


def _fields(identity: NodeIdentity) -> dict[str, Any]:
    return {name: getattr(identity, name) for name in identity.__struct_fields__}
