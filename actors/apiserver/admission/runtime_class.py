"""RuntimeClass: a pod that names a class takes over its overhead, and runs only where the class can."""

from collections.abc import Mapping, Sequence
from typing import Any

from kubeloop.actors.api import errors
from kubeloop.actors.api.errors import StatusError, quoted
from kubeloop.actors.apiserver.call import Call

CLASSES = "runtimeclasses.node.k8s.io"


def admit(call: Call, pod: Any, namespace: str) -> Mapping[str, Any]:
    """Raises 403 for a class that is not there, or that the pod contradicts."""
    spec = pod.spec
    if spec.runtime_class_name is None:
        if spec.overhead:
            raise refused(pod, "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead")
        return {}
    found = call.server.lookup(CLASSES, "", spec.runtime_class_name)
    if found is None:
        raise refused(pod, f"pod rejected: RuntimeClass {quoted(spec.runtime_class_name)} not found")
    changes: dict[str, Any] = {}
    overhead = found.overhead.pod_fixed if found.overhead is not None else {}
    if spec.overhead and dict(spec.overhead) != dict(overhead):
        raise refused(pod, "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead")
    if overhead:
        changes["overhead"] = overhead
    if found.scheduling is not None:
        if found.scheduling.node_selector:
            changes["node_selector"] = merged_selector(pod, found.scheduling.node_selector)
        if found.scheduling.tolerations:
            changes["tolerations"] = merged_tolerations(spec.tolerations, found.scheduling.tolerations)
    return changes


def refused(pod: Any, text: str) -> StatusError:
    return errors.forbidden("pods", pod.metadata.name or "", text)


def merged_selector(pod: Any, wanted: Mapping[str, str]) -> Mapping[str, str]:
    own = pod.spec.node_selector
    for key, value in wanted.items():
        if own.get(key, value) != value:
            text = f"conflict: runtimeClass.scheduling.nodeSelector[{key}] = {value}; "
            raise refused(pod, f"{text}pod.spec.nodeSelector[{key}] = {own[key]}")
    return {**own, **wanted}


def merged_tolerations(own: Sequence[Any], more: Sequence[Any]) -> Sequence[Any]:
    """Both, without those that another one covers."""
    everything = [*own, *more]
    kept = []
    for index, toleration in enumerate(everything):
        covered = any(
            covers(other, toleration) and (number < index or not covers(toleration, other))
            for number, other in enumerate(everything)
            if number != index
        )
        if not covered:
            kept.append(toleration)
    return tuple(kept)


def covers(one: Any, other: Any) -> bool:
    """Whether `one` tolerates whatever `other` does."""
    if one == other:
        return True
    if (one.key and one.key != other.key) or (one.effect and one.effect != other.effect):
        return False
    ours, theirs = one.toleration_seconds, other.toleration_seconds
    if one.effect == "NoExecute" and ours is not None and (theirs is None or ours < theirs):
        return False
    if one.operator == "Exists":
        return True
    return other.operator in (None, "", "Equal") and bool(one.value == other.value)
