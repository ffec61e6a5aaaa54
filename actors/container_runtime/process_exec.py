"""Commands in a process container: child processes with its environment and directory, connected by streams.

- A command that cannot be started ends with 127 (126: no permission) and says why on stderr, as CRI-O has it.
- Its exit code is told when it has ended and its output has been taken. Children that it left behind keep running, as
  they would in a container, but their output is taken for PIPE_LINGER_SECONDS only.
- Who asked goes away: its process group is killed; with a terminal it is hung up first (SIGHUP), and killed
  HANG_UP_SECONDS later.
- The container ends: so do its commands and what they left behind, with 137.
"""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kubeloop.actors.container_runtime.messages import RuntimeServiceError, Streams
from kubeloop.actors.container_runtime.terminal import END_OF_TRANSMISSION, Terminal
from kubeloop.runtime.clock import Clock
from kubeloop.runtime.streams import Pipe

WINDOWS = sys.platform == "win32"
PIPE_LINGER_SECONDS = 1.0  # how long output of a dead process's stray children is still taken
HANG_UP_SECONDS = 1.0  # between SIGHUP and SIGKILL
KILLED = 137
SPAWN_OPTIONS: Mapping[str, Any] = (
    {"creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)} if WINDOWS else {"start_new_session": True}
)


def kill_group(pid: int, number: int = getattr(signal, "SIGKILL", signal.SIGTERM)) -> bool:
    """A signal (SIGKILL) to the process group that `pid` leads; False when it is gone."""
    if pid <= 0:
        return False
    try:
        if WINDOWS:
            os.kill(pid, signal.SIGTERM)
        else:
            os.killpg(pid, number)
    except OSError:
        return False
    return True


def exists(pid: int) -> bool:
    """Whether there is a process of this number."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


class Command(asyncio.SubprocessProtocol):
    """One command on its way. `on_ended` is called once it is over; what it left behind may still run (`pid`)."""

    def __init__(self, clock: Clock, streams: Streams, on_ended: Callable[["Command"], None]) -> None:
        self.streams = streams
        self.pid = 0
        self.exit_code: int | None = None
        self.over = asyncio.Event()
        self._clock = clock
        self._on_ended = on_ended
        self._transport: Any = None
        self._outputs: dict[int, Pipe] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._paused: asyncio.Future[None] | None = None
        streams.on_close = self.abandon

    @property
    def ended(self) -> bool:
        return self.over.is_set()

    async def start(self, command: Sequence[str], cwd: str, env: Mapping[str, str]) -> None:
        """Raises OSError, ValueError."""
        streams = self.streams
        transport, _ = await asyncio.get_running_loop().subprocess_exec(
            lambda: self,
            *command,
            stdin=subprocess.PIPE if streams.stdin is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE if streams.stdout is not None else subprocess.DEVNULL,
            stderr=subprocess.PIPE if streams.stderr is not None else subprocess.DEVNULL,
            cwd=cwd,
            env=env,
            **SPAWN_OPTIONS,
        )
        self._started(transport)

    def _started(self, transport: Any) -> None:
        self._transport = transport
        self.pid = transport.get_pid() or 0
        if self.streams.closed:
            self.abandon()

    # its output

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        for fd, pipe in ((1, self.streams.stdout), (2, self.streams.stderr)):
            if pipe is not None:
                self._outputs[fd] = pipe
                pipe.on_room = lambda fd=fd: self._resume(fd)

    def _resume(self, fd: int) -> None:
        output = self._transport.get_pipe_transport(fd)
        if fd in self._outputs and output is not None and not output.is_closing():
            output.resume_reading()

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if not self._outputs[fd].feed(data):
            self._transport.get_pipe_transport(fd).pause_reading()

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        pipe = self._outputs.pop(fd, None)
        if pipe is not None:
            pipe.end()
            self._settle()

    # its input

    async def feed_stdin(self) -> None:
        """Copies what comes to its input, as fast as it takes it, until its end; then closes it."""
        stdin = self.streams.stdin
        assert stdin is not None
        try:
            while data := await stdin.read():
                await self._write(data)
            if not self.ended:
                self._close_input()
        except Exception:
            stdin.close()  # who asked was cut off, and `abandon` does the rest; or the command does not read

    async def _write(self, data: bytes) -> None:
        target = self._transport.get_pipe_transport(0)
        if target is None or target.is_closing():
            stdin = self.streams.stdin
            assert stdin is not None
            stdin.close()  # it has closed its input: writing more is an error
            return
        target.write(data)
        while self._paused is not None:
            await self._paused

    def pause_writing(self) -> None:
        if self._paused is None:
            self._paused = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        paused, self._paused = self._paused, None
        if paused is not None and not paused.done():
            paused.set_result(None)

    def _close_input(self) -> None:
        target = self._transport.get_pipe_transport(0)
        if target is not None:
            target.close()

    # its end

    def process_exited(self) -> None:
        code = self._transport.get_returncode() or 0
        self.exit_code = 128 - code if code < 0 else code
        self._drain()
        self._settle()
        if not self.ended:
            self._timer = self._clock.call_later(PIPE_LINGER_SECONDS, self.finish)

    def _drain(self) -> None:
        """What it wrote before it ended is taken."""

    def _settle(self) -> None:
        if self.exit_code is not None and not self._outputs:
            self.finish()

    def finish(self) -> None:
        """It is over. Idempotent."""
        if self.ended:
            return
        self.over.set()
        if self._timer is not None:
            self._timer.cancel()
        self.resume_writing()
        self.streams.finish(KILLED if self.exit_code is None else self.exit_code)
        if self._transport is not None:
            self._transport.close()
        self._on_ended(self)

    def abandon(self) -> None:
        """Who asked has gone."""
        kill_group(self.pid)

    def kill(self) -> None:
        """Its container ends. A group outlives its leader, and while it does nobody else gets its number."""
        if not self.ended or not exists(self.pid):
            kill_group(self.pid)


class TerminalCommand(Command):
    """A command with a terminal of its own."""

    def __init__(self, clock: Clock, streams: Streams, on_ended: Callable[["Command"], None]) -> None:
        super().__init__(clock, streams, on_ended)
        self._terminal = Terminal(self._output, self._hung_up)
        self._open = True
        if streams.stdout is not None:
            streams.stdout.on_room = self._terminal.resume
        streams.on_resize = self._terminal.resize

    async def start(self, command: Sequence[str], cwd: str, env: Mapping[str, str]) -> None:
        slave = self._terminal.slave
        try:
            transport, _ = await asyncio.get_running_loop().subprocess_exec(
                lambda: self,
                *command,
                stdin=slave,
                stdout=slave,
                stderr=slave,
                cwd=cwd,
                env={"TERM": "xterm", **env},
                preexec_fn=self._terminal.enter,
            )
        except BaseException:
            self._terminal.close()
            raise
        self._terminal.begin()
        self._started(transport)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def _output(self, data: bytes) -> bool:
        stdout = self.streams.stdout
        return stdout is None or stdout.feed(data)

    def _hung_up(self) -> None:
        self._open = False
        self._settle()

    async def _write(self, data: bytes) -> None:
        await self._terminal.write(data)

    def _close_input(self) -> None:
        self._terminal.type(END_OF_TRANSMISSION)

    def _drain(self) -> None:
        self._terminal.drain()

    def _settle(self) -> None:
        if self.exit_code is not None and not self._open:
            self.finish()

    def finish(self) -> None:
        super().finish()
        self._terminal.close()

    def abandon(self) -> None:
        if kill_group(self.pid, signal.SIGHUP):
            self._clock.call_later(HANG_UP_SECONDS, self.kill_late)

    def kill_late(self) -> None:
        """After the hang-up, if it did not mind."""
        if self.exit_code is None:
            kill_group(self.pid)


def not_started(command: Sequence[str], error: Exception, streams: Streams) -> None:
    """Ends the streams of a command that could not be started."""
    program = command[0] if command else ""
    if isinstance(error, FileNotFoundError):
        code, text = 127, f'exec: "{program}": executable file not found in $PATH'
    else:
        code = 126 if isinstance(error, PermissionError) else 127
        text = f'exec: "{program}": {getattr(error, "strerror", None) or error}'
    output = streams.stderr if streams.stderr is not None else streams.stdout
    if output is not None:
        output.feed(f"{text}\n".encode())
    streams.finish(code)


def check_command(command: Sequence[str], tty: bool) -> None:
    """Raises RuntimeServiceError for what no container could run, or this machine cannot."""
    if not command:
        raise RuntimeServiceError("exec: a command is required", reason="InvalidArgument")
    if tty and WINDOWS:
        raise RuntimeServiceError("exec: Windows has no terminals for processes: ask without tty", reason="Unsupported")
