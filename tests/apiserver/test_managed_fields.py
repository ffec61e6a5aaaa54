"""Who set a field owns it: what updates take, what applies claim, give back and fight over."""

import itertools
from typing import Any

import pytest

from kubeloop.actors.api.apps_v1 import Deployment
from kubeloop.actors.api.core_v1 import ConfigMap, Event, Pod, PodTemplate, Service
from kubeloop.actors.api.errors import StatusError
from kubeloop.actors.api.networking_v1 import NetworkPolicy
from kubeloop.actors.apiserver import managed_fields
from kubeloop.actors.apiserver.field_set import decode, encode, owns, shown, with_paths
from kubeloop.actors.apiserver.merge_schema import schema_of, schema_of_openapi
from kubeloop.actors.apiserver.typed_merge import compare, created

NOW = "2026-01-01T00:00:00Z"
LATER = "2026-01-01T00:00:05Z"


def config_map(data: dict[str, Any] | None = None, **metadata: Any) -> dict[str, Any]:
    found = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", **metadata}}
    return found if data is None else {**found, "data": data}


def pod_template(*containers: dict[str, Any]) -> dict[str, Any]:
    spec = {"containers": list(containers)}
    return {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "a"}, "template": {"spec": spec}}


def apply(
    live: dict[str, Any] | None,
    patch: dict[str, Any],
    manager: str,
    *,
    schema: Any = ConfigMap,
    force: bool = False,
    now: str = NOW,
    subresource: str = "",
) -> dict[str, Any]:
    return managed_fields.server_side_apply(
        live, patch, schema, manager, force, api_version=patch["apiVersion"], now=now, subresource=subresource
    )


def update(
    live: dict[str, Any] | None, new: dict[str, Any], manager: str, *, schema: Any = ConfigMap, **options: Any
) -> dict[str, Any]:
    entries = managed_fields.track_update(
        live, new, schema, manager, api_version=new["apiVersion"], **{"now": NOW, **options}
    )
    metadata = {key: value for key, value in new["metadata"].items() if key != "managedFields"}
    return {**new, "metadata": {**metadata, **({"managedFields": entries} if entries else {})}}


def owners(document: dict[str, Any]) -> dict[tuple[str, str], Any]:
    entries = document["metadata"].get("managedFields", [])
    return {(entry["manager"], entry["operation"]): entry["fieldsV1"] for entry in entries}


def conflicts(live: dict[str, Any], patch: dict[str, Any], manager: str, **options: Any) -> tuple[str, list[str]]:
    with pytest.raises(StatusError) as caught:
        apply(live, patch, manager, **options)
    status = caught.value.status
    assert (status["code"], status["reason"]) == (409, "Conflict")
    assert {cause["reason"] for cause in status["details"]["causes"]} == {"FieldManagerConflict"}
    return status["message"], [cause["field"] for cause in status["details"]["causes"]]


def test_equal_values_are_shared_and_go_with_their_last_applier() -> None:
    one = apply(None, config_map({"x": "1", "y": "1"}), "one")
    both = apply(one, config_map({"x": "1", "z": "2"}), "two")
    assert owners(both) == {
        ("one", "Apply"): {"f:data": {"f:x": {}, "f:y": {}}},
        ("two", "Apply"): {"f:data": {"f:x": {}, "f:z": {}}},
    }
    less = apply(both, config_map({"y": "1"}), "one", now=LATER)
    assert less["data"] == {"x": "1", "y": "1", "z": "2"}
    assert [entry["time"] for entry in less["metadata"]["managedFields"]] == [NOW, NOW]  # the object did not change
    more = apply(less, config_map({"y": "2"}), "one", now=LATER)
    assert [entry["manager"] for entry in more["metadata"]["managedFields"]] == ["two", "one"]
    gone = apply(less, config_map(), "two")
    assert gone["data"] == {"y": "1"}
    assert owners(gone) == {("one", "Apply"): {"f:data": {"f:y": {}}}}


