"""The entries of batch/v1: Job and CronJob."""

import zoneinfo
from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from kubeloop.actors.api.batch_v1 import CronJobSpec, CronJobStatus, JobSpec, JobStatus, JobTemplateSpec
from kubeloop.actors.api.errors import FieldError
from kubeloop.actors.api.meta_v1 import LabelSelector
from kubeloop.actors.apiserver.registry import names, workload_status
from kubeloop.actors.apiserver.registry.batch_policies import (
    check_failure_policy,
    check_success_policy,
    default_failure_policy,
)
from kubeloop.actors.apiserver.registry.catalog import entry
from kubeloop.actors.apiserver.registry.cron_schedule import schedule_error
from kubeloop.actors.apiserver.registry.fields import (
    IMMUTABLE,
    INT32_MAX,
    Errors,
    check_immutable,
    check_label_selector,
    check_name,
    check_non_negative,
    check_required_one_of,
    go_value,
    invalid,
    required,
    unsupported,
)
from kubeloop.actors.apiserver.registry.kind import StrategyContext
from kubeloop.actors.apiserver.registry.pod_defaults import NO_METADATA, default_pod_template
from kubeloop.actors.apiserver.registry.pod_validation import check_pod_template
from kubeloop.actors.apiserver.registry.pod_warnings import pod_template_warnings
from kubeloop.actors.apiserver.registry.printing import (
    AGE,
    NAME,
    NONE,
    boolean,
    human_duration,
    integer,
    selector_text,
    since,
    template_columns,
    text,
)
from kubeloop.actors.apiserver.registry.strategy import keep_status, number, only_status, status_reset
from kubeloop.actors.apiserver.registry.workloads import NO_MATCH, matches, selector_json, template_labels
from kubeloop.runtime.clock import parse_rfc3339

UID_LABEL, NAME_LABEL = "batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name"
OLD_UID_LABEL, OLD_NAME_LABEL = "controller-uid", "job-name"
CRON_JOB_NAME_LENGTH_MAX = 52
_UNWRITTEN_METADATA = JobTemplateSpec().metadata
INDEXED_PARALLELISM_MAX = 100000
_RESTART = 'valid values: "OnFailure", "Never"'


def default_job(obj: Any) -> Any:
    spec = obj.spec if obj.spec is not None else JobSpec()
    changes: dict[str, Any] = {}
    template = default_pod_template(spec.template)
    if template is not spec.template:
        changes["template"] = template
    if spec.parallelism is None:
        changes["parallelism"] = 1
        if spec.completions is None:
            changes["completions"] = 1
    if spec.backoff_limit is None:
        changes["backoff_limit"] = 6 if spec.backoff_limit_per_index is None else INT32_MAX
    if not spec.completion_mode:
        changes["completion_mode"] = "NonIndexed"
    if spec.suspend is None:
        changes["suspend"] = False
    if spec.manual_selector is None:
        changes["manual_selector"] = False
    if not spec.pod_replacement_policy:
        changes["pod_replacement_policy"] = "TerminatingOrFailed" if spec.pod_failure_policy is None else "Failed"
    if spec.pod_failure_policy is not None:
        changes["pod_failure_policy"] = default_failure_policy(spec.pod_failure_policy)
    metadata = obj.metadata
    labels = template_labels(template)
    if labels and not metadata.labels:
        metadata = replace(metadata, labels=labels)
    if not changes and metadata is obj.metadata:
        return obj
    return replace(obj, metadata=metadata, spec=replace(spec, **changes))


def prepare_job_create(obj: Any, context: StrategyContext) -> Any:
    obj = replace(obj, status=JobStatus())
    if obj.spec.manual_selector:
        return obj
    uid, name = obj.metadata.uid or "", obj.metadata.name or ""
    spec = obj.spec
    generated = {UID_LABEL: uid, NAME_LABEL: name, OLD_UID_LABEL: uid, OLD_NAME_LABEL: name}
    template_metadata = spec.template.metadata if spec.template.metadata is not None else NO_METADATA
    labels = {**generated, **template_metadata.labels}
    template = replace(spec.template, metadata=replace(template_metadata, labels=labels))
    selector = spec.selector if spec.selector is not None else LabelSelector()
    if UID_LABEL not in selector.match_labels:
        selector = replace(selector, match_labels={**selector.match_labels, UID_LABEL: uid})
    metadata = obj.metadata
    if not metadata.labels:
        metadata = replace(metadata, labels=labels)
    return replace(obj, metadata=metadata, spec=replace(spec, template=template, selector=selector))


