"""Services' pods as EndpointSlices and Endpoints, decided on data."""

from __future__ import annotations

from typing import Any

import msgspec

from kubeloop.actors.api.core_v1 import Node, Pod, ServicePort
from kubeloop.actors.api.discovery_v1 import EndpointSlice
from kubeloop.actors.api.meta_v1 import ObjectMeta
from kubeloop.actors.controller_manager import endpoint_slices
from kubeloop.actors.controller_manager.endpoint_slices import plan_slices
from kubeloop.actors.controller_manager.endpoint_subsets import plan_endpoints
from tests.controller_manager.factories import pod, service


def node(name: str) -> Node:
    return Node(metadata=ObjectMeta(name=name, labels={endpoint_slices.ZONE: f"zone-{name}"}))


def pods(count: int) -> list[Pod]:
    return [pod(f"p{n}", node="n1", ip=f"10.1.{n // 250}.{n % 250}") for n in range(count)]


def stored(each: EndpointSlice, name: str) -> EndpointSlice:
    return msgspec.structs.replace(each, metadata=msgspec.structs.replace(each.metadata, name=name, uid=name))


def test_an_endpoint_says_what_the_pod_is() -> None:
    (made,) = plan_slices(service(), [pod("a", node="n1", ip="10.1.0.1")], [], node).create
    assert made.metadata.generate_name == "web-"
    assert made.metadata.labels == {
        "kubernetes.io/service-name": "web",
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
    }
    (endpoint,) = made.endpoints
    assert (endpoint.node_name, endpoint.zone, tuple(endpoint.addresses)) == ("n1", "zone-n1", ("10.1.0.1",))
    assert endpoint.target_ref is not None and endpoint.target_ref.name == "a"
    assert [(port.name, port.port, port.protocol) for port in made.ports] == [("", 80, "TCP")]


def test_conditions_follow_readiness_and_termination() -> None:
    def conditions(each: Pod, **spec: Any) -> tuple[bool | None, bool | None, bool | None]:
        (made,) = plan_slices(service(**spec), [each], [], node).create
        found = made.endpoints[0].conditions
        assert found is not None
        return found.ready, found.serving, found.terminating

    assert conditions(pod("a", ip="10.1.0.1")) == (True, True, False)
    assert conditions(pod("a", ip="10.1.0.1", ready=False)) == (False, False, False)
    assert conditions(pod("a", ip="10.1.0.1", deleting=True)) == (False, True, True)
    assert conditions(pod("a", ip="10.1.0.1", ready=False), publish_not_ready_addresses=True) == (True, False, False)


def test_ended_pods_and_pods_without_address_are_left_out() -> None:
    (made,) = plan_slices(service(), [pod("a"), pod("b", ip="10.1.0.1", phase="Succeeded")], [], node).create
    assert made.endpoints == ()


def test_slices_hold_a_hundred_endpoints() -> None:
    plan = plan_slices(service(), pods(250), [], node)
    assert [len(each.endpoints) for each in plan.create] == [100, 100, 50]


def test_nothing_is_written_when_nothing_changed() -> None:
    existing = [stored(each, f"s{n}") for n, each in enumerate(plan_slices(service(), pods(150), [], node).create)]
    plan = plan_slices(service(), pods(150), existing, node)
    assert (plan.create, plan.update, plan.delete) == ([], [], [])


def test_one_pod_less_is_one_update_and_a_new_one_fills_the_gap() -> None:
    existing = [stored(each, f"s{n}") for n, each in enumerate(plan_slices(service(), pods(150), [], node).create)]
    less = plan_slices(service(), pods(150)[1:], existing, node)
    assert [len(each.endpoints) for each in less.update] == [99] and not less.create and not less.delete
    more = plan_slices(service(), pods(151), existing, node)
    assert [len(each.endpoints) for each in more.update] == [51] and not more.create


def test_a_service_without_endpoints_keeps_one_empty_slice_without_ports() -> None:
    existing = [stored(each, f"s{n}") for n, each in enumerate(plan_slices(service(), pods(150), [], node).create)]
    plan = plan_slices(service(), [], existing, node)
    assert len(plan.delete) == 2 and [(len(each.endpoints), each.ports) for each in plan.create] == [(0, ())]
    empty = stored(plan.create[0], "empty")
    assert plan_slices(service(), [], [empty], node) == endpoint_slices.SlicePlan([], [], [])
    back = plan_slices(service(), pods(1), [empty], node)
    assert back.delete == [empty] and len(back.create) == 1


def test_named_ports_are_resolved_on_each_pod() -> None:
    from kubeloop.actors.api.core_v1 import Container, ContainerPort, PodSpec

    def with_port(name: str, ip: str, number: int) -> Pod:
        container = Container(name="web", ports=(ContainerPort(name="http", container_port=number, protocol="TCP"),))
        return msgspec.structs.replace(pod(name, ip=ip), spec=PodSpec(containers=(container,)))

    named = service(ports=(ServicePort(name="web", port=80, target_port="http", protocol="TCP"),))
    plan = plan_slices(named, [with_port("a", "10.1.0.1", 8080), with_port("b", "10.1.0.2", 9090)], [], node)
    assert sorted(each.ports[0].port or 0 for each in plan.create) == [8080, 9090]


def test_both_families_get_slices_of_their_own() -> None:
    from kubeloop.actors.api.core_v1 import PodIP, PodStatus

    dual = pod("a", node="n1", ip="10.1.0.1")
    status: PodStatus = msgspec.structs.replace(dual.status, pod_ips=(PodIP(ip="10.1.0.1"), PodIP(ip="fd00::1")))
    plan = plan_slices(service(ip_families=("IPv4", "IPv6")), [msgspec.structs.replace(dual, status=status)], [], node)
    assert [(each.address_type, tuple(each.endpoints[0].addresses)) for each in plan.create] == [
        ("IPv4", ("10.1.0.1",)),
        ("IPv6", ("fd00::1",)),
    ]


def test_prefer_same_node_hints_at_node_and_zone() -> None:
    (made,) = plan_slices(service(traffic_distribution="PreferSameNode"), pods(1), [], node).create
    hints = made.endpoints[0].hints
    assert hints is not None
    assert [zone.name for zone in hints.for_zones] == ["zone-n1"] and [each.name for each in hints.for_nodes] == ["n1"]


def test_endpoints_hold_ready_and_unready_addresses_and_settle() -> None:
    made = plan_endpoints(service(), [pod("b", ip="10.1.0.2"), pod("a", ip="10.1.0.1", ready=False)], None)
    assert made is not None
    (subset,) = made.subsets
    assert [address.ip for address in subset.addresses] == ["10.1.0.2"]
    assert [address.ip for address in subset.not_ready_addresses] == ["10.1.0.1"]
    again = [pod("a", ip="10.1.0.1", ready=False), pod("b", ip="10.1.0.2")]
    assert plan_endpoints(service(), again, made) is None
