"""What a simulated container answers to commands and connections, as its behaviour registered it (SimContext.on_...).

Exec, first that is there: `session` (an async function that talks), `exec` (a table or a function of the command).
Connections, first that is there: `stream` (bytes), `http` (requests), `connect` (each chunk a payload).
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from kubeloop.actors.container_runtime.messages import ExecResult
from kubeloop.runtime.streams import Streams

Exec = Mapping[str, Any] | Callable[[list[str]], Any]
NOT_FOUND = 127
LINE_BYTES_MAX = 1 << 20


class SimAnswers:
    __slots__ = ("connect", "exec", "http", "session", "stream")

    def __init__(self) -> None:
        self.exec: Exec | None = None
        self.session: Callable[[SimSession], Any] | None = None
        self.stream: Callable[[SimSession], Any] | None = None
        self.http: Callable[[SimRequest], Any] | None = None
        self.connect: Callable[[int, Any], Any] | None = None

    @property
    def connects(self) -> bool:
        """Whether a connection is answered."""
        return self.stream is not None or self.http is not None or self.connect is not None


class SimRequest(msgspec.Struct, frozen=True):
    """An HTTP request to a simulated container. `path` is decoded, `query` as written, header names are lower case."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    port: int


class SimSession:
    """The other end of an exec, or (with `port`) of a connection: read what comes, write what the caller sees.

    size: of the terminal, width and height in characters; (0, 0) until it is told.
    """

    def __init__(self, streams: Streams, *, command: Sequence[str] = (), tty: bool = False, port: int = 0) -> None:
        self.command = list(command)
        self.tty = tty
        self.port = port
        self.size = (0, 0)
        self._streams = streams
        self._rest = b""
        streams.on_resize = self._resize

    def _resize(self, width: int, height: int) -> None:
        self.size = (width, height)

    async def read(self) -> bytes:
        """What comes next; b"" when nothing comes any more."""
        if self._rest:
            data, self._rest = self._rest, b""
            return data
        return b"" if self._streams.stdin is None else await self._streams.stdin.read()

    async def read_line(self) -> str:
        """The next line, without its end; the last one may have none. "" at the end, and for an empty line."""
        data = b""
        while b"\n" not in data and len(data) < LINE_BYTES_MAX and (more := await self.read()):
            data += more
        line, _, self._rest = data.partition(b"\n")
        return line.decode(errors="replace").rstrip("\r")

    async def write(self, text: str | bytes) -> None:
        """To stdout, or back on the connection. Waits for a slow caller; BrokenPipeError when the caller has gone."""
        if self._streams.stdout is not None:
            await self._streams.stdout.write(as_bytes(text))

    async def error(self, text: str | bytes) -> None:
        """To stderr; to the terminal when there is one."""
        pipe = self._streams.stderr if not self.tty else self._streams.stdout
        if pipe is not None:
            await pipe.write(as_bytes(text))


def as_bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else bytes(text)


def not_found(command: Sequence[str]) -> ExecResult:
    """What a container without an answer says: a shell's code for a command that is not there, and why."""
    text = (
        f'exec: "{command[0] if command else ""}": executable file not found in $PATH: this simulated container '
        "answers no such command (a behaviour can: SimContext.on_exec)\n"
    )
    return ExecResult(b"", text.encode(), NOT_FOUND)


async def answer_exec(answers: SimAnswers | None, command: Sequence[str]) -> ExecResult:
    """The result of a command that reads nothing. What a function raises, it raises."""
    if answers is None or answers.exec is None:
        return not_found(command)
    given = answers.exec
    if isinstance(given, Mapping):
        line = " ".join(command)
        answer = given[line] if line in given else given.get(command[0]) if command else None
        if answer is None:
            return not_found(command)
        if callable(answer):
            answer = answer(list(command))
    else:
        answer = given(list(command))
    if inspect.isawaitable(answer):
        answer = await answer
    return as_result(answer)


def as_result(answer: Any) -> ExecResult:
    """text: stdout; a number: the exit code; None: nothing, and 0."""
    if isinstance(answer, ExecResult):
        return answer
    if answer is None:
        return ExecResult(b"", b"", 0)
    if isinstance(answer, int):
        return ExecResult(b"", b"", int(answer))
    if isinstance(answer, str | bytes):
        return ExecResult(as_bytes(answer), b"", 0)
    raise TypeError(f"on_exec answered {type(answer).__name__}: an ExecResult, text, an exit code or None")


def as_http(answer: Any) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of what a handler answered (SimContext.on_http)."""
    if isinstance(answer, tuple) and len(answer) == 3:
        return int(answer[0]), dict(answer[1]), as_http(answer[2])[2]
    if isinstance(answer, tuple) and len(answer) == 2:
        _, headers, body = as_http(answer[1])
        return int(answer[0]), headers, body
    if answer is None:
        return 404, {"Content-Type": "text/plain"}, b"404 page not found\n"
    if isinstance(answer, int):
        return int(answer), {}, b""
    if isinstance(answer, str | bytes):
        return 200, {"Content-Type": "text/plain; charset=utf-8"}, as_bytes(answer)
    return 200, {"Content-Type": "application/json"}, msgspec.json.encode(answer)