def validate_job(obj: Any) -> Sequence[FieldError]:
    errors: Errors = []
    spec = obj.spec
    _check_generated_selector(errors, obj)
    check_job_spec(errors, "spec", spec)
    if spec.selector is None:
        errors.append(required("spec.selector"))
        return errors
    before = len(errors)
    check_label_selector(errors, "spec.selector", spec.selector)
    labels = template_labels(spec.template)
    if len(errors) == before and not matches(spec.selector, labels or {}):
        errors.append(invalid("spec.template.metadata.labels", dict(labels) if labels else None, NO_MATCH))
    return errors


def _check_generated_selector(errors: Errors, obj: Any) -> None:
    spec = obj.spec
    if spec.manual_selector or spec.selector is None:
        return
    labels = template_labels(spec.template) or {}
    uid, name = obj.metadata.uid or "", obj.metadata.name or ""
    for key, wanted in ((OLD_UID_LABEL, uid), (OLD_NAME_LABEL, name), (UID_LABEL, uid), (NAME_LABEL, name)):
        if key not in labels:
            errors.append(required(f"spec.template.metadata.labels[{key}]", f"must be '{wanted}'"))
        elif labels[key] != wanted:
            errors.append(invalid(f"spec.template.metadata.labels[{key}]", labels[key], f"must be '{wanted}'"))
    expected = spec.selector.match_labels in ({UID_LABEL: uid}, {OLD_UID_LABEL: uid})
    if not expected or spec.selector.match_expressions:
        errors.append(invalid("spec.selector", selector_json(spec.selector), "`selector` not auto-generated"))


def check_job_spec(errors: Errors, path: str, spec: Any) -> None:
    for value, name in (
        (spec.parallelism, "parallelism"),
        (spec.completions, "completions"),
        (spec.active_deadline_seconds, "activeDeadlineSeconds"),
        (spec.backoff_limit, "backoffLimit"),
        (spec.ttl_seconds_after_finished, "ttlSecondsAfterFinished"),
        (spec.backoff_limit_per_index, "backoffLimitPerIndex"),
        (spec.max_failed_indexes, "maxFailedIndexes"),
    ):
        check_non_negative(errors, f"{path}.{name}", value)
    if spec.max_failed_indexes is not None and spec.backoff_limit_per_index is None:
        errors.append(required(f"{path}.backoffLimitPerIndex", "when maxFailedIndexes is specified"))
    if spec.managed_by is not None:
        check_name(errors, f"{path}.managedBy", spec.managed_by, names.domain_prefixed_path)
    _check_completion_mode(errors, path, spec)
    if spec.pod_failure_policy is not None:
        check_failure_policy(errors, f"{path}.podFailurePolicy", spec)
    if spec.success_policy is not None:
        check_success_policy(errors, f"{path}.successPolicy", spec)
    if spec.pod_replacement_policy is not None:
        supported = ("Failed", "TerminatingOrFailed") if spec.pod_failure_policy is None else ("Failed",)
        if spec.pod_replacement_policy not in supported:
            errors.append(unsupported(f"{path}.podReplacementPolicy", spec.pod_replacement_policy, supported))
    check_pod_template(errors, f"{path}.template", spec.template)
    policy = spec.template.spec.restart_policy
    if policy in (None, "", "Always"):
        errors.append(required(f"{path}.template.spec.restartPolicy", _RESTART))
    elif policy not in ("OnFailure", "Never") and not any(e.field.endswith("spec.restartPolicy") for e in errors):
        errors.append(unsupported(f"{path}.template.spec.restartPolicy", policy, ("OnFailure", "Never")))


