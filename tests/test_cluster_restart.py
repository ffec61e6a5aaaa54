"""A cluster that is started again on its data_dir is the same cluster: objects, addresses, identities, secrets."""

import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import pytest
import yaml

from kubeloop import Client, Cluster, simulate
from kubeloop.actors import pki_folder
from kubeloop.actors.api.core_v1 import Pod
from kubeloop.actors.apiserver.messages import Request, UserInfo
from kubeloop.actors.pki_folder import PkiError
from kubeloop.store.errors import DataDirInUseError
from tests.test_cluster import WEB

T = TypeVar("T")


def play(scenario: Callable[[], Awaitable[T]], seed: int = 1) -> T:
    async def main() -> T:
        return await scenario()

    return simulate(main(), seed=seed)


async def pods(cluster: Cluster) -> dict[str, Any]:
    found = (await cluster.client.list(Pod, "default")).items
    return {str(pod.metadata.name): pod for pod in found if pod.metadata is not None}


def restarts(pod: Any) -> int:
    return int(pod.status.container_statuses[0].restart_count)


def ready(replicas: int) -> Callable[[Any], bool]:
    return lambda deployment: bool(deployment.status.ready_replicas == replicas)


async def deploy(cluster: Cluster) -> None:
    await cluster.apply(WEB)
    await cluster.wait("deployment/web", "Available", timeout=60)


