"""A container runtime actor on node-1 with a kubelet that only remembers what it is told."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, ClassVar

from kubeloop.actors.container_runtime import messages as m
from kubeloop.actors.container_runtime.actor import ContainerRuntimeActor
from kubeloop.actors.container_runtime.backend import Backend
from kubeloop.runtime.actor import Actor, ActorRef
from kubeloop.runtime.system import System

POD = m.PodSandboxConfig("web", "default", "uid-1")


async def until(condition: Callable[[], Any]) -> None:
    """Looks again and again; the test's own timeout ends it."""
    async with asyncio.timeout(20):
        while True:
            holds = condition()
            if await holds if inspect.isawaitable(holds) else holds:
                return
            await asyncio.sleep(0.005)


class Listener(Actor):
    concurrent: ClassVar[bool] = True

    def __init__(self) -> None:
        self.heard: list[Any] = []

    async def on_message(self, message: Any) -> None:
        self.heard.append(message)


class Node:
    def __init__(self, system: System, runtime: ActorRef, listener: Listener) -> None:
        self.system = system
        self.runtime = runtime
        self.heard = listener.heard

    async def sandbox(self, config: m.PodSandboxConfig = POD) -> m.PodSandboxStatus:
        made: m.PodSandboxStatus = await self.runtime.ask(m.RunPodSandbox(config))
        return made

    async def start(self, sandbox: m.PodSandboxStatus, config: m.ContainerConfig) -> m.ContainerStatus:
        identifier = await self.runtime.ask(m.CreateContainer(sandbox.id, config))
        status: m.ContainerStatus = await self.runtime.ask(m.StartContainer(identifier))
        return status

    async def status(self, container_id: str) -> m.ContainerStatus:
        status: m.ContainerStatus = await self.runtime.ask(m.GetContainerStatus(container_id))
        return status

    async def log(self, container_id: str, **options: Any) -> str:
        stream = await self.runtime.ask(m.ReadLog(container_id, **options))
        return b"".join([chunk async for chunk in stream]).decode()

    async def ended(self, container_id: str) -> m.ContainerStatus:
        """Waits for its log's end, which comes with its own."""
        await self.log(container_id, follow=True)
        return await self.status(container_id)


@asynccontextmanager
async def node(backend: Backend) -> AsyncIterator[Node]:
    async with System() as system:
        listener = Listener()
        await system.start(lambda: listener, name="kubelet/node-1", host="node-1")
        name = "container-runtime/node-1"
        await system.start(lambda: ContainerRuntimeActor(backend=backend), name=name, host="node-1")
        yield Node(system, system.ref(name, source_host="node-1"), listener)
