"""A scheduling experiment: 1,000 nodes of three sizes, 5,000 pods, in virtual time. How even does the cluster get?

python examples/scheduling_experiment.py
"""

import statistics
from collections import Counter

from kubeloop import Cluster, NodeOptions, simulate
from kubeloop.actors.api.core_v1 import Container, Pod, PodSpec, ResourceRequirements
from kubeloop.actors.api.meta_v1 import ObjectMeta

SIZES = {"small": "4", "medium": "8", "large": "16"}


def nodes(count: int) -> list[NodeOptions]:
    sizes = list(SIZES)
    return [
        NodeOptions(
            labels={"size": sizes[number % len(sizes)]},
            capacity={"cpu": SIZES[sizes[number % len(sizes)]], "memory": "32Gi", "pods": "110"},
        )
        for number in range(count)
    ]


def pod(number: int) -> Pod:
    requests = {"cpu": "500m", "memory": "512Mi"}
    container = Container(name="app", image="example/app:1", resources=ResourceRequirements(requests=requests))
    return Pod(metadata=ObjectMeta(name=f"app-{number}", namespace="default"), spec=PodSpec(containers=[container]))


async def main(node_count: int = 1000, pod_count: int = 5000) -> dict[str, float]:
    async with Cluster(nodes=nodes(node_count), seed=1) as cluster:
        for number in range(pod_count):
            await cluster.client.create(pod(number))
        last = f"app-{pod_count - 1}"
        await cluster.wait(f"pod/{last}", "Running", timeout=600)
        all_nodes = (await cluster.client.list("nodes")).items
        sizes = {node.metadata.name: node.metadata.labels["size"] for node in all_nodes}
        placed = Counter(p.spec.node_name for p in (await cluster.client.list("pods", "default")).items)
        load = {
            size: statistics.mean(placed[name] * 0.5 / float(cpus) for name, of in sizes.items() if of == size)
            for size, cpus in SIZES.items()
        }
        for size, share in load.items():
            print(f"{size:>6} nodes: {share:.0%} of their cpu requested")
        return load


if __name__ == "__main__":
    simulate(main(), seed=1)
