import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from kubeloop.actors.api import meta
from kubeloop.actors.api.core_v1 import ConfigMap, Pod
from kubeloop.actors.api.errors import StatusError, is_already_exists, is_conflict, is_not_found
from kubeloop.actors.api.resources import UnknownResource
from kubeloop.actors.client import limits
from kubeloop.actors.client.client import Client
from kubeloop.runtime.system import System
from tests.client.harness import HOST, client_of, config_map, control_plane, pod, run

WIDGETS = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "widgets.example.com"},
    "spec": {
        "group": "example.com",
        "scope": "Namespaced",
        "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "shortNames": ["wd"]},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
            }
        ],
    },
}


def test_what_is_created_is_read_back_updated_and_deleted() -> None:
    async def test(system: System, client: Client) -> None:
        created = await client.create(config_map(color="red"))
        assert created.data == {"color": "red"} and meta.uid(created)
        assert await client.get(ConfigMap, "a", "default") is await client.get("cm", "a")
        updated = await client.update(replace(created, data={"color": "blue"}))
        assert int(meta.resource_version(updated)) > int(meta.resource_version(created))
        with pytest.raises(StatusError) as stale:
            await client.update(replace(created, data={"color": "green"}))
        assert is_conflict(stale.value)
        await client.delete(updated)
        with pytest.raises(StatusError) as gone:
            await client.get("configmaps", "a")
        assert is_not_found(gone.value)
        assert gone.value.message == 'configmaps "a" not found'

    run(test)


def test_the_namespace_default_is_meant_for_one_object_and_all_for_lists() -> None:
    async def test(system: System, client: Client) -> None:
        await client.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "other"}})
        await client.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "mine"}})
        theirs = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "theirs"}}
        await client.create(theirs, "other")
        assert meta.namespace(await client.get("configmaps", "mine")) == "default"
        names = [meta.key(item) for item in (await client.list("configmaps")).items]
        assert names == ["default/mine", "other/theirs"]
        assert [meta.name(item) for item in (await client.list(ConfigMap, "other")).items] == ["theirs"]

    run(test)


def test_lists_select_and_come_in_pages() -> None:
    async def test(system: System, client: Client) -> None:
        for number in range(5):
            await client.create(pod(f"web-{number}", tier="front" if number % 2 else "back"))
        selected = await client.list("pods", label_selector="tier=front")
        assert [meta.name(each) for each in selected.items] == ["web-1", "web-3"]
        assert len((await client.list(Pod, field_selector="metadata.name=web-4")).items) == 1
        first = await client.list("pods", limit=2)
        assert len(first.items) == 2 and first.remaining_item_count == 3
        rest = await client.list("pods", limit=10, continue_=first.continue_)
        assert [meta.name(each) for each in rest.items] == ["web-2", "web-3", "web-4"]
        with pytest.raises(StatusError, match="unable to parse requirement"):
            await client.list("pods", label_selector="a in")

    run(test)


def test_patches_of_every_type_change_the_object() -> None:
    async def test(system: System, client: Client) -> None:
        await client.create(config_map(a="1"))
        await client.patch("configmaps", "a", {"data": {"b": "2"}})
        await client.patch("configmaps", "a", {"data": {"a": None}}, type="merge")
        operations = [{"op": "add", "path": "/data/c", "value": "3"}]
        patched = await client.patch("configmaps", "a", operations, type="json")
        assert patched.data == {"b": "2", "c": "3"}
        applied = await client.apply(config_map(d="4"), field_manager="me")
        assert applied.data == {"b": "2", "c": "3", "d": "4"}
        with pytest.raises(StatusError) as conflict:
            await client.apply(config_map(d="5"), field_manager="you")
        assert is_conflict(conflict.value)
        assert (await client.apply(config_map(d="5"), field_manager="you", force=True)).data["d"] == "5"
        with pytest.raises(ValueError, match="one of strategic, merge, json, apply"):
            await client.patch("configmaps", "a", {}, type="replace")

    run(test)


def test_dry_run_changes_nothing() -> None:
    async def test(system: System, client: Client) -> None:
        await client.create(config_map(), dry_run=True)
        assert not (await client.list("configmaps", "default", label_selector="x")).items
        with pytest.raises(StatusError):
            await client.get("configmaps", "a")

    run(test)


def test_a_name_that_is_taken_is_an_already_exists_error() -> None:
    async def test(system: System, client: Client) -> None:
        await client.create(config_map())
        with pytest.raises(StatusError) as taken:
            await client.create(config_map())
        assert is_already_exists(taken.value)

    run(test)


