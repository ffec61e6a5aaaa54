import pytest
from msgspec.structs import replace

from kubeloop.actors.api.core_v1 import NodeCondition, Taint
from kubeloop.actors.kubelet.admission import Rejection, admit
from kubeloop.actors.kubelet.node import NodeIdentity, build_node, conditions, parse_taint, reconciled

IDENTITY = NodeIdentity(
    "node-1", "192.168.0.1", {"zone": "a"}, [], {"cpu": "4", "pods": "110"}, "10.244.1.0/24", "sim://1"
)


def test_a_node_is_registered_ready_with_the_labels_of_its_machine() -> None:
    node = build_node(IDENTITY, machine_id="m", now="t")
    assert node.metadata.labels["kubernetes.io/hostname"] == "node-1"
    assert node.metadata.labels["zone"] == "a"
    assert node.status is not None and node.spec is not None
    assert {c.type: (c.status, c.reason) for c in node.status.conditions} == {
        "MemoryPressure": ("False", "KubeletHasSufficientMemory"),
        "DiskPressure": ("False", "KubeletHasNoDiskPressure"),
        "PIDPressure": ("False", "KubeletHasSufficientPID"),
        "Ready": ("True", "KubeletReady"),
    }
    assert node.spec.pod_cidrs == ["10.244.1.0/24"]


def test_a_heartbeat_moves_the_transition_time_only_with_the_status() -> None:
    foreign = NodeCondition(type="NetworkUnavailable", status="False")
    first = conditions([foreign], "t1")
    second = conditions(first, "t2", "container runtime is down")
    ready = {c.type: c for c in second}
    assert second[0] is foreign
    assert (ready["Ready"].status, ready["Ready"].last_transition_time) == ("False", "t2")
    assert (ready["DiskPressure"].last_transition_time, ready["DiskPressure"].last_heartbeat_time) == ("t1", "t2")


def test_a_node_that_is_there_keeps_what_others_wrote() -> None:
    wanted = build_node(IDENTITY, machine_id="m", now="t")
    assert wanted.spec is not None
    tainted = replace(wanted.spec, taints=[Taint(key="k", effect="NoSchedule")], unschedulable=True)
    existing = replace(wanted, spec=tainted, metadata=replace(wanted.metadata, labels={"mine": "1"}))
    node = reconciled(existing, wanted, "t2")
    assert node.spec is tainted
    assert node.metadata.labels == {"mine": "1", **wanted.metadata.labels}


@pytest.mark.parametrize(("text", "taint"), [
    ("k=v:NoSchedule", Taint(key="k", value="v", effect="NoSchedule")),
    ("k:NoExecute", Taint(key="k", effect="NoExecute")),
])  # fmt: skip
def test_taints_are_written_as_kubectl_writes_them(text: str, taint: Taint) -> None:
    assert parse_taint(text) == taint


@pytest.mark.parametrize("text", ["k=v", "k=v:Sometimes", ":NoSchedule"])
def test_other_taints_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="written as key=value:Effect"):
        parse_taint(text)


def test_a_pod_that_does_not_fit_is_rejected_with_the_numbers() -> None:
    allocatable = {"cpu": 1000, "memory": 2**30 * 1000, "pods": 2000}
    assert admit({"cpu": 600}, {"cpu": 400, "pods": 1000}, allocatable) is None
    assert admit({"cpu": 601}, {"cpu": 400, "pods": 1000}, allocatable) == Rejection(
        "OutOfcpu",
        "Pod was rejected: Node didn't have enough resource: cpu, requested: 601, used: 400, capacity: 1000",
    )
    full = admit({}, {"pods": 2000}, allocatable)
    assert full is not None and full.reason == "OutOfpods"
    unknown = admit({"example.com/gpu": 1000}, {}, allocatable)
    assert unknown is not None and unknown.reason == "OutOfexample.com/gpu"
