import re

from kubeloop.actors.api import meta
from kubeloop.actors.client.client import Client
from kubeloop.actors.client.events import EventRecorder
from kubeloop.runtime.system import System
from tests.client.harness import pod, run


def test_an_event_says_what_happened_to_what_and_who_says_so() -> None:
    async def test(system: System, client: Client) -> None:
        made = await client.create(pod())
        recorder = EventRecorder(client, "kubelet", "node-1", system.clock, spawner=system)
        recorder.event(made, "Normal", "Started", "Container started", field_path="spec.containers{app}")
        await system.clock.sleep(1)
        (event,) = (await client.list("events", "default")).items
        assert re.fullmatch(r"web\.[0-9a-f]{16}", meta.name(event))
        assert (event.type, event.reason, event.message, event.count) == ("Normal", "Started", "Container started", 1)
        about = event.involved_object
        assert (about.kind, about.api_version, about.name, about.namespace) == ("Pod", "v1", "web", "default")
        assert about.uid == meta.uid(made) and about.field_path == "spec.containers{app}"
        assert (event.source.component, event.source.host) == ("kubelet", "node-1")
        assert event.reporting_component == "kubelet" and event.first_timestamp == event.last_timestamp

    run(test)


def test_a_repeated_event_is_counted() -> None:
    async def test(system: System, client: Client) -> None:
        made = await client.create(pod())
        recorder = EventRecorder(client, "kubelet", "node-1", system.clock, spawner=system)
        for _ in range(3):
            recorder.event(made, "Warning", "BackOff", "again")
            await system.clock.sleep(10)
        recorder.event(made, "Warning", "BackOff", "something else")
        await system.clock.sleep(1)
        events = {each.message: each for each in (await client.list("events", "default")).items}
        assert {message: each.count for message, each in events.items()} == {"again": 3, "something else": 1}
        assert events["again"].last_timestamp > events["again"].first_timestamp

    run(test)


def test_many_events_that_differ_in_their_message_are_combined() -> None:
    async def test(system: System, client: Client) -> None:
        made = await client.create(pod())
        recorder = EventRecorder(client, "kubelet", "node-1", system.clock, spawner=system)
        for number in range(14):
            recorder.event(made, "Warning", "Failed", f"attempt {number}")
            await system.clock.sleep(1)
        recorder.event(made, "Warning", "Failed", "attempt 3")
        recorder.event(made, "Warning", "Other", "attempt 20")
        await system.clock.sleep(1)
        counts = {each.message: each.count for each in (await client.list("events", "default")).items}
        alone = {f"attempt {number}": 2 if number == 3 else 1 for number in range(9)}
        assert counts == {**alone, "(combined from similar events): attempt 13": 5, "attempt 20": 1}
        await system.clock.sleep(601)
        recorder.event(made, "Warning", "Failed", "attempt 50")
        await system.clock.sleep(1)
        assert "attempt 50" in [each.message for each in (await client.list("events", "default")).items]

    run(test)


def test_what_is_said_too_often_is_counted_and_seldom_written() -> None:
    async def test(system: System, client: Client) -> None:
        made = await client.create(pod())
        recorder = EventRecorder(client, "kubelet", "node-1", system.clock, spawner=system)

        async def count() -> int:
            await system.clock.sleep(1)
            (event,) = (await client.list("events", "default")).items
            return int(event.count)

        for _ in range(40):
            recorder.event(made, "Warning", "BackOff", "again")
        assert await count() == 25
        await system.clock.sleep(300)
        recorder.event(made, "Warning", "BackOff", "again")
        assert await count() == 41

    run(test)


def test_an_event_that_was_deleted_is_written_anew() -> None:
    async def test(system: System, client: Client) -> None:
        made = await client.create(pod())
        recorder = EventRecorder(client, "kubelet", "node-1", system.clock, spawner=system)
        recorder.event(made, "Normal", "Pulled", "pulled")
        await system.clock.sleep(1)
        await client.delete_collection("events", "default")
        recorder.event(made, "Normal", "Pulled", "pulled")
        await system.clock.sleep(1)
        (event,) = (await client.list("events", "default")).items
        assert (event.count, event.message) == (2, "pulled")
        assert event.first_timestamp < event.last_timestamp

    run(test)


def test_recording_never_fails() -> None:
    async def test(system: System, client: Client) -> None:
        custom = {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w", "namespace": "default"}}
        recorder = EventRecorder(client, "operator", "", system.clock, spawner=system)
        recorder.event(custom, "Normal", "Seen", "a widget")
        gone = meta.replace_metadata(pod(), namespace="nowhere")
        recorder.event(gone, "Normal", "Lost", "no such namespace")
        await system.clock.sleep(1)
        (event,) = (await client.list("events")).items
        assert event.involved_object.kind == "Widget" and event.source.host is None
        await system.stop("kube-apiserver")
        recorder.event(custom, "Normal", "Seen", "another")
        await system.clock.sleep(1)

    run(test)
