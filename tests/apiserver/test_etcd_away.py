"""etcd goes and comes back: what is refused meanwhile, in whose words, what goes on, and that nothing gets lost."""

import asyncio
from typing import Any

import pytest

from kubeloop.actors.api.errors import StatusError
from kubeloop.actors.apiserver.actor import CheckHealth
from kubeloop.actors.apiserver.etcd_status import status_of
from kubeloop.actors.etcd.actor import EtcdActor
from kubeloop.actors.etcd.messages import CompactedError, EtcdError
from kubeloop.runtime.actor import ActorStopped, Unreachable
from tests.apiserver.distant import ETCD_HOST, World, config_map, play

OUT_OF_TIME = "Timeout: request did not complete within requested timeout - context deadline exceeded"


async def refused(answer: Any) -> StatusError:
    with pytest.raises(StatusError) as caught:
        await answer
    return caught.value


async def health(world: World) -> str:
    name = world.servers[0].name
    found: dict[str, str] = await world.system.ref(name, source_host=name).ask(CheckHealth())
    return found["etcd"]


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (EtcdError("etcdserver: mvcc: database space exceeded", "RESOURCE_EXHAUSTED"), 500, None),
        (EtcdError("etcdserver: request timed out", "UNAVAILABLE"), 500, None),
        (EtcdError("etcdserver: request is too large", "INVALID_ARGUMENT"), 500, None),
        (CompactedError("etcdserver: mvcc: required revision has been compacted"), 500, None),
        (
            EtcdError("connection refused", "UNAVAILABLE"),
            500,
            "rpc error: code = Unavailable desc = connection refused",
        ),
        (Unreachable("no way"), 500, "rpc error: code = Unavailable desc = no way"),
        (ActorStopped("etcd stopped"), 500, "rpc error: code = Unavailable desc = etcd stopped"),
        (EtcdError("late", "DEADLINE_EXCEEDED"), 504, OUT_OF_TIME),
        (Unreachable("no member of etcd answers, last http://a:2379: Deadline Exceeded"), 504, OUT_OF_TIME),
    ],
)
def test_what_etcd_says_becomes_the_status_that_kube_apiserver_makes_of_it(
    error: Exception, code: int, message: str | None
) -> None:
    status = status_of(error)
    assert (status.code, status.message) == (code, message or str(error))
    assert status.reason == ("Timeout" if code == 504 else "")


def test_without_etcd_only_what_the_cache_may_say_is_said() -> None:
    async def scenario(world: World) -> None:
        server = world.servers[0]
        made = await server.call("create", "configmaps", body=config_map("a", v="1"))
        assert await health(world) == ""
        rule = world.system.network.partition(server.name, ETCD_HOST)
        error = await refused(server.call("create", "configmaps", body=config_map("b")))
        assert (error.code, error.reason) == (500, "")
        assert error.message.startswith("rpc error: code = Unavailable desc = ")
        assert (await refused(server.values())).code == 500
        assert (await refused(server.call("get", "configmaps", "a"))).code == 500
        assert await server.values(resourceVersion="0") == {"a": "1"}
        version = made.metadata.resource_version
        assert (await server.call("get", "configmaps", "a", resourceVersion=version)).data == {"v": "1"}
        assert (await server.watch("configmaps", resourceVersion=version))[0].events == []
        assert (await health(world)).startswith("error getting data from etcd: ")
        rule.heal()
        await asyncio.sleep(2)
        assert (await health(world), await server.values()) == ("", {"a": "1"})

    play(scenario, "/registry")


def test_watchers_hear_everything_that_happened_while_their_server_was_cut_off() -> None:
    async def scenario(world: World) -> None:
        one, other = world.servers
        await other.call("create", "configmaps", body=config_map("a", v="0"))
        recorder, _ = await other.watch("configmaps", resourceVersion="0")
        rule = world.system.network.partition(other.name, ETCD_HOST)
        await one.put("a", v="1")
        await one.call("create", "configmaps", body=config_map("b"))
        await one.call("delete", "configmaps", "a")
        await asyncio.sleep(60)
        rule.heal()
        await asyncio.sleep(2)
        told = ["ADDED a", "MODIFIED a", "ADDED b", "DELETED a"]
        assert [f"{event.type} {event.object.metadata.name}" for event in recorder.events] == told
        assert (await other.values(), recorder.closed) == ({"b": ""}, [])

    play(scenario)


