"""One step of a Deployment's rollout, decided from a snapshot: `plan_rollout(deployment, replica_sets) -> actions`.

A step does one thing (make a ReplicaSet, or change sizes), then says what the status is; its change of the world
brings the next step. So a controller that dies between two steps has lost nothing.

https://kubernetes.io/docs/concepts/workloads/controllers/deployment/
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from kubeloop.actors.api.apps_v1 import Deployment, DeploymentStatus, ReplicaSet
from kubeloop.actors.controller_manager import rollout_arithmetic as arithmetic
from kubeloop.actors.controller_manager import rollout_revisions as revisions
from kubeloop.actors.controller_manager import rollout_status as statuses
from kubeloop.actors.controller_manager.pod_facts import condition_of


class CreateReplicaSet(msgspec.Struct, frozen=True):
    """Make it; when the name is taken by another template, count a collision instead."""

    replica_set: ReplicaSet


class UpdateReplicaSet(msgspec.Struct, frozen=True):
    """Write it as it is here. `old_replicas` differs from its size when this is a scaling."""

    replica_set: ReplicaSet
    old_replicas: int


class DeleteReplicaSet(msgspec.Struct, frozen=True):
    """Beyond the revision history limit."""

    replica_set: ReplicaSet


class SetRevision(msgspec.Struct, frozen=True):
    """Annotate the Deployment."""

    revision: str


class SetStatus(msgspec.Struct, frozen=True):
    """Write the Deployment's status; planned only when it differs."""

    status: DeploymentStatus


class RequeueAfter(msgspec.Struct, frozen=True):
    """Look again then: the progress deadline passes without an event."""

    seconds: float


Action = CreateReplicaSet | UpdateReplicaSet | DeleteReplicaSet | SetRevision | SetStatus | RequeueAfter


def plan_rollout(
    deployment: Deployment, replica_sets: Sequence[ReplicaSet], *, old_pods_running: bool = False, now: float = 0.0
) -> list[Action]:
    """What to do next, in order; empty when the world is as desired.

    `replica_sets` are those the Deployment owns; `old_pods_running`: pods of other revisions have not ended (only the
    Recreate strategy asks); `now` is unix seconds.
    """
    planner = _Planner(deployment, replica_sets, now)
    if deployment.metadata.deletion_timestamp is not None:
        planner.number_revisions()
        planner.plain_status()
    elif planner.spec.paused or planner.is_scaling():
        planner.conditions = statuses.paused_conditions(deployment, now)
        planner.number_revisions()
        planner.scale_all()
        if planner.spec.paused:
            planner.clean_up()
        planner.plain_status()
    else:
        planner.conditions = statuses.paused_conditions(deployment, now)
        if arithmetic.is_rolling(deployment):
            planner.rolling_update()
        else:
            planner.recreate(old_pods_running)
    return planner.actions


