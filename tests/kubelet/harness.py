"""A control plane without controllers and scheduler, and nodes with their three processes, on the real API server."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from kubeloop.actors.api.core_v1 import Container, ContainerState, ContainerStatus, Pod, PodSpec
from kubeloop.actors.api.errors import StatusError, is_not_found
from kubeloop.actors.api.meta_v1 import ObjectMeta
from kubeloop.actors.apiserver.actor import ApiServer
from kubeloop.actors.apiserver.config import ApiServerConfig
from kubeloop.actors.client.client import Client
from kubeloop.actors.container_runtime.actor import ContainerRuntimeActor
from kubeloop.actors.container_runtime.addresses import pod_cidr
from kubeloop.actors.container_runtime.loopback import LoopbackBlock
from kubeloop.actors.container_runtime.process import ProcessBackend
from kubeloop.actors.container_runtime.sim import SimBackend
from kubeloop.actors.etcd.actor import EtcdActor
from kubeloop.actors.etcd.kv import ActorKV
from kubeloop.actors.kube_proxy.actor import KubeProxy
from kubeloop.actors.kubelet.actor import Kubelet
from kubeloop.runtime.system import System

CONTROL_PLANE = "control-plane-0"
SIM = "sim.kubeloop.io/"


class World:
    def __init__(self, system: System, client: Client) -> None:
        self.system = system
        self.client = client

    async def run(
        self, name: str = "web", node: str = "node-1", *, annotations: Mapping[str, str] | None = None, **spec: Any
    ) -> Pod:
        """Create a pod that is bound already."""
        chosen: dict[str, Any] = {"containers": [Container(name="app", image="app:1")], **spec}
        meta = ObjectMeta(name=name, namespace="default", labels={"app": name}, annotations=annotations or {})
        pod: Pod = await self.client.create(Pod(metadata=meta, spec=PodSpec(node_name=node, **chosen)))
        return pod

    async def pod(self, name: str = "web") -> Pod | None:
        try:
            found: Pod = await self.client.get("pods", name, "default")
        except StatusError as error:
            if is_not_found(error):
                return None
            raise
        return found

    async def until(
        self, condition: Callable[[Pod | None], Any], name: str = "web", timeout_seconds: float = 30.0
    ) -> Pod:
        """Looks at the pod until it is so, in the loop's time."""
        async with asyncio.timeout(timeout_seconds):
            while not condition(found := await self.pod(name)):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            return found  # type: ignore[return-value]

    async def until_true(self, condition: Callable[[], Awaitable[bool]], timeout_seconds: float = 30.0) -> None:
        async with asyncio.timeout(timeout_seconds):
            while not await condition():  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    async def running(self, name: str = "web") -> Pod:
        return await self.until(is_ready, name)

    async def events(self) -> list[tuple[str | None, str | None]]:
        found = await self.client.list("events", "default")
        ordered = sorted(found.items, key=lambda event: (event.first_timestamp or "", event.metadata.name or ""))
        return [(event.reason, event.message) for event in ordered]

    async def ask(self, name: str, message: Any) -> Any:
        return await self.system.ref(name, source_host="node-1").ask(message)


def phase(pod: Pod | None) -> str | None:
    return pod.status.phase if pod is not None and pod.status is not None else None


def is_ready(pod: Pod | None) -> bool:
    conditions = pod.status.conditions if pod is not None and pod.status is not None else ()
    return any(condition.type == "Ready" and condition.status == "True" for condition in conditions)


def container(pod: Pod | None, index: int = 0) -> Any:
    """The status of one container, an empty one while there is none."""
    statuses = pod.status.container_statuses if pod is not None and pod.status is not None else ()
    return statuses[index] if len(statuses) > index else ContainerStatus(state=ContainerState())


@asynccontextmanager
async def world(
    nodes: int = 1,
    *,
    behaviors: Mapping[str, Any] | None = None,
    process: bool = False,
    kubelet: Mapping[str, Any] | None = None,
) -> AsyncIterator[World]:
    async with System() as system:
        await system.start(EtcdActor, name="etcd", host=CONTROL_PLANE)
        kv = ActorKV(system.ref("etcd", source_host=CONTROL_PLANE), network=system.network, host=CONTROL_PLANE)
        await system.start(lambda: ApiServer(kv, config=ApiServerConfig()), name="kube-apiserver", host=CONTROL_PLANE)
        block = LoopbackBlock() if process else None
        try:
            for index in range(1, nodes + 1):
                await start_node(system, index, behaviors, block, kubelet or {})
            yield World(system, client_at(system, CONTROL_PLANE))
        finally:
            if block is not None:
                block.close()


def client_at(system: System, host: str) -> Client:
    return Client.in_process(system.ref("kube-apiserver", source_host=host))


def start_node(
    system: System,
    index: int,
    behaviors: Mapping[str, Any] | None,
    block: LoopbackBlock | None,
    options: Mapping[str, Any],
) -> Awaitable[None]:
    name = f"node-{index}"
    client = client_at(system, name)
    cidr = block.pod_cidr(index) if block is not None else pod_cidr(index)

    def runtime() -> ContainerRuntimeActor:
        backend: Any = (
            ProcessBackend(pod_cidr=cidr) if block is not None else SimBackend(pod_cidr=cidr, behaviors=behaviors)
        )
        return ContainerRuntimeActor(backend=backend)

    def kubelet() -> Kubelet:
        proxy = f"kube-proxy/{name}" if block is not None else ""
        return Kubelet(client, node_name=name, proxy=proxy, pod_cidr=cidr, **options)

    def proxy() -> KubeProxy:
        if block is None:
            return KubeProxy(client, node_name=name)
        return KubeProxy(client, node_name=name, mode="process", service_cidr=block.service_cidr(index))

    async def start() -> None:
        for process, factory in {"container-runtime": runtime, "kubelet": kubelet, "kube-proxy": proxy}.items():
            await system.start(factory, name=f"{process}/{name}", host=name)

    return start()
