"""The pytest plugin: a cluster a test, gone with it.

    async def test_web_becomes_available(cluster):
        await cluster.apply("deployment.yaml")
        await cluster.wait("deployment/web", "Available", timeout=30)

    @pytest.mark.kubeloop(nodes=3, time="virtual", seed=7)
    async def test_pods_leave_a_lost_node(cluster): ...

    def test_with_any_client(kubeconfig):
        subprocess.run(["kubectl", "--kubeconfig", kubeconfig, "get", "nodes"], check=True)

Fixtures: `cluster` (a running Cluster, for `async def` tests, through pytest-asyncio) and `kubeconfig` (the path of a
kubeconfig file for the same cluster over HTTPS; in a plain `def` test the cluster runs in a thread of its own).
Marker: `kubeloop(nodes=1, runtime="sim", seed=None, time="real", **options)`; the options are Cluster's.
Nothing is imported before a test asks for it.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from kubeloop.actors.cluster import Cluster

MARKER = (
    'kubeloop(nodes=1, runtime="sim", seed=None, time="real", **options): the cluster that this test\'s fixtures give; '
    'time="virtual" runs the test on a clock that jumps, options are those of kubeloop.Cluster'
)
THREAD_STOP_SECONDS = 30.0


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", MARKER)


def _marked(node: pytest.Item | Any) -> dict[str, Any]:
    """The options of the nearest marker, the outer ones' as defaults."""
    options: dict[str, Any] = {}
    for marker in reversed(list(node.iter_markers("kubeloop"))):
        options.update(marker.kwargs)
    return options


def _options(node: pytest.Item | Any) -> dict[str, Any]:
    """As _marked, with the defaults; a marker that makes no sense fails its test in one line."""
    from kubeloop.actors.cluster import Cluster

    options = {"nodes": 1, "time": "real"} | _marked(node)
    known = list(inspect.signature(Cluster).parameters)
    if any(marker.args for marker in node.iter_markers("kubeloop")):
        pytest.fail("the kubeloop marker takes keyword arguments, as in nodes=3", pytrace=False)
    if unknown := sorted(options.keys() - {"time", *known}):
        pytest.fail(
            f"the kubeloop marker has no {', '.join(unknown)}: it takes time, {', '.join(known)}", pytrace=False
        )
    if options["time"] not in ("real", "virtual"):
        pytest.fail(f"time={options['time']!r} is neither 'real' nor 'virtual'", pytrace=False)
    return options


@pytest.hookimpl(optionalhook=True, trylast=True)
def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Gives a test marked time="virtual" the loop whose clock jumps; every other test keeps the loop it had."""
    options = _marked(item)  # what is wrong with the marker, the fixture says: here it would end the whole module
    if options.get("time") == "virtual":
        from kubeloop.runtime.simulation import VirtualTimeLoop

        return {"virtual": lambda: VirtualTimeLoop(seed=options.get("seed") or 0)}
    return {"asyncio": asyncio.new_event_loop}


def _cluster(options: Mapping[str, Any]) -> Cluster:
    from kubeloop.actors.cluster import Cluster

    return Cluster(**{key: value for key, value in options.items() if key != "time"})


async def _running_cluster(request: pytest.FixtureRequest) -> AsyncIterator[Cluster]:
    async with _cluster(_options(request.node)) as running:
        yield running


async def _served_kubeconfig(cluster: Cluster) -> AsyncIterator[Path]:
    yield await cluster.serve()


try:
    import pytest_asyncio
except ImportError:  # plain tests still have `kubeconfig`

    @pytest.fixture
    def cluster() -> None:
        """Needs pytest-asyncio, which is not installed."""
        pytest.fail("the fixture `cluster` needs pytest-asyncio: pip install 'kubeloop[test]'")

else:
    cluster = pytest_asyncio.fixture(_running_cluster, name="cluster", loop_scope="function")  # type: ignore[assignment]
    kubeloop_served_kubeconfig = pytest_asyncio.fixture(
        _served_kubeconfig, name="kubeloop_served_kubeconfig", loop_scope="function"
    )


@pytest.fixture
def kubeconfig(request: pytest.FixtureRequest) -> Iterator[Path]:
    """The path of a kubeconfig for this test's cluster, served over HTTPS on a free port of this machine."""
    options = _options(request.node)
    if options["time"] == "virtual":
        pytest.fail("kubeconfig needs time='real', clients live in real time", pytrace=False)
    if inspect.iscoroutinefunction(getattr(request.node, "obj", None)):
        yield request.getfixturevalue("kubeloop_served_kubeconfig")
        return
    with _ThreadedCluster(options) as path:
        yield path


class _ThreadedCluster:
    """A cluster on a loop in a thread of its own, for tests and programs that block."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._options = options
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kubeloop", daemon=True)
        self._error: BaseException | None = None
        self._path: Path | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None

    def __enter__(self) -> Path:
        self._thread.start()
        self._ready.wait()
        if self._path is None:
            self._thread.join()
            assert self._error is not None
            raise self._error
        return self._path

    def __exit__(self, *error: object) -> None:
        assert self._loop is not None and self._stop is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(THREAD_STOP_SECONDS)
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            self._error = error
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        async with _cluster(self._options) as running:
            self._path = await running.serve()
            self._ready.set()
            await self._stop.wait()
