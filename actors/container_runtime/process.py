"""The backend `process`: a container is a plain child process of this one. No root, no images, no isolation.

The rules, all of them:

- `image` is a label; `command` is required.
- The environment is the container's own, plus PATH (with this Python's directory first), HOME, LANG, TMPDIR and what
  Windows cannot do without, plus HOSTNAME, POD_IP and KUBELOOP_ROOT.
- KUBELOOP_ROOT is a directory of the container's own; a volume mounted at /data is found at $KUBELOOP_ROOT/data.
  `$(KUBELOOP_ROOT)` in command, args and values of env is replaced by it.
- The process starts in `workingDir`: a path at or below a mountPath is looked up in KUBELOOP_ROOT, any other is the
  host's own; without one, in KUBELOOP_ROOT.
- What it writes to terminationMessagePath, $KUBELOOP_ROOT/dev/termination-log by default, is its message when it ends.
- On Linux each pod has a loopback address (POD_IP), to listen on; elsewhere all share 127.0.0.1 (see `loopback`).
- SIGTERM, then SIGKILL to the process group after the grace period; Windows has only the latter. When the first process
  ends, its group is killed, as a container's processes are.
- When the runtime stops or crashes every process group is killed, and its directories removed; also when this process
  is killed with SIGKILL, but for Windows (see `process_survivor`).
"""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from kubeloop.actors.container_runtime import messages as m
from kubeloop.actors.container_runtime.addresses import AddressesExhausted, AddressPool
from kubeloop.actors.container_runtime.backend import RuntimeHost, new_id
from kubeloop.actors.container_runtime.logs import BufferStream, LogBuffer
from kubeloop.actors.container_runtime.process_exec import (
    PIPE_LINGER_SECONDS,
    SPAWN_OPTIONS,
    WINDOWS,
    Command,
    TerminalCommand,
    check_command,
    kill_group,
    not_started,
)
from kubeloop.actors.container_runtime.process_root import build_root, inside, working_directory
from kubeloop.actors.container_runtime.process_stdio import ContainerStdio
from kubeloop.actors.container_runtime.process_survivor import Survivor
from kubeloop.runtime import stream_sockets

VERSION = "0.1.0"
INHERITED = ("HOME", "LANG", "LC_ALL", "TMPDIR", "TEMP", "TMP", "SYSTEMROOT", "COMSPEC", "PATHEXT", "WINDIR")
EXEC_OUTPUT_BYTES_MAX = 1 << 20
TERMINATION_MESSAGE_BYTES_MAX = 4096
TERMINATION_LOG_LINES_MAX, TERMINATION_LOG_BYTES_MAX = 80, 2048
REAP_SECONDS = (
    0.05  # a killed process is dead by then; closing its transport before would reap it behind asyncio's back
)


class _Container:
    __slots__ = (
        "commands", "config", "cwd", "env", "exited", "killed", "line", "root", "sandbox", "status", "stdio", "timer",
        "transport",
    )  # fmt: skip

    def __init__(self, sandbox: m.PodSandboxStatus, status: m.ContainerStatus, line: Sequence[str], root: Path):
        self.sandbox = sandbox
        self.status = status
        self.line = line
        self.root = root
        self.config: m.ContainerConfig
        self.cwd = str(root)
        self.env: dict[str, str] = {}
        self.stdio: ContainerStdio
        self.commands: dict[int, Command] = {}  # by process group: what was executed in it, and what that left behind
        self.transport: asyncio.SubprocessTransport | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.exited = asyncio.Event()
        self.killed = False

    @property
    def log(self) -> LogBuffer:
        return self.stdio.log

    def close_output(self) -> None:
        """What is written from now on is lost."""
        if self.transport is not None:
            self.transport.close()
        self.stdio.close()


