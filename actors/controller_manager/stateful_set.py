"""StatefulSet: pods with names, order and volumes of their own.

https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from kubeloop.actors.api import meta
from kubeloop.actors.api.apps_v1 import StatefulSet, StatefulSetStatus
from kubeloop.actors.api.core_v1 import (
    PersistentVolumeClaimVolumeSource,
    Pod,
    Volume,
)
from kubeloop.actors.api.errors import StatusError, is_already_exists, is_not_found
from kubeloop.actors.api.meta_v1 import ObjectMeta
from kubeloop.actors.client.reconcile import Result
from kubeloop.actors.controller_manager import (
    controller_revision,
    indexes,
    ownership,
    pod_control,
    pod_facts,
    stateful_replicas,
)
from kubeloop.actors.controller_manager.controller import Controller
from kubeloop.actors.controller_manager.rollout_arithmetic import resolve


class StatefulSetController(Controller):
    NAME = "statefulset-controller"
    RESOURCE = "statefulsets.apps"
    OWNS = ("pods",)

    def set_up(self) -> None:
        super().set_up()
        self.pods = self.context.index("pods", indexes.BY_CONTROLLER, indexes.controller_uid)
        self.claims = self.context.informer("persistentvolumeclaims")
        self.revisions = self.context.index(
            controller_revision.REVISIONS, indexes.BY_CONTROLLER, indexes.controller_uid
        )

    async def reconcile(self, key: str) -> Result | None:
        owner: StatefulSet | None = self.informer.get(key)
        if owner is None or meta.deletion_timestamp(owner) is not None:
            return None
        now = self.clock.now()
        update = await controller_revision.ensure_revision(self.client, self.revisions, owner, self.RESOURCE)
        pods = self._by_ordinal(owner)
        current = owner.status.current_revision or update
        needs = self._needs(owner, current, update)
        plan = stateful_replicas.plan_stateful(needs, pods, now)
        error = await self._carry_out(owner, needs, plan, current, update)
        await self._write_status(owner, needs, current, update, now)
        in_use = [current, update]
        limit = owner.spec.revision_history_limit
        await controller_revision.trim_history(self.client, self.revisions, owner, in_use, limit)
        if error is not None and not pod_control.namespace_is_terminating(error):
            raise error
        return None if not needs.min_ready_seconds else self._recheck(owner, needs.min_ready_seconds, now)

    def _recheck(self, owner: StatefulSet, min_ready_seconds: int, now: float) -> Result | None:
        times = [pod_facts.available_at(pod, min_ready_seconds) for pod in self._by_ordinal(owner).values()]
        left = [at - now for at in times if at is not None and at > now]
        return Result(requeue_after_seconds=min(left)) if left else None

    def _by_ordinal(self, owner: StatefulSet) -> dict[int, Pod]:
        found: dict[int, Pod] = {}
        for pod in self.pods.by_index(indexes.BY_CONTROLLER, meta.uid(owner) or ""):
            ordinal = stateful_replicas.ordinal_of(meta.name(owner) or "", meta.name(pod) or "")
            if ordinal is not None:
                found[ordinal] = pod
        return found

    def _needs(self, owner: StatefulSet, current: str, update: str) -> stateful_replicas.StatefulNeeds:
        spec = owner.spec
        strategy = spec.update_strategy
        rolling = strategy.rolling_update if strategy is not None else None
        replicas = 1 if spec.replicas is None else spec.replicas
        unavailable = rolling.max_unavailable if rolling is not None else None
        return stateful_replicas.StatefulNeeds(
            start=(spec.ordinals.start if spec.ordinals is not None else None) or 0,
            replicas=replicas,
            parallel=spec.pod_management_policy == "Parallel",
            rolling=strategy is None or strategy.type != "OnDelete",
            partition=(rolling.partition if rolling is not None else None) or 0,
            max_unavailable=max(1, resolve(1 if unavailable is None else unavailable, replicas, round_up=True)),
            current=controller_revision.hash_of(current, owner),
            update=controller_revision.hash_of(update, owner),
            min_ready_seconds=spec.min_ready_seconds or 0,
        )

    # Writes

    async def _carry_out(
        self,
        owner: StatefulSet,
        needs: stateful_replicas.StatefulNeeds,
        plan: stateful_replicas.StatefulPlan,
        current: str,
        update: str,
    ) -> StatusError | None:
        async def create(item: tuple[int, str]) -> None:
            ordinal, hash_ = item
            template = owner.spec.template
            if hash_ == needs.current and current != update:
                template = self._old_template(owner, current) or template
            await self._create_claims(owner, ordinal)
            pod = _pod(owner, template, ordinal, hash_)
            try:
                created = await self.client.create(pod, meta.namespace(owner))
            except StatusError as error:
                if is_already_exists(error):
                    return
                if not pod_control.namespace_is_terminating(error):
                    message = (
                        f"create Pod {meta.name(pod)} in StatefulSet {meta.name(owner)} failed error: {error.message}"
                    )
                    self.events.event(owner, "Warning", "FailedCreate", message)
                raise
            message = f"create Pod {meta.name(created)} in StatefulSet {meta.name(owner)} successful"
            self.events.event(owner, "Normal", "SuccessfulCreate", message)

        async def delete(pod: Pod) -> None:
            try:
                await self.client.delete(
                    "pods", meta.name(pod), meta.namespace(pod), preconditions={"uid": meta.uid(pod)}
                )
            except StatusError as error:
                if is_not_found(error):
                    return
                raise
            message = f"delete Pod {meta.name(pod)} in StatefulSet {meta.name(owner)} successful"
            self.events.event(owner, "Normal", "SuccessfulDelete", message)

        error = await pod_control.in_batches(plan.create, create)
        return error or await pod_control.in_batches(plan.delete, delete)

    def _old_template(self, owner: StatefulSet, revision: str) -> Any | None:
        """The template that a ControllerRevision keeps."""
        from kubeloop.actors.api import codec
        from kubeloop.actors.api.core_v1 import PodTemplateSpec

        found = self.revisions.get(f"{meta.namespace(owner)}/{revision}")
        if found is None or not found.data:
            return None
        template = dict(found.data["spec"]["template"])
        template.pop("$patch", None)
        return codec.convert(template, PodTemplateSpec)

    async def _create_claims(self, owner: StatefulSet, ordinal: int) -> None:
        for template in owner.spec.volume_claim_templates:
            name = f"{meta.name(template)}-{meta.name(owner)}-{ordinal}"
            if self.claims.get(f"{meta.namespace(owner)}/{name}") is not None:
                continue
            selector = owner.spec.selector
            labels = {**meta.labels(template), **(selector.match_labels if selector is not None else {})}
            metadata = ObjectMeta(
                name=name, namespace=meta.namespace(owner), labels=labels, annotations=meta.annotations(template)
            )
            try:
                await self.client.create(
                    msgspec.structs.replace(template, metadata=metadata, status=None), meta.namespace(owner)
                )
            except StatusError as error:
                if not is_already_exists(error):
                    raise

    async def _write_status(
        self, owner: StatefulSet, needs: stateful_replicas.StatefulNeeds, current: str, update: str, now: float
    ) -> None:
        pods = [pod for pod in self._by_ordinal(owner).values() if not pod_facts.is_terminated(pod)]
        counting = [pod for pod in pods if not pod_facts.is_terminating(pod)]
        updated = [pod for pod in counting if stateful_replicas.revision_of(pod) == needs.update]
        ready = [pod for pod in counting if pod_facts.is_ready(pod)]
        available = [pod for pod in ready if pod_facts.is_available(pod, needs.min_ready_seconds, now)]
        done = len(updated) == len(counting) == len(ready) == needs.replicas and needs.partition == 0
        if needs.rolling and done:
            current = update
        currents = [
            pod for pod in counting if stateful_replicas.revision_of(pod) == controller_revision.hash_of(current, owner)
        ]
        old = owner.status
        status = StatefulSetStatus(
            observed_generation=owner.metadata.generation,
            replicas=len(pods),
            ready_replicas=len(ready) or None,
            available_replicas=len(available),
            current_replicas=len(currents) or None,
            updated_replicas=len(updated) or None,
            current_revision=current,
            update_revision=update,
            collision_count=old.collision_count or 0,
            conditions=tuple(old.conditions),
        )
        if msgspec.structs.replace(old, conditions=tuple(old.conditions)) != status:
            await self.client.update_status(msgspec.structs.replace(owner, status=status))


def _pod(owner: StatefulSet, template: Any, ordinal: int, hash_: str) -> Pod:
    """The pod of that ordinal, with its name, its host name and its own volumes."""
    name = f"{meta.name(owner)}-{ordinal}"
    made = pod_control.pod_from_template(template, owner, ownership.controller_reference(owner, "statefulsets.apps"))
    labels: Mapping[str, str] = {
        **made.metadata.labels,
        stateful_replicas.REVISION_LABEL: hash_,
        "statefulset.kubernetes.io/pod-name": name,
        "apps.kubernetes.io/pod-index": str(ordinal),
    }
    spec = made.spec
    own: Sequence[Volume] = [
        Volume(
            name=meta.name(claim),
            persistent_volume_claim=PersistentVolumeClaimVolumeSource(claim_name=f"{meta.name(claim)}-{name}"),
        )
        for claim in owner.spec.volume_claim_templates
    ]
    names = [volume.name for volume in own]
    volumes = (*(volume for volume in spec.volumes if volume.name not in names), *own)
    return msgspec.structs.replace(
        made,
        metadata=msgspec.structs.replace(made.metadata, name=name, generate_name=None, labels=labels),
        spec=msgspec.structs.replace(spec, hostname=name, subdomain=owner.spec.service_name, volumes=volumes),
    )
