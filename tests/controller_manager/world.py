"""etcd, the API server and the controller manager in one process, with a tiny scheduler and kubelet beside them.

The kubelet here is only what the controllers' tests need of one: it binds pods round robin to the nodes that live, says
Running and Ready, lets pods go that are being deleted, and renews the nodes' leases.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Self

import msgspec

from kubeloop.actors.api import meta
from kubeloop.actors.api.coordination_v1 import Lease, LeaseSpec
from kubeloop.actors.api.core_v1 import Node, NodeCondition, NodeStatus, Pod, PodCondition, PodIP, PodStatus
from kubeloop.actors.api.errors import StatusError
from kubeloop.actors.api.meta_v1 import ObjectMeta
from kubeloop.actors.apiserver.actor import ApiServer
from kubeloop.actors.apiserver.stored_resources import STORED_RESOURCES
from kubeloop.actors.client.client import Client
from kubeloop.actors.client.informer import InformerFactory
from kubeloop.actors.client.reconcile import ReconcileLoop, Result
from kubeloop.actors.controller_manager import node_health, pod_facts
from kubeloop.actors.controller_manager.actor import ControllerManager
from kubeloop.actors.etcd.actor import EtcdActor
from kubeloop.actors.etcd.kv import ActorKV
from kubeloop.runtime.actor import Actor, ActorRef
from kubeloop.runtime.faults import Delay
from kubeloop.runtime.simulation import simulate
from kubeloop.runtime.system import System
from kubeloop.runtime.workqueue import WorkQueue

CONTROL_PLANE = "control-plane-0"
FAR_AWAY = "control-plane-1"  # where the controller manager runs
MANAGER = "kube-controller-manager"


class TinyKubelet(Actor):
    """`unready`: names of images whose pods run but never get ready."""

    def __init__(self, client: Client, nodes: Sequence[str], dead: set[str], broken_images: set[str]) -> None:
        self.client, self.nodes, self.dead, self.broken_images = client, nodes, dead, broken_images
        self.next_node = 0
        self.next_address = 0

    async def on_start(self) -> None:
        factory = InformerFactory(self.client, self, self.context.clock)
        self.pods = factory.informer("pods")
        self.queue: WorkQueue = WorkQueue(self.context.clock)
        self.pods.add_handler(lambda old, new: self.queue.add(meta.key(new if new is not None else old)))
        self.defer(factory.stop)
        self.defer(self.queue.shut_down)
        for name in self.nodes:
            await self._register(name)
        await factory.start()
        self.loop = ReconcileLoop("tiny-kubelet", self.reconcile, queue=self.queue, spawner=self)
        for pod in self.pods.list():
            self.queue.add(meta.key(pod))
        if self.nodes:
            self.tell_later(10.0, "beat")

    async def on_message(self, message: Any) -> None:
        assert message == "beat"
        for name in self.nodes:
            if name not in self.dead:
                await self.beat(name)
        self.tell_later(10.0, "beat")

    async def beat(self, name: str) -> None:
        lease = await self.client.get("leases.coordination.k8s.io", name, "kube-node-lease")
        spec = msgspec.structs.replace(lease.spec, renew_time=self.context.clock.now_rfc3339_micro())
        await self.client.update(msgspec.structs.replace(lease, spec=spec))
        node = await self.client.get("nodes", name)
        if node_health.ready_status(node) != "True":
            await self.client.update_status(msgspec.structs.replace(node, status=self._node_status()))

    async def _register(self, name: str) -> None:
        try:
            await self.client.create(Node(metadata=ObjectMeta(name=name, labels={"kubernetes.io/hostname": name})))
        except StatusError as error:
            assert error.reason == "AlreadyExists"
            return
        node = await self.client.get("nodes", name)
        await self.client.update_status(msgspec.structs.replace(node, status=self._node_status()))
        await self.client.create(
            Lease(
                metadata=ObjectMeta(name=name, namespace="kube-node-lease"),
                spec=LeaseSpec(
                    holder_identity=name,
                    lease_duration_seconds=40,
                    renew_time=self.context.clock.now_rfc3339_micro(),
                ),
            )
        )

    def _node_status(self) -> NodeStatus:
        now = self.context.clock.now_rfc3339()
        condition = NodeCondition(
            type="Ready", status="True", reason="KubeletReady", last_heartbeat_time=now, last_transition_time=now
        )
        return NodeStatus(conditions=(condition,))

    async def reconcile(self, key: str) -> Result | None:
        pod: Pod | None = self.pods.get(key)
        if pod is None:
            return None
        try:
            await self._step(pod)
        except StatusError as error:
            if error.reason not in ("NotFound", "Conflict"):
                raise
            if error.reason == "Conflict":
                return Result(requeue_after_seconds=0.01)
        return None

    async def _step(self, pod: Pod) -> None:
        node = pod_facts.node_name(pod)
        if node in self.dead:
            return
        if pod_facts.is_terminating(pod):
            if node:
                uid = {"uid": meta.uid(pod)}
                await self.client.delete(
                    "pods", meta.name(pod), meta.namespace(pod), grace_period_seconds=0, preconditions=uid
                )
        elif not node:
            alive = [name for name in self.nodes if name not in self.dead]
            if alive:
                self.next_node += 1
                await self.client.bind(pod, alive[self.next_node % len(alive)])
        elif pod_facts.phase(pod) == "Pending":
            await self.client.update_status(msgspec.structs.replace(pod, status=self._running(pod)))

    def _running(self, pod: Pod) -> PodStatus:
        self.next_address += 1
        high, low = divmod(self.next_address, 250)
        address = f"10.{high // 250}.{high % 250}.{low + 1}"
        image = pod.spec.containers[0].image
        condition = PodCondition(
            type="Ready",
            status="False" if image in self.broken_images else "True",
            last_transition_time=self.context.clock.now_rfc3339(),
        )
        old = pod.status
        conditions = (*(each for each in old.conditions if each.type != "Ready"), condition)
        return msgspec.structs.replace(
            old, phase="Running", conditions=conditions, pod_ip=address, pod_ips=(PodIP(ip=address),)
        )


class World:
    """`async with World(nodes=2) as world`; `nodes=0` leaves the kubelet out.

    latency_seconds: (least, most) of each message between the manager and the API server, so that its caches lag.
    tells_what_is_stored: False makes the API server one that does not serve `storedresources`.
    """

    def __init__(
        self,
        *,
        nodes: int = 2,
        controllers: Sequence[str] = ("*",),
        tells_what_is_stored: bool = True,
        latency_seconds: tuple[float, float] | None = None,
        **settings: Any,
    ) -> None:
        self.tells_what_is_stored = tells_what_is_stored
        self.latency_seconds = latency_seconds
        self.system = System()
        self.nodes = [f"node-{number}" for number in range(1, nodes + 1)]
        self.dead: set[str] = set()
        self.broken_images: set[str] = set()
        self.controllers, self.settings = controllers, settings
        self.client: Client

    async def __aenter__(self) -> Self:
        await self.system.__aenter__()
        await self.system.start(EtcdActor, name="etcd", host=CONTROL_PLANE)
        kv = self.system.ref("etcd", source_host=CONTROL_PLANE)
        await self.system.start(lambda: self._apiserver(kv), name="kube-apiserver", host=CONTROL_PLANE)
        self.client = self.client_from(CONTROL_PLANE, "kubernetes-admin")
        if self.latency_seconds is not None:
            least, most = self.latency_seconds
            self.system.inject(Delay(FAR_AWAY, CONTROL_PLANE, min_seconds=least, max_seconds=most))
        await self.system.start(self._manager, name=MANAGER, host=FAR_AWAY)
        if self.nodes:
            await self.system.start(self._kubelet, name="kubelet", host="node-1")
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self.system.__aexit__(*error)

    def _apiserver(self, etcd: ActorRef) -> ApiServer:
        apiserver = ApiServer(ActorKV(etcd))
        if not self.tells_what_is_stored:
            own = STORED_RESOURCES
            del apiserver.routes[own.group, own.version, own.plural]
        return apiserver

    def client_from(self, host: str, user: str) -> Client:
        return Client.in_process(
            self.system.ref("kube-apiserver", source_host=host), user=user, groups=("system:masters",)
        )

    def _manager(self) -> Actor:
        client = self.client_from(FAR_AWAY, "system:kube-controller-manager")
        return ControllerManager(client, controllers=self.controllers, **self.settings)

    def _kubelet(self) -> Actor:
        return TinyKubelet(self.client_from("node-1", "system:node"), self.nodes, self.dead, self.broken_images)

    async def until(self, holds: Callable[[], Coroutine[Any, Any, Any]], timeout_seconds: float = 60.0) -> Any:
        """Waits (virtual time) until `holds` returns something true, and returns it."""
        deadline = self.system.clock.monotonic() + timeout_seconds
        while True:
            found = await holds()
            if found:
                return found
            if self.system.clock.monotonic() > deadline:
                raise TimeoutError(f"{holds.__name__} did not hold within {timeout_seconds} s")
            await self.system.clock.sleep(0.05)

    async def rest(self, seconds: float = 5.0) -> None:
        await self.system.clock.sleep(seconds)

    async def names(self, resource: str, namespace: str = "default", **selectors: Any) -> list[str]:
        found = await self.client.list(resource, namespace, **selectors)
        return [meta.name(item) or "" for item in found.items]

    async def gone(self, resource: str, name: str, namespace: str | None = "default") -> bool:
        try:
            await self.client.get(resource, name, namespace)
        except StatusError as error:
            assert error.reason == "NotFound", error
            return True
        return False

    async def pods(self, labels: Mapping[str, str] | None = None, namespace: str = "default") -> list[Pod]:
        found = (await self.client.list("pods", namespace)).items
        wanted = labels or {}
        return [pod for pod in found if all(meta.labels(pod).get(key) == value for key, value in wanted.items())]

    async def revision(self) -> int:
        """The store's revision: grows by one a write."""
        return int((await self.client.list("namespaces")).resource_version)

    async def rolled_out(self, name: str = "web") -> bool:
        """What `kubectl rollout status` waits for."""
        found = await self.client.get("deployments.apps", name, "default")
        status, wanted = found.status, found.spec.replicas
        return bool(
            (status.observed_generation or 0) >= meta.generation(found)
            and (status.updated_replicas or 0) == wanted
            and (status.replicas or 0) == wanted
            and (status.available_replicas or 0) == wanted
        )


def play(scenario: Callable[[World], Coroutine[Any, Any, None]], *, seed: int = 1, **settings: Any) -> None:
    """Runs a scenario in virtual time."""

    async def main() -> None:
        async with World(**settings) as world:
            await scenario(world)

    simulate(main(), seed=seed)
