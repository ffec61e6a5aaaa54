import asyncio
import socket

import pytest

from kubeloop.actors.api.core_v1 import (
    Container,
    ContainerPort,
    HTTPGetAction,
    Probe,
    TCPSocketAction,
)
from kubeloop.actors.kubelet.probes import READINESS, Outcome, ProbeState, check_network, port_number

CONTAINER = Container(name="app", ports=[ContainerPort(name="http", container_port=8080)])


def test_thresholds_decide_when_health_changes() -> None:
    state = ProbeState(READINESS, Probe(failure_threshold=3, success_threshold=2))
    results = [True, True, False, False, True, False, False, False, True, True]
    health = []
    for result in results:
        state.observe(result)
        health.append(state.healthy)
    assert health == [None, True, True, True, True, True, True, False, False, True]


def test_ports_may_be_named() -> None:
    assert port_number("http", CONTAINER) == port_number(8080, CONTAINER) == port_number("8080", CONTAINER) == 8080
    with pytest.raises(ValueError, match="couldn't find port: metrics"):
        port_number("metrics", CONTAINER)


FAILED = Outcome(False, "HTTP probe failed with statuscode: 503")


@pytest.mark.parametrize(("code", "outcome"), [(200, Outcome(True)), (302, Outcome(True)), (503, FAILED)])
async def test_http_codes_below_400_are_healthy(code: int, outcome: Outcome) -> None:
    asked: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(f"HTTP/1.1 {code} Whatever\r\n\r\n".encode())
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        probe = Probe(http_get=HTTPGetAction(path="/healthz", port=port))
        assert await check_network(probe, CONTAINER, "127.0.0.1") == outcome
        assert asked[0].startswith(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:")
        assert b"User-Agent: kube-probe/" in asked[0]


async def test_nobody_listening_is_unhealthy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert (await check_network(Probe(tcp_socket=TCPSocketAction(port=port)), CONTAINER, "127.0.0.1")).success
    http = await check_network(Probe(http_get=HTTPGetAction(port=port)), CONTAINER, "127.0.0.1")
    refused = f"dial tcp 127.0.0.1:{port}: connect: connection refused"
    assert http == Outcome(False, f'Get "http://127.0.0.1:{port}/": {refused}')
    tcp = await check_network(Probe(tcp_socket=TCPSocketAction(port=port)), CONTAINER, "127.0.0.1")
    assert tcp == Outcome(False, refused)