def _check_completion_mode(errors: Errors, path: str, spec: Any) -> None:
    mode = spec.completion_mode
    if mode is None:
        return
    if mode not in ("NonIndexed", "Indexed"):
        errors.append(unsupported(f"{path}.completionMode", mode, ("NonIndexed", "Indexed")))
    if mode == "Indexed":
        if spec.completions is None:
            errors.append(required(f"{path}.completions", "when completion mode is Indexed"))
        if (spec.parallelism or 0) > INDEXED_PARALLELISM_MAX:
            detail = f"must be less than or equal to {INDEXED_PARALLELISM_MAX} when completion mode is Indexed"
            errors.append(invalid(f"{path}.parallelism", spec.parallelism, detail))
    elif spec.backoff_limit_per_index is not None:
        errors.append(
            invalid(f"{path}.backoffLimitPerIndex", spec.backoff_limit_per_index, "requires indexed completion mode")
        )


def validate_job_update(new: Any, old: Any) -> Sequence[FieldError]:
    errors: Errors = []
    a, b = new.spec, old.spec
    elastic = a.completion_mode == "Indexed" and a.completions == a.parallelism
    if not elastic:
        check_immutable(errors, "spec.completions", a.completions, b.completions)
    if a.selector != b.selector:
        errors.append(invalid("spec.selector", selector_json(a.selector) if a.selector else None, IMMUTABLE))
    if not _same_template(a.template, b.template, free=bool(b.suspend)):
        from kubeloop.actors.api.codec import to_builtins

        errors.append(invalid("spec.template", to_builtins(a.template), IMMUTABLE))
    check_immutable(errors, "spec.completionMode", a.completion_mode, b.completion_mode)
    for name, json_name in (
        ("pod_failure_policy", "podFailurePolicy"),
        ("backoff_limit_per_index", "backoffLimitPerIndex"),
        ("managed_by", "managedBy"),
        ("success_policy", "successPolicy"),
    ):
        if getattr(a, name) != getattr(b, name):
            errors.append(invalid(f"spec.{json_name}", go_value(getattr(a, name)), IMMUTABLE))
    return errors


def _same_template(new: Any, old: Any, *, free: bool) -> bool:
    """While a job is suspended, where its pods may go can be changed (node selector, tolerations, affinity ...)."""
    if new == old:
        return True
    if not free:
        return False
    spec = replace(
        new.spec,
        node_selector=old.spec.node_selector,
        tolerations=old.spec.tolerations,
        affinity=old.spec.affinity,
        scheduling_gates=old.spec.scheduling_gates,
    )
    return bool(replace(new, metadata=old.metadata, spec=spec) == old)


def default_cron_job(obj: Any) -> Any:
    spec = obj.spec if obj.spec is not None else CronJobSpec()
    changes: dict[str, Any] = {}
    for name, value in (
        ("concurrency_policy", "Allow"),
        ("suspend", False),
        ("successful_jobs_history_limit", 3),
        ("failed_jobs_history_limit", 1),
    ):
        if getattr(spec, name) in (None, ""):
            changes[name] = value
    job = spec.job_template
    template = default_pod_template(job.spec.template)
    unwritten = job.metadata is _UNWRITTEN_METADATA
    if template is not job.spec.template or unwritten:
        metadata = NO_METADATA if unwritten else job.metadata
        changes["job_template"] = replace(job, metadata=metadata, spec=replace(job.spec, template=template))
    return replace(obj, spec=replace(spec, **changes)) if changes else obj


def validate_cron_job(obj: Any) -> Sequence[FieldError]:
    errors: Errors = []
    spec = obj.spec
    name = obj.metadata.name or ""
    if len(name) > CRON_JOB_NAME_LENGTH_MAX:
        errors.append(invalid("metadata.name", name, f"must be no more than {CRON_JOB_NAME_LENGTH_MAX} characters"))
    schedule = spec.schedule or ""
    if not schedule:
        errors.append(required("spec.schedule"))
    else:
        problem = schedule_error(schedule.split(" ", 1)[1] if schedule.startswith(("TZ=", "CRON_TZ=")) else schedule)
        if problem:
            errors.append(invalid("spec.schedule", schedule, problem))
        if "TZ" in schedule:
            errors.append(
                invalid("spec.schedule", schedule, "cannot use TZ or CRON_TZ in schedule, use timeZone field instead")
            )
    check_non_negative(errors, "spec.startingDeadlineSeconds", spec.starting_deadline_seconds)
    if spec.time_zone is not None:
        _check_time_zone(errors, spec.time_zone)
    check_required_one_of(errors, "spec.concurrencyPolicy", spec.concurrency_policy, ("Allow", "Forbid", "Replace"))
    check_non_negative(errors, "spec.successfulJobsHistoryLimit", spec.successful_jobs_history_limit)
    check_non_negative(errors, "spec.failedJobsHistoryLimit", spec.failed_jobs_history_limit)
    job = spec.job_template.spec
    check_job_spec(errors, "spec.jobTemplate.spec", job)
    if job.selector is not None:
        errors.append(
            invalid("spec.jobTemplate.spec.selector", selector_json(job.selector), "`selector` will be auto-generated")
        )
    if job.manual_selector:
        errors.append(unsupported("spec.jobTemplate.spec.manualSelector", True, ("nil", "false")))
    return errors


