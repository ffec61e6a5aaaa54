"""Deployment: carries out what `rollout.plan_rollout` decides.

https://kubernetes.io/docs/concepts/workloads/controllers/deployment/
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from kubeloop.actors.api import meta, selectors
from kubeloop.actors.api.apps_v1 import Deployment, ReplicaSet
from kubeloop.actors.api.core_v1 import Pod
from kubeloop.actors.api.errors import StatusError, is_already_exists, is_not_found
from kubeloop.actors.client.reconcile import Result
from kubeloop.actors.controller_manager import indexes, ownership, pod_control, pod_facts, rollout
from kubeloop.actors.controller_manager import rollout_arithmetic as arithmetic
from kubeloop.actors.controller_manager import rollout_revisions as revisions
from kubeloop.actors.controller_manager.controller import Controller


class DeploymentController(Controller):
    NAME = "deployment-controller"
    RESOURCE = "deployments.apps"
    OWNS = ("replicasets.apps",)

    def set_up(self) -> None:
        super().set_up()
        self.replica_sets = self.context.index("replicasets.apps", indexes.BY_CONTROLLER, indexes.controller_uid)
        self.context.index("replicasets.apps", indexes.BY_ORPHANAGE, indexes.orphanage)
        self.pods = self.context.index("pods", indexes.BY_CONTROLLER, indexes.controller_uid)
        self.watch("replicasets.apps", self._on_orphan)
        self.watch("pods", self._on_pod)

    def _on_orphan(self, old: ReplicaSet | None, new: ReplicaSet | None) -> None:
        """A ReplicaSet without a controller: the Deployment whose selector it matches may want it."""
        if new is None or meta.controller_of(new) is not None:
            return
        for deployment in self.informer.list(meta.namespace(new)):
            if self._matches(deployment)(meta.labels(new)):
                self.enqueue(meta.key(deployment))

    def _on_pod(self, old: Pod | None, new: Pod | None) -> None:
        """Recreate waits until the last old pod has ended."""
        if old is None or (new is not None and not (pod_facts.is_terminated(new) and not pod_facts.is_terminated(old))):
            return
        owner = meta.controller_of(old)
        if owner is None or owner.kind != "ReplicaSet":
            return
        replica_set = self.replica_sets.get(f"{meta.namespace(old)}/{owner.name}")
        key = self.owner_key(replica_set) if replica_set is not None else ""
        deployment = self.informer.get(key) if key else None
        if deployment is not None and not arithmetic.is_rolling(deployment):
            self.enqueue(key)

    async def reconcile(self, key: str) -> Result | None:
        deployment: Deployment | None = self.informer.get(key)
        if deployment is None:
            return None
        selector = arithmetic.spec_of(deployment).selector
        if selector is None or not (selector.match_labels or selector.match_expressions):
            message = "This deployment is selecting all pods. A non-empty selector is required."
            self.events.event(deployment, "Warning", "SelectingAll", message)
            return None
        claims = ownership.plan_claims(
            self.replica_sets.by_index(indexes.BY_CONTROLLER, meta.uid(deployment) or ""),
            self.replica_sets.by_index(indexes.BY_ORPHANAGE, meta.namespace(deployment) or ""),
            self._matches(deployment),
            owner_deleting=meta.deletion_timestamp(deployment) is not None,
        )
        mine = await ownership.carry_out_claims(self.client, deployment, self.RESOURCE, "replicasets.apps", claims)
        actions = rollout.plan_rollout(
            deployment, mine, old_pods_running=self._old_pods_running(deployment, mine), now=self.clock.now()
        )
        return await self._carry_out(deployment, actions)

    def _old_pods_running(self, deployment: Deployment, mine: Sequence[ReplicaSet]) -> bool:
        if arithmetic.is_rolling(deployment):
            return False
        new = revisions.find_new(deployment, mine)
        return any(
            not pod_facts.is_terminated(pod)
            for replica_set in mine
            if replica_set is not new
            for pod in self.pods.by_index(indexes.BY_CONTROLLER, meta.uid(replica_set) or "")
        )

    # Carrying out

    async def _carry_out(self, deployment: Deployment, actions: Sequence[rollout.Action]) -> Result | None:
        result = None
        for action in actions:
            match action:
                case rollout.CreateReplicaSet():
                    if not await self._create(deployment, action.replica_set):
                        return None
                case rollout.UpdateReplicaSet():
                    await self._update(deployment, action)
                case rollout.DeleteReplicaSet():
                    await self._delete(action.replica_set)
                case rollout.SetRevision():
                    annotations = {**deployment.metadata.annotations, revisions.REVISION: action.revision}
                    deployment = await self.client.update(meta.replace_metadata(deployment, annotations=annotations))
                case rollout.SetStatus():
                    await self.client.update_status(msgspec.structs.replace(deployment, status=action.status))
                case rollout.RequeueAfter():
                    result = Result(requeue_after_seconds=action.seconds)
        return result

    async def _create(self, deployment: Deployment, replica_set: ReplicaSet) -> bool:
        """True when it is there; False when the name holds another template and a collision was counted."""
        try:
            await self.client.create(replica_set, meta.namespace(deployment))
        except StatusError as error:
            if is_already_exists(error):
                return await self._settle_collision(deployment, replica_set)
            if not pod_control.namespace_is_terminating(error):
                message = f'Failed to create new replica set "{meta.name(replica_set)}": {error.message}'
                self.events.event(deployment, "Warning", "ReplicaSetCreateError", message)
            raise
        size = arithmetic.rs_replicas(replica_set)
        if size > 0:
            message = f"Scaled up replica set {meta.name(replica_set)} from 0 to {size}"
            self.events.event(deployment, "Normal", "ScalingReplicaSet", message)
        return True

    async def _settle_collision(self, deployment: Deployment, replica_set: ReplicaSet) -> bool:
        existing = await self.client.get("replicasets.apps", meta.name(replica_set), meta.namespace(deployment))
        owner = meta.controller_of(existing)
        if owner is not None and owner.uid == meta.uid(deployment):
            wanted = revisions.template_fingerprint(replica_set.spec.template)
            if revisions.template_fingerprint(existing.spec.template) == wanted:
                return True  # made before; the cache only lags behind
        status = deployment.status
        status = msgspec.structs.replace(status, collision_count=(status.collision_count or 0) + 1)
        await self.client.update_status(msgspec.structs.replace(deployment, status=status))
        return False

    async def _update(self, deployment: Deployment, action: rollout.UpdateReplicaSet) -> None:
        replica_set, size = action.replica_set, arithmetic.rs_replicas(action.replica_set)
        await self.client.update(replica_set)
        if size != action.old_replicas:
            direction = "up" if size > action.old_replicas else "down"
            name = meta.name(replica_set)
            message = f"Scaled {direction} replica set {name} from {action.old_replicas} to {size}"
            self.events.event(deployment, "Normal", "ScalingReplicaSet", message)

    async def _delete(self, replica_set: ReplicaSet) -> None:
        try:
            await self.client.delete("replicasets.apps", meta.name(replica_set), meta.namespace(replica_set))
        except StatusError as error:
            if not is_not_found(error):
                raise

    def _matches(self, deployment: Any) -> ownership.Matches:
        selector = deployment.spec.selector
        if selector is None:
            return lambda labels: False
        if not selector.match_expressions:
            wanted = selector.match_labels
            return lambda labels: bool(wanted) and indexes.matches(wanted, labels)
        return selectors.from_label_selector(selector).matches
