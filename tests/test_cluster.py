"""The cluster as an embedder sees it."""

import asyncio
import gc
import threading
from pathlib import Path

import psutil
import pytest

from kubeloop import Cluster, NodeOptions, StatusError
from kubeloop.actors.api.core_v1 import Pod
from kubeloop.actors.manifests import ManifestError

WEB = """
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: example/web:1}]}
"""


@pytest.mark.kubeloop(nodes=3)
async def test_every_process_runs_on_its_host_and_says_what_it_holds(cluster: Cluster) -> None:
    processes = {process.name: process for process in cluster.processes()}
    assert {name for name, one in processes.items() if one.host == "control-plane-0"} == {
        "etcd",
        "kube-apiserver",
        "kube-controller-manager",
        "kube-scheduler",
    }
    for node in ("node-1", "node-2", "node-3"):
        on_node = {name for name, process in processes.items() if process.host == node}
        assert on_node == {f"container-runtime/{node}", f"kubelet/{node}", f"kube-proxy/{node}"}
    assert all(process.state == "running" and process.holds for process in processes.values())


@pytest.mark.kubeloop(nodes=3)
async def test_nodes_are_ready_and_untainted_when_the_cluster_is_entered(cluster: Cluster) -> None:
    nodes = (await cluster.client.list("nodes")).items
    assert len(nodes) == 3
    for node in nodes:
        assert any(c.type == "Ready" and c.status == "True" for c in node.status.conditions)
        assert not node.spec.taints


@pytest.mark.kubeloop(nodes=2, time="virtual", seed=3)
async def test_apply_takes_text_paths_folders_and_objects(cluster: Cluster, tmp_path: Path) -> None:
    assert [type(obj).__name__ for obj in await cluster.apply(WEB)] == ["Service", "Deployment"]
    await cluster.wait("deployment/web", "Available", timeout=60)
    (tmp_path / "a.yaml").write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}")
    (tmp_path / "b.json").write_text('{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "b"}}')
    (tmp_path / "notes.txt").write_text("not a manifest")
    assert len(await cluster.apply(tmp_path)) == 2
    assert len(await cluster.apply(str(tmp_path / "a.yaml"))) == 1
    made = await cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "List",
            "items": [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}}],
        }
    )
    assert made[0].metadata.name == "team"
    config = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}"
    assert (await cluster.apply(config, namespace="team"))[0].metadata.namespace == "team"


@pytest.mark.kubeloop(nodes=0)
async def test_wrong_manifests_are_refused_with_what_is_wrong(cluster: Cluster) -> None:
    with pytest.raises(FileNotFoundError):
        await cluster.apply("no-such-file.yaml")
    with pytest.raises(ManifestError, match="kind not set"):
        await cluster.apply("apiVersion: v1\nmetadata: {name: a}")
    with pytest.raises(ManifestError, match="error parsing YAML"):
        await cluster.apply("a: [1\nb: 2")
    with pytest.raises(ValueError, match="Thing"):
        await cluster.apply("apiVersion: example.com/v1\nkind: Thing\nmetadata: {name: a}")
    with pytest.raises(StatusError, match="spec.containers: Required value") as refused:
        await cluster.apply("apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {}")
    assert refused.value.code == 422


@pytest.mark.kubeloop(nodes=1, time="virtual")
async def test_wait_says_how_the_object_stood_when_time_is_over(cluster: Cluster) -> None:
    with pytest.raises(TimeoutError, match="it does not exist"):
        await cluster.wait("deployment/web", "Available", timeout=5)
    await cluster.apply(WEB.replace("example/web:1}", "example/web:1, resources: {requests: {cpu: '1000'}}}"))
    with pytest.raises(TimeoutError, match="Available=False"):
        await cluster.wait("deployment/web", "Available", timeout=5)
    with pytest.raises(ValueError, match="kind/name"):
        await cluster.wait("web")
    with pytest.raises(ValueError, match="condition"):
        await cluster.wait("deployment/web", "a b c")


@pytest.mark.kubeloop(nodes=2, time="virtual", seed=5)
async def test_a_connection_goes_to_the_callers_own_node_while_it_can(cluster: Cluster) -> None:
    await cluster.apply(WEB)
    await cluster.wait("deployment/web", "Available", timeout=60)
    pods = {pod.spec.node_name: pod for pod in (await cluster.client.list(Pod, "default")).items}
    assert set(pods) == {"node-1", "node-2"}
    for node, pod in pods.items():
        assert (await cluster.connect(pod, "web:80")).node_name == node
    await cluster.client.delete(pods["node-2"], grace_period_seconds=0)
    other = await cluster.connect(pods["node-1"], "web.default.svc.cluster.local:80")
    assert other.node_name == "node-1"
    with pytest.raises(ValueError, match="name:port"):
        await cluster.connect(pods["node-1"], "web")


