"""ReplicaSet: as many pods as asked for, made from one template. ReplicationController is the same with other words.

https://kubernetes.io/docs/concepts/workloads/controllers/replicaset/
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from kubeloop.actors.api import meta, selectors
from kubeloop.actors.api.apps_v1 import ReplicaSetCondition, ReplicaSetStatus
from kubeloop.actors.api.core_v1 import Pod
from kubeloop.actors.api.errors import StatusError
from kubeloop.actors.client.reconcile import Result
from kubeloop.actors.controller_manager import indexes, ownership, pod_control, pod_facts
from kubeloop.actors.controller_manager.controller import (
    GATHER_SECONDS_PER_OBJECT,
    URGENT_SECONDS_PER_OBJECT,
    Controller,
    ControllerContext,
)
from kubeloop.actors.controller_manager.expectations import Expectations
from kubeloop.actors.controller_manager.replicas import ReplicaCounts, count_replicas, plan_replicas

REPLICA_FAILURE = "ReplicaFailure"


class ReplicaSetController(Controller):
    NAME = "replicaset-controller"
    RESOURCE = "replicasets.apps"
    STATUS: type[Any] = ReplicaSetStatus
    CONDITION: type[Any] = ReplicaSetCondition

    def __init__(self, context: ControllerContext) -> None:
        super().__init__(context)
        self.expectations = Expectations()
        self._matchers: dict[str, tuple[Any, ownership.Matches]] = {}

    def set_up(self) -> None:
        super().set_up()
        self.pods = self.context.index("pods", indexes.BY_CONTROLLER, indexes.controller_uid)
        self.context.index("pods", indexes.BY_ORPHANAGE, indexes.orphanage)
        self.owners_by_uid = self.context.index(self.RESOURCE, indexes.BY_CONTROLLER, indexes.controller_uid)
        self.watch_owned("pods", self.on_pod)
        self.watch("pods", self._on_orphan)

    # Events

    def on_pod(self, old: Pod | None, new: Pod | None) -> None:
        pod = new if new is not None else old
        assert pod is not None
        key = self.owner_key(pod)
        if old is not None and new is not None:
            former = self.owner_key(old)
            if former and former != key:
                self.enqueue(former)
        if not key:
            return
        self._observe(key, pod, gone=new is None)
        if old is not None and new is not None and key == self.owner_key(old) and pod_facts.counts_alike(old, new):
            return
        owner = meta.controller_of(pod)
        count = self.pods.count_by_index(indexes.BY_CONTROLLER, owner.uid) if owner is not None and owner.uid else 0
        was_active = old is not None and pod_facts.is_active(old)
        lost = was_active and (new is None or not pod_facts.is_active(new))
        self.enqueue_gathered(key, count, URGENT_SECONDS_PER_OBJECT if lost else GATHER_SECONDS_PER_OBJECT)

    def _observe(self, key: str, pod: Pod, *, gone: bool) -> None:
        if len(self.expectations):
            uid = meta.uid(pod) or ""
            if gone or pod_facts.is_terminating(pod):
                self.expectations.observe_deleted(key, uid)
            else:
                self.expectations.observe_created(key, uid)

    def _on_orphan(self, old: Pod | None, new: Pod | None) -> None:
        """A pod without a controller: whoever's selector it matches may want it."""
        if new is None or pod_facts.is_terminating(new) or (old is not None and _claimed_alike(old, new)):
            return
        if meta.controller_of(new) is not None:
            return
        if old is not None and meta.labels(old) == meta.labels(new) and meta.controller_of(old) is None:
            return
        for owner in self.informer.list(meta.namespace(new)):
            if self._matcher(owner)(meta.labels(new)):
                self.enqueue(meta.key(owner))

    # Reconcile

    async def reconcile(self, key: str) -> Result | None:
        owner = self.informer.get(key)
        if owner is None:
            self.expectations.forget(key)
            return None
        now = self.clock.now()
        uid = meta.uid(owner) or ""
        deleting = meta.deletion_timestamp(owner) is not None
        plan = ownership.plan_claims(
            self.pods.by_index(indexes.BY_CONTROLLER, uid),
            self.pods.by_index(indexes.BY_ORPHANAGE, meta.namespace(owner) or ""),
            self._matcher(owner),
            owner_deleting=deleting,
        )
        pods = await ownership.carry_out_claims(self.client, owner, self.RESOURCE, "pods", plan)
        error: StatusError | None = None
        wanted = 1 if owner.spec.replicas is None else owner.spec.replicas
        active = [pod for pod in pods if pod_facts.is_active(pod)]
        if not deleting and len(active) != wanted and self.expectations.satisfied(key, now):
            error = await self._manage(key, owner, active, wanted, now)
            pods = list(self.pods.by_index(indexes.BY_CONTROLLER, uid))
        minimum = owner.spec.min_ready_seconds or 0
        counts = count_replicas(pods, self._template_labels(owner), minimum, now)
        await self._write_status(owner, counts, error, len(active) < wanted)
        if error is not None and not pod_control.namespace_is_terminating(error):
            raise error
        if counts.next_available_at is not None:
            return Result(requeue_after_seconds=max(0.001, counts.next_available_at - now))
        return None

    async def _manage(self, key: str, owner: Any, active: Sequence[Pod], wanted: int, now: float) -> StatusError | None:
        plan = plan_replicas(active, wanted, self._related_on_node(owner), now)
        if plan.create:
            reference = ownership.controller_reference(owner, self.RESOURCE)
            pod = pod_control.pod_from_template(owner.spec.template, owner, reference)

            async def create(_: int) -> None:
                created = await pod_control.create_pod(self.client, self.events, owner, pod)
                if self.pods.get(meta.key(created)) is None:
                    self.expectations.expect_created(key, meta.uid(created) or "", now)

            return await pod_control.in_batches(range(plan.create), create)

        async def delete(pod: Pod) -> None:
            await pod_control.delete_pod(self.client, self.events, owner, pod)
            cached = self.pods.get(meta.key(pod))
            if cached is not None and meta.uid(cached) == meta.uid(pod) and not pod_facts.is_terminating(cached):
                self.expectations.expect_deleted(key, meta.uid(pod) or "", now)

        return await pod_control.in_batches(plan.delete, delete, initial=max(1, len(plan.delete)))

    def _related_on_node(self, owner: Any) -> Any:
        """Counts, per node, the active pods of all ReplicaSets of the same Deployment; at the first question."""
        counts: dict[str, int] = {}

        def count(node: str) -> int:
            if not counts:
                counts.update(self._count_related(owner))
            return counts.get(node, 0)

        return count

    def _count_related(self, owner: Any) -> dict[str, int]:
        parent = meta.controller_of(owner)
        related = [owner]
        if parent is not None and parent.uid:
            related = self.owners_by_uid.by_index(indexes.BY_CONTROLLER, parent.uid)
        counts: dict[str, int] = {}
        for each in related:
            for pod in self.pods.by_index(indexes.BY_CONTROLLER, meta.uid(each) or ""):
                if pod_facts.is_active(pod):
                    node = pod_facts.node_name(pod)
                    counts[node] = counts.get(node, 0) + 1
        return counts

    # Status

    async def _write_status(self, owner: Any, counts: ReplicaCounts, error: StatusError | None, creating: bool) -> None:
        old = owner.status
        status = self._status(owner, old, counts, error, creating)
        if msgspec.structs.replace(old, conditions=tuple(old.conditions)) != status:
            await self.client.update_status(msgspec.structs.replace(owner, status=status))

    def _status(self, owner: Any, old: Any, counts: ReplicaCounts, error: StatusError | None, creating: bool) -> Any:
        conditions = tuple(old.conditions)
        failed = pod_facts.condition_of(conditions, REPLICA_FAILURE)
        if error is not None and failed is None:
            condition = self.CONDITION(
                type=REPLICA_FAILURE,
                status="True",
                reason="FailedCreate" if creating else "FailedDelete",
                message=error.message,
                last_transition_time=self.clock.now_rfc3339(),
            )
            conditions = (*conditions, condition)
        elif error is None and failed is not None:
            conditions = tuple(condition for condition in conditions if condition.type != REPLICA_FAILURE)
        return self.STATUS(
            replicas=counts.replicas,
            fully_labeled_replicas=counts.fully_labeled or None,
            ready_replicas=counts.ready or None,
            available_replicas=counts.available or None,
            observed_generation=owner.metadata.generation,
            conditions=conditions,
            **self._more_status(counts),
        )

    def _more_status(self, counts: ReplicaCounts) -> Mapping[str, Any]:
        return {"terminating_replicas": counts.terminating}

    # Words that differ between the two kinds

    def _matcher(self, owner: Any) -> ownership.Matches:
        """The owner's selector as a function, compiled once a revision of it."""
        uid, selector = meta.uid(owner) or "", owner.spec.selector
        known = self._matchers.get(uid)
        if known is None or known[0] is not selector:
            if len(self._matchers) > 10_000:
                self._matchers.clear()
            known = self._matchers[uid] = (selector, self._compile(selector))
        return known[1]

    def _compile(self, selector: Any) -> ownership.Matches:
        if not selector.match_expressions and selector.match_labels:
            wanted = selector.match_labels
            return lambda labels: indexes.matches(wanted, labels)
        return selectors.from_label_selector(selector).matches

    def _template_labels(self, owner: Any) -> Mapping[str, str]:
        return meta.labels(owner.spec.template) if owner.spec.template is not None else {}


class ReplicationControllerController(ReplicaSetController):
    """https://kubernetes.io/docs/concepts/workloads/controllers/replicationcontroller/"""

    NAME = "replicationcontroller-controller"
    ACCOUNT = "replication-controller"
    COMPONENT = "replication-controller"
    RESOURCE = "replicationcontrollers"

    def __init__(self, context: ControllerContext) -> None:
        from kubeloop.actors.api.core_v1 import ReplicationControllerCondition, ReplicationControllerStatus

        super().__init__(context)
        self.STATUS, self.CONDITION = ReplicationControllerStatus, ReplicationControllerCondition

    def _compile(self, selector: Mapping[str, str]) -> ownership.Matches:
        return lambda labels: bool(selector) and indexes.matches(selector, labels)

    def _more_status(self, counts: ReplicaCounts) -> Mapping[str, Any]:
        return {}


def _claimed_alike(old: Pod, new: Pod) -> bool:
    """The very same labels and owners as before, as after a status update."""
    before, after = old.metadata, new.metadata
    return before.labels is after.labels and before.owner_references is after.owner_references
