"""Warnings that a pod or pod template is answered with: allowed, yet likely a mistake or on its way out."""

from collections.abc import Iterable, Sequence
from typing import Any

from kubeloop.actors.apiserver.registry.pod_defaults import NO_RESOURCES
from kubeloop.actors.apiserver.registry.resource_checks import fractional_byte_warnings

_DEPRECATED_LABELS = {
    "beta.kubernetes.io/arch": ("v1.14", "kubernetes.io/arch"),
    "beta.kubernetes.io/os": ("v1.14", "kubernetes.io/os"),
    "failure-domain.beta.kubernetes.io/region": ("v1.17", "topology.kubernetes.io/region"),
    "failure-domain.beta.kubernetes.io/zone": ("v1.17", "topology.kubernetes.io/zone"),
    "beta.kubernetes.io/instance-type": ("v1.17", "node.kubernetes.io/instance-type"),
}
_DEPRECATED_VOLUMES = (
    ("photon_persistent_disk", "photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"),
    ("git_repo", "gitRepo", "deprecated in v1.11"),
    ("scale_io", "scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
    ("flocker", "flocker", "deprecated in v1.22, non-functional in v1.25+"),
    ("storageos", "storageOS", "deprecated in v1.22, non-functional in v1.25+"),
    ("quobyte", "quobyte", "deprecated in v1.22, non-functional in v1.25+"),
    ("glusterfs", "glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
    ("rbd", "rbd", "deprecated in v1.28, non-functional in v1.31+"),
    ("cephfs", "cephfs", "deprecated in v1.28, non-functional in v1.31+"),
)


def pod_warnings(pod: Any) -> Sequence[str]:
    return spec_warnings("spec", pod.spec)


def pod_template_warnings(path: str, template: Any) -> Sequence[str]:
    return spec_warnings(f"{path}.spec", template.spec)


def spec_warnings(path: str, spec: Any) -> Sequence[str]:
    found: list[str] = []
    for label in spec.node_selector:
        if label in _DEPRECATED_LABELS:
            since, instead = _DEPRECATED_LABELS[label]
            found.append(f'{path}.nodeSelector[{label}]: deprecated since {since}; use "{instead}" instead')
    for index, volume in enumerate(spec.volumes):
        found += volume_warnings(f"{path}.volumes[{index}]", volume)
    names_seen: set[str] = set()
    for index, reference in enumerate(spec.image_pull_secrets):
        name = reference.name or ""
        if not name:
            found.append(f'{path}.imagePullSecrets[{index}].name: invalid empty name ""')
        elif name in names_seen:
            found.append(f'{path}.imagePullSecrets[{index}].name: duplicate name "{name}"')
        names_seen.add(name)
    for field, containers in (("initContainers", spec.init_containers), ("containers", spec.containers)):
        for index, container in enumerate(containers):
            if container.env or container.resources is not NO_RESOURCES:
                found += _container_warnings(f"{path}.{field}[{index}]", container)
    return found


def volume_warnings(path: str, volume: Any) -> Iterable[str]:
    return [
        f"{path}.{json_name}: {message}"
        for field, json_name, message in _DEPRECATED_VOLUMES
        if getattr(volume, field, None) is not None
    ]


def _container_warnings(path: str, container: Any) -> list[str]:
    found = fractional_byte_warnings(f"{path}.resources", container.resources)
    values: dict[str, Any] = {}
    for index, variable in enumerate(container.env):
        earlier = values.get(variable.name)
        if earlier is not None and f"$({variable.name})" not in (variable.value or ""):
            hides = f'hides previous definition of "{variable.name}", which may be dropped when using apply'
            found.append(f"{path}.env[{index}]: {hides}")
        values[variable.name] = variable
    return found
