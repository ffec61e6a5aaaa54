"""Facts about bodies in protobuf, made by hand here: what typed Go clients send."""

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeloop.actors.api import codec, schema
from kubeloop.actors.api.apiextensions_v1 import CustomResourceDefinition, JSONSchemaProps
from kubeloop.actors.api.apps_v1 import Deployment
from kubeloop.actors.api.authentication_v1 import TokenRequest
from kubeloop.actors.api.authorization_v1 import SelfSubjectAccessReview, SubjectAccessReview
from kubeloop.actors.api.autoscaling_v1 import Scale
from kubeloop.actors.api.coordination_v1 import Lease
from kubeloop.actors.api.core_v1 import Binding, ConfigMap, Endpoints, Pod, Secret
from kubeloop.actors.api.errors import StatusError
from kubeloop.actors.api.meta_v1 import DeleteOptions
from kubeloop.actors.api.policy_v1 import Eviction
from kubeloop.actors.api.resources import RESOURCES
from kubeloop.actors.apiserver import bodies, limits
from kubeloop.actors.apiserver.bodies import Expected
from kubeloop.actors.apiserver.messages import Request
from kubeloop.actors.apiserver.protobuf import MAGIC, ProtobufError, decode, layout


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


def read(data: bytes, cls: Any) -> dict[str, Any]:
    """As the API server keeps it."""
    return codec.to_builtins(codec.decode_object(decode(data, cls), cls).obj)


def test_texts_maps_and_kinds_are_read() -> None:
    data = field(2, field(1, "k") + field(2, "v")) + field(2, field(1, "empty") + field(2, ""))
    message = field(1, field(1, "c") + field(3, "") + field(11, field(1, "a") + field(2, "b"))) + data
    assert decode(body("v1", "ConfigMap", message), ConfigMap) == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "c", "namespace": "", "labels": {"a": "b"}},
        "data": {"k": "v", "empty": ""},
    }


def test_a_zero_counts_where_go_has_a_pointer() -> None:
    spec = field(1, 0) + field(5, 0) + field(7, 0)  # replicas, minReadySeconds, paused
    found = read(body("apps/v1", "Deployment", field(2, spec)), Deployment)
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


def test_bytes_become_base64() -> None:
    found = decode(body("v1", "Secret", field(2, field(1, "k") + field(2, b"\x00\xff"))), Secret)
    assert found["data"] == {"k": "AP8="}


def test_times_are_rfc_3339_and_an_empty_one_is_none() -> None:
    moment = field(1, 1_700_000_000) + field(2, 123_456_789)
    found = read(body("v1", "Lease", field(1, field(8, b"")) + field(2, field(4, moment))), Lease)
    assert found["metadata"] == {}
    assert found["spec"] == {"renewTime": "2023-11-14T22:13:20.123456Z"}
    pod = read(body("v1", "Pod", field(1, field(8, moment))), Pod)
    assert pod["metadata"] == {"creationTimestamp": "2023-11-14T22:13:20Z"}


def test_texts_that_go_holds_by_value_are_left_out_when_empty() -> None:
    port = field(1, "") + field(2, 80)
    found = read(body("v1", "Endpoints", field(2, field(3, port))), Endpoints)
    assert found["subsets"] == [{"ports": [{"port": 80}]}]


def test_numbers_come_packed_or_one_by_one() -> None:
    groups = field(4, 7) + field(4, varint(8) + varint(9))
    found = decode(body("v1", "Pod", field(2, field(14, groups))), Pod)
    assert found["spec"]["securityContext"] == {"supplementalGroups": [7, 8, 9]}


def test_parts_of_one_message_are_merged() -> None:
    found = decode(body("v1", "Pod", field(1, field(1, "a")) + field(1, field(3, "n"))), Pod)
    assert found["metadata"] == {"name": "a", "namespace": "n"}


def test_lists_in_maps_and_field_sets_are_read() -> None:
    extra = field(5, field(1, "k") + field(2, field(1, "a") + field(1, "b")))
    found = decode(body("", "", field(2, extra)), SubjectAccessReview)
    assert found["spec"] == {"extra": {"k": ["a", "b"]}}
    managed = field(17, field(1, "m") + field(7, field(1, b'{"f:data":{}}')))
    assert decode(body("", "", field(1, managed)), ConfigMap)["metadata"] == {
        "managedFields": [{"manager": "m", "fieldsV1": {"f:data": {}}}]
    }


def test_a_schema_is_read_with_its_alternatives() -> None:
    numbers = {name: number for number, (name, _) in layout(JSONSchemaProps).items()}
    maximum = varint(numbers["maximum"] << 3 | 1) + struct.pack("<d", 1.5)
    text = field(numbers["type"], "string")
    found = decode_schema(
        maximum
        + field(numbers["default"], field(1, b"[1]"))
        + field(numbers["properties"], field(1, "p") + field(2, text))
        + field(numbers["items"], field(1, text))
        + field(numbers["additionalProperties"], field(1, 1))
        + field(numbers["dependencies"], field(1, "d") + field(2, field(2, "x")))
    )
    assert found == {
        "maximum": 1.5,
        "default": [1],
        "properties": {"p": {"type": "string"}},
        "items": {"type": "string"},
        "additionalProperties": True,
        "dependencies": {"d": ["x"]},
    }