def test_an_apply_over_another_owners_value_conflicts_and_force_takes_it() -> None:
    live = apply(None, config_map({"x": "1", "y": "1"}, labels={"l": "1"}), "one")
    message, fields = conflicts(live, config_map({"x": "2"}), "two")
    assert message == 'Apply failed with 1 conflict: conflict with "one": .data.x'
    assert fields == [".data.x"]
    message, _ = conflicts(live, config_map({"x": "2", "y": "2"}, labels={"l": "2"}), "two")
    assert message == (
        'Apply failed with 3 conflicts: conflicts with "one":\n- .data.x\n- .data.y\n- .metadata.labels.l'
    )
    taken = apply(live, config_map({"x": "2"}), "two", force=True)
    assert owners(taken)["one", "Apply"] == {"f:data": {"f:y": {}}, "f:metadata": {"f:labels": {"f:l": {}}}}
    assert owners(taken)["two", "Apply"] == {"f:data": {"f:x": {}}}


def test_an_updater_owns_what_it_changed_and_takes_it_from_appliers() -> None:
    live = apply(None, config_map({"x": "1", "y": "1"}), "applier")
    live = update(live, {**live, "data": {"x": "2", "y": "1", "z": "3"}}, "updater")
    assert owners(live) == {
        ("applier", "Apply"): {"f:data": {"f:y": {}}},
        ("updater", "Update"): {"f:data": {"f:x": {}, "f:z": {}}},
    }
    message, _ = conflicts(live, config_map({"x": "9", "y": "1"}), "applier")
    assert message == 'Apply failed with 1 conflict: conflict with "updater" using v1: .data.x'
    live = update(live, {**live, "data": {"y": "1"}}, "updater")
    assert owners(live) == {("applier", "Apply"): {"f:data": {"f:y": {}}}}


def test_a_creator_owns_the_maps_that_it_made() -> None:
    created = update(None, config_map({"x": "1"}, labels={"l": "1"}, finalizers=["f"], uid="u"), "kubectl")
    assert owners(created)["kubectl", "Update"] == {
        "f:data": {".": {}, "f:x": {}},
        "f:metadata": {"f:finalizers": {".": {}, 'v:"f"': {}}, "f:labels": {".": {}, "f:l": {}}},
    }


def test_structs_that_every_object_has_are_not_owned_themselves() -> None:
    container = {"name": "c", "image": "i", "ports": [{"containerPort": 80, "protocol": "TCP"}]}
    template = {"metadata": {"labels": {"a": "1"}}, "spec": {"containers": [container], "securityContext": {}}}
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}
    spec = {"selector": {"matchLabels": {"a": "1"}}, "strategy": strategy, "template": template}
    document = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}, "spec": spec}
    fields = owners(update(None, document, "kubectl", schema=Deployment))["kubectl", "Update"]
    assert fields["f:spec"] == {
        "f:selector": {},
        "f:strategy": {"f:rollingUpdate": {".": {}, "f:maxSurge": {}}, "f:type": {}},
        "f:template": {
            "f:metadata": {"f:labels": {".": {}, "f:a": {}}},
            "f:spec": {
                "f:containers": {
                    'k:{"name":"c"}': {
                        ".": {},
                        "f:image": {},
                        "f:name": {},
                        "f:ports": {
                            ".": {},
                            'k:{"containerPort":80,"protocol":"TCP"}': {
                                ".": {},
                                "f:containerPort": {},
                                "f:protocol": {},
                            },
                        },
                        "f:resources": {},
                    }
                },
                "f:securityContext": {},
            },
        },
    }


def test_items_of_list_maps_are_owned_by_key_and_merged_in_the_applied_order() -> None:
    first = pod_template({"name": "c", "image": "i", "args": ["a"], "ports": [{"containerPort": 80}]})
    live = apply(None, first, "one", schema=PodTemplate)
    second = pod_template(
        {"name": "side", "image": "s"}, {"name": "c", "ports": [{"containerPort": 80, "protocol": "UDP"}]}
    )
    live = apply(live, second, "two", schema=PodTemplate)
    containers = live["template"]["spec"]["containers"]
    assert [container["name"] for container in containers] == ["side", "c"]
    assert containers[1]["ports"] == [{"containerPort": 80}, {"containerPort": 80, "protocol": "UDP"}]
    message, fields = conflicts(live, pod_template({"name": "c", "args": ["b"]}), "two", schema=PodTemplate)
    assert fields == ['.template.spec.containers[name="c"].args']
    live = apply(live, pod_template({"name": "c"}), "two", schema=PodTemplate)
    assert [container["name"] for container in live["template"]["spec"]["containers"]] == ["c"]
    assert live["template"]["spec"]["containers"][0]["ports"] == [{"containerPort": 80}]


