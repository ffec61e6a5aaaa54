"""CRI's words: what a kubelet asks its container runtime, and the events it is told.

Names follow runtime/v1 of the Container Runtime Interface. Times are unix seconds. Where an answer is richer than CRI's
(StartContainer answers the status, so that the kubelet needs no second call) the message says so.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from kubeloop.runtime.actor import ReplyError
from kubeloop.runtime.streams import Streams as Streams

NO_LABELS: Mapping[str, str] = {}

CONTAINER_CREATED = "CONTAINER_CREATED"
CONTAINER_RUNNING = "CONTAINER_RUNNING"
CONTAINER_EXITED = "CONTAINER_EXITED"


class RuntimeServiceError(ReplyError):
    """A call failed; `reason` is the waiting reason that is shown (CreateContainerError, RunContainerError)."""

    def __init__(self, message: str, *, reason: str = "CreateContainerError") -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason


class ContainerNotFound(RuntimeServiceError):
    """No container or sandbox has this id."""


class PodSandboxConfig(msgspec.Struct, frozen=True):
    """What a sandbox is made for. `attempt` counts the sandboxes of the pod."""

    name: str
    namespace: str
    uid: str
    attempt: int = 0
    hostname: str = ""
    labels: Mapping[str, str] = NO_LABELS
    annotations: Mapping[str, str] = NO_LABELS
    host_network: bool = False


class PodSandboxStatus(msgspec.Struct, frozen=True):
    """A sandbox: its address, and whether it is ready."""

    id: str
    config: PodSandboxConfig
    created_at: float
    ip: str
    ready: bool = True


class Mount(msgspec.Struct, frozen=True):
    """A host directory or file that the container sees at `container_path`."""

    container_path: str
    host_path: str
    readonly: bool = False


class ContainerConfig(msgspec.Struct, frozen=True):
    """What a container is made from. `attempt` counts the containers of this name in the pod, from 0.

    init: the pod waits for it to end (a scripted container then ends by itself).
    termination_message_path: what the container wrote there is its status' message when it has ended;
    termination_message_from_log: or, when it failed without writing any, the end of its log.
    stdin: it has an input, which is open until somebody who was attached leaves (stdin_once), or for ever. tty: it has
    a terminal.
    """

    name: str
    image: str
    attempt: int = 0
    init: bool = False
    command: Sequence[str] = ()
    args: Sequence[str] = ()
    working_dir: str = ""
    envs: Mapping[str, str] = NO_LABELS
    mounts: Sequence[Mount] = ()
    termination_message_path: str = ""
    termination_message_from_log: bool = False
    stdin: bool = False
    stdin_once: bool = False
    tty: bool = False


class ContainerStatus(msgspec.Struct, frozen=True):
    """A container as the runtime sees it. `ready_at`: a scripted container says that it serves nobody before."""

    id: str
    pod_sandbox_id: str
    pod_uid: str
    name: str
    attempt: int
    image: str
    image_ref: str
    state: str
    created_at: float
    started_at: float = 0.0
    finished_at: float = 0.0
    exit_code: int = 0
    signal: int = 0
    reason: str = ""
    message: str = ""
    pid: int = 0
    ready_at: float = 0.0


class RunPodSandbox(msgspec.Struct, frozen=True):
    """Make a sandbox and its network. Answer: PodSandboxStatus."""

    config: PodSandboxConfig


class StopPodSandbox(msgspec.Struct, frozen=True):
    """Kill what is left in it and give its address back. Idempotent."""

    pod_sandbox_id: str


class RemovePodSandbox(msgspec.Struct, frozen=True):
    """Forget it and its containers and logs. Idempotent."""

    pod_sandbox_id: str


class ListPodSandbox(msgspec.Struct, frozen=True):
    """Answer: tuple of PodSandboxStatus."""


class CreateContainer(msgspec.Struct, frozen=True):
    """Answer: the container's id. RuntimeServiceError when the config cannot be run."""

    pod_sandbox_id: str
    config: ContainerConfig


class StartContainer(msgspec.Struct, frozen=True):
    """Answer: ContainerStatus."""

    container_id: str


