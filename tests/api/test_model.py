"""Every generated class: what it knows, and that nothing is lost on the way to JSON and back."""

import copy
import pickle
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec
import pytest

import kubeloop.actors.api as api
from kubeloop.actors.api import codec, schema
from kubeloop.actors.api.core_v1 import Container, Pod, PodSpec, PodTemplateSpec
from kubeloop.actors.api.empty import EMPTY
from kubeloop.actors.api.meta_v1 import LabelSelector, ObjectMeta
from kubeloop.actors.api.resources import RESOURCES
from kubeloop.actors.api.scalars import Object
from kubeloop.actors.api.schema import Node, fields_of

SCALARS: dict[str, Any] = {
    schema.TEXT: "text",
    schema.INTEGER: 7,
    schema.FLOAT: 1.5,
    schema.BOOLEAN: True,
    schema.QUANTITY: "100m",
    schema.INT_OR_STRING: "25%",
    schema.TIME: "2026-01-02T03:04:05Z",
    schema.MICRO_TIME: "2026-01-02T03:04:05.000006Z",
    schema.BASE64: "aGk=",
    schema.RAW: {"any": [1, {"deep": None}]},
    schema.ANY: {"type": "string"},
}
MODULES = sorted(path.stem for path in Path(api.__path__[0]).glob("*_v[0-9].py"))


def classes(module: str) -> Iterator[type[Object]]:
    loaded = import_module(f"kubeloop.actors.api.{module}")
    for value in vars(loaded).values():
        if isinstance(value, type) and issubclass(value, Object) and value.__module__ == loaded.__name__:
            yield value


def document_of(cls: type[Object], within: tuple[Any, ...] = ()) -> dict[str, Any]:
    """A document with every field set, down to classes that contain themselves."""
    found = {name: value_of(field.node, (*within, cls)) for name, field in fields_of(cls).items()}
    if cls.KIND:
        found.update(apiVersion=cls.API_VERSION, kind=cls.KIND)
    return {name: value for name, value in found.items() if value is not None}


def value_of(node: Node, within: tuple[Any, ...]) -> Any:
    if node.form == schema.STRUCT:
        return None if node.cls in within else document_of(node.cls, within)
    if node.form in (schema.LIST, schema.MAP):
        item = value_of(node.item, within)
        if item is None:
            return None
        return [item] if node.form == schema.LIST else {"key": item}
    return SCALARS[node.form]


@pytest.mark.parametrize("module", MODULES)
def test_every_field_of_every_class_survives_json_and_builtins(module: str) -> None:
    for cls in classes(module):
        document = document_of(cls)
        data = msgspec.json.encode(document)
        decoded = codec.decode_object(data, cls)
        assert not decoded.unknown and not decoded.duplicates
        assert codec.to_builtins(decoded.obj) == document, cls
        assert codec.decode(codec.encode(decoded.obj), cls) == decoded.obj
        assert codec.convert(document, cls) == decoded.obj
        assert copy.deepcopy(decoded.obj) == decoded.obj == pickle.loads(pickle.dumps(decoded.obj))


@pytest.mark.parametrize("module", MODULES)
def test_an_object_without_anything_is_its_kind_alone(module: str) -> None:
    for cls in classes(module):
        expected = {"apiVersion": cls.API_VERSION, "kind": cls.KIND} if cls.KIND else {}
        assert codec.to_builtins(cls()) == expected


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda each: f"{each.plural}.{each.version}.{each.group}")
def test_every_resource_has_its_type(resource: Any) -> None:
    cls = resource.type
    assert (resource.api_version, resource.kind) == (cls.API_VERSION, cls.KIND)
    data = codec.encode(cls(metadata=ObjectMeta(name="a")) if "metadata" in cls.__struct_fields__ else cls())
    assert data.startswith(b'{"apiVersion":"%b","kind":"%b"' % (resource.api_version.encode(), resource.kind.encode()))
    if "metadata" in cls.__struct_fields__:
        assert data.endswith(b',"metadata":{"name":"a"}}')


def test_objects_are_frozen_and_equal_by_value() -> None:
    one = Pod(metadata=ObjectMeta(name="a", labels={"x": "y"}))
    with pytest.raises(AttributeError):
        one.kind = "Node"  # type: ignore[misc]
    assert one == Pod(metadata=ObjectMeta(name="a", labels={"x": "y"})) != Pod()
    with pytest.raises(TypeError):
        Pod("v1")  # type: ignore[call-arg]


def test_unset_lists_and_maps_are_empty_and_unset_values_of_structs_are_there() -> None:
    pod = Pod()
    assert list(pod.spec.containers) == [] and pod.metadata.labels.get("a") is None and pod.status.phase is None
    assert PodTemplateSpec().spec.node_selector is EMPTY


def test_the_empty_map_is_one_and_stays_empty() -> None:
    assert EMPTY == {} and copy.deepcopy(EMPTY) is EMPTY is pickle.loads(pickle.dumps(EMPTY)) is copy.copy(EMPTY)
    with pytest.raises(TypeError, match="shared"):
        EMPTY.update(a=1)
    with pytest.raises(TypeError, match="shared"):
        EMPTY["a"] = 1
    assert msgspec.json.encode(EMPTY) == b"{}" and EMPTY.copy() == {}


def test_merge_rules_are_on_the_classes() -> None:
    containers = PodSpec.__merge__["containers"]
    assert (containers.patch_strategy, containers.patch_merge_key) == (("merge",), "name")
    assert (containers.list_type, containers.list_map_keys) == ("map", ("name",))
    assert Container.__merge__["ports"].list_map_keys == ("containerPort", "protocol")
    assert PodSpec.__merge__["volumes"].patch_strategy == ("merge", "retainKeys")
    assert LabelSelector.__atomic__ and PodSpec.__merge__["nodeSelector"].map_type == "atomic"
    assert PodSpec.__required__ == ("containers",)


def test_core_loads_no_other_group() -> None:
    code = (
        "import sys, kubeloop.actors.api.core_v1; print(sorted(m for m in sys.modules if m.endswith(('_v1', '_v2'))))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert found.strip() == "['kubeloop.actors.api.core_v1', 'kubeloop.actors.api.meta_v1']"
