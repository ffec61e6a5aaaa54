"""The Node object and the Lease of a kubelet. Pure. "Nodes", "Node heartbeats" of the Kubernetes documentation."""

import ipaddress
import platform
import sys
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import msgspec
from msgspec.structs import replace

from kubeloop.actors.api.coordination_v1 import Lease, LeaseSpec
from kubeloop.actors.api.core_v1 import (
    DaemonEndpoint,
    Node,
    NodeAddress,
    NodeCondition,
    NodeDaemonEndpoints,
    NodeSpec,
    NodeStatus,
    NodeSystemInfo,
    Taint,
)
from kubeloop.actors.api.meta_v1 import ObjectMeta, OwnerReference

VERSION = "v1.36.2"
KUBELET_PORT = 10250
LEASE_NAMESPACE = "kube-node-lease"
CAPACITY: Mapping[str, str] = {"cpu": "8", "ephemeral-storage": "100Gi", "memory": "32Gi", "pods": "110"}
PRESSURES = (
    ("MemoryPressure", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    ("DiskPressure", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    ("PIDPressure", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
)
ARCHITECTURES = {"x86_64": "amd64", "AMD64": "amd64", "aarch64": "arm64", "ARM64": "arm64", "arm64": "arm64"}
SYSTEMS = {"win32": "windows", "darwin": "darwin"}


class NodeIdentity(msgspec.Struct, frozen=True):
    """What a kubelet is told of its machine. Capacity given is added to, or replaces, the default one."""

    name: str
    address: str
    labels: Mapping[str, str]
    taints: Sequence[Taint]
    capacity: Mapping[str, str]
    pod_cidr: str = ""
    runtime: str = ""  # runtimeVersion, as sim://0.1.0


@lru_cache(maxsize=1)
def _machine() -> tuple[str, str, str]:
    """(arch, os, kernel). Simulated or not, nodes are this machine's kind; containers of "linux" run on macOS too."""
    return ARCHITECTURES.get(platform.machine(), "amd64"), SYSTEMS.get(sys.platform, "linux"), platform.release()


def parse_taint(text: str) -> Taint:
    """`key=value:Effect` or `key:Effect`. ValueError otherwise."""
    key_value, _, effect = text.rpartition(":")
    key, _, value = key_value.partition("=")
    if not key or effect not in ("NoSchedule", "PreferNoSchedule", "NoExecute"):
        raise ValueError(f"taint {text!r}: written as key=value:Effect, with NoSchedule, PreferNoSchedule or NoExecute")
    return Taint(key=key, value=value or None, effect=effect)


def node_address(pod_cidr: str) -> str:
    """The first address of the node's pod range, which no pod gets; 127.0.0.1 without a range."""
    return str(ipaddress.ip_network(pod_cidr).network_address + 1) if pod_cidr else "127.0.0.1"


@lru_cache(maxsize=64)
def _system_info(runtime: str, identity: str) -> NodeSystemInfo:
    arch, system, kernel = _machine()
    return NodeSystemInfo(
        architecture=arch,
        boot_id=identity,
        container_runtime_version=runtime,
        kernel_version=kernel,
        kube_proxy_version="",
        kubelet_version=VERSION,
        machine_id=identity,
        operating_system=system,
        os_image="kubeloop",
        system_uuid=identity,
    )


def build_node(identity: NodeIdentity, *, machine_id: str, now: str, not_ready: str = "") -> Node:
    """The node as it is registered, with its status. `not_ready` says why it is not."""
    arch, system, _ = _machine()
    labels = {
        "beta.kubernetes.io/arch": arch,
        "beta.kubernetes.io/os": system,
        "kubernetes.io/arch": arch,
        "kubernetes.io/hostname": identity.name,
        "kubernetes.io/os": system,
        **identity.labels,
    }
    return Node(
        metadata=ObjectMeta(name=identity.name, labels=labels),
        spec=NodeSpec(
            pod_cidr=identity.pod_cidr or None,
            pod_cidrs=[identity.pod_cidr] if identity.pod_cidr else (),
            provider_id=f"kubeloop://{identity.name}",
            taints=list(identity.taints) or (),
        ),
        status=NodeStatus(
            addresses=[
                NodeAddress(type="InternalIP", address=identity.address),
                NodeAddress(type="Hostname", address=identity.name),
            ],
            allocatable=identity.capacity,
            capacity=identity.capacity,
            conditions=conditions((), now, not_ready),
            daemon_endpoints=NodeDaemonEndpoints(kubelet_endpoint=DaemonEndpoint(port=KUBELET_PORT)),
            node_info=_system_info(identity.runtime, machine_id),
        ),
    )


def conditions(before: Sequence[NodeCondition], now: str, not_ready: str = "") -> list[NodeCondition]:
    """The kubelet's four conditions as of `now` (RFC 3339); those of others are kept in place."""
    old = {condition.type: condition for condition in before}
    wanted = [("False", *pressure) for pressure in PRESSURES]
    wanted.append(
        ("False", "Ready", "KubeletNotReady", not_ready)
        if not_ready
        else ("True", "Ready", "KubeletReady", "kubelet is posting ready status")
    )
    found: dict[Any, NodeCondition] = dict(old)
    for status, kind, reason, message in wanted:
        previous = old.get(kind)
        since = previous.last_transition_time if previous is not None and previous.status == status else now
        found[kind] = NodeCondition(
            type=kind,
            status=status,
            reason=reason,
            message=message,
            last_heartbeat_time=now,
            last_transition_time=since,
        )
    return list(found.values())


def reconciled(existing: Node, wanted: Node, now: str, not_ready: str = "") -> Node:
    """An existing Node object taken over by this kubelet: its labels and status; spec, taints and the rest stay."""
    metadata, status, wanted_status = existing.metadata, existing.status or NodeStatus(), wanted.status
    assert metadata is not None and wanted.metadata is not None and wanted_status is not None
    return replace(
        existing,
        metadata=replace(metadata, labels={**metadata.labels, **wanted.metadata.labels}),
        status=replace(
            status,
            addresses=wanted_status.addresses,
            allocatable=wanted_status.allocatable,
            capacity=wanted_status.capacity,
            conditions=conditions(status.conditions, now, not_ready),
            daemon_endpoints=wanted_status.daemon_endpoints,
            node_info=wanted_status.node_info,
        ),
    )


def build_lease(node_name: str, node_uid: str, duration_seconds: int, now_micro: str) -> Lease:
    """The node's Lease; `now_micro` is RFC 3339 with microseconds."""
    owner = OwnerReference(api_version="v1", kind="Node", name=node_name, uid=node_uid)
    return Lease(
        metadata=ObjectMeta(name=node_name, namespace=LEASE_NAMESPACE, owner_references=[owner]),
        spec=LeaseSpec(holder_identity=node_name, lease_duration_seconds=duration_seconds, renew_time=now_micro),
    )
