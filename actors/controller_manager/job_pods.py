"""What a Job does next: pods to make or end, and whether it is over. Pure decisions.

https://kubernetes.io/docs/concepts/workloads/controllers/job/
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from kubeloop.actors.api.batch_v1 import Job, JobSpec
from kubeloop.actors.api.core_v1 import Pod
from kubeloop.actors.controller_manager import pod_facts
from kubeloop.runtime.clock import parse_rfc3339

INDEX = "batch.kubernetes.io/job-completion-index"
FINALIZER = "batch.kubernetes.io/job-tracking"
FIRST_BACKOFF_SECONDS, LAST_BACKOFF_SECONDS = 10.0, 600.0


class Verdict(msgspec.Struct, frozen=True):
    """The Job is over: Complete or Failed, with the condition's words."""

    type: str
    reason: str
    message: str


class JobPlan(msgspec.Struct, frozen=True):
    """`create`: completion indexes of the pods to make (None without indexes). `recheck_seconds`: look again then."""

    create: Sequence[int | None] = ()
    delete: Sequence[Pod] = ()
    verdict: Verdict | None = None
    recheck_seconds: float | None = None


class Tally(msgspec.Struct, frozen=True):
    """Ends counted so far: `succeeded` and `failed` pods, `indexes` that succeeded, the last failures' time."""

    succeeded: int = 0
    failed: int = 0
    indexes: Sequence[int] = ()
    last_failure: float | None = None
    failures_since_success: int = 0


def is_indexed(spec: JobSpec) -> bool:
    return spec.completion_mode == "Indexed"


def plan_job(job: Job, active: Sequence[Pod], tally: Tally, now: float) -> JobPlan:
    """`active` pods have neither ended nor are being deleted."""
    spec = job.spec
    verdict = _verdict(job, spec, active, tally, now)
    if verdict is not None:
        return JobPlan(delete=tuple(active), verdict=verdict)
    if spec.suspend:
        return JobPlan(delete=tuple(active))
    recheck = _deadline(job, spec, now)
    wanted = _wanted(spec, len(active), tally)
    if len(active) > wanted:
        ordered = sorted(active, key=lambda pod: (pod_facts.is_ready(pod), -_index_of(pod)))
        return JobPlan(delete=tuple(ordered[: len(active) - wanted]), recheck_seconds=recheck)
    missing = wanted - len(active)
    if missing and tally.last_failure is not None and tally.failures_since_success:
        delay = min(LAST_BACKOFF_SECONDS, FIRST_BACKOFF_SECONDS * 2 ** (tally.failures_since_success - 1))
        left = tally.last_failure + delay - now
        if left > 0:
            return JobPlan(recheck_seconds=left if recheck is None else min(left, recheck))
    if not is_indexed(spec):
        return JobPlan(create=(None,) * missing, recheck_seconds=recheck)
    taken = {*tally.indexes, *(_index_of(pod) for pod in active)}
    free = [index for index in range(spec.completions or 0) if index not in taken]
    return JobPlan(create=tuple(free[:missing]), recheck_seconds=recheck)


def _wanted(spec: JobSpec, active: int, tally: Tally) -> int:
    parallelism = 1 if spec.parallelism is None else spec.parallelism
    if spec.completions is None:
        return active if tally.succeeded else parallelism
    return min(parallelism, max(0, spec.completions - tally.succeeded))


def _verdict(job: Job, spec: JobSpec, active: Sequence[Pod], tally: Tally, now: float) -> Verdict | None:
    limit = 6 if spec.backoff_limit is None else spec.backoff_limit
    restarts = 0
    if spec.template.spec.restart_policy == "OnFailure":
        restarts = sum(pod_facts.restarts(pod) for pod in active)
    if tally.failed > limit or (restarts > 0 and restarts >= limit):
        return Verdict("Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit")
    left = _deadline(job, spec, now)
    if left is not None and left <= 0:
        return Verdict("Failed", "DeadlineExceeded", "Job was active longer than specified deadline")
    if spec.completions is None:
        done = tally.succeeded > 0 and not active
    else:
        done = tally.succeeded >= spec.completions
    if done and not spec.suspend:
        return Verdict("Complete", "CompletionsReached", "Reached expected number of succeeded pods")
    return None


def _deadline(job: Job, spec: JobSpec, now: float) -> float | None:
    """Seconds until activeDeadlineSeconds is over; None when there is none or the Job does not run."""
    started = job.status.start_time
    if spec.active_deadline_seconds is None or not started or spec.suspend:
        return None
    return parse_rfc3339(started) + spec.active_deadline_seconds - now


def index_of(pod: Pod) -> int | None:
    text = pod.metadata.annotations.get(INDEX)
    return int(text) if text is not None and text.isdigit() else None


def _index_of(pod: Pod) -> int:
    index = index_of(pod)
    return -1 if index is None else index


def format_indexes(indexes: Iterable[int]) -> str:
    """0,1,2,5 as `0-2,5`."""
    parts: list[str] = []
    start = previous = None
    for index in [*sorted(dict.fromkeys(indexes)), None]:
        if previous is not None and index == previous + 1:
            previous = index
            continue
        if start is not None and previous is not None:
            parts.append(
                str(start) if start == previous else f"{start}{',' if previous == start + 1 else '-'}{previous}"
            )
        start = previous = index
    return ",".join(parts)


def parse_indexes(text: str | None) -> list[int]:
    found: list[int] = []
    for part in (text or "").split(","):
        first, _, last = part.partition("-")
        if first.isdigit():
            found.extend(range(int(first), int(last or first) + 1))
    return found


def end_time(pod: Pod) -> float:
    """Unix seconds at which an ended pod's last container stopped; else when it last was ready, or was made."""
    times = [
        parse_rfc3339(status.state.terminated.finished_at)
        for status in pod.status.container_statuses
        if status.state is not None and status.state.terminated is not None and status.state.terminated.finished_at
    ]
    if times:
        return max(times)
    ready = pod_facts.ready_condition(pod)
    text = (ready.last_transition_time if ready is not None else None) or pod.metadata.creation_timestamp
    return parse_rfc3339(text) if text else 0.0
