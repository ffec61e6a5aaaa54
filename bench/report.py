"""Results: JSON lines in a file, a table on the screen."""

from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from bench.machine import ROOT
from bench.workload import Measurement, Workload

RESULTS = ROOT / "bench" / "results"


def append(path: Path, line: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        file.write(msgspec.json.encode(line) + b"\n")


def new_table(title: str) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("workload")
    table.add_column("what")
    table.add_column("measured", justify="right")
    table.add_column("goal", justify="right")
    table.add_column("")
    table.add_column("more", overflow="fold")
    return table


def add_result(table: Table, workload: Workload, measurement: Measurement) -> None:
    mark = "[green]reached[/]" if workload.reached(measurement.value) else "[yellow]not yet[/]"
    sign = "≥" if workload.better == "higher" else "≤"
    more = ", ".join(f"{key} {_short(value)}" for key, value in measurement.detail.items() if value != "")
    table.add_row(
        workload.name,
        workload.title,
        f"{_short(measurement.value)} {workload.unit}",
        f"{sign} {_short(workload.goal)}",
        mark,
        more,
    )


def add_failure(table: Table, workload: Workload, error: Exception) -> None:
    table.add_row(workload.name, workload.title, "[red]failed[/]", "", "", type(error).__name__)


def print_table(table: Table) -> None:
    console = Console()
    if not console.is_terminal:
        console = Console(width=180)
    console.print(table)


def _short(value: Any) -> str:
    if not isinstance(value, (int, float)):
        return str(value)
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
