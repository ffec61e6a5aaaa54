"""Whole clusters: created to bound, created to Running."""

import asyncio
import gc
from collections.abc import Callable
from time import perf_counter, process_time
from typing import Any

import msgspec

from bench.machine import peak_memory_bytes
from bench.objects import nodes, pod
from bench.workload import Measurement
from kubeloop.actors.api.core_v1 import Node, NodeCondition, NodeSpec, NodeStatus, Pod
from kubeloop.actors.api.meta_v1 import ObjectMeta
from kubeloop.actors.cluster import Cluster
from kubeloop.runtime.simulation import simulate
from kubeloop.runtime.system import System

PATIENCE_SECONDS = 60.0


class Count:
    """Waits until so many pods satisfy a predicate, by a watch of all pods."""

    def __init__(self, wanted: int, holds: Callable[[Any], bool]) -> None:
        self._wanted = wanted
        self._holds = holds
        self._done: dict[str, None] = {}
        self._all = asyncio.Event()

    async def follow(self, client: Any, version: str) -> None:
        async for event in client.watch("pods", "default", resource_version=version):
            if self._holds(event.object):
                self._done[event.object.metadata.name] = None
                if len(self._done) >= self._wanted:
                    self._all.set()
                    return

    async def wait(self) -> None:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._all.wait()
        except TimeoutError:
            raise TimeoutError(f"only {len(self._done)} of {self._wanted} pods got there") from None


async def _measure(cluster: Cluster, pods: int, holds: Callable[[Any], bool]) -> dict[str, float]:
    """Creates the pods one after the other; the seconds until all are created, and until `holds` for all.

    One pod goes first, uncounted: it loads what is loaded lazily.
    """
    await _follow(cluster, [pod(-1)], holds)
    return await _follow(cluster, [pod(number) for number in range(pods)], holds)


async def _follow(cluster: Cluster, objects: list[Pod], holds: Callable[[Any], bool]) -> dict[str, float]:
    wanted = {str(one.metadata.name) for one in objects if one.metadata is not None}
    count = Count(len(objects), lambda one: one.metadata.name in wanted and holds(one))
    version = (await cluster.client.list("pods", "default")).resource_version
    system: System = cluster.system
    follower = system.spawn(count.follow, cluster.client, version)
    await asyncio.sleep(0.01)
    before, cpu_before = perf_counter(), process_time()
    for number, one in enumerate(objects):
        await cluster.client.create(one)
        if number % 100 == 99:
            await asyncio.sleep(0)  # as a client over a socket would let others run
    created = perf_counter() - before
    await count.wait()
    seconds = perf_counter() - before
    await follower
    cpu_seconds = process_time() - cpu_before
    return {"created_seconds": created, "seconds": seconds, "cpu_seconds": cpu_seconds}


async def schedule(pods: int, node_count: int) -> Measurement:
    """Pods a second from the first create to the last one bound, through the API server; no kubelets run."""
    async with Cluster(
        nodes=0, without=("controller-manager", "kubelet", "kube-proxy", "container-runtime")
    ) as cluster:
        await register_nodes(cluster, node_count)
        detail = await _measure(cluster, pods, lambda one: bool(one.spec.node_name))
    return Measurement(pods / detail["seconds"], detail)


async def register_nodes(cluster: Cluster, count: int) -> None:
    """Node objects that look ready, without a kubelet behind them."""
    room = {"cpu": "32", "memory": "64Gi", "pods": "110"}
    status = NodeStatus(capacity=room, allocatable=room, conditions=(NodeCondition(type="Ready", status="True"),))
    for number in range(1, count + 1):
        name = f"node-{number}"
        metadata = ObjectMeta(name=name, labels={"kubernetes.io/hostname": name})
        node = await cluster.client.create(Node(metadata=metadata, spec=NodeSpec()))
        node = await cluster.client.update_status(msgspec.structs.replace(node, status=status))
        # A new node has the not-ready taint, which the node lifecycle controller would take away now.
        await cluster.client.update(msgspec.structs.replace(node, spec=NodeSpec()))


async def idle(node_count: int, hours: float) -> Measurement:
    """Node-hours of an idle cluster that pass in a second, in virtual time: heartbeats and their consequences."""

    async def rest() -> float:
        async with Cluster(nodes=nodes(node_count)):
            before = perf_counter()
            await asyncio.sleep(hours * 3600)
            return perf_counter() - before

    seconds = await asyncio.to_thread(lambda: simulate(rest(), seed=1))
    return Measurement(node_count * hours / seconds, {"seconds": seconds})


async def run(pods: int, node_count: int) -> Measurement:
    """Pods a second from the first create to the last one Running, on simulated nodes with everything running."""
    gc.collect()
    before = perf_counter()
    async with Cluster(nodes=nodes(node_count)) as cluster:
        booted = perf_counter() - before
        detail = await _measure(cluster, pods, lambda one: one.status is not None and one.status.phase == "Running")
        detail["boot_seconds"] = booted
        detail["peak_memory_megabytes"] = (peak_memory_bytes() or 0) / 1e6
    return Measurement(pods / detail["seconds"], detail)
