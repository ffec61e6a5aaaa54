"""What a deletion does to an object: decided here, carried out by handlers.delete. Pure.

Follows the garbage collection and finalizers pages: graceful deletion, deletionTimestamp, and the finalizers that a
propagation policy adds.
"""

from typing import Any

import msgspec

from kubeloop.actors.api.meta_v1 import ObjectMeta
from kubeloop.actors.apiserver.options import DeleteOptions
from kubeloop.runtime.clock import format_rfc3339, parse_rfc3339

ORPHAN = "orphan"
FOREGROUND = "foregroundDeletion"
DEFAULT_POD_GRACE_SECONDS = 30


class Plan(msgspec.Struct, frozen=True):
    """`metadata` None: nothing about the object changes. `remove`: it goes from the store now."""

    remove: bool
    metadata: ObjectMeta | None


def garbage_collection_finalizers(finalizers: tuple[str, ...], options: DeleteOptions, default: str) -> tuple[str, ...]:
    """The finalizers after the propagation policy had its say; `default` is the kind's policy."""
    policy = options.propagation_policy
    if policy is None and options.orphan_dependents is not None:
        policy = "Orphan" if options.orphan_dependents else "Background"
    if policy is None:
        if ORPHAN in finalizers:
            policy = "Orphan"
        elif FOREGROUND in finalizers:
            policy = "Foreground"
        else:
            policy = default
    kept = tuple(finalizer for finalizer in finalizers if finalizer not in (ORPHAN, FOREGROUND))
    if policy == "Orphan":
        return (*kept, ORPHAN)
    if policy == "Foreground":
        return (*kept, FOREGROUND)
    return kept


def grace_period_seconds(pod: Any, options: DeleteOptions) -> int:
    """A pod's grace: what is asked, else its spec's; none for one that no kubelet runs."""
    spec, status = pod.spec, pod.status
    if options.grace_period_seconds is not None:
        seconds = options.grace_period_seconds
    elif spec.termination_grace_period_seconds is not None:
        seconds = spec.termination_grace_period_seconds
    else:
        seconds = DEFAULT_POD_GRACE_SECONDS
    if seconds < 0:
        seconds = 1
    if not spec.node_name or (status is not None and status.phase in ("Failed", "Succeeded")):
        return 0
    return int(seconds)


def plan(metadata: ObjectMeta, options: DeleteOptions, *, now: float, default: str, grace: int | None) -> Plan:
    """`grace`: seconds for a kind that is deleted gracefully, None for one that is not. `now` in unix seconds."""
    finalizers = garbage_collection_finalizers(tuple(metadata.finalizers), options, default)
    changes: dict[str, Any] = {}
    if finalizers != tuple(metadata.finalizers):
        changes["finalizers"] = finalizers
    pending = metadata.deletion_timestamp is not None
    waits = False
    if grace is None:
        if not pending:
            changes.update(marked(metadata, 0, now))
    elif not pending:
        changes.update(marked(metadata, grace, now))
        waits = grace > 0
    else:
        left = metadata.deletion_grace_period_seconds or 0
        shorter = options.grace_period_seconds is not None and grace < left
        if shorter:
            started = parse_rfc3339(metadata.deletion_timestamp or "") - left
            changes["deletion_timestamp"] = format_rfc3339(started + grace)
            changes["deletion_grace_period_seconds"] = grace
            left = grace
        waits = left > 0
    remove = not waits and not finalizers
    return Plan(remove, msgspec.structs.replace(metadata, **changes) if changes else None)


def marked(metadata: ObjectMeta, grace: int, now: float) -> dict[str, Any]:
    changes: dict[str, Any] = {
        "deletion_timestamp": format_rfc3339(now + grace),
        "deletion_grace_period_seconds": grace,
    }
    if metadata.generation:
        changes["generation"] = metadata.generation + 1
    return changes


def may_go(metadata: ObjectMeta) -> bool:
    """After an update: being deleted, nothing left to wait for."""
    return (
        metadata.deletion_timestamp is not None
        and not metadata.finalizers
        and not metadata.deletion_grace_period_seconds
    )
