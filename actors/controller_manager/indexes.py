"""Indexes on shared informers, so that no controller ever scans all pods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kubeloop.actors.api import meta

BY_CONTROLLER = "controller"  # uid of the controller owner
BY_ORPHANAGE = "orphans"  # namespace of the objects without a controller owner
BY_NODE = "node"  # spec.nodeName
BY_LABEL = "label"  # "namespace/key=value", one entry a label
BY_SELECTOR = "selector"  # "namespace/key=value" of the first pair of a service's selector


def owners_of(obj: Any) -> Any:
    """What `controller_uid` and `orphanage` read."""
    return meta.owner_references(obj)


def labels_of(obj: Any) -> Any:
    """What `label_pairs` reads."""
    return meta.labels(obj)


def spec_of(obj: Any) -> Any:
    """What `pod_node` reads."""
    return obj.spec


def controller_uid(obj: Any) -> Sequence[str]:
    owner = meta.controller_of(obj)
    return (owner.uid,) if owner is not None and owner.uid else ()


def orphanage(obj: Any) -> Sequence[str]:
    return (meta.namespace(obj) or "",) if meta.controller_of(obj) is None else ()


def pod_node(pod: Any) -> Sequence[str]:
    return (pod.spec.node_name,) if pod.spec.node_name else ()


def label_pairs(obj: Any) -> Sequence[str]:
    namespace = meta.namespace(obj) or ""
    return [f"{namespace}/{key}={value}" for key, value in meta.labels(obj).items()]


def selector_pair(namespace: str, selector: Mapping[str, str]) -> str:
    """The entry of BY_LABEL that everything the selector matches is in; the selector must not be empty."""
    key = min(selector)
    return f"{namespace}/{key}={selector[key]}"


def service_selector(service: Any) -> Sequence[str]:
    selector = service.spec.selector
    return (selector_pair(meta.namespace(service) or "", selector),) if selector else ()


def matches(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    return selector.items() <= labels.items()


READS: Mapping[Any, Any] = {
    controller_uid: owners_of,
    orphanage: owners_of,
    label_pairs: labels_of,
    pod_node: spec_of,
    service_selector: spec_of,
}
"""What an index function reads, apart from an object's name: as long as that is the same object, so is the index."""