def test_what_nobody_owns_in_a_shared_item_stays_when_one_owner_leaves() -> None:
    live = apply(None, pod_template({"name": "c", "image": "i"}), "one", schema=PodTemplate)
    live["template"]["spec"]["containers"][0]["imagePullPolicy"] = "Always"  # a default
    live = apply(live, pod_template({"name": "c", "stdin": True}), "two", schema=PodTemplate)
    live = apply(live, pod_template({"name": "n", "image": "n"}), "one", schema=PodTemplate)
    assert live["template"]["spec"]["containers"] == [
        {"name": "c", "imagePullPolicy": "Always", "stdin": True},
        {"name": "n", "image": "n"},
    ]


def test_sets_merge_by_value_and_atomic_values_are_one_field() -> None:
    live = apply(None, config_map(finalizers=["a", "b"]), "one")
    live = apply(live, config_map(finalizers=["c", "b"]), "two")
    assert live["metadata"]["finalizers"] == ["a", "c", "b"]
    live = apply(live, config_map(), "two")
    assert live["metadata"]["finalizers"] == ["a", "b"]

    def policy(label: str) -> dict[str, Any]:
        spec = {"podSelector": {"matchLabels": {label: "1"}}}
        return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "a"}, "spec": spec}

    live = apply(None, policy("a"), "one", schema=NetworkPolicy)
    assert owners(live)["one", "Apply"] == {"f:spec": {"f:podSelector": {}}}
    assert conflicts(live, policy("b"), "two", schema=NetworkPolicy)[1] == [".spec.podSelector"]


def test_conflicts_list_a_nodes_own_fields_before_what_is_deeper() -> None:
    def service(name: str, selector: str) -> dict[str, Any]:
        spec = {"ports": [{"name": name, "port": 80}], "selector": {selector: "1"}}
        return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}, "spec": spec}

    live = apply(None, service("web", "x"), "one", schema=Service)
    fields = conflicts(live, service("renamed", "y"), "two", schema=Service)[1]
    assert fields == [".spec.selector", '.spec.ports[port=80,protocol="TCP"].name']


def test_managers_of_subresources_are_others() -> None:
    def deployment(replicas: int) -> dict[str, Any]:
        spec = {"replicas": replicas}
        return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}, "spec": spec}

    live = apply(None, deployment(0), "one", schema=Deployment)
    scaled = apply(live, deployment(2), "scaler", schema=Deployment, subresource="scale", force=True)
    message, _ = conflicts(scaled, deployment(0), "one", schema=Deployment)
    assert message == 'Apply failed with 1 conflict: conflict with "scaler" with subresource "scale": .spec.replicas'


def test_status_is_owned_only_through_its_subresource() -> None:
    document = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}, "spec": {"type": "ClusterIP"}}
    ingress = {**document, "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}}
    created = update(None, ingress, "m", schema=Service, reset=managed_fields.reset_fields("", True))
    assert owners(created)["m", "Update"] == {"f:spec": {"f:type": {}}}
    reset = managed_fields.reset_fields("status", True)
    changed = {**created, "spec": {"type": "NodePort"}, "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.2"}]}}}
    shown_entries = update(created, changed, "m", schema=Service, subresource="status", reset=reset)
    status = [entry for entry in shown_entries["metadata"]["managedFields"] if entry.get("subresource") == "status"]
    assert [entry["fieldsV1"] for entry in status] == [{"f:status": {"f:loadBalancer": {"f:ingress": {}}}}]
    assert owners(created)["m", "Update"] == {"f:spec": {"f:type": {}}}


