import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from kubeloop.actors.container_runtime import messages as m
from kubeloop.actors.container_runtime.loopback import LoopbackBlock
from kubeloop.actors.container_runtime.process import ProcessBackend
from kubeloop.runtime.streams import Streams
from tests.container_runtime.harness import Node, node, until

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and sh")


def shell(script: str, **more: object) -> m.ContainerConfig:
    return m.ContainerConfig("app", "label:1", command=["sh", "-c", script], **more)  # type: ignore[arg-type]


@asynccontextmanager
async def container(script: str = "sleep 600", **more: object) -> AsyncIterator[tuple[Node, m.ContainerStatus]]:
    async with node(ProcessBackend()) as one:
        yield one, await one.start(await one.sandbox(), shell(script, **more))


async def execute(one: Node, status: m.ContainerStatus, script: str, **options: object) -> Streams:
    message = m.Exec(status.id, ["sh", "-c", script], **options)  # type: ignore[arg-type]
    streams: Streams = await one.runtime.ask(message)
    return streams


async def output(streams: Streams) -> tuple[str, str, int]:
    async def read(pipe: object) -> str:
        return "" if pipe is None else (await pipe.read_all(1 << 24)).decode()  # type: ignore[attr-defined]

    out, err = await asyncio.gather(read(streams.stdout), read(streams.stderr))
    return out, err, await streams.wait()


async def line_of(streams: Streams) -> str:
    """What comes until a line is complete."""
    heard = b""
    assert streams.stdout is not None
    while b"\n" not in heard:
        data = await streams.stdout.read()
        assert data, f"it ended: {heard!r}"
        heard += data
    return heard.decode()


def gone(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"


async def test_a_command_has_the_containers_environment_directory_and_an_exit_code() -> None:
    async with container(envs={"COLOUR": "green"}) as (one, status):
        streams = await execute(one, status, "echo $COLOUR; pwd; echo bad >&2; exit 4")
        out, err, code = await output(streams)
        assert out.splitlines()[0] == "green" and Path(out.splitlines()[1]).name == status.id[:16]
        assert (err, code) == ("bad\n", 4)


async def test_input_is_written_as_fast_as_it_is_read_and_ends() -> None:
    async with container() as (one, status):
        streams = await execute(one, status, "sleep 0.2; wc -c", stdin=True)
        assert streams.stdin is not None

        async def write() -> None:
            assert streams.stdin is not None
            for _ in range(64):
                await streams.stdin.write(bytes(64 * 1024))
            streams.stdin.end()

        _, (out, _, code) = await asyncio.gather(write(), output(streams))
        assert (int(out), code) == (4 << 20, 0)


async def test_output_waits_for_a_reader_that_is_slow() -> None:
    async with container() as (one, status):
        streams = await execute(one, status, "head -c 20000000 /dev/zero")
        assert streams.stdout is not None
        await until(lambda: streams.stdout.full)  # type: ignore[union-attr]
        total = 0
        while data := await streams.stdout.read():
            total += len(data)
        assert total == 20_000_000 and await streams.wait() == 0


async def test_a_command_that_closes_its_input_does_not_block_who_writes() -> None:
    async with container() as (one, status):
        streams = await execute(one, status, "exec <&-; echo closed; sleep 600", stdin=True)
        assert await line_of(streams) == "closed\n"
        assert streams.stdin is not None
        with pytest.raises(BrokenPipeError):
            while True:
                await streams.stdin.write(bytes(64 * 1024))
        streams.close()


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        (["no-such"], 127, 'exec: "no-such": executable file not found in $PATH\n'),
        (["/etc"], 126, 'exec: "/etc": Permission denied\n'),
    ],
)
async def test_a_program_that_cannot_be_run_ends_with_a_shells_code(command: list[str], code: int, said: str) -> None:
    async with container() as (one, status):
        streams: Streams = await one.runtime.ask(m.Exec(status.id, command))
        assert streams.over and await output(streams) == ("", said, code)
        assert await output(await one.runtime.ask(m.Exec(status.id, command, tty=True))) == (said, "", code)


