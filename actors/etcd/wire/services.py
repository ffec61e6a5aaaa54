"""etcd's v3 gRPC services over the actor: every method that is served, by name. What is not here is Unimplemented.

The message classes are aetcd's (rpc.proto of etcd 3.5); importing this module imports them, and grpc with them.
"""

from kubeloop.actors.etcd.actor import EtcdActor
from kubeloop.actors.etcd.wire.rpc_words import Method, RpcError
from kubeloop.actors.etcd.wire.services_cluster import cluster_methods
from kubeloop.actors.etcd.wire.services_header import Headers
from kubeloop.actors.etcd.wire.services_kv import kv_methods
from kubeloop.actors.etcd.wire.services_lease import lease_methods
from kubeloop.actors.etcd.wire.services_maintenance import maintenance_methods
from kubeloop.actors.etcd.wire.services_watch import watch_methods

SERVING = b"\x08\x01"  # grpc.health.v1.HealthCheckResponse with status SERVING
HEALTH = "grpc.health.v1.Health"


def every_method(etcd: EtcdActor, client_urls: list[str]) -> list[Method]:
    headers = Headers(etcd)
    return [
        *kv_methods(etcd, headers),
        *watch_methods(etcd, headers),
        *lease_methods(etcd, headers),
        *maintenance_methods(etcd, headers),
        *cluster_methods(etcd, headers, client_urls),
        Method(HEALTH, "Check", "unary", bytes, check_health),
    ]


async def check_health(request: bytes) -> bytes:
    """The gRPC health checking protocol, whose messages are a few bytes: etcd serves it for the service ""."""
    if request not in (b"", b"\x0a\x00"):
        raise RpcError("NOT_FOUND", "unknown service")
    return SERVING
