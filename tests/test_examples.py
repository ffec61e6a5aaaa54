"""The examples run as they stand, and do what they say."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

from kubeloop import simulate

EXAMPLES = Path(__file__).parents[1] / "examples"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_embedded_cluster_recovers_from_a_lost_node() -> None:
    placed = simulate(load("embedded_cluster").main(), seed=1)
    assert len(placed) == 6 and set(placed) == {"node-2", "node-3"}


def test_the_scheduling_experiment_loads_nodes_by_their_size() -> None:
    load_by_size = simulate(load("scheduling_experiment").main(node_count=1000, pod_count=2000), seed=1)
    assert set(load_by_size) == {"small", "medium", "large"}
    assert all(0 < share < 1 for share in load_by_size.values())


def test_the_controller_example_passes_its_own_tests() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "asyncio_mode=auto", "."]
    done = subprocess.run(command, cwd=EXAMPLES / "controller", capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout
