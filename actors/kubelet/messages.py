"""What a kubelet is asked: by the API server for logs and commands, by its container runtime about containers."""

from collections.abc import Sequence

import msgspec

from kubeloop.actors.container_runtime.messages import ContainerEvent, ExecResult, LogStream, RuntimeReady, Streams
from kubeloop.runtime.actor import ReplyError

__all__ = [
    "AttachToContainer",
    "ContainerEvent",
    "ExecInContainer",
    "ExecInPod",
    "ExecResult",
    "ForwardPort",
    "KubeletError",
    "LogStream",
    "OpenLog",
    "RuntimeReady",
    "ServeHttp",
    "Streams",
]


class KubeletError(ReplyError):
    """What a kubelet's server answers instead of streams: an HTTP code, and a text that is no Status."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


class OpenLog(msgspec.Struct, frozen=True):
    """The log subresource. Answer: LogStream (async iterator of bytes, `aclose()`), or StatusError.

    previous: of the container's attempt before this one. since_time is RFC 3339, since_seconds is relative to now.
    stream: Stdout, Stderr or All.
    """

    namespace: str
    pod: str
    container: str
    uid: str = ""
    follow: bool = False
    previous: bool = False
    tail_lines: int | None = None
    since_seconds: int | None = None
    since_time: str | None = None
    timestamps: bool = False
    limit_bytes: int | None = None
    stream: str = "All"


class ExecInPod(msgspec.Struct, frozen=True):
    """Run a command to its end in a container. Answer: ExecResult (stdout, stderr, exit_code)."""

    namespace: str
    pod: str
    container: str
    command: Sequence[str]
    uid: str = ""
    stdin: bytes = b""
    timeout_seconds: float = 0.0


class ExecInContainer(msgspec.Struct, frozen=True):
    """Run a command, connected with who asks. Answer: Streams with the pipes asked for, or KubeletError."""

    namespace: str
    pod: str
    container: str
    command: Sequence[str]
    uid: str = ""
    stdin: bool = False
    stdout: bool = True
    stderr: bool = True
    tty: bool = False


class AttachToContainer(msgspec.Struct, frozen=True):
    """Follow a container's output, write to its input. Answer: Streams, or KubeletError."""

    namespace: str
    pod: str
    container: str
    uid: str = ""
    stdin: bool = False
    stdout: bool = True
    stderr: bool = True


class ForwardPort(msgspec.Struct, frozen=True):
    """Connect to a port of a pod. Answer: Streams (stdin to it, stdout from it), or KubeletError.

    port 0: only say whether the pod runs here. Answer: None.
    """

    namespace: str
    pod: str
    port: int
    uid: str = ""


class ServeHttp(msgspec.Struct, frozen=True):
    """Connect to the kubelet's own HTTP server. Answer: Streams (stdin to it, stdout from it)."""
