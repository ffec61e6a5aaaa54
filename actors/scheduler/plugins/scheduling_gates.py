"""SchedulingGates: a pod with gates is not looked at until they are gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kubeloop.actors.scheduler.framework import Plugin

if TYPE_CHECKING:
    from kubeloop.actors.api.core_v1 import Pod


def gated(pod: Pod) -> bool:
    """Whether the pod has scheduling gates left; the queue asks before a pod becomes active (PreEnqueue)."""
    return pod.spec is not None and bool(pod.spec.scheduling_gates)


class SchedulingGates(Plugin):
    """Follows https://kubernetes.io/docs/concepts/scheduling-eviction/pod-scheduling-readiness/."""

    NAME = "SchedulingGates"
    REASON = "Scheduling is blocked due to non-empty scheduling gates"
