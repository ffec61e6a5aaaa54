"""The Node authorizer: a kubelet reads what the pods bound to its node need, and writes what is its own.

Follows the "Using Node Authorization" page. What it has no opinion about, RBAC may still allow.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from kubeloop.actors.api.errors import quoted
from kubeloop.actors.apiserver.messages import UserInfo
from kubeloop.actors.apiserver.rbac.attributes import ALLOWED, NO_OPINION, Attributes, Decision, selected
from kubeloop.actors.apiserver.rbac.rules import allows

if TYPE_CHECKING:
    from kubeloop.actors.apiserver.actor import ApiServer

NODES, PREFIX = "system:nodes", "system:node:"
LEASE_NAMESPACE = "kube-node-lease"
READ = ("get", "list", "watch")

Check = Callable[["ApiServer", str, Attributes], Decision]


def node_of(user: UserInfo) -> str:
    """The node whose kubelet this is; "" for anybody else."""
    if user.name.startswith(PREFIX) and NODES in user.groups:
        return user.name[len(PREFIX) :]
    return ""


def authorize(server: "ApiServer", user: UserInfo, asked: Attributes) -> Decision:
    """Raises NeedsCache where pods or claims are not in memory yet."""
    node = node_of(user)
    if not node:
        return NO_OPINION
    check = CHECKS.get((asked.group, asked.resource)) if not asked.path else None
    if check is not None:
        return check(server, node, asked)
    return ALLOWED if any(allows(rule, asked) for rule in _rules()) else NO_OPINION


def _rules() -> Any:
    from kubeloop.actors.apiserver.rbac import defaults, policy

    return [defaults.rule_of(line) for line in policy.NODE]


def refused(reason: str) -> Decision:
    return Decision(False, reason)


# what a node's pods need


def pods_of(server: "ApiServer", node: str) -> Iterator[Any]:
    """The pods bound to a node. Raises NeedsCache."""
    for entry in server.indexed("pods", node).values():
        yield entry.object


def related(server: "ApiServer", node: str, asked: Attributes) -> Decision:
    if not asked.name:
        return refused("No Object name found")
    pods = pods_of(server, node)
    if asked.resource == "persistentvolumes":
        found = any(asked.name in _volumes(server, pod) for pod in pods)
    elif asked.resource == "pods":
        found = any(pod.metadata.name == asked.name and pod.metadata.namespace == asked.namespace for pod in pods)
    else:
        names = NAMES[asked.resource]
        found = any(pod.metadata.namespace == asked.namespace and asked.name in names(pod) for pod in pods)
    return ALLOWED if found else refused(f"no relationship found between node '{node}' and this object")


def _sources(pod: Any) -> Iterator[tuple[str, str]]:
    """("configmaps" or "secrets", name) of everything that a pod's volumes, containers and pulls read."""
    spec = pod.spec
    for reference in spec.image_pull_secrets:
        yield "secrets", reference.name or ""
    for container in (*spec.containers, *spec.init_containers, *spec.ephemeral_containers):
        for source in container.env_from:
            if source.config_map_ref is not None:
                yield "configmaps", source.config_map_ref.name or ""
            if source.secret_ref is not None:
                yield "secrets", source.secret_ref.name or ""
        for variable in container.env:
            value = variable.value_from
            if value is not None and value.config_map_key_ref is not None:
                yield "configmaps", value.config_map_key_ref.name or ""
            if value is not None and value.secret_key_ref is not None:
                yield "secrets", value.secret_key_ref.name or ""
    for volume in spec.volumes:
        if volume.config_map is not None:
            yield "configmaps", volume.config_map.name or ""
        if volume.secret is not None:
            yield "secrets", volume.secret.secret_name or ""
        for projection in volume.projected.sources if volume.projected is not None else ():
            if projection.config_map is not None:
                yield "configmaps", projection.config_map.name or ""
            if projection.secret is not None:
                yield "secrets", projection.secret.name or ""


def _of(kind: str) -> Callable[[Any], set[str]]:
    return lambda pod: {name for plural, name in _sources(pod) if plural == kind}


def claims(pod: Any) -> set[str]:
    found = set()
    for volume in pod.spec.volumes:
        if volume.persistent_volume_claim is not None:
            found.add(volume.persistent_volume_claim.claim_name or "")
        if volume.ephemeral is not None:
            found.add(f"{pod.metadata.name}-{volume.name}")
    return found


