"""A Deployment's status and conditions, in the words that `kubectl rollout status` and `kubectl wait` read.

https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#deployment-status
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from kubeloop.actors.api.apps_v1 import Deployment, DeploymentCondition, DeploymentStatus, ReplicaSet
from kubeloop.actors.controller_manager.pod_facts import condition_of
from kubeloop.actors.controller_manager.rollout_arithmetic import (
    max_unavailable,
    replicas_of,
    rs_status_replicas,
    spec_of,
)
from kubeloop.runtime.clock import format_rfc3339, parse_rfc3339

AVAILABLE, PROGRESSING, REPLICA_FAILURE = "Available", "Progressing", "ReplicaFailure"
NEW_REPLICA_SET_AVAILABLE = "NewReplicaSetAvailable"
PROGRESS_DEADLINE_EXCEEDED = "ProgressDeadlineExceeded"
NO_DEADLINE_SECONDS = 2**31 - 1

Conditions = tuple[DeploymentCondition, ...]


def has_progress_deadline(deployment: Deployment) -> bool:
    deadline = spec_of(deployment).progress_deadline_seconds
    return deadline is not None and deadline != NO_DEADLINE_SECONDS


def with_condition(
    conditions: Conditions, type_: str, status: str, reason: str, message: str, now: float
) -> Conditions:
    """`conditions` with that one in; unchanged when its status and reason are what they were."""
    current: DeploymentCondition | None = condition_of(conditions, type_)
    if current is not None and current.status == status and current.reason == reason:
        return conditions
    text = format_rfc3339(now)
    same_status = current is not None and current.status == status
    transition = current.last_transition_time if current is not None and same_status else text
    condition = DeploymentCondition(
        type=type_,
        status=status,
        reason=reason,
        message=message,
        last_update_time=text,
        last_transition_time=transition,
    )
    return (*without(conditions, type_), condition)


def without(conditions: Conditions, type_: str) -> Conditions:
    return tuple(condition for condition in conditions if condition.type != type_)


def counts(deployment: Deployment, replica_sets: Sequence[ReplicaSet], new: ReplicaSet | None) -> DeploymentStatus:
    """The status' numbers, with the conditions as they were but Available, which follows from the numbers."""
    statuses = [replica_set.status for replica_set in replica_sets]
    total = sum(status.replicas or 0 for status in statuses)
    available = sum(status.available_replicas or 0 for status in statuses)
    metadata, old = deployment.metadata, deployment.status
    return DeploymentStatus(
        observed_generation=metadata.generation,
        replicas=total or None,
        updated_replicas=(rs_status_replicas(new) if new is not None else 0) or None,
        ready_replicas=sum(status.ready_replicas or 0 for status in statuses) or None,
        available_replicas=available or None,
        unavailable_replicas=max(0, total - available) or None,
        terminating_replicas=sum(status.terminating_replicas or 0 for status in statuses),
        collision_count=old.collision_count,
        conditions=tuple(old.conditions),
    )


def with_available(deployment: Deployment, status: DeploymentStatus, now: float) -> DeploymentStatus:
    enough = (status.available_replicas or 0) >= replicas_of(deployment) - max_unavailable(deployment)
    conditions = tuple(status.conditions)
    if enough:
        message = "Deployment has minimum availability."
        conditions = with_condition(conditions, AVAILABLE, "True", "MinimumReplicasAvailable", message, now)
    else:
        message = "Deployment does not have minimum availability."
        conditions = with_condition(conditions, AVAILABLE, "False", "MinimumReplicasUnavailable", message, now)
    return msgspec.structs.replace(status, conditions=conditions)


def is_complete(deployment: Deployment, status: DeploymentStatus) -> bool:
    """Every pod is of the new template, available, and no old one runs."""
    wanted = replicas_of(deployment)
    generation = deployment.metadata.generation or 0
    return (
        (status.updated_replicas or 0) == wanted
        and (status.replicas or 0) == wanted
        and (status.available_replicas or 0) == wanted
        and (status.observed_generation or 0) >= generation
    )


def is_progressing(deployment: Deployment, new: DeploymentStatus) -> bool:
    """More new pods, fewer old ones, or more of them ready than at the last look."""
    old = deployment.status
    new_old_pods = (new.replicas or 0) - (new.updated_replicas or 0)
    old_old_pods = (old.replicas or 0) - (old.updated_replicas or 0)
    return (
        (new.updated_replicas or 0) > (old.updated_replicas or 0)
        or new_old_pods < old_old_pods
        or (new.ready_replicas or 0) > (old.ready_replicas or 0)
        or (new.available_replicas or 0) > (old.available_replicas or 0)
    )