@pytest.mark.kubeloop(nodes=2, time="virtual", seed=2)
@pytest.mark.parametrize("process", ["etcd", "apiserver", "scheduler", "controller-manager", "kubelet/node-1"])
async def test_a_killed_process_comes_back_and_the_cluster_goes_on(cluster: Cluster, process: str) -> None:
    await cluster.apply(WEB)
    await cluster.wait("deployment/web", "Available", timeout=60)
    cluster.crash(process)
    await cluster.system.clock.sleep(30)
    await cluster.client.scale("deployments", "web", 6)
    await cluster.wait("deployment/web", lambda it: it.status.ready_replicas == 6, timeout=120)
    assert len((await cluster.client.list(Pod, "default")).items) == 6


@pytest.mark.kubeloop(nodes=2, time="virtual", seed=2)
async def test_pods_of_a_lost_node_move_and_the_node_may_come_back(cluster: Cluster) -> None:
    await cluster.apply(WEB)
    await cluster.wait("deployment/web", "Available", timeout=60)
    node = cluster.node("node-1")
    node.crash()
    await cluster.wait("node/node-1", "Ready=Unknown", timeout=120)

    def moved(deployment: object) -> bool:
        return deployment.status.ready_replicas == 2  # type: ignore[attr-defined,no-any-return]

    await cluster.system.clock.sleep(400)
    await cluster.wait("deployment/web", moved, timeout=60)
    pods = [p for p in (await cluster.client.list(Pod, "default")).items if not p.metadata.deletion_timestamp]
    assert {pod.spec.node_name for pod in pods} == {"node-2"}
    await node.restart()
    await cluster.wait("node/node-1", "Ready", timeout=60)


async def test_names_that_do_not_exist_are_refused_before_anything_starts() -> None:
    for wrong in ({"without": ["nonsense"]}, {"runtime": "docker"}, {"nodes": -1}, {"controllers": ["nonsense"]}):
        with pytest.raises(ValueError, match=r"nonsense|docker|-1"):
            Cluster(**wrong)
    async with Cluster(nodes=1) as cluster:
        with pytest.raises(ValueError, match="node-9"):
            cluster.node("node-9")
        with pytest.raises(ValueError, match="this cluster runs"):
            cluster.crash("kubelet/node-9")


async def test_what_is_left_out_does_not_run() -> None:
    async with Cluster(nodes=1, without=["scheduler", "kube-proxy"]) as cluster:
        names = {process.name for process in cluster.processes()}
        assert "kube-scheduler" not in names and "kube-proxy/node-1" not in names and "kubelet/node-1" in names


async def test_nodes_have_the_labels_taints_and_capacity_that_they_are_given() -> None:
    options = NodeOptions(name="big", labels={"size": "big"}, taints=["a=b:NoSchedule"], capacity={"cpu": "64"})
    async with Cluster(nodes=[options]) as cluster:
        node = await cluster.client.get("nodes", "big")
        assert node.metadata.labels["size"] == "big" and node.status.capacity["cpu"] == "64"
        assert [(taint.key, taint.value, taint.effect) for taint in node.spec.taints] == [("a", "b", "NoSchedule")]


def test_a_hundred_clusters_leave_nothing_behind() -> None:
    process = psutil.Process()

    async def one(serve: bool) -> None:
        async with Cluster(nodes=2) as cluster:
            await cluster.apply(WEB)
            await cluster.wait("deployment/web", "Available")
            if serve:
                await cluster.serve()

    async def several(count: int) -> None:
        before = len(asyncio.all_tasks())
        for number in range(count):
            await one(serve=number % 10 == 0)
            assert len(asyncio.all_tasks()) == before
        gc.collect()

    asyncio.run(several(20))  # caches and lazy imports fill
    files, threads, memory = process.num_fds(), threading.active_count(), process.memory_info().rss
    asyncio.run(several(80))
    assert process.num_fds() <= files
    assert threading.active_count() <= threads
    assert process.memory_info().rss - memory < 8 * 1024 * 1024


async def test_a_cluster_is_entered_once_at_a_time_and_serves_only_inside() -> None:
    cluster = Cluster(nodes=0)
    with pytest.raises(RuntimeError, match="inside `async with`"):
        await cluster.serve()
    async with cluster:
        with pytest.raises(RuntimeError, match="runs already"):
            await cluster.__aenter__()
        assert (await cluster.client.get("namespaces", "default")).metadata.name == "default"  # and lives on
        assert (await cluster.serve()).exists()
    with pytest.raises(RuntimeError, match="inside `async with`"):
        await cluster.serve()
    async with cluster:  # a new life, with nothing of the old one
        assert (await cluster.serve()).exists()