class _Planner:
    """The step being planned: what it will do so far, and the ReplicaSets as they will be."""

    def __init__(self, deployment: Deployment, replica_sets: Sequence[ReplicaSet], now: float) -> None:
        self.deployment = deployment
        self.spec = arithmetic.spec_of(deployment)
        self.now = now
        self.actions: list[Action] = []
        self.new = revisions.find_new(deployment, replica_sets)
        self.old = sorted((each for each in replica_sets if each is not self.new), key=arithmetic.created)
        self.conditions = tuple(deployment.status.conditions)

    def all(self) -> list[ReplicaSet]:
        return [*self.old, self.new] if self.new is not None else list(self.old)

    # Revisions

    def next_revision(self) -> int:
        return max((revisions.revision_of(each) for each in self.old), default=0) + 1

    def number_revisions(self) -> None:
        """The ReplicaSet in use carries the highest revision, and the Deployment repeats it."""
        if self.new is None:
            return
        annotations = revisions.renumbered(self.deployment, self.new, self.next_revision())
        spec = self.new.spec
        min_ready_seconds = self.spec.min_ready_seconds
        if annotations != revisions.annotations_of(self.new) or (spec.min_ready_seconds or 0) != (
            min_ready_seconds or 0
        ):
            self._update(self.new, arithmetic.rs_replicas(self.new), annotations, min_ready_seconds=min_ready_seconds)
        self._repeat_revision(annotations.get(revisions.REVISION, ""))
        if condition_of(self.conditions, statuses.PROGRESSING) is None and statuses.has_progress_deadline(
            self.deployment
        ):
            self._progress("FoundNewReplicaSet", f'Found new replica set "{_name(self.new)}"')

    def ensure_new(self) -> None:
        """There is a ReplicaSet for the present template."""
        if self.new is not None:
            self.number_revisions()
            return
        size = arithmetic.new_replica_set_size(self.deployment, self.old, 0)
        revision = self.next_revision()
        self.new = revisions.make_replica_set(self.deployment, revision, size)
        self.actions.append(CreateReplicaSet(self.new))
        self._repeat_revision(str(revision))
        if statuses.has_progress_deadline(self.deployment):
            self._progress("NewReplicaSetCreated", f'Created new replica set "{_name(self.new)}"')

    def _repeat_revision(self, revision: str) -> None:
        action = SetRevision(revision)
        known = revisions.annotations_of(self.deployment).get(revisions.REVISION)
        if revision and known != revision and action not in self.actions:
            self.actions.append(action)

    def _progress(self, reason: str, message: str) -> None:
        self.conditions = statuses.with_condition(
            self.conditions, statuses.PROGRESSING, "True", reason, message, self.now
        )

    # Strategies

    def rolling_update(self) -> None:
        """New ones up as far as the surge allows; then old ones down as far as availability allows."""
        self.ensure_new()
        scaled = self._just_made() or self._grow_new() or self._shrink_old()
        self._finish(scaled)

    def recreate(self, old_pods_running: bool) -> None:
        """All old pods end before the first new one starts."""
        if self.new is not None:
            self.number_revisions()
        scaled = self._resize({_name(each): 0 for each in self.old})
        if not scaled and not old_pods_running:
            self.ensure_new()
            assert self.new is not None
            if not self._just_made():
                scaled = self._resize({_name(self.new): arithmetic.replicas_of(self.deployment)})
        self._finish(scaled)

    def _just_made(self) -> bool:
        return any(isinstance(action, CreateReplicaSet) for action in self.actions)

    def _grow_new(self) -> bool:
        assert self.new is not None
        wanted, size = arithmetic.replicas_of(self.deployment), arithmetic.rs_replicas(self.new)
        if size < wanted:
            wanted = arithmetic.new_replica_set_size(self.deployment, self.all(), size)
        return self._resize({_name(self.new): wanted})

    def _shrink_old(self) -> bool:
        assert self.new is not None
        old = [each for each in self.old if arithmetic.rs_replicas(each) > 0]
        if not old:
            return False
        everything = self.all()
        least = arithmetic.replicas_of(self.deployment) - arithmetic.max_unavailable(self.deployment)
        missing = arithmetic.rs_replicas(self.new) - arithmetic.rs_available(self.new)
        spare = sum(arithmetic.rs_replicas(each) for each in everything) - least - missing
        if spare <= 0:
            return False
        sizes: dict[str, int] = {}
        for each in old:  # first the pods that serve nobody
            size = arithmetic.rs_replicas(each)
            cut = min(spare, max(0, size - arithmetic.rs_available(each)))
            sizes[_name(each)] = size - cut
            spare -= cut
        available = sum(arithmetic.rs_available(each) for each in everything)
        for each in old:
            if available <= least:
                break
            cut = min(sizes[_name(each)], available - least)
            sizes[_name(each)] -= cut
            available -= cut
        return self._resize(sizes)

    # Scale

    def is_scaling(self) -> bool:
        """The Deployment's size is not the one that its active ReplicaSets were sized for."""
        wanted = arithmetic.replicas_of(self.deployment)
        sized_for = (
            arithmetic.annotation_count(each, arithmetic.DESIRED_REPLICAS)
            for each in self.all()
            if arithmetic.rs_replicas(each) > 0
        )
        return any(size is not None and size != wanted for size in sized_for)

    def scale_all(self) -> None:
        """A change of scale: to the one ReplicaSet there is, or shared out among those in mid rollout."""
        active = [each for each in self.all() if arithmetic.rs_replicas(each) > 0]
        wanted = arithmetic.replicas_of(self.deployment)
        if len(active) <= 1:
            latest = active[0] if active else self.new or (self.old[-1] if self.old else None)
            if latest is not None:
                self._resize({_name(latest): wanted})
        elif self._saturated():
            self._resize({_name(each): 0 for each in self.old})
        elif arithmetic.is_rolling(self.deployment):
            self._resize(arithmetic.proportional_sizes(self.deployment, active))

    def _saturated(self) -> bool:
        """The new ReplicaSet has all the pods there should be, available."""
        wanted = arithmetic.replicas_of(self.deployment)
        return (
            self.new is not None
            and arithmetic.rs_replicas(self.new) == wanted
            and arithmetic.annotation_count(self.new, arithmetic.DESIRED_REPLICAS) == wanted
            and arithmetic.rs_available(self.new) == wanted
        )

    def _resize(self, sizes: Mapping[str, int]) -> bool:
        """Plans the sizes that differ; true when one does. Whoever is active also learns what it is sized for."""
        scaled = False
        for each in self.all():
            size = arithmetic.rs_replicas(each)
            new_size = sizes.get(_name(each), size)
            annotations = {**revisions.annotations_of(each), **revisions.scale_annotations(self.deployment)}
            remembers = _name(each) in sizes and (new_size > 0 or size > 0)
            if new_size != size or (remembers and annotations != revisions.annotations_of(each)):
                self._update(each, new_size, annotations)
                scaled = scaled or new_size != size
        return scaled

    def _update(
        self, old: ReplicaSet, replicas: int, annotations: Mapping[str, str], *, min_ready_seconds: int | None = None
    ) -> None:
        if min_ready_seconds is None:
            min_ready_seconds = old.spec.min_ready_seconds
        updated = msgspec.structs.replace(
            old,
            metadata=msgspec.structs.replace(old.metadata, annotations=annotations),
            spec=msgspec.structs.replace(old.spec, replicas=replicas, min_ready_seconds=min_ready_seconds),
        )
        before = arithmetic.rs_replicas(old)
        for action in self.actions:  # two changes of one ReplicaSet are one write
            if isinstance(action, UpdateReplicaSet) and action.replica_set is old:
                before = action.old_replicas
                self.actions.remove(action)
                break
        self.actions.append(UpdateReplicaSet(updated, before))
        if self.new is old:
            self.new = updated
        self.old = [updated if each is old else each for each in self.old]

    # The end of a step

    def _finish(self, scaled: bool) -> None:
        status = statuses.rollout_status(self.deployment, self.all(), self.new, self.conditions, self.now)
        if not scaled and statuses.is_complete(self.deployment, status):
            self.clean_up()
        self._set_status(status)
        left = statuses.seconds_to_deadline(self.deployment, status, self.now)
        if left is not None and left > 0 and not statuses.is_complete(self.deployment, status):
            self.actions.append(RequeueAfter(left + 1.0))

    def plain_status(self) -> None:
        """The status without looking at progress: paused, being scaled, or being deleted."""
        status = msgspec.structs.replace(
            statuses.counts(self.deployment, self.all(), self.new), conditions=self.conditions
        )
        self._set_status(statuses.with_available(self.deployment, status, self.now))

    def _set_status(self, status: DeploymentStatus) -> None:
        old = self.deployment.status
        if msgspec.structs.replace(old, conditions=tuple(old.conditions)) != status:
            self.actions.append(SetStatus(status))

    def clean_up(self) -> None:
        """Deletes old ReplicaSets with nothing in them, beyond revisionHistoryLimit."""
        limit = self.spec.revision_history_limit
        if limit is None or limit == 2**31 - 1:
            return
        kept = [each for each in self.old if each.metadata.deletion_timestamp is None]
        kept.sort(key=revisions.revision_of)
        for each in kept[: max(0, len(kept) - limit)]:
            observed = each.status.observed_generation or 0
            stale = (each.metadata.generation or 0) > observed
            if not stale and arithmetic.rs_status_replicas(each) == 0 and arithmetic.rs_replicas(each) == 0:
                self.actions.append(DeleteReplicaSet(each))


def _name(replica_set: ReplicaSet) -> str:
    assert replica_set.metadata.name is not None
    return replica_set.metadata.name
