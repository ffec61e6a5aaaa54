"""What every backend is: CRI's calls as methods, and the little that it may ask of the actor around it."""

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from kubeloop.actors.container_runtime.messages import (
    Attach,
    ContainerConfig,
    ContainerEvent,
    ContainerStatus,
    Exec,
    ExecResult,
    ExecSync,
    LogStream,
    PodSandboxConfig,
    PodSandboxStatus,
    PortForward,
    ProbeAnswer,
    ReadLog,
    RuntimeStatus,
    Streams,
)
from kubeloop.runtime.clock import Clock
from kubeloop.runtime.tasks import Child


class RuntimeHost(Protocol):
    """The actor, as a backend sees it."""

    @property
    def clock(self) -> Clock: ...

    @property
    def node_name(self) -> str: ...

    def emit(self, event: ContainerEvent) -> None:
        """Tell the kubelet. Never waits, never raises."""

    def spawn(self, function: Callable[..., Awaitable[Any]], *args: Any, name: str = ...) -> Child: ...


class Backend(Protocol):
    """One way to run containers. Methods raise RuntimeServiceError; ids that are not there raise ContainerNotFound."""

    def open(self, host: RuntimeHost) -> None:
        """Called once, before anything else."""

    def close(self) -> None:
        """Kill everything at once, synchronously: the runtime stopped or crashed. Idempotent."""

    async def aclose(self) -> None:
        """Kill everything and wait until it is gone: the runtime is being stopped."""

    def status(self) -> RuntimeStatus: ...

    async def run_pod_sandbox(self, config: PodSandboxConfig) -> PodSandboxStatus: ...

    async def stop_pod_sandbox(self, pod_sandbox_id: str) -> None: ...

    async def remove_pod_sandbox(self, pod_sandbox_id: str) -> None: ...

    def list_pod_sandbox(self) -> tuple[PodSandboxStatus, ...]: ...

    async def create_container(self, pod_sandbox_id: str, config: ContainerConfig) -> str: ...

    async def start_container(self, container_id: str) -> ContainerStatus: ...

    async def stop_container(self, container_id: str, timeout_seconds: float) -> None: ...

    async def remove_container(self, container_id: str) -> None: ...

    def list_containers(self) -> tuple[ContainerStatus, ...]: ...

    def container_status(self, container_id: str) -> ContainerStatus: ...

    def read_log(self, request: ReadLog) -> LogStream: ...

    async def exec_sync(self, request: ExecSync) -> ExecResult: ...

    async def exec(self, request: Exec) -> Streams: ...

    async def attach(self, request: Attach) -> Streams: ...

    async def port_forward(self, request: PortForward) -> Streams: ...

    def run_probe(self, container_id: str, kind: str) -> ProbeAnswer: ...

    async def dial(self, ip: str, port: int, payload: Any) -> Any: ...


def new_id(clock: Clock) -> str:
    """64 hexadecimal digits, as container runtimes name sandboxes and containers."""
    return f"{clock.random.getrandbits(256):064x}"
