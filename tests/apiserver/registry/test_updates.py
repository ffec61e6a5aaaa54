"""Rules of updates: what may not change, with what the error shows, and fields that say the same kept in step."""

from typing import Any

import pytest

from kubeloop.actors.api import codec
from kubeloop.actors.apiserver.registry import kind_for
from kubeloop.actors.apiserver.registry.kind import StrategyContext
from kubeloop.runtime.clock import Clock

CONTEXT = StrategyContext(clock=Clock(seed=1), get=lambda *_: None, list=lambda *_: ())
META = {"name": "x", "namespace": "n"}


def of(group: str, plural: str, **fields: Any) -> Any:
    kind = kind_for(group, "v1", plural)
    assert kind is not None and kind.resource.type is not None
    return kind.default(codec.convert({"metadata": META, **fields}, kind.resource.type))


def volume(key: str | None) -> Any:
    access, source = ["ReadWriteOnce"], {"path": "/x"}
    spec: dict[str, Any] = {"capacity": {"storage": "1"}, "accessModes": access, "hostPath": source}
    if key:
        terms = [{"matchExpressions": [{"key": key, "operator": "In", "values": ["a"]}]}]
        spec["nodeAffinity"] = {"required": {"nodeSelectorTerms": terms}}
    return of("", "persistentvolumes", spec=spec)


def update_errors(group: str, plural: str, new: Any, old: Any) -> list[tuple[str, str]]:
    kind = kind_for(group, "v1", plural)
    assert kind is not None
    return [(error.field, error.body) for error in kind.validate_update(new, old)]


def test_affinity_of_a_volume_once_set_stays() -> None:
    old = volume("failure-domain.beta.kubernetes.io/zone")
    assert update_errors("", "persistentvolumes", old, volume(None)) == []
    assert update_errors("", "persistentvolumes", volume("topology.kubernetes.io/zone"), old) == []
    expression = '{"Key":"other","Operator":"In","Values":["a"]}'
    shown = f'{{"Required":{{"NodeSelectorTerms":[{{"MatchExpressions":[{expression}],"MatchFields":null}}]}}}}'
    detail = "field is immutable, except for updating from beta label to GA"
    assert update_errors("", "persistentvolumes", volume("other"), old) == [
        ("nodeAffinity", f"Invalid value: {shown}: {detail}")
    ]
    assert update_errors("", "persistentvolumes", volume(None), old) == [
        ("nodeAffinity", f"Invalid value: null: {detail}")
    ]


def test_policies_of_a_job_are_shown_as_go_shows_them() -> None:
    template = {"spec": {"containers": [{"name": "c", "image": "i"}], "restartPolicy": "Never"}}
    rule = {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [1]}}
    old = of("batch", "jobs", spec={"template": template})
    new = of("batch", "jobs", spec={"template": template, "podFailurePolicy": {"rules": [rule]}})
    codes = '{"ContainerName":null,"Operator":"In","Values":[1]}'
    shown = f'{{"Rules":[{{"Action":"FailJob","OnExitCodes":{codes},"OnPodConditions":null}}]}}'
    wanted = ("spec.podFailurePolicy", f"Invalid value: {shown}: field is immutable")
    assert wanted in update_errors("batch", "jobs", new, old)


@pytest.mark.parametrize(
    ("spec", "first", "all_of_them"),
    [
        ({"podCIDR": "10.0.0.0/24"}, "10.0.0.0/24", ("10.0.0.0/24",)),
        ({"podCIDRs": ["10.0.0.0/24", "fd00::/64"]}, "10.0.0.0/24", ("10.0.0.0/24", "fd00::/64")),
        ({"podCIDR": "10.1.0.0/24", "podCIDRs": ["10.0.0.0/24"]}, "10.1.0.0/24", ("10.1.0.0/24",)),
    ],
)
def test_range_of_a_node_is_the_first_of_its_ranges(spec: Any, first: str, all_of_them: tuple[str, ...]) -> None:
    found = of("", "nodes", spec=spec).spec
    assert (found.pod_cidr, found.pod_cidrs) == (first, all_of_them)


@pytest.mark.parametrize(
    ("status", "first", "all_of_them"),
    [
        ({"podIP": "10.0.0.1"}, "10.0.0.1", ["10.0.0.1"]),
        ({"podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]}, "10.0.0.1", ["10.0.0.1", "fd00::1"]),
        ({"podIP": "10.0.0.2", "podIPs": [{"ip": "10.0.0.1"}]}, "10.0.0.2", ["10.0.0.2"]),
    ],
)
def test_address_of_a_pod_is_the_first_of_its_addresses(status: Any, first: str, all_of_them: list[str]) -> None:
    kind = kind_for("", "v1", "pods")
    spec = {"containers": [{"name": "c", "image": "i"}]}
    old, new = of("", "pods", spec=spec), of("", "pods", spec=spec, status=status)
    assert kind is not None and kind.prepare_for_status_update is not None
    found = kind.prepare_for_status_update(new, old, CONTEXT).status
    assert (found.pod_ip, [one.ip for one in found.pod_ips]) == (first, all_of_them)
