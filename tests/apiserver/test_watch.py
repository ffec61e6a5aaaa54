"""Watches through the whole server: nothing missed, nothing doubled, nothing left behind."""

import random

import pytest
from msgspec.structs import replace

from kubeloop.actors.api.core_v1 import ConfigMap, Container, Pod, PodSpec
from kubeloop.actors.api.errors import StatusError
from kubeloop.actors.api.meta_v1 import ObjectMeta
from tests.apiserver.conftest import Recorder, Server


def config_map(name: str, **data: str) -> ConfigMap:
    return ConfigMap(metadata=ObjectMeta(name=name), data=data)


async def test_a_watch_without_revision_begins_with_what_is_there(server: Server) -> None:
    await server.call("create", "configmaps", body=config_map("a"))
    recorder, _ = await server.watch("configmaps")
    await server.call("create", "configmaps", body=config_map("b"))
    await server.call("delete", "configmaps", "a")
    assert recorder.told() == [("ADDED", "a"), ("ADDED", "b"), ("DELETED", "a")]
    deleted = recorder.events[-1].object.metadata.resource_version
    assert int(deleted) > int(recorder.events[1].object.metadata.resource_version)


async def test_readers_share_the_stored_object(server: Server) -> None:
    recorder, _ = await server.watch("configmaps")
    made = await server.call("create", "configmaps", body=config_map("a"))
    assert recorder.events[0].object is made
    assert (await server.call("list", "configmaps")).items[0] is made


async def test_an_informer_sees_every_change_once_across_many_cuts(server: Server) -> None:
    chance = random.Random(7)
    seen: dict[str, str] = {}
    revision = (await server.call("list", "configmaps")).resource_version
    revisions: list[int] = []
    recorder, handle = await server.watch("configmaps", resourceVersion=revision)

    def absorb(recorder: Recorder) -> str:
        last = revision
        for event in recorder.events:
            last = event.object.metadata.resource_version
            revisions.append(int(last))
            if event.type == "DELETED":
                del seen[event.object.metadata.name]
            else:
                seen[event.object.metadata.name] = last
        recorder.events.clear()
        return str(last)

    live: set[str] = set()
    for step in range(300):
        name = f"c{chance.randrange(12)}"
        if name not in live:
            await server.call("create", "configmaps", body=config_map(name))
            live.add(name)
        elif chance.random() < 0.5:
            await server.call("update", "configmaps", name, config_map(name, step=str(step)))
        else:
            await server.call("delete", "configmaps", name)
            live.remove(name)
        if chance.random() < 0.35:
            handle.cancel()
            revision = absorb(recorder)
        if chance.random() < 0.5:
            handle.cancel()
            revision = absorb(recorder)
            recorder, handle = await server.watch("configmaps", resourceVersion=revision)
    handle.cancel()
    revision = absorb(recorder)
    recorder, handle = await server.watch("configmaps", resourceVersion=revision)
    absorb(recorder)
    now = {one.metadata.name: one.metadata.resource_version for one in (await server.call("list", "configmaps")).items}
    assert seen == now
    assert revisions == sorted(set(revisions))


async def test_a_pod_reaches_the_watcher_of_its_node_when_it_is_bound(server: Server) -> None:
    mine, _ = await server.watch("pods", fieldSelector="spec.nodeName=n1")
    other, _ = await server.watch("pods", fieldSelector="spec.nodeName=n2")
    spec = PodSpec(containers=(Container(name="c", image="i"),))
    await server.call("create", "pods", body=Pod(metadata=ObjectMeta(name="p"), spec=spec))
    binding = {
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": "p"},
        "target": {"kind": "Node", "name": "n1"},
    }
    await server.call("create", "pods", "p", binding, subresource="binding")
    assert (mine.told(), other.told()) == ([("ADDED", "p")], [])


async def test_initial_events_end_with_a_marked_bookmark(server: Server) -> None:
    await server.call("create", "configmaps", body=config_map("a"))
    recorder, _ = await server.watch(
        "configmaps", sendInitialEvents="true", resourceVersionMatch="NotOlderThan", allowWatchBookmarks="true"
    )
    assert [event.type for event in recorder.events] == ["ADDED", "BOOKMARK"]
    assert recorder.events[1].object["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


async def test_a_revision_from_before_the_server_began_has_expired(server: Server) -> None:
    await server.call("create", "configmaps", body=config_map("a"))
    with pytest.raises(StatusError) as caught:
        await server.watch("configmaps", resourceVersion="1")
    assert (caught.value.code, caught.value.reason) == (410, "Expired")


async def test_a_cancelled_watch_hears_nothing_more(server: Server) -> None:
    recorder, handle = await server.watch("configmaps")
    handle.cancel()
    handle.cancel()
    await server.call("create", "configmaps", body=config_map("a"))
    assert (recorder.events, recorder.closed) == ([], [])


async def test_a_crash_of_the_server_closes_its_watches(server: Server) -> None:
    recorder, _ = await server.watch("configmaps")
    server.system.crash("kube-apiserver")
    assert recorder.closed == [None]


async def test_a_label_that_goes_is_a_deletion_to_who_selected_by_it(server: Server) -> None:
    labelled = replace(config_map("a"), metadata=ObjectMeta(name="a", labels={"x": "1"}))
    recorder, _ = await server.watch("configmaps", labelSelector="x=1")
    made = await server.call("create", "configmaps", body=labelled)
    plain = replace(made, metadata=replace(made.metadata, labels={}))
    updated = await server.call("update", "configmaps", "a", plain)
    assert recorder.told() == [("ADDED", "a"), ("DELETED", "a")]
    assert recorder.events[1].object.metadata.resource_version == updated.metadata.resource_version
