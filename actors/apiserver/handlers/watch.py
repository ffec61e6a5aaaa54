"""watch: what has changed since a revision, then what changes; or the present state first."""

from typing import Any

import msgspec

from kubeloop.actors.apiserver import freshness
from kubeloop.actors.apiserver.call import Call
from kubeloop.actors.apiserver.messages import WatchEvent, WatchHandle, WatchSink
from kubeloop.actors.apiserver.options import ListOptions, list_options, resource_version
from kubeloop.actors.apiserver.selection import Selection, selection
from kubeloop.actors.apiserver.watch_cache import CachedEvent
from kubeloop.actors.apiserver.watchers import Watcher

INITIAL_EVENTS_END = "k8s.io/initial-events-end"


async def open_watch(call: Call, sink: WatchSink) -> WatchHandle:
    """Deliver the initial events and register, in one step without waiting: nothing is missed or doubled between."""
    options = list_options(call.request.options, watch=True)
    since = resource_version(options.resource_version)
    if options.send_initial_events:
        since = await freshness.refresh(call.store, options.resource_version, namespace=call.namespace)
    cache = call.store.cache
    wanted = selection(call.route, call.namespace, options)
    if call.name:
        wanted = narrowed(wanted, call.key)
    if call.route.from_storage is not None:
        sink = ConvertingSink(sink, call.route.from_storage)
    watcher = Watcher(
        sink,
        namespace=wanted.namespace,
        key=wanted.key,
        index_value=wanted.index_value,
        matches=wanted.matches,
        bookmarks=options.allow_watch_bookmarks,
        after=since,
    )
    if since == 0 and options.send_initial_events is not False or options.send_initial_events:
        send_present_state(call, wanted, sink)
    elif since:
        cache.replay(watcher, since)
    if options.send_initial_events and watcher.bookmarks:
        sink.on_event(bookmark(call, since, {INITIAL_EVENTS_END: "true"}))
    cache.watchers.add(watcher)
    if watcher.bookmarks:
        call.server.schedule_bookmarks()
    if options.timeout_seconds:
        schedule_timeout(call, watcher, options)
    return WatchHandle(lambda: cancel(call, watcher))


def narrowed(wanted: Selection, key: str) -> Selection:
    return msgspec.structs.replace(wanted, key=key, index_value=None)


def cancel(call: Call, watcher: Watcher) -> None:
    if watcher.timer is not None:
        watcher.timer.cancel()
    call.store.cache.watchers.remove(watcher)


def schedule_timeout(call: Call, watcher: Watcher, options: ListOptions) -> None:
    def close() -> None:
        if call.store.cache.watchers.remove(watcher):
            if watcher.bookmarks:
                watcher.sink.on_event(bookmark(call, max(watcher.after, freshness.known_revision(call.store))))
            watcher.close(None)

    assert options.timeout_seconds is not None
    watcher.timer = call.server.context.clock.call_later(options.timeout_seconds, close)


def send_present_state(call: Call, wanted: Selection, sink: WatchSink) -> None:
    cache = call.store.cache
    matches = wanted.matches
    if wanted.key:
        entry = cache.entries.get(wanted.key)
        entries = [] if entry is None else [entry]
    else:
        entries = list(cache.select(wanted.namespace, "", wanted.index_value))
    for entry in entries:
        if matches is None or matches(entry):
            cache.init_events += 1
            sink.on_event(CachedEvent("ADDED", entry.object, entry, []))


def bookmark(call: Call, revision: int, annotations: dict[str, str] | None = None) -> WatchEvent:
    metadata: dict[str, Any] = {"resourceVersion": str(revision)}
    if annotations:
        metadata["annotations"] = annotations
    resource = call.route.resource
    return bookmark_of(call.route.api_version, resource.kind, metadata)


def bookmark_of(api_version: str, kind: str, metadata: dict[str, Any]) -> WatchEvent:
    return WatchEvent("BOOKMARK", {"apiVersion": api_version, "kind": kind, "metadata": metadata})


class ConvertingSink:
    """Shows stored objects in the version that the watch asked for."""

    def __init__(self, sink: WatchSink, convert: Any) -> None:
        self._sink = sink
        self._convert = convert

    def on_event(self, event: WatchEvent) -> None:
        if event.type in ("ADDED", "MODIFIED", "DELETED"):
            event = WatchEvent(event.type, self._convert(event.object))
        self._sink.on_event(event)

    def on_closed(self, error: Exception | None) -> None:
        self._sink.on_closed(error)