def seconds_to_deadline(deployment: Deployment, status: DeploymentStatus, now: float) -> float | None:
    """Seconds until the rollout counts as stuck (0 or less: it does); None when it cannot get stuck."""
    current: DeploymentCondition | None = condition_of(status.conditions, PROGRESSING)
    if current is None or not has_progress_deadline(deployment) or current.reason == NEW_REPLICA_SET_AVAILABLE:
        return None
    if current.reason == PROGRESS_DEADLINE_EXCEEDED or not current.last_update_time:
        return 0.0 if current.reason == PROGRESS_DEADLINE_EXCEEDED else None
    deadline = spec_of(deployment).progress_deadline_seconds or 0
    return parse_rfc3339(current.last_update_time) + deadline - now


def rollout_status(
    deployment: Deployment,
    replica_sets: Sequence[ReplicaSet],
    new: ReplicaSet | None,
    conditions: Conditions,
    now: float,
) -> DeploymentStatus:
    """The whole status of a Deployment whose rollout goes on; `conditions` are its own plus what this pass added."""
    status = msgspec.structs.replace(counts(deployment, replica_sets, new), conditions=conditions)
    status = with_available(deployment, status, now)
    conditions = tuple(status.conditions)
    if not has_progress_deadline(deployment):
        conditions = without(conditions, PROGRESSING)
    else:
        conditions = _progress(deployment, status, new, now)
    return msgspec.structs.replace(status, conditions=_with_failure(conditions, replica_sets, new))


def _progress(deployment: Deployment, status: DeploymentStatus, new: ReplicaSet | None, now: float) -> Conditions:
    conditions = tuple(status.conditions)
    current: DeploymentCondition | None = condition_of(conditions, PROGRESSING)
    done = current is not None and current.reason == NEW_REPLICA_SET_AVAILABLE
    if done and (status.replicas or 0) == (status.updated_replicas or 0):
        return conditions
    who = _who(deployment, new)
    if is_complete(deployment, status):
        message = f"{who} has successfully progressed."
        return with_condition(conditions, PROGRESSING, "True", NEW_REPLICA_SET_AVAILABLE, message, now)
    if is_progressing(deployment, status):
        text = format_rfc3339(now)
        since = current.last_transition_time if current is not None and current.status == "True" else text
        condition = DeploymentCondition(
            type=PROGRESSING,
            status="True",
            reason="ReplicaSetUpdated",
            message=f"{who} is progressing.",
            last_update_time=text,
            last_transition_time=since,
        )
        return (*without(conditions, PROGRESSING), condition)
    left = seconds_to_deadline(deployment, status, now)
    if left is not None and left <= 0:
        message = f"{who} has timed out progressing."
        return with_condition(conditions, PROGRESSING, "False", PROGRESS_DEADLINE_EXCEEDED, message, now)
    return conditions


def _who(deployment: Deployment, new: ReplicaSet | None) -> str:
    if new is not None:
        return f'ReplicaSet "{new.metadata.name}"'
    return f'Deployment "{deployment.metadata.name}"'


def _with_failure(conditions: Conditions, replica_sets: Sequence[ReplicaSet], new: ReplicaSet | None) -> Conditions:
    """ReplicaFailure as the new ReplicaSet reports it, or an old one."""
    ordered = [new, *replica_sets] if new is not None else list(replica_sets)
    for replica_set in ordered:
        found = condition_of(replica_set.status.conditions, REPLICA_FAILURE)
        if found is not None:
            condition = DeploymentCondition(
                type=REPLICA_FAILURE,
                status=found.status,
                reason=found.reason,
                message=found.message,
                last_transition_time=found.last_transition_time,
                last_update_time=found.last_transition_time,
            )
            return (*without(conditions, REPLICA_FAILURE), condition)
    return without(conditions, REPLICA_FAILURE)


def paused_conditions(deployment: Deployment, now: float) -> Conditions:
    """The conditions, with what pausing and resuming say in them."""
    conditions = tuple(deployment.status.conditions)
    current: DeploymentCondition | None = condition_of(conditions, PROGRESSING)
    if not has_progress_deadline(deployment):
        return conditions
    if current is not None and current.reason == PROGRESS_DEADLINE_EXCEEDED:
        return conditions
    was_paused = current is not None and current.reason == "DeploymentPaused"
    if spec_of(deployment).paused and not was_paused:
        return with_condition(conditions, PROGRESSING, "Unknown", "DeploymentPaused", "Deployment is paused", now)
    if not spec_of(deployment).paused and was_paused:
        return with_condition(conditions, PROGRESSING, "Unknown", "DeploymentResumed", "Deployment is resumed", now)
    return conditions
