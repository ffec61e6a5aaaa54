"""Commands, ports and logs of scripted containers through the client: in process in virtual time, and over HTTPS."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from kubeloop import Client, Cluster, StatusError, simulate
from kubeloop.actors.container_runtime.messages import ExecResult
from kubeloop.actors.container_runtime.sim import SimContext
from kubeloop.actors.container_runtime.sim_answers import SimRequest, SimSession
from kubeloop.runtime.actor import ActorStopped, Unreachable
from kubeloop.runtime.faults import Partition
from kubeloop.runtime.streams import Streams

POD = """
apiVersion: v1
kind: Pod
metadata: {{name: {name}, labels: {{app: {name}}}}}
spec: {{terminationGracePeriodSeconds: 0, containers: [{{name: {name}, image: {name}}}]}}
"""
TWO = """
{apiVersion: v1, kind: Pod, metadata: {name: two}, spec: {containers: [{name: a, image: x}, {name: b, image: x}]}}
"""


def table(context: SimContext) -> None:
    context.on_exec(
        {
            "cat /etc/hostname": f"{context.pod.name}\n",
            "false": 1,
            "fail": ExecResult(b"out", b"err", 7),
            "echo": lambda command: " ".join(command[1:]),
        }
    )


def function(context: SimContext) -> None:
    async def answer(command: list[str]) -> Any:
        await context.clock.sleep(float(command[1]))
        if command[0] == "raise":
            raise ValueError("as told")
        return None

    context.on_exec(answer)


def talking(context: SimContext) -> None:
    async def talk(session: SimSession) -> int:
        await session.write(f"{session.command} {session.tty}> ")
        while line := await session.read_line():
            await session.write(f"{line.upper()} {session.size}\n")
        await session.error("bye")
        return 5

    context.on_session(talk)


def web(context: SimContext) -> None:
    def answer(request: SimRequest) -> Any:
        if request.path == "/fails":
            raise ValueError("as told")
        return {"path": request.path, "port": request.port, "body": request.body.decode()}

    context.on_http(answer)


def shout(context: SimContext) -> Any:
    return lambda port, payload: payload.upper() if payload != b"bye" else None


def wire(context: SimContext) -> None:
    async def echo(session: SimSession) -> None:
        while data := await session.read():
            await session.write(f"{session.port}:".encode() + data)

    context.on_stream(echo)


def logger(context: SimContext) -> None:
    context.on_exec(lambda command: context.log(command[0]))


BEHAVIORS = {behavior.__name__: behavior for behavior in (table, function, talking, web, shout, wire, logger)}


@asynccontextmanager
async def running(*names: str, client: str = "in process", nodes: int = 1) -> AsyncIterator[tuple[Cluster, Client]]:
    async with Cluster(nodes=nodes, behaviors=BEHAVIORS) as cluster:
        for name in names:
            await cluster.apply(POD.format(name=name))
            await cluster.wait(f"pod/{name}", "Ready")
        if client == "in process":
            yield cluster, cluster.client
        else:
            async with await Client.from_kubeconfig(await cluster.serve()) as other:
                yield cluster, other


BOTH = pytest.mark.parametrize("client", ["in process", "https"])


@BOTH
async def test_a_table_answers_commands(client: str) -> None:
    async with running("table", client=client) as (_, api):
        assert await api.exec("table", ["cat", "/etc/hostname"]) == ExecResult(b"table\n", b"", 0)
        assert await api.exec("table", ["false"], stdin="unread") == ExecResult(b"", b"", 1)
        assert await api.exec("table", ["fail"]) == ExecResult(b"out", b"err", 7)
        assert await api.exec("table", ["echo", "a", "b"]) == ExecResult(b"a b", b"", 0)
        missing = await api.exec("table", ["ls"])
        assert (missing.exit_code, missing.stdout) == (127, b"")
        assert b'exec: "ls": executable file not found in $PATH' in missing.stderr and b"on_exec" in missing.stderr


def test_a_function_answers_in_virtual_time_and_its_errors_are_the_containers() -> None:
    async def main() -> Any:
        async with running("function") as (cluster, api):
            begun = cluster.system.clock.now()
            slept = await api.exec("function", ["sleep", "3600"])
            seconds = round(cluster.system.clock.now() - begun)
            failed = await api.exec("function", ["raise", "1"])
            log = b"".join([chunk async for chunk in await api.logs("function")])
            return slept.exit_code, seconds, failed, b"ValueError: as told" in log

    assert simulate(main(), seed=1) == (0, 3600, ExecResult(b"", b"ValueError: as told\n", 1), True)


@BOTH
async def test_a_session_reads_writes_and_sees_the_terminals_size(client: str) -> None:
    async with running("talking", client=client) as (_, api):
        async with await api.open_exec("talking", ["sh", "-i"], stdin=True, tty=True) as streams:
            assert streams.stdin is not None and streams.stdout is not None and streams.stderr is None
            assert await read_until(streams, b"> ") == b"['sh', '-i'] True> "
            streams.resize(80, 24)
            await streams.stdin.write(b"one\n")
            assert await read_until(streams, b"\n") == b"ONE (80, 24)\n"
            streams.stdin.end()
            assert await streams.stdout.read_all(100) == b"bye"
            assert await streams.wait() == 5


async def read_until(streams: Streams, end: bytes) -> bytes:
    assert streams.stdout is not None
    heard = b""
    while not heard.endswith(end):
        data = await streams.stdout.read()
        assert data, heard
        heard += data
    return heard


@BOTH
async def test_exec_that_cannot_be_is_refused_with_the_status(client: str) -> None:
    async with running(client=client) as (cluster, api):
        await cluster.apply(TWO)
        await cluster.wait("pod/two", "Ready")
        for name, command, container, code, message in (
            ("nobody", ["x"], None, 404, 'pods "nobody" not found'),
            ("two", ["x"], None, 400, "a container name must be specified for pod two, choose one of: [a b]"),
            ("two", ["x"], "c", 400, "container c is not valid for pod two"),
            ("two", [], "a", 400, "you must specify at least one command for the container"),
        ):
            with pytest.raises(StatusError) as refused:
                await api.exec(name, command, container=container)
            assert (refused.value.code, refused.value.message) == (code, message)


async def test_what_is_on_no_node_or_does_not_run_cannot_be_executed() -> None:
    async with Cluster(nodes=1, without=["scheduler"]) as cluster:
        await cluster.apply(POD.format(name="pending"))
        with pytest.raises(StatusError, match="pod pending does not have a host assigned"):
            await cluster.client.exec("pending", ["x"])
        with pytest.raises(StatusError, match="pod pending does not have a host assigned"):
            await cluster.client.port_forward("pending", 80)
        pod = await cluster.client.get("pods", "pending")
        cluster.crash("kubelet/node-1")
        await cluster.client.bind(pod, "node-1")
        with pytest.raises(StatusError, match="error dialing backend: dial tcp node-1:10250"):
            await cluster.client.exec("pending", ["x"])


@BOTH
async def test_a_container_that_does_not_run_is_not_found(client: str) -> None:
    ended = POD.format(name="ended").replace("metadata: {", "metadata: {annotations: {sim.kubeloop.io/run-time: '0'}, ")
    async with running(client=client) as (cluster, api):
        await cluster.apply(ended.replace("spec: {", "spec: {restartPolicy: Never, "))
        await cluster.wait("pod/ended", "Succeeded")
        with pytest.raises(StatusError) as refused:
            await api.exec("ended", ["x"])
        assert refused.value.message == (
            'Internal error occurred: unable to upgrade connection: container not found ("ended")'
        )


@BOTH
async def test_attach_follows_the_log_from_now_on(client: str) -> None:
    async with running("logger", client=client) as (cluster, api):
        await api.exec("logger", ["before"])
        async with await api.attach("logger") as streams:
            await api.exec("logger", ["after"])
            assert await read_until(streams, b"\n") == b"after\n"
            await cluster.client.delete("pods", "logger")
            assert streams.stdout is not None and await streams.stdout.read() == b""
            await streams.wait()


@BOTH
async def test_connections_to_ports_are_answered_by_bytes_or_chunks(client: str) -> None:
    async with running("wire", "shout", client=client) as (_, api):
        async with await api.port_forward("wire", 5432) as streams:
            assert streams.stdin is not None
            await streams.stdin.write(b"select 1;")
            assert await read_until(streams, b";") == b"5432:select 1;"
        async with await api.port_forward("shout", 1) as streams:
            assert streams.stdin is not None
            await streams.stdin.write(b"hello")
            assert await read_until(streams, b"O") == b"HELLO"


@BOTH
async def test_http_requests_to_a_port_are_answered_by_a_function(client: str) -> None:
    async with running("web", client=client) as (_, api):
        async with await api.port_forward("web", 8080) as streams:
            assert streams.stdin is not None
            await streams.stdin.write(b"POST /a%20b?c=d HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi")
            answer = await read_until(streams, b"}")
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
            assert answer.endswith(b'{"path":"/a b","port":8080,"body":"hi"}')
            await streams.stdin.write(b"GET /fails HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await read_until(streams, b"told\n")).startswith(b"HTTP/1.1 500 ")
        assert "ValueError: as told" in b"".join([chunk async for chunk in await api.logs("web")]).decode()


@BOTH
async def test_a_port_that_nobody_answers_is_refused(client: str) -> None:
    async with running("table", client=client) as (_, api):
        with pytest.raises(StatusError, match=r"dial tcp 10\.244\..*:80: connect: connection refused.*on_http"):
            async with await api.port_forward("table", 80) as streams:
                assert streams.stdout is not None
                assert await streams.stdout.read() == b""
                await streams.wait()


async def test_nothing_is_left_of_commands_that_have_ended() -> None:
    async with running("table") as (cluster, api):
        for _ in range(3):
            await api.exec("table", ["false"])
        for process in ("kubelet/node-1", "kube-apiserver"):
            live = cluster.system.slot(process).live
            assert live is not None and len(live.actor.streams) == 0  # type: ignore[attr-defined]


def cut_off(cut: Any) -> tuple[str, int]:
    """What a client hears, and how many streams are left, when `cut(cluster)` happens to an exec under way."""

    async def main() -> tuple[str, int]:
        async with running("talking", nodes=2) as (cluster, api):
            async with await api.open_exec("talking", ["x"], stdin=True) as streams:
                await read_until(streams, b"> ")
                node = (await api.get("pods", "talking")).spec.node_name
                cut(cluster, node)
                heard = ""
                try:
                    assert streams.stdout is not None
                    await streams.stdout.read_all(1000)
                    heard = f"exit code {await streams.wait()}"
                except (Unreachable, ActorStopped, StatusError) as error:
                    heard = str(error)
            return heard.replace(node, "NODE"), cluster.system.network.connections()

    heard, connections = simulate(main(), seed=3)
    return heard, connections


def test_a_partition_cuts_a_command_off() -> None:
    heard, _ = cut_off(lambda cluster, node: cluster.system.inject(Partition(node, "control-plane-0")))
    assert heard == "the connection from control-plane-0 to NODE was cut"


@pytest.mark.parametrize("process", ["kubelet", "kube-apiserver"])
def test_a_process_on_the_way_that_crashes_cuts_a_command_off(process: str) -> None:
    def crash(cluster: Cluster, node: str) -> None:
        cluster.crash(f"{process}/{node}" if process == "kubelet" else process)

    assert cut_off(crash)[0].replace("/NODE", "") == f"{process} does not run"


def test_a_runtime_that_crashes_ends_a_command_with_137() -> None:
    assert cut_off(lambda cluster, node: cluster.crash(f"container-runtime/{node}"))[0] == "exit code 137"


def test_a_delay_of_the_network_is_the_delay_of_a_command() -> None:
    async def main() -> float:
        async with running("table") as (cluster, api):
            cluster.system.network.delay("node-1", "control-plane-0", min_seconds=1)
            begun = cluster.system.clock.now()
            await api.exec("table", ["echo", "x"])
            return cluster.system.clock.now() - begun

    assert simulate(main(), seed=1) == pytest.approx(2, abs=0.1)  # there and back: the output comes with the answer


def test_a_client_that_goes_ends_the_behaviours_task() -> None:
    async def main() -> list[str]:
        ended: list[str] = []

        def behavior(context: SimContext) -> None:
            async def wait(session: SimSession) -> int:
                try:
                    await asyncio.Event().wait()
                finally:
                    ended.append("ended")
                return 0

            context.on_session(wait)

        async with Cluster(behaviors={"x": behavior}) as cluster:
            await cluster.apply(POD.format(name="x"))
            await cluster.wait("pod/x", "Ready")
            async with await cluster.client.open_exec("x", ["x"]):
                await asyncio.sleep(1)
            await asyncio.sleep(1)
            return ended

    assert simulate(main(), seed=1) == ["ended"]


async def test_a_cluster_executes_in_a_pod_named_or_given() -> None:
    async with running("table") as (cluster, api):
        pod = await api.get("pods", "table")
        for given in ("table", pod):
            assert (await cluster.exec(given, ["false"])).exit_code == 1


def test_a_command_whose_answer_is_lost_is_ended_after_a_while() -> None:
    async def main() -> list[int]:
        async with running("talking") as (cluster, api):
            asking = asyncio.create_task(api.open_exec("talking", ["x"], stdin=True))
            cluster.system.network.delay("node-1", "control-plane-0", min_seconds=1)
            await asyncio.sleep(1.5)  # the command has begun, the answer is on its way
            fault = cluster.system.inject(Partition("node-1", "control-plane-0"))
            with pytest.raises(StatusError, match="error dialing backend"):
                await asking
            fault.heal()
            live = cluster.system.slot("kubelet/node-1").live
            assert live is not None
            before = len(live.actor.streams)  # type: ignore[attr-defined]
            await asyncio.sleep(61)
            return [before, len(live.actor.streams)]  # type: ignore[attr-defined]

    assert simulate(main(), seed=1) == [1, 0]
