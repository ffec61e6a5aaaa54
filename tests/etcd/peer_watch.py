"""One stream of watches of a `PeerClient`, with what it was told as plain data."""

from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

import grpc  # type: ignore[import-untyped]
from aetcd.rpc import rpc_pb2  # type: ignore[import-untyped]
from msgspec import Struct

from tests.etcd.peer_client import PeerClient, moved, plain_kv

STREAM_SECONDS = 30.0
FILTERS = {"PUT": "NOPUT", "DELETE": "NODELETE"}


class WatchCreate(Struct, frozen=True):
    """A watch; `filters` names the event types that are left out."""

    key: bytes
    range_end: bytes | None = None
    start_revision: int = 0
    prev_kv: bool = False
    filters: tuple[str, ...] = ()
    watch_id: int = 0
    fragment: bool = False
    progress_notify: bool = False


class WatchStream:
    """Everything on one gRPC call. `said[watch_id]` are the answers about a watch, `events[watch_id]` its transactions.

    Raises AssertionError when a transaction comes in parts, twice or in disorder.
    """

    def __init__(self, client: PeerClient) -> None:
        self._client = client
        self._requests: SimpleQueue[Any] = SimpleQueue()
        self._call = client.watch.Watch(iter(self._requests.get, None), timeout=STREAM_SECONDS)
        self._parts: list[Any] = []
        self.said: dict[int, list[dict[str, Any]]] = {}
        self.events: dict[int, list[tuple[int, list[tuple[str, dict[str, Any], dict[str, Any] | None]]]]] = {}
        self.progress: list[tuple[int, int]] = []
        self.fragments = 0
        self.created: list[int] = []

    def create(self, watch: WatchCreate) -> int:
        """The watch's id as soon as it is answered; -1 for one that is refused."""
        base, before = self._client.base, len(self.created)
        self._requests.put(
            rpc_pb2.WatchRequest(
                create_request=rpc_pb2.WatchCreateRequest(
                    key=watch.key,
                    range_end=watch.range_end or b"",
                    start_revision=moved(watch.start_revision, base),
                    progress_notify=watch.progress_notify,
                    filters=[FILTERS[name] for name in watch.filters],
                    prev_kv=watch.prev_kv,
                    watch_id=watch.watch_id,
                    fragment=watch.fragment,
                )
            )
        )
        self.until(lambda: len(self.created) > before)
        return self.created[-1]

    def cancel(self, watch_id: int) -> None:
        self._requests.put(rpc_pb2.WatchRequest(cancel_request=rpc_pb2.WatchCancelRequest(watch_id=watch_id)))

    def ask_for_progress(self) -> None:
        self._requests.put(rpc_pb2.WatchRequest(progress_request=rpc_pb2.WatchProgressRequest()))

    def close(self) -> None:
        self._requests.put(None)
        self._call.cancel()

    def until(self, condition: Callable[[], bool]) -> None:
        """Read answers until `condition` holds. Raises AssertionError when the call's time is over."""
        while not condition():
            try:
                answer = next(self._call)
            except grpc.RpcError as error:
                raise AssertionError(f"{error.code().name}; told until then: {self.said} {self.events}") from error
            self._take(answer)

    def wait_canceled(self, watch_id: int) -> None:
        self.until(lambda: watch_id in self.said and bool(self.said[watch_id][-1]["canceled"]))

    def wait_progress(self) -> tuple[int, int]:
        """The first progress notification: which watch's (-1: all), and its revision."""
        self.until(lambda: bool(self.progress))
        return self.progress[0]

    def wait_events(self, watch_id: int, count: int) -> None:
        """Until a watch has told of so many transactions."""
        self.until(lambda: len(self.events.get(watch_id, ())) >= count)

    def sync(self, key: bytes) -> None:
        """Everything that was told before is read when this returns: a watch of `key`, put now, has told its event."""
        watch_id = self.create(WatchCreate(key))
        self._client.kv.Put(rpc_pb2.PutRequest(key=key))
        self.wait_events(watch_id, 1)

    def told(self, watch_id: int, revision: int) -> list[Any]:
        """What a watch told, up to a revision."""
        return [transaction for transaction in self.events.get(watch_id, []) if transaction[0] <= revision]

    def _take(self, answer: Any) -> None:
        base = self._client.base
        if answer.created or answer.canceled:
            if answer.created:
                self.created.append(answer.watch_id)
            self.said.setdefault(answer.watch_id, []).append(
                {
                    "created": answer.created,
                    "canceled": answer.canceled,
                    "reason": answer.cancel_reason,
                    "compact_revision": answer.compact_revision and answer.compact_revision - base,
                    "revision": answer.header.revision and answer.header.revision - base,
                    "events": len(answer.events),
                }
            )
            return
        if not answer.events:
            self.progress.append((answer.watch_id, answer.header.revision - base))
            return
        self.fragments += answer.fragment
        self._parts.append(answer)
        if not answer.fragment:
            parts, self._parts = self._parts, []
            self._take_events(answer.watch_id, [event for part in parts for event in part.events])

    def _take_events(self, watch_id: int, events: list[Any]) -> None:
        told = self.events.setdefault(watch_id, [])
        last = told[-1][0] if told else 0
        base = self._client.base
        for event in events:
            revision = event.kv.mod_revision - base
            assert revision > last, f"revision {revision} after {last}"
            if not told or told[-1][0] != revision:
                assert not told or revision > told[-1][0], f"revision {revision} after {told[-1][0]}"
                told.append((revision, []))
            previous = plain_kv(event.prev_kv, base) if event.HasField("prev_kv") else None
            told[-1][1].append(("DELETE" if event.type else "PUT", plain_kv(event.kv, base), previous))
