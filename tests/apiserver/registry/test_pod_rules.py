"""What is wrong with a pod: the field and the words for each rule of the API reference; what an update may change."""

from typing import Any

import pytest

from kubeloop.actors.api import codec
from kubeloop.actors.api.core_v1 import Pod
from kubeloop.actors.apiserver.registry import kind_for
from kubeloop.actors.apiserver.registry.pod_updates import (
    validate_ephemeral_containers_update,
    validate_pod_update,
    validate_resize,
)

KIND = kind_for("", "v1", "pods")
CONTAINER = {"name": "c", "image": "i"}
PORT = {"containerPort": 80}


def pod(**spec: Any) -> Any:
    assert KIND is not None
    document = {"metadata": {"name": "p", "namespace": "n"}, "spec": {"containers": [CONTAINER], **spec}}
    return KIND.default(codec.convert(document, Pod))


def container(**fields: Any) -> dict[str, Any]:
    return {"containers": [{**CONTAINER, **fields}]}


def security(**fields: Any) -> dict[str, Any]:
    return {"securityContext": fields}


def term(**fields: Any) -> dict[str, Any]:
    return {"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [fields]}}}


def nodes(expression: dict[str, Any], kind: str = "matchExpressions") -> dict[str, Any]:
    terms = {"nodeSelectorTerms": [{kind: [expression]}]}
    return {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}}


SPREAD = {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {}}
TERM = "spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0]"
NODES = "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0]"
PROBE = {"exec": {"command": ["true"]}}

WRONG: list[tuple[dict[str, Any], str, str]] = [
    (container(image=" i"), "spec.containers[0].image", "must not have leading or trailing whitespace"),
    (container(livenessProbe={}), "spec.containers[0].livenessProbe", "must specify a handler type"),
    (
        container(livenessProbe={**PROBE, "successThreshold": 2}),
        "spec.containers[0].livenessProbe.successThreshold",
        "Invalid value: 2: must be 1",
    ),
    (
        container(readinessProbe={**PROBE, "terminationGracePeriodSeconds": 5}),
        "spec.containers[0].readinessProbe.terminationGracePeriodSeconds",
        "Invalid value: 5: must not be set for readinessProbes",
    ),
    (
        container(lifecycle={"preStop": {"sleep": {"seconds": 31}}}),
        "spec.containers[0].lifecycle.preStop.sleep",
        "Invalid value: 31: must be non-negative and less than terminationGracePeriodSeconds (30)",
    ),
    (
        container(resizePolicy=[{"resourceName": "gpu", "restartPolicy": "NotRequired"}]),
        "spec.containers[0].resizePolicy",
        'Unsupported value: "gpu": supported values: "cpu", "memory"',
    ),
    (
        {"hostNetwork": True, **container(ports=[{"containerPort": 80, "hostPort": 81}])},
        "spec.containers[0].ports[0].containerPort",
        "Invalid value: 80: must match `hostPort` when `hostNetwork` is true",
    ),
    (
        {"hostPID": True, "shareProcessNamespace": True},
        "spec.securityContext.shareProcessNamespace",
        "Invalid value: true: ShareProcessNamespace and HostPID cannot both be enabled",
    ),
    ({"hostUsers": False, "hostIPC": True}, "spec.hostIPC", "Forbidden: when `hostUsers` is false"),
    (
        security(supplementalGroups=[1, -1]),
        "spec.securityContext.supplementalGroups[1]",
        "Invalid value: -1: must be between 0 and 2147483647, inclusive",
    ),
    (
        security(sysctls=[{"name": "a", "value": "1"}, {"name": "a", "value": "1"}]),
        "spec.securityContext.sysctls[1].name",
        'Duplicate value: "a"',
    ),
    (
        security(sysctls=[{"name": "A_", "value": "1"}]),
        "spec.securityContext.sysctls[0].name",
        "must have at most 253 characters",
    ),
    (
        security(appArmorProfile={"type": "Localhost"}),
        "spec.securityContext.appArmorProfile.localhostProfile",
        "Required value: must be set when AppArmor type is Localhost",
    ),
    (
        container(securityContext={"seccompProfile": {"type": "Localhost", "localhostProfile": "/abs"}}),
        "spec.containers[0].securityContext.seccompProfile.localhostProfile",
        'Invalid value: "/abs": must be a relative path',
    ),
    (
        {"tolerations": [{"key": "k", "operator": "Equal", "value": "a b"}]},
        "spec.tolerations[0].operator",
        'Invalid value: "a b": a valid label must be',
    ),
    (
        {"tolerations": [{"key": "k", "operator": "Exists", "value": "v"}]},
        "spec.tolerations[0].operator",
        "value must be empty when `operator` is 'Exists'",
    ),
    (
        {"topologySpreadConstraints": [SPREAD, SPREAD]},
        "spec.topologySpreadConstraints[0].{topologyKey, whenUnsatisfiable}",
        'Duplicate value: "{zone, DoNotSchedule}"',
    ),
    (
        {"topologySpreadConstraints": [{**SPREAD, "nodeTaintsPolicy": "Maybe"}]},
        "spec.topologySpreadConstraints[0].nodeTaintsPolicy",
        'Unsupported value: "Maybe": supported values: "Honor", "Ignore"',
    ),
    (
        {"topologySpreadConstraints": [{**SPREAD, "labelSelector": None, "matchLabelKeys": ["a"]}]},
        "spec.topologySpreadConstraints[0].matchLabelKeys",
        "Forbidden: must not be specified when labelSelector is not set",
    ),
    (term(labelSelector={}), f"{TERM}.topologyKey", "Required value: can not be empty"),
    (term(labelSelector={}), f"{TERM}.topologyKey", 'Invalid value: "": name part must be non-empty'),
    (
        term(topologyKey="z", labelSelector={}, matchLabelKeys=["a"], mismatchLabelKeys=["a"]),
        f"{TERM}.matchLabelKeys[0]",
        'Invalid value: "a": exists in both matchLabelKeys and mismatchLabelKeys',
    ),
    (
        nodes({"key": "metadata.name", "operator": "In", "values": ["a", "b"]}, "matchFields"),
        f"{NODES}.matchFields[0].values",
        "Required value: must be only one value when `operator` is 'In' or 'NotIn' for node field selector",
    ),
    (
        nodes({"key": "k", "operator": "Lt", "values": []}),
        f"{NODES}.matchExpressions[0].values",
        "Required value: must be specified single value when `operator` is 'Lt' or 'Gt'",
    ),
    ({"os": {"name": "plan9"}}, "spec.os", 'Unsupported value: "plan9": supported values: "linux", "windows"'),
    (
        {"os": {"name": "windows"}, **security(runAsUser=1)},
        "spec.securityContext.runAsUser",
        "Forbidden: cannot be set for a windows pod",
    ),
    (
        {"nodeName": "n", "schedulingGates": [{"name": "g"}]},
        "spec.nodeName",
        "Forbidden: cannot be set until all schedulingGates have been cleared",
    ),
    (
        {"ephemeralContainers": [{"name": "e", "image": "i"}]},
        "spec.ephemeralContainers",
        "Forbidden: cannot be set on create",
    ),
    (
        {"dnsConfig": {"searches": ["Bad"]}},
        "spec.dnsConfig.searches[0]",
        "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-', '_' or '.'",
    ),
    (
        {"hostAliases": [{"ip": "1.2.3.4", "hostnames": ["a", "B"]}]},
        "spec.hostAliases[0].hostnames[1]",
        "a lowercase RFC 1123 subdomain",
    ),
]