def test_everything_is_there_again_and_pods_run_on_where_they_were(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Cluster(nodes=2, data_dir=tmp_path) as cluster:
            await deploy(cluster)
            before, service = await pods(cluster), await cluster.client.get("services", "web")
        async with Cluster(nodes=2, data_dir=str(tmp_path)) as cluster:
            await cluster.wait("deployment/web", "Available", timeout=60)
            await cluster.system.clock.sleep(30)
            after = await pods(cluster)
            assert {name: pod.metadata.uid for name, pod in after.items()} == {
                name: pod.metadata.uid for name, pod in before.items()
            }
            for name, pod in after.items():
                assert pod.spec.node_name == before[name].spec.node_name
                assert (pod.status.phase, restarts(pod)) == ("Running", 1)
                ended = pod.status.container_statuses[0].last_state.terminated
                assert (ended.exit_code, ended.reason) == (137, "ContainerStatusUnknown")
            again = await cluster.client.get("services", "web")
            assert (again.spec.cluster_ip, again.metadata.uid) == (service.spec.cluster_ip, service.metadata.uid)
            assert (await cluster.connect(next(iter(after)), "web:80")).node_name in ("node-1", "node-2")

    play(scenario)


def test_equal_seeds_give_no_identity_twice(tmp_path: Path) -> None:
    async def scenario() -> None:
        seen: set[str] = set()
        for replicas in (2, 5, 9):
            async with Cluster(nodes=1, data_dir=tmp_path, seed=7) as cluster:
                if replicas == 2:
                    await deploy(cluster)
                await cluster.client.scale("deployments", "web", replicas)
                await cluster.wait("deployment/web", ready(replicas), timeout=60)
                found = await pods(cluster)
                uids = {pod.metadata.uid for pod in found.values()}
                assert len(uids) == len(found) == replicas
                assert seen <= uids
                seen = uids

    play(scenario)


def test_equal_seeds_give_equal_runs_on_equal_disks(tmp_path: Path) -> None:
    def run(folder: Path) -> list[Any]:
        async def scenario() -> list[Any]:
            found: list[Any] = []
            for replicas in (20, 10):
                async with Cluster(nodes=4, data_dir=folder, seed=3) as cluster:
                    await deploy(cluster)
                    await cluster.client.scale("deployments", "web", replicas)
                    cluster.crash("kubelet/node-1")
                    await cluster.system.clock.sleep(60)
                    found += (await cluster.etcd.range(b"/registry/", b"/registry0")).kvs
            return found

        return play(scenario, seed=3)

    assert run(tmp_path / "a") == run(tmp_path / "b")


def test_nodes_that_are_no_more_become_not_ready_and_their_pods_are_made_elsewhere(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Cluster(nodes=3, data_dir=tmp_path) as cluster:
            await deploy(cluster)
            await cluster.client.scale("deployments", "web", 6)
            await cluster.wait("deployment/web", ready(6), timeout=60)
            assert {pod.spec.node_name for pod in (await pods(cluster)).values()} == {"node-1", "node-2", "node-3"}
        async with Cluster(nodes=2, data_dir=tmp_path) as cluster:
            await cluster.wait("node/node-3", "Ready=Unknown", timeout=120)
            await cluster.system.clock.sleep(400)
            living = {
                name: pod for name, pod in (await pods(cluster)).items() if pod.metadata.deletion_timestamp is None
            }
            assert len(living) == 6
            assert {pod.spec.node_name for pod in living.values()} == {"node-1", "node-2"}
            await cluster.wait("deployment/web", ready(6), timeout=60)

    play(scenario)


def test_a_killed_etcd_reads_its_disk_and_the_cluster_goes_on(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Cluster(nodes=2, data_dir=tmp_path) as cluster:
            await deploy(cluster)
            for replicas in (3, 4, 5):
                cluster.crash("etcd")
                await cluster.system.clock.sleep(30)
                await cluster.client.scale("deployments", "web", replicas)
                await cluster.wait("deployment/web", ready(replicas), timeout=60)
            assert len(await pods(cluster)) == 5

    play(scenario)


VIEWER = """
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: viewer}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}
subjects: [{kind: ServiceAccount, name: default, namespace: default}]
"""


async def test_kubeconfigs_and_tokens_outlive_the_cluster(tmp_path: Path) -> None:
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    admin = UserInfo("admin", ("system:masters",))
    request = Request("create", "", "v1", "serviceaccounts", "default", "default", "token", body=body, user=admin)
    async with Cluster(nodes=0, data_dir=tmp_path) as cluster:
        config = await cluster.serve(kubeconfig=tmp_path / "kubeconfig")
        await cluster.wait("serviceaccount/default", lambda found: found is not None)
        await cluster.apply(VIEWER)
        made = (await cluster.system.ref("kube-apiserver", source_host="control-plane-0").ask(request)).body
        port = urlsplit(cluster.url).port
    with_token = yaml.safe_load(config.read_text())
    with_token["users"][0]["user"] = {"token": made.status.token}
    (tmp_path / "with-token").write_text(yaml.safe_dump(with_token))
    async with Cluster(nodes=0, data_dir=tmp_path) as cluster:
        await cluster.serve(port=port or 0)
        for path in (config, tmp_path / "with-token"):
            async with await Client.from_kubeconfig(path) as client:
                assert (await client.get("namespaces", "default")).metadata.name == "default"
    folder = tmp_path / "pki"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert modes == dict.fromkeys(pki_folder.FILES, 0o600)


@pytest.mark.parametrize("name", pki_folder.FILES)
@pytest.mark.parametrize("damage", ["missing", "cut", "flipped"])
async def test_damaged_secrets_are_refused_by_name(tmp_path: Path, name: str, damage: str) -> None:
    async with Cluster(nodes=0, data_dir=tmp_path) as cluster:
        await cluster.serve()
    path = tmp_path / "pki" / name
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(content[: len(content) // 2] if damage == "cut" else b"\xff" + content[1:])
    if name == "tokens.csv" and damage == "cut":
        path.write_bytes(content[:40])
    with pytest.raises(PkiError, match=r"pki.*remove") as caught:
        async with Cluster(nodes=0, data_dir=tmp_path):
            pass
    stem = name.partition(".")[0]
    assert stem in str(caught.value)
    path.write_bytes(content)
    async with Cluster(nodes=0, data_dir=tmp_path) as cluster:
        await cluster.serve()


async def test_two_clusters_cannot_have_one_data_dir(tmp_path: Path) -> None:
    async with Cluster(nodes=0, data_dir=tmp_path) as cluster:
        with pytest.raises(DataDirInUseError):
            async with Cluster(nodes=0, data_dir=tmp_path):
                pass
        assert (await cluster.client.get("namespaces", "default")).metadata.name == "default"
    async with Cluster(nodes=0, data_dir=tmp_path):
        pass
