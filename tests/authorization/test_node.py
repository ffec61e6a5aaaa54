"""A kubelet reads what its pods need and nothing else."""

import pytest

from kubeloop import Cluster, StatusError
from tests.authorization.conftest import As

POD = """
{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {nodeName: n1, containers: [{name: a, image: example/a,
 envFrom: [{configMapRef: {name: used}}]}], volumes: [{name: s, secret: {secretName: used}}]}}
"""
UNRELATED = "no relationship found between node 'n1' and this object"
ASKED = [
    ("n1", "get", "secrets", "used", "", None),
    ("n1", "get", "configmaps", "used", "", None),
    ("n2", "get", "secrets", "used", "", "no relationship found between node 'n2' and this object"),
    ("n1", "get", "secrets", "unused", "", UNRELATED),
    ("n1", "list", "secrets", "", "", "No Object name found"),
    ("n1", "list", "secrets", "", "metadata.name=used", None),
    ("n1", "delete", "secrets", "used", "", "can only read resources of this type"),
    ("n1", "get", "pods", "a", "", None),
    ("n2", "get", "pods", "a", "", "no relationship found between node 'n2' and this object"),
    ("n1", "list", "pods", "", "", "can only list/watch pods with spec.nodeName field selector"),
    ("n1", "list", "pods", "", "spec.nodeName=n2", "can only list/watch pods with spec.nodeName field selector"),
    ("n1", "list", "pods", "", "spec.nodeName=n1", None),
    ("n1", "get", "nodes", "n2", "", "node 'n1' cannot read 'n2', only its own Node object"),
    ("n1", "list", "services", "", "", None),
    ("n1", "list", "deployments", "", "", ""),
    ("n1", "delete", "configmaps", "used", "", "can only read resources of this type"),
]


@pytest.mark.parametrize(("node", "verb", "resource", "name", "selector", "reason"), ASKED)
async def test_a_kubelet_may(
    cluster: Cluster, as_user: As, node: str, verb: str, resource: str, name: str, selector: str, reason: str | None
) -> None:
    for kind, plain in (("Secret", "used"), ("Secret", "unused"), ("ConfigMap", "used")):
        await cluster.apply(f"{{apiVersion: v1, kind: {kind}, metadata: {{name: {plain}}}}}")
    await cluster.wait("serviceaccount/default", lambda account: account is not None)
    await cluster.apply(POD)
    kubelet = as_user(f"system:node:{node}", ("system:nodes",))
    try:
        if verb == "list":
            await kubelet.list(resource, "default", field_selector=selector or None)
        else:
            await getattr(kubelet, verb)(resource, name, "default" if resource != "nodes" else None)
    except StatusError as error:
        assert error.code == 403 and reason is not None, error.message
        assert error.message.endswith(f": {reason}" if reason else 'in the namespace "default"'), error.message
    else:
        assert reason is None


async def test_who_is_no_node_by_its_groups_is_none(cluster: Cluster, as_user: As) -> None:
    with pytest.raises(StatusError, match="cannot list resource"):
        await as_user("system:node:n1").list("services", "default")
