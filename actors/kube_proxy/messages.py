"""What a kube-proxy is asked: where a connection goes, and where services are to be reached from its node."""

from typing import Any

import msgspec

from kubeloop.runtime.actor import ReplyError


class ConnectError(ReplyError):
    """No connection; the message is what a program would see: no such host, connection refused, timeout."""


class Connect(msgspec.Struct, frozen=True):
    """A connection from this node to `host` (a service name, a cluster IP, or any other address). Answer: Connection.

    namespace: of the pod that connects, to resolve short names. source_ip: its address, for session affinity.
    dial: in sim mode, really try the endpoints, in order, and return what the pod's behaviour answers to `payload`.
    """

    host: str
    port: int
    namespace: str = "default"
    source_ip: str = ""
    protocol: str = "TCP"
    payload: Any = None
    dial: bool = True


class Connection(msgspec.Struct, frozen=True):
    """The endpoint chosen. `pod` is NAMESPACE/NAME, empty when the endpoint is none; `service` likewise."""

    address: str
    port: int
    node_name: str = ""
    pod: str = ""
    service: str = ""
    answer: Any = None


class ServiceAddresses(msgspec.Struct, frozen=True):
    """Answer: (namespace, service, port) -> (host, port) where this node's proxy listens; empty in sim mode."""
