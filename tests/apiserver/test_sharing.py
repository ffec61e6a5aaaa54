"""What an update leaves as it was stays the stored object."""

from __future__ import annotations

from kubeloop.actors.api import codec
from kubeloop.actors.api.core_v1 import Container, EnvVar, Pod, PodSpec
from kubeloop.actors.api.meta_v1 import ObjectMeta
from kubeloop.actors.apiserver.sharing import shared


def pod(image: str, **spec: object) -> Pod:
    container = Container(name="web", image=image, args=("-v",), env=(EnvVar(name="A", value="1"),))
    return Pod(metadata=ObjectMeta(name="p", labels={"a": "b"}), spec=PodSpec(containers=(container,), **spec))  # type: ignore[arg-type]


def test_a_decoded_copy_is_the_stored_object_again() -> None:
    stored = pod("web:1")
    copy = codec.decode(codec.encode(stored), Pod)
    assert copy is not stored
    assert shared(copy, stored) is stored


def test_only_what_differs_is_new() -> None:
    stored = pod("web:1", node_name="n1")
    changed = shared(codec.decode(codec.encode(pod("web:2", node_name="n1")), Pod), stored)
    assert changed.metadata is stored.metadata
    assert changed.spec.containers[0].image == "web:2"
    assert changed.spec.containers[0].env is stored.spec.containers[0].env
    assert changed == pod("web:2", node_name="n1")


def test_lists_of_another_length_and_other_types_are_left_alone() -> None:
    stored = pod("web:1")
    longer = pod("web:1", init_containers=(Container(name="init"),))
    assert shared(longer, stored).spec.init_containers == longer.spec.init_containers
    assert shared(longer, stored).spec.containers is stored.spec.containers
    assert shared({"a": [1]}, {"a": [1]}) == {"a": [1]}
    assert shared(True, 1) is True
