"""How long it takes to have a cluster: importing, booting."""

import asyncio
import statistics
import subprocess
import sys
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
    """`import kubeloop.actors.cluster` in fresh processes; milliseconds of the fastest."""
    milliseconds, heavy = [], ""
    for _ in range(processes):
        done = await asyncio.to_thread(
            subprocess.run, [sys.executable, "-c", IMPORT_CODE], capture_output=True, text=True
        )
        if done.returncode:
            raise RuntimeError(f"kubeloop cannot be imported: {done.stderr.strip().splitlines()[-1]}")
        seconds, _, heavy = done.stdout.partition("\n")
        milliseconds.append(float(seconds) * 1000)
    detail = {"median": statistics.median(milliseconds), "heavy": heavy.strip()}
    return Measurement(min(milliseconds), detail)


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
