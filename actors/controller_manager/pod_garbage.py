"""Pod garbage collector: pods on nodes that are gone, and ended pods beyond a threshold.

https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-garbage-collection
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from kubeloop.actors.api import meta
from kubeloop.actors.api.core_v1 import Pod, PodCondition
from kubeloop.actors.api.errors import StatusError, is_conflict, is_not_found
from kubeloop.actors.client.reconcile import Result
from kubeloop.actors.controller_manager import indexes, pod_facts
from kubeloop.actors.controller_manager.controller import Controller

TERMINATED_PODS_MAX = 12_500
QUARANTINE_SECONDS = 40.0
GATHER_SECONDS = 20.0
BY_END = "terminated"
ENDED = "ended"
NODE_PREFIX = "node/"


def terminated(pod: Any) -> Sequence[str]:
    return (ENDED,) if pod_facts.is_terminated(pod) else ()


def surplus(pods: Sequence[Pod], threshold: int) -> Sequence[Pod]:
    """The oldest ended pods beyond the threshold."""
    if len(pods) <= threshold:
        return ()
    ordered = sorted(pods, key=lambda pod: (pod.metadata.creation_timestamp or "", pod.metadata.name or ""))
    return ordered[: len(pods) - threshold]


class PodGarbageCollector(Controller):
    """Keys: "ended" for the threshold, "node/NAME" for a node that pods name and that is not (or no longer) there."""

    NAME = "pod-garbage-collector-controller"
    ACCOUNT = "pod-garbage-collector"
    terminated_pods_max: int = TERMINATED_PODS_MAX

    def set_up(self) -> None:
        super().set_up()
        self._suspects: dict[str, float] = {}  # node -> loop seconds after which its pods are orphans for sure
        self.nodes = self.watch("nodes", self._on_node)
        self.pods = self.context.index("pods", indexes.BY_NODE, indexes.pod_node)
        self.context.index("pods", BY_END, terminated)
        self.watch("pods", self._on_pod)

    def _on_node(self, old: Any | None, new: Any | None) -> None:
        name = meta.name(new if new is not None else old) or ""
        if new is None:
            self._suspect(name)
        else:
            self._suspects.pop(name, None)

    def _on_pod(self, old: Pod | None, new: Pod | None) -> None:
        if new is None:
            return
        ends = pod_facts.is_terminated(new) and (old is None or not pod_facts.is_terminated(old))
        if ends and self.pods.count_by_index(BY_END, ENDED) > self.terminated_pods_max:
            self.enqueue_after(ENDED, GATHER_SECONDS)
        node = pod_facts.node_name(new)
        placed = self._started and node and (old is None or pod_facts.node_name(old) != node)
        if placed and self.nodes.get(node) is None:
            self._suspect(node)

    def start(self) -> None:
        super().start()
        nodes = dict.fromkeys(pod_facts.node_name(pod) for pod in self.pods.list())
        for node in nodes:
            if node and self.nodes.get(node) is None:
                self._suspect(node)

    def _suspect(self, node: str) -> None:
        """Caches may lag: a node counts as gone when it has been gone for a while."""
        if node not in self._suspects:
            self._suspects[node] = self.clock.monotonic() + QUARANTINE_SECONDS
            self.context.call_later(QUARANTINE_SECONDS, self.enqueue, NODE_PREFIX + node)

    async def reconcile(self, key: str) -> Result | None:
        if key == ENDED:
            for pod in surplus(self.pods.by_index(BY_END, ENDED), self.terminated_pods_max):
                await self._delete(pod)
            return None
        node = key.removeprefix(NODE_PREFIX)
        self._suspects.pop(node, None)
        pods: list[Pod] = list(self.pods.by_index(indexes.BY_NODE, node))
        if self.nodes.get(node) is not None or not pods or await self._exists(node):
            return None
        for pod in pods:
            try:
                await self._fail(pod)
                await self._delete(pod)
            except StatusError as error:
                if not is_conflict(error):
                    raise
                return Result(requeue_after_seconds=0.05)
        return None

    async def _exists(self, node: str) -> bool:
        try:
            await self.client.get("nodes", node)
        except StatusError as error:
            if is_not_found(error):
                return False
            raise
        return True

    async def _fail(self, pod: Pod) -> None:
        """Says why it ends; a pod that has ended keeps its end."""
        if pod_facts.is_terminated(pod):
            return
        status = pod.status
        condition = PodCondition(
            type="DisruptionTarget",
            status="True",
            reason="DeletionByPodGC",
            message="PodGC: node no longer exists",
            last_transition_time=self.clock.now_rfc3339(),
        )
        conditions = (*(each for each in status.conditions if each.type != condition.type), condition)
        status = msgspec.structs.replace(status, phase="Failed", conditions=conditions)
        try:
            await self.client.update_status(msgspec.structs.replace(pod, status=status))
        except StatusError as error:
            if not is_not_found(error):
                raise

    async def _delete(self, pod: Pod) -> None:
        try:
            await self.client.delete(
                "pods",
                meta.name(pod),
                meta.namespace(pod),
                grace_period_seconds=0,
                preconditions={"uid": meta.uid(pod)},
            )
        except StatusError as error:
            if not is_not_found(error):
                raise
