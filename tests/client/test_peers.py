"""Other Python clients see over HTTPS what kubeloop's own client sees."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from kubeloop.actors.api.core_v1 import ConfigMap, Pod
from kubeloop.actors.cluster import Cluster
from tests.client.harness import config_map, pod


def with_kubernetes(path: Path) -> dict[str, Any]:
    kubernetes = pytest.importorskip("kubernetes", reason="the PyPI package kubernetes is not installed")
    api = kubernetes.client.CoreV1Api(kubernetes.config.new_client_from_config(str(path)))
    found: dict[str, Any] = {"data": api.read_namespaced_config_map("a", "default").data}
    api.patch_namespaced_config_map("a", "default", {"data": {"size": "1"}})
    with pytest.raises(kubernetes.client.ApiException) as missing:
        api.read_namespaced_config_map("b", "default")
    found["missing"] = missing.value.status
    for event in kubernetes.watch.Watch().stream(api.list_namespaced_pod, "default", timeout_seconds=20):
        if event["object"].status.phase == "Running":
            found["running"] = event["object"].metadata.name
            break
    api.delete_namespaced_pod("web", "default", grace_period_seconds=0)
    api.api_client.close()
    return found


async def test_the_package_kubernetes() -> None:
    async with Cluster(nodes=1) as cluster:
        await cluster.client.create(config_map(color="red"))
        await cluster.client.create(pod())
        found = await asyncio.to_thread(with_kubernetes, await cluster.serve())
        assert found == {"data": {"color": "red"}, "missing": 404, "running": "web"}
        assert (await cluster.client.get(ConfigMap, "a")).data == {"color": "red", "size": "1"}
        assert not (await cluster.client.list(Pod, "default")).items


@pytest.mark.filterwarnings("ignore:Kubernetes version")
async def test_the_package_kr8s() -> None:
    pytest.importorskip("kr8s", reason="the PyPI package kr8s is not installed")
    import kr8s.asyncio
    from kr8s.asyncio.objects import Pod as TheirPod

    async with Cluster(nodes=1) as cluster:
        api = await kr8s.asyncio.api(kubeconfig=str(await cluster.serve()))
        document = {"metadata": {"name": "web"}, "spec": {"containers": [{"name": "app", "image": "app:1"}]}}
        theirs = await TheirPod(document, api=api)
        await theirs.create()
        await theirs.wait("condition=Ready", timeout=20)
        await theirs.label({"tier": "front"})
        assert (await cluster.client.get(Pod, "web")).metadata.labels == {"tier": "front"}
        found: Any = [each async for each in api.get("pods", label_selector={"tier": "front"})]
        assert [each.name for each in found] == ["web"]
        await theirs.delete()
        await theirs.wait("delete", timeout=40)
        assert not (await cluster.client.list(Pod, "default")).items
