"""A real etcd of three, whose leader is killed and brought back under load: linearizable through `RemoteKV`, and whole.

The cluster on top of it is in `test_cluster_on_etcd`.
"""

import asyncio
import random

import grpc  # type: ignore[import-untyped]
from aetcd.rpc import rpc_pb2, rpc_pb2_grpc  # type: ignore[import-untyped]

from kubeloop.actors.etcd.remote.kv import RemoteEtcd, RemoteKV
from kubeloop.runtime.actor import Unreachable
from kubeloop.runtime.system import System
from tests.etcd.histories import END, PREFIX, Recorder, Watcher
from tests.etcd.real_etcd import Member, RealEtcd
from tests.etcd.soak import SOAK
from tests.etcd.test_linearizability_served import until_events, until_told, work

KILLS = 4 * SOAK
CLIENTS = 6
WATCHERS = 3
EVENTS_BETWEEN = (100, 300)


async def test_nothing_is_lost_when_the_leader_dies_again_and_again(real_etcd_cluster: RealEtcd) -> None:
    etcd = real_etcd_cluster
    chance, recorder = random.Random(1), Recorder(certain=(Unreachable,))
    watchers = [Watcher() for _ in range(WATCHERS)]
    async with System() as system, asyncio.TaskGroup() as group:
        kvs = [RemoteKV(preferring(etcd, number % 3), system) for number in range(CLIENTS + WATCHERS)]
        stop = asyncio.Event()
        working = [group.create_task(work(recorder, kv, number, stop)) for number, kv in enumerate(kvs[:CLIENTS])]
        watching = [
            group.create_task(watcher.run(kv, asyncio.sleep, random.Random(number)))
            for number, (watcher, kv) in enumerate(zip(watchers, kvs[CLIENTS:], strict=True))
        ]
        await until_events(recorder, 200)
        for _ in range(KILLS):
            victim = await asyncio.to_thread(etcd.leader)
            await asyncio.to_thread(victim.kill)
            await until_events(recorder, chance.randint(*EVENTS_BETWEEN))
            victim.start()
            await asyncio.to_thread(victim.wait_healthy)
            await until_events(recorder, chance.randint(*EVENTS_BETWEEN))
        stop.set()
        await asyncio.gather(*working)
        last = await kvs[0].range(PREFIX, END)
        await until_told(watchers, last.revision)
        for task in watching:
            task.cancel()
        for kv in kvs:
            await kv.close()
    recorder.check()
    for watcher in watchers:
        watcher.check(recorder, last)
    contents = [await asyncio.to_thread(content, member, last.revision) for member in etcd.members]
    assert contents[0] == contents[1] == contents[2]
    assert len(contents[0].kvs) == len(last.kvs)
    assert len(recorder.history) > KILLS * 100


def preferring(etcd: RealEtcd, first: int) -> RemoteEtcd:
    """The members, another one first for each third of the clients."""
    return RemoteEtcd((*etcd.urls[first:], *etcd.urls[:first]), request_timeout_seconds=5.0)


def content(member: Member, revision: int) -> rpc_pb2.RangeResponse:
    """What one member has by itself, asked of nobody else."""
    request = rpc_pb2.RangeRequest(key=PREFIX, range_end=END, revision=revision, serializable=True)
    with member.channel() as channel:
        while True:
            try:
                found = rpc_pb2_grpc.KVStub(channel).Range(request, timeout=10)
            except grpc.RpcError as error:  # it has not heard of that revision yet
                assert error.code() == grpc.StatusCode.OUT_OF_RANGE
                continue
            found.ClearField("header")
            return found
