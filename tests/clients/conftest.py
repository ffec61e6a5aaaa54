"""kubectl, run against a fresh cluster a test."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

KUBECTL = shutil.which("kubectl")
COMMAND_TIMEOUT_SECONDS = 45

Kubectl = Callable[..., str]


@pytest.fixture
def environment(kubeconfig: Path, tmp_path: Path) -> dict[str, str]:
    return {**os.environ, "KUBECONFIG": str(kubeconfig), "HOME": str(tmp_path), "KUBECACHEDIR": str(tmp_path / "cache")}


@pytest.fixture
def kubectl(environment: dict[str, str]) -> Kubectl:
    """Runs kubectl; returns what it printed. A refusal fails the test, unless `fails=True`: then anything else does."""
    if KUBECTL is None:
        pytest.skip("kubectl is not installed on this machine")

    def run(*arguments: str, stdin: str | None = None, fails: bool = False) -> str:
        done = subprocess.run(
            [KUBECTL, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            env=environment,
            timeout=COMMAND_TIMEOUT_SECONDS,
        )
        said = done.stdout + done.stderr
        assert (done.returncode != 0) is fails, f"kubectl {' '.join(arguments)}: {said}"
        return said

    return run
