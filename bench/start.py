"""How long it takes to have a cluster: importing, booting."""

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
from time import perf_counter

from bench.workload import Measurement

IMPORT_CODE = """
import sys, time
before = time.perf_counter()
import kubeloop.actors.cluster
print(time.perf_counter() - before)
heavy = ("aiohttp", "cryptography", "jwt", "numpy", "prometheus_client", "rich", "structlog", "typer", "yaml")
print(",".join(name for name in heavy if name in sys.modules))
"""


async def import_time(processes: int) -> Measurement:
    """`import kubeloop.actors.cluster` in fresh processes with bytecode at hand; milliseconds of the fastest."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": folder, "PYTHONDONTWRITEBYTECODE": ""}
        await _import_once(environment)
        runs = [await _import_once(environment) for _ in range(processes)]
    milliseconds = [run[0] for run in runs]
    return Measurement(min(milliseconds), {"median": statistics.median(milliseconds), "heavy": runs[-1][1]})


async def _import_once(environment: dict[str, str]) -> tuple[float, str]:
    """Milliseconds, and the heavy modules that came with it."""
    command = [sys.executable, "-c", IMPORT_CODE]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise RuntimeError(f"kubeloop cannot be imported: {done.stderr.strip().splitlines()[-1]}")
    seconds, _, heavy = done.stdout.partition("\n")
    return float(seconds) * 1000, heavy.strip()


async def boot(nodes: int, boots: int) -> Measurement:
    """`async with Cluster(nodes)` until every node is Ready; milliseconds of the fastest, the first one not counted."""
    from kubeloop.actors.cluster import Cluster

    entering, leaving = [], []
    for _ in range(boots + 1):
        before = perf_counter()
        async with Cluster(nodes=nodes):
            ready = perf_counter()
            entering.append((ready - before) * 1000)
            ready = perf_counter()
        leaving.append((perf_counter() - ready) * 1000)
    detail = {
        "first": entering[0],
        "median": statistics.median(entering[1:]),
        "stop_median": statistics.median(leaving[1:]),
    }
    return Measurement(min(entering[1:]), detail)
