"""The whole cluster on a real etcd: the same cluster, also when etcd is shared, restarted, full, or loses a member."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aetcd.rpc import rpc_pb2, rpc_pb2_grpc  # type: ignore[import-untyped]

from kubeloop import Cluster, EtcdOptions, RemoteEtcd, StatusError
from kubeloop.actors.api.core_v1 import ConfigMap, Pod
from kubeloop.actors.api.meta_v1 import ObjectMeta
from kubeloop.actors.apiserver.actor import CheckHealth
from tests.etcd.real_etcd import RealEtcd, Tls, free_port, require_etcd
from tests.test_cli import Up, over
from tests.test_cluster import WEB

SECONDS = 60.0


def config_map(name: str, **data: str) -> ConfigMap:
    return ConfigMap(metadata=ObjectMeta(name=name, namespace="default"), data=data)


def ready(replicas: int) -> Callable[[Any], bool]:
    return lambda deployment: bool(deployment.status.ready_replicas == replicas)


async def pods(cluster: Cluster) -> dict[str, Any]:
    found = (await cluster.client.list(Pod, "default")).items
    return {str(pod.metadata.name): pod for pod in found if pod.metadata is not None}


async def until(holds: Callable[[], Any]) -> None:
    """Until it holds, or answers at all."""
    async with asyncio.timeout(SECONDS):
        while True:
            try:
                if await holds():
                    return
            except StatusError:
                pass
            await asyncio.sleep(0.02)


async def health(cluster: Cluster) -> str:
    found: dict[str, str] = await cluster.system.ref("kube-apiserver", source_host="control-plane-0").ask(CheckHealth())
    return found["etcd"]


async def test_a_cluster_lives_on_in_a_real_etcd(real_etcd: RealEtcd) -> None:
    async with Cluster(nodes=2, etcd=[real_etcd.url]) as cluster:
        assert cluster.etcd_urls == (real_etcd.url,)
        assert "etcd" not in {process.name for process in cluster.processes()}
        with pytest.raises(ValueError, match="etcd is a real one"):
            cluster.crash("etcd")
        await cluster.apply(WEB)
        await cluster.wait("deployment/web", "Available", timeout=SECONDS)
        before, service = await pods(cluster), await cluster.client.get("services", "web")
        assert (await cluster.etcd.range(b"/registry/services/specs/default/web")).count == 1
    async with Cluster(nodes=2, etcd=real_etcd.url) as cluster:
        await until(lambda: restarted_once(cluster))
        after = await pods(cluster)
        assert {pod.metadata.uid for pod in after.values()} == {pod.metadata.uid for pod in before.values()}
        assert (await cluster.client.get("services", "web")).spec.cluster_ip == service.spec.cluster_ip
        await cluster.client.scale("deployments", "web", 4)
        await cluster.wait("deployment/web", ready(4), timeout=SECONDS)
        assert len(await pods(cluster)) == 4


async def restarted_once(cluster: Cluster) -> bool:
    found = await pods(cluster)
    return all([one.restart_count for one in pod.status.container_statuses] == [1] for pod in found.values())


def test_up_runs_on_a_real_etcd(real_etcd: RealEtcd, tmp_path: Path) -> None:
    config = tmp_path / "kubeconfig"
    options = ("--nodes", "1", "--kubeconfig", str(config), "--etcd", f"{real_etcd.url},{real_etcd.url}")
    up = Up(*options, "--etcd-prefix", "teams/a")
    assert up.line.startswith("ready") and real_etcd.url in up.line
    asyncio.run(over(config, lambda client: client.create(config_map("a", v="1"))))
    assert up.stop() == (0, "")
    with real_etcd.members[0].channel() as channel:
        found = rpc_pb2_grpc.KVStub(channel).Range(rpc_pb2.RangeRequest(key=b"/teams/a/configmaps/default/a"))
    assert found.count == 1


async def test_clusters_share_an_etcd_under_different_prefixes(real_etcd: RealEtcd) -> None:
    async with (
        Cluster(nodes=1, etcd=[real_etcd.url], etcd_prefix="/team-a") as one,
        Cluster(nodes=2, etcd=[real_etcd.url], etcd_prefix="team-b/") as other,
    ):
        await asyncio.gather(one.apply(WEB), other.apply(WEB.replace("replicas: 2", "replicas: 3")))
        await one.wait("deployment/web", ready(2), timeout=SECONDS)
        await other.wait("deployment/web", ready(3), timeout=SECONDS)
        await one.client.delete("deployments", "web")
        await until(lambda: nothing_left(one))
        assert len(await pods(other)) == 3
        assert len((await other.client.list("nodes")).items) == 2
        newest = (await one.client.create(config_map("a"))).metadata
        assert newest is not None  # a revision that the other's watch never hears of
        found = await other.client.get("deployments", "web", resource_version=newest.resource_version)
        assert found.metadata.name == "web"


async def nothing_left(cluster: Cluster) -> bool:
    return not await pods(cluster)


async def test_what_others_write_is_read_at_once(real_etcd: RealEtcd) -> None:
    async with Cluster(nodes=0, etcd=[real_etcd.url]) as cluster:
        made = await cluster.client.create(config_map("a", v="0"))
        key = b"/registry/configmaps/default/a"
        for number in range(1, 50):
            value = (await cluster.etcd.range(key)).kvs[0].value
            text = value.replace(b'"v":"0"', b'"v":"%d"' % number)
            written = await cluster.etcd.put(key, text)
            found = await cluster.client.get("configmaps", "a")
            assert (found.data["v"], found.metadata.resource_version) == (str(number), str(written.revision))
            with pytest.raises(StatusError, match="the object has been modified"):
                await cluster.client.update(made)
            await cluster.etcd.delete_range(key)
            assert (await cluster.client.list("configmaps", "default")).items == []
            made = await cluster.client.create(config_map("a", v="0"))


async def test_a_killed_etcd_is_waited_for_and_no_watcher_is_lost(tmp_path: Path) -> None:
    require_etcd()
    with RealEtcd(tmp_path) as etcd:
        options = RemoteEtcd((etcd.url,), request_timeout_seconds=0.5)
        async with Cluster(nodes=1, etcd=options) as cluster:
            await cluster.client.create(config_map("a"))
            recorder = Recorder()
            watch = await cluster.client.open_watch("configmaps", "default", recorder, {"resourceVersion": "0"})
            assert await health(cluster) == ""
            etcd.members[0].kill()
            with pytest.raises(StatusError, match="^rpc error: code = Unavailable desc = ") as refused:
                await cluster.client.create(config_map("b"))
            assert (refused.value.code, refused.value.reason) == (500, "")
            with pytest.raises(StatusError):
                await cluster.client.list("configmaps", "default")
            cached = await cluster.client.list("configmaps", "default", resource_version="0")
            assert "a" in {one.metadata.name for one in cached.items}
            assert (await health(cluster)).startswith("error getting data from etcd: ")
            etcd.members[0].start()
            await until(lambda: is_healthy(cluster))
            await cluster.client.create(config_map("c"))
            await cluster.apply(WEB)
            await cluster.wait("deployment/web", "Available", timeout=SECONDS)
            assert "c" in recorder.names and recorder.closed == []
            watch.cancel()


async def is_healthy(cluster: Cluster) -> bool:
    return await health(cluster) == ""


class Recorder:
    """A watch sink."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.closed: list[Exception | None] = []

    def on_event(self, event: Any) -> None:
        self.names.append(event.object.metadata.name)

    def on_closed(self, error: Exception | None) -> None:
        self.closed.append(error)


