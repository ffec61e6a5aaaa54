"""TTL after finished: Jobs that name a time to live go that long after they ended.

https://kubernetes.io/docs/concepts/workloads/controllers/ttlafterfinished/
"""

from __future__ import annotations

from kubeloop.actors.api import meta
from kubeloop.actors.api.batch_v1 import Job
from kubeloop.actors.api.errors import StatusError, is_not_found
from kubeloop.actors.client.reconcile import Result
from kubeloop.actors.controller_manager.controller import Controller
from kubeloop.runtime.clock import parse_rfc3339


def ends_at(job: Job) -> float | None:
    """Unix seconds at which the Job's time is up; None while it runs or when it names no time."""
    ttl = job.spec.ttl_seconds_after_finished
    if ttl is None:
        return None
    for condition in job.status.conditions:
        if condition.type in ("Complete", "Failed") and condition.status == "True" and condition.last_transition_time:
            return parse_rfc3339(condition.last_transition_time) + ttl
    return None


class TtlAfterFinishedController(Controller):
    NAME = "ttl-after-finished-controller"
    RESOURCE = "jobs.batch"

    async def reconcile(self, key: str) -> Result | None:
        job: Job | None = self.informer.get(key)
        at = ends_at(job) if job is not None and meta.deletion_timestamp(job) is None else None
        if job is None or at is None:
            return None
        left = at - self.clock.now()
        if left > 0:
            return Result(requeue_after_seconds=left)
        try:
            await self.client.delete(
                self.RESOURCE,
                meta.name(job),
                meta.namespace(job),
                propagation_policy="Foreground",
                preconditions={"uid": meta.uid(job)},
            )
        except StatusError as error:
            if not is_not_found(error):
                raise
        return None
