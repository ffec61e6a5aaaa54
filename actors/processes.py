"""What a cluster consists of, as its user sees it: nodes, their machines, and the processes on them."""

from collections.abc import Awaitable, Generator, Mapping, Sequence
from typing import Any

import msgspec

from kubeloop.runtime.system import System

CONTROL_PLANE = "control-plane-0"
CONTROL_PLANE_ACTORS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
NODE_ACTORS = ("container-runtime", "kubelet", "kube-proxy")
OPTIONAL = ("kube-scheduler", "kube-controller-manager", "kubelet", "kube-proxy", "container-runtime")


class NodeOptions(msgspec.Struct, frozen=True):
    """One node: its name (default node-N), labels, taints as `key=value:Effect`, capacity as quantities.

    >>> from kubeloop import Cluster, NodeOptions
    >>> Cluster([NodeOptions(labels={"size": "big"}, capacity={"cpu": "64"})]).nodes[0].name
    'node-1'
    """

    name: str = ""
    labels: Mapping[str, str] = {}
    taints: Sequence[str] = ()
    capacity: Mapping[str, str] = {}


class Process(msgspec.Struct, frozen=True):
    """One process of the cluster at one moment; `holds` says in words what it has in memory."""

    name: str
    host: str
    state: str
    restarts: int
    holds: str


class Done:
    """What has happened already; may be awaited, need not be."""

    def __await__(self) -> Generator[Any, None, None]:
        return
        yield


class Node:
    """A machine of the cluster, for faults."""

    def __init__(self, system: System, name: str) -> None:
        self.name = name
        self._system = system

    def crash(self) -> Done:
        """The power goes: kubelet, proxy, runtime and every container of the node end at once, without a word."""
        self._system.crash_host(self.name)
        return Done()

    def restart(self) -> Awaitable[None]:
        """The power comes back; awaiting the answer waits until the node's processes are up."""
        return self._system.spawn(self._system.start_host, self.name, name=f"restart {self.name}")


def process_name(name: str, known: Sequence[str]) -> str:
    """The full name of a process: "scheduler" is "kube-scheduler". Raises ValueError for others than `known`."""
    for candidate in known:
        if name in (candidate, candidate.removeprefix("kube-")):
            return candidate
    raise ValueError(f"unknown process {name!r}: one of {', '.join(known)}")


def running_processes(system: System) -> tuple[Process, ...]:
    """Every process that was started, in that order."""

    def holds(name: str) -> str:
        live = system.slot(name).live
        describe = getattr(live.actor, "describe", None) if live is not None else None
        return str(describe()) if describe is not None else ""

    return tuple(Process(one.name, one.host, one.state, one.restarts, holds(one.name)) for one in system.statistics())
