"""Priority: a pod's priorityClassName becomes its number and preemption policy; one class may be the default."""

from collections.abc import Mapping, Sequence
from typing import Any

from kubeloop.actors.api import errors
from kubeloop.actors.apiserver.call import Call

CLASSES = "priorityclasses.scheduling.k8s.io"
DEFAULT_POLICY = "PreemptLowerPriority"


def admit(call: Call, pod: Any, namespace: str) -> Mapping[str, Any]:
    spec = pod.spec
    name = spec.priority_class_name
    if name:
        found = call.server.lookup(CLASSES, "", name)
        if found is None:
            text = f"no PriorityClass with name {name} was found"
            raise errors.forbidden("pods", pod.metadata.name or "", text)
    else:
        found = call.server.derived(CLASSES, default_class)
    value = (found.value or 0) if found is not None else 0
    policy = (found.preemption_policy if found is not None else None) or DEFAULT_POLICY
    if spec.priority is not None and spec.priority != value:
        text = (
            f"the integer value of priority ({spec.priority}) must not be provided in pod spec; "
            f"priority admission controller computed {value} from the given PriorityClass name"
        )
        raise errors.forbidden("pods", pod.metadata.name or "", text)
    if spec.preemption_policy is not None and spec.preemption_policy != policy:
        text = (
            f"the string value of PreemptionPolicy ({spec.preemption_policy}) must not be provided in pod spec; "
            f"priority admission controller computed {policy} from the given PriorityClass name"
        )
        raise errors.forbidden("pods", pod.metadata.name or "", text)
    changes = {"priority": value, "preemption_policy": policy}
    if found is not None and not name:
        changes["priority_class_name"] = found.metadata.name
    return changes


def default_class(classes: Sequence[Any]) -> Any:
    """The class marked globalDefault with the lowest value; None when there is none."""
    marked = [one for one in classes if one.global_default]
    return min(marked, key=lambda one: one.value or 0) if marked else None


def check_class(call: Call, obj: Any, namespace: str) -> Mapping[str, Any]:
    """Only one class may be the global default."""
    if obj.global_default:
        for other in call.server.lookup_all(CLASSES, ""):
            if other.global_default and other.metadata.name != obj.metadata.name:
                text = f"PriorityClass {other.metadata.name} is already marked as default. Only one default can exist"
                raise errors.forbidden("priorityclasses", obj.metadata.name or "", text, "scheduling.k8s.io")
    return {}
