"""Events are gone an hour after they were last written, as by kube-apiserver's --event-ttl."""

from collections.abc import Awaitable, Callable

from msgspec.structs import replace

from kubeloop.actors.api.core_v1 import Event, ObjectReference
from kubeloop.actors.api.meta_v1 import ObjectMeta
from kubeloop.actors.apiserver.actor import ApiServer
from kubeloop.actors.apiserver.config import ApiServerConfig
from kubeloop.actors.etcd.actor import EtcdActor
from kubeloop.actors.etcd.kv import ActorKV
from kubeloop.actors.etcd.messages import Status, StatusResult
from kubeloop.runtime.clock import Clock
from kubeloop.runtime.simulation import simulate
from kubeloop.runtime.system import System
from tests.apiserver.conftest import HOST, Server

MINUTE = 60.0
EPOCH = 1_767_225_600.0


def event(name: str) -> Event:
    involved = ObjectReference(kind="Pod", namespace="default", name="p")
    return Event(metadata=ObjectMeta(name=name, namespace="default"), involved_object=involved, reason="Started")


def run(scenario: Callable[[Server, Clock], Awaitable[None]]) -> None:
    """A scenario against an API server in virtual time."""

    async def main() -> None:
        clock = Clock(seed=1, epoch=EPOCH)
        async with System(clock=clock) as system:
            await system.start(EtcdActor, name="etcd", host=HOST)
            kv = ActorKV(system.ref("etcd", source_host=HOST))
            await system.start(lambda: ApiServer(kv), name="kube-apiserver", host=HOST)
            await scenario(Server(system, ApiServerConfig()), clock)

    simulate(main(), seed=1)


async def names(server: Server) -> list[str]:
    listing = await server.call("list", "events")
    return [one.metadata.name for one in listing.items]


async def leases(server: Server) -> int:
    status: StatusResult = await server.system.ref("etcd", source_host=HOST).ask(Status())
    return status.leases


def test_an_event_is_gone_an_hour_after_it_was_made_and_watchers_are_told() -> None:
    async def scenario(server: Server, clock: Clock) -> None:
        await server.call("create", "events", body=event("a"))
        recorder, _ = await server.watch("events", resource_version="0")
        await clock.sleep(59 * MINUTE)
        assert await names(server) == ["a"]
        await clock.sleep(2 * MINUTE + 1)
        assert await names(server) == []
        assert recorder.told()[-1] == ("DELETED", "a")

    run(scenario)


def test_an_event_that_is_written_again_has_another_hour() -> None:
    async def scenario(server: Server, clock: Clock) -> None:
        await server.call("create", "events", body=event("again"))
        await server.call("create", "events", body=event("once"))
        await clock.sleep(30 * MINUTE)
        made = await server.call("get", "events", "again")
        await server.call("update", "events", "again", body=replace(made, count=2))
        await clock.sleep(59 * MINUTE)
        assert await names(server) == ["again"]
        await clock.sleep(3 * MINUTE)
        assert await names(server) == []

    run(scenario)


def test_events_of_one_minute_share_a_lease() -> None:
    async def scenario(server: Server, clock: Clock) -> None:
        for number in range(60):
            await server.call("create", "events", body=event(f"e{number}"))
            await clock.sleep(1)
        assert await leases(server) == 1
        await clock.sleep(MINUTE)
        await server.call("create", "events", body=event("later"))
        assert await leases(server) == 2
        await clock.sleep(62 * MINUTE)
        assert (await leases(server), await names(server)) == (0, [])

    run(scenario)


def test_an_etcd_that_lost_its_memory_gives_another_lease() -> None:
    async def scenario(server: Server, clock: Clock) -> None:
        await server.call("create", "events", body=event("a"))
        server.system.crash("etcd")
        await clock.sleep(MINUTE / 2)
        later = replace(event("b"), metadata=ObjectMeta(name="b", namespace="default"))
        await server.call("create", "namespaces", body={"metadata": {"name": "default"}}, namespace="")
        await server.call("create", "events", body=later)
        assert (await leases(server), await names(server)) == (1, ["b"])

    run(scenario)
