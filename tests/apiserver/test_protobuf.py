"""Facts about bodies in protobuf, made by hand here: what typed Go clients send."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeloop.actors.api.apps_v1 import Deployment
from kubeloop.actors.api.authorization_v1 import SelfSubjectAccessReview
from kubeloop.actors.api.core_v1 import ConfigMap, Pod
from kubeloop.actors.apiserver.protobuf import MAGIC, ProtobufError, decode


def varint(number: int) -> bytes:
    found = bytearray()
    number &= (1 << 64) - 1
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*found, number))


def field(number: int, value: int | str | bytes) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def body(api_version: str, kind: str, message: bytes) -> bytes:
    return MAGIC + field(1, field(1, api_version) + field(2, kind)) + field(2, message) + field(3, "") + field(4, "")


def test_texts_maps_and_kinds_are_read() -> None:
    data = field(2, field(1, "k") + field(2, "v")) + field(2, field(1, "empty") + field(2, ""))
    message = field(1, field(1, "c") + field(3, "") + field(11, field(1, "a") + field(2, "b"))) + data
    assert decode(body("v1", "ConfigMap", message), ConfigMap) == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "c", "labels": {"a": "b"}},
        "data": {"k": "v", "empty": ""},
    }


def test_a_zero_counts_where_go_has_a_pointer() -> None:
    spec = field(1, 0) + field(5, 0) + field(7, 0)  # replicas, minReadySeconds, paused
    found = decode(body("apps/v1", "Deployment", field(2, spec)), Deployment)
    assert found["spec"] == {"replicas": 0}


def test_inlined_messages_quantities_and_ports_by_name_or_number_are_read() -> None:
    quantity = field(1, field(1, "cpu") + field(2, field(1, "500m")))
    probe = field(1, field(2, field(1, "/ok") + field(2, field(1, 1) + field(3, "web")))) + field(3, 2)
    container = field(1, "c") + field(2, "i") + field(8, quantity) + field(10, probe)
    volume = field(1, "v") + field(2, field(19, field(1, field(1, "cm")) + field(3, 420)))
    found = decode(body("v1", "Pod", field(2, field(1, volume) + field(2, container))), Pod)
    assert found["spec"] == {
        "volumes": [{"name": "v", "configMap": {"name": "cm", "defaultMode": 420}}],
        "containers": [
            {
                "name": "c",
                "image": "i",
                "resources": {"limits": {"cpu": "500m"}},
                "livenessProbe": {"httpGet": {"path": "/ok", "port": "web"}, "timeoutSeconds": 2},
            }
        ],
    }


def test_an_access_review_is_read() -> None:
    attributes = field(1, "default") + field(2, "get") + field(5, "pods")
    message = field(2, field(1, attributes)) + field(3, field(1, 0) + field(2, ""))
    found = decode(body("authorization.k8s.io/v1", "SelfSubjectAccessReview", message), SelfSubjectAccessReview)
    assert found["spec"] == {"resourceAttributes": {"namespace": "default", "verb": "get", "resource": "pods"}}


def test_negative_numbers_keep_their_sign() -> None:
    found = decode(body("apps/v1", "Deployment", field(2, field(1, -3))), Deployment)
    assert found["spec"]["replicas"] == -3


@pytest.mark.parametrize("data", [b"", b"{}", MAGIC + b"\xff", MAGIC + field(2, b"\x0a\x7f"), MAGIC + varint(7)])
def test_what_is_no_message_is_refused(data: bytes) -> None:
    with pytest.raises(ProtobufError):
        found: Any = decode(data, ConfigMap)
        assert found["metadata"]


@given(st.binary(max_size=200))
def test_no_bytes_make_it_crash(data: bytes) -> None:
    try:
        decode(MAGIC + field(2, data), Pod)
    except ProtobufError:
        pass
