"""etcd forgets replaced versions after five to ten minutes, and a store at rest costs no timer."""

import asyncio

import pytest

from kubeloop.actors.api.core_v1 import ConfigMap
from kubeloop.actors.api.meta_v1 import ObjectMeta
from kubeloop.actors.apiserver.actor import ApiServer
from kubeloop.actors.apiserver.compaction import COMPACT_REV_KEY
from kubeloop.actors.client.client import Client
from kubeloop.actors.etcd.actor import EtcdActor
from kubeloop.actors.etcd.kv import ActorKV
from kubeloop.actors.etcd.messages import CompactedError
from kubeloop.runtime.simulation import DeadlockError, simulate
from kubeloop.runtime.system import System
from tests.apiserver.distant import World, config_map, play

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


@pytest.mark.parametrize("prefixes", [("/registry", "/registry"), ("/a", "/b", "/c")])
def test_servers_that_share_an_etcd_compact_it_once_an_interval(prefixes: tuple[str, ...]) -> None:
    async def scenario(world: World) -> None:
        revisions = []
        for number in range(60):
            for server in world.servers:
                name = server.name
                if number == 0:
                    made = await server.call("create", "configmaps", body=config_map(name))
                else:
                    made = await server.put(name, v=str(number))
                revisions.append(int(made.metadata.resource_version))
                await asyncio.sleep(60 / len(prefixes))
        clock = (await world.kv.range(COMPACT_REV_KEY)).kvs[0]
        assert 10 <= clock.version <= 12  # an hour's intervals; every other server only took note of the time
        compacted = int(clock.value)
        with pytest.raises(CompactedError):
            await world.kv.range(COMPACT_REV_KEY, revision=compacted - 1)
        kept = [revision for revision in revisions if revision >= compacted]
        assert 5 <= len(kept) / len(prefixes) <= 11

    play(scenario, *prefixes)


def test_a_server_that_ends_leaves_compaction_to_another() -> None:
    async def scenario(world: World) -> None:
        one, other = world.servers
        await one.call("create", "configmaps", body=config_map("a"))
        for minute in range(40):
            await other.put("a", v=str(minute))
            await asyncio.sleep(60)
            if minute == 12:
                await world.system.stop(one.name)
                before = (await world.kv.range(COMPACT_REV_KEY)).kvs[0].version
        after = (await world.kv.range(COMPACT_REV_KEY)).kvs[0].version
        assert after - before >= 4

    play(scenario)
