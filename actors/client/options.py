"""Query parameters and DeleteOptions as the API spells them."""

from collections.abc import Mapping
from typing import Any

from kubeloop.actors.apiserver.messages import NO_OPTIONS


def query_options(**options: Any) -> Mapping[str, str]:
    given = {name: value for name, value in options.items() if value is not None}
    if not given:
        return NO_OPTIONS
    return {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in given.items()}


def write_options(dry_run: bool, field_manager: str | None, field_validation: str | None) -> Mapping[str, str]:
    if not dry_run and field_manager is None and field_validation is None:
        return NO_OPTIONS
    return query_options(
        dryRun="All" if dry_run else None, fieldManager=field_manager, fieldValidation=field_validation
    )


def delete_options(
    grace_period_seconds: int | None, propagation_policy: str | None, preconditions: Mapping[str, str] | None
) -> dict[str, Any] | None:
    given = {
        "gracePeriodSeconds": grace_period_seconds,
        "propagationPolicy": propagation_policy,
        "preconditions": dict(preconditions) if preconditions else None,
    }
    body = {name: value for name, value in given.items() if value is not None}
    return {"apiVersion": "v1", "kind": "DeleteOptions", **body} if body else None
