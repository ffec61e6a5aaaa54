"""Strategic merge patch follows each directive and each field's strategy."""

import copy
from typing import Any

import pytest

from kubeloop.actors.api.core_v1 import PodTemplate
from kubeloop.actors.api.errors import StatusError
from kubeloop.actors.apiserver.strategic_merge import apply_strategic_merge_patch


def merged(spec: dict[str, Any], patch: dict[str, Any]) -> Any:
    document, given = {"template": {"spec": spec}}, {"template": {"spec": patch}}
    before = copy.deepcopy((document, given))
    result = apply_strategic_merge_patch(document, given, PodTemplate)
    assert (document, given) == before
    return result["template"]["spec"]


def refused(spec: dict[str, Any], patch: dict[str, Any]) -> str:
    with pytest.raises(StatusError) as caught:
        merged(spec, patch)
    assert caught.value.code == 400
    return caught.value.message


def containers(*names: str) -> list[dict[str, Any]]:
    return [{"name": name, "image": "old"} for name in names]


def names(spec: Any) -> list[str]:
    return [container["name"] for container in spec["containers"]]


def test_lists_of_objects_merge_by_their_key_and_new_items_come_last() -> None:
    patch = {"containers": [{"name": "b", "image": "new"}, {"name": "c", "image": "c"}]}
    assert merged({"containers": containers("a", "b")}, patch)["containers"] == [
        {"name": "a", "image": "old"},
        {"name": "b", "image": "new"},
        {"name": "c", "image": "c"},
    ]


def test_items_named_in_the_patch_take_the_patchs_order() -> None:
    live = [{"name": "a", "ports": [{"containerPort": 80, "name": "http"}]}]
    patch = [{"name": "a", "ports": [{"containerPort": 81}, {"containerPort": 80, "name": "web"}]}]
    ports = merged({"containers": live}, {"containers": patch})["containers"][0]["ports"]
    assert ports == [{"containerPort": 81}, {"containerPort": 80, "name": "web"}]


def test_lists_without_a_merge_strategy_are_replaced() -> None:
    live, patch = [{"name": "a", "args": ["1", "2"]}], [{"name": "a", "args": ["3"]}]
    assert merged({"containers": live}, {"containers": patch})["containers"] == [{"name": "a", "args": ["3"]}]


def test_null_removes_and_nulls_are_not_stored() -> None:
    live = {"containers": [{"name": "a", "env": [{"name": "E"}]}], "nodeName": "n"}
    patch = {"containers": [{"name": "a", "env": None}], "nodeName": None, "affinity": {"nodeAffinity": None}}
    assert merged(live, patch) == {"containers": [{"name": "a"}], "affinity": {}}


def test_patch_delete_removes_items_and_empties_maps() -> None:
    live = {"containers": containers("a", "b"), "securityContext": {"runAsUser": 1}}
    patch = {
        "containers": [{"$patch": "delete", "name": "a"}, {"$patch": "delete", "name": "absent"}],
        "securityContext": {"$patch": "delete"},
    }
    assert merged(live, patch) == {"containers": containers("b"), "securityContext": {}}


def test_patch_replace_keeps_only_what_the_patch_holds() -> None:
    live = {"containers": containers("a", "b"), "securityContext": {"runAsUser": 1}}
    patch = {
        "containers": [{"name": "n", "image": "i"}, {"$patch": "replace"}],
        "securityContext": {"$patch": "replace", "runAsGroup": 2},
    }
    assert merged(live, patch) == {"containers": [{"name": "n", "image": "i"}], "securityContext": {"runAsGroup": 2}}


@pytest.mark.parametrize(
    ("live", "order", "patch", "result"),
    [
        ("a b c", "c a b", "", "c a b"),
        ("c a b", "d b a", "d a", "d c b a"),
        ("a b c", "c x", "x", "a b c x"),
    ],
)
def test_set_element_order_arranges_the_list(live: str, order: str, patch: str, result: str) -> None:
    given: dict[str, Any] = {"$setElementOrder/containers": [{"name": name} for name in order.split()]}
    if patch:
        by_order = sorted(patch.split(), key=order.split().index)
        given["containers"] = [{"name": name, "image": "new"} for name in by_order]
    assert names(merged({"containers": containers(*live.split())}, given)) == result.split()


def test_a_patch_that_contradicts_its_own_order_is_refused() -> None:
    patch: dict[str, Any] = {"$setElementOrder/containers": [{"name": "a"}], "containers": [{"name": "c"}]}
    assert "doesn't match $setElementOrder list" in refused({"containers": containers("a")}, patch)
    patch = {"$setElementOrder/containers": "text"}
    assert refused({"containers": containers("a")}, patch) == "invalid patch format of setElementOrder list"


def test_retain_keys_drops_what_it_does_not_list() -> None:
    live = {"volumes": [{"name": "v", "emptyDir": {}}, {"name": "w", "emptyDir": {}}]}
    patch = {"volumes": [{"$retainKeys": ["name", "configMap"], "name": "v", "configMap": {"name": "c"}}]}
    assert merged(live, patch)["volumes"] == [{"name": "v", "configMap": {"name": "c"}}, {"name": "w", "emptyDir": {}}]
    for keys in (["name"], "text"):
        patch = {"volumes": [{"$retainKeys": keys, "name": "v", "configMap": {"name": "c"}}]}
        assert refused(live, patch) == "invalid patch format of retainKeys"


def test_primitive_lists_are_sets_with_deletions_of_their_own() -> None:
    live = {"metadata": {"finalizers": ["a", "b"]}}
    patch = {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"], "finalizers": ["c", "b"]}}
    assert apply_strategic_merge_patch(live, patch, PodTemplate)["metadata"]["finalizers"] == ["c", "b"]


def test_directives_are_not_stored_where_there_is_nothing_to_merge_with() -> None:
    patch = {
        "$setElementOrder/volumes": [{"name": "v"}],
        "volumes": [{"$retainKeys": ["name"], "name": "v"}, {"$patch": "delete", "name": "w"}],
        "securityContext": {"$patch": "replace", "runAsUser": 1},
    }
    assert merged({}, patch) == {"volumes": [{"name": "v"}], "securityContext": {"runAsUser": 1}}


@pytest.mark.parametrize(
    ("patch", "message"),
    [
        ({"containers": [{"image": "i"}]}, 'map: {"image":"i"} does not contain declared merge key: name'),
        ({"containers": [{"$patch": "delete"}]}, 'map: {"$patch":"delete"} does not contain declared merge key: name'),
        ({"containers": [{"$patch": "explode", "name": "a"}]}, "unknown patch type: explode in map"),
        ({"containers": [{"$patch": "merge", "name": "a"}]}, "merging lists cannot yet be specified in the patch"),
        ({"containers": [["a"]]}, "lists of lists are not supported"),
        ({"containers": ["a"]}, "invalid patch format of primitive list"),
        ({"$patch": "merge"}, "unknown patch type: merge in map"),
    ],
)
def test_broken_patches_are_refused(patch: dict[str, Any], message: str) -> None:
    assert refused({"containers": containers("a")}, patch).startswith(message)
