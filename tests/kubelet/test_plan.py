from typing import Any

import pytest
from msgspec.structs import replace

from kubeloop.actors.api.core_v1 import Container
from kubeloop.actors.kubelet.backoff import BackOff
from kubeloop.actors.kubelet.plan import Kill, PodPlan, plan_pod, plan_termination
from kubeloop.actors.kubelet.record import ContainerRecord
from tests.kubelet.builders import SANDBOX, exited, pod, record

NOW = 120.0
INIT = [Container(name="first", image="i"), Container(name="second", image="i")]
SIDECAR = Container(name="proxy", image="i", restart_policy="Always")


def started(plan: PodPlan) -> list[str | None]:
    return [container.name for container in plan.start]


def test_a_new_pod_gets_a_sandbox_first_and_then_all_its_containers() -> None:
    new = pod(Container(name="a", image="i"), Container(name="b", image="i"))
    assert plan_pod(new, None, {}, NOW) == PodPlan(create_sandbox=True)
    assert started(plan_pod(new, SANDBOX, {}, NOW)) == ["a", "b"]


def test_a_running_pod_needs_nothing() -> None:
    assert plan_pod(pod(), SANDBOX, {"app": record()}, NOW) == PodPlan(start=[], kill=[])


@pytest.mark.parametrize(
    ("policy", "exit_code", "restarted"),
    [
        ("Always", 0, True),
        ("Always", 1, True),
        ("OnFailure", 0, False),
        ("OnFailure", 1, True),
        ("Never", 0, False),
        ("Never", 1, False),
    ],
)
def test_the_restart_policy_decides_over_a_container_that_ended(policy: str, exit_code: int, restarted: bool) -> None:
    plan = plan_pod(pod(restart_policy=policy), SANDBOX, {"app": exited(exit_code=exit_code)}, NOW)
    assert (started(plan), plan.finished) == ((["app"], False) if restarted else ([], True))


def test_a_container_in_backoff_is_started_when_it_is_over() -> None:
    crashed = exited(exit_code=1)
    crashed.backoff = BackOff(20.0, updated_at=100.0)
    plan = plan_pod(pod(), SANDBOX, {"app": crashed}, NOW)
    assert (started(plan), plan.wake_at) == ([], 130.0)
    assert started(plan_pod(pod(), SANDBOX, {"app": crashed}, 130.0)) == ["app"]


def test_init_containers_run_one_after_the_other_and_before_the_others() -> None:
    with_init = pod(init_containers=INIT)
    records: dict[str, ContainerRecord] = {}
    assert started(plan_pod(with_init, SANDBOX, records, NOW)) == ["first"]
    records["first"] = record("first")
    assert started(plan_pod(with_init, SANDBOX, records, NOW)) == []
    records["first"] = exited("first")
    assert started(plan_pod(with_init, SANDBOX, records, NOW)) == ["second"]
    records["second"] = exited("second")
    assert started(plan_pod(with_init, SANDBOX, records, NOW)) == ["app"]


def test_a_failed_init_container_ends_a_pod_that_never_restarts() -> None:
    failed = {"first": exited("first", 1)}
    assert plan_pod(pod(init_containers=INIT, restart_policy="Never"), SANDBOX, failed, NOW).finished
    assert started(plan_pod(pod(init_containers=INIT), SANDBOX, failed, NOW)) == ["first"]


def test_a_sidecar_that_has_started_lets_the_others_start() -> None:
    with_sidecar = pod(init_containers=[SIDECAR])
    sidecar = record("proxy")
    sidecar.started = False
    assert started(plan_pod(with_sidecar, SANDBOX, {"proxy": sidecar}, NOW)) == []
    sidecar.started = True
    assert started(plan_pod(with_sidecar, SANDBOX, {"proxy": sidecar}, NOW)) == ["app"]


def test_a_sidecar_is_restarted_beside_running_containers_and_killed_after_them() -> None:
    with_sidecar = pod(init_containers=[SIDECAR], restart_policy="Never")
    assert started(plan_pod(with_sidecar, SANDBOX, {"proxy": exited("proxy", 1), "app": record()}, NOW)) == ["proxy"]
    plan = plan_pod(with_sidecar, SANDBOX, {"proxy": record("proxy"), "app": exited()}, NOW)
    assert (plan.finished, list(plan.kill)) == (True, [Kill("proxy")])


def test_a_container_that_its_probe_condemned_is_killed() -> None:
    sick = record()
    sick.kill_message = "Container app failed liveness probe, will be restarted"
    assert list(plan_pod(pod(), SANDBOX, {"app": sick}, NOW).kill) == [Kill("app", sick.kill_message)]


def test_a_new_sandbox_starts_everything_again_but_not_what_is_done_for_good() -> None:
    old = {"first": exited("first", sandbox="s0"), "app": exited(exit_code=137, sandbox="s0")}
    dead = replace(SANDBOX, ready=False)
    with_init = pod(init_containers=INIT[:1])
    assert plan_pod(with_init, dead, old, NOW).create_sandbox
    assert started(plan_pod(with_init, SANDBOX, old, NOW)) == ["first"]
    assert plan_pod(pod(restart_policy="Never"), dead, {"app": exited()}, NOW).finished


def test_termination_stops_sidecars_after_the_others_and_in_reverse() -> None:
    sidecars: list[Any] = [SIDECAR, replace(SIDECAR, name="log")]
    ending = pod(init_containers=sidecars)
    records = {name: record(name) for name in ("proxy", "log", "app")}
    assert plan_termination(ending, records) == [Kill("app")]
    records["app"] = exited()
    assert plan_termination(ending, records) == [Kill("log")]
    records["log"] = exited("log")
    assert plan_termination(ending, records) == [Kill("proxy")]
    records["proxy"] = exited("proxy")
    assert plan_termination(ending, records) == []
