"""The scheduler's mind: queue and engine together, fed with changes of objects, giving out what to write.

Synchronous: the actor hands in the time and carries out the actions. This module imports numpy (through the engine);
the actor imports it when the first pod waits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from kubeloop.actors.scheduler.engine import Engine
from kubeloop.actors.scheduler.framework import Event
from kubeloop.actors.scheduler.needs import PodInfo
from kubeloop.actors.scheduler.plugins.scheduling_gates import SchedulingGates, gated
from kubeloop.actors.scheduler.preemption import Plan, plan_preemption
from kubeloop.actors.scheduler.queue import QueuedPod, SchedulingQueue

if TYPE_CHECKING:
    from kubeloop.actors.api.core_v1 import Node, Pod
    from kubeloop.actors.api.policy_v1 import PodDisruptionBudget
    from kubeloop.actors.scheduler.cache import NodeRow
    from kubeloop.actors.scheduler.diagnosis import Diagnosis

TERMINAL = ("Succeeded", "Failed")
DECISION_COST = 40
"""What a decision costs besides the rows looked at."""


class Bind(msgspec.Struct, frozen=True):
    """Bind the pod to the node; it is assumed there already."""

    queued: QueuedPod
    node_name: str


class Refuse(msgspec.Struct, frozen=True):
    """Tell the pod why it waits; ``nominated`` None leaves its nomination, "" clears it."""

    pod: Pod
    message: str
    reason: str = "Unschedulable"
    nominated: str | None = None
    event: bool = True


class Evict(msgspec.Struct, frozen=True):
    """Delete a victim of preemption."""

    victim: Pod
    preemptor: Pod
    node_name: str


Action = Bind | Refuse | Evict


class Core:
    """Decides; knows no API server."""

    def __init__(self, choose: Callable[[int], int], scheduler_names: Iterable[str]) -> None:
        self.engine = Engine(choose=choose)
        self.queue = SchedulingQueue()
        self.cluster = self.engine.cluster
        self._names = frozenset(scheduler_names)
        self._assumed: dict[str, tuple[PodInfo, str]] = {}
        self._bound: dict[str, str] = {}
        """uid -> node, of all pods counted in the cache."""
        self.budgets: Callable[[], Iterable[PodDisruptionBudget]] = tuple
        self._hopeless: tuple[tuple[Any, ...], Plan] = ((), Plan(None, (), ""))
        """The last preemption that came to nothing, and for what."""
        self.cost = 0
        """Work done since last set to zero; 1 is about a microsecond or two."""

    # Objects in

    def set_pod(self, pod: Pod, now: float) -> Action | None:
        """A pod was added or changed."""
        spec, status = pod.spec, pod.status
        if spec is None:
            return None
        if status is not None and status.phase in TERMINAL:
            self.remove_pod(pod, now)
        elif spec.node_name:
            self._set_bound(pod, now)
        elif (spec.scheduler_name or "default-scheduler") in self._names:
            return self._set_waiting(pod, now)
        return None

    def remove_pod(self, pod: Pod, now: float) -> None:
        """A pod is gone, or has finished and needs its node no more."""
        uid = (pod.metadata.uid if pod.metadata is not None else None) or ""
        queued = self.queue.remove(uid)
        if queued is not None:
            nominated = self.engine.nominated_node(uid)
            self.engine.unnominate(uid)
            self._assumed.pop(uid, None)
            if nominated is not None:
                self._moved(Event.POD_DELETE, queued.info, now)
        node_name = self._bound.pop(uid, None)
        if node_name is not None:
            self._assumed.pop(uid, None)
            row = self.cluster.rows.get(node_name)
            info = self.cluster.nodes[row].pods.get(uid) if row is not None else None
            if info is not None:
                self.cluster.remove_pod(info, node_name)
                self._moved(Event.POD_DELETE, info, now)

    def _set_bound(self, pod: Pod, now: float) -> None:
        metadata = pod.metadata
        node_name = pod.spec.node_name if pod.spec is not None else None
        if metadata is None or node_name is None:
            return
        uid = metadata.uid or ""
        counted_on = self._bound.get(uid)
        confirmed = self._assumed.pop(uid, None) is not None
        if self.queue.remove(uid) is not None and not confirmed:
            self.engine.unnominate(uid)
        if counted_on is not None:
            counted = self.cluster.nodes[self.cluster.rows[counted_on]].pods[uid]
            same = counted_on == node_name and (confirmed or counted.pod.spec == pod.spec)
            terminating = metadata.deletion_timestamp is not None
            if same and counted.labels == metadata.labels and counted.terminating == terminating:
                counted.pod = pod
                return
            self.cluster.remove_pod(counted, counted_on)
        info = self.engine.info(pod)
        self.cluster.add_pod(info, node_name)
        self._bound[uid] = node_name
        self._moved(Event.POD_ADD if counted_on is None else Event.POD_LABEL, info, now)

    def _set_waiting(self, pod: Pod, now: float) -> Action | None:
        metadata, status = pod.metadata, pod.status
        uid = (metadata.uid if metadata is not None else None) or ""
        if uid in self._assumed:
            return None
        if metadata is not None and metadata.deletion_timestamp is not None:
            self.queue.remove(uid)
            return None
        info = self.engine.info(pod)
        known = self.queue.get(uid)
        if known is None and status is not None and status.nominated_node_name:
            self.engine.nominate(info, status.nominated_node_name)
        closed = gated(pod)
        if known is not None and not closed and not gated(known.info.pod):
            before = known.info
            if before.needs is info.needs and before.labels == info.labels and before.priority == info.priority:
                self.queue.refresh(info)
                return None
        self.queue.add(info, now, gated=closed)
        if closed and not has_condition(pod, SchedulingGates.REASON):
            return Refuse(pod, SchedulingGates.REASON, "SchedulingGated", event=False)
        return None

    def set_node(self, node: Node, now: float) -> None:
        """A node was added or changed."""
        name = (node.metadata.name if node.metadata is not None else None) or ""
        index = self.cluster.rows.get(name)
        before = self.cluster.nodes[index] if index is not None else None
        if before is None or before.node is None:
            self._moved(Event.NODE_ADD, self.cluster.set_node(node), now)
            return
        was = (list(before.allocatable), before.labels, before.taints, bool(self.cluster.unschedulable[before.row]))
        row = self.cluster.set_node(node)
        if row.allocatable != was[0]:
            self._moved(Event.NODE_ALLOCATABLE, row, now)
        if row.labels != was[1]:
            self._moved(Event.NODE_LABEL, row, now)
        if row.taints != was[2] or bool(self.cluster.unschedulable[row.row]) != was[3]:
            self._moved(Event.NODE_TAINT, row, now)

    def remove_node(self, name: str) -> None:
        """A node is gone."""
        self.cluster.remove_node(name)

    def objects_changed(self, event: Event, now: float) -> None:
        """Something that is neither node nor pod changed; the caller has updated the cache."""
        self.cluster.objects_version += 1
        self._moved(event, None, now)

    def _moved(self, event: Event, subject: NodeRow | PodInfo | None, now: float) -> None:
        hints: dict[tuple[str, ...], Callable[[PodInfo], bool]] = {}

        def helps(queued: QueuedPod) -> bool:
            plugins = tuple(queued.plugins)
            hint = hints.get(plugins)
            if hint is None:
                hint = hints[plugins] = self.engine.hint(plugins, event, subject)
            return subject is None or hint(queued.info)

        self.queue.move(event, helps, now)

    # Decisions out

    def schedule_one(self, now: float) -> list[Action] | None:
        """Tries the next pod; None when nobody is to be tried now."""
        queued = self.queue.pop(now)
        if queued is None:
            return None
        info = queued.info
        try:
            node = self.engine.decide(info)
        except Exception as error:  # a plugin's fault: this pod is tried again later, the others go on
            self.queue.failed(queued, now)
            self.cost += DECISION_COST
            return [Refuse(info.pod, f"{type(error).__name__}: {error}", "SchedulerError")]
        self.cost += DECISION_COST + self.engine.cost
        self.engine.cost = 0
        if node is None:
            return self._refused(queued, now)
        self.engine.unnominate(info.uid)
        self.cluster.add_pod(info, node.name)
        self._bound[info.uid] = node.name
        self._assumed[info.uid] = (info, node.name)
        return [Bind(queued, node.name)]

    def _refused(self, queued: QueuedPod, now: float) -> list[Action]:
        info = queued.info
        diagnosis = self.engine.explain(info)
        plan = self._plan(info, diagnosis)
        self.queue.refused(queued, diagnosis.plugins, self.engine.events_of(diagnosis.plugins), now)
        message = diagnosis.message(plan.message)
        if plan.node_name is not None:
            return self._preempt(info, plan.node_name, plan.victims, message)
        before = self.engine.nominated_node(info.uid)
        nominated = None
        if before is not None and "terminating pod on the nominated node" not in plan.message:
            self.engine.unnominate(info.uid)
            nominated = ""
        return [Refuse(info.pod, message, nominated=nominated)]

    def _plan(self, info: PodInfo, diagnosis: Diagnosis) -> Plan:
        """Preemption for the pod; what came to nothing for an equal pod a moment ago is not tried again."""
        spec = info.pod.spec
        policy = spec.preemption_policy if spec is not None else None
        evaluation = self.engine.evaluation(info)
        key = (evaluation, evaluation.position, info.priority, policy)
        if key == self._hopeless[0] and not self.engine.nominated:
            return self._hopeless[1]
        plan = plan_preemption(self.engine, info, diagnosis, self.budgets())
        self.cost += self.cluster.capacity // 4
        if plan.node_name is None and not self.engine.nominated:
            self._hopeless = (key, plan)
        return plan

    def _preempt(self, info: PodInfo, node_name: str, victims: Iterable[PodInfo], message: str) -> list[Action]:
        actions: list[Action] = []
        for other in list(self.engine.nominated.get(node_name, {}).values()):
            if other.priority < info.priority:
                self.engine.unnominate(other.uid)
                last = condition_message(other.pod)
                actions.append(Refuse(other.pod, last, nominated="", event=False))
        self.engine.nominate(info, node_name)
        actions.append(Refuse(info.pod, message, nominated=node_name))
        actions += [Evict(v.pod, info.pod, node_name) for v in victims if not v.terminating]
        return actions

    def bind_failed(self, action: Bind, now: float, *, retry: bool) -> None:
        """The binding did not happen: the pod is taken off its node, and tried again or forgotten."""
        info = action.queued.info
        if self._assumed.pop(info.uid, None) is None:
            return
        self._bound.pop(info.uid, None)
        self.cluster.remove_pod(info, action.node_name)
        if retry:
            self.queue.failed(action.queued, now)
        else:
            self.queue.remove(info.uid)
        self._moved(Event.POD_DELETE, info, now)

    def statistics(self) -> Mapping[str, int]:
        """Numbers for the dashboard: waiting pods by place, nodes, and pods counted on them."""
        return {**self.queue.counts, "nodes": self.cluster.count, "pods": len(self._bound)}


def has_condition(pod: Pod, message: str) -> bool:
    """Whether PodScheduled already says so."""
    return condition_message(pod) == message


def condition_message(pod: Pod) -> str:
    """The message of the pod's PodScheduled condition."""
    for condition in pod.status.conditions if pod.status is not None else ():
        if condition.type == "PodScheduled":
            return condition.message or ""
    return ""


def condition_of(pod: Pod) -> Any:
    """The pod's PodScheduled condition, if it has one."""
    for condition in pod.status.conditions if pod.status is not None else ():
        if condition.type == "PodScheduled":
            return condition
    return None
