"""What a client asks of the containers of a pod: logs, commands, their input and output, their ports.

Streams are `kubeloop.runtime.streams.Streams`: `stdin` to write to, `stdout` and `stderr` to read from, `resize`, and
`wait` for the exit code. Leave them with `async with`, or `close`: a command that still runs then ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from kubeloop.actors.api.resources import resource_for
from kubeloop.actors.apiserver.messages import NO_OPTIONS, Request, StreamOptions, UserInfo
from kubeloop.actors.client import limits
from kubeloop.actors.client.options import query_options
from kubeloop.actors.client.transport import ApiServerUnavailable, Transport
from kubeloop.actors.container_runtime.messages import ExecResult
from kubeloop.runtime.actor import ActorStopped, Unreachable
from kubeloop.runtime.streams import Pipe, Streams

PODS = resource_for("pods")


class PodCalls:
    """A part of Client. Every method raises StatusError with the API server's Status, ConnectionError without one."""

    transport: Transport
    user: UserInfo | None
    user_agent: str

    async def logs(
        self,
        name: str,
        namespace: str | None = None,
        *,
        container: str | None = None,
        follow: bool = False,
        previous: bool = False,
        tail_lines: int | None = None,
        since_seconds: int | None = None,
        since_time: str | None = None,
        timestamps: bool = False,
        limit_bytes: int | None = None,
        stream: str | None = None,
    ) -> AsyncGenerator[bytes, None]:
        """A pod's log, chunk by chunk; with `follow` until its container ends. `stream`: Stdout, Stderr, All."""
        options = query_options(
            container=container,
            follow=follow or None,
            previous=previous or None,
            tailLines=tail_lines,
            sinceSeconds=since_seconds,
            sinceTime=since_time,
            timestamps=timestamps or None,
            limitBytes=limit_bytes,
            stream=stream,
        )
        body = await self.transport.stream(self._pod_request("get", name, namespace, "log", options=options))
        return _chunks(body)

    async def exec(
        self,
        name: str,
        command: Sequence[str],
        namespace: str | None = None,
        *,
        container: str | None = None,
        stdin: bytes | str = b"",
    ) -> ExecResult:
        """Runs a command in a container to its end: stdout, stderr (at most limits.exec_output_bytes_max each) and
        exit_code. Cancelled, it ends the command.

        >>> import asyncio
        >>> from kubeloop import Cluster
        >>> POD = "{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {containers: [{name: a, image: busybox}]}}"
        >>> def busybox(context):
        ...     context.on_exec({"cat /etc/hostname": context.pod.name + chr(10)})
        >>> async def main():
        ...     async with Cluster(behaviors={"busybox": busybox}) as cluster:
        ...         await cluster.apply(POD)
        ...         await cluster.wait("pod/a", "Ready")
        ...         return await cluster.client.exec("a", ["cat", "/etc/hostname"])
        >>> asyncio.run(main())
        ExecResult(stdout=b'a\\n', stderr=b'', exit_code=0)
        """
        given = stdin.encode() if isinstance(stdin, str) else stdin
        streams = await self.open_exec(name, command, namespace, container=container, stdin=bool(given))
        async with streams:
            async with asyncio.TaskGroup() as group:
                if streams.stdin is not None:
                    group.create_task(_write_all(streams.stdin, given))
                stdout, stderr = (group.create_task(_read_all(pipe)) for pipe in (streams.stdout, streams.stderr))
            try:
                return ExecResult(stdout.result(), stderr.result(), await streams.wait())
            except (ActorStopped, Unreachable) as error:
                raise ApiServerUnavailable(str(error)) from error

    async def open_exec(
        self,
        name: str,
        command: Sequence[str],
        namespace: str | None = None,
        *,
        container: str | None = None,
        stdin: bool = False,
        tty: bool = False,
    ) -> Streams:
        """Starts a command, connected with its streams. With `tty` it has a terminal, whose output is all stdout."""
        options = StreamOptions(container or "", tuple(command), stdin, True, not tty, tty)
        return await self.transport.connect(self._pod_request("create", name, namespace, "exec", options))

    async def attach(
        self, name: str, namespace: str | None = None, *, container: str | None = None, stdin: bool = False
    ) -> Streams:
        """The streams of a container: what it writes from now on, and its input when its spec says `stdin`."""
        options = StreamOptions(container or "", (), stdin)
        return await self.transport.connect(self._pod_request("create", name, namespace, "attach", options))

    async def port_forward(self, name: str, port: int, namespace: str | None = None) -> Streams:
        """A connection to a port of a pod: `stdin` goes to it, `stdout` comes from it."""
        options = StreamOptions(ports=(port,))
        return await self.transport.connect(self._pod_request("create", name, namespace, "portforward", options))

    def _pod_request(
        self, verb: str, name: str, namespace: str | None, subresource: str, body: Any = None, options: Any = NO_OPTIONS
    ) -> Request:
        return Request(
            verb,
            PODS.group,
            PODS.version,
            PODS.plural,
            namespace or "default",
            name,
            subresource,
            body,
            options=options,
            user=self.user,
            user_agent=self.user_agent,
        )


async def _write_all(stdin: Pipe, data: bytes) -> None:
    try:
        for start in range(0, len(data), limits.exec_chunk_bytes):
            await stdin.write(data[start : start + limits.exec_chunk_bytes])
    except Exception:
        return  # the command does not read it to its end, or the streams broke: `wait` says so
    stdin.end()


async def _read_all(pipe: Pipe | None) -> bytes:
    try:
        return b"" if pipe is None else await pipe.read_all(limits.exec_output_bytes_max)
    except Exception:
        return b""  # the streams broke: `wait` says so


async def _chunks(body: Any) -> AsyncGenerator[bytes, None]:
    try:
        async for chunk in body:
            yield chunk
    except (ActorStopped, Unreachable) as error:
        raise ApiServerUnavailable(str(error)) from error
    finally:
        await body.aclose()
