"""What a kubelet is asked: by the API server for logs and commands, by its container runtime about containers."""

from collections.abc import Sequence

import msgspec

from kubeloop.actors.container_runtime.messages import ContainerEvent, ExecResult, LogStream, RuntimeReady

__all__ = ["ContainerEvent", "ExecInPod", "ExecResult", "LogStream", "OpenLog", "RuntimeReady"]


class OpenLog(msgspec.Struct, frozen=True):
    """The log subresource. Answer: LogStream (async iterator of bytes, `aclose()`), or StatusError.

    previous: of the container's attempt before this one. since_time is RFC 3339, since_seconds is relative to now.
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


class ExecInPod(msgspec.Struct, frozen=True):
    """Run a command to its end in a container. Answer: ExecResult (stdout, stderr, exit_code)."""

    namespace: str
    pod: str
    container: str
    command: Sequence[str]
    uid: str = ""
    stdin: bytes = b""
    timeout_seconds: float = 0.0
