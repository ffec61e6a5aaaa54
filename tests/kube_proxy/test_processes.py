"""Two nodes of real processes: each web pod reaches the database on its own node, through its environment."""

import asyncio
import sys
from contextlib import suppress
from typing import Any

import pytest
from msgspec.structs import replace

from kubeloop.actors.api.core_v1 import Container, EnvVar, Probe, Service, ServicePort, ServiceSpec, TCPSocketAction
from kubeloop.actors.api.discovery_v1 import EndpointSlice
from kubeloop.actors.api.meta_v1 import ObjectMeta
from kubeloop.actors.container_runtime import messages as cri
from kubeloop.actors.kube_proxy.messages import ServiceAddresses
from kubeloop.actors.kubelet.messages import ExecInPod, OpenLog
from tests.kube_proxy.test_proxy import endpoint, slice_of
from tests.kubelet.harness import World, container, world

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="pods of their own address need all of 127.0.0.0/8")

DATABASE = """
import os, socket
server = socket.create_server((os.environ["POD_IP"], 80 + 8000))
while True:
    connection, _ = server.accept()
    connection.sendall(os.environ["NODE"].encode())
    connection.close()
"""
ASK = """
import os, socket
with socket.create_connection((os.environ["DB_SERVICE_HOST"], int(os.environ["DB_SERVICE_PORT"])), 5) as connection:
    print(connection.recv(100).decode())
"""


def database(node: str) -> Container:
    probe = Probe(tcp_socket=TCPSocketAction(port=8080), period_seconds=1)
    env = [EnvVar(name="NODE", value=node)]
    return Container(name="db", image="db", command=["python", "-c", DATABASE], env=env, readiness_probe=probe)


async def asked(one: World, pod: str, node: str) -> str:
    result: cri.ExecResult = await one.ask(f"kubelet/{node}", ExecInPod("default", pod, "app", ["python", "-c", ASK]))
    return (result.stdout or result.stderr).decode().strip()


async def until_asked(one: World, pod: str, node: str, expected: str) -> None:
    async with asyncio.timeout(20):
        while await asked(one, pod, node) != expected:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def prepare(one: World) -> EndpointSlice:
    spec = ServiceSpec(cluster_ip="10.96.0.99", ports=[ServicePort(port=80)], selector={"app": "db"})
    await one.client.create(Service(metadata=ObjectMeta(name="db", namespace="default"), spec=spec))
    endpoints: list[Any] = []
    for node in ("node-1", "node-2"):
        await one.run(f"db-{node}", node, containers=[database(node)])
        await one.run(f"web-{node}", node, containers=[Container(name="app", image="web", command=["sleep", "600"])])
    for node in ("node-1", "node-2"):
        endpoints.append(endpoint(await one.running(f"db-{node}")))
        await one.running(f"web-{node}")
    return await slice_of(one, *endpoints, port=8080)


async def test_each_web_pod_reaches_the_database_of_its_node_and_the_other_one_while_that_is_gone() -> None:
    async with world(2, process=True) as one:
        written = await prepare(one)
        await until_asked(one, "web-node-1", "node-1", "node-1")
        await until_asked(one, "web-node-2", "node-2", "node-2")
        pid = (await one.ask("container-runtime/node-1", cri.ListContainers()))[0].pid
        assert pid > 0
        gone = await one.client.update(replace(written, endpoints=written.endpoints[1:]))
        await until_asked(one, "web-node-1", "node-1", "node-2")
        await one.client.update(replace(gone, endpoints=written.endpoints))
        await until_asked(one, "web-node-1", "node-1", "node-1")


async def test_a_restarted_proxy_listens_where_processes_were_told_and_at_the_node_port() -> None:
    async with world(2, process=True) as one:
        await prepare(one)
        await until_asked(one, "web-node-1", "node-1", "node-1")
        before = await one.ask("kube-proxy/node-1", ServiceAddresses())
        one.system.crash("kube-proxy/node-1")
        await one.run("late", containers=[Container(name="app", image="web", command=["sleep", "600"])])
        await one.running("late")
        await until_asked(one, "late", "node-1", "node-1")
        await until_asked(one, "web-node-1", "node-1", "node-1")
        assert await one.ask("kube-proxy/node-1", ServiceAddresses()) == before
        service = await one.client.get("services", "db", "default")
        spec = replace(service.spec, type="NodePort", ports=[ServicePort(port=80, node_port=31234)])
        await one.client.update(replace(service, spec=spec))
        async with asyncio.timeout(10):
            while True:
                with suppress(OSError):
                    reader, writer = await asyncio.open_connection("127.0.0.1", 31234)
                    assert (await reader.read()) in (b"node-1", b"node-2")
                    writer.close()
                    break
                await asyncio.sleep(0.01)


async def test_without_an_endpoint_the_service_refuses() -> None:
    async with world(2, process=True) as one:
        written = await prepare(one)
        await until_asked(one, "web-node-1", "node-1", "node-1")
        await one.client.update(replace(written, endpoints=()))
        assert "ConnectionRefusedError" in await asked(one, "web-node-1", "node-1")
        [(host, port)] = [
            address
            for key, address in (await one.ask("kube-proxy/node-1", ServiceAddresses())).items()
            if key[1] == "db"
        ]
        assert host.startswith("127.") and port in (80, 10080)


async def test_a_process_that_ends_is_restarted_and_its_log_kept() -> None:
    async with world(process=True) as one:
        command = ["sh", "-c", "echo attempt; exit 3"]
        await one.run(containers=[Container(name="app", image="x", command=command)])
        pod = await one.until(lambda pod: container(pod).restart_count == 1)
        assert container(pod).last_state.terminated.exit_code == 3
        stream = await one.ask("kubelet/node-1", OpenLog("default", "web", "app", previous=True))
        assert b"".join([chunk async for chunk in stream]) == b"attempt\n"


async def test_what_cannot_run_says_why() -> None:
    async with world(process=True) as one:
        await one.run("image", containers=[Container(name="app", image="nginx")])
        await one.run("missing", containers=[Container(name="app", image="x", command=["no-such-program"])])
        pod = await one.until(
            lambda pod: container(pod).state.waiting is not None and container(pod).state.waiting.message, "image"
        )
        assert container(pod).state.waiting.reason == "CreateContainerError"
        assert "`command` is required" in container(pod).state.waiting.message
        pod = await one.until(lambda pod: container(pod).last_state is not None, "missing")
        ended = container(pod).last_state.terminated
        assert (ended.exit_code, ended.reason) == (128, "StartError")
        assert ended.message == 'exec: "no-such-program": executable file not found in $PATH'


async def test_deleting_a_pod_ends_its_process() -> None:
    async with world(process=True) as one:
        await one.run(containers=[Container(name="app", image="x", command=["sleep", "600"])])
        await one.running()
        await one.client.delete("pods", "web", "default")
        await one.until(lambda pod: pod is None)
        async with asyncio.timeout(10):
            while await one.ask("container-runtime/node-1", cri.ListContainers()):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
