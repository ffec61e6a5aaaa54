"""client-go's reflector semantics, against a real API server, in virtual time."""

from typing import Any

import pytest
from msgspec.structs import replace

from kubeloop.actors.api import meta, selectors
from kubeloop.actors.api.core_v1 import ConfigMap, Pod
from kubeloop.actors.client.client import Client
from kubeloop.actors.client.informer import Informer, InformerFactory
from kubeloop.runtime.actor import Actor
from kubeloop.runtime.faults import Partition
from kubeloop.runtime.system import System
from tests.client.harness import HOST, client_of, config_map, pod, run

Change = tuple[str | None, str | None]


class Log:
    """What a handler was told: the values of `color`, before and after."""

    def __init__(self, informer: Informer[Any]) -> None:
        self.changes: list[Change] = []
        informer.add_handler(lambda old, new: self.changes.append((self.color(old), self.color(new))))

    @staticmethod
    def color(obj: ConfigMap | None) -> str | None:
        return None if obj is None else obj.data.get("color", "")


def test_an_informer_holds_what_the_server_holds() -> None:
    async def test(system: System, client: Client) -> None:
        await client.create(config_map("old", color="red"))
        factory = InformerFactory(client, system, system.clock)
        informer = factory.informer(ConfigMap)
        log = Log(informer)
        assert not informer.has_synced
        await factory.start()
        assert informer.has_synced and log.changes == [(None, "red")]
        created = await client.create(config_map("new", color="blue"))
        assert informer.get("default/new") is created
        await client.update(replace(created, data={"color": "green"}))
        await client.delete("configmaps", "old")
        assert log.changes[1:] == [(None, "blue"), ("blue", "green"), ("red", None)]
        assert [meta.name(each) for each in informer] == ["new"]
        factory.stop()
        await client.delete("configmaps", "new")
        assert len(log.changes) == 4

    run(test)


def test_one_informer_is_shared_by_all_who_select_the_same() -> None:
    async def test(system: System, client: Client) -> None:
        factory = InformerFactory(client, system, system.clock)
        assert factory.informer(Pod) is factory.informer("pods") is factory.informer("po")
        selected = factory.informer("pods", field_selector="spec.nodeName=node-1")
        assert selected is not factory.informer("pods")
        await factory.start()
        created = await client.create(pod())
        assert len(selected) == 0
        await client.bind(created, "node-1")
        assert [meta.name(each) for each in selected] == ["web"]
        await client.delete("pods", "web", grace_period_seconds=0)
        assert len(selected) == 0

    run(test)


def test_a_late_handler_hears_of_everything_that_is_there() -> None:
    async def test(system: System, client: Client) -> None:
        factory = InformerFactory(client, system, system.clock)
        informer = factory.informer(ConfigMap)
        await factory.start()
        await client.create(config_map("a", color="red"))
        log = Log(informer)
        assert log.changes == [(None, "red")]

    run(test)


def test_indexes_follow_the_objects() -> None:
    async def test(system: System, client: Client) -> None:
        factory = InformerFactory(client, system, system.clock)
        informer = factory.informer(ConfigMap, "default")
        informer.add_index("color", lambda obj: [obj.data["color"]] if "color" in obj.data else [])
        await factory.start()
        one = await client.create(config_map("one", color="red"))
        await client.create(config_map("two", color="red"))
        assert [meta.name(each) for each in informer.by_index("color", "red")] == ["one", "two"]
        await client.update(replace(one, data={"color": "blue"}))
        await client.delete("configmaps", "two")
        assert informer.count_by_index("color", "red") == 0
        assert [meta.name(each) for each in informer.by_index("color", "blue")] == ["one"]
        informer.add_index("name", lambda obj: [meta.name(obj)])
        assert informer.count_by_index("name", "one") == 1
        with pytest.raises(KeyError):
            informer.by_index("size", "1")

    run(test)


