"""The Watch service: many watches a stream, each behind a bounded buffer, written as fast as the client reads.

Follows the Watch part of etcd's v3 API reference and its API guarantees. Events are taken from a buffer only when the
stream has room, so a slow client costs its own watches' time and nobody's memory; one that compaction overtakes is
told so. Writers only note that a watch has something: the responses are made once a turn of the loop.
"""

import asyncio
from collections import deque
from typing import Any

from aetcd.rpc import rpc_pb2  # type: ignore[import-untyped]

from kubeloop.actors.etcd.actor import EtcdActor
from kubeloop.actors.etcd.messages import Event, EventType
from kubeloop.actors.etcd.wire.rpc_call import StreamingCall
from kubeloop.actors.etcd.wire.rpc_words import Method
from kubeloop.actors.etcd.wire.services_header import EventEncoder, Headers, encoded, varint
from kubeloop.store.buffered import BufferedWatch
from kubeloop.store.errors import CompactedError
from kubeloop.store.model import DELETE, PUT

PROGRESS_INTERVAL_SECONDS = 600.0  # of progress_notify, as etcd's
RESPONSE_BYTES = 1_048_576  # events of several transactions go into one response up to so much
FRAGMENT_OVERHEAD_BYTES = 524_288  # etcd splits at its request limit and gRPC's share of it
NO_WATCH = -1
DUPLICATE_ID = "mvcc: duplicate watch ID provided on the WatchStream"
EMPTY_RANGE = "mvcc: watcher range is empty"
FILTERS: dict[int, EventType] = {0: PUT, 1: DELETE}


def watch_methods(etcd: EtcdActor, headers: Headers) -> list[Method]:
    service = WatchService(etcd, headers)
    return [
        Method("etcdserverpb.Watch", "Watch", "bidi_stream", rpc_pb2.WatchRequest.FromString, service.watch),
    ]


class WatchService:
    """What the streams share: the events' encoding, and one wake-up a turn of the loop for all of them."""

    def __init__(self, etcd: EtcdActor, headers: Headers) -> None:
        self.etcd = etcd
        self.headers = headers
        self.encoder = EventEncoder()
        self._ready: dict[WatchStream, None] = {}

    async def watch(self, call: StreamingCall) -> None:
        """Ends only when the client cancels: one that has ended its half still gets events, as from etcd."""
        stream = WatchStream(self, call)
        try:
            while (request := await call.receive()) is not None:
                stream.take(request)
                await stream.wait_for_room()
            await asyncio.get_running_loop().create_future()
        finally:
            stream.close()

    def wake(self, stream: "WatchStream") -> None:
        if not self._ready:
            asyncio.get_running_loop().call_soon(self._pump)
        self._ready[stream] = None

    def _pump(self) -> None:
        ready, self._ready = self._ready, {}
        for stream in ready:
            stream.pump()


class OneWatch:
    """One watch of a stream. `unsent` was taken from the buffer and is not written yet."""

    __slots__ = ("buffer", "fragment", "id", "progress", "quiet", "unsent")

    def __init__(self, watch_id: int, fragment: bool, progress: bool) -> None:
        self.id = watch_id
        self.fragment = fragment
        self.progress = progress
        self.quiet = False  # no events since the last progress interval
        self.unsent: deque[list[Event]] = deque()
        self.buffer: BufferedWatch


