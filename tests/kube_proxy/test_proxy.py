"""The proxy on simulated nodes, in virtual time, on the real API server. Endpoint slices are written by hand."""

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from kubeloop.actors.api.core_v1 import Container, ObjectReference, Pod, Service, ServicePort, ServiceSpec
from kubeloop.actors.api.discovery_v1 import Endpoint, EndpointConditions, EndpointPort, EndpointSlice
from kubeloop.actors.api.meta_v1 import ObjectMeta
from kubeloop.actors.container_runtime.sim import SimContext
from kubeloop.actors.kube_proxy.messages import Connect, ConnectError, Connection, ServiceAddresses
from kubeloop.runtime.simulation import simulate
from tests.kubelet.harness import World, world


def db(context: SimContext) -> Any:
    return lambda port, payload: f"{context.pod.name} got {payload} at {port}"


async def service(one: World, **spec: Any) -> Service:
    chosen: dict[str, Any] = {
        "cluster_ip": "10.96.0.99",
        "ports": [ServicePort(port=5432)],
        "selector": {"app": "db"},
        **spec,
    }
    created: Service = await one.client.create(
        Service(metadata=ObjectMeta(name="db", namespace="default"), spec=ServiceSpec(**chosen))
    )
    return created


def endpoint(pod: Pod, *, ready: bool = True) -> Endpoint:
    assert pod.status is not None and pod.spec is not None
    return Endpoint(
        addresses=[pod.status.pod_ip or ""],
        node_name=pod.spec.node_name,
        conditions=EndpointConditions(ready=ready, serving=ready, terminating=not ready),
        target_ref=ObjectReference(kind="Pod", namespace="default", name=pod.metadata.name),
    )


async def slice_of(one: World, *endpoints: Endpoint, port: int = 5432) -> EndpointSlice:
    meta = ObjectMeta(name="db-1", namespace="default", labels={"kubernetes.io/service-name": "db"})
    made: EndpointSlice = await one.client.create(
        EndpointSlice(metadata=meta, address_type="IPv4", endpoints=list(endpoints), ports=[EndpointPort(port=port)])
    )
    return made


async def two_databases(one: World) -> tuple[Pod, Pod]:
    for number in (1, 2):
        await one.run(f"db-{number}", f"node-{number}", containers=[Container(name="db", image="db")])
    return await one.running("db-1"), await one.running("db-2")


async def connect(one: World, node: str, host: str = "db", port: int = 5432, **more: Any) -> Connection:
    answer: Connection = await one.ask(f"kube-proxy/{node}", Connect(host, port, **more))
    return answer


def test_a_connection_goes_to_the_database_on_its_own_node_and_to_the_other_when_that_one_is_gone() -> None:
    async def main() -> None:
        async with world(2, behaviors={"db": db}) as one:
            await service(one)
            first, second = await two_databases(one)
            written = await slice_of(one, endpoint(first), endpoint(second))
            for node in ("node-1", "node-2"):
                answer = await connect(one, node, payload="hello")
                assert (answer.node_name, answer.service) == (node, "default/db")
                assert answer.answer == f"db-{node[-1]} got hello at 5432"
            await one.client.update(replace(written, endpoints=[endpoint(first, ready=False), endpoint(second)]))
            assert (await connect(one, "node-1")).pod == "default/db-2"
            assert (await connect(one, "node-1", "10.96.0.99")).node_name == "node-2"

    simulate(main(), seed=1)


def test_an_endpoint_that_died_a_moment_ago_is_passed_over() -> None:
    async def main() -> None:
        async with world(2, behaviors={"db": db}) as one:
            await service(one)
            first, second = await two_databases(one)
            await slice_of(one, endpoint(first), endpoint(second))
            await one.client.delete("pods", "db-1", "default", grace_period_seconds=0)
            await asyncio.sleep(2)
            assert (await connect(one, "node-1")).node_name == "node-2"
            one.system.network.partition("node-1", "node-2")
            with pytest.raises(ConnectError, match=r"dial tcp 10\.96\.0\.99:5432: connect: connection refused"):
                await connect(one, "node-1")

    simulate(main(), seed=1)


def test_names_that_mean_nothing_and_ports_without_a_service_are_refused() -> None:
    async def main() -> None:
        async with world() as one:
            await service(one)
            with pytest.raises(ConnectError, match="lookup nobody: no such host"):
                await connect(one, "node-1", "nobody")
            with pytest.raises(ConnectError, match="connection refused"):
                await connect(one, "node-1", port=80)
            with pytest.raises(ConnectError, match="connection refused"):
                await connect(one, "node-1")
            assert await one.ask("kube-proxy/node-1", ServiceAddresses()) == {}

    simulate(main(), seed=1)


def test_a_headless_service_means_its_pods() -> None:
    async def main() -> None:
        async with world(2, behaviors={"db": db}) as one:
            await service(one, cluster_ip="None")
            first, _ = await two_databases(one)
            await slice_of(one, endpoint(first))
            answer = await connect(one, "node-2", "db.default.svc.cluster.local")
            assert first.status is not None
            assert (answer.address, answer.pod) == (first.status.pod_ip, "default/db-1")

    simulate(main(), seed=1)


def test_a_client_with_affinity_comes_back_to_its_endpoint_until_it_stayed_away_too_long() -> None:
    async def main() -> None:
        async with world(3, behaviors={"db": db}) as one:
            from kubeloop.actors.api.core_v1 import ClientIPConfig, SessionAffinityConfig

            config = SessionAffinityConfig(client_ip=ClientIPConfig(timeout_seconds=60))
            await service(one, session_affinity="ClientIP", session_affinity_config=config)
            await slice_of(one, *[endpoint(pod) for pod in await two_databases(one)])
            first = await connect(one, "node-3", source_ip="10.244.3.9")
            for _ in range(5):
                assert (await connect(one, "node-3", source_ip="10.244.3.9")).address == first.address
            others = {(await connect(one, "node-3", source_ip=f"10.244.3.{n}")).address for n in range(20, 24)}
            assert len(others) == 2
            await asyncio.sleep(61)
            again = {(await connect(one, "node-3", source_ip="10.244.3.9")).address}
            assert len(again) == 1

    simulate(main(), seed=1)


def test_a_crashed_proxy_knows_everything_again() -> None:
    async def main() -> None:
        async with world(2, behaviors={"db": db}) as one:
            await service(one)
            first, second = await two_databases(one)
            await slice_of(one, endpoint(first), endpoint(second))
            one.system.crash("kube-proxy/node-1")
            await asyncio.sleep(5)
            assert (await connect(one, "node-1")).node_name == "node-1"

    simulate(main(), seed=1)