def test_lists_are_by_namespace_and_selector() -> None:
    async def test(system: System, client: Client) -> None:
        await client.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "other"}})
        factory = InformerFactory(client, system, system.clock)
        informer = factory.informer(Pod)
        await factory.start()
        assert informer.list("default") == []
        await client.create(pod("a", tier="front"))
        await client.create(pod("b", tier="back"))
        elsewhere = meta.replace_metadata(pod("c", tier="front"), namespace="other")
        await client.create(elsewhere)
        front = selectors.parse_label_selector("tier=front")
        assert [meta.name(each) for each in informer.list(selector=front)] == ["a", "c"]
        assert [meta.name(each) for each in informer.list("default")] == ["a", "b"]
        assert [meta.name(each) for each in informer.list("other", front)] == ["c"]
        await client.delete("pods", "c", "other", grace_period_seconds=0)
        assert informer.list("other") == []

    run(test)


def test_an_informer_survives_the_crash_of_the_api_server() -> None:
    async def test(system: System, client: Client) -> None:
        await client.create(config_map("a", color="red"))
        await client.create(config_map("b", color="red"))
        factory = InformerFactory(client, system, system.clock)
        informer = factory.informer(ConfigMap, "default")
        log = Log(informer)
        await factory.start()
        system.crash("kube-apiserver")
        while True:
            try:
                await client.delete("configmaps", "a")
                await client.create(config_map("c", color="blue"))
                break
            except ConnectionError:
                await system.clock.sleep(0.5)
        await system.clock.sleep(60)
        assert sorted(meta.name(each) for each in informer) == ["b", "c"]
        assert sorted(map(str, log.changes)) == sorted(
            map(str, [(None, "red"), (None, "red"), ("red", None), (None, "blue")])
        )
        await client.create(config_map("d", color="green"))
        assert log.changes[-1] == (None, "green")

    run(test)


def test_what_changed_behind_a_partition_is_told_once_it_is_healed() -> None:
    async def test(system: System, client: Client) -> None:
        factory = InformerFactory(client_of(system, "node-1"), system, system.clock)
        informer = factory.informer(ConfigMap, "default")
        log = Log(informer)
        await client.create(config_map("a", color="red"))
        await factory.start()
        fault = system.inject(Partition("node-1", HOST))
        await client.create(config_map("b", color="blue"))
        await client.delete("configmaps", "a")
        await system.clock.sleep(120)
        assert log.changes == [(None, "red")]
        fault.heal()
        await system.clock.sleep(60)
        assert sorted(map(str, log.changes[1:])) == sorted(map(str, [(None, "blue"), ("red", None)]))
        assert [meta.name(each) for each in informer] == ["b"]

    run(test)


def test_an_informer_started_before_its_server_waits_for_it() -> None:
    async def test(system: System, client: Client) -> None:
        await system.stop("kube-apiserver")
        factory = InformerFactory(client, system, system.clock)
        informer = factory.informer(ConfigMap, "default")
        starting = system.spawn(factory.start, name="start")
        await system.clock.sleep(5)
        assert not informer.has_synced and not starting.done()
        factory.stop()
        await informer.wait_for_sync()
        await system.clock.sleep(60)
        assert starting.done()

    run(test)


class Owner(Actor):
    def __init__(self, client: Client) -> None:
        self.client = client

    async def on_start(self) -> None:
        factory = InformerFactory(self.client, self, self.context.clock)
        self.defer(factory.stop)
        factory.informer(ConfigMap, "default").add_handler(self.on_change)
        await factory.start()

    def on_change(self, old: ConfigMap | None, new: ConfigMap | None) -> None:
        if new is not None and "poison" in new.data:
            raise RuntimeError("poisoned")


def test_a_failing_handler_crashes_its_actor_and_nobody_else() -> None:
    async def test(system: System, client: Client) -> None:
        await system.start(lambda: Owner(client), name="owner", host=HOST)
        created = await client.create(config_map("p", poison="yes"))
        assert meta.uid(created)
        await client.delete("configmaps", "p")
        await system.clock.sleep(30)
        restarts = {each.name: each.restarts for each in system.statistics()}
        assert restarts["owner"] == 1 and restarts["kube-apiserver"] == 0

    run(test)


def test_an_informer_at_rest_owns_no_task() -> None:
    async def test(system: System, client: Client) -> None:
        import asyncio

        before = len(asyncio.all_tasks())
        factory = InformerFactory(client, system, system.clock)
        for resource in ("pods", "nodes", "configmaps", "deployments"):
            factory.informer(resource)
        await factory.start()
        assert len(asyncio.all_tasks()) == before

    run(test)
