"""The command line, as a user's shell sees it."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
import yaml
from aetcd.rpc import rpc_pb2, rpc_pb2_grpc  # type: ignore[import-untyped]

from kubeloop import Client
from tests.client.harness import config_map
from tests.etcd.real_etcd import free_port, open_channel

COMMAND = [sys.executable, "-m", "kubeloop"]
STOP_TIMEOUT_SECONDS = 30
T = TypeVar("T")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=60)


class Up:
    """A running `kubeloop up`."""

    def __init__(self, *arguments: str) -> None:
        command = [*COMMAND, "up", "--port", "0", *arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.line = self.process.stdout.readline()

    def stop(self, number: int = signal.SIGINT) -> tuple[int, str]:
        self.process.send_signal(number)
        _, said = self.process.communicate(timeout=STOP_TIMEOUT_SECONDS)
        return self.process.returncode, said


@pytest.fixture
def kubeconfig_path(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "kubeconfig"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_up_says_ready_and_ends_cleanly_when_interrupted(kubeconfig_path: Path, number: int) -> None:
    up = Up("--nodes", "2", "--kubeconfig", str(kubeconfig_path))
    assert up.line.startswith("ready")
    assert str(kubeconfig_path) in up.line
    config = yaml.safe_load(kubeconfig_path.read_text())
    assert config["clusters"][0]["cluster"]["server"] in up.line
    assert up.stop(number) == (0, "")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no file modes")
def test_the_kubeconfig_is_readable_by_its_owner_only(kubeconfig_path: Path) -> None:
    up = Up("--nodes", "0", "--kubeconfig", str(kubeconfig_path))
    assert kubeconfig_path.stat().st_mode & 0o077 == 0
    assert up.stop()[0] == 0


def test_up_leaves_out_what_it_is_told_to(kubeconfig_path: Path) -> None:
    options = ("--nodes", "0", "--without", "scheduler", "--controllers", "*,-deployment")
    up = Up(*options, "--kubeconfig", str(kubeconfig_path))
    assert up.line.startswith("ready")
    assert up.stop()[0] == 0


def test_a_taken_port_is_an_error_that_names_it(kubeconfig_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = run("up", "--port", port, "--kubeconfig", str(kubeconfig_path))
    assert done.returncode == 1
    assert done.stderr.startswith("error: ") and port in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--without", "nonsense"], "unknown process 'nonsense'"),
        (["--runtime", "docker"], "runtime 'docker'"),
        (["--controllers", "nonsense"], "nonsense"),
        (["--nodes", "-1"], "nodes"),
        (["--log-level", "nonsense"], "log level 'nonsense'"),
        (["--kubeconfig", f"{__file__}/kubeconfig"], "cannot write"),
        (["--data-dir", __file__], "is no folder"),
        (["--data-dir", ""], "data_dir is empty"),
        (["--quota-backend-bytes", "1000000"], "it needs data_dir"),
        (["--etcd", "ftp://127.0.0.1:2379"], "written as http://host:2379"),
        (["--etcd-cafile", "ca.crt"], "give --etcd URL"),
        (["--etcd", "https://127.0.0.1:1", "--etcd-certfile", "a"], "both cert_file and key_file"),
        (["--etcd", "https://127.0.0.1:1", "--etcd-cafile", "/no/such/file"], "/no/such/file: No such file"),
        (["--etcd", "http://127.0.0.1:1", "--listen-client-url", "http://127.0.0.1:0"], "not beside --etcd"),
        (["--listen-client-url", "http://127.0.0.1"], "host:port"),
        (["--listen-client-url", "https://127.0.0.1:0"], "needs cert_file and key_file"),
    ],
)
def test_wrong_options_are_refused_in_one_line(arguments: list[str], said: str, kubeconfig_path: Path) -> None:
    done = run("up", "--port", "0", "--kubeconfig", str(kubeconfig_path), *arguments)
    assert done.returncode != 0
    assert said in done.stderr and "Traceback" not in done.stderr


@pytest.mark.skipif(os.name == "nt", reason="Windows ends processes in its own way")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_data_dir_is_taken_up_again_however_the_process_ended(tmp_path: Path, number: int) -> None:
    config, data_dir = tmp_path / "kubeconfig", tmp_path / "data"
    options = ("--nodes", "1", "--kubeconfig", str(config), "--data-dir", str(data_dir))
    up = Up(*options)
    assert up.line.startswith("ready"), up.process.communicate()
    written = asyncio.run(over(config, lambda client: client.create(config_map("a", v="1"))))
    up.stop(number)
    up = Up(*options)
    assert up.line.startswith("ready"), up.process.communicate()
    refused = run("up", "--port", "0", "--kubeconfig", str(tmp_path / "other"), "--data-dir", str(data_dir))
    assert refused.returncode == 1 and "is in use by another" in refused.stderr
    assert asyncio.run(over(config, lambda client: client.get("configmaps", "a"))) == written
    assert up.stop() == (0, "")


async def over(config: Path, ask: Callable[[Client], Awaitable[T]]) -> T:
    async with await Client.from_kubeconfig(config) as client:
        return await ask(client)


def test_up_serves_etcds_own_wire(kubeconfig_path: Path) -> None:
    up = Up("--nodes", "0", "--kubeconfig", str(kubeconfig_path), "--listen-client-url", "http://127.0.0.1:0")
    target = up.line.partition("etcd at http://")[2].partition(";")[0]
    with open_channel(target) as channel:
        found = rpc_pb2_grpc.KVStub(channel).Range(rpc_pb2.RangeRequest(key=b"/registry/namespaces/default"))
    assert found.count == 1
    assert up.stop() == (0, "")


def test_an_etcd_that_is_not_there_is_named(kubeconfig_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    done = run("up", "--port", "0", "--kubeconfig", str(kubeconfig_path), "--etcd", url)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: etcd at {url} does not answer") and "Traceback" not in done.stderr


def test_version_tells_both_versions() -> None:
    done = run("version")
    assert done.returncode == 0
    assert done.stdout.startswith("kubeloop 0.") and "Kubernetes v1.36" in done.stdout


def test_a_command_that_does_not_exist_is_refused() -> None:
    assert run("nonsense").returncode == 2
