"""Taint eviction: pods that do not tolerate a NoExecute taint of their node leave it, at once or when their time is up.

https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/#taint-based-evictions
"""

from __future__ import annotations

import asyncio

import msgspec

from kubeloop.actors.api import meta
from kubeloop.actors.api.core_v1 import Node, Pod, PodCondition
from kubeloop.actors.api.errors import StatusError, is_conflict, is_not_found
from kubeloop.actors.client.reconcile import Result
from kubeloop.actors.controller_manager import indexes, node_health, pod_facts
from kubeloop.actors.controller_manager.controller import Controller, ControllerContext, split_key

DISRUPTION_TARGET = "DisruptionTarget"


class TaintEvictionController(Controller):
    """Its queue holds pods; a pod with some time left has a timer, which the end of its node's taints cancels."""

    NAME = "taint-eviction-controller"
    ACCOUNT = "node-controller"
    WORKERS_MAX = 8

    def __init__(self, context: ControllerContext) -> None:
        super().__init__(context)
        self._leaving: dict[str, tuple[float, asyncio.TimerHandle]] = {}  # since when the taints are known, and the end

    def set_up(self) -> None:
        super().set_up()
        self.pods = self.context.index("pods", indexes.BY_NODE, indexes.pod_node)
        self.nodes = self.watch("nodes", self._on_node)
        self.watch("pods", self._on_pod)

    def _on_node(self, old: Node | None, new: Node | None) -> None:
        node = new if new is not None else old
        assert node is not None
        before = node_health.no_execute_taints(old) if old is not None else []
        after = node_health.no_execute_taints(new) if new is not None else []
        if before != after:
            for pod in self.pods.by_index(indexes.BY_NODE, meta.name(node) or ""):
                self.enqueue(meta.key(pod))

    def _on_pod(self, old: Pod | None, new: Pod | None) -> None:
        if new is None or pod_facts.is_terminating(new):
            pod = new if new is not None else old
            assert pod is not None
            if self._leaving:
                self._stay(meta.key(pod))
            return
        node_name = pod_facts.node_name(new)
        if not node_name or (old is not None and pod_facts.node_name(old) == node_name and old.spec is new.spec):
            return
        node = self.nodes.get(node_name)
        if node is not None and node_health.no_execute_taints(node):
            self.enqueue(meta.key(new))

    def _stay(self, key: str) -> float | None:
        """Forget that the pod is to leave; since when its node's taints have been known, None when it was not to."""
        since, timer = self._leaving.pop(key, (None, None))
        if timer is not None:
            timer.cancel()
        return since

    async def reconcile(self, key: str) -> Result | None:
        pod: Pod | None = self.pods.get(key)
        if pod is None or pod_facts.is_terminating(pod):
            self._stay(key)
            return None
        node = self.nodes.get(pod_facts.node_name(pod))
        taints = node_health.no_execute_taints(node) if node is not None else []
        now = self.clock.now()
        waited_since = self._stay(key)
        since = now if waited_since is None else waited_since
        at = node_health.eviction_time(pod, taints, since) if taints else None
        if at is None:
            if waited_since is not None:
                message = f"Cancelling deletion of Pod {key}"
                self.events.event(pod, "Normal", "TaintManagerEviction", message)
        elif at > now:
            self._leaving[key] = since, self.context.call_later(at - now, self.enqueue, key)
        else:
            return await self._evict(key, pod)
        return None

    async def _evict(self, key: str, pod: Pod) -> Result | None:
        self.events.event(pod, "Normal", "TaintManagerEviction", f"Marking for deletion Pod {key}")
        namespace, name = split_key(key)
        try:
            await self.client.update_status(_disrupted(pod, self.clock.now_rfc3339()))
            await self.client.delete("pods", name, namespace, preconditions={"uid": meta.uid(pod)})
        except StatusError as error:
            if is_conflict(error):
                return Result(requeue_after_seconds=0.01)
            if not is_not_found(error):
                raise
        return None


def _disrupted(pod: Pod, now: str) -> Pod:
    """The pod with the condition that says why it ends."""
    status = pod.status
    others = tuple(condition for condition in status.conditions if condition.type != DISRUPTION_TARGET)
    condition = PodCondition(
        type=DISRUPTION_TARGET,
        status="True",
        reason="DeletionByTaintManager",
        message="Taint manager: deleting due to NoExecute taint",
        last_transition_time=now,
    )
    return msgspec.structs.replace(pod, status=msgspec.structs.replace(status, conditions=(*others, condition)))
