"""The Cluster and Auth services of an etcd that has one member and no users."""

from typing import Any, NoReturn

from aetcd.rpc import rpc_pb2  # type: ignore[import-untyped]

from kubeloop.actors.etcd.actor import EtcdActor
from kubeloop.actors.etcd.wire.rpc_words import Method, RpcError
from kubeloop.actors.etcd.wire.services_header import Headers, encoded


def cluster_methods(etcd: EtcdActor, headers: Headers, client_urls: list[str]) -> list[Method]:
    service = ClusterService(etcd, headers, client_urls)
    cluster, auth = "etcdserverpb.Cluster", "etcdserverpb.Auth"
    return [
        Method(cluster, "MemberList", "unary", rpc_pb2.MemberListRequest.FromString, service.member_list),
        Method(cluster, "MemberAdd", "unary", rpc_pb2.MemberAddRequest.FromString, service.member_add),
        Method(cluster, "MemberRemove", "unary", rpc_pb2.MemberRemoveRequest.FromString, service.member_remove),
        Method(cluster, "MemberUpdate", "unary", rpc_pb2.MemberUpdateRequest.FromString, service.member_update),
        Method(cluster, "MemberPromote", "unary", rpc_pb2.MemberPromoteRequest.FromString, service.member_promote),
        Method(auth, "AuthStatus", "unary", rpc_pb2.AuthStatusRequest.FromString, service.auth_status),
        Method(auth, "Authenticate", "unary", rpc_pb2.AuthenticateRequest.FromString, service.authenticate),
    ]


class ClusterService:
    """`client_urls` is filled when the server listens."""

    def __init__(self, etcd: EtcdActor, headers: Headers, client_urls: list[str]) -> None:
        self._member_id = etcd.member_id
        self._name = etcd.options.name
        self._client_urls = client_urls
        self._headers = headers

    async def member_list(self, request: Any) -> bytes:
        member = rpc_pb2.Member(ID=self._member_id, name=self._name, clientURLs=self._client_urls)
        return encoded(self._headers.at(0), rpc_pb2.MemberListResponse(members=[member]))

    async def member_add(self, request: Any) -> bytes:
        raise RpcError("UNIMPLEMENTED", "kubeloop's etcd is one member without peers: it cannot take another one")

    async def member_remove(self, request: Any) -> bytes:
        self._check_member(request.ID)
        text = "etcdserver: re-configuration failed due to not enough started members"
        raise RpcError("FAILED_PRECONDITION", text)

    async def member_update(self, request: Any) -> bytes:
        self._check_member(request.ID)
        raise RpcError("UNIMPLEMENTED", "kubeloop's etcd is one member without peers: it has no peer URLs to change")

    async def member_promote(self, request: Any) -> bytes:
        self._check_member(request.ID)
        raise RpcError("FAILED_PRECONDITION", "etcdserver: can only promote a learner member")

    def _check_member(self, member_id: int) -> None:
        if member_id != self._member_id:
            raise RpcError("NOT_FOUND", "etcdserver: member not found")

    async def auth_status(self, request: Any) -> bytes:
        return self._headers.now()

    async def authenticate(self, request: Any) -> NoReturn:
        """What a client that was given a user name takes as permission to go on without one."""
        raise RpcError("FAILED_PRECONDITION", "etcdserver: authentication is not enabled")
