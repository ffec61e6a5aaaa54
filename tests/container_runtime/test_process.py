import asyncio
import os
import signal
import socket
import sys
from functools import partial
from pathlib import Path

import pytest
from msgspec.structs import replace

from kubeloop.actors.container_runtime import messages as m
from kubeloop.actors.container_runtime.loopback import LoopbackBlock
from kubeloop.actors.container_runtime.process import ProcessBackend
from kubeloop.runtime.simulation import simulate
from tests.container_runtime.harness import POD, node, until

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and sh")


def shell(script: str, **more: object) -> m.ContainerConfig:
    return m.ContainerConfig("app", "label:1", command=["sh", "-c", script], **more)  # type: ignore[arg-type]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"


def open_files() -> int:
    """How many descriptors this process has; 0 where nobody says."""
    listing = Path("/proc/self/fd")
    return len(list(listing.iterdir())) if listing.exists() else 0


async def test_a_command_runs_with_its_environment_and_its_output_is_kept() -> None:
    async with node(ProcessBackend()) as one:
        sandbox = await one.sandbox()
        status = await one.start(
            sandbox, shell("echo $GREETING $POD_IP; echo oops >&2; exit 3", envs={"GREETING": "hello"})
        )
        ended = await one.ended(status.id)
        assert (ended.exit_code, ended.reason, ended.signal) == (3, "Error", 0)
        assert sorted((await one.log(status.id)).splitlines()) == [f"hello {sandbox.ip}", "oops"]
        assert [type(message) for message in one.heard] == [m.RuntimeReady, m.ContainerEvent]


async def test_a_container_without_a_command_is_refused_with_the_reason() -> None:
    async with node(ProcessBackend()) as one:
        with pytest.raises(m.RuntimeServiceError, match="runs no images, 'nginx' is only a label"):
            await one.start(await one.sandbox(), m.ContainerConfig("web", "nginx"))


async def test_a_program_that_is_not_there_cannot_be_run() -> None:
    async with node(ProcessBackend()) as one:
        with pytest.raises(m.RuntimeServiceError, match='exec: "no-such": executable file not found') as caught:
            await one.start(await one.sandbox(), m.ContainerConfig("web", "x", command=["no-such"]))
        assert caught.value.reason == "RunContainerError"


async def test_a_stop_is_sigterm_and_then_sigkill_to_the_whole_group() -> None:
    async with node(ProcessBackend()) as one:
        sandbox = await one.sandbox()
        polite = await one.start(sandbox, shell("trap 'exit 5' TERM; echo up; while :; do sleep 0.01; done"))
        deaf = await one.start(sandbox, shell("trap '' TERM; sleep 600 & echo $!; while :; do sleep 0.01; done"))
        await until(lambda: one.log(polite.id))
        await until(lambda: one.log(deaf.id))
        grandchild = int(await one.log(deaf.id))
        await asyncio.gather(
            one.runtime.ask(m.StopContainer(polite.id, 30)), one.runtime.ask(m.StopContainer(deaf.id, 0.1))
        )
        assert (await one.status(polite.id)).exit_code == 5
        killed = await one.status(deaf.id)
        assert (killed.exit_code, killed.signal) == (137, signal.SIGKILL)
        await until(lambda: not alive(grandchild))


async def test_nothing_is_left_when_the_runtime_crashes() -> None:
    async with node(ProcessBackend()) as one:
        status = await one.start(await one.sandbox(), shell("sleep 600 & echo $!; wait"))
        await until(lambda: one.log(status.id))
        grandchild = int(await one.log(status.id))
        volumes = Path((await one.runtime.ask(m.Status())).volumes_dir)
        one.system.crash("container-runtime/node-1")
        await until(lambda: not alive(status.pid) and not alive(grandchild))
        assert not volumes.parent.exists()  # noqa: ASYNC240


async def test_nothing_is_left_when_the_cluster_ends() -> None:
    files_before = open_files()
    async with node(ProcessBackend()) as one:
        status = await one.start(await one.sandbox(), shell("sleep 600"))
    assert not alive(status.pid)
    await asyncio.sleep(0)
    assert open_files() <= files_before + 1  # + the child watcher's own, made once


async def test_volumes_are_found_below_the_containers_root(tmp_path: Path) -> None:
    (tmp_path / "rows").write_text("42")
    async with node(ProcessBackend()) as one:
        config = shell(
            'cat data/db/rows; echo; cat "$0"; echo; echo $PLACE',
            args=["$(KUBELOOP_ROOT)/data/db/rows"],
            envs={"PLACE": "$(KUBELOOP_ROOT)"},
            mounts=[m.Mount("/data/db", str(tmp_path))],
        )
        status = await one.start(await one.sandbox(), config)
        first, second, place = (await one.log(status.id, follow=True)).split()
        assert (first, second) == ("42", "42")
        await one.runtime.ask(m.RemoveContainer(status.id))
        assert not Path(place).exists()  # noqa: ASYNC240
        assert (tmp_path / "rows").exists()


