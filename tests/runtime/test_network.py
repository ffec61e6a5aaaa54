"""Partitions, delays, losses, duplicates, cut connections."""

import asyncio
from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from kubeloop.runtime.actor import Actor, ActorStopped, Unreachable
from kubeloop.runtime.faults import Crash, CrashHost, Cut, Delay, Drop, Duplicate, Partition
from kubeloop.runtime.simulation import simulate
from kubeloop.runtime.system import System


class Server(Actor):
    concurrent: ClassVar[bool] = True

    def __init__(self) -> None:
        self.heard: list[Any] = []

    async def on_message(self, message: Any) -> Any:
        self.heard.append(message)
        if message == "slow":
            await self.context.clock.sleep(10)
            self.heard.append("slow is done")
        return message


class SequentialServer(Server):
    concurrent: ClassVar[bool] = False


def run(scenario: Callable[[System, Server], Any], kind: type[Server] = Server, seed: int = 1) -> Any:
    """`scenario(system, server)`, the server being named so and on the host that is named so."""

    async def main() -> Any:
        async with System() as system:
            server = kind()
            await system.start(lambda: server, name="server", host="server")
            return await scenario(system, server)

    return simulate(main(), seed=seed)


def test_a_partition_makes_asks_unreachable_swallows_told_messages_and_can_be_healed() -> None:
    async def scenario(system: System, server: Server) -> None:
        ref, local = system.ref("server", source_host="a"), system.ref("server", source_host="server")
        handle = system.inject(Partition("server"))
        with pytest.raises(Unreachable, match="no way from a to server"):
            await ref.ask(1)
        ref.tell_nowait(2)
        await ref.tell(3)
        assert await local.ask(4) == 4
        handle.heal()
        handle.heal()
        assert await ref.ask(5) == 5
        assert server.heard == [4, 5]
        assert system.network.quiet

    run(scenario)


@pytest.mark.parametrize("kind", [Server, SequentialServer])
def test_a_partition_cuts_asks_that_wait_for_their_answer(kind: type[Server]) -> None:
    async def scenario(system: System, server: Server) -> None:
        async def ask() -> None:
            with pytest.raises(Unreachable, match="connection from a to server was cut"):
                await system.ref("server", source_host="a").ask("slow")

        asking = system.spawn(ask)
        await asyncio.sleep(1)
        assert system.network.connections() == 1
        system.network.partition("a", "server")
        await asking
        assert system.clock.monotonic() == 1
        assert system.network.connections() == 0

    run(scenario, kind)


def test_a_one_way_partition_loses_the_answer_but_not_the_request() -> None:
    async def scenario(system: System, server: Server) -> None:
        system.network.partition("server", "a", one_way=True)
        with pytest.raises(Unreachable, match="no way from server to a"):
            await system.ref("server", source_host="a").ask(1)
        assert server.heard == [1]

    run(scenario)


def test_only_the_hosts_of_the_pattern_are_partitioned() -> None:
    async def scenario(system: System, server: Server) -> None:
        system.network.partition("node-*", "server")
        assert await system.ref("server", source_host="other").ask(1) == 1
        with pytest.raises(Unreachable):
            await system.ref("server", source_host="node-1").ask(1)
        system.network.heal("server", "node-*")
        assert await system.ref("server", source_host="node-1").ask(1) == 1

    run(scenario)


def test_a_delay_takes_its_time_both_ways() -> None:
    async def scenario(system: System, server: Server) -> None:
        handle = system.inject(Delay("a", "server", min_seconds=2))
        ref = system.ref("server", source_host="a")
        assert await ref.ask(1) == 1
        assert system.clock.monotonic() == 4
        await ref.tell(2)
        assert server.heard == [1]
        await asyncio.sleep(3)
        assert server.heard == [1, 2]
        with pytest.raises(TimeoutError):
            await ref.ask(3, timeout_seconds=1)
        handle.heal()
        assert await ref.ask(4) == 4

    run(scenario)


