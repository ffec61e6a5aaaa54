"""The kube-proxy of one node, as an actor.

State: informers on services and endpoint slices, rules built from them when first needed, session affinities; in
process mode the listeners. A crash loses all of it, connections included.
Messages: Connect (where a connection goes), ServiceAddresses (where services are reached from this node).
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from kubeloop.actors.api import meta
from kubeloop.actors.api.core_v1 import Service
from kubeloop.actors.api.discovery_v1 import EndpointSlice
from kubeloop.actors.api.errors import StatusError
from kubeloop.actors.client.client import Client
from kubeloop.actors.client.informer import Informer, InformerFactory
from kubeloop.actors.container_runtime.messages import Dial, RuntimeServiceError
from kubeloop.actors.kube_proxy.listeners import Listeners
from kubeloop.actors.kube_proxy.messages import Connect, ConnectError, Connection, ServiceAddresses
from kubeloop.actors.kube_proxy.names import is_address, resolve
from kubeloop.actors.kube_proxy.tables import (
    ZONED_DISTRIBUTIONS,
    Endpoint,
    PortRule,
    Route,
    cluster_ip_index,
    order,
    port_rules,
    route,
)
from kubeloop.runtime.actor import Actor, ActorStopped, UnknownMessage, Unreachable

SERVICE_LABEL = "kubernetes.io/service-name"
ZONE_LABEL = "topology.kubernetes.io/zone"
AFFINITIES_MAX = 10_000


class KubeProxy(Actor):
    """`kube-proxy/NODE`.

    mode: "sim" answers Connect; "process" also forwards real TCP, from addresses in `service_cidr` (empty: 127.0.0.1).
    same_node_first: prefer an endpoint on this node when the service says nothing about distribution.
    eager: watch from the start; a proxy that does not begins with its first message, and costs nothing before.
    """

    concurrent: ClassVar[bool] = True

    def __init__(
        self,
        client: Client,
        *,
        node_name: str,
        mode: Literal["sim", "process"] = "sim",
        service_cidr: str = "",
        same_node_first: bool = True,
        eager: bool = True,
    ) -> None:
        if mode not in ("sim", "process"):
            raise ValueError(f"mode {mode!r}: kube-proxy has sim and process")
        self.client = client
        self.node_name = node_name
        self.mode = mode
        self.same_node_first = same_node_first
        self._service_cidr = service_cidr
        self._eager = eager or mode == "process"
        self._started = False
        self._zone: str | None = None
        self._listeners: Listeners | None = None
        self._rules: dict[str, dict[tuple[int, str], PortRule]] = {}
        self._addresses: Any = None
        self._turns: dict[tuple[str, int], int] = {}
        self._affinities: dict[tuple[str, str], tuple[str, float]] = {}

    async def on_start(self) -> None:
        if self.mode == "process":
            self._listeners = Listeners(self, self._service_cidr)
            self.defer(self._listeners.close)
        if self._eager:
            await self._begin()

    async def _begin(self) -> None:
        if not self._started:
            self._started = True
            factory = InformerFactory(self.client, self, self.context.clock)
            self.defer(factory.stop)
            self._services: Informer[Service] = factory.informer(Service)
            self._slices: Informer[EndpointSlice] = factory.informer(EndpointSlice)
            self._slices.add_index("service", _service_of)
            self._services.add_handler(self._on_service)
            self._slices.add_handler(self._on_slice)
            await factory.start()
            if self._listeners is not None:
                by_age = sorted(
                    self._services.list(), key=lambda one: (one.metadata.creation_timestamp or "", meta.key(one))
                )
                self._listeners.begin([meta.key(service) for service in by_age])
        await self._services.wait_for_sync()
        await self._slices.wait_for_sync()

    def describe(self) -> str:
        """What it holds, in words."""
        return f"routes to {len(self._services)} services" if self._started else "at rest"

    async def on_message(self, message: Any) -> Any:
        kind = type(message)
        if kind is Connect:
            return await self._connect(message)
        if kind is ServiceAddresses:
            return self._listeners.addresses() if self._listeners is not None else {}
        raise UnknownMessage(message)

    # the table

    def _on_service(self, old: Service | None, new: Service | None) -> None:
        service = new if new is not None else old
        if service is None or service.metadata is None:
            return
        self._addresses = None
        self._changed(f"{service.metadata.namespace}/{service.metadata.name}")

    def _on_slice(self, old: EndpointSlice | None, new: EndpointSlice | None) -> None:
        for one in (old, new):
            for key in _service_of(one) if one is not None else ():
                self._changed(key)

    def _changed(self, key: str) -> None:
        self._rules.pop(key, None)
        if self._listeners is not None:
            self._listeners.sync(key)

    def service(self, key: str) -> Service | None:
        return self._services.get(key)

    def rules(self, key: str) -> dict[tuple[int, str], PortRule]:
        """The rules of a service, built when first asked for after a change; none when there is no such service."""
        rules = self._rules.get(key)
        if rules is None:
            service = self._services.get(key)
            rules = port_rules(service, self._slices.by_index("service", key)) if service is not None else {}
            self._rules[key] = rules
        return rules

    def route(self, rule: PortRule) -> Route:
        return route(rule, self.node_name, self._zone or "", same_node_first=self.same_node_first)

    def attempts(self, rule: PortRule, source_ip: str) -> list[Endpoint]:
        """Endpoints to try, in order, for a new connection."""
        turn_key = (rule.service, rule.port)
        turn = self._turns.get(turn_key, 0)
        self._turns[turn_key] = turn + 1
        affine = ""
        if rule.affinity_seconds and source_ip:
            address, until = self._affinities.get((rule.service, source_ip), ("", 0.0))
            affine = address if until > self.context.clock.now() else ""
        return order(self.route(rule), turn, affine)

    def remember(self, rule: PortRule, source_ip: str, endpoint: Endpoint) -> None:
        """Session affinity: this client comes back to that endpoint, until the timeout after its last connection."""
        if not rule.affinity_seconds or not source_ip:
            return
        self._affinities.pop((rule.service, source_ip), None)
        while len(self._affinities) >= AFFINITIES_MAX:
            del self._affinities[next(iter(self._affinities))]
        until = self.context.clock.now() + rule.affinity_seconds
        self._affinities[rule.service, source_ip] = (endpoint.address, until)

    async def learn_zone(self) -> None:
        """This node's zone, from its labels; looked up when a rule first depends on it."""
        if self._zone is None:
            try:
                node = await self.client.get("nodes", self.node_name)
            except (StatusError, ActorStopped, Unreachable):
                return
            self._zone = node.metadata.labels.get(ZONE_LABEL, "")

    # connections

    async def _connect(self, request: Connect) -> Connection:
        await self._begin()
        host, port = request.host, request.port
        if is_address(host):
            if self._addresses is None:
                self._addresses = cluster_ip_index(self._services.list())
            key = self._addresses.get(host)
            if key is None:
                return await self._direct(request)
        else:
            name = resolve(host, request.namespace, self._services.get)
            if name is None:
                raise ConnectError(f"dial tcp: lookup {host}: no such host")
            key = name.key
            service = self._services.get(key)
            assert service is not None and service.spec is not None
            if service.spec.type == "ExternalName":
                return Connection(service.spec.external_name or "", port, service=key)
            if service.spec.cluster_ip == "None":
                return await self._headless(request, key, name.hostname)
            host = service.spec.cluster_ip or host
        rule = self.rules(key).get((port, request.protocol))
        if rule is None:
            raise ConnectError(f"dial {request.protocol.lower()} {host}:{port}: connect: connection refused")
        if rule.distribution in ZONED_DISTRIBUTIONS:
            await self.learn_zone()
        for endpoint in self.attempts(rule, request.source_ip):
            connection = await self._try(request, endpoint, key)
            if connection is not None:
                self.remember(rule, request.source_ip, endpoint)
                return connection
        raise ConnectError(f"dial {request.protocol.lower()} {host}:{port}: connect: connection refused")

    async def _headless(self, request: Connect, key: str, hostname: str) -> Connection:
        """DNS gives the pods' own addresses; the port is not translated."""
        found: dict[str, Endpoint] = {}
        for rule in self.rules(key).values():
            found.update((e.address, e) for e in rule.endpoints if e.ready and hostname in ("", e.hostname))
        if not found:
            raise ConnectError(f"dial tcp: lookup {request.host}: no such host")
        for endpoint in found.values():
            connection = await self._try(request, endpoint, key, request.port)
            if connection is not None:
                return connection
        raise ConnectError(f"dial tcp {next(iter(found))}:{request.port}: connect: connection refused")

    async def _direct(self, request: Connect) -> Connection:
        """A pod's own address, or one outside."""
        for one in self._slices.list():
            for endpoint in one.endpoints:
                if request.host in endpoint.addresses:
                    target = Endpoint(request.host, request.port, endpoint.node_name or "", pod=_pod_of(endpoint))
                    connection = await self._try(request, target, "")
                    if connection is None:
                        raise ConnectError(f"dial tcp {request.host}:{request.port}: connect: connection refused")
                    return connection
        return Connection(request.host, request.port)

    async def _try(self, request: Connect, endpoint: Endpoint, service: str, port: int = 0) -> Connection | None:
        """The connection, None when it is refused or its node cannot be reached."""
        number, answer = port or endpoint.port, None
        if self.mode == "sim" and request.dial and endpoint.node_name and endpoint.pod:
            runtime = self.ref(f"container-runtime/{endpoint.node_name}")
            try:
                answer = await runtime.ask(Dial(endpoint.address, number, request.payload))
            except (RuntimeServiceError, ActorStopped, Unreachable, TimeoutError):
                return None
        return Connection(endpoint.address, number, endpoint.node_name, endpoint.pod, service, answer)


def _pod_of(endpoint: Any) -> str:
    target = endpoint.target_ref
    return f"{target.namespace}/{target.name}" if target is not None else ""


def _service_of(one: EndpointSlice) -> Sequence[str]:
    metadata = one.metadata
    name = metadata.labels.get(SERVICE_LABEL) if metadata is not None else None
    return [f"{metadata.namespace}/{name}"] if name and metadata is not None else []
