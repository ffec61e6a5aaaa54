"""Validation of what controllers report of workloads: counts are not negative, parts not more than the whole."""

from collections.abc import Callable, Sequence
from typing import Any

from kubeloop.actors.api.errors import FieldError
from kubeloop.actors.apiserver.registry.fields import Errors, check_non_negative, invalid

Counts = Sequence[tuple[str, str]]  # (field, JSON name)


def status_rules(
    counts: Counts, *, parts: Counts = (), whole: str = "replicas", ready_detail: str = ""
) -> Callable[[Any, Any], Sequence[FieldError]]:
    """A check of a new status: `counts` and `parts` are not negative, `parts` not greater than `whole`.

    `ready_detail`: what is said when more are available than ready; empty: nothing.
    """

    def validate(new: Any, old: Any) -> Sequence[FieldError]:
        errors: Errors = []
        status = new.status
        if status is None:
            return errors
        for field, name in (*counts, *parts):
            check_non_negative(errors, f"status.{name}", getattr(status, field))
        total = getattr(status, whole, None) or 0
        for field, name in parts:
            value = getattr(status, field) or 0
            if value > total:
                errors.append(invalid(f"status.{name}", value, "cannot be greater than status.replicas"))
        if ready_detail and (status.available_replicas or 0) > (status.ready_replicas or 0):
            errors.append(invalid("status.availableReplicas", status.available_replicas, ready_detail))
        return errors

    return validate


REPLICA_SET = status_rules(
    (("replicas", "replicas"), ("observed_generation", "observedGeneration")),
    parts=(
        ("fully_labeled_replicas", "fullyLabeledReplicas"),
        ("ready_replicas", "readyReplicas"),
        ("available_replicas", "availableReplicas"),
    ),
    ready_detail="cannot be greater than readyReplicas",
)
STATEFUL_SET = status_rules(
    (
        ("replicas", "replicas"),
        ("observed_generation", "observedGeneration"),
        ("collision_count", "collisionCount"),
    ),
    parts=(
        ("ready_replicas", "readyReplicas"),
        ("current_replicas", "currentReplicas"),
        ("updated_replicas", "updatedReplicas"),
        ("available_replicas", "availableReplicas"),
    ),
    ready_detail="cannot be greater than status.readyReplicas",
)
DAEMON_SET = status_rules(
    (
        ("current_number_scheduled", "currentNumberScheduled"),
        ("number_misscheduled", "numberMisscheduled"),
        ("desired_number_scheduled", "desiredNumberScheduled"),
        ("number_ready", "numberReady"),
        ("observed_generation", "observedGeneration"),
        ("updated_number_scheduled", "updatedNumberScheduled"),
        ("number_available", "numberAvailable"),
        ("number_unavailable", "numberUnavailable"),
        ("collision_count", "collisionCount"),
    )
)
DISRUPTION_BUDGET = status_rules(
    (
        ("disruptions_allowed", "disruptionsAllowed"),
        ("current_healthy", "currentHealthy"),
        ("desired_healthy", "desiredHealthy"),
        ("expected_pods", "expectedPods"),
    )
)
JOB = status_rules(
    (
        ("active", "active"),
        ("succeeded", "succeeded"),
        ("failed", "failed"),
        ("ready", "ready"),
        ("terminating", "terminating"),
    )
)
AUTOSCALER = status_rules((("current_replicas", "currentReplicas"), ("desired_replicas", "desiredReplicas")))
