"""The benchmark's own machinery; what it measures is measured elsewhere."""

import json
from pathlib import Path

import pytest
from typer import Typer
from typer.testing import CliRunner

from bench.__main__ import main
from bench.workload import Measurement, Workload
from bench.workloads import WORKLOADS


async def nothing() -> Measurement:
    return Measurement(1)


def workload(better: str, goal: float) -> Workload:
    return Workload("some", "something", "s", goal, better, nothing)


@pytest.fixture
def runner() -> tuple[CliRunner, Typer]:
    application = Typer()
    application.command()(main)
    return CliRunner(), application


def test_the_best_of_several_runs_counts() -> None:
    measurements = [Measurement(2), Measurement(3), Measurement(1)]
    assert workload("higher", 0).best(measurements).value == 3
    assert workload("lower", 0).best(measurements).value == 1


def test_a_goal_is_reached_from_its_own_side() -> None:
    assert workload("higher", 5).reached(5) and not workload("higher", 5).reached(4)
    assert workload("lower", 5).reached(5) and not workload("lower", 5).reached(6)


def test_names_of_workloads_are_unique_and_each_has_both_sizes() -> None:
    assert len({one.name for one in WORKLOADS}) == len(WORKLOADS)
    assert all(one.quick and one.full and one.quick.keys() == one.full.keys() for one in WORKLOADS)


def test_a_result_is_one_json_line_with_its_circumstances(runner: tuple[CliRunner, Typer], tmp_path: Path) -> None:
    results = tmp_path / "results.jsonl"
    for _ in range(2):
        done = runner[0].invoke(runner[1], ["--quick", "workqueue", "--results", str(results)])
        assert done.exit_code == 0, done.output
    lines = [json.loads(line) for line in results.read_text().splitlines()]
    assert len(lines) == 2
    assert {"commit", "python", "cores", "time", "value", "unit", "goal", "parameters"} <= lines[0].keys()
    assert lines[0]["workload"] == "workqueue" and lines[0]["mode"] == "quick"
    assert len(lines[0]["values"]) == 3 and min(lines[0]["values"]) == lines[0]["value"]


def test_an_unknown_workload_is_refused_with_those_that_exist(runner: tuple[CliRunner, Typer]) -> None:
    done = runner[0].invoke(runner[1], ["nonsense"])
    assert done.exit_code == 2
    assert "nonsense" in done.output and "boot" in done.output
