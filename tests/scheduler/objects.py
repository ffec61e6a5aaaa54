"""Pods and nodes for tests, from plain dicts."""

from __future__ import annotations

from typing import Any

import msgspec

from kubeloop.actors.api.core_v1 import Node, Pod


def make_pod(pod: dict[str, Any]) -> Pod:
    """A Pod as the API server would hold it."""
    return msgspec.convert({"apiVersion": "v1", "kind": "Pod", **pod}, Pod)


def make_node(node: dict[str, Any]) -> Node:
    """A Node as the API server would hold it."""
    return msgspec.convert({"apiVersion": "v1", "kind": "Node", **node}, Node)


def plain_pod(name: str, *, cpu: str = "100m", memory: str = "100Mi", priority: int = 0, **spec: Any) -> Pod:
    """A pod with one container; ``spec`` adds fields by their JSON names."""
    container = {
        "name": "c",
        "image": "registry.k8s.io/pause:3.10",
        "resources": {"requests": {"cpu": cpu, "memory": memory}},
    }
    return make_pod(
        {
            "metadata": {"name": name, "namespace": "default", "uid": name},
            "spec": {"containers": [container], "priority": priority, **spec},
        }
    )


def plain_node(name: str, *, cpu: str = "4", memory: str = "8Gi", pods: str = "110", **spec: Any) -> Node:
    """A ready node; ``spec`` adds fields by their JSON names."""
    return make_node(
        {
            "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
            "spec": spec,
            "status": {
                "allocatable": {"cpu": cpu, "memory": memory, "pods": pods},
                "conditions": [{"type": "Ready", "status": "True"}],
            },
        }
    )
