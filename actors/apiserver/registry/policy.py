"""The entry of PodDisruptionBudget (policy/v1)."""

from collections.abc import Sequence
from typing import Any

from kubeloop.actors.api.errors import FieldError
from kubeloop.actors.api.policy_v1 import PodDisruptionBudgetStatus
from kubeloop.actors.apiserver.registry import workload_status
from kubeloop.actors.apiserver.registry.catalog import entry
from kubeloop.actors.apiserver.registry.fields import (
    Errors,
    check_int_or_percent,
    check_label_selector,
    check_one_of,
    check_percent_at_most_100,
    invalid,
)
from kubeloop.actors.apiserver.registry.printing import AGE, NAME, integer, text
from kubeloop.actors.apiserver.registry.strategy import keep_status, only_status, status_reset
from kubeloop.actors.apiserver.registry.workloads import selector_json

_NO_PODS = PodDisruptionBudgetStatus(current_healthy=0, desired_healthy=0, disruptions_allowed=0, expected_pods=0)


def validate_budget(obj: Any) -> Sequence[FieldError]:
    errors: Errors = []
    spec = obj.spec
    if spec.min_available is not None and spec.max_unavailable is not None:
        shown = {
            "MinAvailable": spec.min_available,
            "Selector": selector_json(spec.selector) if spec.selector is not None else None,
            "MaxUnavailable": spec.max_unavailable,
            "UnhealthyPodEvictionPolicy": spec.unhealthy_pod_eviction_policy,
        }
        errors.append(invalid("spec", shown, "minAvailable and maxUnavailable cannot be both set"))
    for value, name in ((spec.min_available, "minAvailable"), (spec.max_unavailable, "maxUnavailable")):
        if value is not None:
            check_int_or_percent(errors, f"spec.{name}", value)
            check_percent_at_most_100(errors, f"spec.{name}", value)
    check_label_selector(errors, "spec.selector", spec.selector)
    if spec.unhealthy_pod_eviction_policy is not None:
        check_one_of(
            errors,
            "spec.unhealthyPodEvictionPolicy",
            spec.unhealthy_pod_eviction_policy,
            ("AlwaysAllow", "IfHealthyBudget"),
        )
    return errors


def _or_not(value: int | str | None) -> str:
    return "N/A" if value is None else str(value)


KINDS = (
    entry(
        "policy",
        "v1",
        "poddisruptionbudgets",
        prepare_for_create=status_reset(_NO_PODS),
        prepare_for_update=keep_status,
        prepare_for_status_update=only_status,
        validate_status_update=workload_status.DISRUPTION_BUDGET,
        validate=validate_budget,
        tracks_generation=True,
        unconditional_update=False,
        columns=(
            NAME,
            text("Min Available", lambda obj, now: _or_not(obj.spec.min_available)),
            text("Max Unavailable", lambda obj, now: _or_not(obj.spec.max_unavailable)),
            integer("Allowed Disruptions", lambda obj, now: obj.status.disruptions_allowed or 0),
            AGE,
        ),
    ),
)
