"""JSON patch and merge patch change documents as the API server's own libraries do."""

from typing import Any

import pytest

from kubeloop.actors.api.errors import StatusError
from kubeloop.actors.apiserver.json_patch import apply_json_patch
from kubeloop.actors.apiserver.merge_patch import apply_merge_patch

DOCUMENT: dict[str, Any] = {"data": {"one": "1", "a/b": "x"}, "list": [1, 2]}


@pytest.mark.parametrize(
    ("operations", "patched"),
    [
        ([], DOCUMENT),
        (
            [{"op": "add", "path": "/data/two", "value": "2"}],
            {"data": {"one": "1", "a/b": "x", "two": "2"}, "list": [1, 2]},
        ),
        ([{"op": "remove", "path": "/data/a~1b"}], {"data": {"one": "1"}, "list": [1, 2]}),
        ([{"op": "add", "path": "/list/-", "value": 3}], {**DOCUMENT, "list": [1, 2, 3]}),
        ([{"op": "add", "path": "/list/0", "value": 0}], {**DOCUMENT, "list": [0, 1, 2]}),
        ([{"op": "move", "from": "/list", "path": "/data"}], {"data": [1, 2]}),
        ([{"op": "test", "path": "/data/none", "value": None}], DOCUMENT),
        ([{"op": "add", "path": "/data/one"}], {"data": {"one": None, "a/b": "x"}, "list": [1, 2]}),
    ],
)
def test_operations_apply_in_order(operations: list[Any], patched: dict[str, Any]) -> None:
    before = repr(DOCUMENT)
    assert apply_json_patch(DOCUMENT, operations) == patched
    assert repr(DOCUMENT) == before


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "test", "path": "/data/one", "value": 1},
        {"op": "test", "path": "/list/0", "value": True},
        {"op": "test", "path": "/data/none", "value": "1"},
        {"op": "increment", "path": "/data/one"},
        {"op": "add", "value": "x"},
        {"path": "/data/one", "value": "x"},
        {"op": "remove", "path": "/none"},
        {"op": "replace", "path": "/none", "value": "x"},
        {"op": "add", "path": "/none/deep", "value": "x"},
        {"op": "add", "path": "/list/9", "value": "x"},
        {"op": "add", "path": "no-slash", "value": "x"},
        {"op": "replace", "path": "", "value": []},
        "text",
    ],
)
def test_what_does_not_apply_is_refused_without_saying_why(operation: Any) -> None:
    with pytest.raises(StatusError) as caught:
        apply_json_patch(DOCUMENT, [{"op": "add", "path": "/data/three", "value": "3"}, operation])
    assert (caught.value.code, caught.value.reason) == (422, "Invalid")
    assert caught.value.message == "the server rejected our request due to an error in our request"


def test_a_merge_patch_merges_objects_removes_nulls_and_replaces_the_rest() -> None:
    document = {"a": {"b": 1, "c": 2}, "list": [1, 2], "text": "t"}
    patch = {"a": {"b": None, "d": {"e": 1, "f": None}}, "list": [3], "text": {"now": "map"}, "none": None}
    assert apply_merge_patch(document, patch) == {"a": {"c": 2, "d": {"e": 1}}, "list": [3], "text": {"now": "map"}}
    assert document == {"a": {"b": 1, "c": 2}, "list": [1, 2], "text": "t"}
