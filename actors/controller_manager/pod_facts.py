"""What a pod's status says, as pure functions: ready, available, active, terminated.

https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kubeloop.actors.api.core_v1 import Container, Pod, PodCondition
from kubeloop.runtime.clock import parse_rfc3339

TERMINATED_PHASES = ("Succeeded", "Failed")


def phase(pod: Pod) -> str:
    return pod.status.phase or "Pending"


def is_terminated(pod: Pod) -> bool:
    """Its containers have ended for good."""
    return pod.status.phase in TERMINATED_PHASES


def is_terminating(pod: Pod) -> bool:
    """Somebody asked for its deletion."""
    return pod.metadata.deletion_timestamp is not None


def is_active(pod: Pod) -> bool:
    """Counts for a workload: neither ended nor on its way out."""
    return not is_terminated(pod) and not is_terminating(pod)


def node_name(pod: Pod) -> str:
    return pod.spec.node_name or ""


def condition_of(conditions: Sequence[Any], type_: str) -> Any | None:
    """The condition of that type of any object's conditions."""
    for condition in conditions:
        if condition.type == type_:
            return condition
    return None


def ready_condition(pod: Pod) -> PodCondition | None:
    for condition in pod.status.conditions:
        if condition.type == "Ready":
            return condition
    return None


def is_ready(pod: Pod) -> bool:
    condition = ready_condition(pod)
    return condition is not None and condition.status == "True"


def ready_since(pod: Pod) -> float | None:
    """Unix seconds since which it is ready; None when it is not."""
    condition = ready_condition(pod)
    if condition is None or condition.status != "True":
        return None
    return parse_rfc3339(condition.last_transition_time) if condition.last_transition_time else 0.0


def available_at(pod: Pod, min_ready_seconds: int) -> float | None:
    """Unix seconds at which it counts as available (ready for `min_ready_seconds`); None while it is not ready."""
    if min_ready_seconds == 0:
        return 0.0 if is_ready(pod) else None
    since = ready_since(pod)
    return None if since is None else since + min_ready_seconds


def is_available(pod: Pod, min_ready_seconds: int, now: float) -> bool:
    at = available_at(pod, min_ready_seconds)
    return at is not None and at <= now


def counts_alike(old: Pod, new: Pod) -> bool:
    """A workload that counts its pods sees no difference: same labels, as ready, as active."""
    if old.metadata.labels is not new.metadata.labels and dict(old.metadata.labels) != dict(new.metadata.labels):
        return False
    if is_terminating(old) != is_terminating(new):
        return False
    if old.status is new.status:
        return True
    before, after = ready_condition(old), ready_condition(new)
    if before is None or after is None:
        return before is after and phase(old) == phase(new)
    same = before.status == after.status and before.last_transition_time == after.last_transition_time
    return same and phase(old) == phase(new)


def restarts(pod: Pod) -> int:
    """The most restarts that any of its containers has had."""
    return max((status.restart_count or 0 for status in pod.status.container_statuses), default=0)


def pod_ips(pod: Pod) -> list[str]:
    """Its addresses, the primary one first; empty before the kubelet reported one."""
    addresses = [address.ip for address in pod.status.pod_ips if address.ip]
    return addresses or ([pod.status.pod_ip] if pod.status.pod_ip else [])


def find_port(pod: Pod, target: int | str | None, port: int, protocol: str) -> int | None:
    """The container port that a service's targetPort means on this pod; None when the pod names no such port.

    Sidecars (restartable init containers) count, as they run beside the containers.
    """
    if target is None or target == 0 or target == "":
        return port
    if isinstance(target, int):
        return target
    sidecars = [container for container in pod.spec.init_containers if container.restart_policy == "Always"]
    containers: list[Container] = [*pod.spec.containers, *sidecars]
    for container in containers:
        for candidate in container.ports:
            if candidate.name == target and (candidate.protocol or "TCP") == protocol:
                return candidate.container_port
    return None
