"""A control plane whose API server asks Node and RBAC, and clients of it as anybody."""

from collections.abc import AsyncIterator, Callable, Sequence

import pytest

from kubeloop import Cluster
from kubeloop.actors.client.client import Client

As = Callable[..., Client]


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    async with Cluster(nodes=0, authorization="Node,RBAC", seed=1) as running:
        yield running


@pytest.fixture
def as_user(cluster: Cluster) -> As:
    def client(name: str, groups: Sequence[str] = ()) -> Client:
        apiserver = cluster.system.ref("kube-apiserver", source_host="control-plane-0")
        return Client.in_process(apiserver, user=name, groups=groups)

    return client
