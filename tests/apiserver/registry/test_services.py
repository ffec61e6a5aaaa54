"""Facts about services: what is allocated, what an update keeps, what changes with the type."""

import ipaddress
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from kubeloop.actors.api.core_v1 import Service
from kubeloop.actors.api.errors import StatusError
from kubeloop.actors.apiserver.registry import kind_for
from kubeloop.actors.apiserver.registry.kind import StrategyContext
from kubeloop.runtime.clock import Clock

FOUND = kind_for("", "v1", "services")
assert FOUND is not None
KIND = FOUND
PORTS = [{"port": 80}]


def service(spec: Mapping[str, Any], name: str = "s") -> Any:
    return KIND.default(msgspec.convert({"metadata": {"name": name, "namespace": "n"}, "spec": spec}, Service))


def context(*others: Any) -> StrategyContext:
    return StrategyContext(clock=Clock(seed=1), get=lambda *key: None, list=lambda *key: others)


def created(spec: Mapping[str, Any], *others: Any, name: str = "s") -> Any:
    assert KIND.prepare_for_create is not None
    return KIND.prepare_for_create(service(spec, name), context(*others))


def updated(old: Any, spec: Mapping[str, Any], *others: Any) -> Any:
    assert KIND.prepare_for_update is not None
    return KIND.prepare_for_update(service(spec), old, context(old, *others))


def test_a_service_gets_an_address_of_the_service_network() -> None:
    made = created({"ports": PORTS})
    assert ipaddress.ip_address(made.spec.cluster_ip) in ipaddress.ip_network("10.96.0.0/16")
    assert list(made.spec.cluster_ips) == [made.spec.cluster_ip]
    assert msgspec.to_builtins(made.spec.ports[0]) == {"port": 80, "protocol": "TCP", "targetPort": 80}
    assert (made.spec.type, made.spec.session_affinity, made.spec.internal_traffic_policy) == (
        "ClusterIP",
        "None",
        "Cluster",
    )


def test_no_two_services_share_an_address_or_a_node_port() -> None:
    made: list[Any] = []
    for index in range(200):
        made.append(created({"ports": PORTS, "type": "NodePort"}, *made, name=f"s{index}"))
    assert len({one.spec.cluster_ip for one in made}) == 200
    ports = {one.spec.ports[0].node_port for one in made}
    assert len(ports) == 200
    assert all(30000 <= port <= 32767 for port in ports)


@pytest.mark.parametrize(
    ("spec", "field", "detail"),
    [
        (
            {"ports": PORTS, "clusterIP": "192.168.1.1"},
            "spec.clusterIPs",
            "failed to allocate IP 192.168.1.1: the provided network does not match the current range",
        ),
        (
            {"ports": PORTS, "clusterIP": "10.96.0.9"},
            "spec.clusterIPs",
            "failed to allocate IP 10.96.0.9: provided IP is already allocated",
        ),
        (
            {"ports": [{"port": 80, "nodePort": 80}], "type": "NodePort"},
            "spec.ports[0].nodePort",
            "provided port is not in the valid range. The range of valid ports is 30000-32767",
        ),
    ],
)
def test_what_cannot_be_allocated_is_refused(spec: Mapping[str, Any], field: str, detail: str) -> None:
    taken = created({"ports": PORTS, "clusterIP": "10.96.0.9"}, name="taken")
    with pytest.raises(StatusError) as refused:
        created(spec, taken)
    assert refused.value.code == 422
    (cause,) = refused.value.status["details"]["causes"]
    assert cause["field"] == field
    assert cause["message"].endswith(detail)


def test_an_update_that_does_not_mention_the_address_keeps_it() -> None:
    old = created({"ports": PORTS, "type": "NodePort"})
    new = updated(old, {"ports": [{"port": 80, "targetPort": 8080}], "type": "NodePort"})
    assert new.spec.cluster_ip == old.spec.cluster_ip
    assert new.spec.ports[0].node_port == old.spec.ports[0].node_port
    assert not KIND.validate_update(new, old)


def test_the_address_may_not_change() -> None:
    old = created({"ports": PORTS})
    new = replace(old, spec=replace(old.spec, cluster_ip="10.96.3.3", cluster_ips=("10.96.3.3",)))
    assert [error.detail for error in KIND.validate_update(new, old)] == ["may not change once set"]


def test_what_only_the_old_type_needed_goes_with_it() -> None:
    old = created({"ports": PORTS, "type": "NodePort"})
    as_cluster_ip = updated(old, {**msgspec.to_builtins(old.spec), "type": "ClusterIP"})
    assert as_cluster_ip.spec.ports[0].node_port is None
    assert as_cluster_ip.spec.external_traffic_policy is None
    external = {**msgspec.to_builtins(old.spec), "type": "ExternalName", "externalName": "a.example.com"}
    as_name = updated(old, external)
    assert as_name.spec.cluster_ip is None
    assert not as_name.spec.cluster_ips


def test_a_headless_service_has_no_address() -> None:
    made = created({"ports": PORTS, "clusterIP": "None", "selector": {"a": "b"}})
    assert list(made.spec.cluster_ips) == ["None"]
    assert not KIND.validate(made)


def test_ports_are_shown_with_node_ports_behind_a_colon() -> None:
    made = created({"ports": [{"port": 80, "nodePort": 30080}], "type": "NodePort"})
    cells = {column.name: column.cell(made, 0.0) for column in KIND.columns}
    assert cells["Port(s)"] == "80:30080/TCP"
    assert cells["External-IP"] == "<none>"
    assert cells["Selector"] == "<none>"
