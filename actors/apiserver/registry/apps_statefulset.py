"""The entry of StatefulSet (apps/v1)."""

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from kubeloop.actors.api.apps_v1 import (
    RollingUpdateStatefulSetStrategy,
    StatefulSetPersistentVolumeClaimRetentionPolicy,
    StatefulSetSpec,
    StatefulSetStatus,
    StatefulSetUpdateStrategy,
)
from kubeloop.actors.api.core_v1 import PersistentVolumeClaimStatus
from kubeloop.actors.api.errors import FieldError
from kubeloop.actors.apiserver.registry import workload_status
from kubeloop.actors.apiserver.registry.catalog import entry
from kubeloop.actors.apiserver.registry.fields import (
    Errors,
    check_non_negative,
    forbidden,
    invalid,
    unsupported,
)
from kubeloop.actors.apiserver.registry.pod_defaults import default_claim_spec, default_pod_template, each
from kubeloop.actors.apiserver.registry.pod_warnings import pod_template_warnings
from kubeloop.actors.apiserver.registry.printing import AGE, NAME, template_columns, text
from kubeloop.actors.apiserver.registry.strategy import keep_status, only_status, status_reset
from kubeloop.actors.apiserver.registry.workloads import check_running_template, check_selector, check_template_matches

_RETAIN = "Retain"
_MAY_CHANGE = (
    "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', "
    "'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
)
_MUTABLE = (
    "replicas",
    "ordinals",
    "template",
    "update_strategy",
    "revision_history_limit",
    "persistent_volume_claim_retention_policy",
    "min_ready_seconds",
)
_PENDING = PersistentVolumeClaimStatus(phase="Pending")


def default_stateful_set(obj: Any) -> Any:
    spec = obj.spec if obj.spec is not None else StatefulSetSpec()
    changes: dict[str, Any] = {}
    template = default_pod_template(spec.template)
    if template is not spec.template:
        changes["template"] = template
    for field, value in (
        ("pod_management_policy", "OrderedReady"),
        ("service_name", ""),
        ("replicas", 1),
        ("revision_history_limit", 10),
    ):
        if getattr(spec, field) is None:
            changes[field] = value
    changes |= _default_update_strategy(spec.update_strategy)
    policy = spec.persistent_volume_claim_retention_policy
    if policy is None or not policy.when_deleted or not policy.when_scaled:
        changes["persistent_volume_claim_retention_policy"] = StatefulSetPersistentVolumeClaimRetentionPolicy(
            when_deleted=(policy.when_deleted if policy is not None else "") or _RETAIN,
            when_scaled=(policy.when_scaled if policy is not None else "") or _RETAIN,
        )
    if spec.volume_claim_templates:
        claims = each(spec.volume_claim_templates, _default_claim)
        if claims is not spec.volume_claim_templates:
            changes["volume_claim_templates"] = claims
    return replace(obj, spec=replace(spec, **changes)) if changes or obj.spec is None else obj


def _default_update_strategy(strategy: Any) -> dict[str, Any]:
    if strategy is None:
        strategy = StatefulSetUpdateStrategy()
    if strategy.type not in (None, "", "RollingUpdate"):
        return {}
    rolling = strategy.rolling_update
    if strategy.type and rolling is not None and rolling.partition is not None:
        return {}
    if rolling is None:
        rolling = RollingUpdateStatefulSetStrategy(partition=0)
    elif rolling.partition is None:
        rolling = replace(rolling, partition=0)
    return {"update_strategy": StatefulSetUpdateStrategy(type="RollingUpdate", rolling_update=rolling)}


def _default_claim(claim: Any) -> Any:
    spec = default_claim_spec(claim.spec) if claim.spec is not None else claim.spec
    if spec is claim.spec and claim.status.phase and claim.kind:
        return claim
    return replace(
        claim,
        api_version=claim.api_version or "v1",
        kind=claim.kind or "PersistentVolumeClaim",
        spec=spec,
        status=claim.status if claim.status.phase else _PENDING,
    )


def validate_stateful_set(obj: Any) -> Sequence[FieldError]:
    errors: Errors = []
    spec = obj.spec
    if spec.pod_management_policy not in ("OrderedReady", "Parallel"):
        errors.append(
            invalid("spec.podManagementPolicy", spec.pod_management_policy, "must be 'OrderedReady' or 'Parallel'")
        )
    strategy = spec.update_strategy
    if strategy.type == "OnDelete":
        if strategy.rolling_update is not None:
            errors.append(
                invalid(
                    "spec.updateStrategy.rollingUpdate",
                    {"Partition": strategy.rolling_update.partition, "MaxUnavailable": None},
                    "only allowed for updateStrategy 'RollingUpdate'",
                )
            )
    elif strategy.type == "RollingUpdate":
        check_non_negative(errors, "spec.updateStrategy.rollingUpdate.partition", strategy.rolling_update.partition)
    else:
        shown = {"Type": strategy.type, "RollingUpdate": None}
        errors.append(invalid("spec.updateStrategy", shown, "must be 'RollingUpdate' or 'OnDelete'"))
    policy = spec.persistent_volume_claim_retention_policy
    for value, name in ((policy.when_deleted, "whenDeleted"), (policy.when_scaled, "whenScaled")):
        if value not in ("Delete", "Retain"):
            errors.append(unsupported(f"spec.persistentVolumeClaimRetentionPolicy.{name}", value, ("Retain", "Delete")))
    check_non_negative(errors, "spec.replicas", spec.replicas)
    check_non_negative(errors, "spec.minReadySeconds", spec.min_ready_seconds)
    if spec.ordinals is not None:
        check_non_negative(errors, "spec.ordinals.start", spec.ordinals.start)
    if check_selector(errors, spec.selector, "statefulset"):
        check_template_matches(errors, spec.selector, spec.template)
        check_running_template(errors, spec.template, "StatefulSet")
    check_non_negative(errors, "spec.revisionHistoryLimit", spec.revision_history_limit)
    return errors


def validate_stateful_set_update(new: Any, old: Any) -> Sequence[FieldError]:
    if new.spec is old.spec:
        return ()
    munged = replace(new.spec, **{field: getattr(old.spec, field) for field in _MUTABLE})
    return () if munged == old.spec else (forbidden("spec", _MAY_CHANGE),)


def _ready_cell(obj: Any, now: float) -> str:
    ready = obj.status.ready_replicas if obj.status is not None else None
    return f"{ready or 0}/{obj.spec.replicas or 0}"


STATEFUL_SET = entry(
    "apps",
    "v1",
    "statefulsets",
    tracks_generation=True,
    default=default_stateful_set,
    prepare_for_create=status_reset(StatefulSetStatus(available_replicas=0, replicas=0)),
    prepare_for_update=keep_status,
    prepare_for_status_update=only_status,
    validate=validate_stateful_set,
    validate_update=validate_stateful_set_update,
    validate_status_update=workload_status.STATEFUL_SET,
    warnings=lambda obj: pod_template_warnings("spec.template", obj.spec.template),
    scale={"specReplicas": "spec.replicas", "statusReplicas": "status.replicas", "selector": "spec.selector"},
    columns=(
        NAME,
        text("Ready", _ready_cell),
        AGE,
        *template_columns(lambda obj: obj.spec.template),
    ),
)
