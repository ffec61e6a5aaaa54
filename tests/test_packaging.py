"""What is packaged is what lies in the tree."""

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
FOLDERS = {
    "kubeloop": "kubeloop",
    "kubeloop.actors": "actors",
    "kubeloop.runtime": "runtime",
    "kubeloop.store": "store",
}


def _packages_under(package: str, folder: str) -> set[str]:
    found = set()
    for init in (ROOT / folder).rglob("__init__.py"):
        if not any(parent.is_symlink() for parent in init.parents):
            found.add(".".join([package, *init.parent.relative_to(ROOT / folder).parts]))
    return found


def test_every_package_of_the_tree_is_listed_and_no_other() -> None:
    tree = set().union(*(_packages_under(package, folder) for package, folder in FOLDERS.items()))
    listed = PYPROJECT["tool"]["setuptools"]["packages"]
    assert sorted(tree | {"kubeloop.demo"}) == sorted(listed)
    assert len(listed) == len(set(listed))


def test_each_package_says_what_it_is_for() -> None:
    for folder in FOLDERS.values():
        for init in (ROOT / folder).rglob("__init__.py"):
            assert init.read_text().lstrip().startswith('"""'), f"{init} has no charter"


def test_importing_kubeloop_loads_neither_the_web_server_nor_numpy() -> None:
    code = (
        "import sys; from kubeloop import Cluster; "
        "heavy = {'aiohttp', 'numpy', 'cryptography', 'yaml', 'jwt', 'rich', 'typer', 'prometheus_client'}; "
        "heavy &= set(sys.modules); "
        "sys.exit(', '.join(sorted(heavy)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, f"imported by kubeloop.Cluster: {done.stderr}"


def test_the_version_is_said_once_and_the_same() -> None:
    import kubeloop

    assert kubeloop.__version__ == PYPROJECT["project"]["version"]


LINUX_ONLY = {"fcntl", "grp", "pty", "pwd", "resource", "termios", "tty", "uvloop"}
IMPORT_EVERYTHING = f"""
import importlib, pkgutil, sys
LINUX_ONLY = {sorted(LINUX_ONLY)!r}
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in LINUX_ONLY:
            raise ImportError(name + " is not there on this system")
for name in LINUX_ONLY:
    sys.modules.pop(name, None)
sys.meta_path.insert(0, Absent())
import kubeloop
for module in pkgutil.walk_packages(kubeloop.__path__, "kubeloop."):
    if not module.name.endswith(("__main__", "demo.web", "demo.database")):
        importlib.import_module(module.name)
"""


def test_everything_imports_where_there_is_no_linux() -> None:
    done = subprocess.run([sys.executable, "-c", IMPORT_EVERYTHING], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
