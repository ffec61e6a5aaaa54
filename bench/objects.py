"""The objects that workloads create."""

from kubeloop.actors.api.core_v1 import Container, Pod, PodSpec, ResourceRequirements
from kubeloop.actors.api.meta_v1 import ObjectMeta
from kubeloop.actors.processes import NodeOptions

CONTAINERS = (
    Container(
        name="app",
        image="example/app:1",
        resources=ResourceRequirements(requests={"cpu": "100m", "memory": "64Mi"}),
    ),
)


def pod(number: int, *, node_name: str | None = None) -> Pod:
    """A pod of one container with plain requests; bound already when a node is named."""
    return Pod(
        metadata=ObjectMeta(name=f"app-{number}", namespace="default", labels={"app": "bench"}),
        spec=PodSpec(containers=CONTAINERS, node_name=node_name),
    )


def nodes(count: int) -> list[NodeOptions]:
    """Nodes with room for 110 pods each."""
    capacity = {"cpu": "32", "memory": "64Gi", "pods": "110"}
    return [NodeOptions(capacity=capacity) for _ in range(count)]
