from typing import Any

import pytest

from kubeloop.actors.api.core_v1 import (
    ClientIPConfig,
    ObjectReference,
    Service,
    ServicePort,
    ServiceSpec,
    SessionAffinityConfig,
)
from kubeloop.actors.api.discovery_v1 import (
    Endpoint,
    EndpointConditions,
    EndpointHints,
    EndpointPort,
    EndpointSlice,
    ForZone,
)
from kubeloop.actors.api.meta_v1 import ObjectMeta
from kubeloop.actors.kube_proxy.tables import Route, cluster_ip_index, order, port_rules, route


def service(**spec: Any) -> Service:
    ports = [ServicePort(name="http", port=80), ServicePort(name="admin", port=81)]
    chosen: dict[str, Any] = {"cluster_ip": "10.96.0.9", "ports": ports, **spec}
    return Service(metadata=ObjectMeta(name="web", namespace="default"), spec=ServiceSpec(**chosen))


def endpoint(
    address: str, node: str, *, ready: bool = True, serving: bool = True, zone: str = "", **more: Any
) -> Endpoint:
    return Endpoint(
        addresses=[address],
        node_name=node,
        zone=zone or None,
        conditions=EndpointConditions(ready=ready, serving=serving, terminating=not ready),
        target_ref=ObjectReference(kind="Pod", namespace="default", name=f"web-{address}"),
        **more,
    )


def slice_of(*endpoints: Endpoint) -> EndpointSlice:
    ports = [EndpointPort(name="http", port=8080)]
    return EndpointSlice(metadata=ObjectMeta(name="web-1", namespace="default"), endpoints=list(endpoints), ports=ports)


def chosen(
    one: Service, *endpoints: Endpoint, node: str = "node-1", zone: str = "", **more: Any
) -> tuple[list[str], list[str]]:
    found = route(port_rules(one, [slice_of(*endpoints)])[80, "TCP"], node, zone, **more)
    return [e.address for e in found.preferred], [e.address for e in found.others]


HERE, THERE = endpoint("10.1.0.1", "node-1"), endpoint("10.2.0.1", "node-2")


def test_a_ready_endpoint_on_the_same_node_comes_first() -> None:
    assert chosen(service(), HERE, THERE) == (["10.1.0.1"], ["10.2.0.1"])
    assert chosen(service(), HERE, THERE, node="node-2") == (["10.2.0.1"], ["10.1.0.1"])


def test_any_endpoint_serves_when_there_is_none_on_the_node() -> None:
    assert chosen(service(), HERE, THERE, node="node-3") == (["10.1.0.1", "10.2.0.1"], [])
    unready = endpoint("10.1.0.1", "node-1", ready=False, serving=False)
    assert chosen(service(), unready, THERE) == (["10.2.0.1"], [])


def test_without_the_preference_all_are_alike() -> None:
    assert chosen(service(), HERE, THERE, same_node_first=False) == (["10.1.0.1", "10.2.0.1"], [])
    preferring = service(traffic_distribution="PreferSameNode")
    assert chosen(preferring, HERE, THERE, same_node_first=False) == (["10.1.0.1"], ["10.2.0.1"])


def test_internal_traffic_policy_local_never_leaves_the_node() -> None:
    local = service(internal_traffic_policy="Local")
    assert chosen(local, HERE, THERE) == (["10.1.0.1"], [])
    assert chosen(local, THERE) == ([], [])


@pytest.mark.parametrize("distribution", ["PreferSameZone", "PreferClose"])
def test_zones_are_preferred_when_the_service_says_so(distribution: str) -> None:
    close = service(traffic_distribution=distribution)
    here, near, far = (
        endpoint("10.1.0.1", "node-1", zone="a"),
        endpoint("10.2.0.1", "node-2", zone="a"),
        endpoint("10.3.0.1", "node-3", zone="b"),
    )
    assert chosen(close, here, near, far, zone="a") == (["10.1.0.1", "10.2.0.1"], ["10.3.0.1"])
    assert chosen(close, far, zone="a") == (["10.3.0.1"], [])
    hinted = endpoint("10.3.0.1", "node-3", zone="b", hints=EndpointHints(for_zones=[ForZone(name="a")]))
    assert chosen(close, hinted, zone="a") == (["10.3.0.1"], [])


def test_serving_pods_that_are_being_deleted_are_the_last_resort() -> None:
    leaving = endpoint("10.1.0.1", "node-1", ready=False)
    assert chosen(service(), leaving, THERE) == (["10.2.0.1"], [])
    assert chosen(service(), leaving) == (["10.1.0.1"], [])
    dead = endpoint("10.1.0.1", "node-1", ready=False, serving=False)
    assert chosen(service(), dead) == ([], [])


def test_a_port_without_endpoints_of_its_name_refuses() -> None:
    rules = port_rules(service(), [slice_of(HERE)])
    assert (rules[80, "TCP"].endpoints[0].port, rules[80, "TCP"].endpoints[0].pod) == (8080, "default/web-10.1.0.1")
    assert route(rules[81, "TCP"], "node-1", "") == Route([])


def test_turns_go_round_among_the_preferred_before_the_others() -> None:
    second = endpoint("10.1.0.2", "node-1")
    found = route(port_rules(service(), [slice_of(HERE, second, THERE)])[80, "TCP"], "node-1", "")
    turns = [[e.address for e in order(found, turn)] for turn in range(3)]
    assert turns[0] == turns[2] == ["10.1.0.1", "10.1.0.2", "10.2.0.1"]
    assert turns[1] == ["10.1.0.2", "10.1.0.1", "10.2.0.1"]
    assert order(found, 0, affine="10.2.0.1")[0].address == "10.2.0.1"


def test_affinity_lasts_as_long_as_the_service_says() -> None:
    sticky = service(session_affinity="ClientIP")
    assert port_rules(sticky, [])[80, "TCP"].affinity_seconds == 10_800
    config = SessionAffinityConfig(client_ip=ClientIPConfig(timeout_seconds=60))
    short = service(session_affinity="ClientIP", session_affinity_config=config)
    assert port_rules(short, [])[80, "TCP"].affinity_seconds == 60


def test_an_address_in_two_slices_counts_once() -> None:
    rules = port_rules(service(), [slice_of(HERE), slice_of(HERE, THERE)])
    assert [e.address for e in rules[80, "TCP"].endpoints] == ["10.1.0.1", "10.2.0.1"]


def test_headless_services_have_no_cluster_ip() -> None:
    assert cluster_ip_index([service(), service(cluster_ip="None")]) == {"10.96.0.9": "default/web"}
