"""exec, attach and connections of simulated containers: streams, served by what their behaviours registered."""

import inspect
import traceback
from collections.abc import Callable, Coroutine
from typing import Any

from kubeloop.actors.container_runtime import messages as m
from kubeloop.actors.container_runtime.backend import RuntimeHost
from kubeloop.actors.container_runtime.sim_answers import (
    SimAnswers,
    SimRequest,
    SimSession,
    answer_exec,
    as_bytes,
    as_http,
)
from kubeloop.runtime.stream_transport import PipeTransport
from kubeloop.runtime.streams import Streams
from kubeloop.runtime.tasks import Child

SESSIONS_MAX = 1_000  # of one container
HTTP_BODY_BYTES_MAX = 64 << 20
KILLED = 137
Log = Callable[[str], None]


class Sessions:
    """What is connected with one simulated container; it ends with it."""

    def __init__(self, host: RuntimeHost, log: Log) -> None:
        self._host = host
        self.log = log
        self._open: dict[Streams, Child | None] = {}

    def __len__(self) -> int:
        return len(self._open)

    def begin(self, streams: Streams, serve: Callable[[], Coroutine[Any, Any, int]], name: str) -> Streams:
        """Serves streams with a child of its own, which answers the exit code. RuntimeServiceError: too many."""
        if len(self._open) >= SESSIONS_MAX:
            raise m.RuntimeServiceError(f"this container has {SESSIONS_MAX} sessions open already", reason="Exhausted")
        child = self._host.spawn(self._serve, streams, serve, name=name)
        self._open[streams] = child
        streams.on_close = child.cancel
        streams.when_over.append(self._forget)
        return streams

    async def _serve(self, streams: Streams, serve: Callable[[], Coroutine[Any, Any, int]]) -> None:
        code = KILLED
        try:
            code = await serve()
        except BrokenPipeError:
            pass  # who asked has gone
        except Exception as error:
            self.log(traceback.format_exc())
            if streams.stderr is not None:
                streams.stderr.feed(f"{type(error).__name__}: {error}\n".encode())
            code = 1
        finally:
            streams.finish(code)

    def _forget(self, streams: Streams) -> None:
        self._open.pop(streams, None)

    def end(self, exit_code: int) -> None:
        """The container has ended."""
        for streams, child in list(self._open.items()):
            streams.finish(exit_code)
            if child is not None:
                child.cancel()


async def follow_log(stream: m.LogStream, streams: Streams) -> int:
    """An attach: what is written to the log from now on. Input is dropped."""
    async for chunk in stream:
        if streams.stdout is not None:
            await streams.stdout.write(chunk)
    return 0


async def run_command(answers: SimAnswers | None, request: m.Exec, streams: Streams) -> int:
    """One exec; its exit code."""
    if answers is not None and answers.session is not None:
        session = SimSession(streams, command=request.cmd, tty=request.tty)
        code = answers.session(session)
        code = await code if inspect.isawaitable(code) else code
        return code if isinstance(code, int) else 0
    result = await answer_exec(answers, request.cmd)
    for pipe, data in ((streams.stdout, result.stdout), (streams.stderr or streams.stdout, result.stderr)):
        if pipe is not None and data:
            await pipe.write(data)
    return result.exit_code


async def serve_connection(answers: SimAnswers, port: int, streams: Streams, log: Log) -> int:
    """One connection to a port, until one of both sides ends it."""
    session = SimSession(streams, port=port)
    if answers.stream is not None:
        result = answers.stream(session)
        if inspect.isawaitable(result):
            await result
    elif answers.http is not None:
        await serve_http(answers.http, port, streams, log)
    elif answers.connect is not None:
        while data := await session.read():
            answer = answers.connect(port, data)
            answer = await answer if inspect.isawaitable(answer) else answer
            if answer is not None:
                await session.write(answer if isinstance(answer, bytes) else as_bytes(str(answer)))
    return 0


async def serve_http(handler: Callable[[SimRequest], Any], port: int, streams: Streams, log: Log) -> None:
    """HTTP/1.1 on a connection; each request is answered by the handler, with 500 when it raises."""
    from aiohttp import web

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        body = bytearray()
        async for chunk in request.content.iter_any():
            body += chunk
            if len(body) > HTTP_BODY_BYTES_MAX:
                raise web.HTTPRequestEntityTooLarge(HTTP_BODY_BYTES_MAX, len(body))
        asked = SimRequest(request.method, request.path, request.query_string, headers, bytes(body), port)
        try:
            answer = handler(asked)
            code, given, data = as_http(await answer if inspect.isawaitable(answer) else answer)
        except Exception as error:
            log(traceback.format_exc())
            return web.Response(status=500, text=f"{type(error).__name__}: {error}\n")
        return web.Response(status=code, headers=given, body=data)

    assert streams.stdin is not None and streams.stdout is not None
    server = web.Server(handle, access_log=None)
    try:
        await PipeTransport(streams.stdin, streams.stdout, server()).run()
    finally:
        await server.shutdown(1.0)
