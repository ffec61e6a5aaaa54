"""A pod's requests and quality of service class. Pure. Concepts "Pod QoS classes", "Resource management"."""

from collections.abc import Mapping
from typing import Any

from kubeloop.actors.api.core_v1 import Pod
from kubeloop.actors.api.quantity import milli_value

COMPUTE = ("cpu", "memory")


def qos_class(pod: Pod) -> str:
    """Guaranteed: limits of cpu and memory everywhere, equal to requests. BestEffort: none at all. Else Burstable."""
    spec = pod.spec
    assert spec is not None
    anything, guaranteed = False, True
    for container in (*spec.containers, *spec.init_containers):
        resources = container.resources
        if resources is None:
            guaranteed = False
            continue
        requests, limits = resources.requests, resources.limits
        for name in COMPUTE:
            anything = anything or name in requests or name in limits
            limit = limits.get(name)
            if limit is None or milli_value(requests.get(name, limit)) != milli_value(limit):
                guaranteed = False
    if not anything:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"


def milli_amounts(amounts: Mapping[str, str]) -> dict[str, int]:
    """Every quantity in thousandths."""
    return {name: milli_value(text) for name, text in amounts.items()}


def pod_requests(pod: Pod) -> dict[str, int]:
    """What the pod asks for, by resource, in thousandths: its containers and sidecars, or the largest of its init
    containers together with the sidecars before it, and the overhead. Requests of the pod as a whole replace both."""
    spec = pod.spec
    assert spec is not None
    total: dict[str, int] = {}
    for container in spec.containers:
        _add(total, container)
    if spec.init_containers:
        sidecars: dict[str, int] = {}
        peak: dict[str, int] = {}
        for container in spec.init_containers:
            if container.restart_policy == "Always":
                _add(total, container)
                _add(sidecars, container)
                now = sidecars
            else:
                now = dict(sidecars)
                _add(now, container)
            for name, amount in now.items():
                peak[name] = max(peak.get(name, 0), amount)
        for name, amount in peak.items():
            total[name] = max(total.get(name, 0), amount)
    if spec.resources is not None:
        total.update(milli_amounts(spec.resources.requests))
    for name, amount in milli_amounts(spec.overhead).items():
        total[name] = total.get(name, 0) + amount
    return total


def _add(total: dict[str, int], container: Any) -> None:
    resources = container.resources
    if resources is None or not (resources.requests or resources.limits):
        return
    for name, amount in milli_amounts({**resources.limits, **resources.requests}).items():
        total[name] = total.get(name, 0) + amount
