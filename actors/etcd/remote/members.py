"""The members of a real etcd, each behind a gRPC channel of its own, and the one that is spoken to now.

Requests stick to one member, the first given, until it fails; then they go to the next, at once. Sticking keeps reads
and watches of one client on one member's clock, and costs a healthy cluster nothing: every member answers everything.
A channel of its own for each member, rather than gRPC's balancing over one, so that what is known of a member ("no
leader", hangs) leads away from it, and so that each member's certificate is checked against its own name.
"""

import asyncio
from typing import Any

from kubeloop.actors.etcd.remote.options import RemoteEtcd, parse_endpoint
from kubeloop.actors.etcd.remote.stubs import grpc, rpc
from kubeloop.runtime.actor import Unreachable

METADATA = (("hasleader", "true"),)
"""A member without a leader refuses at once, and ends its watches, instead of waiting for what may never come."""
KEEPALIVE_SECONDS = 10.0  # not less than 5: etcd's --grpc-keepalive-min-time
KEEPALIVE_TIMEOUT_SECONDS = 5.0
RECONNECT_SECONDS = (0.05, 1.0)


class Member:
    """One member: its calls are callables of gRPC, named as etcd's services name them."""

    def __init__(self, endpoint: str, credentials: Any, options: list[tuple[str, int]]) -> None:
        self.endpoint = endpoint
        target, _ = parse_endpoint(endpoint)
        if credentials is None:
            self.channel = grpc.aio.insecure_channel(target, options)
        else:
            self.channel = grpc.aio.secure_channel(target, credentials, options)
        kv, lease, maintenance = (stub(self.channel) for stub in (rpc.KVStub, rpc.LeaseStub, rpc.MaintenanceStub))
        self.calls: dict[str, Any] = {
            "Range": kv.Range,
            "Put": kv.Put,
            "DeleteRange": kv.DeleteRange,
            "Txn": kv.Txn,
            "Compact": kv.Compact,
            "LeaseGrant": lease.LeaseGrant,
            "LeaseRevoke": lease.LeaseRevoke,
            "LeaseKeepAlive": Once(lease.LeaseKeepAlive),
            "LeaseTimeToLive": lease.LeaseTimeToLive,
            "Status": maintenance.Status,
            "LeaseLeases": lease.LeaseLeases,
        }
        self._watch = rpc.WatchStub(self.channel).Watch
        self._streams: dict[Any, None] = {}

    def watch(self, **options: Any) -> Any:
        """A stream of etcd's Watch; cancel it. Known here until it is over."""
        stream = self._watch(metadata=METADATA, **options)
        self._streams[stream] = None
        stream.add_done_callback(self._streams.pop)
        return stream

    def cancel_streams(self) -> None:
        for stream in list(self._streams):
            stream.cancel()


class Once:
    """A stream for one question and one answer, called as the other calls are; so etcdctl keeps a lease alive once."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    async def __call__(self, request: Any, **options: Any) -> Any:
        call = self._stream(**options)
        try:
            await write(call, request)
            return await call.read()
        finally:
            call.cancel()


async def write(call: Any, request: Any) -> None:
    """Send on a stream. One that is over already says why when it is read."""
    try:
        await call.write(request)
    except asyncio.InvalidStateError:
        pass


class Members:
    """Channels are opened with the first request, inside the loop that uses them."""

    def __init__(self, options: RemoteEtcd) -> None:
        self._options = options
        self._members: list[Member] = []
        self.position = 0
        self.closed = False

    def __len__(self) -> int:
        return len(self._options.endpoints)

    @property
    def all(self) -> list[Member]:
        """Raises OSError when a certificate's file cannot be read."""
        if not self._members:
            credentials = self._credentials()
            settings = channel_settings(self._options)
            self._members = [
                Member(endpoint, credentials if parse_endpoint(endpoint)[1] else None, settings)
                for endpoint in self._options.endpoints
            ]
        return self._members

    @property
    def current(self) -> Member:
        self.check_open()
        return (self._members or self.all)[self.position]

    def leave(self, member: Member, *, hangs: bool = False) -> None:
        """It failed: the next one is spoken to, unless others have left it already. From one that hangs, watches go."""
        if self.closed:
            return
        if self.current is member:
            self.position = (self.position + 1) % len(self._members)
        if hangs:
            member.cancel_streams()

    def check_open(self) -> None:
        if self.closed:
            raise Unreachable("this client of etcd was closed")

    async def close(self) -> None:
        """End every connection; what is under way is cancelled."""
        self.closed = True
        members, self._members = self._members, []
        for member in members:
            await member.channel.close()

    def _credentials(self) -> Any:
        if not any(parse_endpoint(endpoint)[1] for endpoint in self._options.endpoints):
            return None
        return grpc.ssl_channel_credentials(*self._options.read_files())


def channel_settings(options: RemoteEtcd) -> list[tuple[str, int]]:
    """No limit to messages, as etcd sends what was asked for in one; failures seen soon; no proxy on the way."""
    first, last = (int(seconds * 1_000) for seconds in RECONNECT_SECONDS)
    return [
        ("grpc.max_receive_message_length", -1),
        ("grpc.max_send_message_length", -1),
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.initial_reconnect_backoff_ms", first),
        ("grpc.max_reconnect_backoff_ms", last),
        ("grpc.min_reconnect_backoff_ms", int(options.dial_timeout_seconds * 1_000)),
        ("grpc.keepalive_time_ms", int(KEEPALIVE_SECONDS * 1_000)),
        ("grpc.keepalive_timeout_ms", int(KEEPALIVE_TIMEOUT_SECONDS * 1_000)),
        ("grpc.http2.ping_timeout_ms", int(KEEPALIVE_TIMEOUT_SECONDS * 1_000)),  # else a minute, measured
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.enable_http_proxy", 0),
    ]