@pytest.mark.parametrize(("spec", "field", "message"), WRONG, ids=lambda value: value if isinstance(value, str) else "")
def test_each_rule_names_the_field_and_what_is_wrong_with_it(spec: dict[str, Any], field: str, message: str) -> None:
    assert KIND is not None
    causes = [error.cause() for error in KIND.validate(pod(**spec))]
    assert any(cause["field"] == field and message in cause["message"] for cause in causes), causes


def causes(validate: Any, new: Any, old: Any) -> list[tuple[str, str]]:
    return [(error.field, error.body) for error in validate(new, old)]


def test_ephemeral_containers_may_be_added_and_not_changed() -> None:
    def with_ephemeral(*containers: dict[str, Any]) -> Any:
        return pod(ephemeralContainers=list(containers))

    one, check = {"name": "e", "image": "i"}, validate_ephemeral_containers_update
    assert causes(check, with_ephemeral(one), pod()) == []
    assert causes(check, with_ephemeral(one, {"name": "f", "image": "i"}), with_ephemeral(one)) == []
    path, name = "spec.ephemeralContainers", 'existing ephemeral containers "e"'
    assert causes(check, pod(), with_ephemeral(one)) == [(path, f"Forbidden: {name} may not be removed\n")]
    ((field, text),) = causes(check, with_ephemeral({**one, "image": "other"}), with_ephemeral(one))
    assert (field, text.splitlines()) == (
        path,
        [f"Forbidden: {name} may not be changed", '- image: "i"', '+ image: "other"'],
    )
    wrong = {**one, "name": "c", "ports": [PORT], "livenessProbe": PROBE, "targetContainerName": "absent"}
    assert causes(check, with_ephemeral(wrong), pod()) == [
        (f"{path}[0].name", 'Duplicate value: "c"'),
        (f"{path}[0].targetContainerName", 'Not found: "absent"'),
        (f"{path}[0].ports", "Forbidden: cannot be set for an Ephemeral Container"),
        (f"{path}[0].livenessProbe", "Forbidden: cannot be set for an Ephemeral Container"),
    ]


def test_what_an_update_may_not_change_is_shown_as_json() -> None:
    ((field, text),) = causes(validate_pod_update, pod(hostname="b"), pod(hostname="a"))
    assert (field, text.splitlines()[1:]) == ("spec", ['- hostname: "a"', '+ hostname: "b"'])
    gated = {"schedulingGates": [{"name": "g"}]}
    assert causes(validate_pod_update, pod(**gated, nodeSelector={"a": "b"}), pod(**gated)) == []
    assert causes(validate_pod_update, pod(), pod(**gated)) == []
    assert causes(validate_pod_update, pod(schedulingGates=[{"name": "h"}]), pod(**gated)) == [
        ("spec.schedulingGates[0]", "Forbidden: only deletion is allowed, but found new scheduling gate 'h'")
    ]


def test_a_resize_changes_amounts_of_cpu_and_memory_only() -> None:
    def sized(**resources: Any) -> Any:
        return pod(**container(resources=resources))

    assert causes(validate_resize, sized(requests={"cpu": "2"}), sized(requests={"cpu": "1"})) == []
    assert causes(validate_resize, sized(requests={"memory": "1"}), sized(requests={"cpu": "1", "memory": "1"})) == [
        ("spec.containers[0].resources.requests", "Forbidden: resource requests cannot be removed")
    ]
    assert causes(validate_resize, pod(), sized(requests={"cpu": "1"}))[0] == (
        "spec",
        'Invalid value: "BestEffort": Pod QOS Class may not change as a result of resizing',
    )
