"""Facts about pods: their defaults, what is refused and in which words, what may change, and how they are shown."""

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from kubeloop.actors.api.core_v1 import Pod
from kubeloop.actors.apiserver.registry import kind_for
from kubeloop.actors.apiserver.registry.pod_columns import summarise
from kubeloop.actors.apiserver.registry.pod_defaults import pull_policy

FOUND = kind_for("", "v1", "pods")
assert FOUND is not None
KIND = FOUND


def pod(spec: Mapping[str, Any] | None = None, **more: Any) -> Any:
    containers = [{"name": "c", "image": "web:1"}]
    return msgspec.convert({"metadata": {"name": "p"}, "spec": {"containers": containers, **(spec or {})}, **more}, Pod)


def defaulted(spec: Mapping[str, Any] | None = None) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(KIND.default(pod(spec)).spec))
    return found


def errors(spec: Mapping[str, Any]) -> list[str]:
    return [f"{error.field}: {error.body}" for error in KIND.validate(KIND.default(pod(spec)))]


def container(**fields: Any) -> dict[str, Any]:
    return {"containers": [{"name": "c", "image": "web:1", **fields}]}


def test_a_plain_pod_gets_the_documented_defaults() -> None:
    assert defaulted() == {
        "containers": [
            {
                "name": "c",
                "image": "web:1",
                "imagePullPolicy": "IfNotPresent",
                "resources": {},
                "terminationMessagePath": "/dev/termination-log",
                "terminationMessagePolicy": "File",
            }
        ],
        "dnsPolicy": "ClusterFirst",
        "enableServiceLinks": True,
        "restartPolicy": "Always",
        "schedulerName": "default-scheduler",
        "securityContext": {},
        "terminationGracePeriodSeconds": 30,
    }


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("web", "Always"),
        ("web:latest", "Always"),
        ("web:1", "IfNotPresent"),
        ("registry:5000/web", "Always"),
        ("registry:5000/web:2", "IfNotPresent"),
        ("web@sha256:00", "IfNotPresent"),
    ],
)
def test_the_pull_policy_follows_the_tag(image: str, policy: str) -> None:
    assert pull_policy(image) == policy


def test_requests_follow_limits_and_amounts_are_canonical() -> None:
    resources = defaulted(container(resources={"limits": {"cpu": "0.5", "memory": "1024Mi"}}))["containers"][0][
        "resources"
    ]
    assert resources == {"limits": {"cpu": "500m", "memory": "1Gi"}, "requests": {"cpu": "500m", "memory": "1Gi"}}