class StopContainer(msgspec.Struct, frozen=True):
    """Ask it to end, kill it when `timeout_seconds` have passed. Answered when it is dead. Idempotent."""

    container_id: str
    timeout_seconds: float


class RemoveContainer(msgspec.Struct, frozen=True):
    """Forget a dead container and its log. Idempotent."""

    container_id: str


class ListContainers(msgspec.Struct, frozen=True):
    """Answer: tuple of ContainerStatus, oldest first."""


class GetContainerStatus(msgspec.Struct, frozen=True):
    """CRI's ContainerStatus call. Answer: ContainerStatus."""

    container_id: str


class ReadLog(msgspec.Struct, frozen=True):
    """Answer: a LogStream. `since` is unix seconds; None for tail_lines and limit_bytes means all.

    stream: stdout or stderr; empty: both.
    """

    container_id: str
    follow: bool = False
    tail_lines: int | None = None
    since: float | None = None
    timestamps: bool = False
    limit_bytes: int | None = None
    stream: str = ""


class ReopenContainerLog(msgspec.Struct, frozen=True):
    """CRI's call after a rotation. Our logs are rings of their own, so this only checks that the container is there."""

    container_id: str


class LogStream(Protocol):
    """Log bytes, whole lines each; ends with the container (follow) or at the end of what is there."""

    def __aiter__(self) -> AsyncIterator[bytes]: ...

    async def aclose(self) -> None: ...


class ExecSync(msgspec.Struct, frozen=True):
    """Run a command in a running container. Answer: ExecResult; TimeoutError's words in RuntimeServiceError."""

    container_id: str
    cmd: Sequence[str]
    timeout_seconds: float = 0.0
    stdin: bytes = b""


class ExecResult(msgspec.Struct, frozen=True):
    stdout: bytes
    stderr: bytes
    exit_code: int


class Exec(msgspec.Struct, frozen=True):
    """Run a command in a running container, connected with who asks. Answer: Streams, with the pipes asked for.

    tty: in a terminal, whose output is all stdout. Its exit code comes by `Streams.wait`.
    """

    container_id: str
    cmd: Sequence[str]
    stdin: bool = False
    stdout: bool = True
    stderr: bool = True
    tty: bool = False


class Attach(msgspec.Struct, frozen=True):
    """Follow what a running container writes from now on, and write to its input. Answer: Streams.

    The container goes on when its streams are closed; they end with it.
    """

    container_id: str
    stdin: bool = False
    stdout: bool = True
    stderr: bool = True


class PortForward(msgspec.Struct, frozen=True):
    """Connect to a port of a sandbox. Answer: Streams (stdin to the port, stdout from it), or RuntimeServiceError."""

    pod_sandbox_id: str
    port: int


class RunProbe(msgspec.Struct, frozen=True):
    """Ask a scripted container for its health (`kind`: startup, readiness, liveness), with scripted_probes."""

    container_id: str
    kind: str


class ProbeAnswer(msgspec.Struct, frozen=True):
    """`until`: the answer stays the same before that time (unix seconds), so no one needs to ask again earlier."""

    success: bool
    message: str = ""
    until: float = 0.0


class Dial(msgspec.Struct, frozen=True):
    """Open a connection to a pod of this node in sim mode. Answer: what the behaviour answers, None without one."""

    ip: str
    port: int
    payload: Any = None


class Status(msgspec.Struct, frozen=True):
    """Answer: RuntimeStatus."""


class RuntimeStatus(msgspec.Struct, frozen=True):
    """What the kubelet must know of a backend.

    environment_images: the images whose containers look at their environment; None means all.
    scripted_probes: probes are answered by RunProbe, not over the network.
    volumes_dir: where this node's volumes are made; empty: containers see no files. It outlives a kubelet's crash.
    """

    name: str
    version: str
    environment_images: frozenset[str] | None = None
    scripted_probes: bool = False
    volumes_dir: str = ""


class ContainerEvent(msgspec.Struct, frozen=True):
    """Told to the kubelet when a container ended or became something else without being asked to."""

    type: str  # CONTAINER_STARTED_EVENT | CONTAINER_STOPPED_EVENT
    status: ContainerStatus


class RuntimeReady(msgspec.Struct, frozen=True):
    """Told to the kubelet when the runtime has (re)started, with nothing running in it: list again."""
