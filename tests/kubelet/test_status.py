from collections.abc import Mapping
from typing import Any

import pytest
from msgspec.structs import replace

from kubeloop.actors.api.core_v1 import (
    Container,
    Pod,
    PodCondition,
    PodReadinessGate,
    PodStatus,
    ResourceRequirements,
)
from kubeloop.actors.kubelet.backoff import BackOff
from kubeloop.actors.kubelet.qos import pod_requests, qos_class
from kubeloop.actors.kubelet.record import ContainerRecord
from kubeloop.actors.kubelet.status import LIVES, PodFate, pod_status
from tests.kubelet.builders import SANDBOX, exited, pod, record

NOW = 120.0


def status_of(
    one: Pod, records: Mapping[str, ContainerRecord], *, sandbox: Any = SANDBOX, fate: PodFate = LIVES
) -> PodStatus:
    return pod_status(one, sandbox, records, now=NOW, host_ip="192.168.0.1", runtime_name="sim", fate=fate)


def conditions(status: PodStatus) -> dict[str | None, str | None]:
    return {condition.type: condition.status for condition in status.conditions}


def test_a_running_pod_reports_everything_at_once() -> None:
    status = status_of(pod(), {"app": record()})
    assert (status.phase, status.pod_ip, status.host_ip, status.qos_class) == (
        "Running", "10.244.1.2", "192.168.0.1", "BestEffort",
    )  # fmt: skip
    assert conditions(status) == dict.fromkeys(
        ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"), "True"
    )
    [container] = status.container_statuses
    assert container.state is not None and container.state.running is not None
    assert (container.ready, container.started, container.container_id) == (True, True, "sim://id-app")


def test_the_same_facts_give_an_equal_status() -> None:
    first = status_of(pod(), {"app": record()})
    assert status_of(replace(pod(), status=first), {"app": record()}) == first


def test_an_unready_container_makes_the_pod_unready() -> None:
    status = status_of(pod(), {"app": record(ready=False)})
    [ready] = [c for c in status.conditions if c.type == "Ready"]
    assert (status.phase, ready.status, ready.reason, ready.message) == (
        "Running", "False", "ContainersNotReady", "containers with unready status: [app]",
    )  # fmt: skip


def test_a_container_in_backoff_waits_in_a_running_pod() -> None:
    crashed = exited(exit_code=2)
    crashed.backoff, crashed.restart_count = BackOff(80.0, 100.0), 4
    status = status_of(pod(), {"app": crashed})
    [container] = status.container_statuses
    assert container.state is not None and container.state.waiting is not None
    assert (status.phase, container.state.waiting.reason, container.restart_count) == ("Running", "CrashLoopBackOff", 4)
    assert container.state.waiting.message == ("back-off 1m20s restarting failed container=app pod=web_default(uid-1)")
    assert container.last_state is not None and container.last_state.terminated is not None
    assert container.last_state.terminated.exit_code == 2


@pytest.mark.parametrize(
    ("exit_code", "phase", "reason"), [(0, "Succeeded", "PodCompleted"), (3, "Failed", "PodFailed")]
)
def test_a_pod_that_ended_has_the_phase_of_its_exit_codes(exit_code: int, phase: str, reason: str) -> None:
    status = status_of(pod(restart_policy="Never"), {"app": exited(exit_code=exit_code)})
    [ready] = [c for c in status.conditions if c.type == "Ready"]
    assert (status.phase, ready.status, ready.reason) == (phase, "False", reason)


def test_containers_wait_for_init_containers() -> None:
    status = status_of(pod(init_containers=[Container(name="init", image="i")]), {"init": record("init")})
    assert status.container_statuses[0].state is not None
    assert status.container_statuses[0].state.waiting is not None
    assert status.container_statuses[0].state.waiting.reason == "PodInitializing"
    assert status.phase == "Pending"
    [initialized] = [c for c in status.conditions if c.type == "Initialized"]
    assert (initialized.status, initialized.message) == ("False", "containers with incomplete status: [init]")


def test_a_readiness_gate_holds_the_pod_back_until_somebody_sets_it() -> None:
    gated = pod(readiness_gates=[PodReadinessGate(condition_type="example.com/lb")])
    status = status_of(gated, {"app": record()})
    assert (conditions(status)["ContainersReady"], conditions(status)["Ready"]) == ("True", "False")
    opened = PodCondition(type="example.com/lb", status="True")
    status = status_of(replace(gated, status=PodStatus(conditions=[opened])), {"app": record()})
    assert conditions(status)["Ready"] == "True"
    assert opened in status.conditions


def test_a_failed_fate_says_why() -> None:
    fate = PodFate(True, ("DeadlineExceeded", "too long"))
    status = status_of(pod(), {"app": exited(exit_code=137)}, fate=fate)
    assert (status.phase, status.reason, status.message) == ("Failed", "DeadlineExceeded", "too long")


def test_transition_times_stay_while_the_condition_does() -> None:
    first = status_of(pod(), {"app": record(ready=False)})
    later = pod_status(
        replace(pod(), status=first), SANDBOX, {"app": record()}, now=500.0, host_ip="192.168.0.1", runtime_name="sim"
    )
    times = {c.type: c.last_transition_time for c in later.conditions}
    assert times["PodScheduled"] == "1970-01-01T00:02:00Z"
    assert times["Ready"] == "1970-01-01T00:08:20Z"


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        (None, "BestEffort"),
        (ResourceRequirements(requests={"cpu": "1"}), "Burstable"),
        (ResourceRequirements(limits={"cpu": "1", "memory": "1Gi"}), "Guaranteed"),
        (
            ResourceRequirements(limits={"cpu": "1", "memory": "1Gi"}, requests={"cpu": "1000m", "memory": "1Gi"}),
            "Guaranteed",
        ),
        (ResourceRequirements(limits={"cpu": "2", "memory": "1Gi"}, requests={"cpu": "1"}), "Burstable"),
    ],
)
def test_quality_of_service_follows_requests_and_limits(resources: ResourceRequirements | None, expected: str) -> None:
    assert qos_class(pod(Container(name="app", image="i", resources=resources))) == expected


def test_a_pod_asks_for_the_larger_of_its_containers_and_its_largest_init_container() -> None:
    def cpu(name: str, amount: str, policy: str | None = None) -> Container:
        return Container(
            name=name, image="i", restart_policy=policy, resources=ResourceRequirements(requests={"cpu": amount})
        )

    init = [cpu("small", "1"), cpu("sidecar", "500m", "Always"), cpu("large", "3")]
    assert pod_requests(pod(cpu("a", "1"), cpu("b", "1"), init_containers=init)) == {"cpu": 3500}
    assert pod_requests(pod(cpu("a", "2"), cpu("b", "2"), init_containers=init)) == {"cpu": 4500}
