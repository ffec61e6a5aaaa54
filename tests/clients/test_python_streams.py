"""exec, attach, port-forward and proxies by the Python clients: `kubernetes` (v5 and v4 protocols) and kr8s."""

import asyncio
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kubeloop import Cluster
from kubeloop.actors.container_runtime.sim import SimContext
from kubeloop.actors.container_runtime.sim_answers import SimRequest, SimSession

kubernetes = pytest.importorskip("kubernetes")
ApiException = kubernetes.client.ApiException

POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "web"},
    "spec": {"terminationGracePeriodSeconds": 0, "containers": [{"name": "web", "image": "web"}]},
}
PROTOCOLS = ["v4.channel.k8s.io", "v5.channel.k8s.io", "channel.k8s.io"]


def web(context: SimContext) -> None:
    async def talk(session: SimSession) -> int:
        if session.command[0] == "cat":
            while data := await session.read():
                await session.write(data)
            return 0
        await session.write("out é\n")
        await session.error("err\n")
        return int(session.command[-1])

    def answer(request: SimRequest) -> Any:
        return 201, {"X-Path": f"{request.path}?{request.query}", "X-Method": request.method}, request.body

    context.on_session(talk)
    context.on_http(answer)


# the client leaves its sockets to the garbage collector; kr8s warns of servers that are newer than itself
pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore:Kubernetes version:UserWarning"),
]
SIM = pytest.mark.kubeloop(nodes=1, behaviors={"web": web})
PROCESS = pytest.mark.kubeloop(nodes=1, runtime="process")


@pytest.fixture
def core(kubeconfig: Path) -> Iterator[Any]:
    """A CoreV1Api with the pod `web` running."""
    configuration = kubernetes.client.Configuration()
    kubernetes.config.load_kube_config(str(kubeconfig), client_configuration=configuration)
    with kubernetes.client.ApiClient(configuration) as client:
        yield kubernetes.client.CoreV1Api(client)


def start(core: Any, pod: dict[str, Any]) -> None:
    core.create_namespaced_pod("default", pod)
    watch = kubernetes.watch.Watch()
    for event in watch.stream(core.list_namespaced_pod, "default", timeout_seconds=30):
        statuses = event["object"].status.container_statuses or []
        if statuses and all(status.ready for status in statuses):
            watch.stop()