async def test_the_cluster_goes_on_when_a_member_is_killed_and_loses_nothing(real_etcd_cluster: RealEtcd) -> None:
    etcd = real_etcd_cluster
    async with Cluster(nodes=2, etcd=etcd.urls) as cluster:
        recorder = Recorder()
        await cluster.client.open_watch("configmaps", "default", recorder, {"resourceVersion": "0"})
        acknowledged: list[str] = []

        async def write(prefix: str) -> None:
            for number in range(100):
                name = f"{prefix}{number}"
                while name not in acknowledged:
                    try:
                        await cluster.client.create(config_map(name))
                        acknowledged.append(name)
                    except StatusError as error:
                        if error.reason == "AlreadyExists":  # an answer was lost, the write was not
                            acknowledged.append(name)
                        await asyncio.sleep(0.05)

        async def trouble() -> None:
            for _ in range(2):
                victim = etcd.leader()
                victim.kill()
                await asyncio.sleep(1)
                victim.start()
                await asyncio.get_running_loop().run_in_executor(None, victim.wait_healthy)

        await cluster.apply(WEB)
        await asyncio.gather(trouble(), *(write(prefix) for prefix in "abcdefgh"))
        await cluster.wait("deployment/web", "Available", timeout=SECONDS)
        await cluster.client.scale("deployments", "web", 5)
        await cluster.wait("deployment/web", ready(5), timeout=SECONDS)
        found = {one.metadata.name for one in (await cluster.client.list("configmaps", "default")).items}
        assert set(acknowledged) <= found
        own = [name for name in recorder.names if name in set(acknowledged)]
        assert len(own) == len(set(own)) == len(acknowledged) and recorder.closed == []


