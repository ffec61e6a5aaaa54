"""One step of a rollout, decided on data."""

from __future__ import annotations

import msgspec
import pytest

from kubeloop.actors.api.apps_v1 import Deployment, DeploymentStatus, ReplicaSet
from kubeloop.actors.controller_manager import rollout, rollout_arithmetic, rollout_revisions
from kubeloop.actors.controller_manager.pod_facts import condition_of
from kubeloop.actors.controller_manager.rollout import plan_rollout
from tests.controller_manager.factories import NOW, deployment, replica_set, sizes


def status_of(actions: list[rollout.Action]) -> DeploymentStatus:
    return next(action.status for action in actions if isinstance(action, rollout.SetStatus))


def made(actions: list[rollout.Action]) -> ReplicaSet:
    return next(action.replica_set for action in actions if isinstance(action, rollout.CreateReplicaSet))


@pytest.mark.parametrize(
    ("replicas", "surge", "unavailable", "expected"),
    [
        (10, "25%", "25%", (3, 2)),
        (1, "25%", "25%", (1, 0)),
        (10, 0, 0, (0, 1)),
        (10, "0%", "0%", (0, 1)),
        (3, "50%", 1, (2, 1)),
        (10, "100%", 0, (10, 0)),
    ],
)
def test_surge_rounds_up_and_unavailable_down(
    replicas: int, surge: int | str, unavailable: int | str, expected: tuple[int, int]
) -> None:
    owner = deployment(replicas, surge=surge, unavailable=unavailable)
    assert rollout_arithmetic.surge_and_unavailable(owner) == expected


def test_a_new_deployment_gets_a_replica_set_of_full_size() -> None:
    actions = plan_rollout(deployment(10), [], now=NOW)
    new = made(actions)
    assert new.spec.selector is not None
    assert new.spec.replicas == 10
    hash_ = new.metadata.labels["pod-template-hash"]
    assert new.metadata.name == f"web-{hash_}"
    assert new.spec.selector.match_labels == {"app": "web", "pod-template-hash": hash_}
    assert new.metadata.annotations[rollout_revisions.REVISION] == "1"
    assert rollout.SetRevision("1") in actions
    progressing = condition_of(status_of(actions).conditions, "Progressing")
    assert progressing is not None and progressing.reason == "NewReplicaSetCreated"


def test_a_new_template_starts_with_the_surge() -> None:
    old = replica_set(deployment(10, "web:1"), 10)
    actions = plan_rollout(deployment(10, "web:2"), [old], now=NOW)
    new = made(actions)
    assert new.spec.replicas == 3  # 25% of 10, rounded up
    assert sizes(actions) == {}
    assert rollout.SetRevision("2") in actions


def test_old_pods_go_as_far_as_availability_allows() -> None:
    old = replica_set(deployment(10, "web:1"), 10)
    owner = deployment(10, "web:2")
    new = replica_set(owner, 3, available=0, revision=2, age=1)
    assert sizes(plan_rollout(owner, [old, new], now=NOW)) == {"1": 8}  # 10 - maxUnavailable 2


def test_unhealthy_old_pods_go_first() -> None:
    old = replica_set(deployment(10, "web:1"), 10, available=5)
    owner = deployment(10, "web:2")
    new = replica_set(owner, 3, available=3, revision=2, age=1)
    assert sizes(plan_rollout(owner, [old, new], now=NOW)) == {"1": 5}


def test_a_rollout_converges_within_surge_and_unavailable() -> None:
    """Plays the plan against a world in which pods become available at once."""
    owner = deployment(10, "web:2")
    world = {"1": replica_set(deployment(10, "web:1"), 10)}
    for _ in range(30):
        actions = plan_rollout(owner, list(world.values()), now=NOW)
        for action in actions:
            match action:
                case rollout.CreateReplicaSet():
                    world["2"] = replica_set(owner, action.replica_set.spec.replicas or 0, revision=2, age=1)
                case rollout.UpdateReplicaSet():
                    annotations = rollout_revisions.annotations_of(action.replica_set)
                    size = rollout_arithmetic.rs_replicas(action.replica_set)
                    image = {"1": "web:1", "2": "web:2"}[annotations[rollout_revisions.REVISION]]
                    revision = int(annotations[rollout_revisions.REVISION])
                    world[str(revision)] = replica_set(
                        deployment(10, image), size, revision=revision, age=100 - revision
                    )
                case rollout.SetRevision():
                    metadata = msgspec.structs.replace(
                        owner.metadata, annotations={rollout_revisions.REVISION: action.revision}
                    )
                    owner = msgspec.structs.replace(owner, metadata=metadata)
                case rollout.SetStatus():
                    owner = msgspec.structs.replace(owner, status=action.status)
        total = sum(rollout_arithmetic.rs_replicas(each) for each in world.values())
        assert 8 <= total <= 13
        if not actions:
            break
    assert {revision: rollout_arithmetic.rs_replicas(each) for revision, each in world.items()} == {"1": 0, "2": 10}
    progressing = condition_of(owner.status.conditions, "Progressing")
    assert progressing is not None and progressing.reason == "NewReplicaSetAvailable"
    assert progressing.message == f'ReplicaSet "{world["2"].metadata.name}" has successfully progressed.'


