"""A watch on a real etcd, as long-lived as etcd's history: lost members do not end it.

Each watch has a gRPC stream of its own. etcd would carry many on one, but then the history that one of them asks for
would stand in the way of the others, and an API server has one.

What the sink is told keeps etcd's promises whatever happens to streams: a transaction's events in one call, once, in
order. A stream that ends is opened again, at another member, from the revision behind the last one that is certain:
that of the last transaction delivered, or of a progress notification. A member that lags behind is no harm then, as
the revision to begin with is always named.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import Any

from kubeloop.actors.etcd.messages import CompactedError, EtcdError, Event, EventType
from kubeloop.actors.etcd.remote import words
from kubeloop.actors.etcd.remote.calls import Calls, being_cancelled
from kubeloop.actors.etcd.remote.errors import COMPACTED, is_refusal
from kubeloop.actors.etcd.remote.members import Member, write
from kubeloop.actors.etcd.remote.stubs import grpc
from kubeloop.runtime.actor import Unreachable
from kubeloop.runtime.tasks import Child, Spawner
from kubeloop.store.watch import OnClosed, Sink

STEADY_SECONDS = 5.0
"""A stream that has lived for so long was none of several failures in a row."""


class StreamBroken(Exception):
    """The stream ended, though nobody wanted it to."""


class RemoteWatch:
    """`start_revision` is the first to be told of, `reached` etcd's own now. `forget(watch)` is called at its end."""

    def __init__(
        self,
        calls: Calls,
        key: bytes,
        range_end: bytes | None,
        start_revision: int,
        reached: int,
        *,
        prev_kv: bool,
        filters: Sequence[EventType],
        sink: Sink,
        on_closed: OnClosed | None,
        forget: Callable[["RemoteWatch"], None],
    ) -> None:
        self.closed = False
        self.next_revision = start_revision
        self._reached = reached
        self._calls = calls
        self._key = key
        self._range_end = range_end
        self._prev_kv = prev_kv
        self._filters = tuple(filters)
        self._sink = sink
        self._on_closed = on_closed
        self._forget = forget
        self._child: Child | None = None
        self._opened: asyncio.Future[None] | None = None
        self._cluster_id = 0
        self._fragments: list[Any] = []

    async def open(self, spawner: Spawner) -> None:
        """Return when etcd has created it. Raises `EtcdError`, `CompactedError`, `Unreachable`; then it is over."""
        opened = self._opened = asyncio.get_running_loop().create_future()
        try:
            self._child = spawner.spawn(self._run, name=f"watch of {self._key.decode(errors='replace')} in etcd")
            await asyncio.wait((opened,), timeout=self._calls.options.request_timeout_seconds)
            if not opened.done():
                raise Unreachable("no member of etcd has begun the watch in time")
            opened.result()
        except BaseException:
            self.cancel()
            opened.cancel()
            raise
        finally:
            self._opened = None

    def cancel(self) -> None:
        """No call of the sink or of `on_closed` comes after this. Twice is once."""
        if self.closed:
            return
        self.closed = True
        self._forget(self)
        if self._child is not None:
            self._child.cancel()

    def close(self, error: Exception) -> None:
        """End it, and tell whoever opens it now, or its `on_closed`, why."""
        if self.closed:
            return
        opened = self._opened
        self.cancel()
        if opened is not None and not opened.done():
            opened.set_exception(error)
        elif self._on_closed is not None:
            self._on_closed(error)

    # its task

    async def _run(self) -> None:
        members, clock = self._calls.members, self._calls.clock
        attempts = 0
        while not self.closed:
            member, began = members.current, clock.monotonic()
            try:
                await self._follow(member)
            except grpc.aio.AioRpcError as error:
                if is_refusal(error):
                    return self.close(await self._calls.refusal(error, member))
            except StreamBroken:
                pass
            members.leave(member)
            attempts = 1 if clock.monotonic() - began > STEADY_SECONDS else attempts + 1
            if attempts % len(members) == 0:
                await self._calls.pause(attempts // len(members) - 1)

    async def _follow(self, member: Member) -> None:
        """One stream, until it or the watch ends."""
        call = member.watch()
        self._fragments.clear()
        try:
            await write(
                call, words.to_watch(self._key, self._range_end, self.next_revision, self._prev_kv, self._filters)
            )
            while not self.closed:
                response = await call.read()
                if response is grpc.aio.EOF:
                    raise StreamBroken
                if response.canceled:
                    return self.close(ended(response))
                if response.created:
                    await self._created(response)
                else:
                    self._deliver(response)
        except asyncio.CancelledError:
            if self.closed or being_cancelled():
                raise
            raise StreamBroken from None  # its member hangs
        finally:
            call.cancel()

    async def _created(self, response: Any) -> None:
        cluster_id = response.header.cluster_id
        if self._cluster_id and cluster_id != self._cluster_id:
            return self.close(EtcdError("the etcd at these endpoints is another cluster than before", "DATA_LOSS"))
        self._cluster_id = cluster_id
        if self._opened is not None:
            if not self._opened.done():
                self._opened.set_result(None)
        elif response.header.revision < self._reached:
            await self._check_not_gone_back()

    async def _check_not_gone_back(self) -> None:
        """The member lags behind, or etcd was restored from a backup: then events would be missed without a word."""
        try:
            newest = await self._calls.newest_revision()
        except (EtcdError, Unreachable):
            raise StreamBroken from None
        if newest < self._reached:
            self.close(EtcdError(f"etcd went back from revision {self._reached} to {newest}", "DATA_LOSS"))

    def _deliver(self, response: Any) -> None:
        self._fragments.extend(response.events)
        if response.fragment:
            return
        events, self._fragments = self._fragments, []
        if not events:
            self._reach(response.header.revision)
            return
        for revision, transaction in groupby(events, key=revision_of):
            if revision < self.next_revision:
                continue
            self._reach(revision)
            self._tell(transaction)
            if self.closed:
                return

    def _reach(self, revision: int) -> None:
        self._reached = max(self._reached, revision)
        self.next_revision = max(self.next_revision, revision + 1)

    def _tell(self, transaction: Iterable[Any]) -> None:
        """A sink that raises ends its watch; without an `on_closed` the error ends whoever owns the task."""
        events: list[Event] = [words.event(event) for event in transaction]
        try:
            self._sink(events)
        except Exception as error:
            if self._on_closed is None:
                self.cancel()
                raise
            self.close(error)


def revision_of(event: Any) -> int:
    return int(event.kv.mod_revision)


def ended(response: Any) -> EtcdError:
    """Why etcd ended a watch."""
    if response.compact_revision:
        return CompactedError(COMPACTED, compact_revision=response.compact_revision)
    return EtcdError(response.cancel_reason or "etcdserver: the watch was cancelled", "CANCELLED")