async def test_what_cannot_be_executed_is_refused() -> None:
    async with container("exit 0") as (one, status):
        await one.ended(status.id)
        with pytest.raises(m.RuntimeServiceError, match="is not running"):
            await execute(one, status, "true")
        with pytest.raises(m.RuntimeServiceError, match="is not running"):
            await one.runtime.ask(m.Attach(status.id))
        with pytest.raises(m.ContainerNotFound):
            await one.runtime.ask(m.Exec("nobody", ["true"]))


async def test_a_command_without_words_is_refused() -> None:
    async with container() as (one, status):
        with pytest.raises(m.RuntimeServiceError, match="a command is required"):
            await one.runtime.ask(m.Exec(status.id, []))


async def test_nothing_is_left_of_commands_that_have_ended() -> None:
    backend = ProcessBackend()
    async with node(backend) as one:
        status = await one.start(await one.sandbox(), shell("sleep 600"))
        for command in (["true"], ["no-such"], ["sh", "-c", "exit 3"]) * 5:
            await output(await one.runtime.ask(m.Exec(status.id, command)))
        assert not backend._containers[status.id].commands


async def test_who_asked_goes_and_the_command_with_its_children_ends() -> None:
    async with container() as (one, status):
        streams = await execute(one, status, "sleep 600 & echo $!; wait")
        child = int(await line_of(streams))
        streams.close()
        await until(lambda: gone(child))


async def test_a_terminal_is_hung_up_and_then_killed() -> None:
    async with container() as (one, status):
        polite = await execute(one, status, "echo $$; sleep 600", tty=True)
        deaf = await execute(one, status, "trap '' HUP; echo $$; while :; do sleep 0.05; done", tty=True)
        pids = [int(await line_of(streams)) for streams in (polite, deaf)]
        polite.close()
        deaf.close()
        await until(lambda: all(gone(pid) for pid in pids))


async def test_a_command_ends_with_its_container_and_so_does_what_one_left_behind() -> None:
    async with container() as (one, status):
        left = await execute(one, status, "sleep 600 >/dev/null 2>&1 & echo $!")
        child = int((await output(left))[0])
        assert not gone(child)
        running = await execute(one, status, "echo up; sleep 600")
        assert await line_of(running) == "up\n"
        await one.runtime.ask(m.StopContainer(status.id, 0))
        assert (await output(running))[2] == 137
        await until(lambda: gone(child))


async def test_a_child_that_keeps_the_output_open_is_not_waited_for() -> None:
    async with container() as (one, status):
        assert (await output(await execute(one, status, "echo out; sleep 600 &")))[::2] == ("out\n", 0)


async def test_a_runtime_that_crashes_takes_commands_along() -> None:
    async with container() as (one, status):
        streams = await execute(one, status, "echo $$; sleep 600")
        pid = int(await line_of(streams))
        one.system.crash("container-runtime/node-1")
        await until(lambda: gone(pid))
        assert (await output(streams))[2] == 137


async def test_a_terminal_has_a_size_a_name_and_one_output() -> None:
    async with container() as (one, status):
        streams = await execute(
            one, status, "read x; stty size; echo $TERM $x; echo e >&2; exit 3", stdin=True, tty=True
        )
        assert streams.stdin is not None and streams.stderr is None
        streams.resize(90, 25)
        await streams.stdin.write(b"word\n")
        out, _, code = await output(streams)
        assert out.splitlines() == ["word", "25 90", "xterm word", "e"] and code == 3


async def test_control_c_and_the_end_of_input_reach_a_terminals_programs() -> None:
    async with container() as (one, status):
        interrupted = await execute(one, status, "exec cat", stdin=True, tty=True)
        assert interrupted.stdin is not None
        await interrupted.stdin.write(b"up\n")
        heard = ""
        while heard.count("up\r\n") < 2:  # the terminal's echo, and cat's: a shell would lose an early Ctrl-C
            heard += await line_of(interrupted)
        await interrupted.stdin.write(b"\x03")
        assert (await output(interrupted))[2] == 130
        ended = await execute(one, status, "cat", stdin=True, tty=True)
        assert ended.stdin is not None
        ended.stdin.end()
        assert (await output(ended))[2] == 0