def finished(owner: Deployment, *others: ReplicaSet) -> tuple[Deployment, list[ReplicaSet]]:
    """A Deployment whose rollout is complete and whose status says so."""
    new = replica_set(owner, rollout_arithmetic.replicas_of(owner), revision=3, age=1)
    metadata = msgspec.structs.replace(owner.metadata, annotations={rollout_revisions.REVISION: "3"})
    owner = msgspec.structs.replace(owner, metadata=metadata)
    owner = msgspec.structs.replace(owner, status=status_of(plan_rollout(owner, [*others, new], now=NOW)))
    return owner, [*others, new]


def test_nothing_is_planned_when_nothing_differs() -> None:
    owner, world = finished(deployment(10))
    assert plan_rollout(owner, world, now=NOW + 5000) == []


def test_a_rollback_renumbers_the_old_replica_set() -> None:
    first = replica_set(deployment(10, "web:1"), 0, revision=1)
    second = replica_set(deployment(10, "web:2"), 10, revision=2, age=50)
    actions = plan_rollout(deployment(10, "web:1"), [first, second], now=NOW)
    update = next(action for action in actions if isinstance(action, rollout.UpdateReplicaSet))
    annotations = rollout_revisions.annotations_of(update.replica_set)
    assert annotations[rollout_revisions.REVISION] == "3"
    assert annotations[rollout_revisions.REVISION_HISTORY] == "1"
    assert sizes(actions) == {"3": 3}
    assert len([action for action in actions if isinstance(action, rollout.UpdateReplicaSet)]) == 1


def test_a_paused_deployment_scales_but_does_not_roll() -> None:
    old = replica_set(deployment(10, "web:1"), 10)
    actions = plan_rollout(deployment(12, "web:2", paused=True), [old], now=NOW)
    assert sizes(actions) == {"1": 12}
    assert not any(isinstance(action, rollout.CreateReplicaSet) for action in actions)
    progressing = condition_of(status_of(actions).conditions, "Progressing")
    assert progressing is not None and (progressing.status, progressing.reason) == ("Unknown", "DeploymentPaused")


def test_scaling_in_mid_rollout_is_shared_out_in_proportion() -> None:
    """The documentation's example: 10 replicas, surge 3, unavailable 2; 8 old and 5 new; scaled to 15."""
    old = replica_set(deployment(10, "web:1", surge=3, unavailable=2), 8)
    new = replica_set(deployment(10, "web:2", surge=3, unavailable=2), 5, available=0, revision=2, age=1)
    owner = deployment(15, "web:2", surge=3, unavailable=2)
    assert sizes(plan_rollout(owner, [old, new], now=NOW)) == {"1": 11, "2": 7}


def test_scaling_down_to_zero_takes_everything() -> None:
    old = replica_set(deployment(10, "web:1"), 8)
    new = replica_set(deployment(10, "web:2"), 5, revision=2, age=1)
    assert sizes(plan_rollout(deployment(0, "web:2"), [old, new], now=NOW)) == {"1": 0, "2": 0}


def test_recreate_waits_for_the_old_pods() -> None:
    owner = deployment(3, "web:2", recreate=True)
    old = replica_set(deployment(3, "web:1", recreate=True), 3)
    assert sizes(plan_rollout(owner, [old], old_pods_running=True, now=NOW)) == {"1": 0}
    gone = replica_set(deployment(3, "web:1", recreate=True), 0)
    waiting = plan_rollout(owner, [gone], old_pods_running=True, now=NOW)
    assert not any(isinstance(action, rollout.CreateReplicaSet) for action in waiting)
    new = made(plan_rollout(owner, [gone], old_pods_running=False, now=NOW))
    assert new.spec.replicas == 3


def test_a_rollout_without_progress_runs_into_its_deadline() -> None:
    owner = deployment(2, progress_deadline_seconds=60)
    new = replica_set(owner, 2, available=0)
    owner = msgspec.structs.replace(owner, status=status_of(plan_rollout(owner, [new], now=NOW)))
    early = plan_rollout(owner, [new], now=NOW + 30)
    assert rollout.RequeueAfter(31.0) in early
    late = condition_of(status_of(plan_rollout(owner, [new], now=NOW + 61)).conditions, "Progressing")
    assert late is not None and (late.status, late.reason) == ("False", "ProgressDeadlineExceeded")
    assert late.message == f'ReplicaSet "{new.metadata.name}" has timed out progressing.'


def test_only_as_many_old_revisions_stay_as_the_history_limit_says() -> None:
    old = [replica_set(deployment(10, f"web:{n}"), 0, revision=n, age=100 - n) for n in (1, 2)]
    owner, world = finished(deployment(10, "web:9", revision_history_limit=1), *old)
    deleted = [action for action in plan_rollout(owner, world, now=NOW) if isinstance(action, rollout.DeleteReplicaSet)]
    assert [rollout_revisions.revision_of(action.replica_set) for action in deleted] == [1]


def test_the_hash_depends_on_the_template_and_the_collision_count_only() -> None:
    one, two = deployment(1, "web:1"), deployment(5, "web:1")
    assert rollout_revisions.template_hash(one.spec.template, None) == rollout_revisions.template_hash(
        two.spec.template, None
    )
    assert rollout_revisions.template_hash(one.spec.template, 1) != rollout_revisions.template_hash(
        one.spec.template, None
    )
    assert set(rollout_revisions.template_hash(one.spec.template, None)) <= set(rollout_revisions.SAFE_LETTERS)
