"""The API server in process: creating, watching."""

import asyncio
from time import perf_counter, process_time
from typing import Any

from bench.objects import pod
from bench.workload import Measurement
from kubeloop.actors.cluster import Cluster

CONTROL_PLANE_ONLY = ("scheduler", "controller-manager", "kubelet", "kube-proxy", "container-runtime")


async def create(pods: int) -> Measurement:
    """Pods created a second by one caller, the whole chain, nobody else running."""
    async with Cluster(nodes=0, without=CONTROL_PLANE_ONLY) as cluster:
        objects = [pod(number) for number in range(pods)]
        create_one = cluster.client.create
        await cluster.client.create(pod(-1))  # loads what is loaded lazily
        await cluster.client.delete("pods", "app--1", "default", grace_period_seconds=0)
        before, cpu_before = perf_counter(), process_time()
        for one in objects:
            await create_one(one)
        seconds, cpu_seconds = perf_counter() - before, process_time() - cpu_before
        found = await cluster.client.list("pods")
        if len(found.items) != pods:
            raise AssertionError(f"{pods} pods created, {len(found.items)} found")
    return Measurement(pods / seconds, {"cpu_microseconds_each": cpu_seconds / pods * 1e6})


async def get(gets: int) -> Measurement:
    """GETs of one pod a second by one caller."""
    async with Cluster(nodes=0, without=CONTROL_PLANE_ONLY) as cluster:
        await cluster.client.create(pod(0))
        get_one = cluster.client.get
        before = perf_counter()
        for _ in range(gets):
            await get_one("pods", "app-0", "default")
        seconds = perf_counter() - before
    return Measurement(gets / seconds)


async def watch(watchers: int, writes: int) -> Measurement:
    """Deliveries a second: each write goes to every watcher, each watcher a stream of its own."""
    async with Cluster(nodes=0, without=CONTROL_PLANE_ONLY) as cluster:
        heard = [0] * watchers
        everything = asyncio.Event()
        missing = watchers * writes

        async def read(number: int, stream: Any) -> None:
            nonlocal missing
            async for _ in stream:
                heard[number] += 1
                missing -= 1
                if heard[number] == writes:
                    break
            if missing == 0:
                everything.set()

        version = (await cluster.client.list("pods")).resource_version
        streams = [cluster.client.watch("pods", resource_version=version) for _ in range(watchers)]
        readers = [cluster.system.spawn(read, number, stream) for number, stream in enumerate(streams)]
        await asyncio.sleep(0.05)
        before = perf_counter()
        for number in range(writes):
            await cluster.client.create(pod(number))
            await asyncio.sleep(0)
        await everything.wait()
        seconds = perf_counter() - before
        for reader in readers:
            await reader
        for stream in streams:
            await stream.aclose()
    return Measurement(watchers * writes / seconds, {"milliseconds_each_write": seconds / writes * 1000})
