"""An API server over the store, in process, and clients of it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from kubeloop.actors.api.core_v1 import ConfigMap, Container, Pod, PodSpec
from kubeloop.actors.api.meta_v1 import ObjectMeta
from kubeloop.actors.apiserver.actor import ApiServer
from kubeloop.actors.client.client import Client
from kubeloop.actors.etcd.actor import EtcdActor
from kubeloop.actors.etcd.kv import ActorKV
from kubeloop.runtime.simulation import simulate
from kubeloop.runtime.system import System

HOST = "control-plane-0"


@asynccontextmanager
async def control_plane() -> AsyncIterator[System]:
    async with System() as system:
        await system.start(EtcdActor, name="etcd", host=HOST)
        await system.start(
            lambda: ApiServer(ActorKV(system.ref("etcd", source_host=HOST))), name="kube-apiserver", host=HOST
        )
        yield system


def client_of(system: System, host: str = HOST) -> Client:
    return Client.in_process(system.ref("kube-apiserver", source_host=host))


def run(test: Callable[[System, Client], Awaitable[Any]]) -> Any:
    """Runs `test(system, client)` in virtual time."""

    async def main() -> Any:
        async with control_plane() as system:
            return await test(system, client_of(system))

    return simulate(main(), seed=1)


def config_map(name: str = "a", **data: str) -> ConfigMap:
    return ConfigMap(metadata=ObjectMeta(name=name, namespace="default"), data=data)


def pod(name: str = "web", **labels: str) -> Pod:
    return Pod(
        metadata=ObjectMeta(name=name, namespace="default", labels=labels),
        spec=PodSpec(containers=(Container(name="app", image="app:1"),)),
    )
