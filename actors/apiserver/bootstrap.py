"""The objects that an API server makes for itself when it starts: namespaces, its own service, priority classes."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from kubeloop.actors.api.errors import StatusError, is_already_exists
from kubeloop.actors.apiserver import chain
from kubeloop.actors.apiserver.messages import Request, UserInfo

if TYPE_CHECKING:
    from kubeloop.actors.apiserver.actor import ApiServer

APISERVER = UserInfo("system:apiserver", ("system:masters", "system:authenticated"))
NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
LABELS = {"component": "apiserver", "provider": "kubernetes"}


async def create_start_objects(server: "ApiServer") -> None:
    """Each of them, unless it is there already (from a start before this one)."""
    await server.resources.load("", "v1", "namespaces")
    await server.resources.load("scheduling.k8s.io", "v1", "priorityclasses")
    for group, plural, namespace, obj in start_objects(server):
        version = "v1"
        route = await server.find_route(group, version, plural)
        assert route.store is not None
        await route.store.load()
        name = obj.metadata.name
        if route.store.cache.get(f"{namespace}/{name}" if namespace else name) is not None:
            continue
        request = Request("create", group, version, plural, namespace, body=obj, user=APISERVER)
        try:
            await chain.handle(server, request)
        except StatusError as error:
            if not is_already_exists(error):  # another API server over the same etcd was faster
                raise
    if server.authorizer.rbac is not None:
        from kubeloop.actors.apiserver.rbac.defaults import reconcile_policy

        await reconcile_policy(server)


def start_objects(server: "ApiServer") -> Iterator[tuple[str, str, str, Any]]:
    """(group, plural, namespace, object), in the order in which they can be created."""
    from kubeloop.actors.api.core_v1 import Namespace, Service, ServicePort, ServiceSpec
    from kubeloop.actors.api.meta_v1 import ObjectMeta
    from kubeloop.actors.api.scheduling_v1 import PriorityClass

    for name in NAMESPACES:
        yield "", "namespaces", "", Namespace(metadata=ObjectMeta(name=name))
    for name, value, description in PRIORITY_CLASSES:
        metadata = ObjectMeta(name=name)
        yield (
            "scheduling.k8s.io",
            "priorityclasses",
            "",
            PriorityClass(metadata=metadata, value=value, description=description),
        )
    config = server.config
    yield (
        "",
        "services",
        "default",
        Service(
            metadata=ObjectMeta(name="kubernetes", namespace="default", labels=LABELS),
            spec=ServiceSpec(
                type="ClusterIP",
                cluster_ip=config.service_address,
                cluster_ips=(config.service_address,),
                ports=(ServicePort(name="https", port=443, protocol="TCP", target_port=config.advertise_port),),
            ),
        ),
    )
    yield from own_endpoints(config.advertise_address, config.advertise_port)


def own_endpoints(address: str, port: int) -> Iterator[tuple[str, str, str, Any]]:
    from kubeloop.actors.api.core_v1 import EndpointAddress, EndpointPort, Endpoints, EndpointSubset
    from kubeloop.actors.api.discovery_v1 import Endpoint, EndpointConditions, EndpointSlice
    from kubeloop.actors.api.discovery_v1 import EndpointPort as SlicePort
    from kubeloop.actors.api.meta_v1 import ObjectMeta

    skip = {"endpointslice.kubernetes.io/skip-mirror": "true"}
    subset = EndpointSubset(
        addresses=(EndpointAddress(ip=address),), ports=(EndpointPort(name="https", port=port, protocol="TCP"),)
    )
    yield (
        "",
        "endpoints",
        "default",
        Endpoints(metadata=ObjectMeta(name="kubernetes", namespace="default", labels=skip), subsets=(subset,)),
    )
    yield (
        "discovery.k8s.io",
        "endpointslices",
        "default",
        EndpointSlice(
            metadata=ObjectMeta(
                name="kubernetes", namespace="default", labels={"kubernetes.io/service-name": "kubernetes"}
            ),
            address_type="IPv4",
            ports=(SlicePort(name="https", port=port, protocol="TCP"),),
            endpoints=(Endpoint(addresses=(address,), conditions=EndpointConditions(ready=True)),),
        ),
    )


PRIORITY_CLASSES = (
    (
        "system-node-critical",
        2_000_001_000,
        "Used for system critical pods that must not be moved from their current node.",
    ),
    (
        "system-cluster-critical",
        2_000_000_000,
        "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
    ),
)
