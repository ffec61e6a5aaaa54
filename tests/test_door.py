"""What is written at the door is true: the docstrings' examples, and the README's first program."""

import doctest
import re
import subprocess
import sys
from pathlib import Path

import pytest

import kubeloop

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"


def test_the_doors_example_does_what_it_says() -> None:
    assert doctest.testmod(kubeloop).failed == 0


@pytest.mark.parametrize("name", [name for name in kubeloop.__all__ if name != "__version__"])
def test_each_public_name_has_an_example_that_runs(name: str) -> None:
    thing = getattr(kubeloop, name)
    finder = doctest.DocTestFinder(recurse=False)
    tests = [test for test in finder.find(thing, name, globs={}) if test.examples]
    assert tests, f"the docstring of kubeloop.{name} has no example"
    runner = doctest.DocTestRunner()
    assert sum(runner.run(test).failed for test in tests) == 0


def test_a_name_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(AttributeError, match="it has Client, Cluster"):
        kubeloop.Nonsense  # noqa: B018


def test_the_readmes_first_program_runs() -> None:
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
    done = subprocess.run([sys.executable, "-c", blocks[0]], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert len(re.findall(r"^web-\S+ node-\d Running$", done.stdout, flags=re.MULTILINE)) == 3


def test_the_behaviours_of_the_docs_run() -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "containers.md").read_text(), flags=re.DOTALL)
    done = subprocess.run([sys.executable, "-c", blocks[0]], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "node-1 answers select 1\n", "")
