"""Rules of kinds beside pods and definitions: for each the field, and the words that name what is wrong."""

from typing import Any

import pytest

from kubeloop.actors.api import codec
from kubeloop.actors.apiserver.registry import kind_for

META = {"name": "x", "namespace": "n"}
TEMPLATE = {"spec": {"containers": [{"name": "c", "image": "i"}], "restartPolicy": "Never"}}


def job(**spec: Any) -> dict[str, Any]:
    indexed = {"completionMode": "Indexed", "completions": 3, "parallelism": 1, "template": TEMPLATE}
    return {"spec": {**indexed, **spec}}


def volume(**spec: Any) -> dict[str, Any]:
    return {"spec": {"capacity": {"storage": "1"}, "accessModes": ["ReadWriteOnce"], **spec}}


def rule(**fields: Any) -> dict[str, Any]:
    subjects = [{"kind": "User", "user": {"name": "u"}}]
    return {"spec": {"priorityLevelConfiguration": {"name": "p"}, "rules": [{"subjects": subjects, **fields}]}}


NETWORKING, STORAGE = "networking.k8s.io", "storage.k8s.io"
FLOWS, ADMISSION = "flowcontrol.apiserver.k8s.io", "admissionregistration.k8s.io"
ISCSI = {"targetPortal": "p", "iqn": "iqn.2026-01.example.com:x", "lun": 0}
SUCCESS = "spec.successPolicy.rules[0].succeededIndexes"
# (group, plural, object, field, message)
WRONG: list[tuple[str, str, dict[str, Any], str, str]] = [
    ("batch", "jobs", job(successPolicy={"rules": [{"succeededIndexes": "1-x"}]}), SUCCESS, 'for index: "x"'),
    ("batch", "jobs", job(successPolicy={"rules": [{"succeededIndexes": "2,1"}]}), SUCCESS, "non-increasing order"),
    ("batch", "jobs", job(successPolicy={"rules": [{"succeededIndexes": "0-1-2"}]}), SUCCESS, "at most two parts"),
    ("batch", "jobs", job(successPolicy={"rules": [{"succeededIndexes": "0-9"}]}), SUCCESS, 'too large index: "9"'),
    (
        "batch",
        "jobs",
        job(successPolicy={"rules": [{"succeededIndexes": "0", "succeededCount": 2}]}),
        "spec.successPolicy.rules[0].succeededCount",
        "must be less than or equal to 1 (the number of indexes in the specified succeededIndexes field)",
    ),
    (
        "batch",
        "jobs",
        job(podFailurePolicy={"rules": [{"action": "Ignore", "onPodConditions": [{"type": "a b"}]}]}),
        "spec.podFailurePolicy.rules[0].onPodConditions[0].type",
        "name part must consist of alphanumeric characters",
    ),
    ("", "persistentvolumes", volume(nodeAffinity={}), "spec.nodeAffinity.required", "must specify required node"),
    (
        "",
        "persistentvolumes",
        volume(iscsi={**ISCSI, "iqn": "bad"}),
        "spec.iscsi.iqn",
        "starting with iqn, eui, or naa",
    ),
    ("", "persistentvolumes", volume(iscsi={**ISCSI, "lun": 300}), "spec.iscsi.lun", "must be between 0 and 255"),
    ("", "persistentvolumes", volume(csi={"driver": "B_"}), "spec.csi.driver", "a lowercase RFC 1123 subdomain"),
    (
        "",
        "persistentvolumes",
        volume(csi={"driver": "d", "volumeHandle": "h", "nodePublishSecretRef": {"name": "s"}}),
        "spec.csi.nodePublishSecretRef.namespace",
        "Required value",
    ),
    (
        STORAGE,
        "storageclasses",
        {"provisioner": "p", "allowedTopologies": [{"matchLabelExpressions": [{"key": "k", "values": ["a", "a"]}]}]},
        "allowedTopologies.matchLabelExpressions[0].values[1]",
        'Duplicate value: "a"',
    ),
    (
        NETWORKING,
        "ingresses",
        {"spec": {"defaultBackend": {"resource": {"kind": "K", "name": "n"}}, "tls": [{"secretName": "B_"}]}},
        "spec.tls[0].secretName",
        "a lowercase RFC 1123 subdomain",
    ),
    (NETWORKING, "ipaddresses", {"spec": {"parentRef": {"resource": "r"}}}, "spec.parentRef.name", "Required value"),
    (NETWORKING, "servicecidrs", {"spec": {"cidrs": ["10.0.0.1/24"]}}, "spec.cidrs[0]", "beyond the prefix length"),
    (NETWORKING, "servicecidrs", {"spec": {"cidrs": ["10.0.0.0/8", "11.0.0.0/8"]}}, "spec", "each IP family"),
    (
        "discovery.k8s.io",
        "endpointslices",
        {"addressType": "IPv4", "endpoints": [{"addresses": ["1.2.3.4"], "hints": {"forZones": [{"name": "B_"}]}}]},
        "endpoints[0].hints.forZones[0].name",
        "a valid label must be",
    ),
    (
        FLOWS,
        "flowschemas",
        rule(nonResourceRules=[{"verbs": ["get"], "nonResourceURLs": ["x"]}]),
        "spec.rules[0].nonResourceRules[0].nonResourceURLs[0]",
        "must start with slash",
    ),
    (
        FLOWS,
        "flowschemas",
        rule(nonResourceRules=[{"verbs": ["get", "*"], "nonResourceURLs": ["*"]}]),
        "spec.rules[0].nonResourceRules[0].verbs",
        "if '*' is present, must not specify other verbs",
    ),
    (
        ADMISSION,
        "validatingadmissionpolicies",
        {"spec": {"variables": [{"name": "1x", "expression": "1"}], "matchConstraints": {}}},
        "spec.variables[0].name",
        "name is not a valid CEL identifier",
    ),
    (
        "resource.k8s.io",
        "resourceslices",
        {"spec": {"driver": "d", "nodeName": "n", "allNodes": True, "pool": {"name": "p"}}},
        "spec",
        'Invalid value: "{`nodeName`, `allNodes`}": exactly one of',
    ),
]


