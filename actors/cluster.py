"""The root of it all: which actor runs on which host, in which order they start, and how they stop.

async with Cluster(nodes=3) as cluster:
    await cluster.apply("deployment.yaml")
    await cluster.wait("deployment/web", "Available", timeout=30)
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import msgspec

from kubeloop.actors import manifests, waiting
from kubeloop.actors.api import meta
from kubeloop.actors.api.errors import StatusError
from kubeloop.actors.apiserver.actor import ApiServer
from kubeloop.actors.apiserver.authorization import checked_modes
from kubeloop.actors.client.client import Client
from kubeloop.actors.container_runtime.actor import ContainerRuntimeActor
from kubeloop.actors.container_runtime.addresses import pod_cidr
from kubeloop.actors.container_runtime.loopback import LoopbackBlock
from kubeloop.actors.container_runtime.messages import ExecResult
from kubeloop.actors.container_runtime.process import ProcessBackend
from kubeloop.actors.container_runtime.sim import SimBackend
from kubeloop.actors.controller_manager.actor import NAMES as CONTROLLER_NAMES
from kubeloop.actors.controller_manager.actor import ControllerManager, PublishRootCa
from kubeloop.actors.controller_manager.selection import select_controllers
from kubeloop.actors.etcd.messages import KV
from kubeloop.actors.etcd_choice import ClusterEtcd, EtcdChoice, data_dir_of, options_of
from kubeloop.actors.kube_proxy.actor import KubeProxy
from kubeloop.actors.kube_proxy.messages import Connect, Connection
from kubeloop.actors.kubelet.actor import Kubelet
from kubeloop.actors.processes import (
    CONTROL_PLANE,
    CONTROL_PLANE_ACTORS,
    NODE_ACTORS,
    OPTIONAL,
    Done,
    Node,
    NodeOptions,
    Process,
    process_name,
    running_processes,
)
from kubeloop.actors.scheduler.actor import Scheduler
from kubeloop.actors.security import Security
from kubeloop.runtime.actor import Actor, ActorStopped
from kubeloop.runtime.log import get_logger
from kubeloop.runtime.system import System

DEFAULT_AUTHORIZATION = "AlwaysAllow"
READY_TIMEOUT_SECONDS = 60.0
NODES_STARTED_AT_ONCE = 64
EAGER_PROXIES_MAX = 100  # with more nodes a proxy begins to watch when it is first asked


class Cluster:
    """A whole Kubernetes cluster: control plane and nodes, every process an actor.

    nodes: how many, or one NodeOptions each. 0 is a control plane alone.
    runtime: "sim" runs scripted containers at no cost; "process" runs each container's command as a child process.
    seed: of every random choice; with a virtual-time loop (runtime.simulation) equal seeds give equal runs.
    without: processes to leave out: "scheduler", "controller-manager", "kubelet", "kube-proxy", "container-runtime".
    controllers: as kube-controller-manager's flag --controllers: ["*", "-job"].
    record_events: False leaves out the Normal events of pods, which cost more than the pods in large simulations.
    behaviors: image name -> what such containers do in "sim" (see container_runtime.sim).
    data_dir: the folder in which state and secrets outlive the process; without it they are in memory.
    etcd: EtcdOptions of the cluster's own etcd; or a real one: URLs of its members, or RemoteEtcd with TLS files.
    authorization: who is asked whether a user may, as kube-apiserver's --authorization-mode: "Node,RBAC", "RBAC", or
        "AlwaysAllow".
    etcd_prefix: the key below which all is kept, as kube-apiserver's --etcd-prefix; clusters may share an etcd.

    Raises ValueError for names that it does not know, and for options that contradict each other. Entering it raises
    ConnectionError for a real etcd that does not answer, DataDirError and PkiError for a data_dir that cannot be used.
    Leaving the `async with` ends every process and frees everything.

    >>> from kubeloop import Cluster, simulate
    >>> POD = "{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {containers: [{name: a, image: example/a}]}}"
    >>> async def main():
    ...     async with Cluster(nodes=3) as cluster:
    ...         await cluster.apply(POD)
    ...         pod = await cluster.wait("pod/a", "Ready", timeout=30)
    ...         return pod.status.phase, len(cluster.processes())
    >>> simulate(main(), seed=1)
    ('Running', 13)
    """

    def __init__(
        self,
        nodes: int | Sequence[NodeOptions] = 1,
        *,
        runtime: Literal["sim", "process"] = "sim",
        seed: int | None = None,
        without: Iterable[str] = (),
        controllers: Sequence[str] = ("*",),
        behaviors: Mapping[str, Any] | None = None,
        record_events: bool = True,
        data_dir: str | os.PathLike[str] | None = None,
        etcd: EtcdChoice | None = None,
        etcd_prefix: str = "/registry",
        node_monitor_grace_period_seconds: float = 40.0,
        node_lease_duration_seconds: float = 40.0,
        authorization: str = DEFAULT_AUTHORIZATION,
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
        self.data_dir = data_dir_of(data_dir)
        self.without = frozenset(process_name(name, OPTIONAL) for name in without)
        self.client: Client
        self.system: System
        self.etcd: KV
        self._seed = seed
        self._controllers = tuple(controllers)
        self._record_events = record_events
        self._behaviors = dict(behaviors or {})
        self._own_etcd = ClusterEtcd(options_of(etcd, self.data_dir))
        self._etcd_prefix = etcd_prefix
        self._authorization = checked_modes(authorization)
        self._node_monitor_grace_period_seconds = node_monitor_grace_period_seconds
        self._node_lease_duration_seconds = node_lease_duration_seconds
        self._indexes = {options.name: number for number, options in enumerate(self.nodes, 1)}
        if len(self._indexes) != len(self.nodes):
            raise ValueError("two nodes have the same name")
        select_controllers(self._controllers, CONTROLLER_NAMES)
        self._stack = AsyncExitStack()
        self._entered = False
        self._loopback: LoopbackBlock | None = None
        self._security: Security | None = None
        self._folder: Path | None = None

    async def __aenter__(self) -> Self:
        if self._entered:
            raise RuntimeError("this cluster runs already: another one is another Cluster()")
        self._entered = True
        await self._stack.__aenter__()
        try:
            await self._start()
        except BaseException:
            self._entered = False
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._entered, self._folder = False, None
        await self._stack.__aexit__(kind, error, trace)

    async def _start(self) -> None:
        self._stack.push_async_callback(self._own_etcd.close)
        self.system = await self._stack.enter_async_context(System(seed=self._seed))
        if self.runtime == "process":
            self._loopback = LoopbackBlock()
            self._stack.callback(self._loopback.close)
        await self._own_etcd.start(self.system)
        self.etcd = self._own_etcd.kv(self.system)
        await self._continue_chance()
        self._security = Security(
            self.system.clock, data_dir=self.data_dir, etcd_prefix=self._etcd_prefix, authorization=self._authorization
        )
        await self.system.start(self._apiserver, name="kube-apiserver", host=CONTROL_PLANE)
        self.client = self._client(CONTROL_PLANE, "kubernetes-admin", ("system:masters",))
        if "kube-controller-manager" not in self.without:
            await self.system.start(self._controller_manager, name="kube-controller-manager", host=CONTROL_PLANE)
        if "kube-scheduler" not in self.without:
            await self.system.start(self._scheduler, name="kube-scheduler", host=CONTROL_PLANE)
        await self._start_nodes()
        if self.nodes and "kubelet" not in self.without:
            await self._wait_for_nodes()

    async def _continue_chance(self) -> None:
        """On state from before, equal seeds must not give the names and UIDs that are taken already."""
        revision = (await self.etcd.range(b"\0")).revision
        if revision > 1:
            self.system.clock.reseed(f"from revision {revision}")

    async def _start_nodes(self) -> None:
        """One after the other in memory, where nothing waits; many at once where each waits for a disk or a network."""
        left = iter(self.nodes)

        async def start() -> None:
            for options in left:
                await self._start_node(options)

        if self._own_etcd.in_memory:
            return await start()
        starters = [self.system.spawn(start, name="start nodes") for _ in self.nodes[:NODES_STARTED_AT_ONCE]]
        for starter in starters:
            await starter

    async def _start_node(self, options: NodeOptions) -> None:
        factories: dict[str, Callable[[], Actor]] = {
            "kube-proxy": lambda: self._kube_proxy(options),
            "container-runtime": lambda: self._container_runtime(options),
            "kubelet": lambda: self._kubelet(options),
        }
        for process, factory in factories.items():
            if process not in self.without:
                await self.system.start(factory, name=f"{process}/{options.name}", host=options.name)

    async def _wait_for_nodes(self) -> None:
        """Until every node is Ready and, with the node lifecycle controller, may be scheduled on."""
        tainted = "kube-controller-manager" not in self.without
        waiting_for = {options.name for options in self.nodes}
        found = await self.client.list("nodes")
        waiting_for -= {meta.name(node) for node in found.items if _is_ready(node, tainted)}
        if not waiting_for:
            return
        events = self.client.watch("nodes", resource_version=found.resource_version)
        async with asyncio.timeout(READY_TIMEOUT_SECONDS):
            async for event in events:
                if _is_ready(event.object, tainted):
                    waiting_for.discard(meta.name(event.object))
                if not waiting_for:
                    break
        await events.aclose()

    # the processes

    def _client(self, host: str, user: str, groups: Sequence[str] = ()) -> Client:
        return Client.in_process(
            self.system.ref("kube-apiserver", source_host=host),
            user=user,
            groups=groups,
            user_agent=user.split(":")[-1],
        )

    def _apiserver(self) -> Actor:
        assert self._security is not None
        return ApiServer(self._own_etcd.kv(self.system), config=self._security.config)

    def _controller_manager(self) -> Actor:
        assert self._security is not None
        return ControllerManager(
            self._client(CONTROL_PLANE, "system:kube-controller-manager"),
            controllers=self._controllers,
            root_ca=self._security.root_ca(),
            node_monitor_grace_seconds=self._node_monitor_grace_period_seconds,
        )

    def _scheduler(self) -> Actor:
        return Scheduler(self._client(CONTROL_PLANE, "system:kube-scheduler"))

    def _container_runtime(self, options: NodeOptions) -> Actor:
        index = self._indexes[options.name]
        if self._loopback is not None:
            return ContainerRuntimeActor(backend=ProcessBackend(pod_cidr=self._loopback.pod_cidr(index)))
        return ContainerRuntimeActor(backend=SimBackend(pod_cidr=pod_cidr(index), behaviors=self._behaviors))

    def _kubelet(self, options: NodeOptions) -> Actor:
        index = self._indexes[options.name]
        return Kubelet(
            self._client(options.name, f"system:node:{options.name}", ("system:nodes",)),
            node_name=options.name,
            proxy=f"kube-proxy/{options.name}" if self.runtime == "process" else "",
            pod_cidr=self._loopback.pod_cidr(index) if self._loopback is not None else pod_cidr(index),
            labels=options.labels,
            taints=options.taints,
            capacity=options.capacity,
            lease_duration_seconds=self._node_lease_duration_seconds,
            record_events=self._record_events,
        )

    def _kube_proxy(self, options: NodeOptions) -> Actor:
        index = self._indexes[options.name]
        return KubeProxy(
            self._client(options.name, "system:kube-proxy"),
            node_name=options.name,
            mode=self.runtime,
            service_cidr=self._loopback.service_cidr(index) if self._loopback is not None else "",
            eager=len(self.nodes) <= EAGER_PROXIES_MAX,
        )

    # what users do

    async def apply(self, source: Any, *, namespace: str = "default", field_manager: str = "kubeloop") -> list[Any]:
        """Server-side applies manifests (a path, a folder, YAML text, objects; see manifests.read_objects), in order.

        Returns the objects as stored. Raises StatusError with the API server's answer at the first that is refused,
        ManifestError and FileNotFoundError before anything is sent.
        """
        applied = []
        for obj in manifests.read_objects(source):
            resource = await self.client.resource(obj)
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
        """Waits until `target` ("deployment/web", or an object) is as `condition` says; returns it (None: deleted).

        Conditions are those of `kubectl wait --for`. Raises TimeoutError after `timeout` seconds
        of the cluster's time, saying how the object stood; ValueError for a target or condition not understood.
        """
        kind, name, namespace = await self._target(target, namespace)
        holds = waiting.predicate(condition)
        latest: list[Any] = [None]
        try:
            async with asyncio.timeout(timeout):
                return await self._watch_until(kind, name, namespace, holds, latest)
        except TimeoutError:
            state = "it does not exist" if latest[0] is None else f"status: {waiting.describe_status(latest[0])}"
            raise TimeoutError(f"{kind}/{name} was not {condition} within {timeout:g} s; {state}") from None

    async def _target(self, target: Any, namespace: str) -> tuple[str, str, str]:
        if not isinstance(target, str):
            resource = await self.client.resource(target)
            return resource.name, meta.name(target), meta.namespace(target) or namespace
        kind, _, name = target.partition("/")
        if not kind or not name:
            raise ValueError(f"target {target!r}: written as kind/name, as in deployment/web")
        return kind, name, namespace

    async def _watch_until(
        self, kind: str, name: str, namespace: str, holds: waiting.Predicate, latest: list[Any]
    ) -> Any:
        resource = await self.client.resource(kind)
        scope = namespace if resource.namespaced else None
        selector = f"metadata.name={name}"
        while True:
            found = await self.client.list(kind, scope, field_selector=selector)
            latest[0] = found.items[0] if found.items else None
            if holds(latest[0]):
                return latest[0]
            events = self.client.watch(kind, scope, field_selector=selector, resource_version=found.resource_version)
            try:
                async for event in events:
                    latest[0] = None if event.type == "DELETED" else event.object
                    if holds(latest[0]):
                        return latest[0]
            except (StatusError, ConnectionError, OSError):
                await self.system.clock.sleep(0.05)  # the API server is away for a moment: look again
            finally:
                await events.aclose()

    async def serve(self, port: int = 0, *, host: str = "127.0.0.1", kubeconfig: str | Path | None = None) -> Path:
        """Serves the API over HTTPS on this machine, and returns the path of a kubeconfig for it (0: a free port).

        Without `kubeconfig` the file lies in a temporary folder that goes with the cluster.
        The cluster's CA is made now, so from now on each namespace has its ConfigMap kube-root-ca.crt.
        Raises OSError when the port is taken or the file cannot be written, RuntimeError outside the `async with`.
        """
        if not self._entered:
            raise RuntimeError("this cluster does not run: it does inside `async with`")
        from kubeloop.actors import pki
        from kubeloop.actors.apiserver import http

        assert self._security is not None
        hosts = ("localhost", "127.0.0.1", host, "kubernetes", "kubernetes.default", "kubernetes.default.svc")
        context = pki.server_ssl_context(self._security.authority, tuple(dict.fromkeys(hosts)))
        server = await http.serve(
            self.system.ref("kube-apiserver", source_host=CONTROL_PLANE),
            context,
            port,
            host=host,
            config=self._security.config,
            clock=self.system.clock,
            log=get_logger(clock=self.system.clock, actor="kube-apiserver", host=CONTROL_PLANE),
        )
        self._stack.push_async_callback(server.close)
        if "kube-controller-manager" not in self.without:
            manager = self.system.ref("kube-controller-manager", source_host=CONTROL_PLANE)
            with suppress(ActorStopped):  # it is told again when it is restarted
                manager.tell_nowait(PublishRootCa(self._security.root_ca()))
        self.url = f"https://{host}:{server.port}"
        path = Path(kubeconfig) if kubeconfig is not None else self._temporary_folder() / "kubeconfig"
        pki.write_private(path, self._security.kubeconfig(self.url))
        return path

    async def exec(
        self,
        pod: Any,
        command: Sequence[str],
        *,
        namespace: str = "default",
        container: str | None = None,
        stdin: bytes | str = b"",
    ) -> ExecResult:
        """Runs a command in a pod (a name, or the object) to its end: its stdout, stderr and exit_code.

        Raises StatusError as kubectl exec would show it. `client.open_exec` gives the streams instead.
        """
        if not isinstance(pod, str):
            pod, namespace = meta.name(pod), meta.namespace(pod) or namespace
        return await self.client.exec(pod, command, namespace, container=container, stdin=stdin)

    async def connect(self, pod: Any, target: str, *, namespace: str = "default", payload: Any = None) -> Connection:
        """Where a connection of `pod` (a name, or the object) to "SERVICE:PORT" or "ADDRESS:PORT" goes: the endpoint.

        Asks the kube-proxy of the pod's node. Raises ConnectError as a program in the pod would see it, ValueError for
        a target without a port, StatusError 404 when there is no such pod.
        """
        host, colon, port = target.rpartition(":")
        if not colon or not port.isdigit():
            raise ValueError(f"target {target!r}: written as name:port, as in database:5432")
        if isinstance(pod, str):
            pod = await self.client.get("pods", pod, namespace)
        message = Connect(
            host=host,
            port=int(port),
            namespace=meta.namespace(pod) or "default",
            source_ip=pod.status.pod_ip or "" if pod.status is not None else "",
            payload=payload,
        )
        node = pod.spec.node_name
        if not node:
            raise ValueError(f"pod {meta.key(pod)} is on no node yet")
        answer: Connection = await self.system.ref(f"kube-proxy/{node}", source_host=node).ask(message)
        return answer

    def crash(self, process: str) -> Done:
        """Kills a process ("scheduler", "kubelet/node-1") as `kill -9` does: its memory is gone, then it is restarted.

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

    @property
    def etcd_urls(self) -> tuple[str, ...]:
        """Where etcd's own API is served: by a real etcd, or by the cluster's own on its `listen_client_urls`."""
        return self._own_etcd.urls

    async def backup(self, path: str | os.PathLike[str]) -> int:
        """Saves all state as it is now in a file, for `kubeloop etcd restore`; returns the file's size in bytes.

        Writers are not held up. Raises OSError, ActorStopped while etcd is away, ValueError with a real etcd, which
        saves itself.
        """
        return await self._own_etcd.backup(self.system, Path(path))

    def processes(self) -> tuple[Process, ...]:
        """Every process: its name, host, state, restarts, and what it holds."""
        return running_processes(self.system)

    def _actor_name(self, process: str) -> str:
        kind, _, node = process.partition("/")
        if kind == "etcd" and self._own_etcd.is_real:
            raise ValueError("etcd is a real one, and no process of this cluster: it cannot be killed from here")
        name = process_name(kind, CONTROL_PLANE_ACTORS + NODE_ACTORS) + (f"/{node}" if node else "")
        running = [statistics.name for statistics in self.system.statistics()]
        if name not in running:
            raise ValueError(f"no process {process!r}: this cluster runs {', '.join(running)}")
        return name

    def _temporary_folder(self) -> Path:
        if self._folder is None:
            self._folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="kubeloop-")))
        return self._folder


def _is_ready(node: Any, tainted: bool) -> bool:
    if node.status is None or not any(c.type == "Ready" and c.status == "True" for c in node.status.conditions):
        return False
    taints = node.spec.taints if node.spec is not None and tainted else ()
    return not any(taint.key == "node.kubernetes.io/not-ready" for taint in taints)
