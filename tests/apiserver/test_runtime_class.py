"""A pod of a RuntimeClass has its overhead and scheduling, or is refused."""

from typing import Any

import pytest

from kubeloop.actors.api.errors import StatusError
from tests.apiserver.conftest import Server

CLASS = {
    "apiVersion": "node.k8s.io/v1",
    "kind": "RuntimeClass",
    "metadata": {"name": "kata"},
    "handler": "kata",
    "overhead": {"podFixed": {"cpu": "250m"}},
    "scheduling": {
        "nodeSelector": {"kata": "true"},
        "tolerations": [{"key": "kata", "operator": "Exists", "effect": "NoSchedule"}],
    },
}


def pod(name: str, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i"}], **spec}}


@pytest.fixture
async def with_class(server: Server) -> Server:
    await server.call("create", "runtimeclasses", body=CLASS, namespace="", group="node.k8s.io")
    return server


async def test_it_takes_over_overhead_selector_and_tolerations(with_class: Server) -> None:
    made = await with_class.call("create", "pods", body=pod("p", runtimeClassName="kata", nodeSelector={"a": "b"}))
    assert dict(made.spec.overhead) == {"cpu": "250m"}
    assert dict(made.spec.node_selector) == {"a": "b", "kata": "true"}
    assert made.spec.tolerations[-1].key == "kata"
    plain = await with_class.call("create", "pods", body=pod("q"))
    assert (dict(plain.spec.overhead), dict(plain.spec.node_selector)) == ({}, {})


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"runtimeClassName": "absent"}, 'pod rejected: RuntimeClass "absent" not found'),
        (
            {"runtimeClassName": "kata", "nodeSelector": {"kata": "no"}},
            "conflict: runtimeClass.scheduling.nodeSelector[kata] = true; pod.spec.nodeSelector[kata] = no",
        ),
        (
            {"runtimeClassName": "kata", "overhead": {"cpu": "1"}},
            "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead",
        ),
        (
            {"overhead": {"cpu": "1"}},
            "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead",
        ),
    ],
)
async def test_a_pod_that_contradicts_its_class_is_forbidden(
    with_class: Server, spec: dict[str, Any], message: str
) -> None:
    with pytest.raises(StatusError) as refused:
        await with_class.call("create", "pods", body=pod("p", **spec))
    assert (refused.value.code, refused.value.message) == (403, f'pods "p" is forbidden: {message}')
