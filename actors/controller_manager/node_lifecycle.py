"""Node lifecycle: a node that fell silent is marked Unknown and tainted; one that is back is cleared.

A heartbeat is a renewed lease in kube-node-lease or a new Ready heartbeat. Time is this controller's own: it counts
how long ago it saw one. One timer waits for the node that has been silent longest; nothing polls.

https://kubernetes.io/docs/concepts/architecture/nodes/#node-controller
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from kubeloop.actors.api import meta
from kubeloop.actors.api.core_v1 import Node, Pod, PodCondition
from kubeloop.actors.api.errors import StatusError, is_conflict, is_not_found
from kubeloop.actors.client.reconcile import Result
from kubeloop.actors.controller_manager import indexes, node_health, pod_facts
from kubeloop.actors.controller_manager.controller import Controller, ControllerContext

MONITOR_GRACE_SECONDS = 40.0
STARTUP_GRACE_SECONDS = 60.0
LEASE_NAMESPACE = "kube-node-lease"
LEASES = "leases.coordination.k8s.io"


class NodeLifecycleController(Controller):
    NAME = "node-lifecycle-controller"
    ACCOUNT = "node-controller"
    COMPONENT = "node-controller"
    RESOURCE = "nodes"
    monitor_grace_seconds: float = MONITOR_GRACE_SECONDS
    startup_grace_seconds: float = STARTUP_GRACE_SECONDS

    def __init__(self, context: ControllerContext) -> None:
        super().__init__(context)
        # node -> loop seconds at which it counts as silent; each soonest first, as all in one have the same grace
        self._starting: dict[str, float] = {}
        self._beating: dict[str, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def set_up(self) -> None:
        super().set_up()
        self.pods = self.context.index("pods", indexes.BY_NODE, indexes.pod_node)
        self.leases = self.watch(LEASES, self._on_lease)

    # Heartbeats

    def on_own(self, old: Node | None, new: Node | None) -> None:
        name = meta.name(new if new is not None else old) or ""
        if new is None:
            self._starting.pop(name, None)
            self._beating.pop(name, None)
            return
        heartbeat = _heartbeat(new)
        if old is None and heartbeat is None:
            self._starting[name] = self.clock.monotonic() + self.startup_grace_seconds
            self._wait()
        elif heartbeat is not None and (old is None or heartbeat != _heartbeat(old)):
            self._heard(name)
        if old is None or old.spec != new.spec or _statuses(old) != _statuses(new):
            self.enqueue(name)

    def _on_lease(self, old: Any | None, new: Any | None) -> None:
        if new is None or new.metadata.namespace != LEASE_NAMESPACE:
            return
        if old is None or old.spec.renew_time != new.spec.renew_time:
            name = new.metadata.name
            if name in self._beating or name in self._starting or self.informer.get(name) is not None:
                self._heard(name)

    def _heard(self, name: str) -> None:
        self._starting.pop(name, None)
        self._beating.pop(name, None)
        self._beating[name] = self.clock.monotonic() + self.monitor_grace_seconds
        if self._timer is None:
            self._wait()

    def _wait(self) -> None:
        """One timer, for the node whose time is up first."""
        soonest = min((next(iter(each.values())) for each in (self._starting, self._beating) if each), default=None)
        if self._timer is not None:
            if soonest is not None and self._timer.when() <= soonest:
                return
            self._timer.cancel()
            self._timer = None
        if soonest is not None:
            delay = max(0.001, soonest - self.clock.monotonic())
            self._timer = self.context.call_later(delay, self._look_for_silence)

    def _look_for_silence(self) -> None:
        self._timer = None
        now = self.clock.monotonic()
        for waiting in (self._starting, self._beating):
            for name, at in list(waiting.items()):
                if at > now + 0.001:
                    break
                del waiting[name]
                if self.informer.get(name) is not None:
                    self.enqueue(name)
        self._wait()

    # Reconcile

    async def reconcile(self, key: str) -> Result | None:
        node: Node | None = self.informer.get(key)
        if node is None:
            return None
        before = node_health.ready_status(node)
        try:
            if key not in self._beating and key not in self._starting:
                node = await self._mark_silent(node)
            node = await self._write_taints(node)
        except StatusError as error:
            if is_conflict(error):
                return Result(requeue_after_seconds=0.01)
            if is_not_found(error):
                return None
            raise
        if node_health.ready_status(node) != "True":
            if before == "True":
                message = f"Node {key} status is now: NodeNotReady"
                self.events.event(node, "Normal", "NodeNotReady", message)
            await self._mark_pods_not_ready(key)
        return None

    async def _mark_silent(self, node: Node) -> Node:
        status = node.status
        conditions = node_health.silent_conditions(node, self.clock.now())
        if tuple(status.conditions) == conditions:
            return node
        return await self.client.update_status(
            msgspec.structs.replace(node, status=msgspec.structs.replace(status, conditions=conditions))
        )

    async def _write_taints(self, node: Node) -> Node:
        taints = node_health.desired_taints(node, self.clock.now())
        spec = node.spec
        if tuple(spec.taints) == tuple(taints):
            return node
        return await self.client.update(
            msgspec.structs.replace(node, spec=msgspec.structs.replace(spec, taints=taints))
        )

    async def _mark_pods_not_ready(self, node_name: str) -> None:
        """Nobody is there to say so: the pods of a node that is not ready serve no requests."""
        for pod in list(self.pods.by_index(indexes.BY_NODE, node_name)):
            condition = pod_facts.ready_condition(pod)
            if condition is None or condition.status != "True":
                continue
            await self._mark_pod(pod, condition)
            self.events.event(pod, "Warning", "NodeNotReady", "Node is not ready")

    async def _mark_pod(self, pod: Pod, condition: PodCondition) -> None:
        unready = msgspec.structs.replace(condition, status="False", last_transition_time=self.clock.now_rfc3339())
        conditions = tuple(unready if each is condition else each for each in pod.status.conditions)
        status = msgspec.structs.replace(pod.status, conditions=conditions)
        try:
            await self.client.update_status(msgspec.structs.replace(pod, status=status))
        except StatusError as error:
            if not is_not_found(error):
                raise


def _ready(node: Node) -> Any | None:
    return pod_facts.condition_of(node.status.conditions, "Ready")


def _heartbeat(node: Node) -> str | None:
    """The kubelet's own word on Ready: what this controller writes itself is no sign of life."""
    ready = _ready(node)
    return None if ready is None or ready.status == "Unknown" else ready.last_heartbeat_time


def _statuses(node: Node) -> list[tuple[str, str]]:
    conditions = node.status.conditions
    return [(condition.type or "", condition.status or "") for condition in conditions]
