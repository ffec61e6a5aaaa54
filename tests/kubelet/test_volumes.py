import base64
from pathlib import Path
from typing import Any

import pytest

from kubeloop.actors.api.core_v1 import (
    ConfigMap,
    ConfigMapVolumeSource,
    Container,
    DownwardAPIVolumeFile,
    DownwardAPIVolumeSource,
    EmptyDirVolumeSource,
    HostPathVolumeSource,
    KeyToPath,
    ObjectFieldSelector,
    PersistentVolumeClaimVolumeSource,
    ProjectedVolumeSource,
    Secret,
    SecretVolumeSource,
    ServiceAccountTokenProjection,
    Volume,
    VolumeMount,
    VolumeProjection,
)
from kubeloop.actors.container_runtime.messages import Mount
from kubeloop.actors.kubelet.environment import PodFacts
from kubeloop.actors.kubelet.volumes import VolumeError, VolumeManager, mounts
from tests.kubelet.builders import pod

FACTS = PodFacts("node-1", "10.244.1.2", "192.168.0.1", {})
SOURCES: dict[tuple[str, str], Any] = {
    ("configmaps", "settings"): ConfigMap(data={"a": "1", "b": "2"}),
    ("secrets", "login"): Secret(data={"pw": base64.b64encode(b"secret").decode()}),
}


def made(root: Path, *volumes: Volume, sources: dict[tuple[str, str], Any] = SOURCES) -> dict[str, Path]:
    return VolumeManager(root).set_up(pod(volumes=list(volumes)), "uid-1", FACTS, sources, {"": "token"})


def read(directory: Path) -> dict[str, str]:
    return {str(p.relative_to(directory)): p.read_text() for p in sorted(directory.rglob("*")) if p.is_file()}


def test_keys_become_files_and_renewed_ones_replace_them(tmp_path: Path) -> None:
    volume = Volume(name="v", config_map=ConfigMapVolumeSource(name="settings"))
    assert read(made(tmp_path, volume)["v"]) == {"a": "1", "b": "2"}
    changed = {("configmaps", "settings"): ConfigMap(data={"a": "9"})}
    assert read(made(tmp_path, volume, sources=changed)["v"]) == {"a": "9"}


def test_items_choose_and_rename(tmp_path: Path) -> None:
    items = [KeyToPath(key="pw", path="deep/password")]
    paths = made(tmp_path, Volume(name="v", secret=SecretVolumeSource(secret_name="login", items=items)))
    assert read(paths["v"]) == {"deep/password": "secret"}


def test_a_projected_volume_holds_several_sources(tmp_path: Path) -> None:
    label = DownwardAPIVolumeFile(path="name", field_ref=ObjectFieldSelector(field_path="metadata.name"))
    from kubeloop.actors.api.core_v1 import DownwardAPIProjection

    projected = ProjectedVolumeSource(
        sources=[
            VolumeProjection(service_account_token=ServiceAccountTokenProjection(path="token")),
            VolumeProjection(downward_api=DownwardAPIProjection(items=[label])),
        ]
    )
    own = DownwardAPIVolumeSource(items=[label])
    paths = made(tmp_path, Volume(name="p", projected=projected), Volume(name="d", downward_api=own))
    assert read(paths["p"]) == {"name": "web", "token": "token"}
    assert read(paths["d"]) == {"name": "web"}


def test_an_empty_dir_keeps_what_is_written_until_the_pod_is_gone(tmp_path: Path) -> None:
    volume = Volume(name="v", empty_dir=EmptyDirVolumeSource())
    (made(tmp_path, volume)["v"] / "rows").write_text("1")
    path = made(tmp_path, volume)["v"]
    assert read(path) == {"rows": "1"}
    VolumeManager(tmp_path).tear_down("uid-1")
    assert not path.exists()


def test_what_cannot_be_made_says_why(tmp_path: Path) -> None:
    with pytest.raises(VolumeError, match='MountVolume.SetUp failed for volume "v" : configmap "none" not found'):
        made(tmp_path, Volume(name="v", config_map=ConfigMapVolumeSource(name="none")))
    assert (
        read(made(tmp_path, Volume(name="v", config_map=ConfigMapVolumeSource(name="none", optional=True)))["v"]) == {}
    )
    with pytest.raises(VolumeError, match="not supported"):
        made(tmp_path, Volume(name="v", persistent_volume_claim=PersistentVolumeClaimVolumeSource(claim_name="c")))
    with pytest.raises(VolumeError, match="is not a directory"):
        made(tmp_path, Volume(name="v", host_path=HostPathVolumeSource(path="/no/such", type="Directory")))


def test_mounts_name_the_host_path_and_a_path_below_it(tmp_path: Path) -> None:
    paths = made(tmp_path, Volume(name="v", empty_dir=EmptyDirVolumeSource()))

    def mounted(**mount: Any) -> list[Mount]:
        container = Container(name="app", volume_mounts=[VolumeMount(name="v", mount_path="/data", **mount)])
        return mounts(container, paths, {"POD": "web"})

    assert mounted(read_only=True) == [Mount("/data", str(paths["v"]), True)]
    assert mounted(sub_path_expr="$(POD)/x") == [Mount("/data", str(paths["v"] / "web/x"))]
    with pytest.raises(VolumeError, match="must be a relative path"):
        mounted(sub_path="../other")
