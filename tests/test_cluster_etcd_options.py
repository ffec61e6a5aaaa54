"""Which etcd a cluster gets, and which wishes are refused before anything starts."""

from pathlib import Path
from typing import Any

import pytest

from kubeloop import Cluster, EtcdOptions, RemoteEtcd
from kubeloop.actors.etcd_choice import options_of


def test_each_way_to_say_it_is_understood(tmp_path: Path) -> None:
    assert options_of(None, None) == EtcdOptions()
    assert options_of(None, tmp_path) == EtcdOptions(data_dir=tmp_path / "etcd")
    quota = EtcdOptions(quota_backend_bytes=10_000_000)
    assert options_of(quota, tmp_path) == EtcdOptions(data_dir=tmp_path / "etcd", quota_backend_bytes=10_000_000)
    one = RemoteEtcd(("http://a:2379",))
    assert options_of("http://a:2379", None) == options_of(["http://a:2379"], tmp_path) == options_of(one, None) == one
    several = RemoteEtcd(("http://a:2379", "http://b:2379"))
    assert options_of("http://a:2379, http://b:2379", None) == options_of(several.endpoints, None) == several


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"data_dir": __file__}, "is no folder"),
        ({"data_dir": ""}, "data_dir is empty"),
        ({"etcd": []}, "at least one member"),
        ({"etcd": ""}, "written as http://host:2379"),
        ({"etcd": ["127.0.0.1:2379"]}, "written as http://host:2379"),
        ({"etcd": [2379]}, "a list of URLs, EtcdOptions or RemoteEtcd"),
        ({"etcd": EtcdOptions(data_dir=Path("here"))}, "Cluster\\(data_dir=...\\)"),
        ({"etcd": EtcdOptions(quota_backend_bytes=1)}, "it needs data_dir"),
        ({"etcd": EtcdOptions(listen_client_urls=("ftp://127.0.0.1:0",))}, "must be http or https"),
        ({"etcd": EtcdOptions(listen_client_urls=("https://127.0.0.1:0",))}, "needs cert_file and key_file"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_rule(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Cluster(nodes=1, **options)


async def test_the_own_etcd_takes_its_options(tmp_path: Path) -> None:
    etcd = EtcdOptions(auto_compaction_mode="revision", auto_compaction_retention=1000, max_request_bytes=16384)
    async with Cluster(nodes=1, etcd=etcd, data_dir=tmp_path / "deep" / "er") as cluster:
        assert cluster.etcd_urls == ()
        assert (await cluster.etcd.range(b"/registry/namespaces/default")).count == 1
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"a": "x" * 20000}}
        with pytest.raises(Exception, match="^etcdserver: request is too large$"):
            await cluster.client.create(body, "default")
    assert (tmp_path / "deep" / "er" / "etcd").is_dir()