def test_a_lost_message_makes_the_asker_wait_for_its_timeout() -> None:
    async def scenario(system: System, server: Server) -> None:
        system.inject(Drop("a", "server"))
        ref = system.ref("server", source_host="a")
        with pytest.raises(TimeoutError):
            await ref.ask(1, timeout_seconds=5)
        with pytest.raises(Unreachable, match="was lost"):
            await ref.ask(1)
        ref.tell_nowait(1)
        await asyncio.sleep(100)
        assert server.heard == []

    run(scenario)


def test_losses_and_duplicates_follow_the_seed() -> None:
    async def scenario(system: System, server: Server) -> list[Any]:
        system.inject(Drop("a", probability=0.3))
        system.inject(Duplicate("a", probability=0.3))
        system.inject(Delay("a", min_seconds=0, max_seconds=1))
        ref = system.ref("server", source_host="a")
        for number in range(100):
            ref.tell_nowait(number)
        await asyncio.sleep(10)
        assert len(set(server.heard)) < 100 < len(server.heard) + 50
        assert len(server.heard) > len(set(server.heard))
        return server.heard

    first = run(scenario, seed=7)
    assert first == run(scenario, seed=7)
    assert first != run(scenario, seed=8)


def test_open_connections_are_cut_once_by_a_partition_and_not_by_closing() -> None:
    async def scenario(system: System, server: Server) -> None:
        network, cuts = system.network, list[str]()
        network.open("a", "server", lambda: cuts.append("a"))
        closed = network.open("a", "server", lambda: cuts.append("closed"))
        network.open("b", "server", lambda: cuts.append("b"))
        closed.close()
        closed.close()
        handle = system.inject(Partition("a", "server"))
        system.inject(Partition("a", "server"))
        assert cuts == ["a"]
        assert network.connections() == 1
        with pytest.raises(Unreachable):
            network.open("a", "server", lambda: None)
        handle.heal()
        with pytest.raises(Unreachable):
            network.open("a", "server", lambda: None)
        network.heal()
        assert network.open("a", "server", lambda: None).open
        system.inject(Cut("*", "server"))
        assert cuts == ["a", "b"]
        assert network.connections() == 0

    run(scenario)


def test_a_crashed_host_cuts_its_connections_and_opens_none_until_it_is_back() -> None:
    async def scenario(system: System, server: Server) -> None:
        cuts: list[int] = []
        system.network.open("a", "server", lambda: cuts.append(1))
        handle = system.inject(CrashHost("server"))
        assert cuts == [1]
        with pytest.raises(Unreachable):
            system.network.open("server", "a", lambda: None)
        with pytest.raises(ActorStopped):
            await system.ref("server", source_host="a").ask(1)
        handle.heal()
        await asyncio.sleep(1)
        assert await system.ref("server", source_host="a").ask(1) == 1
        assert system.network.open("server", "a", lambda: None).open

    run(scenario)


def test_a_slow_connection_keeps_its_order() -> None:
    async def scenario(system: System, server: Server) -> None:
        heard: list[int] = []
        connection = system.network.open("a", "server", lambda: None)
        connection.deliver(heard.append, 0)
        assert heard == [0]
        rule = system.network.delay("a", min_seconds=0, max_seconds=5)
        for number in range(1, 20):
            connection.deliver(heard.append, number)
        rule.heal()
        connection.deliver(heard.append, 20)
        await asyncio.sleep(10)
        assert heard == list(range(21))
        connection.close()
        connection.deliver(heard.append, 21)
        assert heard[-1] == 20

    run(scenario)


def test_a_crash_is_a_fault_as_well() -> None:
    async def scenario(system: System, server: Server) -> None:
        handle = system.inject(Crash("server"))
        assert system.statistics()[0].state == "backoff"
        handle.heal()
        await asyncio.sleep(1)
        assert system.statistics()[0].state == "running"

    run(scenario)


def test_impossible_faults_are_refused() -> None:
    async def scenario(system: System, server: Server) -> None:
        with pytest.raises(ValueError, match="between 0 and 1"):
            system.inject(Drop("a", probability=2))
        with pytest.raises(ValueError, match="0 <= min <= max"):
            system.inject(Delay("a", min_seconds=2, max_seconds=1))
        assert system.network.quiet

    run(scenario)
