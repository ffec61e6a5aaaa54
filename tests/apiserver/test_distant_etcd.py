"""An API server whose etcd tells of changes when it likes: reads are as new as they say, and nothing waits for ever."""

import asyncio
import random

import pytest

from kubeloop.actors.api.errors import StatusError
from kubeloop.actors.apiserver.storage import normalised
from tests.apiserver.distant import ETCD_HOST, Far, World, config_map, play


async def refused(answer: object) -> StatusError:
    with pytest.raises(StatusError) as caught:
        await answer  # type: ignore[misc]
    return caught.value


def test_what_one_server_wrote_another_reads_at_once() -> None:
    async def scenario(world: World) -> None:
        one, other = world.servers
        assert await other.values() == {}
        world.hears_late(other, 0.5)
        made = await one.call("create", "configmaps", body=config_map("a", v="1"))
        assert await other.values(resourceVersion="0") == {}
        assert (await other.call("get", "configmaps", "a")).data == {"v": "1"}
        await one.put("a", v="2")
        await one.call("create", "configmaps", body=config_map("b"))
        assert await other.values() == {"a": "2", "b": ""}
        await one.call("delete", "configmaps", "b")
        assert await other.values() == {"a": "2"}
        assert (await refused(other.call("get", "configmaps", "b"))).code == 404
        not_older = made.metadata.resource_version
        assert await other.values(resourceVersion=not_older, resourceVersionMatch="NotOlderThan") == {"a": "2"}

    play(scenario)


def test_writes_from_an_old_cache_are_judged_by_what_etcd_has() -> None:
    async def scenario(world: World) -> None:
        one, other = world.servers
        await one.call("create", "configmaps", body=config_map("a", v="1"))
        await other.values()
        world.hears_late(other, 0.5)
        newest = await one.put("a", v="2")
        assert (await other.call("update", "configmaps", "a", newest)).data == {"v": "2"}
        await one.put("a", v="3")
        assert (await other.put("a", v="4")).data == {"v": "4"}
        assert (await refused(other.call("update", "configmaps", "a", newest))).reason == "Conflict"
        await one.call("delete", "configmaps", "a")
        assert (await other.call("create", "configmaps", body=config_map("a", v="5"))).data == {"v": "5"}
        await one.call("delete", "configmaps", "a")
        assert (await refused(other.put("a", v="6"))).reason == "NotFound"
        await one.call("create", "configmaps", body=config_map("b"))
        assert (await refused(other.call("create", "configmaps", body=config_map("b")))).reason == "AlreadyExists"
        assert (await other.put("b", v="7")).data == {"v": "7"}
        await one.put("b", v="8")
        await other.call("delete", "configmaps", "b")
        assert await one.values() == {}

    play(scenario)


def test_a_list_says_a_revision_from_which_a_watch_misses_nothing() -> None:
    async def scenario(world: World) -> None:
        one, other = world.servers
        await other.values()
        world.hears_late(other, 0.5)
        await one.call("create", "configmaps", body=config_map("a"))
        await world.kv.put(b"elsewhere", b"")
        listed = await other.call("list", "configmaps")
        recorder, _ = await other.watch("configmaps", resourceVersion=listed.resource_version)
        await one.put("a", v="1")
        await asyncio.sleep(2)
        assert [one.metadata.name for one in listed.items] == ["a"]
        assert [(event.type, event.object.data) for event in recorder.events] == [("MODIFIED", {"v": "1"})]

    play(scenario)


def test_the_first_list_of_a_resource_and_the_late_news_of_it_are_one_story() -> None:
    async def scenario(world: World) -> None:
        one, other = world.servers
        world.hears_late(other, 0.5)
        await one.call("create", "configmaps", body=config_map("a"))
        await one.put("a", v="1")
        listed = await other.call("list", "configmaps")  # reads the keys; the watch will tell of them later
        recorder, _ = await other.watch("configmaps", resourceVersion=listed.resource_version)
        await asyncio.sleep(2)
        assert [item.data for item in listed.items] == [{"v": "1"}]
        assert recorder.events == []
        await one.put("a", v="2")
        await asyncio.sleep(2)
        assert [event.object.data for event in recorder.events] == [{"v": "2"}]

    play(scenario)


def test_initial_events_are_as_new_as_etcd_and_end_with_their_revision() -> None:
    async def scenario(world: World) -> None:
        one, other = world.servers
        await other.values()
        world.hears_late(other, 0.5)
        await one.call("create", "configmaps", body=config_map("a"))
        recorder, _ = await other.watch(
            "configmaps", sendInitialEvents="true", resourceVersionMatch="NotOlderThan", allowWatchBookmarks="true"
        )
        assert [event.type for event in recorder.events] == ["ADDED", "BOOKMARK"]
        end = int(recorder.events[1].object["metadata"]["resourceVersion"])
        assert end >= int(recorder.events[0].object.metadata.resource_version)
        await asyncio.sleep(2)
        assert len(recorder.events) == 2

    play(scenario)