def test_an_etcd_that_crashes_costs_no_watcher() -> None:
    async def scenario(world: World) -> None:
        server = world.servers[0]
        recorder, _ = await server.watch("configmaps", resourceVersion="0")
        for number in range(5):
            world.system.crash("etcd")
            await asyncio.sleep(60)
            await server.call("create", "configmaps", body=config_map(f"c{number}"))
        assert recorder.told() == [("ADDED", f"c{number}") for number in range(5)]
        assert recorder.closed == []

    play(scenario, "/registry")


def test_a_watch_that_was_overtaken_by_compaction_begins_anew() -> None:
    async def scenario(world: World) -> None:
        one, other = world.servers
        await other.call("create", "configmaps", body=config_map("a", v="0"))
        recorder, _ = await other.watch("configmaps", resourceVersion="0")
        rule = world.system.network.partition(other.name, ETCD_HOST)
        for number in range(5):
            made = await one.put("a", v=str(number))
        await world.kv.compact(int(made.metadata.resource_version or 0) if made.metadata is not None else 0)
        rule.heal()
        await asyncio.sleep(2)
        assert len(recorder.closed) == 1
        assert await other.values() == {"a": "4"}
        error = await refused(other.watch("configmaps", resourceVersion="2"))
        assert (error.code, error.reason) == (410, "Expired")

    play(scenario)


def test_an_etcd_with_another_history_is_noticed() -> None:
    async def scenario(world: World) -> None:
        server = world.servers[0]
        await server.call("create", "configmaps", body=config_map("a"))
        recorder, _ = await server.watch("configmaps", resourceVersion="0")
        await world.system.stop("etcd")
        await world.system.start(EtcdActor, name="etcd", host=ETCD_HOST)
        await asyncio.sleep(2)
        assert (await server.values(), len(recorder.closed)) == ({}, 1)

    play(scenario, "/registry")


def test_a_server_that_starts_waits_for_its_etcd() -> None:
    async def scenario(world: World) -> None:
        world.system.network.partition("late", ETCD_HOST)
        world.system.clock.call_later(5, world.system.network.heal)
        server = await world.add("late")
        assert world.system.clock.monotonic() >= 5
        assert (await server.call("get", "namespaces", "default", namespace="")).metadata.name == "default"
        world.system.network.partition("never", ETCD_HOST)
        with pytest.raises(Unreachable):
            await world.add("never")

    play(scenario, "/registry")


def test_a_write_that_the_watch_does_not_tell_of_is_answered_all_the_same() -> None:
    async def scenario(world: World) -> None:
        server = world.servers[0]
        await server.values()
        world.hears_late(server, 20)  # answers come as late; then the watch is another 20 s behind
        began = world.system.clock.monotonic()
        made = await server.call("create", "configmaps", body=config_map("a"))
        assert made.metadata.name == "a"
        assert world.system.clock.monotonic() - began < 45

    play(scenario, "/registry")


@pytest.mark.parametrize("value", [b"k8s\x00\n\x0f", b"[]", b"{}", b'{"metadata":{"name":7}}', b"\xff"])
def test_a_value_that_is_no_object_is_named_and_the_other_resources_go_on(value: bytes) -> None:
    async def scenario(world: World) -> None:
        server = world.servers[0]
        await server.call("create", "configmaps", body=config_map("a"))
        recorder, _ = await server.watch("configmaps", resourceVersion="0")
        key = b"/registry/configmaps/default/damaged"
        await world.kv.put(key, value)
        error = await refused(server.values())
        assert error.code == 500 and key.decode() in error.message
        assert len(recorder.closed) == 1
        assert (await server.call("get", "namespaces", "default", namespace="")).metadata.name == "default"
        await world.kv.delete_range(key)
        assert await server.values() == {"a": ""}

    play(scenario, "/registry")


def test_requests_that_wait_for_the_same_connection_are_told_together() -> None:
    async def scenario(world: World) -> None:
        server = world.servers[0]
        await server.values()
        world.system.network.drop(server.name, ETCD_HOST)  # each message is missed only after 30 s
        world.system.network.cut(server.name, ETCD_HOST)
        began = world.system.clock.monotonic()
        answers = await asyncio.gather(*(server.values() for _ in range(20)), return_exceptions=True)
        assert all(isinstance(answer, StatusError) and answer.code == 500 for answer in answers)
        assert world.system.clock.monotonic() - began < 65

    play(scenario, "/registry")
