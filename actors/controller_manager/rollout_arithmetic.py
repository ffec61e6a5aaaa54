"""The arithmetic of a Deployment: surge, unavailable, and how a change of scale is shared out.

https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#rolling-update-deployment
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kubeloop.actors.api.apps_v1 import Deployment, DeploymentSpec, ReplicaSet

DESIRED_REPLICAS = "deployment.kubernetes.io/desired-replicas"
MAX_REPLICAS = "deployment.kubernetes.io/max-replicas"


def resolve(value: int | str | None, total: int, *, round_up: bool) -> int:
    """A count, or a percentage of `total`. Raises ValueError for a string that is no percentage."""
    if value is None:
        return 0
    if isinstance(value, int):
        return value
    if not value.endswith("%"):
        raise ValueError(f"invalid value for IntOrString: string is not a percentage: {value!r}")
    hundredths = int(value[:-1]) * total
    return -(-hundredths // 100) if round_up else hundredths // 100


def spec_of(deployment: Deployment) -> DeploymentSpec:
    return deployment.spec


def replicas_of(deployment: Deployment) -> int:
    replicas = spec_of(deployment).replicas
    return 1 if replicas is None else replicas


def is_rolling(deployment: Deployment) -> bool:
    strategy = spec_of(deployment).strategy
    return strategy is None or strategy.type != "Recreate"


def surge_and_unavailable(deployment: Deployment) -> tuple[int, int]:
    """(maxSurge, maxUnavailable) in pods: surge rounds up, unavailable down, and both are never zero at once."""
    if not is_rolling(deployment):
        return 0, 0
    strategy = spec_of(deployment).strategy
    rolling = strategy.rolling_update if strategy is not None else None
    replicas = replicas_of(deployment)
    surge = resolve(rolling.max_surge if rolling is not None else "25%", replicas, round_up=True)
    unavailable = resolve(rolling.max_unavailable if rolling is not None else "25%", replicas, round_up=False)
    if surge == 0 and unavailable == 0:
        unavailable = 1
    return surge, unavailable


def max_surge(deployment: Deployment) -> int:
    return surge_and_unavailable(deployment)[0]


def max_unavailable(deployment: Deployment) -> int:
    """Pods that may be unavailable during a rolling update: never more than there should be."""
    if not is_rolling(deployment) or replicas_of(deployment) == 0:
        return 0
    return min(surge_and_unavailable(deployment)[1], replicas_of(deployment))


def rs_replicas(replica_set: ReplicaSet) -> int:
    """What its spec asks for."""
    replicas = replica_set.spec.replicas
    return 1 if replicas is None else replicas


def rs_available(replica_set: ReplicaSet) -> int:
    return replica_set.status.available_replicas or 0


def rs_status_replicas(replica_set: ReplicaSet) -> int:
    return replica_set.status.replicas or 0


def created(replica_set: ReplicaSet) -> tuple[str, str]:
    """Sorts by age, oldest first; the name breaks ties."""
    metadata = replica_set.metadata
    return (metadata.creation_timestamp or "", metadata.name or "")


def annotation_count(replica_set: ReplicaSet, annotation: str) -> int | None:
    """A number kept in an annotation; None when there is none that can be read."""
    text = replica_set.metadata.annotations.get(annotation)
    try:
        return int(text) if text is not None else None
    except ValueError:
        return None


def new_replica_set_size(deployment: Deployment, replica_sets: Sequence[ReplicaSet], current: int) -> int:
    """What the newest ReplicaSet may grow to now, as far as the surge allows; `current` is its size (0: to be made)."""
    wanted = replicas_of(deployment)
    if not is_rolling(deployment):
        return wanted
    pods = sum(rs_replicas(replica_set) for replica_set in replica_sets)
    room = wanted + max_surge(deployment) - pods
    if room <= 0:
        return current
    return current + min(room, wanted - current)


def proportional_sizes(deployment: Deployment, active: Sequence[ReplicaSet]) -> Mapping[str, int]:
    """New sizes (by name) of the ReplicaSets that share a change of scale in the middle of a rollout.

    Each gets its share by its size; what rounding leaves over goes to the largest.
    https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#proportional-scaling
    """
    wanted = replicas_of(deployment)
    allowed = wanted + max_surge(deployment) if wanted > 0 else 0
    to_add = allowed - sum(rs_replicas(replica_set) for replica_set in active)
    by_age = sorted(active, key=created, reverse=to_add > 0)
    by_size = sorted(by_age, key=rs_replicas, reverse=True)
    sizes: dict[str, int] = {}
    added = 0
    for replica_set in by_size:
        share = _share(deployment, replica_set, to_add, added)
        sizes[_name(replica_set)] = rs_replicas(replica_set) + share
        added += share
    if by_size and to_add != added:
        largest = _name(by_size[0])
        sizes[largest] = max(0, sizes[largest] + to_add - added)
    return sizes


def _share(deployment: Deployment, replica_set: ReplicaSet, to_add: int, added: int) -> int:
    size = rs_replicas(replica_set)
    rest = to_add - added
    if size == 0 or rest == 0:
        return 0
    wanted = replicas_of(deployment)
    if wanted == 0:
        fraction = -size
    else:
        before = annotation_count(replica_set, MAX_REPLICAS)
        if before is None:
            before = deployment.status.replicas or 0
        if before == 0:
            return 0
        fraction = _round_half_up(size * (wanted + max_surge(deployment)), before) - size
    return min(fraction, rest) if to_add > 0 else max(fraction, rest)


def _round_half_up(numerator: int, denominator: int) -> int:
    return (2 * numerator + denominator) // (2 * denominator)


def _name(replica_set: ReplicaSet) -> str:
    assert replica_set.metadata.name is not None
    return replica_set.metadata.name
