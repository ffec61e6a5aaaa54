"""The Lease service. Follows the lease part of etcd's v3 API reference."""

from typing import Any

from aetcd.rpc import rpc_pb2  # type: ignore[import-untyped]

from kubeloop.actors.etcd.actor import EtcdActor
from kubeloop.actors.etcd.messages import (
    EtcdError,
    LeaseGrant,
    LeaseGranted,
    LeaseKeepAlive,
    LeaseLeases,
    LeaseRevoke,
    LeaseTimeToLive,
)
from kubeloop.actors.etcd.wire.rpc_call import StreamingCall
from kubeloop.actors.etcd.wire.rpc_words import Method
from kubeloop.actors.etcd.wire.services_header import Headers, encoded
from kubeloop.store.lease import LeaseStatus


def lease_methods(etcd: EtcdActor, headers: Headers) -> list[Method]:
    service = LeaseService(etcd, headers)
    name = "etcdserverpb.Lease"
    return [
        Method(name, "LeaseGrant", "unary", rpc_pb2.LeaseGrantRequest.FromString, service.grant),
        Method(name, "LeaseRevoke", "unary", rpc_pb2.LeaseRevokeRequest.FromString, service.revoke),
        Method(name, "LeaseKeepAlive", "bidi_stream", rpc_pb2.LeaseKeepAliveRequest.FromString, service.keep_alive),
        Method(name, "LeaseTimeToLive", "unary", rpc_pb2.LeaseTimeToLiveRequest.FromString, service.time_to_live),
        Method(name, "LeaseLeases", "unary", rpc_pb2.LeaseLeasesRequest.FromString, service.leases),
    ]


class LeaseService:
    def __init__(self, etcd: EtcdActor, headers: Headers) -> None:
        self._ask = etcd.answer
        self._now = headers.now

    async def grant(self, request: Any) -> bytes:
        granted: LeaseGranted = await self._ask(LeaseGrant(request.TTL, request.ID))
        response = rpc_pb2.LeaseGrantResponse(ID=granted.id, TTL=granted.ttl_seconds)
        return encoded(self._now(), response)

    async def revoke(self, request: Any) -> bytes:
        await self._ask(LeaseRevoke(request.ID))
        return self._now()

    async def keep_alive(self, call: StreamingCall) -> None:
        """A lease that is not there is answered with a TTL of 0."""
        while (request := await call.receive()) is not None:
            ttl_seconds = 0
            try:
                granted: LeaseGranted = await self._ask(LeaseKeepAlive(request.ID))
                ttl_seconds = granted.ttl_seconds
            except EtcdError as error:
                if error.code != "NOT_FOUND":
                    raise
            response = rpc_pb2.LeaseKeepAliveResponse(ID=request.ID, TTL=ttl_seconds)
            await call.send(encoded(self._now(), response))

    async def time_to_live(self, request: Any) -> bytes:
        """A lease that is not there is answered with a TTL of -1."""
        status: LeaseStatus = await self._ask(LeaseTimeToLive(request.ID))
        response = rpc_pb2.LeaseTimeToLiveResponse(
            ID=request.ID,
            TTL=status.remaining_seconds,
            grantedTTL=status.granted_ttl_seconds,
            keys=status.keys if request.keys else (),
        )
        return encoded(self._now(), response)

    async def leases(self, request: Any) -> bytes:
        found: list[int] = await self._ask(LeaseLeases())
        response = rpc_pb2.LeaseLeasesResponse(leases=[rpc_pb2.LeaseStatus(ID=lease_id) for lease_id in found])
        return encoded(self._now(), response)
