"""pods/proxy, services/proxy and nodes/proxy: which server is meant. A name may say a scheme and a port: `https:a:443`.

The bytes take the same way as a forwarded port's: through the kubelet of the pod's node, to the pod. A node's own
server is its kubelet. Endpoints that are no pods are dialled from here.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from kubeloop.actors.api import errors
from kubeloop.actors.apiserver.call import Call
from kubeloop.actors.apiserver.connections import ConnectResponse, Way
from kubeloop.actors.apiserver.messages import Response
from kubeloop.runtime import stream_sockets
from kubeloop.runtime.streams import Streams

VERBS = ("create", "delete", "get", "patch", "update")
SCHEMES = ("", "http", "https")
KUBELET_PORTS = ("", "10250")


class Target:
    """A server to speak HTTP with. `open` connects: raises KubeletRefused, StatusError, OSError."""

    def __init__(self, scheme: str, host: str, open: Callable[[], Awaitable[Streams]]) -> None:
        self.scheme = scheme or "http"
        self.host = host
        self.open = open


async def connect(call: Call) -> Response:
    """101 with a Target. Raises 404, 400, and 503 when no endpoint is ready."""
    target = TARGETS[call.route.resource.plural]
    return ConnectResponse(101, target(call))


def split(call: Call) -> tuple[str, str, str]:
    """Scheme, name and port of `name`, `name:port` or `scheme:name:port`. Raises 400 for anything else."""
    parts = call.name.split(":")
    if len(parts) == 1:
        found = ("", parts[0], "")
    elif len(parts) == 2:
        found = ("", parts[0], parts[1])
    else:
        found = (parts[0], parts[1], parts[2])
    if len(parts) > 3 or not found[1] or found[0] not in SCHEMES:
        raise errors.bad_request(f'invalid {call.route.resource.singular} request "{call.name}"')
    return found


def pod_target(call: Call) -> Target:
    scheme, name, port = split(call)
    pod = call.server.lookup("pods", call.namespace, name)
    if pod is None:
        raise errors.not_found("pods", name)
    if not port:
        ports = [one.container_port for container in pod.spec.containers for one in container.ports]
        port = str(ports[0]) if ports else ""
    address = pod.status.pod_ip if pod.status is not None else ""
    if not address:
        raise errors.bad_request("address not allowed")
    return to_pod(call, scheme, pod, port)


def to_pod(call: Call, scheme: str, pod: Any, port: str) -> Target:
    from kubeloop.actors.kubelet.messages import ForwardPort

    number = number_of(port or ("443" if scheme == "https" else "80"))
    message = ForwardPort(pod.metadata.namespace, pod.metadata.name, number, pod.metadata.uid or "")
    way = Way(call.server, pod.spec.node_name, message)
    return Target(scheme, f"{pod.status.pod_ip}:{port}" if port else pod.status.pod_ip, way.open)


def number_of(port: str) -> int:
    """Raises 503 for what is no port, as a dial would fail."""
    if port.isascii() and port.isdigit() and 0 < int(port) < 1 << 16:
        return int(port)
    raise errors.service_unavailable(f"error trying to reach service: dial tcp: lookup tcp/{port}: unknown port")


def service_target(call: Call) -> Target:
    scheme, name, port = split(call)
    server, namespace = call.server, call.namespace
    if port.isascii() and port.isdigit():
        service = server.lookup("services", namespace, name)
        if service is None:
            raise errors.not_found("services", name)
        names = [one.name or "" for one in service.spec.ports if one.port == int(port)]
        if not names:
            raise errors.service_unavailable(f'no service port {port} found for service "{name}"')
        port = names[0]
    endpoints = server.lookup("endpoints", namespace, name)
    if endpoints is None:
        raise errors.not_found("endpoints", name)
    if not endpoints.subsets:
        raise errors.service_unavailable(f'no endpoints available for service "{name}"')
    found = [
        (address, one.port)
        for subset in endpoints.subsets
        for one in subset.ports
        if (one.name or "") == port
        for address in subset.addresses
    ]
    server.context.clock.random.shuffle(found)
    for address, number in found:
        target = endpoint_target(call, scheme, address, number)
        if target is not None:
            return target
    raise errors.service_unavailable(f'no endpoints available for service "{call.name}"')


def endpoint_target(call: Call, scheme: str, address: Any, port: int) -> Target | None:
    """None for a pod that is not there any more."""
    reference, server = address.target_ref, call.server
    if reference is None or reference.kind != "Pod":

        async def dial() -> Streams:
            streams = await stream_sockets.connect(server, address.ip, port)
            server.streams.add(streams)
            return streams

        return Target(scheme, f"{address.ip}:{port}", dial)
    pod = server.lookup("pods", reference.namespace or call.namespace, reference.name)
    if pod is None or pod.status is None or pod.status.pod_ip != address.ip:
        return None
    return to_pod(call, scheme, pod, str(port))


def node_target(call: Call) -> Target:
    """A node's kubelet."""
    from kubeloop.actors.kubelet.messages import ServeHttp

    _, name, port = split(call)
    if call.server.lookup("nodes", "", name) is None:
        raise errors.not_found("nodes", name)
    if port not in KUBELET_PORTS:

        async def refuse() -> Streams:
            raise ConnectionRefusedError(f"dial tcp {name}:{port}: connect: connection refused")

        return Target("http", f"{name}:{port}", refuse)
    return Target("http", f"{name}:{port or KUBELET_PORTS[1]}", Way(call.server, name, ServeHttp()).open)


TARGETS: dict[str, Callable[[Call], Target]] = {
    "pods": pod_target,
    "services": service_target,
    "nodes": node_target,
}
