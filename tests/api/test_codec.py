import json
from typing import Any

import pytest

from kubeloop.actors.api import codec
from kubeloop.actors.api.apps_v1 import Deployment
from kubeloop.actors.api.coordination_v1 import Lease
from kubeloop.actors.api.core_v1 import (
    ConfigMap,
    Container,
    EmptyDirVolumeSource,
    Pod,
    PodSpec,
    Secret,
    Service,
    Volume,
)
from kubeloop.actors.api.discovery_v1 import EndpointSlice
from kubeloop.actors.api.meta_v1 import ObjectMeta


def decoded(document: Any, cls: Any) -> Any:
    """Both from bytes and from builtins; they must agree."""
    data = json.dumps(document).encode()
    found = codec.decode_object(data, cls)
    again = codec.decode_object(document, cls)
    assert found.obj == again.obj and found.unknown == again.unknown
    return found


def kept(document: Any, cls: Any) -> Any:
    found = codec.to_builtins(decoded(document, cls).obj)
    del found["apiVersion"], found["kind"]
    return found


def pod(**container: Any) -> dict[str, Any]:
    return {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", **container}]}}


def test_nulls_and_empty_lists_and_maps_are_not_kept() -> None:
    document = {
        "metadata": {"name": "p", "creationTimestamp": None, "labels": {}, "finalizers": []},
        "spec": {"containers": [{"name": "c", "env": [], "image": None}], "nodeSelector": {}, "volumes": None},
    }
    assert kept(document, Pod) == {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c"}]}}


def test_an_empty_object_that_means_something_is_kept() -> None:
    document = {"metadata": {"name": "p"}, "spec": {"volumes": [{"name": "v", "emptyDir": {}}]}}
    assert kept(document, Pod) == document
    assert kept(pod(resources={}), Pod) == pod(resources={})
    policy: dict[str, Any] = {"spec": {"containers": [], "securityContext": {}}}
    assert kept(policy, Pod) == {"spec": {"securityContext": {}}}


def test_zeros_that_go_would_not_write_again_are_not_kept() -> None:
    document = {
        "metadata": {"name": "p", "generateName": ""},
        "spec": {
            "hostNetwork": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "", "tty": False, "ports": [{"containerPort": 80, "hostPort": 0}]}],
        },
    }
    assert kept(document, Pod) == {
        "metadata": {"name": "p"},
        "spec": {
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "", "ports": [{"containerPort": 80}]}],
        },
    }
    deployment = {"spec": {"replicas": 0, "paused": False, "minReadySeconds": 0}}
    assert kept(deployment, Deployment) == {"spec": {"replicas": 0}}
    slices = {"addressType": "IPv4", "endpoints": [{"addresses": ["1.2.3.4"]}], "ports": [{"name": "", "port": 80}]}
    assert kept(slices, EndpointSlice) == slices


def test_quantities_are_made_canonical_and_may_be_numbers() -> None:
    found = kept(pod(resources={"limits": {"cpu": 2, "memory": "1024Mi"}, "requests": {"cpu": "0.5"}}), Pod)
    limits = found["spec"]["containers"][0]["resources"]
    assert limits == {"limits": {"cpu": "2", "memory": "1Gi"}, "requests": {"cpu": "500m"}}


def test_times_are_turned_to_utc_seconds_or_microseconds() -> None:
    document = {
        "metadata": {"name": "l", "creationTimestamp": "2026-01-01T02:00:00.5+02:00"},
        "spec": {"renewTime": "2026-01-01T00:00:00Z"},
    }
    assert kept(document, Lease) == {
        "metadata": {"name": "l", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"renewTime": "2026-01-01T00:00:00.000000Z"},
    }


def test_unknown_fields_are_named_with_their_paths() -> None:
    document = pod(imagee="x", ports=[{"containerport": 1}]) | {"extra": {"a": 1}}
    assert decoded(document, Pod).unknown == [
        "spec.containers[0].imagee",
        "spec.containers[0].ports[0].containerport",
        "extra",
    ]
    assert decoded({"Data": {"a": "b"}}, ConfigMap).unknown == ["Data"]


@pytest.mark.parametrize(
    ("text", "duplicates"),
    [
        ('{"metadata": {"name": "a", "name": "b"}, "data": {"k": "1", "k": "2"}}', ["metadata.name", "data.k"]),
        ('{"data":{"k":"1"},"data":{"k":"1"}}', ["data"]),
        ('{"data": {"k": "a \\"quoted\\" text", "l": "\\u0022"}}', []),
        ('{"immutable": true, "immutable": false}', ["immutable"]),
    ],
)
def test_fields_given_twice_are_found_and_the_last_counts(text: str, duplicates: list[str]) -> None:
    found = codec.decode_object(text.encode(), ConfigMap)
    assert found.duplicates == duplicates
    assert codec.to_builtins(found.obj).get("data") == json.loads(text).get("data")
    assert codec.decode_object(text.encode(), None).duplicates == duplicates


