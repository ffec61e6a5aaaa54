"""Objects for the plan tests, with as little in them as the decision needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kubeloop.actors.api.apps_v1 import (
    Deployment,
    DeploymentSpec,
    DeploymentStatus,
    DeploymentStrategy,
    ReplicaSet,
    ReplicaSetStatus,
    RollingUpdateDeployment,
)
from kubeloop.actors.api.core_v1 import (
    Container,
    Pod,
    PodCondition,
    PodIP,
    PodSpec,
    PodStatus,
    PodTemplateSpec,
    Service,
    ServicePort,
    ServiceSpec,
)
from kubeloop.actors.api.meta_v1 import LabelSelector, ObjectMeta
from kubeloop.actors.controller_manager import rollout, rollout_revisions
from kubeloop.runtime.clock import format_rfc3339

NOW = 1_800_000_000.0
LABELS = {"app": "web"}


def template(image: str = "web:1", labels: Mapping[str, str] = LABELS) -> PodTemplateSpec:
    return PodTemplateSpec(
        metadata=ObjectMeta(labels=labels), spec=PodSpec(containers=(Container(name="web", image=image),))
    )


def deployment(
    replicas: int = 10,
    image: str = "web:1",
    *,
    surge: int | str = "25%",
    unavailable: int | str = "25%",
    recreate: bool = False,
    status: DeploymentStatus | None = None,
    annotations: Mapping[str, str] | None = None,
    **spec: Any,
) -> Deployment:
    rolling = RollingUpdateDeployment(max_surge=surge, max_unavailable=unavailable)
    strategy = (
        DeploymentStrategy(type="Recreate")
        if recreate
        else DeploymentStrategy(type="RollingUpdate", rolling_update=rolling)
    )
    return Deployment(
        metadata=ObjectMeta(name="web", namespace="default", uid="d-1", generation=1, annotations=annotations or {}),
        spec=DeploymentSpec(
            replicas=replicas,
            selector=LabelSelector(match_labels=LABELS),
            template=template(image),
            strategy=strategy,
            progress_deadline_seconds=spec.pop("progress_deadline_seconds", 600),
            revision_history_limit=spec.pop("revision_history_limit", 10),
            **spec,
        ),
        status=status or DeploymentStatus(),
    )


def replica_set(
    owner: Deployment,
    replicas: int,
    *,
    available: int | None = None,
    revision: int = 1,
    age: float = 100.0,
    sized: bool = True,
) -> ReplicaSet:
    """The ReplicaSet of the Deployment's template, sized for its scale; all of its pods are there."""
    import msgspec

    made = rollout_revisions.make_replica_set(owner, revision, replicas)
    annotations = dict(made.metadata.annotations)
    if not sized:
        annotations = {rollout_revisions.REVISION: str(revision)}
    metadata = msgspec.structs.replace(
        made.metadata,
        uid=f"rs-{made.metadata.name}",
        creation_timestamp=format_rfc3339(NOW - age),
        generation=1,
        annotations=annotations,
    )
    up = replicas if available is None else available
    status = ReplicaSetStatus(
        replicas=replicas, ready_replicas=up, available_replicas=up, observed_generation=1, terminating_replicas=0
    )
    return msgspec.structs.replace(made, metadata=metadata, status=status)


def pod(
    name: str = "p",
    *,
    node: str = "",
    phase: str = "Running",
    ready: bool = True,
    ready_for: float = 100.0,
    age: float = 200.0,
    ip: str = "",
    labels: Mapping[str, str] = LABELS,
    annotations: Mapping[str, str] | None = None,
    deleting: bool = False,
    spec: Mapping[str, Any] | None = None,
) -> Pod:
    condition = PodCondition(
        type="Ready", status="True" if ready else "False", last_transition_time=format_rfc3339(NOW - ready_for)
    )
    return Pod(
        metadata=ObjectMeta(
            name=name,
            namespace="default",
            uid=f"uid-{name}",
            labels=labels,
            annotations=annotations or {},
            creation_timestamp=format_rfc3339(NOW - age),
            deletion_timestamp=format_rfc3339(NOW) if deleting else None,
        ),
        spec=PodSpec(node_name=node or None, containers=(Container(name="web"),), **(spec or {})),
        status=PodStatus(
            phase=phase, conditions=(condition,), pod_ip=ip or None, pod_ips=(PodIP(ip=ip),) if ip else ()
        ),
    )


def service(*, ports: Sequence[ServicePort] = (ServicePort(port=80),), **spec: Any) -> Service:
    spec.setdefault("cluster_ip", "10.0.0.1")
    return Service(
        metadata=ObjectMeta(name="web", namespace="default", uid="s-1"),
        spec=ServiceSpec(selector=LABELS, ports=ports, **spec),
    )


def sizes(actions: Sequence[rollout.Action]) -> dict[str, int]:
    """What the plan scales, by revision."""
    return {
        action.replica_set.metadata.annotations[rollout_revisions.REVISION]: action.replica_set.spec.replicas or 0
        for action in actions
        if isinstance(action, rollout.UpdateReplicaSet)
    }
