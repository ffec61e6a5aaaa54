"""Facts about the kinds that make pods: deployments, replica sets, stateful sets, daemon sets, jobs, cron jobs."""

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from kubeloop.actors.apiserver.registry import kind_for
from kubeloop.actors.apiserver.registry.cron_schedule import schedule_error
from kubeloop.actors.apiserver.registry.kind import Kind, StrategyContext
from kubeloop.runtime.clock import Clock

TEMPLATE: dict[str, Any] = {
    "metadata": {"labels": {"app": "a"}},
    "spec": {"containers": [{"name": "c", "image": "i:1"}]},
}
SELECTOR = {"matchLabels": {"app": "a"}}
WORKLOAD = {"selector": SELECTOR, "template": TEMPLATE}


def kind_of(group: str, plural: str) -> Kind:
    found = kind_for(group, "v1", plural)
    assert found is not None
    return found


def made(kind: Kind, spec: Mapping[str, Any]) -> Any:
    assert kind.resource.type is not None
    obj = msgspec.convert({"metadata": {"name": "x", "namespace": "n", "uid": "u"}, "spec": spec}, kind.resource.type)
    return kind.default(obj)


def created(kind: Kind, spec: Mapping[str, Any]) -> Any:
    context = StrategyContext(clock=Clock(seed=1), get=lambda *key: None, list=lambda *key: ())
    assert kind.prepare_for_create is not None
    return kind.prepare_for_create(made(kind, spec), context)


def errors(kind: Kind, spec: Mapping[str, Any]) -> list[str]:
    return [f"{error.field}: {error.body}" for error in kind.validate(made(kind, spec))]


def test_a_deployment_rolls_by_quarters() -> None:
    spec = made(kind_of("apps", "deployments"), WORKLOAD).spec
    assert msgspec.to_builtins(spec.strategy) == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"},
    }
    assert (spec.replicas, spec.revision_history_limit, spec.progress_deadline_seconds) == (1, 10, 600)
    assert spec.template.spec.restart_policy == "Always"


@pytest.mark.parametrize(
    ("spec", "wrong"),
    [
        (
            {"template": TEMPLATE},
            [
                "spec.selector: Required value",
                'spec.template.metadata.labels: Invalid value: {"app":"a"}: '
                "`selector` does not match template `labels`",
            ],
        ),
        (
            {"selector": {}, "template": TEMPLATE},
            ["spec.selector: Invalid value: {}: empty selector is invalid for deployment"],
        ),
        ({**WORKLOAD, "replicas": -1}, ["spec.replicas: Invalid value: -1: must be greater than or equal to 0"]),
        (
            {**WORKLOAD, "strategy": {"type": "Recreate", "rollingUpdate": {"maxSurge": 1}}},
            ["spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'"],
        ),
        (
            {**WORKLOAD, "strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}},
            ["spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0"],
        ),
        (
            {**WORKLOAD, "minReadySeconds": 600},
            ["spec.progressDeadlineSeconds: Invalid value: 600: must be greater than minReadySeconds"],
        ),
    ],
)
def test_a_wrong_deployment_is_refused_in_the_api_servers_words(spec: Mapping[str, Any], wrong: list[str]) -> None:
    assert errors(kind_of("apps", "deployments"), spec) == wrong


@pytest.mark.parametrize("plural", ["deployments", "replicasets", "daemonsets"])
def test_a_selector_is_immutable(plural: str) -> None:
    kind = kind_of("apps", plural)
    old = made(kind, WORKLOAD)
    labels = {"app": "a", "more": "b"}
    template = {**TEMPLATE, "metadata": {"labels": labels}}
    new = made(kind, {"selector": {"matchLabels": labels}, "template": template})
    assert [(error.field, error.detail) for error in kind.validate_update(new, old)] == [
        ("spec.selector", "field is immutable")
    ]


def test_a_stateful_set_keeps_its_service_name() -> None:
    kind = kind_of("apps", "statefulsets")
    old = made(kind, {**WORKLOAD, "serviceName": "s"})
    assert not kind.validate_update(replace(old, spec=replace(old.spec, replicas=3)), old)
    (error,) = kind.validate_update(replace(old, spec=replace(old.spec, service_name="t")), old)
    assert error.field == "spec"
    assert error.detail.startswith("updates to statefulset spec for fields other than 'replicas'")


def test_a_job_without_numbers_runs_one_pod_and_selects_it_by_its_own_uid() -> None:
    job = created(kind_of("batch", "jobs"), {"template": {"spec": {**TEMPLATE["spec"], "restartPolicy": "Never"}}})
    labels = {
        "batch.kubernetes.io/controller-uid": "u",
        "batch.kubernetes.io/job-name": "x",
        "controller-uid": "u",
        "job-name": "x",
    }
    assert (job.spec.parallelism, job.spec.completions, job.spec.backoff_limit) == (1, 1, 6)
    assert job.spec.selector.match_labels == {"batch.kubernetes.io/controller-uid": "u"}
    assert job.spec.template.metadata.labels == labels
    assert job.metadata.labels == labels
    assert not kind_of("batch", "jobs").validate(job)


def test_a_job_may_not_restart_for_ever() -> None:
    kind = kind_of("batch", "jobs")
    job = created(kind, {"template": {"spec": TEMPLATE["spec"]}})
    assert [f"{error.field}: {error.body}" for error in kind.validate(job)] == [
        'spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"'
    ]


@pytest.mark.parametrize(
    ("schedule", "problem"),
    [
        ("*/5 * * * *", ""),
        ("0 9 * jan-mar mon", ""),
        ("@daily", ""),
        ("bad", "expected exactly 5 fields, found 1: [bad]"),
        ("61 * * * *", "end of range (61) above maximum (59): 61"),
        ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
        ("@sometimes", "unrecognized descriptor: @sometimes"),
        ("x * * * *", 'failed to parse int from x: strconv.Atoi: parsing "x": invalid syntax'),
    ],
)
def test_cron_schedules_are_checked(schedule: str, problem: str) -> None:
    assert schedule_error(schedule) == problem
