"""A process container's directory: volumes appear in it, by links, where their mountPath says."""

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from kubeloop.actors.container_runtime.messages import Mount, RuntimeServiceError


def inside(root: Path, container_path: str) -> Path:
    """The host path of an absolute path of the container. RuntimeServiceError when it leaves the root."""
    parts = PurePosixPath(container_path).parts
    if ".." in parts:
        raise RuntimeServiceError(f"mountPath {container_path!r}: must not contain '..'")
    relative = [part for part in parts if part not in ("/", ".")]
    if not relative:
        raise RuntimeServiceError(f"mountPath {container_path!r}: cannot mount over the root")
    return root.joinpath(*relative)


def build_root(root: Path, mounts: Sequence[Mount]) -> None:
    """Make the directory and the links. Outer mounts come first: inner ones land in them, as they would mounted."""
    root.mkdir(parents=True, exist_ok=True)
    for mount in sorted(mounts, key=lambda mount: mount.container_path):
        link = inside(root, mount.container_path)
        try:
            link.parent.mkdir(parents=True, exist_ok=True)
            if not link.is_symlink() and not link.exists():
                _link(Path(mount.host_path), link)
        except OSError as error:
            raise RuntimeServiceError(f"mount {mount.host_path!r} at {mount.container_path!r}: {error}") from None


def working_directory(root: Path, working_dir: str, mounts: Sequence[Mount]) -> Path:
    """Where the process starts: `working_dir` in the root when a mount holds it, else on the host."""
    if not working_dir:
        return root
    wanted = PurePosixPath(working_dir)
    for mount in mounts:
        if wanted.is_relative_to(mount.container_path):
            return inside(root, working_dir)
    return Path(working_dir)


def _link(target: Path, link: Path) -> None:
    try:
        os.symlink(target, link, target_is_directory=target.is_dir())
    except OSError:
        if sys.platform != "win32":
            raise
        if target.is_dir():  # Windows lets everybody make junctions, but not symbolic links
            import _winapi

            _winapi.CreateJunction(str(target), str(link))
        else:
            shutil.copyfile(target, link)
