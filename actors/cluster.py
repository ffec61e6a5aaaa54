"""The root of it all: which actor runs on which host, in which order they start, and how they stop.

    async with Cluster(nodes=3) as cluster:
        await cluster.apply("deployment.yaml")
        await cluster.wait("deployment/web", "Available", timeout=30)
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Generator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

import anyio
import msgspec

from kubeloop.actors import manifests, waiting
from kubeloop.actors.api import meta
from kubeloop.actors.api.errors import StatusError, is_not_found
from kubeloop.actors.api.resources import resource_for
from kubeloop.actors.apiserver.actor import ApiServer
from kubeloop.actors.client.client import Client
from kubeloop.actors.container_runtime.actor import ContainerRuntimeActor
from kubeloop.actors.controller_manager.actor import ControllerManager
from kubeloop.actors.etcd.actor import EtcdActor
from kubeloop.actors.etcd.kv import ActorKV
from kubeloop.actors.kube_proxy.actor import KubeProxy
from kubeloop.actors.kubelet.actor import Kubelet
from kubeloop.actors.scheduler.actor import Scheduler
from kubeloop.runtime.clock import Clock
from kubeloop.runtime.system import ActorStatistics, System

if TYPE_CHECKING:
    from kubeloop.actors.pki import CertificateAuthority

CONTROL_PLANE = "control-plane-0"
CONTROL_PLANE_ACTORS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
NODE_ACTORS = ("container-runtime", "kubelet", "kube-proxy")
OPTIONAL = ("kube-scheduler", "kube-controller-manager", "kubelet", "kube-proxy", "container-runtime")
EPOCH_SECONDS = 1_767_225_600.0  # 2026-01-01T00:00:00Z, when virtual time begins
READY_TIMEOUT_SECONDS = 60.0


class NodeOptions(msgspec.Struct, frozen=True):
    """One node: its name (default node-N), labels, taints as `key=value:Effect`, and capacity as Kubernetes quantities."""

    name: str = ""
    labels: Mapping[str, str] = {}
    taints: Sequence[str] = ()
    capacity: Mapping[str, str] = {}


class Done:
    """What has happened already; may be awaited, need not be."""

    def __await__(self) -> Generator[Any, None, None]:
        return
        yield


class Cluster:
    """A whole Kubernetes cluster: control plane and nodes, every process an actor.

    nodes: how many, or one NodeOptions each. 0 is a control plane alone.
    runtime: "sim" runs scripted containers at no cost; "process" runs each container's command as a child process.
    seed: of every random choice; with a virtual-time loop (runtime.simulation) equal seeds give equal runs.
    without: processes to leave out: "scheduler", "controller-manager", "kubelet", "kube-proxy", "container-runtime".
    controllers: as kube-controller-manager's flag --controllers: ["*", "-job"].
    behaviors: image name -> what such containers do in "sim" (see container_runtime.sim).

    Raises ValueError for names that it does not know. Leaving the `async with` ends every process and frees everything.
    """

    def __init__(
        self,
        nodes: int | Sequence[NodeOptions] = 1,
        *,
        runtime: Literal["sim", "process"] = "sim",
        seed: int | None = None,
        without: Iterable[str] = (),
        controllers: Sequence[str] = ("*",),
        behaviors: Mapping[str, Callable[..., Any]] | None = None,
        node_monitor_grace_period_seconds: float = 40.0,
        node_lease_duration_seconds: float = 40.0,
    ) -> None:
        if runtime not in ("sim", "process"):
            raise ValueError(f"runtime {runtime!r}: kubeloop has sim and process")
        if isinstance(nodes, int):
            if nodes < 0:
                raise ValueError(f"nodes must be 0 or more, not {nodes}")
            nodes = [NodeOptions()] * nodes
        self.runtime = runtime
        self.nodes = tuple(
            msgspec.structs.replace(options, name=options.name or f"node-{number}")
            for number, options in enumerate(nodes, 1)
        )
        self.without = frozenset(process_name(name, OPTIONAL) for name in without)
        self.client: Client
        self.system: System
        self._seed = seed
        self._controllers = tuple(controllers)
        self._behaviors = behaviors
        self._node_monitor_grace_period_seconds = node_monitor_grace_period_seconds
        self._node_lease_duration_seconds = node_lease_duration_seconds
        self._stack = AsyncExitStack()
        self._authority: CertificateAuthority | None = None
        self._folder: Path | None = None

    async def __aenter__(self) -> Self:
        await self._stack.__aenter__()
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.__aexit__(kind, error, trace)

    async def _start(self) -> None:
        virtual = getattr(asyncio.get_running_loop(), "virtual", False)
        clock = Clock(seed=self._seed, epoch=EPOCH_SECONDS if virtual else None)
        self.system = await self._stack.enter_async_context(System(clock=clock))
        await self.system.start(EtcdActor, name="etcd", host=CONTROL_PLANE)
        await self.system.start(self._apiserver, name="kube-apiserver", host=CONTROL_PLANE)
        self.client = self._client(CONTROL_PLANE, "kubernetes-admin", ("system:masters",))
        self._stack.push_async_callback(self.client.aclose)
        if "kube-controller-manager" not in self.without:
            await self.system.start(self._controller_manager, name="kube-controller-manager", host=CONTROL_PLANE)
        if "kube-scheduler" not in self.without:
            await self.system.start(self._scheduler, name="kube-scheduler", host=CONTROL_PLANE)
        for options in self.nodes:
            await self._start_node(options)
        if self.nodes and "kubelet" not in self.without:
            await self._wait_for_nodes()

    async def _start_node(self, options: NodeOptions) -> None:
        factories = {
            "container-runtime": lambda: self._container_runtime(options),
            "kubelet": lambda: self._kubelet(options),
            "kube-proxy": lambda: self._kube_proxy(options),
        }
        for process, factory in factories.items():
            if process not in self.without:
                await self.system.start(factory, name=f"{process}/{options.name}", host=options.name)

    async def apply(self, source: Any, *, namespace: str = "default", field_manager: str = "kubeloop") -> list[Any]:
        """Server-side applies manifests (a path, a folder, YAML text, objects; see manifests.read_objects), in order.

        Returns the objects as stored. Raises StatusError with the API server's answer at the first that is refused,
        ManifestError and FileNotFoundError before anything is sent.
        """
        applied = []
        for obj in manifests.read_objects(source):
            resource = resource_for(obj)
            if resource.namespaced and not meta.namespace(obj):
                obj = meta.replace_metadata(obj, namespace=namespace)
            applied.append(await self.client.apply(obj, field_manager=field_manager, force=True))
        return applied

    async def wait(
        self,
        target: Any,
        condition: str | Callable[[Any], bool] = "Ready",
        *,
        namespace: str = "default",
        timeout: float = 30.0,
    ) -> Any:
        """Waits until `target` ("deployment/web", or an object) is as `condition` says; returns the object (None: deleted).

        Conditions are those of `kubectl wait --for` (see waiting.predicate). Raises TimeoutError after `timeout` seconds of
        the cluster's time, saying how the object stood; ValueError for a target or condition that it does not understand.
        """
        kind, name, namespace = _target(target, namespace)
        holds = waiting.predicate(condition)
        latest: list[Any] = [None]
        try:
            with anyio.fail_after(timeout):
                return await self._watch_until(kind, name, namespace, holds, latest)
        except TimeoutError:
            state = "it does not exist" if latest[0] is None else f"status: {waiting.describe_status(latest[0])}"
            raise TimeoutError(f"{kind}/{name} was not {condition} within {timeout:g} s; {state}") from None

    async def _watch_until(
        self, kind: str, name: str, namespace: str, holds: waiting.Predicate, latest: list[Any]
    ) -> Any:
        resource = resource_for(kind)
        scope = namespace if resource.namespaced else None
        selector = f"metadata.name={name}"
        while True:
            found = await self.client.list(kind, scope, field_selector=selector)
            latest[0] = found.items[0] if found.items else None
            if holds(latest[0]):
                return latest[0]
            events = self.client.watch(
                kind, scope, field_selector=selector, resource_version=found.resource_version
            )
            try:
                async for event in events:
                    latest[0] = None if event.type == "DELETED" else event.object
                    if holds(latest[0]):
                        return latest[0]
            except (StatusError, ConnectionError, OSError):
                await self.system.clock.sleep(0.05)  # the API server is away for a moment: look again
            finally:
                await events.aclose()

    async def serve(
        self, port: int = 0, *, host: str = "127.0.0.1", kubeconfig: str | Path | None = None
    ) -> Path:
        """Serves the API over HTTPS on this machine, and returns the path of a kubeconfig for it (0: a free port).

        Without `kubeconfig` the file lies in a temporary folder that goes with the cluster.
        Raises OSError when the port is taken or the file cannot be written.
        """
        from kubeloop.actors import pki

        if self._authority is None:
            self._authority = pki.CertificateAuthority(self.system.clock)
        hosts = ("localhost", host, "127.0.0.1", "kubernetes", "kubernetes.default", "kubernetes.default.svc")
        context = pki.server_ssl_context(self._authority, tuple(dict.fromkeys(hosts)))
        server = await self._listen(host, port, context)
        url = f"https://{host}:{server.port}"
        pair = self._authority.issue_client("kubernetes-admin", ("system:masters",))
        text = pki.kubeconfig_text(url, self._authority.certificate, pair, self.token)
        path = Path(kubeconfig) if kubeconfig is not None else self._temporary_folder() / "kubeconfig"
        pki.write_private(path, text)
        return path

    def crash(self, process: str) -> Done:
        """Kills a process as `kill -9` does ("scheduler", "kubelet/node-1"): its memory is gone, its supervisor restarts it.

        Raises ValueError for a process that this cluster does not run.
        """
        self.system.crash(self._actor_name(process))
        return Done()

    def node(self, name: str) -> Node:
        """The machine of that name, to crash and restart. Raises ValueError when there is none."""
        names = [options.name for options in self.nodes]
        if name not in names:
            raise ValueError(f"no node {name!r}: this cluster has {', '.join(names) or 'none'}")
        return Node(self.system, name)

    def processes(self) -> tuple[ActorStatistics, ...]:
        """Every process: its name, host, state, restarts."""
        return self.system.statistics()

    def _actor_name(self, process: str) -> str:
        kind, _, node = process.partition("/")
        name = process_name(kind, CONTROL_PLANE_ACTORS + NODE_ACTORS) + (f"/{node}" if node else "")
        running = [statistics.name for statistics in self.system.statistics()]
        if name not in running:
            raise ValueError(f"no process {process!r}: this cluster runs {', '.join(running)}")
        return name

    def _temporary_folder(self) -> Path:
        if self._folder is None:
            self._folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="kubeloop-")))
        return self._folder


class Node:
    """A machine of the cluster, for faults."""

    def __init__(self, system: System, name: str) -> None:
        self.name = name
        self._system = system

    def crash(self) -> Done:
        """The power goes: kubelet, proxy, runtime and every container of the node end at once, without a word."""
        self._system.crash_host(self.name)
        return Done()

    def restart(self) -> Awaitable[None]:
        """The power comes back; awaiting the answer waits until the node's processes are up."""
        return self._system.spawn(self._system.start_host, self.name, name=f"restart {self.name}")


def process_name(name: str, known: Sequence[str]) -> str:
    """The full name of a process: "scheduler" is "kube-scheduler". Raises ValueError for others than `known`."""
    for candidate in known:
        if name in (candidate, candidate.removeprefix("kube-")):
            return candidate
    raise ValueError(f"unknown process {name!r}: one of {', '.join(known)}")


def _target(target: Any, namespace: str) -> tuple[str, str, str]:
    if not isinstance(target, str):
        resource = resource_for(target)
        return resource.plural, meta.name(target), meta.namespace(target) or namespace
    kind, _, name = target.partition("/")
    if not kind or not name:
        raise ValueError(f"target {target!r}: written as kind/name, as in deployment/web")
    return kind, name, namespace