def test_probes_ports_volumes_and_field_references_are_defaulted() -> None:
    spec = defaulted(
        {
            **container(
                ports=[{"containerPort": 80}],
                livenessProbe={"httpGet": {"port": 80}},
                env=[{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
            ),
            "volumes": [
                {"name": "a"},
                {"name": "b", "configMap": {"name": "x"}},
                {"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}},
            ],
        }
    )
    made = spec["containers"][0]
    assert made["ports"] == [{"containerPort": 80, "protocol": "TCP"}]
    assert made["livenessProbe"] == {
        "httpGet": {"port": 80, "path": "/", "scheme": "HTTP"},
        "timeoutSeconds": 1,
        "periodSeconds": 10,
        "successThreshold": 1,
        "failureThreshold": 3,
    }
    assert made["env"][0]["valueFrom"]["fieldRef"] == {"apiVersion": "v1", "fieldPath": "status.podIP"}
    assert spec["volumes"] == [
        {"name": "a", "emptyDir": {}},
        {"name": "b", "configMap": {"name": "x", "defaultMode": 0o644}},
        {
            "name": "t",
            "projected": {
                "sources": [{"serviceAccountToken": {"path": "t", "expirationSeconds": 3600}}],
                "defaultMode": 0o644,
            },
        },
    ]


def test_a_pod_of_defaults_is_returned_as_it_is() -> None:
    once = KIND.default(pod())
    assert KIND.default(once) is once


@pytest.mark.parametrize(
    ("spec", "wrong"),
    [
        ({"containers": []}, ["spec.containers: Required value"]),
        ({"containers": [{"image": "i"}]}, ["spec.containers[0].name: Required value"]),
        ({"containers": [{"name": "c"}]}, ["spec.containers[0].image: Required value"]),
        (
            {"containers": [{"name": "c", "image": "i"}, {"name": "c", "image": "i"}]},
            ['spec.containers[1].name: Duplicate value: "c"'],
        ),
        (
            {"restartPolicy": "Sometimes"},
            [
                'spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "OnFailure", "Never"',
            ],
        ),
        (
            container(ports=[{"containerPort": 70000}]),
            ["spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive"],
        ),
        (
            container(env=[{"name": "A=B"}]),
            [
                'spec.containers[0].env[0].name: Invalid value: "A=B": a valid environment variable name must consist '
                "only of printable ASCII characters other than '='"
            ],
        ),
        (
            container(volumeMounts=[{"name": "none", "mountPath": "/x"}]),
            ['spec.containers[0].volumeMounts[0].name: Not found: "none"'],
        ),
        (
            container(resources={"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}),
            [
                'spec.containers[0].resources.requests: Invalid value: "2": '
                "must be less than or equal to cpu limit of 1",
            ],
        ),
        (
            container(resources={"requests": {"cpu": "-1"}}),
            [
                'spec.containers[0].resources.requests[cpu]: Invalid value: "-1": must be greater than or equal to 0',
            ],
        ),
        (
            {"volumes": [{"name": "v", "emptyDir": {}, "hostPath": {"path": "/x"}}]},
            ["spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type"],
        ),
        (
            {"tolerations": [{"key": "a", "operator": "Exists", "effect": "Bad"}]},
            [
                'spec.tolerations[0].effect: Unsupported value: "Bad": supported values: "NoSchedule", '
                '"PreferNoSchedule", "NoExecute"'
            ],
        ),
        (
            {"topologySpreadConstraints": [{"maxSkew": 0, "topologyKey": "z", "whenUnsatisfiable": "DoNotSchedule"}]},
            ["spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero"],
        ),
    ],
)
def test_what_is_wrong_is_said_in_the_api_servers_words(spec: Mapping[str, Any], wrong: list[str]) -> None:
    assert errors(spec) == wrong


def test_a_container_that_was_right_once_is_still_compared_with_its_neighbours() -> None:
    good = KIND.default(pod())
    assert not KIND.validate(good)
    twice = msgspec.structs.replace(good.spec, containers=(*good.spec.containers, *good.spec.containers))
    found = KIND.validate(msgspec.structs.replace(good, spec=twice))
    assert [error.field for error in found] == ["spec.containers[1].name"]


def changed(old: Any, **fields: Any) -> Any:
    return msgspec.structs.replace(old, spec=msgspec.structs.replace(old.spec, **fields))


def test_the_image_may_change_and_the_node_may_not() -> None:
    old = KIND.default(pod())
    other = msgspec.structs.replace(old.spec.containers[0], image="web:2")
    assert not KIND.validate_update(changed(old, containers=(other,)), old)
    (error,) = KIND.validate_update(changed(old, node_name="n"), old)
    assert error.field == "spec"
    assert "pod updates may not change fields other than `spec.containers[*].image`" in error.detail


@pytest.mark.parametrize(
    ("resources", "qos"),
    [
        ({}, "BestEffort"),
        ({"requests": {"cpu": "1"}}, "Burstable"),
        ({"limits": {"cpu": "1"}}, "Burstable"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}}, "Guaranteed"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}, "Burstable"),
    ],
)
def test_the_quality_of_service_class_follows_cpu_and_memory(resources: Mapping[str, Any], qos: str) -> None:
    made = KIND.default(pod(container(resources=resources)))
    assert KIND.prepare_for_create is not None
    status = KIND.prepare_for_create(made, None).status  # type: ignore[arg-type]
    assert (status.phase, status.qos_class) == ("Pending", qos)


RUNNING = {"name": "c", "ready": True, "restartCount": 0, "state": {"running": {}}}
DONE = {"name": "c", "restartCount": 0, "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}}
CRASHING = {"name": "c", "restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}
INITIALIZING = {"name": "i", "restartCount": 0, "state": {"running": {}}}
INIT = {"initContainers": [{"name": "i", "image": "i"}]}


@pytest.mark.parametrize(
    ("spec", "status", "shown"),
    [
        ({}, {"phase": "Pending"}, ("Pending", 0, 1, 0)),
        ({}, {"phase": "Running", "containerStatuses": [RUNNING]}, ("Running", 1, 1, 0)),
        ({}, {"phase": "Running", "containerStatuses": [CRASHING]}, ("CrashLoopBackOff", 0, 1, 3)),
        ({}, {"phase": "Succeeded", "containerStatuses": [DONE]}, ("Completed", 0, 1, 0)),
        ({}, {"phase": "Failed", "reason": "Evicted"}, ("Evicted", 0, 1, 0)),
        (INIT, {"phase": "Pending", "initContainerStatuses": [INITIALIZING]}, ("Init:0/1", 0, 1, 0)),
        (
            INIT,
            {
                "phase": "Pending",
                "initContainerStatuses": [{"name": "i", "state": {"terminated": {"exitCode": 2, "reason": "Error"}}}],
            },
            ("Init:Error", 0, 1, 0),
        ),
        (
            {},
            {"phase": "Pending", "conditions": [{"type": "PodScheduled", "reason": "SchedulingGated"}]},
            ("SchedulingGated", 0, 1, 0),
        ),
    ],
)
def test_the_status_column_sums_up_the_containers(spec: Any, status: Any, shown: tuple[Any, ...]) -> None:
    found = summarise(pod(spec, status=status))
    assert (found.reason, found.ready, found.total, found.restarts) == shown


def test_a_pod_that_is_deleted_is_terminating() -> None:
    gone = pod(status={"phase": "Running", "containerStatuses": [RUNNING]})
    metadata = msgspec.structs.replace(gone.metadata, deletion_timestamp="2026-01-01T00:00:00Z")
    assert summarise(msgspec.structs.replace(gone, metadata=metadata)).reason == "Terminating"


def test_restarts_say_how_long_ago_the_last_one_was() -> None:
    last = {"terminated": {"exitCode": 1, "finishedAt": "2026-01-01T00:00:00Z"}}
    crashed = pod(status={"phase": "Running", "containerStatuses": [{**CRASHING, "lastState": last}]})
    cells = {column.name: column.cell(crashed, 1767225600.0 + 300) for column in KIND.columns}
    assert cells["Restarts"] == "3 (5m ago)"
    assert cells["Ready"] == "0/1"
    assert cells["Node"] == "<none>"
