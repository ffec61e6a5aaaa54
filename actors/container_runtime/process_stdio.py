"""Input and output of a process container: its log, who is attached to it, its terminal if it has one.

Who is attached and reads too slowly makes the container wait, as with containerd; one that has left does not.
"""

import asyncio
import subprocess
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kubeloop.actors.container_runtime import messages as m
from kubeloop.actors.container_runtime.logs import LogBuffer
from kubeloop.actors.container_runtime.process_exec import SPAWN_OPTIONS
from kubeloop.actors.container_runtime.terminal import END_OF_TRANSMISSION, Terminal

STREAMS = {1: "stdout", 2: "stderr"}


class ContainerStdio(asyncio.SubprocessProtocol):
    """`now`: the unix time. `on_exited`: its first process has ended."""

    def __init__(self, config: m.ContainerConfig, now: Callable[[], float], on_exited: Callable[[], None]) -> None:
        self.log = LogBuffer()
        self._config = config
        self._now = now
        self._on_exited = on_exited
        self._transport: Any = None
        self._terminal: Terminal | None = None
        self._attached: dict[m.Streams, None] = {}
        self._paused: asyncio.Future[None] | None = None

    async def start(self, command: Sequence[str], cwd: str, env: Mapping[str, str]) -> asyncio.SubprocessTransport:
        """Raises OSError, ValueError."""
        loop = asyncio.get_running_loop()
        if not self._config.tty:
            stdin = subprocess.PIPE if self._config.stdin else subprocess.DEVNULL
            transport, _ = await loop.subprocess_exec(
                lambda: self, *command, stdin=stdin, cwd=cwd, env=env, **SPAWN_OPTIONS
            )
            return transport
        terminal = self._terminal = Terminal(self._written, self._hung_up)
        given: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), terminal.slave)
        try:
            transport, _ = await loop.subprocess_exec(
                lambda: self, *command, cwd=cwd, env={"TERM": "xterm", **env}, preexec_fn=terminal.enter, **given
            )
        except BaseException:
            terminal.close()
            raise
        terminal.begin()
        return transport

    # output

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if not self._take(STREAMS[fd], data):
            self._pause()

    def _written(self, data: bytes) -> bool:
        return self._take("stdout", data)

    def _take(self, stream: str, data: bytes) -> bool:
        self.log.write(stream, data, self._now())
        room = True
        for streams in list(self._attached):
            pipe = streams.stdout if stream == "stdout" else streams.stderr
            if pipe is not None and not pipe.feed(data):
                room = False
        return room

    def _pause(self) -> None:
        for fd in STREAMS:
            output = self._transport.get_pipe_transport(fd)
            if output is not None and not output.is_closing():
                output.pause_reading()

    def _resume(self) -> None:
        if any(pipe.full for one in self._attached for pipe in (one.stdout, one.stderr) if pipe is not None):
            return
        if self._terminal is not None:
            self._terminal.resume()
            return
        for fd in STREAMS:
            output = self._transport.get_pipe_transport(fd)
            if output is not None and not output.is_closing():
                output.resume_reading()

    # who is attached

    def attach(self, streams: m.Streams) -> None:
        """Until they leave, or the container ends."""
        self._attached[streams] = None
        for pipe in (streams.stdout, streams.stderr):
            if pipe is not None:
                pipe.on_room = self._resume
        streams.when_over.append(self._detach)
        if self._terminal is not None:
            streams.on_resize = self._terminal.resize

    def _detach(self, streams: m.Streams) -> None:
        self._attached.pop(streams, None)
        self._resume()

    async def feed_stdin(self, streams: m.Streams) -> None:
        """Copies what one of them writes to the container's input."""
        assert streams.stdin is not None
        try:
            while data := await streams.stdin.read():
                await self._write(data)
        except Exception:
            streams.stdin.close()  # who asked was cut off, or the container does not read
        if self._config.stdin_once:
            self._close_input()

    async def _write(self, data: bytes) -> None:
        if self._terminal is not None:
            await self._terminal.write(data)
            return
        target = self._transport.get_pipe_transport(0)
        if target is None or target.is_closing():
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
        if self._terminal is not None:
            self._terminal.type(END_OF_TRANSMISSION)
            return
        target = self._transport.get_pipe_transport(0)
        if target is not None and not target.is_closing():
            target.close()

    # the end

    def process_exited(self) -> None:
        if self._terminal is not None:
            self._terminal.drain()
        self._on_exited()
        if self._terminal is not None and self._terminal.ended:
            self._close()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._terminal is None:
            self._close()

    def _hung_up(self) -> None:
        """Everybody has left the terminal."""
        if self._transport is not None and self._transport.get_returncode() is not None:
            self._close()

    def close(self) -> None:
        """Nothing is read any more: the container is dead, and had the time to say its last word."""
        if self._terminal is not None:
            self._terminal.close()
        self._close()

    def _close(self) -> None:
        self.log.close(self._now())
        self.resume_writing()
        code = self._transport.get_returncode() if self._transport is not None else None
        for streams in list(self._attached):
            streams.finish(0 if code is None else code if code >= 0 else 128 - code)
