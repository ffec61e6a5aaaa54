"""Watch laws: whoever resumes at any revision sees every change once, in order; selectors say what a change means."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubeloop.actors.api.core_v1 import Pod, PodSpec
from kubeloop.actors.api.errors import StatusError
from kubeloop.actors.api.meta_v1 import ObjectMeta
from kubeloop.actors.apiserver.messages import WatchEvent
from kubeloop.actors.apiserver.resource_store import touch
from kubeloop.actors.apiserver.watch_cache import Entry, WatchCache
from kubeloop.actors.apiserver.watchers import Watcher


class Recorder:
    def __init__(self) -> None:
        self.events: list[tuple[str, str, str | None]] = []
        self.closed = False

    def on_event(self, event: WatchEvent) -> None:
        metadata = event.object.metadata
        self.events.append((event.type, metadata.name, metadata.resource_version))

    def on_closed(self, error: Exception | None) -> None:
        self.closed = True


def entry(
    name: str, revision: int, *, node: str = "", labels: dict[str, str] | None = None, namespace: str = "a"
) -> Entry:
    metadata = ObjectMeta(name=name, namespace=namespace, labels=labels or {}, resource_version=str(revision))
    pod = Pod(metadata=metadata, spec=PodSpec(node_name=node or None))
    value = b'{"apiVersion":"v1","kind":"Pod","metadata":{"name":"%b"}}' % name.encode()
    return Entry(f"{namespace}/{name}", namespace, revision, value, pod)


def cache_of(**arguments: Any) -> WatchCache:
    return WatchCache(touch=touch, **arguments)


def indexed_cache() -> WatchCache:
    return cache_of(index_field="spec.nodeName", index_value=lambda pod: pod.spec.node_name or "")


operations = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["put", "remove"])), max_size=30)


@settings(max_examples=100, deadline=None)
@given(operations, st.integers(0, 30))
def test_a_watch_that_resumes_sees_what_one_that_stayed_sees(steps: list[tuple[str, str]], cut: int) -> None:
    cache = cache_of()
    stayed, resumed = Recorder(), Recorder()
    cache.watchers.add(Watcher(stayed))
    first = Watcher(resumed)
    cache.watchers.add(first)
    for revision, (name, operation) in enumerate(steps, 1):
        if revision > cut:
            cache.watchers.remove(first)
        if operation == "put":
            cache.put(entry(name, revision))
        else:
            cache.remove(f"a/{name}", revision)
    seen = int(resumed.events[-1][2] or 0) if resumed.events else 0
    cache.watchers.remove(first)
    cache.replay(Watcher(resumed), seen)
    assert resumed.events == stayed.events


def test_entering_a_selection_is_added_and_leaving_it_deleted_with_the_new_revision() -> None:
    cache, recorder = cache_of(), Recorder()
    selects = lambda found: found.object.metadata.labels.get("tier") == "web"  # noqa: E731
    cache.watchers.add(Watcher(recorder, matches=selects))
    cache.put(entry("p", 1))
    cache.put(entry("p", 2, labels={"tier": "web"}))
    cache.put(entry("p", 3, labels={"tier": "web", "x": "y"}))
    cache.put(entry("p", 4, labels={"tier": "db"}))
    cache.remove("a/p", 5)
    assert recorder.events == [("ADDED", "p", "2"), ("MODIFIED", "p", "3"), ("DELETED", "p", "4")]


def test_a_change_of_the_indexed_field_reaches_the_watchers_of_both_values() -> None:
    cache, old, new = indexed_cache(), Recorder(), Recorder()
    for value, recorder in (("n1", old), ("n2", new)):
        matches = lambda found, value=value: found.object.spec.node_name == value  # noqa: E731
        cache.watchers.add(Watcher(recorder, index_value=value, matches=matches))
    cache.put(entry("p", 1, node="n1"))
    cache.put(entry("p", 2, node="n2"))
    assert old.events == [("ADDED", "p", "1"), ("DELETED", "p", "2")]
    assert new.events == [("ADDED", "p", "2")]
    assert [found.key for found in cache.select(index_value="n2")] == ["a/p"]
    assert list(cache.select(index_value="n1")) == []


def test_a_watch_from_before_the_kept_history_has_expired() -> None:
    cache = cache_of(history_events_max=2)
    for revision in range(1, 5):
        cache.put(entry("p", revision))
    with pytest.raises(StatusError) as caught:
        cache.replay(Watcher(Recorder()), 1)
    assert (caught.value.code, caught.value.reason) == (410, "Expired")
    assert caught.value.message == "too old resource version: 1 (2)"
    recorder = Recorder()
    cache.replay(Watcher(recorder), 2)
    assert [event[2] for event in recorder.events] == ["3", "4"]


@settings(max_examples=100, deadline=None)
@given(st.sets(st.tuples(st.sampled_from(["a", "a-b", "b"]), st.sampled_from(["x", "y", "z"]))))
def test_selections_are_in_key_order_and_counted(keys: set[tuple[str, str]]) -> None:
    cache = cache_of()
    for revision, (namespace, name) in enumerate(sorted(keys), 1):
        cache.put(entry(name, revision, namespace=namespace))
    wanted = sorted(f"{namespace}/{name}" for namespace, name in keys)
    assert [found.key for found in cache.select()] == wanted
    for namespace in ("a", "a-b", "b"):
        own = [key for key in wanted if key.startswith(namespace + "/")]
        assert [found.key for found in cache.select(namespace)] == own
        assert cache.count(namespace) == len(own)
        for index, key in enumerate(own):
            assert [found.key for found in cache.select(namespace, key)] == own[index + 1 :]
            assert cache.count(namespace, key) == len(own) - index - 1


def test_the_encoded_object_is_the_stored_one_with_its_revision() -> None:
    assert entry("p", 7).encoded() == b'{"apiVersion":"v1","kind":"Pod","metadata":{"resourceVersion":"7","name":"p"}}'


def test_removed_watchers_leave_no_bucket() -> None:
    cache = indexed_cache()
    watchers = [
        Watcher(Recorder()),
        Watcher(Recorder(), namespace="a"),
        Watcher(Recorder(), key="a/p"),
        Watcher(Recorder(), index_value="n1"),
    ]
    for watcher in watchers:
        cache.watchers.add(watcher)
    assert len(cache.watchers) == 4
    for watcher in watchers:
        assert cache.watchers.remove(watcher)
        assert not cache.watchers.remove(watcher)
    buckets = (cache.watchers._all, cache.watchers._by_namespace, cache.watchers._by_key, cache.watchers._by_index)
    assert not any(buckets)