def test_custom_resources_are_found_by_every_name_and_come_as_dicts() -> None:
    async def test(system: System, client: Client) -> None:
        with pytest.raises(UnknownResource):
            await client.list("widgets")
        definition = await client.create(WIDGETS)
        async for event in client.watch(definition, resource_version="0"):
            if any(each.type == "Established" for each in event.object.status.conditions):
                break
        await client.create({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"}, "size": 3})
        for name in ("widgets", "widget", "wd", "Widget", "widgets.example.com", "widgets.v1.example.com"):
            assert (await client.get(name, "w"))["size"] == 3
        patched = await client.patch("widgets", "w", {"size": 4})
        assert patched["size"] == 4 and meta.namespace(patched) == "default"
        await client.delete(patched)
        assert not (await client.list("wd")).items

    run(test)


def test_a_watch_shows_changes_from_a_revision_and_ends_with_the_loop() -> None:
    async def test(system: System, client: Client) -> None:
        start = (await client.list("configmaps")).resource_version
        await client.create(config_map())
        await client.delete("configmaps", "a")
        seen = []
        async for event in client.watch("configmaps", "default", resource_version=start):
            seen.append((event.type, meta.name(event.object)))
            if event.type == "DELETED":
                break
        assert seen == [("ADDED", "a"), ("DELETED", "a")]

    run(test)


def _watchers(system: System) -> int:
    server: Any = system.slot("kube-apiserver").live.actor  # type: ignore[union-attr]
    return sum(
        len(route.store.cache.watchers) for route in server.routes.values() if route.store and route.store.loaded
    )


def test_a_watch_whose_loop_was_left_is_closed_at_once() -> None:
    async def test(system: System, client: Client) -> None:
        async def first() -> str:
            async for event in client.watch("namespaces"):
                return meta.name(event.object)
            return ""

        before = _watchers(system)
        assert await first()
        assert _watchers(system) == before
        stream = client.watch("namespaces")
        await anext(stream)
        assert _watchers(system) == before + 1
        await stream.aclose()
        assert _watchers(system) == before
        with pytest.raises(StopAsyncIteration):
            await anext(stream)

    run(test)


def test_a_watch_under_a_timeout_is_closed() -> None:
    async def test(system: System, client: Client) -> None:
        before = _watchers(system)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                async for _ in client.watch("configmaps", "default"):
                    pass
        assert _watchers(system) == before

    run(test)


def test_the_server_ends_a_watch_after_its_timeout() -> None:
    async def test(system: System, client: Client) -> None:
        began = system.clock.monotonic()
        events = [event async for event in client.watch("configmaps", "default", timeout_seconds=7)]
        assert not events and 7 <= system.clock.monotonic() - began < 9

    run(test)


def test_a_watch_from_a_compacted_revision_is_expired() -> None:
    async def test(system: System, client: Client) -> None:
        with pytest.raises(StatusError) as expired:
            async for _ in client.watch("configmaps", "default", resource_version="1"):
                pass
        assert expired.value.code == 410

    run(test)


def test_a_consumer_that_is_too_slow_loses_its_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "watch_events_buffered_max", 3)

    async def test(system: System, client: Client) -> None:
        before = _watchers(system)
        stream = client.watch("configmaps", "default")
        await client.create(config_map("first"))
        await anext(stream)
        for number in range(6):
            await client.create(config_map(f"a-{number}"))
        assert _watchers(system) == before
        seen = [meta.name((await anext(stream)).object) for _ in range(3)]
        assert seen == ["a-0", "a-1", "a-2"]
        with pytest.raises(StatusError, match="3 events behind"):
            await anext(stream)

    run(test)


def test_no_answer_is_a_connection_error() -> None:
    async def test(system: System, client: Client) -> None:
        await system.stop("kube-apiserver")
        with pytest.raises(ConnectionError):
            await client.list("pods")
        with pytest.raises(ConnectionError):
            await anext(client.watch("pods"))

    run(test)


def test_scale_bind_and_evict() -> None:
    async def test(system: System, client: Client) -> None:
        made = await client.create(pod())
        await client.bind(made, "node-1")
        bound = await client.get(Pod, "web")
        assert bound.spec.node_name == "node-1"
        await client.evict("web")
        deployment = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "d"},
            "spec": {
                "selector": {"matchLabels": {"a": "b"}},
                "template": {
                    "metadata": {"labels": {"a": "b"}},
                    "spec": {"containers": [{"name": "c", "image": "i"}]},
                },
            },
        }
        await client.create(deployment)
        await client.scale("deployments", "d", 4)
        assert (await client.get("deployments", "d")).spec.replicas == 4
        scale = await client.get_scale("deployments", "d")
        assert meta.api_version_and_kind(scale) == ("autoscaling/v1", "Scale")

    run(test)


async def test_two_clients_see_the_same_object() -> None:
    async with control_plane() as system:
        one, other = client_of(system), client_of(system, HOST)
        created = await one.create(config_map())
        assert await other.get(ConfigMap, "a") is await one.get(ConfigMap, "a")
        assert meta.uid(created) == meta.uid(await other.get("configmaps", "a"))
