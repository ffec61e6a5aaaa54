"""kubectl exec, attach, cp, port-forward and proxy, on pods that are processes."""

import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.clients.conftest import KUBECTL, Kubectl

pytestmark = [
    pytest.mark.kubeloop(nodes=1, runtime="process"),
    pytest.mark.skipif(sys.platform == "win32" or KUBECTL is None, reason="kubectl, sh and terminals"),
]
PORT = 8080
SERVER = f"echo up; exec {sys.executable} -u -m http.server --bind $POD_IP {PORT} 2>&1"
CAT = "while read line; do echo got $line; done"
WAIT_SECONDS = 30


def manifest(name: str, *scripts: str, **more: object) -> str:
    """A pod of one container a script, named a, b, ...; `more` is for each container."""
    containers = [
        {"name": chr(ord("a") + number), "image": "x", "command": ["sh", "-c", script], **more}
        for number, script in enumerate(scripts)
    ]
    spec = {"terminationGracePeriodSeconds": 0, "containers": containers}
    metadata = {"name": name, "labels": {"app": name}}
    return json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})


@pytest.fixture
def run(kubectl: Kubectl) -> Callable[..., None]:
    def start(name: str, *scripts: str, **more: object) -> None:
        kubectl("apply", "-f", "-", stdin=manifest(name, *scripts, **more))
        ready = "--for=jsonpath={.status.containerStatuses[0].ready}=true"  # of the first one
        kubectl("wait", f"pod/{name}", ready, f"--timeout={WAIT_SECONDS}s")

    return start


@contextmanager
def background(environment: dict[str, str], *command: str, **options: object) -> Iterator[subprocess.Popen[bytes]]:
    assert KUBECTL is not None
    process = subprocess.Popen(
        [KUBECTL, *command],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        **options,  # type: ignore[call-overload]
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def says(process: subprocess.Popen[bytes], pattern: str) -> re.Match[bytes]:
    """Reads until the output has it."""
    assert process.stdout is not None
    heard = b""
    while (found := re.search(pattern.encode(), heard)) is None:
        data = os.read(process.stdout.fileno(), 4096)
        assert data, f"it ended: {heard!r}"
        heard += data
    return found


def fetch(url: str) -> str:
    with urllib.request.urlopen(url, timeout=WAIT_SECONDS) as answer:
        return str(answer.read().decode())


def test_exec_has_output_errors_and_exit_codes(kubectl: Kubectl, run: Callable[..., None]) -> None:
    run("web", "sleep 600", env=[{"name": "COLOUR", "value": "green"}])
    assert kubectl("exec", "web", "--", "sh", "-c", "echo $COLOUR; echo bad >&2") == "green\nbad\n"
    assert "exit code 7" in kubectl("exec", "web", "--", "sh", "-c", "exit 7", fails=True)
    assert 'exec: "nope": executable file not found' in kubectl("exec", "web", "--", "nope", fails=True)
    assert kubectl("exec", "-i", "web", "--", "cat", stdin="one\ntwo\n") == "one\ntwo\n"
    megabytes = "x" * 3_000_000
    assert kubectl("exec", "-i", "web", "--", "cat", stdin=megabytes) == megabytes


def test_exec_that_cannot_be_is_refused_in_the_real_words(kubectl: Kubectl, run: Callable[..., None]) -> None:
    run("two", "sleep 600", "exit 0")
    assert 'pods "nobody" not found' in kubectl("exec", "nobody", "--", "true", fails=True)
    assert "container zz is not valid for pod two" in kubectl("exec", "two", "-c", "zz", "--", "true", fails=True)
    assert "Defaulted container" in kubectl("exec", "two", "--", "true")
    said = kubectl("exec", "two", "-c", "b", "--", "true", fails=True)
    assert 'unable to upgrade connection: container not found ("b")' in said
    upgrade = kubectl("get", "--raw", "/api/v1/namespaces/default/pods/two/exec?command=true&container=a", fails=True)
    assert "Upgrade request required" in upgrade
    chosen = kubectl("get", "--raw", "/api/v1/namespaces/default/pods/two/exec?command=true", fails=True)
    assert "a container name must be specified for pod two, choose one of: [a b]" in chosen


def test_spdy_is_refused_with_the_way_out(
    kubectl: Kubectl, run: Callable[..., None], environment: dict[str, str]
) -> None:
    run("web", "sleep 600")
    environment["KUBECTL_REMOTE_COMMAND_WEBSOCKETS"] = "false"
    assert "SPDY is not served, only WebSocket" in kubectl("exec", "web", "--", "true", fails=True)
    assert 'pods "nobody" not found' in kubectl("exec", "nobody", "--", "true", fails=True)


def test_exec_with_a_terminal_has_its_size_and_signals(
    kubectl: Kubectl, run: Callable[..., None], environment: dict[str, str]
) -> None:
    run("web", "sleep 600")
    assert KUBECTL is not None
    command = "echo on $TERM; while :; do stty size; sleep 0.05; done"
    terminal = Terminal([KUBECTL, "exec", "-it", "web", "--", "sh", "-c", command], environment, 100, 30)
    try:
        terminal.expect("on xterm")
        terminal.expect("30 100")
        terminal.resize(120, 40)
        terminal.expect("40 120")
        terminal.type(b"\x03")  # Ctrl-C
        assert terminal.ended() == 130
    finally:
        terminal.close()


class Terminal:
    """A command in a terminal of ours."""

    def __init__(self, command: list[str], environment: dict[str, str], width: int, height: int) -> None:
        self._heard = b""
        self._pid, self._fd = pty.fork()
        if self._pid == 0:
            os.execve(command[0], command, {**environment, "LINES": "", "COLUMNS": ""})
        self.resize(width, height)

    def resize(self, width: int, height: int) -> None:
        import fcntl
        import struct
        import termios

        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    def type(self, data: bytes) -> None:
        os.write(self._fd, data)

    def expect(self, text: str) -> None:
        while text.encode() not in self._heard:
            assert select.select([self._fd], [], [], WAIT_SECONDS)[0], f"never said {text!r}: {self._heard!r}"
            self._heard += os.read(self._fd, 4096)

    def ended(self) -> int:
        _, status = os.waitpid(self._pid, 0)
        self._pid = 0
        return os.waitstatus_to_exitcode(status)

    def close(self) -> None:
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
        os.close(self._fd)


def test_a_command_ends_when_who_asked_for_it_goes(
    run: Callable[..., None], environment: dict[str, str], tmp_path: Path
) -> None:
    run("web", "sleep 600")
    fifo = tmp_path / "alive"
    os.mkfifo(fifo)
    with background(environment, "exec", "web", "--", "sh", "-c", f"exec 9>{fifo}; echo up; sleep 600") as asked:
        with fifo.open("rb") as alive:  # it ends when the last writer has gone
            says(asked, "up")
            asked.kill()
            assert alive.read() == b""


def test_a_command_ends_with_its_pod(kubectl: Kubectl, run: Callable[..., None], environment: dict[str, str]) -> None:
    run("web", "sleep 600")
    with background(environment, "exec", "web", "--", "sh", "-c", "echo up; sleep 600") as asked:
        says(asked, "up")
        kubectl("delete", "pod", "web", "--force", "--grace-period=0")
        says(asked, "command terminated with exit code 137")


def test_attach_follows_and_feeds_a_container(run: Callable[..., None], environment: dict[str, str]) -> None:
    run("echo", CAT, stdin=True)
    with background(environment, "attach", "-i", "echo") as attached:
        assert attached.stdin is not None
        attached.stdin.write(b"one\n")
        attached.stdin.flush()
        says(attached, "got one")


def test_run_interactive_is_attached_and_gone_with_its_end(kubectl: Kubectl) -> None:
    said = kubectl(
        "run", "-i", "--rm", "once", "--image=x", "--restart=Never", "--command", "--", "cat", stdin="hello\n"
    )
    assert "hello" in said and 'pod "once" deleted' in said


def test_cp_brings_files_both_ways(kubectl: Kubectl, run: Callable[..., None], tmp_path: Path) -> None:
    if shutil.which("tar") is None:
        pytest.skip("tar is not installed on this machine")
    run("web", "sleep 600")
    root = kubectl("exec", "web", "--", "pwd").strip()
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "file").write_bytes(bytes(range(256)) * 4096)
    kubectl("cp", str(tmp_path / "here"), f"web:{root}/there")
    kubectl("cp", f"web:{root}/there", str(tmp_path / "back"))
    assert (tmp_path / "back" / "file").read_bytes() == bytes(range(256)) * 4096


