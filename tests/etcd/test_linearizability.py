"""What many clients see of one etcd is linearizable, and every watch sees every event once, in order, under faults.

The etcd crashes, hosts are cut off, messages are late or lost; in virtual time, a run a seed.
"""

import asyncio
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from kubeloop.actors.etcd.actor import EtcdActor
from kubeloop.actors.etcd.kv import ActorKV
from kubeloop.actors.etcd.options import EtcdOptions
from kubeloop.runtime.actor import ActorStopped
from kubeloop.runtime.faults import Crash, Cut, Delay, Drop, Fault, Partition
from kubeloop.runtime.simulation import simulate
from kubeloop.runtime.supervisor import RestartPolicy
from kubeloop.runtime.system import System
from kubeloop.store.errors import CompactedError
from kubeloop.store.store import Store
from tests.etcd.histories import END, PREFIX, Recorder, Watcher
from tests.etcd.soak import SOAK

CLIENTS = 8
WATCHERS = 4
OPERATIONS = 60
FAULTS: list[Callable[[random.Random], Fault]] = [
    lambda chance: Crash("etcd"),
    lambda chance: Crash("etcd"),
    lambda chance: Partition(f"client-{chance.randrange(CLIENTS)}", "etcd-0", one_way=chance.random() < 0.5),
    lambda chance: Partition("client-*", "etcd-0"),
    lambda chance: Delay("*", "etcd-0", max_seconds=chance.random(), min_seconds=0.0),
    lambda chance: Drop("client-*", "etcd-0", probability=0.05),
    lambda chance: Cut("*", "etcd-0"),
]


class World:
    """One etcd, its clients and watchers, and what happens to them."""

    def __init__(self, system: System, seed: int, make: Callable[[], EtcdActor]) -> None:
        self.system = system
        self.chance = random.Random(seed)
        self.recorder = Recorder()
        self.watchers = [Watcher() for _ in range(WATCHERS)]
        self.slow = SlowWatcher()
        self.etcds: list[EtcdActor] = []
        self._make = make

    def make(self) -> EtcdActor:
        self.etcds.append(self._make())
        return self.etcds[-1]

    def kv(self, host: str) -> ActorKV:
        return ActorKV(self.system.ref("etcd", source_host=host), network=self.system.network, host=host)

    async def client(self, number: int) -> None:
        chance = random.Random(self.chance.random())
        kv, known = self.kv(f"client-{number}"), dict[str, str | None]()
        for _ in range(OPERATIONS):
            await self.recorder.do(kv, number, chance, known)
            await self.system.clock.sleep(chance.choice([0.0, 0.01, 1.0]))

    async def faults(self) -> None:
        while True:
            await self.system.clock.sleep(self.chance.uniform(0.1, 2.0))
            injected = self.system.inject(self.chance.choice(FAULTS)(self.chance))
            await self.system.clock.sleep(self.chance.uniform(0.0, 1.0))
            injected.heal()

    async def compactions(self) -> None:
        kv = self.kv("etcd-0")
        while True:
            await self.system.clock.sleep(self.chance.uniform(1.0, 6.0))
            await self.recorder.compact(kv, self.etcds[-1].revision - self.chance.randrange(30))

    async def run(self) -> None:
        system = self.system
        policy = RestartPolicy(restarts_max=10_000, max_seconds=0.5)
        await system.start(self.make, name="etcd", host="etcd-0", restart=policy)
        others = [
            system.spawn(self.faults),
            system.spawn(self.compactions),
            *(
                system.spawn(watcher.run, self.kv(f"watcher-{number}"), system.clock.sleep, random.Random(number))
                for number, watcher in enumerate(self.watchers)
            ),
            system.spawn(self.slow.follow, self),
        ]
        await asyncio.gather(*(self.client(number) for number in range(CLIENTS)))
        others[0].cancel()
        others[1].cancel()
        system.network.heal()
        await system.clock.sleep(120)
        last = await self.kv("etcd-0").range(PREFIX, END)
        for other in others:
            other.cancel()
        self.recorder.check()
        for watcher in (*self.watchers, self.slow):
            watcher.check(self.recorder, last)


class SlowWatcher(Watcher):
    """Takes what its bounded buffer has when it pleases; the rest comes from history, unless that is compacted."""

    EVENTS_MAX = 3

    def __init__(self) -> None:
        super().__init__()
        self.overflows = 0

    async def follow(self, world: "World") -> None:
        """For ever."""
        clock, chance = world.system.clock, random.Random(world.chance.random())
        while True:
            await clock.sleep(chance.uniform(0.0, 3.0))
            if world.system.slot("etcd").state != "running":
                continue
            etcd = world.etcds[-1]
            try:
                watch = etcd.watch(PREFIX, END, start_revision=self.next_revision, events_max=self.EVENTS_MAX)
                while etcd is world.etcds[-1]:  # one that is behind is not told of a crash
                    self.overflows += watch.behind
                    for events in watch.take():
                        self.take(events)
                    await clock.sleep(chance.uniform(0.0, 3.0))
            except CompactedError as error:
                self.skip(error.compact_revision)
            except ActorStopped:
                pass


def run(seed: int, make: Callable[[], EtcdActor]) -> World:
    async def main() -> World:
        async with System(seed=seed) as system:
            world = World(system, seed, make)
            await world.run()
            return world

    return simulate(main(), seed=seed)


@pytest.mark.parametrize("seed", range(25 * SOAK))
def test_an_etcd_in_memory(seed: int) -> None:
    """Its store outlives its crashes, as if it were on a disk."""
    store = Store()
    world = run(seed, lambda: EtcdActor(store=store))
    assert len(world.recorder.history) > CLIENTS * OPERATIONS / 2


@pytest.mark.parametrize("seed", range(15 * SOAK))
def test_an_etcd_on_disk(seed: int, tmp_path: Path) -> None:
    run(seed, lambda: EtcdActor(EtcdOptions(data_dir=tmp_path)))


def test_the_runs_meet_what_they_are_for() -> None:
    """The etcd crashes, answers are lost, watches break, buffers overflow, and compaction overtakes watchers."""
    store = Store()
    world = run(3, lambda: EtcdActor(store=store))
    assert len(world.etcds) > 3
    assert any(one.returned is None for one in world.recorder.history)
    assert max(watcher.connections for watcher in world.watchers) > 3
    assert world.slow.overflows
    assert world.slow.skipped


def test_an_etcd_that_loses_its_memory_is_found() -> None:
    with pytest.raises(AssertionError):
        run(1, EtcdActor)