class ProcessBackend:
    """See the module. `pod_cidr`: a loopback range of this node's own; empty: every pod has 127.0.0.1.

    `root_dir` None: a temporary directory, made with the first sandbox and removed at the end.
    """

    def __init__(self, *, pod_cidr: str = "", root_dir: str | None = None) -> None:
        self._pool = AddressPool(pod_cidr) if pod_cidr else None
        self._given_root = root_dir
        self._root: Path | None = None
        self._sandboxes: dict[str, m.PodSandboxStatus] = {}
        self._containers: dict[str, _Container] = {}
        self._execs: list[asyncio.subprocess.Process] = []
        self._survivor: Survivor | None = None

    def open(self, host: RuntimeHost) -> None:
        if getattr(asyncio.get_running_loop(), "virtual", False):
            raise ValueError("the process runtime needs real time: processes do not wait for a virtual clock")
        self._host = host

    def now(self) -> float:
        return self._host.clock.now()

    def close(self) -> None:
        for process in self._execs:
            kill_group(process.pid)
        for container in self._containers.values():
            if container.timer is not None:
                container.timer.cancel()
            for command in container.commands.values():
                command.kill()
                self._host.clock.call_later(REAP_SECONDS, command.finish)
            if container.transport is not None:
                self._kill_and_close(container, container.transport)
            container.stdio.close()
        self._containers.clear()
        self._sandboxes.clear()
        if self._survivor is not None:
            self._survivor.close()
            self._survivor = None
        if self._root is not None and self._given_root is None:
            shutil.rmtree(self._root, ignore_errors=True)
        self._root = None

    def _kill_and_close(self, container: _Container, transport: asyncio.SubprocessTransport) -> None:
        container.killed = True
        if container.exited.is_set():
            transport.close()
        else:
            kill_group(container.status.pid)
            self._host.clock.call_later(REAP_SECONDS, transport.close)

    async def aclose(self) -> None:
        alive = [c for c in self._containers.values() if c.transport is not None and not c.exited.is_set()]
        for container in alive:
            container.killed = True
            kill_group(container.status.pid)
        for container in alive:
            await container.exited.wait()
        for container in list(self._containers.values()):
            for command in list(container.commands.values()):
                await command.over.wait()

    def status(self) -> m.RuntimeStatus:
        return m.RuntimeStatus("process", VERSION, volumes_dir=str(self._directory() / "volumes"))

    def _directory(self) -> Path:
        if self._root is None:
            if self._given_root is None:
                self._root = Path(tempfile.mkdtemp(prefix="kubeloop-"))
            else:
                self._root = Path(self._given_root).absolute()
                self._root.mkdir(parents=True, exist_ok=True)
        return self._root

    # sandboxes

    async def run_pod_sandbox(self, config: m.PodSandboxConfig) -> m.PodSandboxStatus:
        try:
            address = "127.0.0.1"
            if self._pool is not None:
                address = self._pool.node_address if config.host_network else self._pool.allocate()
        except AddressesExhausted as error:
            raise m.RuntimeServiceError(str(error), reason="FailedCreatePodSandBox") from None
        sandbox = m.PodSandboxStatus(new_id(self._host.clock), config, self.now(), address)
        self._sandboxes[sandbox.id] = sandbox
        return sandbox

    async def stop_pod_sandbox(self, pod_sandbox_id: str) -> None:
        sandbox = self._sandboxes.get(pod_sandbox_id)
        if sandbox is None or not sandbox.ready:
            return
        self._sandboxes[pod_sandbox_id] = replace(sandbox, ready=False)
        for container in [c for c in self._containers.values() if c.sandbox.id == pod_sandbox_id]:
            await self.stop_container(container.status.id, 0)
        if self._pool is not None:
            self._pool.release(sandbox.ip)

    async def remove_pod_sandbox(self, pod_sandbox_id: str) -> None:
        await self.stop_pod_sandbox(pod_sandbox_id)
        for container in [c for c in self._containers.values() if c.sandbox.id == pod_sandbox_id]:
            await self.remove_container(container.status.id)
        self._sandboxes.pop(pod_sandbox_id, None)

    def list_pod_sandbox(self) -> tuple[m.PodSandboxStatus, ...]:
        return tuple(self._sandboxes.values())

    # containers

    async def create_container(self, pod_sandbox_id: str, config: m.ContainerConfig) -> str:
        sandbox = self._sandboxes.get(pod_sandbox_id)
        if sandbox is None or not sandbox.ready:
            raise m.ContainerNotFound(f"failed to find sandbox id {pod_sandbox_id!r}: not found")
        if not config.command:
            message = (
                f"container {config.name!r} has no command: the process runtime runs no images, "
                f"{config.image!r} is only a label, so `command` is required"
            )
            raise m.RuntimeServiceError(message)
        identifier = new_id(self._host.clock)
        root = self._directory() / "containers" / identifier[:16]
        build_root(root, config.mounts)
        if config.termination_message_path:
            inside(root, config.termination_message_path).parent.mkdir(parents=True, exist_ok=True)
        cwd = working_directory(root, config.working_dir, config.mounts)
        status = m.ContainerStatus(
            identifier, sandbox.id, sandbox.config.uid, config.name, config.attempt, config.image, config.image,
            m.CONTAINER_CREATED, self.now(),
        )  # fmt: skip
        place = "$(KUBELOOP_ROOT)"
        command = [part.replace(place, str(root)) for part in (*config.command, *config.args)]
        container = _Container(sandbox, status, command, root)
        container.config = config
        container.stdio = ContainerStdio(config, self.now, lambda: self.on_exited(container))
        container.cwd = str(cwd)
        container.env = _base_environment()
        container.env.update(HOSTNAME=sandbox.config.hostname or sandbox.config.name, POD_IP=sandbox.ip)
        container.env.update((name, value.replace(place, str(root))) for name, value in config.envs.items())
        container.env["KUBELOOP_ROOT"] = str(root)
        self._containers[identifier] = container
        return identifier

    async def start_container(self, container_id: str) -> m.ContainerStatus:
        container = self._find(container_id)
        program = container.line[0]
        if not Path(container.cwd).is_dir():  # noqa: ASYNC240 one stat
            message = f"container {container.status.name!r}: workingDir {container.cwd!r}: no such directory"
            raise m.RuntimeServiceError(message, reason="RunContainerError")
        try:
            transport = await container.stdio.start(container.line, container.cwd, container.env)
        except FileNotFoundError:
            message = f'exec: "{program}": executable file not found in $PATH'
            raise m.RuntimeServiceError(message, reason="RunContainerError") from None
        except (OSError, ValueError) as error:
            raise m.RuntimeServiceError(f'exec: "{program}": {error}', reason="RunContainerError") from None
        container.transport = transport
        pid = transport.get_pid() or 0
        if container_id not in self._containers:  # removed, or the runtime crashed, meanwhile
            kill_group(pid)
            transport.close()
            raise m.ContainerNotFound(f"container {container_id!r} was removed while it started")
        if self._survivor is None and not WINDOWS:
            self._survivor = Survivor("" if self._given_root is not None else str(self._root))
        if self._survivor is not None:
            self._survivor.keep(pid)
        running = {"pid": pid, "started_at": self.now()}
        state = container.status.state
        container.status = replace(
            container.status, state=m.CONTAINER_RUNNING if state == m.CONTAINER_CREATED else state, **running
        )
        if transport.get_returncode() is not None:
            self.on_exited(container)
        return container.status

    def on_exited(self, container: _Container) -> None:
        """The first process of a container ended: the rest of its group ends too, the kubelet is told."""
        transport = container.transport
        if container.exited.is_set() or transport is None:
            return
        container.exited.set()
        if container.timer is not None:
            container.timer.cancel()
        kill_group(container.status.pid)
        if self._survivor is not None:
            self._survivor.forget(container.status.pid)
        for command in list(container.commands.values()):
            command.kill()
        code = transport.get_returncode() or 0
        killed_by = -code if code < 0 else 0
        if code < 0:
            code = 128 + killed_by
        container.status = replace(
            container.status,
            state=m.CONTAINER_EXITED,
            finished_at=self.now(),
            exit_code=code,
            signal=killed_by,
            reason="Completed" if code == 0 else "Error",
            message=self._termination_message(container, code),
        )
        if container.status.id not in self._containers:  # the runtime has crashed, or it was removed
            container.close_output()
        else:
            self._host.clock.call_later(PIPE_LINGER_SECONDS, container.close_output)
            self._host.emit(m.ContainerEvent("CONTAINER_STOPPED_EVENT", container.status))

    def _termination_message(self, container: _Container, exit_code: int) -> str:
        config, text = container.config, b""
        if config.termination_message_path:
            try:
                path = inside(container.root, config.termination_message_path)
                with path.open("rb") as file:
                    text = file.read(TERMINATION_MESSAGE_BYTES_MAX)
            except (OSError, m.RuntimeServiceError):
                pass  # it wrote none
        if not text and exit_code and config.termination_message_from_log:
            lines = container.log.lines_from(container.log.end() - TERMINATION_LOG_LINES_MAX)
            text = b"".join(line + b"\n" for _, line, _ in lines)[-TERMINATION_LOG_BYTES_MAX:]
        return text.decode(errors="replace")

    async def stop_container(self, container_id: str, timeout_seconds: float) -> None:
        container = self._find(container_id)
        if container.transport is None or container.exited.is_set():
            return
        if container.timer is not None:
            container.timer.cancel()
        pid = container.status.pid
        if timeout_seconds > 0 and not WINDOWS:
            if not container.killed:
                container.transport.send_signal(signal.SIGTERM)
            container.timer = self._host.clock.call_later(timeout_seconds, kill_group, pid)
        else:
            kill_group(pid)
        container.killed = True
        await container.exited.wait()

    async def remove_container(self, container_id: str) -> None:
        if container_id not in self._containers:
            return
        await self.stop_container(container_id, 0)
        container = self._containers.pop(container_id, None)
        if container is None:
            return
        if container.transport is not None:
            container.transport.close()
        shutil.rmtree(container.root, ignore_errors=True)

    def list_containers(self) -> tuple[m.ContainerStatus, ...]:
        return tuple(container.status for container in self._containers.values())

    def container_status(self, container_id: str) -> m.ContainerStatus:
        return self._find(container_id).status

    def read_log(self, request: m.ReadLog) -> m.LogStream:
        return BufferStream.of(self._find(request.container_id).log, request)

    async def exec_sync(self, request: m.ExecSync) -> m.ExecResult:
        container = self._running(request.container_id)
        try:
            process = await asyncio.create_subprocess_exec(
                *request.cmd,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=container.cwd,
                env=container.env,
                **SPAWN_OPTIONS,
            )
        except OSError as error:
            message = f'exec: "{request.cmd[0]}": {error.strerror or error}'
            return m.ExecResult(b"", message.encode() + b"\n", 126 if isinstance(error, PermissionError) else 127)
        self._execs.append(process)
        try:
            communicate = process.communicate(request.stdin)
            stdout, stderr = await asyncio.wait_for(communicate, request.timeout_seconds or None)
        except TimeoutError:
            message = f"command {' '.join(request.cmd)!r} timed out after {request.timeout_seconds:g}s"
            raise m.RuntimeServiceError(message, reason="DeadlineExceeded") from None
        finally:
            self._execs.remove(process)
            if process.returncode is None:
                kill_group(process.pid)
                await process.wait()
        code = process.returncode or 0
        code = 128 - code if code < 0 else code
        return m.ExecResult(stdout[:EXEC_OUTPUT_BYTES_MAX], stderr[:EXEC_OUTPUT_BYTES_MAX], code)

    async def exec(self, request: m.Exec) -> m.Streams:
        container = self._running(request.container_id)
        check_command(request.cmd, request.tty)
        streams = m.Streams(stdin=request.stdin, stdout=request.stdout, stderr=request.stderr and not request.tty)
        kind = TerminalCommand if request.tty else Command
        command = kind(self._host.clock, streams, lambda ended: self._command_ended(container, ended))
        try:
            await command.start(request.cmd, container.cwd, container.env)
        except (OSError, ValueError) as error:
            not_started(request.cmd, error, streams)
            return streams
        container.commands[command.pid] = command
        if command.ended:
            self._command_ended(container, command)
        if container.exited.is_set():
            command.kill()
        if streams.stdin is not None:
            self._host.spawn(command.feed_stdin, name="exec stdin")
        return streams

    def _command_ended(self, container: _Container, command: Command) -> None:
        if container.exited.is_set() or not kill_group(command.pid, 0):
            container.commands.pop(command.pid, None)

    async def attach(self, request: m.Attach) -> m.Streams:
        container = self._running(request.container_id)
        config = container.config
        streams = m.Streams(
            stdin=request.stdin and config.stdin, stdout=request.stdout, stderr=request.stderr and not config.tty
        )
        container.stdio.attach(streams)
        if streams.stdin is not None:
            self._host.spawn(container.stdio.feed_stdin, streams, name="attach stdin")
        return streams

    async def port_forward(self, request: m.PortForward) -> m.Streams:
        sandbox = self._sandboxes.get(request.pod_sandbox_id)
        if sandbox is None or not sandbox.ready:
            raise m.ContainerNotFound(f"failed to find sandbox id {request.pod_sandbox_id!r}: not found")
        try:
            return await stream_sockets.connect(self._host, sandbox.ip, request.port)
        except OSError as error:
            text = f"failed to execute portforward: {error}"
            raise m.RuntimeServiceError(text, reason="ConnectionRefused") from None

    def run_probe(self, container_id: str, kind: str) -> m.ProbeAnswer:
        raise m.RuntimeServiceError("probes of processes go over the network, not to the runtime", reason="Unsupported")

    async def dial(self, ip: str, port: int, payload: Any) -> Any:
        raise m.RuntimeServiceError(
            "processes are connected to over the network, not by the runtime", reason="Unsupported"
        )

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


def _base_environment() -> dict[str, str]:
    environment = {name: os.environ[name] for name in INHERITED if name in os.environ}
    directories = [os.path.dirname(sys.executable), os.environ.get("PATH", os.defpath)]
    environment["PATH"] = os.pathsep.join(directory for directory in directories if directory)
    return environment