@pytest.mark.parametrize(
    ("document", "cls", "message"),
    [
        (
            {"data": {"k": 1}},
            ConfigMap,
            "json: cannot unmarshal number into Go struct field ConfigMap.data of type string",
        ),
        (
            {"metadata": {"labels": ["x"]}},
            ConfigMap,
            "json: cannot unmarshal array into Go struct field ObjectMeta.metadata.labels of type map[string]string",
        ),
        (
            {"metadata": "text"},
            ConfigMap,
            "json: cannot unmarshal string into Go struct field ConfigMap.metadata of type v1.ObjectMeta",
        ),
        (
            {"spec": {"containers": {"name": "c"}}},
            Pod,
            "json: cannot unmarshal object into Go struct field PodSpec.spec.containers of type []v1.Container",
        ),
        (
            pod(env=[{"name": "A", "value": 5}]),
            Pod,
            "json: cannot unmarshal number into Go struct field EnvVar.spec.containers.env.value of type string",
        ),
        (
            {"spec": {"replicas": "three"}},
            Deployment,
            "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            {"spec": {"replicas": 3_000_000_000}},
            Deployment,
            "json: cannot unmarshal number 3000000000 into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            {"spec": {"terminationGracePeriodSeconds": 1.5}},
            Pod,
            "json: cannot unmarshal number 1.5 into Go struct field PodSpec.spec.terminationGracePeriodSeconds"
            " of type int64",
        ),
        (
            {"spec": {"hostNetwork": "true"}},
            Pod,
            "json: cannot unmarshal string into Go struct field PodSpec.spec.hostNetwork of type bool",
        ),
        (
            {"spec": {"ports": [{"port": 80, "targetPort": True}]}},
            Service,
            "json: cannot unmarshal bool into Go value of type int32",
        ),
        (
            pod(resources={"limits": {"cpu": "lots"}}),
            Pod,
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ),
        (
            {"metadata": {"creationTimestamp": "yesterday"}},
            ConfigMap,
            'parsing time "yesterday" as "2006-01-02T15:04:05Z07:00": cannot parse "yesterday" as "2006"',
        ),
        (
            {"metadata": {"creationTimestamp": "2026-13-01T00:00:00Z"}},
            ConfigMap,
            'parsing time "2026-13-01T00:00:00Z": month out of range',
        ),
        ({"data": {"k": "%%%"}}, Secret, "illegal base64 data at input byte 0"),
        ({"data": {"k": "aGVsbG8"}}, Secret, "illegal base64 data at input byte 4"),
    ],
)
def test_wrong_types_are_told_in_the_words_of_go(document: Any, cls: Any, message: str) -> None:
    for data in (document, json.dumps(document).encode()):
        with pytest.raises(codec.DecodeError) as error:
            codec.decode_object(data, cls)
        assert str(error.value) == message


@pytest.mark.parametrize("data", [b"", b"{", b"nul", b'{"a":}', b"[1]", b'"text"', b"\xff"])
def test_what_is_no_json_object_is_a_decode_error(data: bytes) -> None:
    with pytest.raises(codec.DecodeError):
        codec.decode_object(data, Pod)


def test_deep_nesting_is_a_decode_error() -> None:
    with pytest.raises(codec.DecodeError):
        codec.decode_object(b'{"a":' * 100_000, None)


def test_what_users_leave_empty_by_hand_is_not_written() -> None:
    spec = PodSpec(
        containers=[Container(name="c", args=[])], volumes=[Volume(name="v", empty_dir=EmptyDirVolumeSource())]
    )
    found = json.loads(codec.encode(Pod(metadata=ObjectMeta(name="p"), spec=spec)))
    assert found["spec"] == {"containers": [{"name": "c"}], "volumes": [{"name": "v", "emptyDir": {}}]}


def test_dicts_are_written_with_their_kind_and_metadata_first() -> None:
    custom = {"spec": {"metadata": {}}, "metadata": {"name": "w"}, "kind": "Widget", "apiVersion": "example.com/v1"}
    data = codec.encode(custom)
    assert data.startswith(b'{"apiVersion":"example.com/v1","kind":"Widget","metadata":{"name":"w"}')
    assert json.loads(data) == custom


def test_builtins_are_a_deep_copy() -> None:
    custom = {"spec": {"list": [1]}}
    copied = codec.to_builtins(custom)
    copied["spec"]["list"].append(2)
    assert custom == {"spec": {"list": [1]}}
    assert codec.to_builtins(Pod(spec=PodSpec(containers=(Container(name="c"),))))["spec"]["containers"] == [
        {"name": "c"}
    ]


def test_stored_bytes_with_what_we_do_not_know_are_still_read() -> None:
    found = codec.decode(
        b'{"kind":"Pod","apiVersion":"v1","metadata":{"name":"p","creationTimestamp":null},"new":1}', Pod
    )
    assert found == Pod(metadata=ObjectMeta(name="p"))
