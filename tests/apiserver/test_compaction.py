"""etcd forgets replaced versions after five to ten minutes, and a store at rest costs no timer."""

import asyncio

import pytest

from kubeloop.actors.api.core_v1 import ConfigMap
from kubeloop.actors.api.meta_v1 import ObjectMeta
from kubeloop.actors.apiserver.actor import ApiServer
from kubeloop.actors.client.client import Client
from kubeloop.actors.etcd.actor import EtcdActor
from kubeloop.actors.etcd.kv import ActorKV
from kubeloop.actors.etcd.messages import CompactedError
from kubeloop.runtime.simulation import DeadlockError, simulate
from kubeloop.runtime.system import System

HOST = "control-plane-0"


async def started(system: System) -> tuple[Client, ActorKV]:
    etcd = await system.start(EtcdActor, name="etcd", host=HOST)
    server = await system.start(lambda: ApiServer(ActorKV(etcd)), name="kube-apiserver", host=HOST)
    return Client.in_process(server), ActorKV(etcd)


async def write(client: Client, value: str) -> int:
    metadata = ObjectMeta(name="config", namespace="default")
    found = await client.apply(ConfigMap(metadata=metadata, data={"value": value}))
    assert found.metadata is not None
    return int(found.metadata.resource_version or 0)


async def is_there(kv: ActorKV, revision: int) -> bool:
    try:
        await kv.range(b"/registry/configmaps/default/config", revision=revision)
    except CompactedError:
        return False
    return True


def test_replaced_versions_are_forgotten_after_an_interval_or_two() -> None:
    async def scenario() -> None:
        async with System() as system:
            client, kv = await started(system)
            old = await write(client, "old")
            await write(client, "new")
            await asyncio.sleep(240)
            assert await is_there(kv, old)
            await asyncio.sleep(400)
            assert not await is_there(kv, old)
            assert (await client.get("configmaps", "config")).data == {"value": "new"}

    simulate(scenario(), seed=1)


def test_compaction_goes_on_as_long_as_something_is_written() -> None:
    async def scenario() -> None:
        async with System() as system:
            client, kv = await started(system)
            revisions = []
            for number in range(60):
                revisions.append(await write(client, str(number)))
                await asyncio.sleep(60)
            alive = [revision for revision in revisions if await is_there(kv, revision)]
            assert 5 <= len(alive) <= 11
            assert alive == revisions[-len(alive) :]
            await asyncio.sleep(3600)
            assert not await is_there(kv, revisions[-2])
            again = await write(client, "later")
            await asyncio.sleep(900)
            await write(client, "last")
            await asyncio.sleep(900)
            assert not await is_there(kv, again)

    simulate(scenario(), seed=1)


def test_a_store_at_rest_sets_no_timer() -> None:
    async def scenario() -> None:
        async with System() as system:
            client, _ = await started(system)
            await write(client, "once")
            await asyncio.get_running_loop().create_future()

    with pytest.raises(DeadlockError):
        simulate(scenario(), seed=1)
