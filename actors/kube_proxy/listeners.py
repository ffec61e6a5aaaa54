"""The listeners of one proxy: an address a service, a listener a port, open while there is an endpoint to go to."""

import ipaddress
from collections.abc import Sequence
from typing import TYPE_CHECKING
from zlib import crc32

from kubeloop.actors.kube_proxy.forwarder import Listener
from kubeloop.actors.kube_proxy.tables import ZONED_DISTRIBUTIONS, Endpoint, PortRule

if TYPE_CHECKING:
    from kubeloop.actors.kube_proxy.actor import KubeProxy

NODE_PORT_HOST = "127.0.0.1"
FALLBACK_PORT_FIRST, FALLBACK_PORTS = 20_000, 10_000


class Listeners:
    """By service key and port. `service_cidr` empty: all on 127.0.0.1, at ports of their own."""

    def __init__(self, proxy: "KubeProxy", service_cidr: str) -> None:
        self._proxy = proxy
        self._network = ipaddress.ip_network(service_cidr) if service_cidr else None
        self._hosts: dict[str, str] = {}
        self._listeners: dict[str, dict[tuple[int, str], Listener]] = {}
        self._node_ports: dict[str, dict[int, Listener]] = {}
        self._begun = False
        self._refused: dict[tuple[str, int], None] = {}

    def begin(self, keys: Sequence[str]) -> None:
        """The first list is in: listen for these services, oldest first."""
        self._begun = True
        for key in keys:
            self.sync(key)

    def addresses(self) -> dict[tuple[str, str, int], tuple[str, int]]:
        """(namespace, service, port) -> (host, port)."""
        found = {}
        for key, ports in self._listeners.items():
            namespace, _, name = key.partition("/")
            for (port, _protocol), listener in ports.items():
                found[namespace, name, port] = (listener.host, listener.port)
        return found

    def sync(self, key: str) -> None:
        """Bring the listeners of one service in line with its rules."""
        if not self._begun:
            return
        service = self._proxy.service(key)
        spec = service.spec if service is not None else None
        rules = self._proxy.rules(key) if spec is not None and spec.cluster_ip not in (None, "", "None") else {}
        if any(rule.distribution in ZONED_DISTRIBUTIONS for rule in rules.values()):
            self._proxy.spawn(self._proxy.learn_zone, name="zone")
        tcp = {port: rule for port, rule in rules.items() if rule.protocol == "TCP"}
        listeners = self._listeners.setdefault(key, {})
        for gone in [port for port in listeners if port not in tcp]:
            listeners.pop(gone).close()
        for port, rule in tcp.items():
            listener = listeners.get(port)
            if listener is None:
                listener = self._listen(key, rule, self._host(key), self._port(key, rule.port))
                if listener is not None:
                    listeners[port] = listener
            if listener is not None:
                listener.set_open(bool(self._proxy.route(rule).preferred))
        self._sync_node_ports(key, tcp)
        if not listeners:
            del self._listeners[key]
            if not rules:
                self._hosts.pop(key, None)

    def _sync_node_ports(self, key: str, rules: dict[tuple[int, str], PortRule]) -> None:
        wanted = {rule.node_port: rule for rule in rules.values() if rule.node_port}
        listeners = self._node_ports.get(key, {})
        for gone in [port for port in listeners if port not in wanted]:
            listeners.pop(gone).close()
        for port, rule in wanted.items():
            if port not in listeners:
                listener = self._listen(key, rule, NODE_PORT_HOST, port, exact=True)
                if listener is None:
                    continue
                listeners[port] = listener
            listeners[port].set_open(bool(self._proxy.route(rule).preferred))
        if listeners:
            self._node_ports[key] = listeners
        else:
            self._node_ports.pop(key, None)

    def _host(self, key: str) -> str:
        """The service's address on this node: from its name, so that a restarted proxy listens where processes that run
        were told; the next free one when that is taken."""
        host = self._hosts.get(key)
        if host is None:
            host = NODE_PORT_HOST
            if self._network is not None:
                used = set(self._hosts.values())
                size = self._network.num_addresses - 2
                first = crc32(key.encode()) % size
                offsets = ((first + step) % size + 1 for step in range(size))
                found = (str(self._network.network_address + offset) for offset in offsets)
                host = next((address for address in found if address not in used), NODE_PORT_HOST)
            self._hosts[key] = host
        return host

    def _port(self, key: str, port: int) -> int:
        """The service's port; where all share 127.0.0.1, one of this node's own for it."""
        if self._network is not None:
            return port
        return FALLBACK_PORT_FIRST + crc32(f"{self._proxy.node_name} {key} {port}".encode()) % FALLBACK_PORTS

    def _listen(self, key: str, rule: PortRule, host: str, port: int, *, exact: bool = False) -> Listener | None:
        port_key = (rule.port, rule.protocol)

        def choose(source_ip: str) -> Sequence[Endpoint]:
            current = self._proxy.rules(key).get(port_key)
            if current is None:
                return ()
            attempts = self._proxy.attempts(current, source_ip)
            if attempts:
                self._proxy.remember(current, source_ip, attempts[0])
            return attempts

        def failed(error: OSError) -> None:
            if (host, port) not in self._refused:
                self._refused[host, port] = None
                log = self._proxy.context.log
                (log.debug if exact else log.warning)(
                    "listen_failed", service=key, host=host, port=port, error=str(error)
                )

        try:
            listener = Listener(host, port, choose, self._proxy.spawn, failed)
        except OSError as error:
            failed(error)
            return None
        if exact and listener.port != port:  # another node's proxy of this machine has it already
            listener.close()
            return None
        return listener

    def close(self) -> None:
        for listeners in self._listeners.values():
            for listener in listeners.values():
                listener.close()
        for exact in self._node_ports.values():
            for listener in exact.values():
                listener.close()
        self._listeners.clear()
        self._node_ports.clear()
