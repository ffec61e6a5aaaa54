"""The container runtime of one node, as an actor: answers CRI's calls, tells the kubelet what happened.

State: the backend's (sandboxes, containers, logs); all lost in a crash, with every container killed.
Messages: see `messages`; calls are handled at once, so a slow StopContainer holds nobody up.
"""

from collections.abc import Callable, Coroutine
from typing import Any, ClassVar

from kubeloop.actors.container_runtime import messages as m
from kubeloop.actors.container_runtime.backend import Backend
from kubeloop.runtime.actor import Actor, ActorStopped, MailboxFull, UnknownMessage
from kubeloop.runtime.clock import Clock

Handler = Callable[[Backend, Any], Coroutine[Any, Any, Any]]


class ContainerRuntimeActor(Actor):
    """`container-runtime/NODE`. Its kubelet is `kubelet/NODE`."""

    concurrent: ClassVar[bool] = True

    def __init__(self, *, backend: Backend) -> None:
        self.backend = backend
        self.node_name = ""

    @property
    def clock(self) -> Clock:
        return self.context.clock

    async def on_start(self) -> None:
        self.node_name = self.context.name.partition("/")[2]
        self._kubelet = self.ref(f"kubelet/{self.node_name}")
        self.defer(self.backend.close)
        self.backend.open(self)
        self._tell_kubelet(m.RuntimeReady())

    def on_message(self, message: Any) -> Coroutine[Any, Any, Any]:
        handler: Handler = HANDLERS.get(type(message), _unknown)
        return handler(self.backend, message)

    def describe(self) -> str:
        """What it holds, in words."""
        running = sum(one.state == m.CONTAINER_RUNNING for one in self.backend.list_containers())
        return f"{running} running containers ({self.backend.status().name})"

    async def on_stop(self) -> None:
        await self.backend.aclose()

    def emit(self, event: m.ContainerEvent) -> None:
        self._tell_kubelet(event)

    def _tell_kubelet(self, message: Any) -> None:
        try:
            self._kubelet.tell_nowait(message)
        except (ActorStopped, MailboxFull):
            pass  # a kubelet that is down lists everything when it is back


async def _unknown(_: Backend, message: Any) -> None:
    raise UnknownMessage(message)


async def _list_sandboxes(backend: Backend, _: Any) -> tuple[m.PodSandboxStatus, ...]:
    return backend.list_pod_sandbox()


async def _list_containers(backend: Backend, _: Any) -> tuple[m.ContainerStatus, ...]:
    return backend.list_containers()


async def _status(backend: Backend, _: Any) -> m.RuntimeStatus:
    return backend.status()


async def _container_status(backend: Backend, message: Any) -> m.ContainerStatus:
    return backend.container_status(message.container_id)


async def _reopen_log(backend: Backend, message: Any) -> None:
    backend.container_status(message.container_id)


async def _read_log(backend: Backend, message: Any) -> m.LogStream:
    return backend.read_log(message)


async def _run_probe(backend: Backend, message: Any) -> m.ProbeAnswer:
    return backend.run_probe(message.container_id, message.kind)


HANDLERS: dict[type, Handler] = {
    m.RunPodSandbox: lambda backend, message: backend.run_pod_sandbox(message.config),
    m.StopPodSandbox: lambda backend, message: backend.stop_pod_sandbox(message.pod_sandbox_id),
    m.RemovePodSandbox: lambda backend, message: backend.remove_pod_sandbox(message.pod_sandbox_id),
    m.ListPodSandbox: _list_sandboxes,
    m.CreateContainer: lambda backend, message: backend.create_container(message.pod_sandbox_id, message.config),
    m.StartContainer: lambda backend, message: backend.start_container(message.container_id),
    m.StopContainer: lambda backend, message: backend.stop_container(message.container_id, message.timeout_seconds),
    m.RemoveContainer: lambda backend, message: backend.remove_container(message.container_id),
    m.ListContainers: _list_containers,
    m.GetContainerStatus: _container_status,
    m.ReadLog: _read_log,
    m.ReopenContainerLog: _reopen_log,
    m.ExecSync: lambda backend, message: backend.exec_sync(message),
    m.Exec: lambda backend, message: backend.exec(message),
    m.Attach: lambda backend, message: backend.attach(message),
    m.PortForward: lambda backend, message: backend.port_forward(message),
    m.RunProbe: _run_probe,
    m.Dial: lambda backend, message: backend.dial(message.ip, message.port, message.payload),
    m.Status: _status,
}