async def test_a_full_etcd_says_so_through_the_api_server(real_etcd: RealEtcd) -> None:
    async with Cluster(nodes=0, etcd=[real_etcd.url]) as cluster:
        await cluster.client.create(config_map("a"))
        with real_etcd.members[0].channel() as channel:
            maintenance = rpc_pb2_grpc.MaintenanceStub(channel)
            maintenance.Alarm(rpc_pb2.AlarmRequest(action="ACTIVATE", alarm="NOSPACE"))
            with pytest.raises(StatusError) as refused:
                await cluster.client.create(config_map("b"))
            error = refused.value
            assert (error.code, error.message) == (500, "etcdserver: mvcc: database space exceeded")
            assert (await cluster.client.get("configmaps", "a")).metadata.name == "a"
            await cluster.client.delete("configmaps", "a")
            for alarm in maintenance.Alarm(rpc_pb2.AlarmRequest()).alarms:
                request = rpc_pb2.AlarmRequest(action="DEACTIVATE", memberID=alarm.memberID, alarm=alarm.alarm)
                maintenance.Alarm(request)
        await cluster.client.create(config_map("b"))


async def test_events_expire_by_leases_of_the_real_etcd(real_etcd: RealEtcd) -> None:
    async with Cluster(nodes=1, etcd=[real_etcd.url]) as cluster:
        await cluster.apply(WEB)
        await cluster.wait("deployment/web", "Available", timeout=SECONDS)
        await until(lambda: has_events(cluster))
        kvs = (await cluster.etcd.range(b"/registry/events/", b"/registry/events0")).kvs
        assert all(kv.lease for kv in kvs) and len({kv.lease for kv in kvs}) == 1


async def has_events(cluster: Cluster) -> bool:
    return bool((await cluster.client.list("events", "default")).items)


async def test_tls_with_client_certificates(tmp_path: Path) -> None:
    require_etcd()
    tls = Tls.make(tmp_path / "tls", client_cert_auth=True)
    with RealEtcd(tmp_path / "etcd", tls=tls) as etcd:
        files = {
            "ca_file": str(tls.trusted_ca_file),
            "cert_file": str(tls.client_cert_file),
            "key_file": str(tls.client_key_file),
        }
        async with Cluster(nodes=1, etcd=RemoteEtcd((etcd.url,), **files)) as cluster:  # type: ignore[arg-type]
            await cluster.apply(WEB)
            await cluster.wait("deployment/web", "Available", timeout=SECONDS)
        nobody = RemoteEtcd((etcd.url,), ca_file=str(tls.trusted_ca_file), request_timeout_seconds=1)
        with pytest.raises(ConnectionError, match=etcd.url):
            async with Cluster(nodes=0, etcd=nobody):
                pass


async def test_an_etcd_that_does_not_answer_is_named_in_time() -> None:
    urls = (f"http://127.0.0.1:{free_port()}", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(ConnectionError, match=f"etcd at {urls[0]}, {urls[1]} does not answer"):
        async with asyncio.timeout(10):
            async with Cluster(nodes=1, etcd=RemoteEtcd(urls, request_timeout_seconds=0.5)):
                pass


async def test_the_own_etcd_serves_others_and_keeps_its_address(tmp_path: Path) -> None:
    options = EtcdOptions(listen_client_urls=("http://127.0.0.1:0",))
    async with Cluster(nodes=1, etcd=options, data_dir=tmp_path) as owner:
        (url,) = owner.etcd_urls
        async with Cluster(nodes=1, etcd=[url], etcd_prefix="/guest") as guest:
            await guest.apply(WEB)
            await guest.wait("deployment/web", "Available", timeout=SECONDS)
            assert await pods(owner) == {}
            owner.crash("etcd")
            await guest.client.scale("deployments", "web", 4)
            await guest.wait("deployment/web", ready(4), timeout=SECONDS)
            assert owner.etcd_urls == (url,)


@pytest.mark.kubeloop(time="virtual")
@pytest.mark.parametrize("etcd", [["http://127.0.0.1:1"], EtcdOptions(listen_client_urls=("http://127.0.0.1:0",))])
async def test_sockets_have_no_place_in_virtual_time(etcd: Any) -> None:
    with pytest.raises(RuntimeError, match="virtual time"):
        async with Cluster(nodes=0, etcd=etcd):
            pass
