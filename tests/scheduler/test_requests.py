"""What a pod requests of its node."""

from __future__ import annotations

from typing import Any

import pytest

from kubeloop.actors.scheduler.requests import SCORING_DEFAULTS, pod_requests
from tests.scheduler.objects import make_pod


def container(cpu: str, **more: Any) -> dict[str, Any]:
    return {"name": "c", "resources": {"requests": {"cpu": cpu}}, **more}


def cpu_of(**spec: Any) -> int:
    pod = make_pod({"metadata": {"name": "p"}, "spec": spec})
    assert pod.spec is not None
    return pod_requests(pod.spec)["cpu"]


def test_containers_are_added_up() -> None:
    assert cpu_of(containers=[container("1"), container("500m")]) == 1500


def test_the_largest_init_container_counts_when_it_is_more_than_the_containers() -> None:
    assert cpu_of(containers=[container("1")], initContainers=[container("3"), container("2")]) == 3000


@pytest.mark.parametrize(
    ("order", "expected"),
    [(["sidecar", "init"], 3000), (["init", "sidecar"], 2000)],
    ids=["sidecar first: it runs beside the init container", "init container first: it runs alone"],
)
def test_a_sidecar_adds_to_the_init_containers_after_it(order: list[str], expected: int) -> None:
    made = {"sidecar": container("1", restartPolicy="Always"), "init": container("2")}
    assert cpu_of(containers=[container("500m")], initContainers=[made[name] for name in order]) == expected


def test_pod_level_requests_replace_the_sum_and_overhead_is_added() -> None:
    spec = {"containers": [container("1")], "resources": {"requests": {"cpu": "3"}}, "overhead": {"cpu": "250m"}}
    assert cpu_of(**spec) == 3250


def test_scoring_assumes_something_of_a_container_that_requests_nothing() -> None:
    pod = make_pod({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c"}, container("1")]}})
    assert pod.spec is not None
    assert pod_requests(pod.spec) == {"cpu": 1000}
    assert pod_requests(pod.spec, SCORING_DEFAULTS) == {"cpu": 1100, "memory": 400 * 1024 * 1024}