def test_a_revision_that_other_prefixes_took_is_not_too_large_and_one_to_come_is() -> None:
    async def scenario(world: World) -> None:
        server = world.servers[0]
        await server.values()
        for _ in range(5):
            revision = (await world.kv.put(b"elsewhere", b"")).revision
        options = {"resourceVersion": str(revision), "resourceVersionMatch": "NotOlderThan"}
        found = await server.call("list", "configmaps", **options)
        assert int(found.resource_version) >= revision
        exact = await server.call("list", "configmaps", resourceVersion=str(revision), resourceVersionMatch="Exact")
        assert exact.resource_version == str(revision)
        assert (await server.call("get", "namespaces", "default", namespace="", resourceVersion=str(revision))).metadata
        error = await refused(server.call("list", "configmaps", resourceVersion=str(revision + 9)))
        assert (error.code, error.reason) == (504, "Timeout")
        assert error.message == f"Too large resource version: {revision + 9}, current: {revision}"

    play(scenario, "/registry")


def test_pages_of_one_list_are_of_one_revision() -> None:
    async def scenario(world: World) -> None:
        one, other = world.servers
        world.hears_late(other, 0.3)
        for name in "abcdef":
            await one.call("create", "configmaps", body=config_map(name, v="old"))
        names, token, revisions = [], "", set()
        while True:
            page = await other.call("list", "configmaps", limit="2", **({"continue": token} if token else {}))
            names += [(item.metadata.name, item.data["v"]) for item in page.items]
            revisions.add(page.resource_version)
            await one.put("f", v="new")
            await one.call("create", "configmaps", body=config_map(f"c{len(names)}"))
            token = page.continue_
            if not token:
                break
        assert (names, len(revisions)) == ([(name, "old") for name in "abcdef"], 1)

    play(scenario)


def test_servers_under_different_prefixes_do_not_see_each_other() -> None:
    async def scenario(world: World) -> None:
        one, other = world.servers
        recorder, _ = await other.watch("configmaps", resourceVersion="0")
        await one.call("create", "configmaps", body=config_map("a", v="1"))
        await other.call("create", "configmaps", body=config_map("a", v="2"))
        assert (await one.values(), await other.values()) == ({"a": "1"}, {"a": "2"})
        assert recorder.told() == [("ADDED", "a")]
        keys = [kv.key for kv in (await world.kv.range(b"\0", b"\0", keys_only=True)).kvs]
        assert b"/registry/configmaps/default/a" in keys and b"/teams/b/configmaps/default/a" in keys

    play(scenario, "registry", "/teams//b/")


@pytest.mark.parametrize(
    ("given", "used"),
    [("/registry", "/registry/"), ("registry", "/registry/"), ("", "/"), ("//a/b/../c//", "/a/c/"), ("/", "/")],
)
def test_a_prefix_is_read_as_kube_apiserver_reads_it(given: str, used: str) -> None:
    assert normalised(given) == used


@pytest.mark.parametrize("seed", range(5))
def test_two_servers_that_hear_late_and_lose_connections_agree_and_miss_nothing(seed: int) -> None:
    """Each of them has one writer, and an informer's list and watch that must see each change once and in order."""

    async def scenario(world: World) -> None:
        network, chance = world.system.network, random.Random(seed)
        network.delay("apiserver-*", ETCD_HOST, min_seconds=0.0, max_seconds=0.2)
        watches = []
        for server in world.servers:
            listed = await server.call("list", "configmaps")
            watches.append((await server.watch("configmaps", resourceVersion=listed.resource_version))[0])
        acknowledged: dict[str, str] = {}

        async def write(server: Far, names: str) -> None:
            for step in range(60):
                name = chance.choice(names)
                try:
                    if name not in acknowledged:
                        await server.call("create", "configmaps", body=config_map(name, v=str(step)))
                        acknowledged[name] = str(step)
                    elif chance.random() < 0.3:
                        await server.call("delete", "configmaps", name)
                        del acknowledged[name]
                    else:
                        await server.put(name, v=str(step))
                        acknowledged[name] = str(step)
                    assert (await server.values()).get(name) == acknowledged.get(name)
                except StatusError as error:  # the cut may have come before or after the change
                    assert "Unavailable" in error.message, error.message
                    found = {kv.key: kv for kv in (await world.kv.range(b"/", b"0")).kvs}
                    kv = found.get(f"/registry/configmaps/default/{name}".encode())
                    acknowledged.pop(name, None)
                    if kv is not None:
                        acknowledged[name] = kv.value.decode().partition('"v":"')[2].partition('"')[0]

        async def cut() -> None:
            for _ in range(12):
                await asyncio.sleep(chance.random() * 3)
                network.cut("apiserver-*", ETCD_HOST)

        one, other = world.servers
        await asyncio.gather(write(one, "abcd"), write(other, "wxyz"), cut())
        await asyncio.sleep(5)
        assert await one.values() == await other.values() == acknowledged
        for recorder in watches:
            assert recorder.closed == []
            revisions = [int(event.object.metadata.resource_version) for event in recorder.events]
            assert revisions == sorted(set(revisions))
            seen: dict[str, str] = {}
            for event in recorder.events:
                seen.pop(event.object.metadata.name, None)
                if event.type != "DELETED":
                    seen[event.object.metadata.name] = event.object.data["v"]
            assert seen == acknowledged

    play(scenario, seed=seed)
