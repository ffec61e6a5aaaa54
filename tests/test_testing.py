"""The pytest plugin in a folder of a user's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

MISUSED = """
import pytest

@pytest.mark.kubeloop(3)
async def test_positional(cluster): ...

@pytest.mark.kubeloop(tme="virtual")
async def test_unknown(cluster): ...

@pytest.mark.kubeloop(time="vrtual")
async def test_time(cluster): ...

@pytest.mark.kubeloop(time="virtual")
def test_kubeconfig(kubeconfig): ...

async def test_fine(cluster): ...
"""


def test_a_marker_that_makes_no_sense_fails_its_own_test_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "test_misused.py").write_text(MISUSED)
    command = [sys.executable, "-m", "pytest", "-q", "-o", "asyncio_mode=auto", "-p", "no:cacheprovider", str(tmp_path)]
    output = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False).stdout
    assert "1 passed" in output and "4 errors" in output, output
    assert "Traceback" not in output and "testing.py" not in output, output
    for message in (
        "the kubeloop marker takes keyword arguments, as in nodes=3",
        "the kubeloop marker has no tme: it takes time, nodes, runtime",
        "time='vrtual' is neither 'real' nor 'virtual'",
        "kubeconfig needs time='real'",
    ):
        assert message in output, output
