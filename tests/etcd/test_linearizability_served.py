"""What clients see of `kubeloop etcd` through gRPC is linearizable while it is killed with -9 and started again."""

import asyncio
import random
from pathlib import Path

from kubeloop.actors.etcd.remote.kv import RemoteEtcd, RemoteKV
from kubeloop.runtime.actor import Unreachable
from kubeloop.runtime.system import System
from tests.etcd.histories import END, PREFIX, Recorder, Watcher
from tests.etcd.real_etcd import OurEtcd
from tests.etcd.soak import SOAK

KILLS = 8 * SOAK
CLIENTS = 6
WATCHERS = 3
EVENTS_BETWEEN = (50, 250)


async def test_clients_of_a_server_that_is_killed(tmp_path: Path) -> None:
    chance, recorder = random.Random(1), Recorder(certain=(Unreachable,))
    watchers = [Watcher() for _ in range(WATCHERS)]
    with OurEtcd(tmp_path, data_dir=tmp_path / "data") as etcd:
        options = RemoteEtcd((etcd.url,), request_timeout_seconds=3.0)
        async with System() as system:
            kvs = [RemoteKV(options, system) for _ in range(CLIENTS + WATCHERS)]
            stop = asyncio.Event()
            async with asyncio.TaskGroup() as group:
                working = [
                    group.create_task(work(recorder, kv, number, stop)) for number, kv in enumerate(kvs[:CLIENTS])
                ]
                watching = [
                    group.create_task(watcher.run(kv, asyncio.sleep, random.Random(number)))
                    for number, (watcher, kv) in enumerate(zip(watchers, kvs[CLIENTS:], strict=True))
                ]
                for _ in range(KILLS):
                    await until_events(recorder, chance.randint(*EVENTS_BETWEEN))
                    await asyncio.to_thread(etcd.kill)
                    etcd.start()
                await asyncio.to_thread(etcd.wait_healthy)
                await until_events(recorder, 100)
                stop.set()
                await asyncio.gather(*working)
                last = await kvs[0].range(PREFIX, END)
                await until_told(watchers, last.revision)
                for task in watching:
                    task.cancel()
            recorder.check()
            for watcher in watchers:
                watcher.check(recorder, last)
            for kv in kvs:
                await kv.close()
    assert len(recorder.history) > KILLS * 50


async def work(recorder: Recorder, kv: RemoteKV, number: int, stop: asyncio.Event) -> None:
    chance, known = random.Random(number), dict[str, str | None]()
    while not stop.is_set():
        await recorder.do(kv, number, chance, known)


async def until_events(recorder: Recorder, more: int) -> None:
    """Until so much more happened."""
    target = recorder.ticks + more
    async with asyncio.timeout(60):
        while recorder.ticks < target:  # noqa: ASYNC110
            await asyncio.sleep(0.001)


async def until_told(watchers: list[Watcher], revision: int) -> None:
    async with asyncio.timeout(60):
        while any(watcher.next_revision <= revision for watcher in watchers):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