async def test_a_working_directory_is_in_a_volume_or_on_the_host(tmp_path: Path) -> None:
    async with node(ProcessBackend()) as one:
        sandbox = await one.sandbox()
        mounted = shell("touch here", working_dir="/data", mounts=[m.Mount("/data", str(tmp_path))])
        await one.ended((await one.start(sandbox, mounted)).id)
        assert (tmp_path / "here").exists()
        on_host = await one.start(sandbox, shell("pwd", working_dir=str(tmp_path)))
        assert (await one.log(on_host.id, follow=True)).strip() == str(tmp_path)
        with pytest.raises(m.RuntimeServiceError, match="no such directory"):
            await one.start(sandbox, shell("true", working_dir="/no/such/place"))


async def test_a_termination_message_comes_from_its_file_or_from_the_log() -> None:
    async with node(ProcessBackend()) as one:
        sandbox = await one.sandbox()
        options = {"termination_message_path": "/dev/termination-log", "termination_message_from_log": True}
        wrote = await one.start(sandbox, shell("echo noise; printf bye > dev/termination-log; exit 1", **options))
        assert (await one.ended(wrote.id)).message == "bye"
        silent = await one.start(sandbox, shell("echo noise; sleep 0.05; exit 1", **options))
        assert (await one.ended(silent.id)).message == "noise\n"
        fine = await one.start(sandbox, shell("echo noise", **options))
        assert (await one.ended(fine.id)).message == ""


async def test_commands_run_beside_the_container() -> None:
    async with node(ProcessBackend()) as one:
        status = await one.start(await one.sandbox(), shell("sleep 600", envs={"NAME": "inside"}))

        async def run(*command: str, timeout_seconds: float = 0.0, stdin: bytes = b"") -> m.ExecResult:
            result: m.ExecResult = await one.runtime.ask(m.ExecSync(status.id, command, timeout_seconds, stdin))
            return result

        assert await run("sh", "-c", "echo $NAME; cat; exit 4", stdin=b"in") == m.ExecResult(b"inside\nin", b"", 4)
        assert (await run("no-such-program")).exit_code == 127
        with pytest.raises(m.RuntimeServiceError, match="timed out after"):
            await run("sleep", "600", timeout_seconds=0.05)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux answers on all of 127.0.0.0/8")
async def test_two_pods_listen_on_the_same_port() -> None:
    block = LoopbackBlock()
    serve = (
        "import os, socket; s = socket.create_server((os.environ['POD_IP'], 8080)); print('up', flush=True); s.accept()"
    )
    try:
        async with node(ProcessBackend(pod_cidr=block.pod_cidr(1))) as one:
            config = m.ContainerConfig("app", "x", command=["python", "-c", serve])
            sandboxes = [await one.sandbox(replace(POD, uid=str(number))) for number in range(2)]
            statuses = [await one.start(sandbox, config) for sandbox in sandboxes]
            for sandbox, status in zip(sandboxes, statuses, strict=True):
                await until(partial(one.log, status.id))
                socket.create_connection((sandbox.ip, 8080)).close()
    finally:
        block.close()


def test_processes_need_real_time() -> None:
    async def main() -> None:
        async with node(ProcessBackend()):
            pass

    with pytest.raises(ValueError, match="needs real time"):
        simulate(main(), seed=1)


def test_clusters_on_one_machine_reserve_different_blocks() -> None:
    first, second = LoopbackBlock(), LoopbackBlock()
    try:
        assert sys.platform != "linux" or first.pod_cidr(1) != second.pod_cidr(1)
    finally:
        first.close()
        second.close()


KILLED = """
import asyncio
from kubeloop import Cluster

POD = '''
apiVersion: v1
kind: Pod
metadata: {name: sleeper}
spec:
  containers:
  - {name: sleeper, image: none, command: [sh, -c, "sleep 1000 & echo $$$$ $KUBELOOP_ROOT; wait"]}
'''

async def main():
    async with Cluster(nodes=1, runtime="process") as cluster:
        await cluster.apply(POD)
        await cluster.wait("pod/sleeper", "Ready")
        async for chunk in await cluster.client.logs("sleeper", "default", follow=True):
            print(chunk.decode(), end="", flush=True)

asyncio.run(main())
"""


async def test_containers_end_with_kubeloop_also_when_it_is_killed() -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", KILLED, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    pid, _, root = (await process.stdout.readline()).decode().strip().partition(" ")
    assert alive(int(pid)) and Path(root).is_dir()  # noqa: ASYNC240
    process.kill()
    await process.wait()
    await until(lambda: not alive(int(pid)) and not Path(root).exists())