async def test_attached_streams_follow_from_now_on_and_end_with_the_container() -> None:
    async with container("read x; echo got $x; exit 2", stdin=True) as (one, status):
        first: Streams = await one.runtime.ask(m.Attach(status.id))
        second: Streams = await one.runtime.ask(m.Attach(status.id, stdin=True))
        assert second.stdin is not None and first.stdin is None
        await second.stdin.write(b"word\n")
        assert await output(first) == await output(second) == ("got word\n", "", 2)
        assert await one.log(status.id) == "got word\n"


async def test_a_container_goes_on_when_who_was_attached_has_gone() -> None:
    async with container("while read x; do echo got $x; done", stdin=True) as (one, status):
        first: Streams = await one.runtime.ask(m.Attach(status.id, stdin=True))
        first.close()
        second: Streams = await one.runtime.ask(m.Attach(status.id, stdin=True))
        assert second.stdin is not None
        await second.stdin.write(b"more\n")
        assert await line_of(second) == "got more\n"


async def test_stdin_once_closes_the_input_after_the_first() -> None:
    async with container("cat; echo over", stdin=True, stdin_once=True) as (one, status):
        first: Streams = await one.runtime.ask(m.Attach(status.id, stdin=True))
        assert first.stdin is not None
        await first.stdin.write(b"text\n")
        first.stdin.end()
        assert (await output(first))[0] == "text\nover\n"


async def test_a_container_waits_for_a_slow_reader_until_that_one_leaves() -> None:
    async with container("read x; head -c 3000000 /dev/zero; echo done", stdin=True) as (one, status):
        slow: Streams = await one.runtime.ask(m.Attach(status.id, stdin=True))
        assert slow.stdin is not None and slow.stdout is not None
        await slow.stdin.write(b"go\n")
        await until(lambda: slow.stdout.full)  # type: ignore[union-attr]
        assert (await one.status(status.id)).state == m.CONTAINER_RUNNING
        slow.close()
        assert (await one.ended(status.id)).exit_code == 0


async def test_a_containers_terminal_can_be_attached_to() -> None:
    async with container("read x; stty size; exit 6", stdin=True, tty=True) as (one, status):
        streams: Streams = await one.runtime.ask(m.Attach(status.id, stdin=True))
        assert streams.stdin is not None and streams.stderr is None
        streams.resize(70, 20)
        await streams.stdin.write(b"\n")
        out, _, code = await output(streams)
        assert "20 70" in out and code == 6
        assert "20 70" in await one.log(status.id)


@pytest.fixture
def block() -> Iterator[LoopbackBlock]:
    taken = LoopbackBlock()
    yield taken
    taken.close()


async def test_a_forwarded_port_is_tcp_to_the_pods_address(block: LoopbackBlock) -> None:
    async with node(ProcessBackend(pod_cidr=block.pod_cidr(1))) as one:
        sandbox = await one.sandbox()
        with socket.create_server((sandbox.ip, 0)) as listener:
            port = listener.getsockname()[1]
            streams: Streams = await one.runtime.ask(m.PortForward(sandbox.id, port))
            loop = asyncio.get_running_loop()
            listener.setblocking(False)
            accepted, _ = await loop.sock_accept(listener)
            with accepted:
                assert streams.stdin is not None and streams.stdout is not None
                await streams.stdin.write(b"ask")
                assert await loop.sock_recv(accepted, 10) == b"ask"
                streams.stdin.end()
                assert await loop.sock_recv(accepted, 10) == b""
                await loop.sock_sendall(accepted, b"answer")
                assert await streams.stdout.read() == b"answer"
            assert await streams.stdout.read() == b"" and await streams.wait() == 0
        with pytest.raises(m.RuntimeServiceError, match=f"dial tcp {sandbox.ip}:{port}: connect: connection refused"):
            await one.runtime.ask(m.PortForward(sandbox.id, port))
