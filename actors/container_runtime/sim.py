"""The backend `sim`: scripted containers at no cost. One that just runs owns no task and no timer.

What a container does comes from its pod's annotations (`script`), or from a Python function registered for its image:
`SimBackend(behaviors={"db": serve_rows})`. The function gets a `SimContext`. A plain function may return None (runs
until stopped), an int (ends at once with this exit code) or a function `handler(port, payload)` that answers
connections; what else it answers, commands and HTTP requests for example, it says by `context.on_...`. An async
function is the container: it returns the exit code (None is 0), and is cancelled when stopped. A behaviour that raises
ends the container with exit code 1 and its traceback in the log.
"""

import asyncio
import inspect
import traceback
from collections.abc import Callable, Mapping
from functools import partial
from math import inf
from typing import Any

from msgspec.structs import replace

from kubeloop.actors.container_runtime import messages as m
from kubeloop.actors.container_runtime.addresses import AddressesExhausted, AddressPool
from kubeloop.actors.container_runtime.backend import RuntimeHost, new_id
from kubeloop.actors.container_runtime.logs import BufferStream, LogBuffer
from kubeloop.actors.container_runtime.script import BadScript, Script, script_for
from kubeloop.actors.container_runtime.sim_answers import Exec, SimAnswers, SimRequest, SimSession, answer_exec
from kubeloop.actors.container_runtime.sim_streams import (
    KILLED,
    Sessions,
    follow_log,
    run_command,
    serve_connection,
)
from kubeloop.runtime.clock import Clock
from kubeloop.runtime.tasks import Child

Behavior = Callable[["SimContext"], Any]
NO_BEHAVIORS: Mapping[str, Behavior] = {}
VERSION = "0.1.0"
UNCONNECTED = "no behaviour of this simulated pod answers connections (SimContext.on_http, on_stream, on_connect)"


class SimContext:
    """What a behaviour sees of its container."""

    __slots__ = ("_container", "_host")

    def __init__(self, host: RuntimeHost, container: "_Container") -> None:
        self._host = host
        self._container = container

    @property
    def pod(self) -> m.PodSandboxConfig:
        """Name, namespace, uid, labels and annotations of the pod."""
        return self._container.sandbox.config

    @property
    def pod_ip(self) -> str:
        return self._container.sandbox.ip

    @property
    def container(self) -> str:
        return self._container.config.name

    @property
    def config(self) -> m.ContainerConfig:
        """Command, args, image, attempt."""
        return self._container.config

    @property
    def env(self) -> Mapping[str, str]:
        return self._container.config.envs

    @property
    def node_name(self) -> str:
        return self._host.node_name

    @property
    def clock(self) -> Clock:
        return self._host.clock

    def log(self, text: str) -> None:
        """Write lines to the container's log (stdout)."""
        self._container.write_log(text, self._host.clock.now())

    def on_connect(self, handler: Callable[[int, Any], Any]) -> None:
        """`handler(port, payload)` answers connections; plain or async.

        The payload is what `cluster.connect` is given; on a forwarded port, each chunk of bytes that comes.
        """
        self._container.make_answers().connect = handler

    def on_exec(self, answers: Exec) -> None:
        """What commands answer: a function `handler(command)`, plain or async, or a table of commands.

        A table's keys are whole commands ("cat /etc/hosts") or programs ("cat"), its values answers or functions of the
        command. An answer is text (stdout), a number (the exit code), None, or an ExecResult.
        """
        self._container.make_answers().exec = answers

    def on_session(self, handler: Callable[[SimSession], Any]) -> None:
        """`async def handler(session)` is every command: it reads stdin, writes, and returns the exit code."""
        self._container.make_answers().session = handler

    def on_http(self, handler: Callable[[SimRequest], Any]) -> None:
        """`handler(request)` answers HTTP requests, through a proxy or a forwarded port; plain or async.

        An answer is text, a dict or list (JSON), a status, (status, body), (status, headers, body), or None (404).
        """
        self._container.make_answers().http = handler

    def on_stream(self, handler: Callable[[SimSession], Any]) -> None:
        """`async def handler(session)` is every connection to a port, as bytes; it ends when the handler returns."""
        self._container.make_answers().stream = handler

    def set_healthy(self, healthy: bool) -> None:
        """What probes of this container answer from now on (True until said otherwise)."""
        self._container.healthy = healthy


