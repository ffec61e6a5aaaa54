"""kubeloop: a whole Kubernetes cluster in one asyncio event loop.

>>> import asyncio
>>> from kubeloop import Cluster
>>> async def main():
...     async with Cluster(nodes=3) as cluster:
...         nodes = await cluster.client.list("nodes")
...         return [node.metadata.name for node in nodes.items]
>>> asyncio.run(main())
['node-1', 'node-2', 'node-3']

This is the door: what users import is here, loaded when first used. Everything else lives in `kubeloop.actors`
(Kubernetes), `kubeloop.runtime` (the actor machine) and `kubeloop.store` (etcd's data model).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kubeloop.actors.api.errors import StatusError as StatusError
    from kubeloop.actors.client.client import Client as Client
    from kubeloop.actors.client.informer import Informer as Informer
    from kubeloop.actors.client.informer import InformerFactory as InformerFactory
    from kubeloop.actors.client.reconcile import ReconcileLoop as ReconcileLoop
    from kubeloop.actors.client.reconcile import Result as Result
    from kubeloop.actors.cluster import Cluster as Cluster
    from kubeloop.actors.etcd.options import EtcdOptions as EtcdOptions
    from kubeloop.actors.etcd.remote.options import RemoteEtcd as RemoteEtcd
    from kubeloop.actors.processes import NodeOptions as NodeOptions
    from kubeloop.runtime.simulation import simulate as simulate

__version__ = "0.1.0"

_HOMES = {
    "Client": "kubeloop.actors.client.client",
    "Cluster": "kubeloop.actors.cluster",
    "EtcdOptions": "kubeloop.actors.etcd.options",
    "Informer": "kubeloop.actors.client.informer",
    "InformerFactory": "kubeloop.actors.client.informer",
    "NodeOptions": "kubeloop.actors.processes",
    "ReconcileLoop": "kubeloop.actors.client.reconcile",
    "RemoteEtcd": "kubeloop.actors.etcd.remote.options",
    "Result": "kubeloop.actors.client.reconcile",
    "StatusError": "kubeloop.actors.api.errors",
    "simulate": "kubeloop.runtime.simulation",
}
__all__ = [
    "Client",
    "Cluster",
    "EtcdOptions",
    "Informer",
    "InformerFactory",
    "NodeOptions",
    "ReconcileLoop",
    "RemoteEtcd",
    "Result",
    "StatusError",
    "__version__",
    "simulate",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'kubeloop' has no attribute {name!r}; it has {', '.join(__all__)}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