@pytest.mark.parametrize(
    ("group", "plural", "document", "field", "message"), WRONG, ids=[f"{row[1]} {row[3]}: {row[4]}" for row in WRONG]
)
def test_each_rule_names_the_field_and_what_is_wrong(
    group: str, plural: str, document: dict[str, Any], field: str, message: str
) -> None:
    kind = kind_for(group, "v1", plural)
    assert kind is not None and kind.resource.type is not None
    obj = kind.default(codec.convert({"metadata": META, **document}, kind.resource.type))
    causes = [(error.field, error.body) for error in kind.validate(obj)]
    assert any(found == field and message in body for found, body in causes), causes


STATUSES = [
    ("apps", "replicasets", {"replicas": 1, "readyReplicas": 2}, "status.readyReplicas"),
    ("apps", "statefulsets", {"replicas": 2, "readyReplicas": 1, "availableReplicas": 2}, "status.availableReplicas"),
    ("apps", "daemonsets", {"numberReady": -1}, "status.numberReady"),
    ("", "replicationcontrollers", {"replicas": 1, "fullyLabeledReplicas": 2}, "status.fullyLabeledReplicas"),
    ("batch", "jobs", {"active": -1}, "status.active"),
    ("policy", "poddisruptionbudgets", {"disruptionsAllowed": -1}, "status.disruptionsAllowed"),
]


@pytest.mark.parametrize(("group", "plural", "status", "field"), STATUSES)
def test_counts_in_a_status_make_sense(group: str, plural: str, status: dict[str, Any], field: str) -> None:
    kind = kind_for(group, "v1", plural)
    assert kind is not None and kind.resource.type is not None
    new = codec.convert({"metadata": META, "status": status}, kind.resource.type)
    assert [error.field for error in kind.validate_status_update(new, new)] == [field]
