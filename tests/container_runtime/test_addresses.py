import ipaddress

import pytest

from kubeloop.actors.container_runtime.addresses import AddressesExhausted, AddressPool, pod_cidr


def test_every_address_is_given_once_and_reused_as_late_as_possible() -> None:
    pool = AddressPool("10.244.1.0/29")
    first = [pool.allocate() for _ in range(3)]
    assert first == ["10.244.1.2", "10.244.1.3", "10.244.1.4"]
    pool.release("10.244.1.3")
    assert [pool.allocate() for _ in range(3)] == ["10.244.1.5", "10.244.1.6", "10.244.1.3"]
    with pytest.raises(AddressesExhausted, match=r"10\.244\.1\.0/29"):
        pool.allocate()


def test_ranges_of_nodes_do_not_overlap() -> None:
    assert pod_cidr(1) == "10.244.1.0/24"
    assert pod_cidr(256) == "10.245.0.0/24"
    ranges = {pod_cidr(index) for index in range(30_000)}
    assert len(ranges) == 30_000
    assert all(ipaddress.ip_network(one).prefixlen == 24 for one in list(ranges)[:100])
