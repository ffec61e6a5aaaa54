"""Pod addresses of one node, given out of its range as host-local IPAM does: the next free one after the last."""

import ipaddress


class AddressesExhausted(Exception):
    """Every address of the range is in use."""


class AddressPool:
    """Host addresses of a CIDR but the first (the node's own); an address is given out again as late as possible."""

    __slots__ = ("_first", "_last", "_size", "_used", "cidr", "node_address")

    def __init__(self, cidr: str) -> None:
        network = ipaddress.ip_network(cidr)
        self.cidr = cidr
        self._first = int(network.network_address) + 2
        self.node_address = str(network.network_address + 1)
        self._size = network.num_addresses - 3
        if network.version != 4 or self._size < 1:
            raise ValueError(f"pod range {cidr!r}: need an IPv4 network with at least 4 addresses")
        self._last = -1
        self._used: set[int] = set()

    def allocate(self) -> str:
        """The next free address. AddressesExhausted when there is none."""
        used, size = self._used, self._size
        if len(used) >= size:
            raise AddressesExhausted(f"no IP addresses available in range set: {self.cidr}")
        offset = self._last
        while True:
            offset = (offset + 1) % size
            if offset not in used:
                break
        used.add(offset)
        self._last = offset
        number = self._first + offset
        return f"{number >> 24}.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"

    def release(self, address: str) -> None:
        """Give an address back. Unknown ones are ignored."""
        self._used.discard(int(ipaddress.IPv4Address(address)) - self._first)


def pod_cidr(node_index: int) -> str:
    """The /24 of node `node_index` (from 1): 10.244.N.0/24 up to 10.255, then 100.64.0.0/10, then 11.0.0.0/8 and on."""
    if node_index < 0:
        raise ValueError(f"node index {node_index}: must not be negative")
    for first, count in ((10 << 16 | 244 << 8, 3072), (100 << 16 | 64 << 8, 16384), (11 << 16, 1 << 20)):
        if node_index < count:
            block = first + node_index
            return f"{block >> 16}.{block >> 8 & 255}.{block & 255}.0/24"
        node_index -= count
    raise ValueError("more nodes than pod ranges")