def test_nulls_in_an_applied_object_are_owned_empty_values() -> None:
    applied = apply(None, config_map({"x": None, "y": ""}, labels=None, annotations={}), "one")
    assert applied["data"] == {"x": "", "y": ""}
    assert "labels" not in applied["metadata"]
    assert owners(applied)["one", "Apply"] == {
        "f:data": {"f:x": {}, "f:y": {}},
        "f:metadata": {"f:annotations": {}, "f:labels": {}},
    }


def test_the_first_apply_of_an_untracked_object_meets_who_came_before() -> None:
    live = config_map({"x": "1"})
    assert update(live, config_map({"x": "2"}), "m") == config_map({"x": "2"})
    message, _ = conflicts(live, config_map({"x": "2"}), "one")
    assert message == 'Apply failed with 1 conflict: conflict with "before-first-apply" using v1: .data.x'
    assert owners(apply(live, config_map({"x": "1"}), "one")) == {
        ("before-first-apply", "Update"): {"f:data": {".": {}, "f:x": {}}},
        ("one", "Apply"): {"f:data": {"f:x": {}}},
    }


def test_applying_the_same_again_changes_nothing() -> None:
    live = apply(None, config_map({"x": "1"}), "one")
    assert apply(live, config_map({"x": "1"}), "one", now=LATER) == live


def test_managed_fields_survive_clients_that_drop_them_and_can_be_cleared() -> None:
    live = apply(None, config_map({"x": "1"}), "one")
    assert owners(update(live, config_map({"x": "1"}), "m")) == {("one", "Apply"): {"f:data": {"f:x": {}}}}
    assert owners(update(live, config_map({"x": "1"}, managedFields=[{}]), "m")) == {}


def test_the_oldest_of_too_many_updaters_become_one() -> None:
    live = update(None, config_map({"k0": "0"}), "m0")
    for number in range(1, 15):
        data = {**live["data"], f"k{number}": "1"}
        live = update(live, {**live, "data": data}, f"m{number}", now=f"2026-01-01T00:00:{number:02}Z")
    entries = live["metadata"]["managedFields"]
    assert len(entries) == managed_fields.UPDATE_MANAGERS_MAX
    assert entries[0]["manager"] == "ancient-changes"
    assert set(entries[0]["fieldsV1"]["f:data"]) == {".", "f:k0", "f:k1", "f:k2", "f:k3", "f:k4", "f:k5"}


@pytest.mark.parametrize(
    ("patch", "message"),
    [
        (config_map(managedFields=[{"manager": "x"}]), "metadata.managedFields must be nil"),
        (
            {**config_map(), "apiVersion": "v2"},
            "incorrect version specified in apply patch. Specified patch version: v2, expected: v1",
        ),
        (
            config_map(finalizers=["a", "a"]),
            'failed to create typed patch object (/a; /v1, Kind=ConfigMap): duplicate entries for key "a"',
        ),
    ],
)
def test_what_cannot_be_applied_is_refused(patch: dict[str, Any], message: str) -> None:
    with pytest.raises(StatusError) as caught:
        managed_fields.server_side_apply(None, patch, ConfigMap, "m", False, api_version="v1", now=NOW)
    assert (caught.value.code, caught.value.message) == (400, message)


def test_custom_resources_merge_as_their_schema_says_or_as_their_values_look() -> None:
    def widget(**spec: Any) -> dict[str, Any]:
        return {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "a"}, "spec": spec}

    deduced = apply(None, widget(map={"k": "1"}, list=[1]), "one", schema=None)
    assert owners(deduced)["one", "Apply"] == {"f:spec": {".": {}, "f:list": {}, "f:map": {".": {}, "f:k": {}}}}
    item = {"type": "object", "properties": {"name": {"type": "string"}, "port": {"type": "integer", "default": 80}}}
    keyed = {
        "type": "array",
        "items": item,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name", "port"],
    }
    fixed = {"type": "object", "additionalProperties": {"type": "string"}, "x-kubernetes-map-type": "atomic"}
    spec = {"type": "object", "properties": {"keyed": keyed, "fixed": fixed}}
    schema = schema_of_openapi({"type": "object", "properties": {"spec": spec}})
    applied = apply(None, widget(keyed=[{"name": "n"}], fixed={"k": "1"}), "one", schema=schema)
    assert owners(applied)["one", "Apply"] == {
        "f:spec": {"f:fixed": {}, "f:keyed": {'k:{"name":"n","port":80}': {".": {}, "f:name": {}}}}
    }
    merged = apply(applied, widget(keyed=[{"name": "n", "port": 81}]), "two", schema=schema)
    assert merged["spec"]["keyed"] == [{"name": "n"}, {"name": "n", "port": 81}]