class WatchStream:
    """One call of Watch."""

    def __init__(self, service: WatchService, call: StreamingCall) -> None:
        self._service = service
        self._etcd = service.etcd
        self._headers = service.headers
        self._call = call
        self._watches: dict[int, OneWatch] = {}
        self._next_id = 0
        self._ready: dict[OneWatch, None] = {}
        self._room = True
        self._room_waiter: asyncio.Future[None] | None = None
        self._progress_wanted = False
        self._progress_timer: asyncio.TimerHandle | None = None
        self._fragment_bytes = self._etcd.options.max_request_bytes + FRAGMENT_OVERHEAD_BYTES
        self._closed = False
        call.on_writable = self._writable

    def take(self, request: Any) -> None:
        """Do what the client asks. Only what comes out of it at once is written here."""
        kind = request.WhichOneof("request_union")
        if kind == "create_request":
            self._create(request.create_request)
        elif kind == "cancel_request":
            self._cancel(request.cancel_request.watch_id)
        elif kind == "progress_request":
            self._progress_wanted = True
            self.pump()

    async def wait_for_room(self) -> None:
        """Return when the client has taken enough of what was written."""
        while not self._room and not self._closed:
            self._room_waiter = asyncio.get_running_loop().create_future()
            await self._room_waiter

    def close(self) -> None:
        """End every watch."""
        self._closed = True
        if self._progress_timer is not None:
            self._progress_timer.cancel()
        for watch in self._watches.values():
            watch.buffer.cancel()
        self._watches.clear()
        self._ready.clear()

    # what the client asks

    def _create(self, request: Any) -> None:
        key = request.key or b"\0"
        range_end = request.range_end or None
        if range_end is not None and range_end != b"\0" and key >= range_end:
            self._refuse(EMPTY_RANGE)
            return
        watch_id = request.watch_id
        if watch_id in self._watches and watch_id:
            self._refuse(DUPLICATE_ID)
            return
        watch = OneWatch(watch_id or self._free_id(), request.fragment, request.progress_notify)
        self._write(created_response(self._headers.now(), watch.id))
        try:
            watch.buffer = self._etcd.watch(
                key,
                range_end,
                start_revision=request.start_revision,
                prev_kv=request.prev_kv,
                filters=[FILTERS[number] for number in request.filters if number in FILTERS],
                on_ready=lambda: self._is_ready(watch),
            )
        except CompactedError as error:
            self._ready.pop(watch, None)
            self._write(compacted_response(self._headers.at(0), watch.id, error.compact_revision))
            return
        self._watches[watch.id] = watch
        if watch.progress and self._progress_timer is None:
            self._await_progress()

    def _free_id(self) -> int:
        while self._next_id in self._watches:
            self._next_id += 1
        self._next_id += 1
        return self._next_id - 1

    def _refuse(self, reason: str) -> None:
        response = rpc_pb2.WatchResponse(watch_id=NO_WATCH, created=True, canceled=True, cancel_reason=reason)
        self._write(encoded(self._headers.now(), response))

    def _cancel(self, watch_id: int) -> None:
        watch = self._watches.get(watch_id)
        if watch is None:
            return  # etcd says nothing either
        self._forget(watch)
        response = rpc_pb2.WatchResponse(watch_id=watch_id, canceled=True)
        self._write(encoded(self._headers.now(), response))

    def _forget(self, watch: OneWatch) -> None:
        del self._watches[watch.id]
        self._ready.pop(watch, None)
        watch.buffer.cancel()

    # events

    def _is_ready(self, watch: OneWatch) -> None:
        """Called while a write is under way."""
        self._ready[watch] = None
        self._service.wake(self)

    def _writable(self) -> None:
        self._room = True
        if self._room_waiter is not None and not self._room_waiter.done():
            self._room_waiter.set_result(None)
        self._service.wake(self)

    def pump(self) -> None:
        """Write what waits, a response a watch in turn, while the client takes it."""
        while self._ready and self._room and not self._closed:
            watch = next(iter(self._ready))
            del self._ready[watch]
            try:
                self._send_some(watch)
            except CompactedError as error:
                self._forget(watch)
                self._write(compacted_response(self._headers.at(0), watch.id, error.compact_revision))
            except Exception as error:  # ActorStopped: the store has closed its watches
                self.close()
                self._call.fail(error)
                self._call.stop_handler()
        if self._progress_wanted and not self._ready and not self._closed:
            self._progress_wanted = False
            response = rpc_pb2.WatchResponse(watch_id=NO_WATCH)
            self._write(encoded(self._headers.now(), response))

    def _send_some(self, watch: OneWatch) -> None:
        if not watch.unsent:
            watch.unsent.extend(watch.buffer.take())
        unsent = watch.unsent
        if not unsent:
            return
        encode = self._service.encoder.encode
        events: list[bytes] = []
        size = 0
        while unsent and size < RESPONSE_BYTES:
            for event in unsent.popleft():
                entry = encode(event)
                events.append(entry)
                size += len(entry)
        watch.quiet = False
        head = self._headers.now() + (b"\x10" + varint(watch.id) if watch.id else b"")
        if watch.fragment and size >= self._fragment_bytes:
            self._send_fragments(head, events)
        else:
            self._write(head + b"".join(events))
        if unsent or watch.buffer.behind:
            self._ready[watch] = None

    def _send_fragments(self, head: bytes, events: list[bytes]) -> None:
        """One response in pieces, each with `fragment` but the last."""
        piece: list[bytes] = []
        size = len(head)
        for entry in events:
            if piece and size + len(entry) >= self._fragment_bytes:
                self._write(head + b"\x38\x01" + b"".join(piece))
                piece, size = [], len(head)
            piece.append(entry)
            size += len(entry)
        self._write(head + b"".join(piece))

    def _write(self, response: bytes) -> None:
        if not self._call.send_nowait(response):
            self._room = False

    # progress_notify

    def _await_progress(self) -> None:
        clock = self._etcd.context.clock
        delay = PROGRESS_INTERVAL_SECONDS * clock.random.uniform(1.0, 1.1)  # jitter, as etcd's
        self._progress_timer = clock.call_later(delay, self._notify_progress)

    def _notify_progress(self) -> None:
        """Tell the watches that were quiet for a whole interval how far they have come."""
        for watch in self._watches.values():
            revision = watch.buffer.progress_revision if watch.progress and not watch.unsent else None
            if watch.quiet and revision is not None and self._room:
                response = rpc_pb2.WatchResponse(watch_id=watch.id)
                self._write(encoded(self._headers.at(revision), response))
            watch.quiet = True
        self._await_progress()


def created_response(header: bytes, watch_id: int) -> bytes:
    return encoded(header, rpc_pb2.WatchResponse(watch_id=watch_id, created=True))


def compacted_response(header: bytes, watch_id: int, compact_revision: int) -> bytes:
    response = rpc_pb2.WatchResponse(watch_id=watch_id, canceled=True, compact_revision=compact_revision)
    return encoded(header, response)
