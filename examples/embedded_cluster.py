"""An embedded cluster: a deployment comes up, loses a node, and recovers. Virtual time: minutes pass in a moment.

python examples/embedded_cluster.py
"""

from kubeloop import Cluster, simulate

WEB = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 6
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
        - name: web
          image: example/web:1
          resources: {requests: {cpu: 500m, memory: 256Mi}}
"""


async def nodes_of_pods(cluster: Cluster) -> list[str]:
    pods = await cluster.client.list("pods", "default", label_selector="app=web")
    return sorted(pod.spec.node_name for pod in pods.items if not pod.metadata.deletion_timestamp)


async def main() -> list[str]:
    async with Cluster(nodes=3, seed=1) as cluster:
        await cluster.apply(WEB)
        await cluster.wait("deployment/web", "Available", timeout=60)
        print("placed on", await nodes_of_pods(cluster))

        cluster.node("node-1").crash()
        lost_at = cluster.system.clock.monotonic()
        await cluster.wait("node/node-1", "Ready=Unknown", timeout=120)
        print(f"node-1 is lost after {cluster.system.clock.monotonic() - lost_at:.0f} s")

        while "node-1" in await nodes_of_pods(cluster):  # five minutes of toleration, as Kubernetes has it
            await cluster.system.clock.sleep(10)
        await cluster.wait("deployment/web", "Available", timeout=60)
        print(f"moved after {cluster.system.clock.monotonic() - lost_at:.0f} s to", await nodes_of_pods(cluster))
        return await nodes_of_pods(cluster)


if __name__ == "__main__":
    simulate(main(), seed=1)
