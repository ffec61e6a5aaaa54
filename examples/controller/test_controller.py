"""How to test a controller: a real cluster a test, the world's state asserted, no mocks and no sleeping.

pytest examples/controller
"""

from pathlib import Path

import kr8s.asyncio
import pytest
from with_kr8s import label_namespace, run_team_controller
from with_kubeloop import TeamController

from kubeloop import Cluster
from kubeloop.actors.api.core_v1 import Namespace
from kubeloop.actors.api.meta_v1 import ObjectMeta


@pytest.mark.kubeloop(nodes=0, time="virtual", seed=1)
async def test_a_team_namespace_gets_its_contact(cluster: Cluster) -> None:
    controller = TeamController(cluster.client, cluster.system, cluster.system.clock)
    await controller.start()
    await cluster.client.create(Namespace(metadata=ObjectMeta(name="shop", labels={"team": "blue"})))
    contact = await cluster.wait("configmap/contact", "create", namespace="shop")
    assert contact.data == {"team": "blue"}

    await cluster.client.patch("namespaces", "shop", {"metadata": {"labels": {"team": "red"}}}, type="merge")
    await cluster.wait("configmap/contact", lambda it: it.data["team"] == "red", namespace="shop")

    await cluster.client.delete("configmaps", "contact", "shop")
    await cluster.wait("configmap/contact", lambda it: it.data["team"] == "red", namespace="shop")

    await cluster.client.patch("namespaces", "shop", {"metadata": {"labels": {"team": None}}}, type="merge")
    await cluster.wait("configmap/contact", "delete", namespace="shop")
    controller.stop()


@pytest.mark.kubeloop(nodes=0)
@pytest.mark.filterwarnings("ignore:Kubernetes version")  # kr8s knows Kubernetes up to 1.35
async def test_the_same_with_kr8s_over_https(cluster: Cluster, kubeconfig: Path) -> None:
    api = await kr8s.asyncio.api(kubeconfig=str(kubeconfig))
    controller = cluster.system.spawn(run_team_controller, api)
    await cluster.client.create(Namespace(metadata=ObjectMeta(name="shop", labels={"team": "blue"})))
    await cluster.wait("configmap/contact", lambda it: it.data == {"team": "blue"}, namespace="shop")
    await label_namespace(api, "shop", "red")
    await cluster.wait("configmap/contact", lambda it: it.data == {"team": "red"}, namespace="shop")
    controller.cancel()
