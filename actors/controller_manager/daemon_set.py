"""DaemonSet: one pod on every node that it belongs on.

https://kubernetes.io/docs/concepts/workloads/controllers/daemonset/
"""

from __future__ import annotations

from typing import Any

import msgspec

from kubeloop.actors.api import meta
from kubeloop.actors.api.apps_v1 import DaemonSet, DaemonSetStatus
from kubeloop.actors.api.core_v1 import Node, Pod, PodSpec
from kubeloop.actors.api.errors import StatusError
from kubeloop.actors.client.reconcile import Result
from kubeloop.actors.controller_manager import (
    controller_revision,
    daemon_pods,
    indexes,
    ownership,
    pod_control,
    pod_facts,
)
from kubeloop.actors.controller_manager.controller import Controller
from kubeloop.actors.controller_manager.expectations import Expectations
from kubeloop.actors.controller_manager.rollout_arithmetic import resolve


class DaemonSetController(Controller):
    NAME = "daemonset-controller"
    ACCOUNT = "daemon-set-controller"
    RESOURCE = "daemonsets.apps"

    def set_up(self) -> None:
        super().set_up()
        self.expectations = Expectations()
        self.pods = self.context.index("pods", indexes.BY_CONTROLLER, indexes.controller_uid)
        self.nodes = self.watch("nodes", self._on_node)
        self.watch_owned("pods", self._on_pod)
        self.revisions = self.context.index(
            controller_revision.REVISIONS, indexes.BY_CONTROLLER, indexes.controller_uid
        )

    def _on_node(self, old: Node | None, new: Node | None) -> None:
        if old is not None and new is not None:
            same_labels = old.metadata.labels == new.metadata.labels
            if same_labels and (old.spec is new.spec or old.spec == new.spec):
                return
        for owner in self.informer.list():
            self.enqueue(meta.key(owner))

    def _on_pod(self, old: Pod | None, new: Pod | None) -> None:
        pod = new if new is not None else old
        assert pod is not None
        key = self.owner_key(pod)
        if not key:
            return
        if new is None or pod_facts.is_terminating(pod):
            self.expectations.observe_deleted(key, meta.uid(pod) or "")
        else:
            self.expectations.observe_created(key, meta.uid(pod) or "")
        if old is None or new is None or not pod_facts.counts_alike(old, new):
            self.enqueue_gathered(key, len(self.nodes))

    async def reconcile(self, key: str) -> Result | None:
        owner: DaemonSet | None = self.informer.get(key)
        if owner is None or meta.deletion_timestamp(owner) is not None:
            self.expectations.forget(key)
            return None
        now = self.clock.now()
        name = await controller_revision.ensure_revision(self.client, self.revisions, owner, self.RESOURCE)
        revision = controller_revision.hash_of(name, owner)
        template = owner.spec.template
        spec = daemon_pods.with_tolerations(template.spec)
        nodes = sorted(self.nodes.list(), key=lambda node: meta.name(node) or "")
        wanted = [node for node in nodes if daemon_pods.belongs(spec, node)[0]]
        error = None
        if self.expectations.satisfied(key, now):
            needs = self._needs(owner, revision, len(wanted))
            plan = daemon_pods.plan_daemon_pods(needs, spec, nodes, self._by_node(owner), now)
            gone = [pod for node, pods in self._by_node(owner).items() if self.nodes.get(node) is None for pod in pods]
            delete = [*plan.delete, *(pod for pod in gone if pod_facts.is_active(pod))]
            plan = msgspec.structs.replace(plan, delete=delete)
            error = await self._carry_out(key, owner, spec, revision, plan, now)
        await self._write_status(owner, wanted, revision, now)
        await controller_revision.trim_history(
            self.client, self.revisions, owner, [name], owner.spec.revision_history_limit
        )
        if error is not None and not pod_control.namespace_is_terminating(error):
            raise error
        return None

    def _by_node(self, owner: DaemonSet) -> dict[str, list[Pod]]:
        found: dict[str, list[Pod]] = {}
        for pod in self.pods.by_index(indexes.BY_CONTROLLER, meta.uid(owner) or ""):
            found.setdefault(daemon_pods.target_node(pod), []).append(pod)
        return found

    def _needs(self, owner: DaemonSet, revision: str, nodes: int) -> daemon_pods.DaemonNeeds:
        strategy = owner.spec.update_strategy
        rolling = strategy.rolling_update if strategy is not None else None
        surge = resolve(rolling.max_surge if rolling is not None else 0, nodes, round_up=True)
        given = rolling.max_unavailable if rolling is not None else None
        unavailable = resolve(1 if given is None else given, nodes, round_up=True)
        return daemon_pods.DaemonNeeds(
            revision=revision,
            rolling=strategy is None or strategy.type != "OnDelete",
            max_unavailable=unavailable if surge or unavailable else 1,
            max_surge=surge,
            min_ready_seconds=owner.spec.min_ready_seconds or 0,
        )

    async def _carry_out(
        self, key: str, owner: DaemonSet, spec: PodSpec, revision: str, plan: daemon_pods.DaemonPlan, now: float
    ) -> StatusError | None:
        base = pod_control.pod_from_template(
            owner.spec.template, owner, ownership.controller_reference(owner, self.RESOURCE)
        )
        labels = {**base.metadata.labels, daemon_pods.HASH_LABEL: revision, "pod-template-generation": "1"}
        metadata = msgspec.structs.replace(base.metadata, labels=labels)

        async def create(node: str) -> None:
            pod = msgspec.structs.replace(base, metadata=metadata, spec=daemon_pods.pinned(spec, node))
            created = await pod_control.create_pod(self.client, self.events, owner, pod)
            if self.pods.get(meta.key(created)) is None:
                self.expectations.expect_created(key, meta.uid(created) or "", now)

        async def delete(pod: Pod) -> None:
            await pod_control.delete_pod(self.client, self.events, owner, pod)
            cached: Any = self.pods.get(meta.key(pod))
            if cached is not None and meta.uid(cached) == meta.uid(pod) and not pod_facts.is_terminating(cached):
                self.expectations.expect_deleted(key, meta.uid(pod) or "", now)

        error = await pod_control.in_batches(plan.create, create)
        return error or await pod_control.in_batches(plan.delete, delete, initial=max(1, len(plan.delete)))

    async def _write_status(self, owner: DaemonSet, wanted: list[Node], revision: str, now: float) -> None:
        minimum = owner.spec.min_ready_seconds or 0
        names = {meta.name(node) or "": None for node in wanted}
        scheduled = ready = available = updated = misplaced = 0
        for node, pods in self._by_node(owner).items():
            active = [pod for pod in pods if pod_facts.is_active(pod) and pod_facts.node_name(pod)]
            if not active:
                continue
            if node not in names:
                misplaced += 1
                continue
            scheduled += 1
            ready += any(pod_facts.is_ready(pod) for pod in active)
            available += any(pod_facts.is_available(pod, minimum, now) for pod in active)
            updated += any(meta.labels(pod).get(daemon_pods.HASH_LABEL) == revision for pod in active)
        old = owner.status
        status = DaemonSetStatus(
            current_number_scheduled=scheduled,
            number_misscheduled=misplaced,
            desired_number_scheduled=len(wanted),
            number_ready=ready,
            observed_generation=owner.metadata.generation,
            updated_number_scheduled=updated or None,
            number_available=available or None,
            number_unavailable=(len(wanted) - available) or None,
            collision_count=old.collision_count,
            conditions=tuple(old.conditions),
        )
        if msgspec.structs.replace(old, conditions=tuple(old.conditions)) != status:
            await self.client.update_status(msgspec.structs.replace(owner, status=status))