def stream(method: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    given = {"stdout": True, "stderr": True, "stdin": False, "tty": False, **options}
    return kubernetes.stream.stream(method, *arguments, **given)


@pytest.fixture
def protocol(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Makes the client offer this one only."""
    from kubernetes.stream import ws_client

    monkeypatch.setattr(ws_client, "V5_CHANNEL_PROTOCOL", request.param)
    monkeypatch.setattr(ws_client, "V4_CHANNEL_PROTOCOL", request.param)
    return str(request.param)


@SIM
@pytest.mark.parametrize("protocol", PROTOCOLS, indirect=True)
def test_exec_gives_both_outputs_and_the_exit_code(core: Any, protocol: str) -> None:
    start(core, POD)
    assert stream(core.connect_get_namespaced_pod_exec, "web", "default", command=["exit", "0"]) == "out é\nerr\n"
    for code in (0, 3):
        client = stream(
            core.connect_get_namespaced_pod_exec, "web", "default", command=["exit", str(code)], _preload_content=False
        )
        client.run_forever(timeout=10)
        assert (client.read_stdout(), client.read_stderr()) == ("out é\n", "err\n")
        if "v" in protocol:
            assert client.returncode == code
        else:
            assert (client.read_channel(3) != "") is (code != 0)  # a text, not a Status
        client.close()


@SIM
@pytest.mark.parametrize("protocol", PROTOCOLS[:2], indirect=True)
def test_exec_talks_and_ends_when_its_input_is_closed(core: Any, protocol: str) -> None:
    start(core, POD)
    client = stream(
        core.connect_get_namespaced_pod_exec,
        "web",
        "default",
        command=["cat"],
        stdin=True,
        _preload_content=False,
    )
    client.write_stdin("text\n")
    assert client.readline_stdout(timeout=10) == "text"
    client.write_stdin("é\n")
    assert client.readline_stdout(timeout=10) == "é"
    client.close_channel(0)  # v5 only
    if protocol.startswith("v5"):
        client.run_forever(timeout=10)
        assert client.returncode == 0
    client.close()


@SIM
def test_refusals_come_with_the_handshake(core: Any) -> None:
    start(core, POD)
    for name, options, code in (("nobody", {}, "404"), ("web", {"container": "zz"}, "400")):
        with pytest.raises(ApiException, match=f"Handshake status {code}"):
            stream(core.connect_get_namespaced_pod_exec, name, "default", command=["true"], **options)
    with pytest.raises(ApiException) as plain:
        core.connect_get_namespaced_pod_exec("web", "default", command=["true"], stdout=True)
    assert (plain.value.status, "Upgrade request required" in plain.value.body) == (400, True)


@SIM
@pytest.mark.parametrize("protocol", PROTOCOLS[:1], indirect=True)
def test_v4_hears_of_a_kubelets_refusal_in_its_own_words(core: Any, protocol: str) -> None:
    ended = {**POD, "metadata": {"name": "web", "annotations": {"sim.kubeloop.io/start-delay": "1h"}}}
    core.create_namespaced_pod("default", ended)
    for event in kubernetes.watch.Watch().stream(core.list_namespaced_pod, "default", timeout_seconds=30):
        if event["object"].spec.node_name:
            break
    with pytest.raises(ApiException, match="Handshake status 500|Handshake status 404") as refused:
        stream(core.connect_get_namespaced_pod_exec, "web", "default", command=["true"])
    assert 'container not found ("web")' in str(refused.value) or "pod does not exist" in str(refused.value)


@SIM
def test_proxies_pass_methods_paths_and_bodies(core: Any) -> None:
    start(core, POD)
    body, code, headers = core.connect_post_namespaced_pod_proxy_with_path_with_http_info(
        "web:80", "default", path="a/b", path2="a/b", _preload_content=True
    )
    assert (code, headers["X-Path"], headers["X-Method"]) == (201, "/a/b?path=a/b", "POST") and not body


def serving_pod() -> dict[str, Any]:
    script = f"exec {sys.executable} -u -m http.server --bind $POD_IP 8080"
    container = {"name": "web", "image": "x", "command": ["sh", "-c", script]}
    probe = {"tcpSocket": {"port": 8080}, "periodSeconds": 1}
    return {**POD, "spec": {**POD["spec"], "containers": [{**container, "readinessProbe": probe}]}}  # type: ignore[dict-item]


@PROCESS
def test_port_forward_gives_sockets(core: Any) -> None:
    start(core, serving_pod())
    forward = kubernetes.stream.portforward(
        core.connect_get_namespaced_pod_portforward, "web", "default", ports="8080,9"
    )
    connection = forward.socket(8080)
    connection.settimeout(10)
    connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
    answer = b""
    while data := connection.recv(4096):
        answer += data
    connection.close()
    assert b"Directory listing" in answer
    deadline = time.monotonic() + 10
    while not forward.error(9):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert "error forwarding port 9 to pod web" in forward.error(9)


@PROCESS
def test_attach_reads_what_a_container_writes(core: Any) -> None:
    script = "while read line; do echo got $line; done"
    container = {"name": "web", "image": "x", "command": ["sh", "-c", script], "stdin": True}
    start(core, {**POD, "spec": {**POD["spec"], "containers": [container]}})  # type: ignore[dict-item]
    client = stream(core.connect_get_namespaced_pod_attach, "web", "default", stdin=True, _preload_content=False)
    client.write_stdin("one\n")
    assert client.readline_stdout(timeout=10) == "got one"
    client.close()


@PROCESS
async def test_kr8s_executes_and_forwards(cluster: Cluster, tmp_path: Path) -> None:
    kr8s = pytest.importorskip("kr8s.asyncio")
    from kr8s.asyncio.objects import Pod

    path = await cluster.serve()
    api = await kr8s.api(kubeconfig=str(path))
    pod = await Pod(serving_pod(), api=api)
    await pod.create()
    await cluster.wait("pod/web", "Ready")
    await pod.refresh()
    done = await pod.exec(["sh", "-c", "echo out; echo err >&2; exit 3"], check=False)
    assert (done.stdout, done.stderr, done.returncode) == (b"out\n", b"err\n", 3)
    async with pod.portforward(8080, local_port="auto") as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.0\r\n\r\n")
        assert b"Directory listing" in await reader.read()
        writer.close()
