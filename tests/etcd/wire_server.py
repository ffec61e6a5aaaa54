"""An etcd served in this process, and its clients."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc  # type: ignore[import-untyped]
import grpc.aio  # type: ignore[import-untyped]
import msgspec
from aetcd.rpc import rpc_pb2, rpc_pb2_grpc  # type: ignore[import-untyped]

from kubeloop.actors.etcd.actor import EtcdActor
from kubeloop.actors.etcd.options import EtcdOptions
from kubeloop.actors.etcd.wire.http2 import DEFAULT_LIMITS
from kubeloop.actors.etcd.wire.http2_frames import Http2Limits
from kubeloop.actors.etcd.wire.server import EtcdServer
from kubeloop.runtime.system import System


class Served(EtcdActor):
    """Serves its API. A restarted one is another object with other ports."""

    def __init__(self, options: EtcdOptions, limits: Http2Limits) -> None:
        if not options.listen_client_urls:
            options = msgspec.structs.replace(options, listen_client_urls=("http://127.0.0.1:0",))
        super().__init__(options)
        self.limits = limits

    async def on_start(self) -> None:
        await super().on_start()
        self.server = EtcdServer(self, limits=self.limits)
        await self.server.start()

    async def on_stop(self) -> None:
        await self.server.close()
        await super().on_stop()

    @property
    def url(self) -> str:
        return self.server.urls[0]

    @property
    def target(self) -> str:
        return self.url.partition("//")[2]


@asynccontextmanager
async def served(options: EtcdOptions | None = None, limits: Http2Limits = DEFAULT_LIMITS) -> AsyncIterator[Served]:
    """One that runs; when this ends, so does it."""
    async with System() as system:
        yield await start(system, options, limits)


async def start(system: System, options: EtcdOptions | None = None, limits: Http2Limits = DEFAULT_LIMITS) -> Served:
    await system.start(lambda: Served(options or EtcdOptions(), limits), name="etcd", host="etcd-0")
    live = system.slot("etcd").live
    assert live is not None and isinstance(live.actor, Served)
    return live.actor


class Stubs:
    """grpc's own client of every service."""

    def __init__(self, channel: Any) -> None:
        self.channel = channel
        self.kv = rpc_pb2_grpc.KVStub(channel)
        self.watch = rpc_pb2_grpc.WatchStub(channel)
        self.lease = rpc_pb2_grpc.LeaseStub(channel)
        self.maintenance = rpc_pb2_grpc.MaintenanceStub(channel)
        self.cluster = rpc_pb2_grpc.ClusterStub(channel)
        self.auth = rpc_pb2_grpc.AuthStub(channel)

    async def put(self, key: bytes, value: bytes, **fields: Any) -> Any:
        return await self.kv.Put(rpc_pb2.PutRequest(key=key, value=value, **fields))

    async def get(self, key: bytes, **fields: Any) -> Any:
        return await self.kv.Range(rpc_pb2.RangeRequest(key=key, **fields))


@asynccontextmanager
async def connected(
    target: str, credentials: grpc.ChannelCredentials | None = None, options: Sequence[tuple[str, Any]] = ()
) -> AsyncIterator[Stubs]:
    """A channel with a connection of its own."""
    settings = [
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.max_send_message_length", -1),
        ("grpc.max_receive_message_length", -1),
        *options,
    ]
    if credentials is None:
        channel = grpc.aio.insecure_channel(target, options=settings)
    else:
        channel = grpc.aio.secure_channel(target, credentials, options=settings)
    async with channel:
        yield Stubs(channel)


@asynccontextmanager
async def etcd_and_client(**channel_options: Any) -> AsyncIterator[tuple[Served, Stubs]]:
    async with served() as etcd, connected(etcd.target, options=list(channel_options.items())) as stubs:
        yield etcd, stubs


class WatchClient:
    """One call of Watch, by hand."""

    def __init__(self, stubs: Stubs) -> None:
        self.call = stubs.watch.Watch()

    async def create(self, **fields: Any) -> Any:
        """Ask for a watch and return the next response, which is the answer when nothing else is on its way."""
        await self.ask(create_request=rpc_pb2.WatchCreateRequest(**fields))
        return await self.read()

    async def ask(self, **fields: Any) -> None:
        await self.call.write(rpc_pb2.WatchRequest(**fields))

    async def read(self) -> Any:
        response = await self.call.read()
        assert response is not grpc.aio.EOF, await self.call.code()
        return response

    async def events(self, count: int) -> list[tuple[str, bytes, int]]:
        """The next `count` events: type, key and revision."""
        events: list[tuple[str, bytes, int]] = []
        while len(events) < count:
            for event in (await self.read()).events:
                events.append(("DELETE" if event.type else "PUT", event.kv.key, event.kv.mod_revision))
        return events
