"""Probes: pure state (thresholds, what a result means), and the check itself over the network.

Tasks "Configure liveness, readiness and startup probes" of the Kubernetes documentation.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec

from kubeloop.actors.api.core_v1 import Container, Probe

STARTUP, LIVENESS, READINESS = "startup", "liveness", "readiness"


class Outcome(msgspec.Struct, frozen=True):
    """One check: `message` is what the Unhealthy event says after "Readiness probe failed: "."""

    success: bool
    message: str = ""


class ProbeState:
    """Counts of one probe of one container attempt. `healthy` None: not known yet."""

    __slots__ = ("failures", "healthy", "kind", "spec", "successes")

    def __init__(self, kind: str, spec: Probe) -> None:
        self.kind = kind
        self.spec = spec
        self.failures = 0
        self.successes = 0
        self.healthy: bool | None = None

    def observe(self, success: bool) -> bool:
        """Count a result; True when `healthy` changed."""
        before = self.healthy
        if success:
            self.successes, self.failures = self.successes + 1, 0
            if self.successes >= (self.spec.success_threshold or 1):
                self.healthy = True
        else:
            self.failures, self.successes = self.failures + 1, 0
            if self.failures >= (self.spec.failure_threshold or 3):
                self.healthy = False
        return self.healthy is not before

    @property
    def period_seconds(self) -> float:
        return float(self.spec.period_seconds or 10)

    @property
    def initial_delay_seconds(self) -> float:
        return float(self.spec.initial_delay_seconds or 0)

    @property
    def timeout_seconds(self) -> float:
        return float(self.spec.timeout_seconds or 1)


def probe_states(container: Container) -> list[ProbeState]:
    """Startup first: the others wait for it."""
    probes = (
        (STARTUP, container.startup_probe),
        (LIVENESS, container.liveness_probe),
        (READINESS, container.readiness_probe),
    )
    return [ProbeState(kind, spec) for kind, spec in probes if spec is not None]


def port_number(port: Any, container: Container) -> int:
    """A probe's port: a number, or the name of one of the container's. ValueError when there is none of that name."""
    if isinstance(port, int):
        return port
    for declared in container.ports:
        if declared.name == port:
            return int(declared.container_port or 0)
    if str(port).isdigit():
        return int(port)
    raise ValueError(f"couldn't find port: {port}")


async def check_network(probe: Any, container: Container, pod_ip: str) -> Outcome:
    """An httpGet, tcpSocket or grpc probe (grpc: only whether the port connects). The caller limits the time."""
    try:
        if probe.http_get is not None:
            return await _http_get(probe.http_get, container, pod_ip)
        if probe.tcp_socket is not None:
            host = probe.tcp_socket.host or pod_ip
            return await _connect(host, port_number(probe.tcp_socket.port, container))
        grpc = getattr(probe, "grpc", None)  # lifecycle handlers have none
        if grpc is not None:
            return await _connect(pod_ip, int(grpc.port or 0))
    except ValueError as error:
        return Outcome(False, str(error))
    return Outcome(False, "missing probe handler")


async def check_within(probe: Any, container: Container, pod_ip: str, limit_seconds: float) -> Outcome:
    """The same with a limit (0: none). To be run as a task: a time limit binds to the task that it is set in."""
    try:
        async with asyncio.timeout(limit_seconds or None):
            return await check_network(probe, container, pod_ip)
    except TimeoutError:
        return Outcome(False, timed_out(probe, container, pod_ip))


async def _connect(host: str, port: int) -> Outcome:
    try:
        _, writer = await asyncio.open_connection(host, port)
    except OSError:
        return Outcome(False, f"dial tcp {host}:{port}: connect: connection refused")
    writer.close()
    return Outcome(True)


def http_url(action: Any, container: Container, pod_ip: str) -> tuple[str, str, int, str]:
    """(url, host, port, path) of an httpGet action."""
    port = port_number(action.port, container)
    host = action.host or pod_ip
    path = action.path or "/"
    path = path if path.startswith("/") else f"/{path}"
    return f"{(action.scheme or 'HTTP').lower()}://{host}:{port}{path}", host, port, path


async def _http_get(action: Any, container: Container, pod_ip: str) -> Outcome:
    url, host, port, path = http_url(action, container, pod_ip)
    context: Any = None
    if url.startswith("https"):
        import ssl

        context = ssl._create_unverified_context()
    try:
        reader, writer = await asyncio.open_connection(host, port, ssl=context)
    except OSError:
        return Outcome(False, f'Get "{url}": dial tcp {host}:{port}: connect: connection refused')
    try:
        writer.write(_request(host, port, path, action.http_headers))
        await writer.drain()
        head = await reader.readuntil(b"\r\n")
        status = int(head.split(b" ", 2)[1])
    except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError, IndexError):
        return Outcome(False, f'Get "{url}": EOF')
    finally:
        writer.close()
    return Outcome(True) if 200 <= status < 400 else Outcome(False, f"HTTP probe failed with statuscode: {status}")


def _request(host: str, port: int, path: str, headers: Sequence[Any]) -> bytes:
    fields = {"Host": f"{host}:{port}", "User-Agent": "kube-probe/1.36", "Accept": "*/*", "Connection": "close"}
    for header in headers:
        fields[header.name or ""] = header.value or ""
    lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
    return "\r\n".join(lines).encode()


def timed_out(probe: Any, container: Container, pod_ip: str) -> str:
    """What the event says of a check that took too long."""
    if probe.http_get is not None:
        url = http_url(probe.http_get, container, pod_ip)[0]
        return f'Get "{url}": context deadline exceeded (Client.Timeout exceeded while awaiting headers)'
    if probe.exec is not None:
        return f'command timed out: "{" ".join(probe.exec.command)}" timed out after {probe.timeout_seconds or 1}s'
    return "dial tcp: i/o timeout"