def _check_time_zone(errors: Errors, zone: str) -> None:
    path = "spec.timeZone"
    if not zone:
        errors.append(invalid(path, zone, "timeZone must be nil or non-empty string"))
    elif zone.lower() == "local":
        errors.append(
            invalid(path, zone, "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones")
        )
    else:
        try:
            zoneinfo.ZoneInfo(zone)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            errors.append(invalid(path, zone, f"unknown time zone {zone}"))


def _job_status(obj: Any, now: float) -> str:
    conditions = {one.type: one.status == "True" for one in obj.status.conditions} if obj.status is not None else {}
    for condition, shown in (
        ("Complete", "Complete"),
        ("Failed", "Failed"),
        ("Suspended", "Suspended"),
        ("FailureTarget", "FailureTarget"),
        ("SuccessCriteriaMet", "SuccessCriteriaMet"),
    ):
        if conditions.get(condition):
            return shown
    return "Terminating" if obj.metadata.deletion_timestamp else "Running"


def _completions(obj: Any, now: float) -> str:
    done = (obj.status.succeeded if obj.status is not None else 0) or 0
    if obj.spec.completions is not None:
        return f"{done}/{obj.spec.completions}"
    parallelism = obj.spec.parallelism or 0
    return f"{done}/1 of {parallelism}" if parallelism > 1 else f"{done}/1"


def _duration(obj: Any, now: float) -> str:
    status = obj.status
    if status is None or not status.start_time:
        return ""
    end = parse_rfc3339(status.completion_time) if status.completion_time else now
    return human_duration(end - parse_rfc3339(status.start_time))


def _last_schedule(obj: Any, now: float) -> str:
    last = obj.status.last_schedule_time if obj.status is not None else None
    return since(last, now) if last else NONE


KINDS = (
    entry(
        "batch",
        "v1",
        "jobs",
        default=default_job,
        prepare_for_create=prepare_job_create,
        prepare_for_update=keep_status,
        prepare_for_status_update=only_status,
        validate_status_update=workload_status.JOB,
        validate=validate_job,
        validate_update=validate_job_update,
        warnings=lambda obj: pod_template_warnings("spec.template", obj.spec.template),
        tracks_generation=True,
        default_delete_propagation="Orphan",
        selectable_fields={"status.successful": number("status.succeeded")},
        columns=(
            NAME,
            text("Status", _job_status),
            text("Completions", _completions),
            text("Duration", _duration),
            AGE,
            *template_columns(lambda obj: obj.spec.template),
            text("Selector", lambda obj, now: selector_text(obj.spec.selector), wide=True),
        ),
    ),
    entry(
        "batch",
        "v1",
        "cronjobs",
        default=default_cron_job,
        prepare_for_create=status_reset(CronJobStatus()),
        prepare_for_update=keep_status,
        prepare_for_status_update=only_status,
        validate=validate_cron_job,
        warnings=lambda obj: pod_template_warnings(
            "spec.jobTemplate.spec.template", obj.spec.job_template.spec.template
        ),
        tracks_generation=True,
        columns=(
            NAME,
            text("Schedule", lambda obj, now: obj.spec.schedule or ""),
            text("Timezone", lambda obj, now: obj.spec.time_zone or NONE),
            boolean("Suspend", lambda obj, now: str(bool(obj.spec.suspend))),
            integer("Active", lambda obj, now: len(obj.status.active) if obj.status is not None else 0),
            text("Last Schedule", _last_schedule),
            AGE,
            *template_columns(lambda obj: obj.spec.job_template.spec.template),
            text(
                "Selector",
                lambda obj, now: selector_text(obj.spec.job_template.spec.selector),
                wide=True,
            ),
        ),
    ),
)
