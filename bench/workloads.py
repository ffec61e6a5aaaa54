"""Every workload: what it is called, its unit, its goal."""

from collections.abc import Awaitable, Callable
from importlib import import_module
from typing import Any

from bench.workload import Measurement, Workload


def _lazily(module: str, name: str) -> Callable[..., Awaitable[Measurement]]:
    """A workload's module is imported when it runs, so that a broken part of kubeloop breaks only its own workloads."""

    async def run(**parameters: Any) -> Measurement:
        measurement = await getattr(import_module(f"bench.{module}"), name)(**parameters)
        assert isinstance(measurement, Measurement)
        return measurement

    return run


WORKLOADS = (
    Workload(
        "import",
        "import kubeloop.actors.cluster",
        "ms",
        250,
        "lower",
        _lazily("start", "import_time"),
        quick={"processes": 3},
        full={"processes": 7},
    ),
    Workload(
        "boot",
        "Cluster(nodes=3) to all nodes Ready",
        "ms",
        25,
        "lower",
        _lazily("start", "boot"),
        quick={"nodes": 3, "boots": 5},
        full={"nodes": 3, "boots": 20},
    ),
    Workload(
        "ask",
        "ask a concurrent actor, beyond the handler",
        "us",
        2,
        "lower",
        _lazily("machinery", "ask"),
        quick={"messages": 50_000},
        full={"messages": 200_000},
        repeat=3,
    ),
    Workload(
        "tell",
        "tell and handle a message",
        "us",
        3,
        "lower",
        _lazily("machinery", "tell"),
        quick={"messages": 50_000},
        full={"messages": 200_000},
        repeat=3,
    ),
    Workload(
        "workqueue",
        "work queue: add, get, done",
        "us",
        2,
        "lower",
        _lazily("machinery", "work_queue"),
        quick={"keys": 50_000},
        full={"keys": 200_000},
        repeat=3,
    ),
    Workload(
        "store",
        "store puts in memory, 1,000 watches elsewhere",
        "puts/s",
        100_000,
        "higher",
        _lazily("machinery", "store_put"),
        quick={"puts": 50_000, "watches": 1000},
        full={"puts": 300_000, "watches": 1000},
        repeat=3,
    ),
    Workload(
        "create",
        "create pods in process, whole chain",
        "pods/s",
        20_000,
        "higher",
        _lazily("api", "create"),
        quick={"pods": 10_000},
        full={"pods": 50_000},
        repeat=2,
    ),
    Workload(
        "get",
        "GET a pod in process",
        "gets/s",
        50_000,
        "higher",
        _lazily("api", "get"),
        quick={"gets": 20_000},
        full={"gets": 100_000},
        repeat=2,
    ),
    Workload(
        "https",
        "create pods over HTTPS, 16 connections, against a bare server",
        "x",
        0.6,
        "higher",
        _lazily("https", "create_over_https"),
        quick={"requests": 1500, "connections": 16},
        full={"requests": 10_000, "connections": 16},
    ),
    Workload(
        "watch",
        "deliveries to 1,000 watchers",
        "/s",
        100_000,
        "higher",
        _lazily("api", "watch"),
        quick={"watchers": 1000, "writes": 50},
        full={"watchers": 1000, "writes": 500},
    ),
    Workload(
        "scheduler",
        "the scheduling algorithm alone",
        "pods/s",
        30_000,
        "higher",
        _lazily("scheduling", "algorithm"),
        quick={"pods": 2000, "node_count": 500},
        full={"pods": 10_000, "node_count": 5000},
        repeat=3,
    ),
    Workload(
        "schedule",
        "created to bound, through the API server",
        "pods/s",
        5000,
        "higher",
        _lazily("whole", "schedule"),
        quick={"pods": 2000, "node_count": 500},
        full={"pods": 10_000, "node_count": 5000},
    ),
    Workload(
        "run",
        "created to Running on simulated nodes",
        "pods/s",
        2500,
        "higher",
        _lazily("whole", "run"),
        quick={"pods": 1000, "node_count": 100},
        full={"pods": 10_000, "node_count": 1000},
    ),
    Workload(
        "idle",
        "an idle cluster in virtual time: 24 h of 100 nodes in 60 s",
        "node-hours/s",
        40,
        "higher",
        _lazily("whole", "idle"),
        quick={"node_count": 10, "hours": 2.0},
        full={"node_count": 100, "hours": 24.0},
    ),
)