def _volumes(server: "ApiServer", pod: Any) -> Iterator[str]:
    for name in claims(pod):
        claim = server.lookup("persistentvolumeclaims", pod.metadata.namespace, name)
        if claim is not None and claim.spec.volume_name:
            yield claim.spec.volume_name


NAMES: Mapping[str, Callable[[Any], Any]] = {
    "configmaps": _of("configmaps"),
    "secrets": _of("secrets"),
    "persistentvolumeclaims": claims,
    "serviceaccounts": lambda pod: (pod.spec.service_account_name or "",),
    "resourceclaims": lambda pod: (),
    "volumeattachments": lambda pod: (),
}


# resource by resource


def read_related(server: "ApiServer", node: str, asked: Attributes) -> Decision:
    if asked.verb not in READ:
        return refused("can only read resources of this type")
    if asked.subresource:
        return refused("cannot read subresource")
    if not asked.namespace:
        return refused("can only read namespaced object of this type")
    return related(server, node, asked)


def get_related(server: "ApiServer", node: str, asked: Attributes) -> Decision:
    if asked.verb != "get":
        return refused("can only get individual resources of this type")
    if asked.subresource:
        return refused("cannot get subresource")
    return related(server, node, asked)


def claim(server: "ApiServer", node: str, asked: Attributes) -> Decision:
    if asked.subresource == "status":
        if asked.verb not in ("get", "update", "patch"):
            return refused("can only get/update/patch this type")
        return related(server, node, asked)
    return get_related(server, node, asked)


def service_account(server: "ApiServer", node: str, asked: Attributes) -> Decision:
    if asked.subresource == "token":
        if asked.verb != "create":
            return refused("can only create tokens for individual service accounts")
        return related(server, node, asked)
    return get_related(server, node, asked)


def pod(server: "ApiServer", node: str, asked: Attributes) -> Decision:
    verb = asked.verb
    if asked.subresource == "status":
        return ALLOWED if verb in ("get", "update", "patch") else NO_OPINION
    if asked.subresource == "eviction":
        return ALLOWED if verb == "create" else NO_OPINION
    if asked.subresource:
        return NO_OPINION
    if verb == "get":
        return get_related(server, node, asked)
    if verb in ("list", "watch"):
        if selected(asked.field_selector, "spec.nodeName") == node:
            return ALLOWED
        if asked.name:
            return related(server, node, asked)
        return refused("can only list/watch pods with spec.nodeName field selector")
    return ALLOWED if verb in ("create", "delete") else NO_OPINION


def node(server: "ApiServer", node: str, asked: Attributes) -> Decision:
    if asked.subresource:
        return ALLOWED if asked.subresource == "status" and asked.verb in ("update", "patch") else NO_OPINION
    if asked.verb in READ:
        if asked.name == node:
            return ALLOWED
        if asked.verb == "get":
            return refused(f"node '{node}' cannot read '{asked.name}', only its own Node object")
        return refused(f"node '{node}' cannot read all nodes, only its own Node object")
    return ALLOWED if asked.verb in ("create", "update", "patch") else NO_OPINION


def lease(server: "ApiServer", node: str, asked: Attributes) -> Decision:
    if asked.verb not in ("get", "create", "update", "patch", "delete"):
        return refused("can only get, create, update, patch, or delete a node lease")
    if asked.namespace != LEASE_NAMESPACE:
        return refused(f"can only access leases in the {quoted(LEASE_NAMESPACE)} system namespace")
    if asked.verb != "create" and asked.name != node:
        return refused("can only access node lease with the same name as the requesting node")
    return ALLOWED


def csi_node(server: "ApiServer", node: str, asked: Attributes) -> Decision:
    if asked.verb not in ("get", "create", "update", "patch", "delete"):
        return refused("can only get, create, update, patch, or delete a CSINode")
    if asked.subresource:
        return refused("cannot authorize CSINode subresources")
    if asked.verb != "create" and asked.name != node:
        return refused("can only access CSINode with the same name as the requesting node")
    return ALLOWED


CHECKS: Mapping[tuple[str, str], Check] = {
    ("", "secrets"): read_related,
    ("", "configmaps"): read_related,
    ("", "persistentvolumeclaims"): claim,
    ("", "persistentvolumes"): get_related,
    ("", "serviceaccounts"): service_account,
    ("", "pods"): pod,
    ("", "nodes"): node,
    ("coordination.k8s.io", "leases"): lease,
    ("resource.k8s.io", "resourceclaims"): get_related,
    ("storage.k8s.io", "csinodes"): csi_node,
    ("storage.k8s.io", "volumeattachments"): get_related,
}