class _Container:
    __slots__ = (
        "answers", "child", "config", "healthy", "killing", "log", "sandbox", "script", "sessions", "status", "stopped",
        "timer",
    )  # fmt: skip

    def __init__(
        self, sandbox: m.PodSandboxStatus, config: m.ContainerConfig, script: Script, status: m.ContainerStatus
    ):
        self.sandbox = sandbox
        self.config = config
        self.script = script
        self.status = status
        self.log: LogBuffer | None = None
        self.answers: SimAnswers | None = None
        self.sessions: Sessions | None = None
        self.healthy = True
        self.killing = False
        self.timer: asyncio.TimerHandle | None = None
        self.child: Child | None = None
        self.stopped: list[asyncio.Future[None]] | None = None

    def make_answers(self) -> SimAnswers:
        if self.answers is None:
            self.answers = SimAnswers()
        return self.answers

    def make_log(self) -> LogBuffer:
        if self.log is None:
            self.log = LogBuffer()
            self.log.closed = self.status.state == m.CONTAINER_EXITED
        return self.log

    def write_log(self, text: str, now: float) -> None:
        self.make_log().write("stdout", text.encode() if text.endswith("\n") else text.encode() + b"\n", now)


class SimBackend:
    """See the module. `behaviors`: image (as written, or without its tag) to function; share one map everywhere."""

    def __init__(self, *, pod_cidr: str = "10.244.0.0/24", behaviors: Mapping[str, Behavior] | None = None) -> None:
        self._pod_cidr = pod_cidr
        self._behaviors = behaviors or NO_BEHAVIORS
        self._pool: AddressPool | None = None
        self._sandboxes: dict[str, m.PodSandboxStatus] = {}
        self._containers: dict[str, _Container] = {}

    def open(self, host: RuntimeHost) -> None:
        self._host = host

    def close(self) -> None:
        for container in self._containers.values():
            self._silence(container)
            if container.log is not None:
                container.log.close(self._host.clock.now())
            if container.sessions is not None:
                container.sessions.end(KILLED)
        self._containers.clear()
        self._sandboxes.clear()

    async def aclose(self) -> None:
        self.close()

    def status(self) -> m.RuntimeStatus:
        return m.RuntimeStatus("sim", VERSION, frozenset(self._behaviors), scripted_probes=True)

    # sandboxes

    async def run_pod_sandbox(self, config: m.PodSandboxConfig) -> m.PodSandboxStatus:
        if self._pool is None:
            self._pool = AddressPool(self._pod_cidr)
        try:
            address = self._pool.node_address if config.host_network else self._pool.allocate()
        except AddressesExhausted as error:
            raise m.RuntimeServiceError(str(error), reason="FailedCreatePodSandBox") from None
        clock = self._host.clock
        sandbox = m.PodSandboxStatus(new_id(clock), config, clock.now(), address)
        self._sandboxes[sandbox.id] = sandbox
        return sandbox

    async def stop_pod_sandbox(self, pod_sandbox_id: str) -> None:
        sandbox = self._sandboxes.get(pod_sandbox_id)
        if sandbox is None or not sandbox.ready:
            return
        for container in self._of(pod_sandbox_id):
            if container.status.state == m.CONTAINER_RUNNING:
                self._end(container, 137, signal=9)
        if self._pool is not None:
            self._pool.release(sandbox.ip)
        self._sandboxes[pod_sandbox_id] = replace(sandbox, ready=False)

    async def remove_pod_sandbox(self, pod_sandbox_id: str) -> None:
        await self.stop_pod_sandbox(pod_sandbox_id)
        for container in self._of(pod_sandbox_id):
            del self._containers[container.status.id]
        self._sandboxes.pop(pod_sandbox_id, None)

    def list_pod_sandbox(self) -> tuple[m.PodSandboxStatus, ...]:
        return tuple(self._sandboxes.values())

    def _of(self, pod_sandbox_id: str) -> list[_Container]:
        return [c for c in self._containers.values() if c.sandbox.id == pod_sandbox_id]

    # containers

    async def create_container(self, pod_sandbox_id: str, config: m.ContainerConfig) -> str:
        sandbox = self._sandboxes.get(pod_sandbox_id)
        if sandbox is None or not sandbox.ready:
            raise m.ContainerNotFound(f"failed to find sandbox id {pod_sandbox_id!r}: not found")
        pod = sandbox.config
        try:
            script = script_for(config.name, pod.annotations, pod.labels, init=config.init)
        except BadScript as error:
            raise m.RuntimeServiceError(str(error)) from None
        clock = self._host.clock
        identifier = new_id(clock)
        image = config.image
        status = m.ContainerStatus(
            identifier, sandbox.id, pod.uid, config.name, config.attempt, image, image, m.CONTAINER_CREATED, clock.now()
        )
        self._containers[identifier] = _Container(sandbox, config, script, status)
        return identifier

    async def start_container(self, container_id: str) -> m.ContainerStatus:
        container = self._find(container_id)
        script, clock = container.script, self._host.clock
        if script.start_delay:
            await clock.sleep(script.start_delay)
        now = clock.now()
        container.status = replace(
            container.status,
            state=m.CONTAINER_RUNNING,
            started_at=now,
            ready_at=now + script.ready_after if script.ready_after else 0.0,
        )
        if script.log_lines:
            container.write_log(script.log_lines, now)
        behavior = self._behavior(container.config.image) if self._behaviors else None
        if behavior is not None:
            self._behave(container, behavior)
        elif script.run_time < inf:
            code = script.exit_code(container.config.attempt)
            container.timer = clock.call_later(script.run_time, self._end, container, code)
        return container.status

    async def stop_container(self, container_id: str, timeout_seconds: float) -> None:
        container = self._find(container_id)
        if container.status.state != m.CONTAINER_RUNNING:
            return
        delay = container.script.stop_delay
        if not container.killing or timeout_seconds == 0:
            container.killing = True
            if not delay or timeout_seconds <= 0:
                code = 137 if delay else 0
                self._end(container, code, signal=9 if code else 0)
                return
            if container.timer is not None:
                container.timer.cancel()
            code, signal = (0, 0) if delay <= timeout_seconds else (137, 9)
            seconds = min(delay, timeout_seconds)
            container.timer = self._host.clock.call_later(seconds, self._end, container, code, signal)
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        container.stopped = [*(container.stopped or ()), waiting]
        await waiting

    async def remove_container(self, container_id: str) -> None:
        container = self._containers.pop(container_id, None)
        if container is not None:
            self._silence(container)

    def list_containers(self) -> tuple[m.ContainerStatus, ...]:
        return tuple(container.status for container in self._containers.values())

    def container_status(self, container_id: str) -> m.ContainerStatus:
        return self._find(container_id).status

    def read_log(self, request: m.ReadLog) -> m.LogStream:
        return BufferStream.of(self._find(request.container_id).make_log(), request)

    async def exec_sync(self, request: m.ExecSync) -> m.ExecResult:
        return await answer_exec(self._running(request.container_id).answers, request.cmd)

    async def exec(self, request: m.Exec) -> m.Streams:
        container = self._running(request.container_id)
        streams = m.Streams(stdin=request.stdin, stdout=request.stdout, stderr=request.stderr and not request.tty)
        serve = partial(run_command, container.answers, request, streams)
        return self._sessions(container).begin(streams, serve, "exec")

    async def attach(self, request: m.Attach) -> m.Streams:
        container = self._running(request.container_id)
        streams = m.Streams(stdin=False, stdout=request.stdout, stderr=request.stderr)
        log = BufferStream.of(container.make_log(), m.ReadLog(request.container_id, follow=True, tail_lines=0))
        return self._sessions(container).begin(streams, partial(follow_log, log, streams), "attach")

    async def port_forward(self, request: m.PortForward) -> m.Streams:
        """To the first container of the pod whose behaviour answers connections."""
        for container in self._of(request.pod_sandbox_id):
            answers = container.answers
            if container.status.state == m.CONTAINER_RUNNING and answers is not None and answers.connects:
                streams = m.Streams()
                sessions = self._sessions(container)
                serve = partial(serve_connection, answers, request.port, streams, sessions.log)
                return sessions.begin(streams, serve, "port forward")
        sandbox = self._sandboxes.get(request.pod_sandbox_id)
        address = f"{sandbox.ip if sandbox is not None else request.pod_sandbox_id}:{request.port}"
        text = f"failed to execute portforward: dial tcp {address}: connect: connection refused: {UNCONNECTED}"
        raise m.RuntimeServiceError(text, reason="ConnectionRefused")

    def _sessions(self, container: _Container) -> Sessions:
        if container.sessions is None:
            container.sessions = Sessions(self._host, lambda text: container.write_log(text, self._host.clock.now()))
        return container.sessions

    def run_probe(self, container_id: str, kind: str) -> m.ProbeAnswer:
        container = self._running(container_id)
        status, script, now = container.status, container.script, self._host.clock.now()
        if not container.healthy:
            return m.ProbeAnswer(False, "the simulated container says that it is unhealthy")
        if kind != "liveness" and now < status.ready_at:
            return m.ProbeAnswer(False, f"the simulated container is ready {script.ready_after:g} s after its start")
        unhealthy_at = status.started_at + script.unhealthy_after
        if kind == "liveness" and now >= unhealthy_at:
            message = f"the simulated container is unhealthy {script.unhealthy_after:g} s after its start"
            return m.ProbeAnswer(False, message, inf)
        settled = self._behaviors is NO_BEHAVIORS or self._behavior(container.config.image) is None
        return m.ProbeAnswer(True, "", (unhealthy_at if kind == "liveness" else inf) if settled else 0.0)

    async def dial(self, ip: str, port: int, payload: Any) -> Any:
        """The answer of the first container of the pod with a handler; None when the pod runs but none has one."""
        running = [c for c in self._containers.values() if c.sandbox.ip == ip and c.status.state == m.CONTAINER_RUNNING]
        if not running:
            raise m.RuntimeServiceError(
                f"dial tcp {ip}:{port}: connect: connection refused", reason="ConnectionRefused"
            )
        for container in running:
            if container.answers is not None and container.answers.connect is not None:
                answer = container.answers.connect(port, payload)
                return await answer if inspect.isawaitable(answer) else answer
        return None

    # what containers do

    def _find(self, container_id: str) -> _Container:
        container = self._containers.get(container_id)
        if container is None:
            raise m.ContainerNotFound(f"an error occurred when try to find container {container_id!r}: not found")
        return container

    def _running(self, container_id: str) -> _Container:
        container = self._find(container_id)
        if container.status.state != m.CONTAINER_RUNNING:
            raise m.RuntimeServiceError(f"container {container_id} is not running", reason="ContainerNotRunning")
        return container

    def _behavior(self, image: str) -> Behavior | None:
        behavior = self._behaviors.get(image)
        if behavior is None:
            name, _, tag = image.partition("@")[0].rpartition(":")
            behavior = self._behaviors.get(name) if name and "/" not in tag else None
        return behavior

    def _behave(self, container: _Container, behavior: Behavior) -> None:
        context = SimContext(self._host, container)
        if inspect.iscoroutinefunction(behavior):
            name = f"{container.sandbox.config.name}/{container.config.name}"
            container.child = self._host.spawn(self._run_behavior, container, behavior, context, name=name)
            return
        try:
            result = behavior(context)
        except Exception:
            container.write_log(traceback.format_exc(), self._host.clock.now())
            result = 1
        if isinstance(result, int):
            container.timer = self._host.clock.call_later(0, self._end, container, result)
        elif callable(result):
            container.make_answers().connect = result

    async def _run_behavior(self, container: _Container, behavior: Behavior, context: SimContext) -> None:
        try:
            result = await behavior(context)
            code = result if isinstance(result, int) else 0
        except Exception:
            container.write_log(traceback.format_exc(), self._host.clock.now())
            code = 1
        container.child = None
        self._end(container, code)

    def _end(self, container: _Container, exit_code: int, signal: int = 0) -> None:
        if container.status.state == m.CONTAINER_EXITED:
            return
        self._silence(container)
        now = self._host.clock.now()
        container.status = replace(
            container.status,
            state=m.CONTAINER_EXITED,
            finished_at=now,
            exit_code=exit_code,
            signal=signal,
            reason="Completed" if exit_code == 0 else "Error",
        )
        container.answers = None
        if container.log is not None:
            container.log.close(now)
        if container.sessions is not None:
            container.sessions.end(exit_code)
        self._host.emit(m.ContainerEvent("CONTAINER_STOPPED_EVENT", container.status))

    def _silence(self, container: _Container) -> None:
        if container.timer is not None:
            container.timer.cancel()
            container.timer = None
        if container.child is not None:
            container.child.cancel()
            container.child = None
        for waiting in container.stopped or ():
            if not waiting.done():
                waiting.set_result(None)
        container.stopped = None
