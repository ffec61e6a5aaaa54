"""The columnar scheduler and a slow, obvious one agree on random clusters, while pods and nodes come and go."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from kubeloop.actors.scheduler.engine import Engine
from tests.scheduler import reference
from tests.scheduler.objects import make_node, make_pod

Object = dict[str, Any]

KEYS = ("zone", "kubernetes.io/hostname", "disk")
APPS = ("web", "db")

selector = st.sampled_from(
    [
        {"matchLabels": {"app": "web"}},
        {"matchLabels": {"app": "db"}},
        {"matchExpressions": [{"key": "app", "operator": "Exists"}]},
        {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["db"]}]},
    ]
)
taint = st.fixed_dictionaries(
    {
        "key": st.sampled_from(["a", "b"]),
        "effect": st.sampled_from(["NoSchedule", "NoExecute", "PreferNoSchedule"]),
    },
    optional={"value": st.sampled_from(["1", "2"])},
)
toleration = st.one_of(
    st.fixed_dictionaries(
        {"key": st.sampled_from(["a", "b"]), "operator": st.just("Exists")},
        optional={"effect": st.sampled_from(["NoSchedule", "PreferNoSchedule"])},
    ),
    st.fixed_dictionaries(
        {"key": st.sampled_from(["a", "b"]), "operator": st.just("Equal"), "value": st.sampled_from(["1", "2"])}
    ),
    st.just({"operator": "Exists"}),
)
expression = st.one_of(
    st.fixed_dictionaries(
        {
            "key": st.sampled_from(["zone", "disk"]),
            "operator": st.sampled_from(["In", "NotIn"]),
            "values": st.lists(st.sampled_from(["1", "2", "3"]), min_size=1, max_size=2, unique=True),
        }
    ),
    st.fixed_dictionaries(
        {"key": st.sampled_from(["zone", "disk"]), "operator": st.sampled_from(["Exists", "DoesNotExist"])}
    ),
    st.fixed_dictionaries(
        {
            "key": st.just("disk"),
            "operator": st.sampled_from(["Gt", "Lt"]),
            "values": st.sampled_from([["1"], ["2"]]),
        }
    ),
)
pod_term = st.fixed_dictionaries(
    {"labelSelector": selector, "topologyKey": st.sampled_from(KEYS)},
    optional={"namespaces": st.sampled_from([["other"], ["default", "other"]]), "namespaceSelector": st.just({})},
)
constraint = st.fixed_dictionaries(
    {
        "labelSelector": selector,
        "topologyKey": st.sampled_from(KEYS),
        "maxSkew": st.integers(1, 2),
        "whenUnsatisfiable": st.sampled_from(["DoNotSchedule", "ScheduleAnyway"]),
    },
    optional={
        "nodeTaintsPolicy": st.sampled_from(["Honor", "Ignore"]),
        "nodeAffinityPolicy": st.sampled_from(["Honor", "Ignore"]),
    },
)


@st.composite
def nodes(draw: st.DrawFn, index: int) -> Object:
    name = f"n{index}"
    labels = {"kubernetes.io/hostname": name}
    for key in ("zone", "disk"):
        if draw(st.integers(0, 3)):
            labels[key] = draw(st.sampled_from(["1", "2", "3"]))
    spec: Object = {"taints": draw(st.lists(taint, max_size=2, unique_by=lambda t: (t["key"], t["effect"])))}
    if not draw(st.integers(0, 5)):
        spec["unschedulable"] = True
    allocatable = {
        "cpu": draw(st.sampled_from(["1", "2", "4500m"])),
        "memory": draw(st.sampled_from(["1Gi", "3Gi"])),
        "pods": draw(st.sampled_from(["2", "110"])),
    }
    if draw(st.booleans()):
        allocatable["example.com/gpu"] = "2"
    return {"metadata": {"name": name, "labels": labels}, "spec": spec, "status": {"allocatable": allocatable}}


@st.composite
def affinities(draw: st.DrawFn) -> Object:
    affinity: Object = {}
    if not draw(st.integers(0, 2)):
        affinity["nodeAffinity"] = {
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {"weight": draw(st.integers(1, 5)), "preference": {"matchExpressions": [draw(expression)]}}
            ]
        }
        if draw(st.booleans()):
            affinity["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"] = {
                "nodeSelectorTerms": [{"matchExpressions": draw(st.lists(expression, min_size=1, max_size=2))}]
            }
    for kind in ("podAffinity", "podAntiAffinity"):
        side: Object = {}
        if not draw(st.integers(0, 4)):
            side["requiredDuringSchedulingIgnoredDuringExecution"] = [draw(pod_term)]
        if not draw(st.integers(0, 4)):
            side["preferredDuringSchedulingIgnoredDuringExecution"] = [
                {"weight": draw(st.integers(1, 9)), "podAffinityTerm": draw(pod_term)}
            ]
        if side:
            affinity[kind] = side
    return affinity


@st.composite
def pods(draw: st.DrawFn, name: str) -> Object:
    requests = {}
    if draw(st.booleans()):
        requests["cpu"] = draw(st.sampled_from(["0", "250m", "1"]))
    if draw(st.booleans()):
        requests["memory"] = draw(st.sampled_from(["100Mi", "1Gi"]))
    if not draw(st.integers(0, 5)):
        requests["example.com/gpu"] = "1"
    container: Object = {"name": "c", "resources": {"requests": requests}}
    if not draw(st.integers(0, 4)):
        container["ports"] = [
            {"containerPort": 80, "hostPort": 80, "hostIP": draw(st.sampled_from(["0.0.0.0", "10.0.0.1"]))}
        ]
    spec: Object = {"containers": [container], "tolerations": draw(st.lists(toleration, max_size=1))}
    affinity = draw(affinities())
    if affinity:
        spec["affinity"] = affinity
    if not draw(st.integers(0, 3)):
        spec["topologySpreadConstraints"] = draw(st.lists(constraint, min_size=1, max_size=2))
    if not draw(st.integers(0, 5)):
        spec["nodeSelector"] = {"disk": "1"}
    metadata = {
        "name": name,
        "namespace": draw(st.sampled_from(["default", "other"])),
        "uid": name,
        "labels": {"app": draw(st.sampled_from(APPS))} if draw(st.integers(0, 4)) else {},
    }
    return {"metadata": metadata, "spec": spec}


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_feasible_nodes_and_totals_are_those_of_the_slow_scheduler(data: st.DataObject) -> None:
    engine = Engine()
    cluster = [data.draw(nodes(index)) for index in range(data.draw(st.integers(1, 6)))]
    for node in cluster:
        engine.cluster.set_node(make_node(node))
    templates = [data.draw(pods(f"t{index}")) for index in range(3)]
    placed: list[Object] = []
    for step in range(data.draw(st.integers(1, 8))):
        template = data.draw(st.sampled_from(templates))
        pod = {"metadata": {**template["metadata"], "name": f"p{step}", "uid": f"p{step}"}, "spec": template["spec"]}
        check(engine, pod, cluster, placed)
        change(data, engine, cluster, placed)


def check(engine: Engine, pod: Object, cluster: list[Object], placed: list[Object]) -> None:
    """Compares verdicts and totals, then places the pod where the columnar scheduler says."""
    info = engine.info(make_pod(pod))
    expected = reference.totals(pod, cluster, placed)
    evaluation = engine.evaluation(info)
    mask = evaluation.feasible()
    names = {node.name: node.row for node in engine.cluster.existing() if mask[node.row]}
    assert sorted(names) == sorted(expected)
    chosen = engine.decide(info)
    if chosen is None:
        assert not expected
        assert sum(len(verdict.rows) for verdict in engine.explain(info).verdicts) == len(cluster)
        return
    actual = evaluation.totals(mask)
    assert {name: int(actual[row]) for name, row in names.items()} == expected
    assert expected[chosen.name] == max(expected.values())
    bound = {"metadata": pod["metadata"], "spec": {**pod["spec"], "nodeName": chosen.name}}
    engine.cluster.add_pod(engine.info(make_pod(bound)), chosen.name)
    placed.append(bound)


def change(data: st.DataObject, engine: Engine, cluster: list[Object], placed: list[Object]) -> None:
    """A pod goes, or a node changes, or nothing happens."""
    what = data.draw(st.integers(0, 5))
    if what == 0 and placed:
        gone = placed.pop(data.draw(st.integers(0, len(placed) - 1)))
        engine.cluster.remove_pod(engine.info(make_pod(gone)), gone["spec"]["nodeName"])
    elif what == 1:
        index = data.draw(st.integers(0, len(cluster) - 1))
        name = cluster[index]["metadata"]["name"]
        cluster[index] = data.draw(nodes(int(name[1:])))
        engine.cluster.set_node(make_node(cluster[index]))
    elif what == 2 and len(cluster) > 1:
        node = cluster.pop()
        engine.cluster.remove_node(node["metadata"]["name"])
