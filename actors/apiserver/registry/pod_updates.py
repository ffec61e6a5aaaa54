"""What an update may change in a pod: through the pod itself, ephemeralcontainers and resize (core/v1)."""

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from kubeloop.actors.api.errors import FieldError, quoted
from kubeloop.actors.apiserver.registry.fields import (
    INT32_MAX,
    Errors,
    changes_shown,
    forbidden,
    invalid,
    required,
)
from kubeloop.actors.apiserver.registry.pod_containers import check_container_resources
from kubeloop.actors.apiserver.registry.pod_defaults import qos_class
from kubeloop.actors.apiserver.registry.pod_validation import check_ephemeral_containers

_MAY_CHANGE = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)
MIRROR = "kubernetes.io/config.mirror"


def validate_pod_update(new: Any, old: Any) -> Sequence[FieldError]:
    errors: Errors = []
    _check_mirror(errors, new, old)
    if new.spec is old.spec:
        return errors
    for kind in ("containers", "init_containers"):
        json_name = "containers" if kind == "containers" else "initContainers"
        if not _check_container_updates(errors, f"spec.{json_name}", getattr(new.spec, kind), getattr(old.spec, kind)):
            return errors
    if not _check_deadline(errors, new.spec.active_deadline_seconds, old.spec.active_deadline_seconds):
        return errors
    _check_tolerations_added(errors, new.spec.tolerations, old.spec.tolerations)
    _check_gates(errors, new.spec.scheduling_gates, old.spec.scheduling_gates)
    munged = replace(
        new.spec,
        containers=_with_old_images(new.spec.containers, old.spec.containers),
        init_containers=_with_old_images(new.spec.init_containers, old.spec.init_containers),
        active_deadline_seconds=old.spec.active_deadline_seconds,
        tolerations=old.spec.tolerations,
        scheduling_gates=old.spec.scheduling_gates,
    )
    if (old.spec.termination_grace_period_seconds or 0) < 0 and new.spec.termination_grace_period_seconds == 1:
        munged = replace(munged, termination_grace_period_seconds=old.spec.termination_grace_period_seconds)
    if old.spec.scheduling_gates:
        munged = _gated(errors, munged, old.spec)
    if munged != old.spec:
        errors.append(forbidden("spec", f"{_MAY_CHANGE}\n{changes_shown(munged, old.spec)}"))
    return errors


def _check_mirror(errors: Errors, new: Any, old: Any) -> None:
    before, now = old.metadata.annotations.get(MIRROR), new.metadata.annotations.get(MIRROR)
    if before == now:
        return
    verb = "add" if before is None else "remove or update"
    errors.append(forbidden(f"metadata.annotations[{MIRROR}]", f"may not {verb} mirror pod annotation"))


def _gated(errors: Errors, munged: Any, old: Any) -> Any:
    """While it is gated, a pod's node selector may get more entries, and its node affinity more terms' conditions."""
    if munged.node_selector != old.node_selector:
        if any(munged.node_selector.get(key) != value for key, value in old.node_selector.items()):
            detail = "only additions to spec.nodeSelector are allowed (no mutations or deletions)"
            errors.append(invalid("spec.nodeSelector", dict(munged.node_selector), detail))
        munged = replace(munged, node_selector=old.node_selector)
    before = old.affinity.node_affinity if old.affinity is not None else None
    now = munged.affinity.node_affinity if munged.affinity is not None else None
    if now == before:
        return munged
    if munged.affinity is None or old.affinity is None:
        emptied = munged.affinity is None or replace(munged.affinity, node_affinity=None) == type(munged.affinity)()
        return replace(munged, affinity=old.affinity) if emptied else munged
    return replace(munged, affinity=replace(munged.affinity, node_affinity=before))


def _check_container_updates(errors: Errors, path: str, new: Sequence[Any], old: Sequence[Any]) -> bool:
    if len(new) != len(old):
        errors.append(forbidden(path, "pod updates may not add or remove containers"))
        return False
    for index, container in enumerate(new):
        image = container.image or ""
        if not image:
            errors.append(required(f"{path}[{index}].image"))
        elif image != image.strip():
            errors.append(invalid(f"{path}[{index}].image", image, "must not have leading or trailing whitespace"))
    return True


