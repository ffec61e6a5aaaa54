"""python -m bench [--quick] [--profile] [--loop asyncio|uvloop] [names...]"""

import asyncio
import gc
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any

import typer

from bench import report
from bench.machine import circumstances
from bench.workload import Measurement, Workload
from bench.workloads import WORKLOADS


def main(
    names: Annotated[list[str] | None, typer.Argument(help="Workloads; all when none is named.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Small sizes, under a minute altogether.")] = False,
    profile: Annotated[bool, typer.Option("--profile", help="Print where the time goes; slows it down.")] = False,
    loop: Annotated[str, typer.Option(help="asyncio, or uvloop.")] = "asyncio",
    results: Annotated[Path, typer.Option(help="The file that results are appended to.")] = report.RESULTS
    / "results.jsonl",
) -> None:
    """Measures kubeloop. The exit status is 1 when a workload failed; a goal that is not reached is no failure."""
    chosen = _chosen(names or [])
    facts = {**circumstances(), "loop": loop}
    mode = "quick" if quick else "full"
    table = report.new_table(f"kubeloop bench ({mode}), commit {facts['commit']}, Python {facts['python']}, {loop}")
    failed = False
    for workload in chosen:
        parameters = dict(workload.quick if quick else workload.full)
        print(f"{workload.name}: {workload.title} {parameters}", file=sys.stderr, flush=True)
        before = perf_counter()
        try:
            measurements = [_once(workload, parameters, _loop_factory(loop), profile) for _ in range(workload.repeat)]
        except Exception as error:
            failed = True
            print(f"{workload.name} failed: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
            report.add_failure(table, workload, error)
            continue
        best = workload.best(measurements)
        report.add_result(table, workload, best)
        line = {
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "workload": workload.name,
            "mode": mode,
            "parameters": parameters,
            "value": best.value,
            "unit": workload.unit,
            "goal": workload.goal,
            "reached": workload.reached(best.value),
            "values": [measurement.value for measurement in measurements],
            "detail": dict(best.detail),
            "took_seconds": perf_counter() - before,
            **facts,
        }
        if not profile:
            report.append(results, line)
    report.print_table(table)
    if failed:
        raise typer.Exit(1)


def _chosen(names: list[str]) -> list[Workload]:
    known = {workload.name: workload for workload in WORKLOADS}
    for name in names:
        if name not in known:
            raise typer.BadParameter(f"unknown workload {name!r}: one of {', '.join(known)}")
    return [known[name] for name in names] or list(WORKLOADS)


def _once(
    workload: Workload, parameters: dict[str, Any], loop_factory: Callable[[], asyncio.AbstractEventLoop], profile: bool
) -> Measurement:
    gc.collect()
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        if not profile:
            return runner.run(_measured(workload, parameters))
        import cProfile
        import pstats

        profiler = cProfile.Profile()
        profiler.enable()
        try:
            return runner.run(_measured(workload, parameters))
        finally:
            profiler.disable()
            pstats.Stats(profiler, stream=sys.stderr).sort_stats("tottime").print_stats(40)


async def _measured(workload: Workload, parameters: dict[str, Any]) -> Measurement:
    return await workload.run(**parameters)


def _loop_factory(loop: str) -> Callable[[], asyncio.AbstractEventLoop]:
    if loop == "asyncio":
        return asyncio.new_event_loop
    if loop != "uvloop":
        raise typer.BadParameter(f"unknown loop {loop!r}: asyncio or uvloop")
    import uvloop

    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


if __name__ == "__main__":
    typer.run(main)
