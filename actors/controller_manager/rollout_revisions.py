"""Revisions of a Deployment: which ReplicaSet stands for which pod template, and the annotations that number them.

The hash is the one that kube-controller-manager takes, so ReplicaSets are called as in a real cluster; another is taken
(collisionCount) when a ReplicaSet of that name holds another template.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from kubeloop.actors.api.apps_v1 import Deployment, ReplicaSet, ReplicaSetSpec
from kubeloop.actors.api.core_v1 import PodTemplateSpec
from kubeloop.actors.api.meta_v1 import LabelSelector, ObjectMeta, OwnerReference
from kubeloop.actors.controller_manager.go_printing import printed
from kubeloop.actors.controller_manager.rollout_arithmetic import (
    DESIRED_REPLICAS,
    MAX_REPLICAS,
    annotation_count,
    created,
    max_surge,
    replicas_of,
    spec_of,
)

REVISION = "deployment.kubernetes.io/revision"
REVISION_HISTORY = "deployment.kubernetes.io/revision-history"
POD_TEMPLATE_HASH = "pod-template-hash"
NOT_COPIED = (
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    REVISION_HISTORY,
    DESIRED_REPLICAS,
    MAX_REPLICAS,
    "deprecated.deployment.rollback.to",
)
# No vowels, and no digits that look like them: names that spell nothing.
SAFE_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
REVISION_HISTORY_CHARACTERS_MAX = 2000
FNV_START, FNV_PRIME = 2166136261, 16777619
REMEMBERED_MAX = 2000

_hashes: dict[tuple[int, int | None], tuple[PodTemplateSpec, str]] = {}
_canonical = msgspec.json.Encoder(order="deterministic")


def template_fingerprint(template: PodTemplateSpec) -> bytes:
    """Equal for templates that differ in nothing but the pod-template-hash label."""
    metadata = template.metadata
    if POD_TEMPLATE_HASH in metadata.labels:
        labels = {key: value for key, value in metadata.labels.items() if key != POD_TEMPLATE_HASH}
        template = msgspec.structs.replace(template, metadata=msgspec.structs.replace(metadata, labels=labels))
    return _canonical.encode(template)


def template_hash(template: PodTemplateSpec, collision_count: int | None) -> str:
    """The value of the pod-template-hash label: ten safe letters or fewer."""
    key = (id(template), collision_count)
    known = _hashes.get(key)
    if known is not None and known[0] is template:
        return known[1]
    data = printed(msgspec.to_builtins(template), "v1.PodTemplateSpec").encode()
    if collision_count is not None:
        data += collision_count.to_bytes(8, "little")
    number = FNV_START  # FNV-1a, 32 bits
    for byte in data:
        number = ((number ^ byte) * FNV_PRIME) & 0xFFFFFFFF
    if len(_hashes) >= REMEMBERED_MAX:
        _hashes.clear()
    _hashes[key] = (template, safe_letters(number))
    return _hashes[key][1]


def safe_letters(number: int) -> str:
    return "".join(SAFE_LETTERS[ord(digit) % len(SAFE_LETTERS)] for digit in str(number))


def find_new(deployment: Deployment, replica_sets: Sequence[ReplicaSet]) -> ReplicaSet | None:
    """The oldest ReplicaSet that has the Deployment's present template."""
    wanted = template_fingerprint(spec_of(deployment).template)
    for replica_set in sorted(replica_sets, key=created):
        if template_fingerprint(replica_set.spec.template) == wanted:
            return replica_set
    return None


def revision_of(replica_set: ReplicaSet) -> int:
    return annotation_count(replica_set, REVISION) or 0


def annotations_of(obj: Deployment | ReplicaSet) -> Mapping[str, str]:
    return obj.metadata.annotations


def copied_annotations(deployment: Deployment) -> dict[str, str]:
    return {key: value for key, value in annotations_of(deployment).items() if key not in NOT_COPIED}


def scale_annotations(deployment: Deployment) -> dict[str, str]:
    """What a ReplicaSet remembers of the scale that it was last sized for."""
    wanted = replicas_of(deployment)
    return {DESIRED_REPLICAS: str(wanted), MAX_REPLICAS: str(wanted + max_surge(deployment))}


def renumbered(deployment: Deployment, replica_set: ReplicaSet, revision: int) -> Mapping[str, str]:
    """The annotations of the ReplicaSet in use, when it is to be at least `revision`.

    An older revision that comes into use again (a rollback) gets the new number and remembers the old one.
    """
    annotations = {**annotations_of(replica_set), **copied_annotations(deployment)}
    current = revision_of(replica_set)
    if current < revision:
        annotations[REVISION] = str(revision)
        if current > 0:
            history = [number for number in annotations.get(REVISION_HISTORY, "").split(",") if number]
            if str(current) not in history:
                history.append(str(current))
            while len(",".join(history)) > REVISION_HISTORY_CHARACTERS_MAX:
                history.pop(0)
            annotations[REVISION_HISTORY] = ",".join(history)
    return annotations


def make_replica_set(deployment: Deployment, revision: int, replicas: int) -> ReplicaSet:
    """The ReplicaSet for the Deployment's present template."""
    spec, metadata = spec_of(deployment), deployment.metadata
    assert metadata.name is not None
    status = deployment.status
    hash_ = template_hash(spec.template, status.collision_count)
    template = spec.template
    template_metadata = template.metadata
    labels = {**template_metadata.labels, POD_TEMPLATE_HASH: hash_}
    selector = spec.selector or LabelSelector()
    return ReplicaSet(
        metadata=ObjectMeta(
            name=f"{metadata.name[: 253 - len(hash_) - 1]}-{hash_}",
            namespace=metadata.namespace,
            labels=labels,
            annotations={**copied_annotations(deployment), **scale_annotations(deployment), REVISION: str(revision)},
            owner_references=(
                OwnerReference(
                    api_version="apps/v1",
                    kind="Deployment",
                    name=metadata.name,
                    uid=metadata.uid,
                    controller=True,
                    block_owner_deletion=True,
                ),
            ),
        ),
        spec=ReplicaSetSpec(
            replicas=replicas,
            min_ready_seconds=spec.min_ready_seconds,
            selector=msgspec.structs.replace(
                selector, match_labels={**selector.match_labels, POD_TEMPLATE_HASH: hash_}
            ),
            template=msgspec.structs.replace(
                template, metadata=msgspec.structs.replace(template_metadata, labels=labels)
            ),
        ),
    )