def _with_old_images(new: Sequence[Any], old: Sequence[Any]) -> Sequence[Any]:
    if new is old:
        return old
    munged = [
        one if one.image == other.image else replace(one, image=other.image)
        for one, other in zip(new, old, strict=True)
    ]
    return old if munged == list(old) else munged


def _check_deadline(errors: Errors, new: int | None, old: int | None) -> bool:
    """False: nothing else is looked at."""
    path = "spec.activeDeadlineSeconds"
    if new is None:
        if old is not None:
            errors.append(invalid(path, None, "must not update from a positive integer to nil value"))
        return True
    if not 0 <= new <= INT32_MAX:
        errors.append(invalid(path, new, f"must be between 0 and {INT32_MAX}, inclusive"))
        return False
    if old is not None and old < new:
        errors.append(invalid(path, new, "must be less than or equal to previous value"))
        return False
    return True


def _check_tolerations_added(errors: Errors, new: Sequence[Any], old: Sequence[Any]) -> None:
    if new is old:
        return
    kept = [replace(one, toleration_seconds=None) for one in new]
    for toleration in old:
        if replace(toleration, toleration_seconds=None) not in kept:
            detail = "existing toleration can not be modified except its tolerationSeconds"
            errors.append(forbidden("spec.tolerations", detail))
            return


def _check_gates(errors: Errors, new: Sequence[Any], old: Sequence[Any]) -> None:
    """Scheduling gates may only go."""
    before = {gate.name for gate in old}
    for index, gate in enumerate(new):
        if gate.name not in before:
            detail = f"only deletion is allowed, but found new scheduling gate '{gate.name}'"
            errors.append(forbidden(f"spec.schedulingGates[{index}]", detail))


def validate_ephemeral_containers_update(new: Any, old: Any) -> Sequence[FieldError]:
    """Ephemeral containers may be added; those that are there stay what they are."""
    errors: Errors = []
    path = "spec.ephemeralContainers"
    check_ephemeral_containers(errors, "spec", new.spec)
    if MIRROR in old.metadata.annotations:
        errors.append(forbidden("", "static pods do not support ephemeral containers"))
    wanted = {container.name: container for container in new.spec.ephemeral_containers}
    for container in old.spec.ephemeral_containers:
        found = wanted.get(container.name)
        if found is None:
            detail = f"existing ephemeral containers {quoted(container.name)} may not be removed\n"
            errors.append(forbidden(path, detail))
        elif found != container:
            shown = changes_shown(found, container)
            detail = f"existing ephemeral containers {quoted(container.name)} may not be changed\n{shown}"
            errors.append(forbidden(path, detail))
    return errors


def validate_resize(new: Any, old: Any) -> Sequence[FieldError]:
    """Requests and limits of CPU and memory may change, not go, and not change the quality of service."""
    errors: Errors = []
    if old.spec.os is not None and old.spec.os.name == "windows":
        errors.append(forbidden("", "windows pods cannot be resized"))
    if MIRROR in old.metadata.annotations:
        errors.append(forbidden("", "static pods cannot be resized"))
    was, is_ = qos_class(old.spec), qos_class(new.spec)
    if was != is_:
        errors.append(invalid("spec", is_, "Pod QOS Class may not change as a result of resizing"))
    for field, json_name in (("containers", "containers"), ("init_containers", "initContainers")):
        pairs = zip(getattr(new.spec, field), getattr(old.spec, field), strict=True)
        for index, (container, before) in enumerate(pairs):
            if container.resources == before.resources:
                continue
            where = f"spec.{json_name}[{index}].resources"
            check_container_resources(errors, where, container)
            _check_resized(errors, where, container.resources, before.resources)
            if field == "init_containers" and container.restart_policy != "Always":
                errors.append(forbidden("spec", "resources for non-sidecar init containers are immutable"))
    return errors


def _check_resized(errors: Errors, path: str, new: Any, old: Any) -> None:
    for kind in ("limits", "requests"):
        now, before = getattr(new, kind), getattr(old, kind)
        if any(name in before and name not in now for name in ("cpu", "memory")):
            errors.append(forbidden(f"{path}.{kind}", f"resource {kind} cannot be removed"))
        others = {name for name in (*now, *before) if name not in ("cpu", "memory")}
        if any(now.get(name) != before.get(name) for name in others):
            errors.append(forbidden("spec", "only cpu and memory resources are mutable"))
