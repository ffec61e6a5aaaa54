"""Job: runs pods until enough of them succeeded, counting each end exactly once.

A finished pod keeps its tracking finalizer until its end is written down: first its uid goes into the status, then the
finalizer goes, then the uid becomes a count. So a controller that dies in between neither loses nor repeats an end.
https://kubernetes.io/docs/concepts/workloads/controllers/job/
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from kubeloop.actors.api import meta
from kubeloop.actors.api.batch_v1 import Job, JobCondition, JobStatus, UncountedTerminatedPods
from kubeloop.actors.api.core_v1 import EnvVar, EnvVarSource, ObjectFieldSelector, Pod
from kubeloop.actors.api.errors import StatusError, is_not_found
from kubeloop.actors.client.reconcile import Result
from kubeloop.actors.controller_manager import indexes, job_pods, ownership, pod_control, pod_facts
from kubeloop.actors.controller_manager.controller import Controller
from kubeloop.actors.controller_manager.expectations import Expectations
from kubeloop.actors.controller_manager.job_pods import FINALIZER, INDEX, JobPlan, Tally, Verdict

MANAGED_BY = "kubernetes.io/job-controller"  # what spec.managedBy says of Jobs that are this controller's
RELEASE = "release:"  # prefix of the key of a pod whose Job let it go


class JobController(Controller):
    NAME = "job-controller"
    RESOURCE = "jobs.batch"

    def set_up(self) -> None:
        super().set_up()
        self.expectations = Expectations()
        self.pods = self.context.index("pods", indexes.BY_CONTROLLER, indexes.controller_uid)
        self.watch_owned("pods", self._on_pod)
        self.watch("pods", self._on_orphan)

    def _on_orphan(self, old: Pod | None, new: Pod | None) -> None:
        if new is not None and FINALIZER in meta.finalizers(new) and meta.controller_of(new) is None:
            self.enqueue(RELEASE + meta.key(new))

    def _on_pod(self, old: Pod | None, new: Pod | None) -> None:
        pod = new if new is not None else old
        assert pod is not None
        key = self.owner_key(pod)
        if not key:
            return
        uid = meta.uid(pod) or ""
        if new is None or pod_facts.is_terminating(pod):
            self.expectations.observe_deleted(key, uid)
        else:
            self.expectations.observe_created(key, uid)
        if (
            old is None
            or new is None
            or not pod_facts.counts_alike(old, new)
            or meta.finalizers(old) != meta.finalizers(new)
        ):
            owner = meta.controller_of(pod)
            count = self.pods.count_by_index(indexes.BY_CONTROLLER, owner.uid) if owner is not None and owner.uid else 0
            self.enqueue_gathered(key, count)

    async def reconcile(self, key: str) -> Result | None:
        if key.startswith(RELEASE):
            pod = self.pods.get(key.removeprefix(RELEASE))
            if pod is not None and meta.controller_of(pod) is None:
                await self._release(pod)
            return None
        job: Job | None = self.informer.get(key)
        if job is None:
            self.expectations.forget(key)
            return None
        if job.spec is not None and job.spec.managed_by not in (None, MANAGED_BY):
            return None  # another controller's work
        pods: list[Pod] = list(self.pods.by_index(indexes.BY_CONTROLLER, meta.uid(job) or ""))
        if meta.deletion_timestamp(job) is not None or _finished(job):
            for pod in pods:
                if pod_facts.is_terminated(pod) or pod_facts.is_terminating(pod):
                    await self._release(pod)
            return None
        if not self.expectations.satisfied(key, self.clock.now()):
            return None
        now = self.clock.now()
        job, tally = await self._count(job, pods)
        active = [pod for pod in pods if pod_facts.is_active(pod)]
        plan = job_pods.plan_job(job, active, tally, now)
        error = await self._carry_out(key, job, plan, now)
        active = [p for p in self.pods.by_index(indexes.BY_CONTROLLER, meta.uid(job) or "") if pod_facts.is_active(p)]
        await self._write_status(job, plan, active, tally)
        if error is not None and not pod_control.namespace_is_terminating(error):
            raise error
        return Result(requeue_after_seconds=plan.recheck_seconds) if plan.recheck_seconds is not None else None

    # Counting

    async def _count(self, job: Job, pods: Sequence[Pod]) -> tuple[Job, Tally]:
        """Writes down the ends that are not yet; returns the Job as it is then, and the sums."""
        status = job.status
        uncounted = status.uncounted_terminated_pods or UncountedTerminatedPods()
        succeeded, failed = list(uncounted.succeeded), list(uncounted.failed)
        done = job_pods.parse_indexes(status.completed_indexes)
        last_failure: float | None = None
        ended = [pod for pod in pods if FINALIZER in meta.finalizers(pod) and pod_facts.is_terminated(pod)]
        for pod in ended:
            uid = meta.uid(pod) or ""
            if pod_facts.phase(pod) == "Succeeded":
                index = job_pods.index_of(pod)
                if index is not None and index in done and uid not in succeeded:
                    continue
                if uid not in succeeded:
                    succeeded.append(uid)
                if index is not None:
                    done.append(index)
            elif uid not in failed:
                failed.append(uid)
        for pod in pods:
            if pod_facts.phase(pod) == "Failed":
                at = job_pods.end_time(pod)
                last_failure = at if last_failure is None else max(at, last_failure)
        if succeeded or failed:
            uncounted = UncountedTerminatedPods(succeeded=tuple(succeeded), failed=tuple(failed))
            completed = job_pods.format_indexes(done) or None
            status = msgspec.structs.replace(status, uncounted_terminated_pods=uncounted, completed_indexes=completed)
            job = await self.client.update_status(msgspec.structs.replace(job, status=status))
            for pod in ended:
                await self._release(pod)
            status = msgspec.structs.replace(
                job.status or status,
                uncounted_terminated_pods=None,
                succeeded=((status.succeeded or 0) + len(succeeded)) or None,
                failed=((status.failed or 0) + len(failed)) or None,
            )
            job = msgspec.structs.replace(job, status=status)
        else:
            for pod in ended:
                await self._release(pod)
        fails = status.failed or 0
        return job, Tally(status.succeeded or 0, fails, tuple(dict.fromkeys(done)), last_failure, fails)

    async def _release(self, pod: Pod) -> None:
        """Takes the tracking finalizer off: its end is written down."""
        if FINALIZER not in meta.finalizers(pod):
            return
        rest = [finalizer for finalizer in meta.finalizers(pod) if finalizer != FINALIZER]
        patch = {"metadata": {"uid": meta.uid(pod), "finalizers": rest or None}}
        try:
            await self.client.patch("pods", meta.name(pod), patch, meta.namespace(pod), type="merge")
        except StatusError as error:
            if not is_not_found(error):
                raise

    # Pods

    async def _carry_out(self, key: str, job: Job, plan: JobPlan, now: float) -> StatusError | None:
        async def create(index: int | None) -> None:
            created = await pod_control.create_pod(self.client, self.events, job, _pod(job, index))
            if self.pods.get(meta.key(created)) is None:
                self.expectations.expect_created(key, meta.uid(created) or "", now)

        async def delete(pod: Pod) -> None:
            await pod_control.delete_pod(self.client, self.events, job, pod)

        error = await pod_control.in_batches(plan.create, create)
        return error or await pod_control.in_batches(plan.delete, delete, initial=max(1, len(plan.delete)))

    # Status

    async def _write_status(self, job: Job, plan: JobPlan, active: Sequence[Pod], tally: Tally) -> None:
        cached: Job | None = self.informer.get(meta.key(job))
        old = (cached.status if cached is not None else None) or JobStatus()
        base = job.status
        spec, text = job.spec, self.clock.now_rfc3339()
        suspended = bool(spec.suspend)
        conditions = tuple(base.conditions)
        before = pod_facts.condition_of(conditions, "Suspended")
        start_time = base.start_time
        if suspended and (before is None or before.status != "True"):
            conditions = _with(conditions, "Suspended", "True", "JobSuspended", "Job suspended", text)
            start_time = None
            self.events.event(job, "Normal", "Suspended", "Job suspended")
        elif not suspended:
            if before is not None and before.status == "True":
                conditions = _with(conditions, "Suspended", "False", "JobResumed", "Job resumed", text)
                start_time = None
                self.events.event(job, "Normal", "Resumed", "Job resumed")
            start_time = start_time or text
        verdict = plan.verdict
        completion_time = base.completion_time
        if verdict is not None:
            early = "SuccessCriteriaMet" if verdict.type == "Complete" else "FailureTarget"
            conditions = _with(conditions, early, "True", verdict.reason, verdict.message, text)
            if not active:
                conditions = _with(conditions, verdict.type, "True", verdict.reason, verdict.message, text)
                completion_time = text if verdict.type == "Complete" else None
                self._report(job, verdict)
        status = msgspec.structs.replace(
            base,
            active=len(active) or None,
            ready=sum(1 for pod in active if pod_facts.is_ready(pod)),
            terminating=0,
            start_time=start_time,
            completion_time=completion_time,
            uncounted_terminated_pods=UncountedTerminatedPods(),
            conditions=conditions,
        )
        if msgspec.structs.replace(old, conditions=tuple(old.conditions)) != status:
            await self.client.update_status(msgspec.structs.replace(job, status=status))

    def _report(self, job: Job, verdict: Verdict) -> None:
        if verdict.type == "Complete":
            self.events.event(job, "Normal", "Completed", "Job completed")
        else:
            self.events.event(job, "Warning", verdict.reason, verdict.message)


def _finished(job: Job) -> bool:
    conditions = job.status.conditions
    return any(each.type in ("Complete", "Failed") and each.status == "True" for each in conditions)


def _with(
    conditions: Sequence[JobCondition], type_: str, status: str, reason: str, message: str, now: str
) -> tuple[JobCondition, ...]:
    old: Any = pod_facts.condition_of(conditions, type_)
    if old is not None and old.status == status:
        return tuple(conditions)
    condition = JobCondition(
        type=type_, status=status, reason=reason, message=message, last_probe_time=now, last_transition_time=now
    )
    return (*(each for each in conditions if each.type != type_), condition)


def _pod(job: Job, index: int | None) -> Pod:
    """A pod of the Job's template, tracked by a finalizer; an indexed one knows its index."""
    made = pod_control.pod_from_template(job.spec.template, job, ownership.controller_reference(job, "jobs.batch"))
    metadata = msgspec.structs.replace(made.metadata, finalizers=(*made.metadata.finalizers, FINALIZER))
    if index is None:
        return msgspec.structs.replace(made, metadata=metadata)
    name = f"{meta.name(job)}-{index}"
    metadata = msgspec.structs.replace(
        metadata,
        generate_name=f"{name}-",
        annotations={**metadata.annotations, INDEX: str(index)},
        labels={**metadata.labels, INDEX: str(index)},
    )
    source = EnvVarSource(field_ref=ObjectFieldSelector(field_path=f"metadata.labels['{INDEX}']"))
    variable = EnvVar(name="JOB_COMPLETION_INDEX", value_from=source)
    spec = made.spec

    def with_index(containers: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(msgspec.structs.replace(each, env=(*each.env, variable)) for each in containers)

    spec = msgspec.structs.replace(
        spec,
        hostname=spec.hostname or name,
        containers=with_index(spec.containers),
        init_containers=with_index(spec.init_containers),
    )
    return msgspec.structs.replace(made, metadata=metadata, spec=spec)
