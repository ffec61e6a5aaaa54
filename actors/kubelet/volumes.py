"""Volumes of the backends whose containers see files: directories and files below the pod's own directory.

emptyDir, hostPath, configMap, secret, downwardAPI and projected, service account tokens included. What a volume holds
is decided purely (`volume_files`); `VolumeManager` writes it.
"""

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from kubeloop.actors.api.core_v1 import Container, Pod
from kubeloop.actors.container_runtime.messages import Mount
from kubeloop.actors.kubelet.environment import (
    ConfigError,
    PodFacts,
    Sources,
    expand,
    field,
    missing,
    resource_field,
    secret_bytes,
)

Files = dict[str, bytes]


class VolumeError(Exception):
    """A volume cannot be made; the message is the one of the FailedMount event."""


def volume_references(pod: Pod) -> list[tuple[str, str]]:
    """The ("configmaps" | "secrets", name) that the pod's volumes read, each once."""
    found: dict[tuple[str, str], None] = {}
    for volume in _spec(pod).volumes:
        if volume.config_map is not None:
            found["configmaps", volume.config_map.name or ""] = None
        if volume.secret is not None:
            found["secrets", volume.secret.secret_name or ""] = None
        for source in volume.projected.sources if volume.projected is not None else ():
            if source.config_map is not None:
                found["configmaps", source.config_map.name or ""] = None
            if source.secret is not None:
                found["secrets", source.secret.name or ""] = None
    return list(found)


def volume_files(volume: Any, pod: Pod, facts: PodFacts, sources: Sources, tokens: Mapping[str, str]) -> Files:
    """The files of a volume, by relative path. `tokens`: audience to service account token. VolumeError."""
    try:
        if volume.config_map is not None:
            return _keyed("configmaps", volume.config_map.name or "", volume.config_map, sources)
        if volume.secret is not None:
            return _keyed("secrets", volume.secret.secret_name or "", volume.secret, sources)
        if volume.downward_api is not None:
            return _downward(volume.downward_api.items, pod, facts)
        if volume.projected is not None:
            files: Files = {}
            for source in volume.projected.sources:
                files.update(_projection(source, pod, facts, sources, tokens))
            return files
    except ConfigError as error:
        raise VolumeError(f'MountVolume.SetUp failed for volume "{volume.name}" : {error}') from None
    raise VolumeError(f'volume "{volume.name}": its type is not supported by the process runtime')


def _projection(source: Any, pod: Pod, facts: PodFacts, sources: Sources, tokens: Mapping[str, str]) -> Files:
    if source.config_map is not None:
        return _keyed("configmaps", source.config_map.name or "", source.config_map, sources)
    if source.secret is not None:
        return _keyed("secrets", source.secret.name or "", source.secret, sources)
    if source.downward_api is not None:
        return _downward(source.downward_api.items, pod, facts)
    if source.service_account_token is not None:
        token = source.service_account_token
        return {token.path or "token": tokens.get(token.audience or "", "").encode()}
    return {}


def _keyed(kind: str, name: str, reference: Any, sources: Sources) -> Files:
    found = sources.get((kind, name))
    if found is None:
        if reference.optional:
            return {}
        raise ConfigError(missing(kind, name))
    if kind == "secrets":
        files = secret_bytes(found)
    else:
        import base64

        binary = {key: v if isinstance(v, bytes) else base64.b64decode(v) for key, v in found.binary_data.items()}
        files = {**{key: text.encode() for key, text in found.data.items()}, **binary}
    if not reference.items:
        return files
    chosen: Files = {}
    for item in reference.items:
        if item.key in files:
            chosen[item.path or item.key] = files[item.key]
        elif not reference.optional:
            raise ConfigError(
                f"references non-existent {'config' if kind == 'configmaps' else 'secret'} key: {item.key}"
            )
    return chosen


def _downward(items: Sequence[Any], pod: Pod, facts: PodFacts) -> Files:
    files: Files = {}
    for item in items:
        if item.field_ref is not None:
            text = field(pod, item.field_ref.field_path or "", facts)
        else:
            text = resource_field(pod, _spec(pod).containers[0], item.resource_field_ref, facts.allocatable)
        files[item.path or ""] = text.encode()
    return files


class VolumeManager:
    """The directories below `root`, one a pod."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def set_up(
        self, pod: Pod, uid: str, facts: PodFacts, sources: Sources, tokens: Mapping[str, str]
    ) -> dict[str, Path]:
        """Make or renew every volume of the pod; volume name to host path. VolumeError."""
        paths: dict[str, Path] = {}
        for volume in _spec(pod).volumes:
            name = volume.name or ""
            path = self._root / uid / name
            try:
                if volume.host_path is not None:
                    path = _host_path(volume.host_path)
                elif volume.empty_dir is not None:
                    path.mkdir(parents=True, exist_ok=True)
                else:
                    _write(path, volume_files(volume, pod, facts, sources, tokens))
            except OSError as error:
                raise VolumeError(f'MountVolume.SetUp failed for volume "{name}" : {error}') from None
            paths[name] = path
        return paths

    def tear_down(self, uid: str) -> None:
        shutil.rmtree(self._root / uid, ignore_errors=True)


def mounts(container: Container, paths: Mapping[str, Path], values: Mapping[str, str]) -> list[Mount]:
    """What a container mounts. `values`: its environment, for subPathExpr. VolumeError."""
    found = []
    for mount in container.volume_mounts:
        path = paths.get(mount.name or "")
        if path is None:
            raise VolumeError(f'volume mount "{mount.name}" of container "{container.name}" names no volume of the pod')
        below = mount.sub_path or (expand(mount.sub_path_expr, values) if mount.sub_path_expr else "")
        if below:
            if ".." in PurePosixPath(below).parts or PurePosixPath(below).is_absolute():
                raise VolumeError(f"subPath {below!r}: must be a relative path without '..'")
            path = path / below
            if not path.exists():
                path.mkdir(parents=True)
        found.append(Mount(mount.mount_path or "", str(path), bool(mount.read_only)))
    return found


def _host_path(source: Any) -> Path:
    path = Path(source.path or "/")
    kind = source.type or ""
    if kind == "DirectoryOrCreate":
        path.mkdir(parents=True, exist_ok=True)
    elif kind == "FileOrCreate":
        path.touch(exist_ok=True)
    elif kind == "Directory" and not path.is_dir():
        raise VolumeError(f"hostPath type check failed: {path} is not a directory")
    elif kind == "File" and not path.is_file():
        raise VolumeError(f"hostPath type check failed: {path} is not a file")
    return path


def _write(directory: Path, files: Mapping[str, bytes]) -> None:
    """Each file is replaced at once, so that no reader sees half of it; files of former keys go."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        path = directory.joinpath(*PurePosixPath(name).parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file() and path.read_bytes() == data:
            continue
        temporary = path.with_name(f".{path.name}.new")
        temporary.write_bytes(data)
        os.replace(temporary, path)
    wanted = {PurePosixPath(name).parts[0] for name in files}
    for entry in directory.iterdir():
        if entry.name not in wanted:
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def _spec(pod: Pod) -> Any:
    assert pod.spec is not None
    return pod.spec
