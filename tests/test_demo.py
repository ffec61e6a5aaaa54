"""The main job, as `make demo` runs it."""

import subprocess
import sys


def test_the_demo_observes_everything_and_ends_with_status_0() -> None:
    done = subprocess.run([sys.executable, "-m", "kubeloop", "demo"], capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("observed: ") == 9 and "NOT observed" not in done.stdout
    assert "Everything was observed." in done.stdout
    assert "kubectl" in done.stdout
    assert done.stderr == ""
