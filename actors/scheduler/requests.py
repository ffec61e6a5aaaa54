"""What a pod asks of a node: resource arithmetic.

Follows https://kubernetes.io/docs/concepts/workloads/pods/init-containers/#resource-sharing-within-containers,
https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/ and
https://kubernetes.io/docs/concepts/scheduling-eviction/pod-overhead/.

Amounts are integers: cpu in millicores, everything else in its own unit (bytes, devices).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from kubeloop.actors.api import quantity

if TYPE_CHECKING:
    from kubeloop.actors.api.core_v1 import Container, PodSpec

CPU = "cpu"
MEMORY = "memory"
DEFAULT_CPU_MILLICORES = 100
"""What scoring assumes of a container that requests no cpu."""
DEFAULT_MEMORY_BYTES = 200 * 1024 * 1024
"""What scoring assumes of a container that requests no memory."""
NOTHING: Mapping[str, int] = {}
SCORING_DEFAULTS: Mapping[str, int] = {CPU: DEFAULT_CPU_MILLICORES, MEMORY: DEFAULT_MEMORY_BYTES}


def amount(resource: str, text: str) -> int:
    """The integer amount of one quantity of ``resource``, rounded up."""
    return quantity.milli_value(text) if resource == CPU else quantity.value(text)


def amounts(resources: Mapping[str, str]) -> dict[str, int]:
    """Integer amounts of a resource list."""
    return {name: amount(name, text) for name, text in resources.items()}


def _container(container: Container, defaults: Mapping[str, int]) -> dict[str, int]:
    declared = container.resources.requests if container.resources is not None else {}
    return {**defaults, **amounts(declared)}


def _add(total: dict[str, int], more: Mapping[str, int]) -> None:
    for name, value in more.items():
        total[name] = total.get(name, 0) + value


def _raise_to(total: dict[str, int], least: Mapping[str, int]) -> None:
    for name, value in least.items():
        if value > total.get(name, 0):
            total[name] = value


def pod_requests(spec: PodSpec, defaults: Mapping[str, int] = NOTHING) -> dict[str, int]:
    """What the whole pod requests of its node, by resource.

    Containers and sidecars are added up; each init container needs its own request beside the sidecars started
    before it; the larger of both counts, resource by resource. Pod-level requests replace that sum for the resources
    they name. Overhead is added at last. ``defaults`` are assumed of a container that names no amount.
    """
    total: dict[str, int] = {}
    for container in spec.containers:
        _add(total, _container(container, defaults))
    _with_init_containers(total, spec.init_containers, defaults)
    if spec.resources is not None:
        total.update(amounts(spec.resources.requests))
    _add(total, amounts(spec.overhead))
    return total


def _with_init_containers(total: dict[str, int], containers: Iterable[Container], defaults: Mapping[str, int]) -> None:
    sidecars: dict[str, int] = {}
    peak: dict[str, int] = {}
    for container in containers:
        request = _container(container, defaults)
        if container.restart_policy == "Always":
            _add(total, request)
            _add(sidecars, request)
            _raise_to(peak, sidecars)
        else:
            _add(request, sidecars)
            _raise_to(peak, request)
    _raise_to(total, peak)
