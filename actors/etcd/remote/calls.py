"""One request to a real etcd: sent to the member that is spoken to, repeated at another where that is harmless.

Reads are repeated until the request's time is over, and so is whatever certainly changed nothing: it found no
connection, or a member without a leader. A write that was under way when its member was lost, or that the member gave
up waiting for, may have been done: it is never repeated here, `OutcomeUnknown` says so.
"""

import asyncio
from typing import Any

from kubeloop.actors.etcd.messages import EtcdError
from kubeloop.actors.etcd.remote.errors import (
    COMPACTED,
    OutcomeUnknown,
    hint,
    is_certainly_not_done,
    is_refusal,
    refusal,
    text_of,
)
from kubeloop.actors.etcd.remote.members import METADATA, Member, Members, write
from kubeloop.actors.etcd.remote.options import RemoteEtcd
from kubeloop.actors.etcd.remote.stubs import grpc, rpc_pb2
from kubeloop.runtime.actor import Unreachable
from kubeloop.runtime.backoff import Backoff
from kubeloop.runtime.clock import Clock

PAUSE = Backoff(initial_seconds=0.02, max_seconds=0.5)  # when every member has failed in turn

PATIENCE = 0.2  # of a request's time for the first attempt, twice as much for each other


class Calls:
    """`revision` is the newest that any answer has named."""

    def __init__(self, options: RemoteEtcd, clock: Clock) -> None:
        self.options = options
        self.members = Members(options)
        self.clock = clock
        self.revision = 0

    async def read(self, method: str, request: Any) -> Any:
        """The answer to what may be repeated. Raises `EtcdError`, `CompactedError`, `Unreachable`."""
        return await self._call(method, request, repeatable=True)

    async def write(self, method: str, request: Any) -> Any:
        """The answer to what may not. Also raises `OutcomeUnknown`."""
        return await self._call(method, request, repeatable=False)

    async def newest_revision(self) -> int:
        """etcd's revision now: a linearizable read."""
        response = await self.read("Range", rpc_pb2.RangeRequest(key=b"\0", count_only=True))
        return int(response.header.revision)

    async def _call(self, method: str, request: Any, *, repeatable: bool) -> Any:
        options, members = self.options, self.members
        started = self.clock.monotonic()
        left = options.request_timeout_seconds
        attempts = 0
        while True:
            member = members.current
            timeout = min(left, self._patience_seconds(attempts)) if repeatable else left
            try:
                response = await member.calls[method](request, timeout=timeout, metadata=METADATA)
            except grpc.aio.AioRpcError as error:
                failure = error.with_traceback(None)  # which holds this frame, and the channel with it, until collected
            except (asyncio.CancelledError, grpc.aio.UsageError):
                if not being_cancelled():
                    members.check_open()  # closing cancels gRPC's calls
                raise
            else:
                revision = response.header.revision
                if revision > self.revision:
                    self.revision = revision
                return response
            if is_refusal(failure):
                raise await self.refusal(failure, member) from None
            members.leave(member, hangs=failure.code() is grpc.StatusCode.DEADLINE_EXCEEDED)
            if not repeatable and not is_certainly_not_done(failure):
                raise OutcomeUnknown(text_of(failure)) from None
            left = started + options.request_timeout_seconds - self.clock.monotonic()
            if left <= 0:
                raise gave_up(member, failure) from None
            attempts += 1
            if attempts % len(members) == 0:
                await self.pause(attempts // len(members) - 1)

    def _patience_seconds(self, attempts: int) -> float:
        """How long one member may take for a read: it may hang, or have lost it in a change of leaders."""
        whole = self.options.request_timeout_seconds
        return whole if len(self.members) == 1 else whole * PATIENCE * 2**attempts

    async def pause(self, attempt: int) -> None:
        """Some time, more with every attempt, and never the same for all clients of an etcd that comes back."""
        await self.clock.sleep(PAUSE.delay_seconds(attempt) * (0.5 + self.clock.random.random()))

    async def refusal(self, failure: Any, member: Member) -> EtcdError:
        """What to raise for an answer that is an error."""
        return refusal(failure, await self.compact_revision(member) if text_of(failure) == COMPACTED else 0)

    async def compact_revision(self, member: Member) -> int:
        """The oldest revision that is left, which only a watch of a compacted revision is told. 0: nobody knows."""
        call = member.watch(timeout=self.options.dial_timeout_seconds)
        try:
            create = rpc_pb2.WatchCreateRequest(key=b"\0", start_revision=1)
            await write(call, rpc_pb2.WatchRequest(create_request=create))
            while True:
                response = await call.read()
                if response is grpc.aio.EOF:
                    return 0
                if response.canceled:
                    return int(response.compact_revision)
        except grpc.aio.AioRpcError:
            return 0
        finally:
            call.cancel()


def being_cancelled() -> bool:
    """Whether a CancelledError is meant for this task: cancelling one of gRPC's calls raises it at who waits for it."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def gave_up(member: Member, failure: Any) -> Exception:
    """etcd's own word where there was one, else that nobody answered."""
    text = text_of(failure)
    if text.startswith("etcdserver: "):
        return EtcdError(text, failure.code().name)
    return Unreachable(f"no member of etcd answers, last {member.endpoint}: {text}{hint(text)}")
