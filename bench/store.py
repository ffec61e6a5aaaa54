"""The store: in memory, durable and over gRPC beside a real etcd on the same disk, and at a million keys."""

import asyncio
import gc
import multiprocessing
import resource
import sys
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

from bench.real_etcd import EtcdProcess, kubeloop_etcd, real_etcd
from bench.workload import Measurement
from kubeloop.actors.etcd.actor import EtcdActor
from kubeloop.actors.etcd.kv import ActorKV
from kubeloop.actors.etcd.options import EtcdOptions
from kubeloop.runtime.system import System
from kubeloop.store.disk import Disk
from kubeloop.store.store import Store

VALUE = bytes(range(256)) * 2


async def put(puts: int, watches: int) -> Measurement:
    """Puts a second in memory, with watches on other prefixes and one on this."""
    store = Store()
    heard = [0]

    def sink(events: list[Any]) -> None:
        heard[0] += len(events)

    for number in range(watches):
        store.watch(b"/registry/leases/%d/" % number, b"/registry/leases/%d0" % number, sink=sink)
    store.watch(b"/registry/pods/", b"/registry/pods0", sink=sink)
    keys = [b"/registry/pods/default/app-%d" % number for number in range(puts)]
    before = perf_counter()
    for key in keys:
        store.put(key, b"value")
    seconds = perf_counter() - before
    if heard[0] != puts:
        raise AssertionError(f"{puts} puts, but the watch heard {heard[0]}")
    return Measurement(puts / seconds)


async def deliver(watchers: int, writes: int) -> Measurement:
    """Deliveries a second of writes that each watcher sees, with the previous value."""
    store = Store()
    heard = [0]

    def sink(events: list[Any]) -> None:
        heard[0] += len(events)

    for _ in range(watchers):
        store.watch(b"/registry/pods/", b"/registry/pods0", prev_kv=True, sink=sink)
    before = perf_counter()
    for _ in range(writes):
        store.put(b"/registry/pods/default/app", VALUE)
    seconds = perf_counter() - before
    if heard[0] != writes * watchers:
        raise AssertionError(f"{writes * watchers} deliveries expected, {heard[0]} made")
    return Measurement(heard[0] / seconds)


async def durable(writers: int, puts: int) -> Measurement:
    """Durable puts of the embedded store, as a multiple of a real etcd's on the same disk, each with its writers in
    one Python process."""
    with tempfile.TemporaryDirectory(prefix="kubeloop-bench-") as folder:
        async with real_etcd(Path(folder) / "real") as process:
            theirs = await _over_grpc(process, writers, puts // 4)
        async with _embedded(Path(folder) / "embedded") as kv:
            ours = await _by_writers(writers, puts, lambda key: kv.put(key, VALUE))
    return Measurement(ours / theirs, {"embedded puts/s": ours, "real etcd puts/s": theirs})


async def grpc_put(writers: int, puts: int) -> Measurement:
    """Puts over gRPC to `kubeloop etcd --data-dir`, as a multiple of a real etcd's, with the same client."""
    with tempfile.TemporaryDirectory(prefix="kubeloop-bench-") as folder:
        async with real_etcd(Path(folder) / "real") as process:
            theirs = await _over_grpc(process, writers, puts)
        async with kubeloop_etcd(Path(folder) / "durable") as process:
            ours = await _over_grpc(process, writers, puts)
        async with kubeloop_etcd(None) as process:
            memory = await _over_grpc(process, writers, puts)
    return Measurement(ours / theirs, {"kubeloop puts/s": ours, "in memory puts/s": memory, "real etcd puts/s": theirs})


async def many_keys(keys: int) -> Measurement:
    """Gigabytes that a process holds with that many durable keys of 512 bytes; in the detail how long it opens."""
    with tempfile.TemporaryDirectory(prefix="kubeloop-bench-") as folder:
        context = multiprocessing.get_context("spawn")  # each process's peak is its own
        for job in (fill, reopen):
            queue = context.Queue()
            process = context.Process(target=job, args=(Path(folder), keys, queue))
            process.start()
            detail = await asyncio.to_thread(queue.get)
            process.join()
    return Measurement(detail["gigabytes"], detail)


def fill(folder: Path, keys: int, queue: Any) -> None:
    disk = Disk(folder)
    store = disk.load(now=0)
    for first in range(0, keys, 1_000):
        for number in range(first, min(keys, first + 1_000)):
            store.put(b"/registry/pods/default/app-%08d" % number, VALUE[:504] + number.to_bytes(8, "big"))
        count = len(store.changes)
        disk.commit(list(store.changes))
        store.settle(count)
    disk.close()
    queue.put({})


def reopen(folder: Path, keys: int, queue: Any) -> None:
    before = perf_counter()
    disk = Disk(folder)
    store = disk.load(now=0)
    seconds = perf_counter() - before
    found = store.range(b"/registry/", b"/registry0", limit=10)
    if found.count != keys:
        raise AssertionError(f"{keys} keys written, {found.count} read back")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    disk.close()
    queue.put({"gigabytes": peak / 1e9, "seconds to open": seconds})


async def growth(small: int, large: int, operations: int) -> Measurement:
    """How many times dearer a put and a range of ten are with the large number of keys; log n alone would be 1.5."""
    costs = []
    for keys in (small, large):
        store = Store()
        for number in range(keys):
            store.put(b"/registry/pods/default/app-%08d" % (number * 7919 % keys), VALUE)
        store.range(b"/registry/", b"/registry0", limit=1)
        gc.collect()
        before = perf_counter()
        for number in range(operations):
            key = b"/registry/pods/default/app-%08d" % (number * 104729 % keys)
            store.put(key, VALUE)
            store.put(key + b"-new", VALUE)
            store.range(key, b"/registry/pods0", limit=10)
        costs.append((perf_counter() - before) / operations)
    return Measurement(costs[1] / costs[0], {"us small": costs[0] * 1e6, "us large": costs[1] * 1e6})


@asynccontextmanager
async def _embedded(data_dir: Path) -> Any:
    async with System() as system:
        await system.start(lambda: EtcdActor(EtcdOptions(data_dir=data_dir)), name="etcd", host="etcd")
        yield ActorKV(system.ref("etcd", source_host="etcd"))


async def _over_grpc(process: EtcdProcess, writers: int, puts: int) -> float:
    import grpc.aio  # type: ignore[import-untyped]
    from aetcd.rpc import rpc_pb2, rpc_pb2_grpc  # type: ignore[import-untyped]

    async with grpc.aio.insecure_channel(process.address) as channel:
        stub = rpc_pb2_grpc.KVStub(channel)
        await stub.Put(rpc_pb2.PutRequest(key=b"first", value=VALUE))
        return await _by_writers(writers, puts, lambda key: stub.Put(rpc_pb2.PutRequest(key=key, value=VALUE)))


async def _by_writers(writers: int, puts: int, put_one: Callable[[bytes], Awaitable[Any]]) -> float:
    """Puts a second of so many writers, each waiting for its own."""

    async def write(writer: int) -> None:
        for number in range(puts // writers):
            await put_one(b"/registry/pods/%d/%d" % (writer, number))

    before = perf_counter()
    async with asyncio.TaskGroup() as group:
        for writer in range(writers):
            group.create_task(write(writer))
    return puts // writers * writers / (perf_counter() - before)