def test_port_forward_carries_connections_beside_each_other(
    kubectl: Kubectl, run: Callable[..., None], environment: dict[str, str]
) -> None:
    run("web", SERVER)
    with background(environment, "port-forward", "pod/web", f":{PORT}") as forward:
        port = int(says(forward, r"Forwarding from 127.0.0.1:(\d+)").group(1))
        for _ in range(5):
            assert "Directory listing" in fetch(f"http://127.0.0.1:{port}/")


def test_port_forward_says_what_went_wrong(run: Callable[..., None], environment: dict[str, str]) -> None:
    run("web", "sleep 600")
    with background(environment, "port-forward", "pod/web", ":9") as forward:
        port = int(says(forward, r"Forwarding from 127.0.0.1:(\d+)").group(1))
        with pytest.raises(OSError):
            fetch(f"http://127.0.0.1:{port}/")
        says(forward, "error forwarding port 9 to pod web, .*connection refused")


def test_proxies_lead_to_pods_services_and_kubelets(kubectl: Kubectl, run: Callable[..., None]) -> None:
    run("web", SERVER)
    kubectl("expose", "pod", "web", "--port=80", f"--target-port={PORT}")
    kubectl("wait", "endpoints/web", "--for=jsonpath={.subsets[0].addresses[0].ip}", f"--timeout={WAIT_SECONDS}s")
    base = "/api/v1/namespaces/default"
    for path in (f"pods/web:{PORT}", f"pods/http:web:{PORT}", "services/web", "services/web:80"):
        assert "Directory listing" in kubectl("get", "--raw", f"{base}/{path}/proxy/")
    assert "no service port 81 found" in kubectl("get", "--raw", f"{base}/services/web:81/proxy/", fails=True)
    refused = kubectl("get", "--raw", f"{base}/pods/web:9/proxy/", fails=True)
    assert re.search(r"error trying to reach service: dial tcp [\d.]+:9: connect: connection refused", refused)
    assert kubectl("get", "--raw", "/api/v1/nodes/node-1/proxy/healthz") == "ok"
    pods = json.loads(kubectl("get", "--raw", "/api/v1/nodes/node-1/proxy/pods"))
    assert [pod["metadata"]["name"] for pod in pods["items"]] == ["web"]


def test_kubectl_proxy_passes_it_all_on(
    kubectl: Kubectl, run: Callable[..., None], environment: dict[str, str]
) -> None:
    run("web", SERVER)
    with background(environment, "proxy", "--port=0") as proxy:
        port = int(says(proxy, r"Starting to serve on 127.0.0.1:(\d+)").group(1))
        path = f"/api/v1/namespaces/default/pods/web:{PORT}/proxy"
        page = fetch(f"http://127.0.0.1:{port}{path}")  # led to the path with a slash at its end
        assert "Directory listing" in page