def decode_schema(message: bytes) -> Any:
    version = field(1, "v1") + field(4, field(1, message))
    found = decode(body("", "", field(2, field(7, version))), CustomResourceDefinition)
    return found["spec"]["versions"][0]["schema"]["openAPIV3Schema"]


def test_messages_within_each_other_are_limited() -> None:
    number = next(number for number, (name, _) in layout(JSONSchemaProps).items() if name == "not")
    data = b""
    for _ in range(limits.protobuf_depth_max):
        data = field(number, data)
    with pytest.raises(ProtobufError, match="messages in each other"):
        decode_schema(data)


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (field(1, 7), "proto: wrong wireType = 0 for field Metadata"),
        (field(1, field(8, field(1, 1 << 62))), "is not within the years 1 to 9999"),
        (b"\x0b", "proto: illegal wireType 3"),
        (b"\x02\x00", r"proto: illegal tag 0 \(wire type 2\)"),
        (b"\x0a" + b"\xff" * 11, "proto: integer overflow"),
        (b"\x0a" + varint(-1), "proto: negative length found during unmarshaling"),
        (b"\x0a\x05", "unexpected EOF"),
        (field(1, field(17, field(7, field(1, b"[" * 100_000)))), "recursion"),
    ],
)
def test_each_wrong_message_is_told_why(message: bytes, text: str) -> None:
    with pytest.raises(ProtobufError, match=text):
        decode(body("v1", "ConfigMap", message), ConfigMap)


def test_every_field_of_every_kind_has_a_number() -> None:
    seen: list[Any] = []
    kinds: list[Any] = [resource.type for resource in RESOURCES]
    waiting = [*kinds, Binding, DeleteOptions, Eviction, Scale, TokenRequest]
    while waiting:
        cls = waiting.pop()
        if cls in seen:
            continue
        seen.append(cls)
        fields = {name: one for name, one in schema.fields_of(cls).items() if name not in ("apiVersion", "kind")}
        if cls.KIND == "":
            fields = dict(schema.fields_of(cls))
        assert set(fields) <= numbered(cls), cls
        nodes = [one.node.item or one.node for one in fields.values()]
        waiting += [node.cls for node in nodes if node.form == schema.STRUCT]
    assert len(seen) > 300


def numbered(cls: Any, inlined: str = "") -> set[str]:
    """JSON names that have numbers, those of inlined messages too."""
    found: set[str] = set()
    for name, node in layout(cls, inlined).values():
        found |= numbered(cls, name) if node is None else {name}
    return found


def refused(data: bytes, expected: Expected) -> StatusError:
    request = Request("create", "", "v1", "configmaps", "default", "", "", data, bodies.PROTOBUF)
    with pytest.raises(StatusError) as found:
        bodies.read(request, expected, "Strict", [])
    return found.value


def test_wrong_bodies_are_refused_in_the_apis_words() -> None:
    expected = Expected("", "v1", "ConfigMap", ConfigMap)
    error = refused(b"not protobuf", expected)
    assert (error.code, error.message) == (
        400,
        "the object provided is unrecognized (must be of type ConfigMap): provided data does not appear to be a "
        "protobuf message, expected prefix [107 56 115 0] (6e6f742070726f746f627566)",
    )
    error = refused(body("v1", "ConfigMap", b"\x0a\x05"), expected)
    assert error.message == 'ConfigMap in version "v1" cannot be handled as a ConfigMap: unexpected EOF'
    error = refused(body("v1", "Secret", b"\x0a\x05"), expected)
    assert "converting (v1.Secret) to (core.ConfigMap): unknown conversion" in error.message
    assert refused(body("example.com/v1", "X", b""), Expected("example.com", "v1", "X", None)).code == 415


@pytest.mark.parametrize(
    ("content_type", "options"),
    [
        (bodies.PROTOBUF, body("apps/v1", "DeleteOptions", field(5, "All"))),
        (bodies.JSON, b'{"apiVersion":"apps/v1","kind":"DeleteOptions","dryRun":["All"]}'),
    ],
)
async def test_delete_options_belong_to_every_group(server: Any, content_type: str, options: bytes) -> None:
    made = body("v1", "ConfigMap", field(1, field(1, "a")))
    await server.call("create", "configmaps", body=made, content_type=bodies.PROTOBUF)
    await server.call("delete", "configmaps", "a", body=options, content_type=content_type)
    assert (await server.call("get", "configmaps", "a")).metadata.name == "a"  # it was a dry run
    wrong = body("v1", "ConfigMap", b"")
    with pytest.raises(StatusError, match="unknown conversion"):
        await server.call("delete", "configmaps", "a", body=wrong, content_type=bodies.PROTOBUF)


def messages() -> st.SearchStrategy[bytes]:
    """Bytes that are well formed mostly, so that they get far."""
    leaf = st.one_of(st.binary(max_size=20), st.text(max_size=5).map(str.encode))
    return st.recursive(
        leaf,
        lambda inner: st.lists(
            st.tuples(st.integers(1, 40), st.one_of(st.integers(-(2**63), 2**64 - 1), inner)), max_size=6
        ).map(lambda parts: b"".join(field(number, value) for number, value in parts)),
    )


@given(messages(), st.sampled_from((Pod, Deployment, CustomResourceDefinition, Lease)))
def test_no_bytes_make_it_crash(data: bytes, cls: Any) -> None:
    for envelope in (body("v1", "", data), MAGIC + data, data):
        try:
            read(envelope, cls)
        except (ProtobufError, codec.DecodeError):
            pass
