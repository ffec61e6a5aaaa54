"""StatefulSets, DaemonSets, Jobs and budgets, decided on data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from kubeloop.actors.api.batch_v1 import Job, JobSpec, JobStatus
from kubeloop.actors.api.core_v1 import Node, NodeSpec, Pod, PodSpec, Taint
from kubeloop.actors.api.meta_v1 import ObjectMeta
from kubeloop.actors.api.policy_v1 import PodDisruptionBudget, PodDisruptionBudgetSpec
from kubeloop.actors.controller_manager import daemon_pods, disruption, job_pods, stateful_replicas
from kubeloop.runtime.clock import format_rfc3339
from tests.controller_manager.factories import NOW, pod, template


def names(pods: Sequence[Pod]) -> list[str]:
    return [each.metadata.name or "" for each in pods]


# StatefulSets


def needs(replicas: int, **changes: Any) -> stateful_replicas.StatefulNeeds:
    defaults = stateful_replicas.StatefulNeeds(
        start=0,
        replicas=replicas,
        parallel=False,
        rolling=True,
        partition=0,
        max_unavailable=1,
        current="a",
        update="a",
    )
    return msgspec.structs.replace(defaults, **changes)


def member(ordinal: int, revision: str = "a", **facts: Any) -> Pod:
    return pod(f"db-{ordinal}", labels={"app": "db", stateful_replicas.REVISION_LABEL: revision}, **facts)


def plan(want: stateful_replicas.StatefulNeeds, *pods: Pod) -> stateful_replicas.StatefulPlan:
    by_ordinal = {int(name.rpartition("-")[2]): each for name, each in zip(names(pods), pods, strict=True)}
    return stateful_replicas.plan_stateful(want, by_ordinal, NOW)


def test_an_ordered_set_makes_one_pod_after_the_other() -> None:
    assert plan(needs(3)).create == [(0, "a")]
    assert plan(needs(3), member(0, ready=False)).create == []
    assert plan(needs(3), member(0)).create == [(1, "a")]


def test_a_parallel_set_makes_all_at_once() -> None:
    assert [ordinal for ordinal, _ in plan(needs(3, parallel=True)).create] == [0, 1, 2]


def test_an_ordered_set_shrinks_from_the_top_one_at_a_time() -> None:
    assert names(plan(needs(1), member(0), member(1), member(2)).delete) == ["db-2"]
    assert names(plan(needs(1), member(0), member(1), member(2, deleting=True)).delete) == []


def test_a_failed_member_is_deleted_to_be_made_again() -> None:
    assert names(plan(needs(1), member(0, phase="Failed", ready=False)).delete) == ["db-0"]


def test_an_update_goes_from_the_top_and_waits_for_each() -> None:
    want = needs(3, update="b")
    assert names(plan(want, member(0), member(1), member(2)).delete) == ["db-2"]
    assert plan(want, member(0), member(1)).create == [(2, "b")]
    assert names(plan(want, member(0), member(1), member(2, "b", ready=False)).delete) == []
    assert names(plan(want, member(0), member(1), member(2, "b")).delete) == ["db-1"]


def test_below_the_partition_pods_keep_their_revision() -> None:
    want = needs(3, update="b", partition=2)
    assert names(plan(want, member(0), member(1), member(2, "b")).delete) == []
    assert plan(want, member(0)).create == [(1, "a")]


def test_ordinals_may_start_above_zero() -> None:
    assert plan(needs(2, start=5)).create == [(5, "a")]
    assert stateful_replicas.ordinal_of("db", "db-5") == 5
    assert stateful_replicas.ordinal_of("db", "db-x") is None and stateful_replicas.ordinal_of("db", "web-1") is None


# DaemonSets


def node(name: str, *taints: Taint) -> Node:
    return Node(metadata=ObjectMeta(name=name), spec=NodeSpec(taints=taints))


def daemon(node_name: str, revision: str = "a", **facts: Any) -> Pod:
    return pod(f"d-{node_name}-{revision}", node=node_name, labels={daemon_pods.HASH_LABEL: revision}, **facts)


def daemons(nodes: Sequence[Node], *pods: Pod, unavailable: int = 1, surge: int = 0) -> daemon_pods.DaemonPlan:
    want = daemon_pods.DaemonNeeds("a", True, unavailable, surge)
    by_node: dict[str, list[Pod]] = {}
    for each in pods:
        by_node.setdefault(daemon_pods.target_node(each), []).append(each)
    return daemon_pods.plan_daemon_pods(want, daemon_pods.with_tolerations(PodSpec()), nodes, by_node, NOW)


def test_each_node_gets_one_pod() -> None:
    assert daemons([node("n1"), node("n2")], daemon("n1")).create == ["n2"]


def test_taints_that_daemons_tolerate_do_not_matter_and_others_do() -> None:
    cordoned = node("n1", Taint(key="node.kubernetes.io/unschedulable", effect="NoSchedule"))
    dedicated = node("n2", Taint(key="team", effect="NoSchedule"))
    assert daemons([cordoned, dedicated]).create == ["n1"]
    assert daemons([dedicated], daemon("n2")).delete == []  # it may stay
    assert names(daemons([node("n2", Taint(key="team", effect="NoExecute"))], daemon("n2")).delete) == ["d-n2-a"]


def test_old_daemons_are_replaced_one_node_after_the_other() -> None:
    nodes = [node("n1"), node("n2"), node("n3")]
    assert len(daemons(nodes, daemon("n1", "old"), daemon("n2", "old"), daemon("n3", "old")).delete) == 1
    assert daemons(nodes, daemon("n1", ready=False), daemon("n2", "old"), daemon("n3", "old")).delete == []


def test_with_surge_the_new_daemon_comes_first() -> None:
    nodes = [node("n1"), node("n2")]
    first = daemons(nodes, daemon("n1", "old"), daemon("n2", "old"), surge=1, unavailable=0)
    assert (len(first.create), first.delete) == (1, [])
    second = daemons(nodes, daemon("n1", "old"), daemon("n1"), daemon("n2", "old"), surge=1, unavailable=0)
    assert names(second.delete) == ["d-n1-old"]


def test_a_daemon_is_pinned_to_its_node() -> None:
    pinned = pod("d", spec={})
    spec = daemon_pods.pinned(pinned.spec, "n7")
    assert daemon_pods.target_node(msgspec.structs.replace(pinned, spec=spec)) == "n7"
    assert daemon_pods.belongs(spec, node("n7")) == (True, True)
    assert daemon_pods.belongs(spec, node("n8")) == (False, False)


# Jobs


def job(status: JobStatus | None = None, **spec: Any) -> Job:
    return Job(
        metadata=ObjectMeta(name="j", namespace="default", uid="j-1"),
        spec=JobSpec(template=template(), **spec),
        status=status or JobStatus(),
    )


def running(count: int) -> list[Pod]:
    return [pod(f"p{number}") for number in range(count)]


def test_parallelism_and_completions_bound_the_pods() -> None:
    assert len(job_pods.plan_job(job(completions=10, parallelism=3), running(1), job_pods.Tally(), NOW).create) == 2
    almost = job_pods.plan_job(job(completions=10, parallelism=3), running(1), job_pods.Tally(succeeded=9), NOW)
    assert almost.create == () and almost.verdict is None


def test_a_job_is_complete_when_enough_succeeded() -> None:
    verdict = job_pods.plan_job(job(completions=2), [], job_pods.Tally(succeeded=2), NOW).verdict
    assert verdict is not None and (verdict.type, verdict.reason) == ("Complete", "CompletionsReached")
    queue = job(parallelism=3)
    assert job_pods.plan_job(queue, running(2), job_pods.Tally(succeeded=1), NOW).verdict is None
    assert job_pods.plan_job(queue, [], job_pods.Tally(succeeded=1), NOW).verdict is not None


def test_too_many_failures_or_too_much_time_fail_it() -> None:
    tried = job_pods.plan_job(job(completions=1, backoff_limit=2), [], job_pods.Tally(failed=3), NOW).verdict
    assert tried is not None and (tried.type, tried.reason) == ("Failed", "BackoffLimitExceeded")
    started = JobStatus(start_time=format_rfc3339(NOW - 61))
    late = job_pods.plan_job(job(started, completions=1, active_deadline_seconds=60), running(1), job_pods.Tally(), NOW)
    assert late.verdict is not None and late.verdict.reason == "DeadlineExceeded" and len(late.delete) == 1


def test_failures_are_followed_by_a_growing_pause() -> None:
    def pause(failures: int) -> float | None:
        tally = job_pods.Tally(failed=failures, last_failure=NOW, failures_since_success=failures)
        made = job_pods.plan_job(job(completions=1), [], tally, NOW)
        assert made.create == ()
        return made.recheck_seconds

    assert [pause(1), pause(2), pause(3)] == [10.0, 20.0, 40.0]


def test_an_indexed_job_makes_the_indexes_that_are_missing() -> None:
    indexed = job(completions=4, parallelism=4, completion_mode="Indexed")
    active = [pod("p", annotations={job_pods.INDEX: "1"})]
    assert job_pods.plan_job(indexed, active, job_pods.Tally(succeeded=1, indexes=(0,)), NOW).create == (2, 3)


def test_a_suspended_job_has_no_pods() -> None:
    plan = job_pods.plan_job(job(completions=2, suspend=True), running(1), job_pods.Tally(), NOW)
    assert len(plan.delete) == 1 and plan.create == ()


@pytest.mark.parametrize(
    ("indexes", "text"), [([], ""), ([3], "3"), ([0, 1], "0,1"), ([0, 1, 2, 5, 7, 8, 9], "0-2,5,7-9")]
)
def test_indexes_are_written_as_ranges(indexes: list[int], text: str) -> None:
    assert job_pods.format_indexes(indexes) == text
    assert job_pods.parse_indexes(text) == indexes


# Budgets


def budget(**spec: Any) -> PodDisruptionBudget:
    return PodDisruptionBudget(metadata=ObjectMeta(name="b", namespace="default"), spec=PodDisruptionBudgetSpec(**spec))


@pytest.mark.parametrize(
    ("spec", "allowed"),
    [
        ({"min_available": 2}, 1),
        ({"min_available": "50%"}, 1),
        ({"max_unavailable": 1}, 1),
        ({"max_unavailable": 0}, 0),
        ({"max_unavailable": "100%"}, 3),
        ({"min_available": 5}, 0),
    ],
)
def test_what_a_budget_allows(spec: dict[str, Any], allowed: int) -> None:
    pods = [pod("a"), pod("b"), pod("c")]
    assert disruption.plan_budget(budget(**spec), pods, 3, NOW).allowed == allowed


def test_unready_and_just_evicted_pods_are_not_healthy() -> None:
    pods = [pod("a"), pod("b", ready=False), pod("c", deleting=True)]
    assert disruption.plan_budget(budget(min_available=1), pods, 3, NOW).healthy == 1
