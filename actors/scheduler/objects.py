"""Objects beside nodes and pods that decide where pods go: what owns or selects pods, and volumes.

Plain dictionaries by key, filled from informers; plugins read them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kubeloop.actors.api import selectors

if TYPE_CHECKING:
    from kubeloop.actors.api.core_v1 import PersistentVolume, PersistentVolumeClaim, Pod
    from kubeloop.actors.api.storage_v1 import CSINode, StorageClass

OWNER_KINDS = ("ReplicationController", "ReplicaSet", "StatefulSet")
"""Kinds of controllers whose pods are spread by default."""


class PodSelector:
    """The pods of a Service or a controller, or of several at once: all must match."""

    __slots__ = ("_labels", "_selectors")

    def __init__(self, labels: Mapping[str, str], owner: Any) -> None:
        self._labels = tuple(labels.items())
        self._selectors = () if owner is None else (owner,)

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether a pod with ``labels`` is selected."""
        return all(labels.get(key) == value for key, value in self._labels) and all(
            selector.matches(labels) for selector in self._selectors
        )


class Owners:
    """Services and controllers, for the default spreading constraints."""

    def __init__(self) -> None:
        self._services: dict[str, dict[str, Mapping[str, str]]] = {}
        self._controllers: dict[tuple[str, str, str], Any] = {}

    def __bool__(self) -> bool:
        return bool(self._services) or bool(self._controllers)

    def set_service(self, namespace: str, name: str, selector: Mapping[str, str] | None) -> None:
        """Adds, changes or (without a selector) removes a Service."""
        services = self._services.setdefault(namespace, {})
        if selector:
            services[name] = selector
        else:
            services.pop(name, None)
            if not services:
                del self._services[namespace]

    def set_controller(self, kind: str, namespace: str, name: str, selector: Any) -> None:
        """Adds or changes a controller; ``selector``: LabelSelector, mapping, or None when it is gone."""
        key = (kind, namespace, name)
        if selector is None:
            self._controllers.pop(key, None)
        elif isinstance(selector, Mapping):
            self._controllers[key] = PodSelector(selector, None)
        else:
            self._controllers[key] = selectors.from_label_selector(selector)

    def spread_key(self, pod: Pod) -> tuple[Any, ...] | None:
        """What selects the pods that ``pod`` is to be spread with; None: nothing. Hashable."""
        if not self._services and not self._controllers:
            return None
        metadata = pod.metadata
        if metadata is None:
            return None
        labels, namespace = metadata.labels, metadata.namespace or ""
        wanted: dict[str, str] = {}
        for selector in self._services.get(namespace, {}).values():
            if all(labels.get(key) == value for key, value in selector.items()):
                wanted.update(selector)
        owner = None
        for reference in metadata.owner_references:
            if reference.controller and reference.kind in OWNER_KINDS:
                key = (reference.kind, namespace, reference.name or "")
                owner = key if key in self._controllers else None
        if not wanted and owner is None:
            return None
        return namespace, tuple(wanted.items()), owner

    def selector(self, spread_key: tuple[Any, ...]) -> PodSelector:
        """The selector that a key of ``spread_key`` stands for."""
        _, wanted, owner = spread_key
        return PodSelector(dict(wanted), self._controllers.get(owner) if owner is not None else None)


class Volumes:
    """Claims and volumes, storage classes, and what CSI drivers allow a node."""

    def __init__(self) -> None:
        self.claims: dict[str, PersistentVolumeClaim] = {}
        """By namespace/name."""
        self.volumes: dict[str, PersistentVolume] = {}
        self.classes: dict[str, StorageClass] = {}
        self.csi_nodes: dict[str, CSINode] = {}