@pytest.mark.parametrize(
    ("user_agent", "name"),
    [("kubectl/v1.36 (linux)", "kubectl"), ("my\tagent", "myagent"), ("x" * 200, "x" * 128), ("", "")],
)
def test_a_manager_is_named_by_its_user_agent(user_agent: str, name: str) -> None:
    assert managed_fields.manager_name("", user_agent) == name
    assert managed_fields.manager_name("given", user_agent) == "given"


def test_field_sets_survive_the_wire() -> None:
    fields: dict[str, Any] = {"f:a": {".": {}, "f:b": {}, 'k:{"n":"x"}': {"f:v": {}}}, 'f:"': {}}
    assert encode(decode(fields)) == fields
    assert shown(("f:a", 'k:{"n":"x","p":80}', 'v:"s"', "i:3")) == '.a[n="x",p=80][="s"][3]'
    with pytest.raises(ValueError):
        decode({"a": {}})


def test_creating_is_comparing_with_nothing() -> None:
    """The one-walk path of creates agrees with the general one."""
    container = {"name": "c", "image": "i", "env": [{"name": "E", "value": ""}], "ports": [{"containerPort": 1}]}
    spec = {"containers": [container], "volumes": [], "nodeSelector": {}, "tolerations": [{"key": "k"}]}
    document = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "a", "labels": {"l": "1"}, "annotations": {}, "finalizers": ["f"]},
        "spec": {**spec, "securityContext": {"runAsUser": 1}, "affinity": {}},
        "status": {"conditions": [{"type": "Ready"}]},
    }
    changes = compare({}, document, schema_of(Pod))
    expected = encode((changes.added | changes.modified) - managed_fields.NOBODYS)
    assert created(managed_fields.claimable(document, ()), schema_of(Pod)) == expected
    assert expected["f:spec"]["f:containers"]['k:{"name":"c"}']["f:resources"] == {}


def test_a_path_added_to_encoded_fields_is_the_set_with_it() -> None:
    paths = [("f:a", "f:b"), ("f:a",), ("f:a", "f:b", 'v:"x"'), ("f:a", 'k:{"n":1}'), ("f:b",), ("f:b", "f:a")]
    for order in itertools.permutations(paths):
        encoded = with_paths({}, order)
        assert encoded == encode(set(paths))
        assert list(encoded["f:a"]) == [".", "f:b", 'k:{"n":1}']
        assert all(owns(encoded, path) for path in paths)
    assert not owns(encode({("f:a", "f:b")}), ("f:a",))


def test_what_every_object_shows_is_nobodys() -> None:
    policy = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {},
        "spec": {"podSelector": {}},
    }
    assert owners(update(None, policy, "m", schema=NetworkPolicy)) == {}
    assert owners(update(None, {**config_map(), "kind": "Widget"}, "m", schema=None)) == {}
    event = {"apiVersion": "v1", "kind": "Event", "metadata": {"name": "e"}, "reportingComponent": "", "reason": "R"}
    assert owners(update(None, event, "m", schema=Event)) == {("m", "Update"): {"f:reason": {}}}
    live = {**event, "metadata": {"managedFields": update(None, event, "m", schema=Event)["metadata"]["managedFields"]}}
    changed = update(live, {**live, "reportingInstance": "", "type": "Normal"}, "n", schema=Event)
    assert owners(changed)["n", "Update"] == {"f:type": {}}
