"""API servers in virtual time whose etcd is on another host: the network decides when each hears of a change."""

from collections.abc import Awaitable, Callable
from typing import Any

from kubeloop.actors.api.core_v1 import ConfigMap
from kubeloop.actors.api.meta_v1 import ObjectMeta
from kubeloop.actors.apiserver.actor import ApiServer
from kubeloop.actors.apiserver.config import ApiServerConfig
from kubeloop.actors.apiserver.messages import Request, Response, WatchHandle, WatchRequest
from kubeloop.actors.etcd.actor import EtcdActor
from kubeloop.actors.etcd.kv import ActorKV
from kubeloop.runtime.simulation import simulate
from kubeloop.runtime.system import System
from kubeloop.store.store import Store
from tests.apiserver.conftest import ADMIN, GROUPS, Recorder

ETCD_HOST = "etcd-0"


class Far:
    """One API server, on the host of its own name, as an in-process client sees it."""

    def __init__(self, system: System, name: str) -> None:
        self.system = system
        self.name = name
        self._ref = system.ref(name, source_host=name)

    async def call(self, verb: str, resource: str, name: str = "", body: Any = None, **options: str) -> Any:
        namespace = options.pop("namespace", "default")
        request = Request(
            verb, GROUPS.get(resource, ""), "v1", resource, namespace, name, body=body, options=options, user=ADMIN
        )
        response: Response = await self._ref.ask(request)
        return response.body

    async def watch(self, resource: str, **options: str) -> tuple[Recorder, WatchHandle]:
        recorder = Recorder()
        request = Request("watch", "", "v1", resource, "default", options=options, user=ADMIN)
        return recorder, await self._ref.ask(WatchRequest(request, recorder))

    async def put(self, name: str, **data: str) -> ConfigMap:
        made: ConfigMap = await self.call("update", "configmaps", name, config_map(name, **data))
        return made

    async def values(self, **options: str) -> dict[str, str]:
        found = await self.call("list", "configmaps", **options)
        return {one.metadata.name: one.data.get("v", "") for one in found.items}


class World:
    """etcd with its disk, and API servers a, b, ... each with a prefix of `prefixes`."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.servers: list[Far] = []
        self.kv = ActorKV(system.ref("etcd", source_host=ETCD_HOST))

    async def start(self, prefixes: list[str]) -> None:
        disk = Store()
        await self.system.start(lambda: EtcdActor(store=disk), name="etcd", host=ETCD_HOST)
        for number, prefix in enumerate(prefixes):
            await self.add(f"apiserver-{number}", prefix)

    async def add(self, name: str, prefix: str = "/registry") -> Far:
        etcd = self.system.ref("etcd", source_host=name)
        config = ApiServerConfig(etcd_prefix=prefix)

        def server() -> ApiServer:
            return ApiServer(ActorKV(etcd, network=self.system.network, host=name), config=config)

        await self.system.start(server, name=name, host=name)
        self.servers.append(Far(self.system, name))
        return self.servers[-1]

    def hears_late(self, server: Far, seconds: float) -> None:
        """What etcd says takes that long; what it is asked comes at once."""
        self.system.network.delay(ETCD_HOST, server.name, min_seconds=seconds, one_way=True)


def play(scenario: Callable[[World], Awaitable[None]], *prefixes: str, seed: int = 1) -> None:
    """With an API server for each prefix; without any, two that share one."""

    async def main() -> None:
        async with System(seed=seed) as system:
            world = World(system)
            await world.start(list(prefixes) or ["/registry", "/registry"])
            await scenario(world)

    simulate(main(), seed=seed)


def config_map(name: str = "a", **data: str) -> ConfigMap:
    return ConfigMap(metadata=ObjectMeta(name=name, namespace="default"), data=data)
