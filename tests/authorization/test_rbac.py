"""Roles and bindings decide, from the moment they are written."""

import time

import pytest

from kubeloop import Cluster, StatusError
from kubeloop.actors.apiserver.actor import ApiServer
from kubeloop.actors.apiserver.messages import UserInfo
from kubeloop.actors.apiserver.rbac.attributes import Attributes
from kubeloop.actors.apiserver.rbac.authorizer import RbacAuthorizer
from kubeloop.actors.apiserver.rbac.defaults import default_objects, reconcile_policy
from tests.authorization.conftest import As

RBAC = "rbac.authorization.k8s.io"
READER = f"""
apiVersion: {RBAC}/v1
kind: Role
metadata: {{name: reader}}
rules: [{{apiGroups: [''], resources: [configmaps], verbs: [get, list]}}]
"""


def bound(kind: str, name: str, role: str) -> str:
    """A binding to bob."""
    binding = "ClusterRoleBinding" if kind.endswith("!") else "RoleBinding"
    return f"""
    apiVersion: {RBAC}/v1
    kind: {binding}
    metadata: {{name: {name}}}
    subjects: [{{kind: User, name: bob}}]
    roleRef: {{apiGroup: {RBAC}, kind: {kind.rstrip("!")}, name: {role}}}
    """


BINDING = bound("Role", "readers", "reader")


async def refusal(awaitable: object) -> str:
    with pytest.raises(StatusError) as caught:
        await awaitable  # type: ignore[misc]
    assert caught.value.code == 403
    return caught.value.message


async def test_a_role_counts_from_its_binding_on_and_not_after_it(cluster: Cluster, as_user: As) -> None:
    bob = as_user("bob")
    text = 'configmaps is forbidden: User "bob" cannot list resource "configmaps" in API group ""'
    assert await refusal(bob.list("configmaps", "default")) == f'{text} in the namespace "default"'
    await cluster.apply(READER)
    await cluster.apply(BINDING)
    assert not (await bob.list("configmaps", "default")).items
    assert await refusal(bob.list("configmaps", "kube-system")) == f'{text} in the namespace "kube-system"'
    assert await refusal(bob.list("configmaps")) == f"{text} at the cluster scope"
    await cluster.client.delete("roles", "reader", "default")
    missing = 'RBAC: role.rbac.authorization.k8s.io "reader" not found'
    assert await refusal(bob.list("configmaps", "default")) == f'{text} in the namespace "default": {missing}'
    await cluster.client.delete("rolebindings", "readers", "default")
    assert await refusal(bob.list("configmaps", "default")) == f'{text} in the namespace "default"'


async def test_who_may_update_may_not_create_by_it(cluster: Cluster, as_user: As) -> None:
    await cluster.apply(READER.replace("get, list", "get, patch, update"))
    await cluster.apply(BINDING)
    applied = as_user("bob").apply(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "default"}}
    )
    assert 'User "bob" cannot create resource "configmaps"' in await refusal(applied)


async def test_no_one_grants_what_they_do_not_hold(cluster: Cluster, as_user: As) -> None:
    await cluster.apply(bound("ClusterRole", "g", "admin"))
    bob = as_user("bob")
    held = bare()
    await bob.create(held, "default")
    wider = {**held, "metadata": {"name": "wider"}}
    wider["rules"] = [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list"]}]
    assert await refusal(bob.create(wider, "default")) == (
        'roles.rbac.authorization.k8s.io "wider" is forbidden: user "bob" (groups=["system:authenticated"]) is '
        "attempting to grant RBAC permissions not currently held:\n"
        '{APIGroups:[""], Resources:["nodes"], Verbs:["get" "list"]}'
    )
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
    binding = {"apiVersion": held["apiVersion"], "kind": "RoleBinding", "metadata": {"name": "b"}, "roleRef": reference}
    message = await refusal(bob.create(binding, "default"))
    assert message.startswith('rolebindings.rbac.authorization.k8s.io "b" is forbidden: user "bob"')
    assert message.endswith('{APIGroups:["*"], Resources:["*"], Verbs:["*"]}\n{NonResourceURLs:["*"], Verbs:["*"]}')
    nobodys = {**binding, "roleRef": {**reference, "name": "nobodys"}}
    with pytest.raises(StatusError) as caught:
        await bob.create(nobodys, "default")
    assert caught.value.code == 404
    wider["metadata"] = {"name": "reader", "namespace": "default"}
    assert "attempting to grant" in await refusal(bob.update(wider))


def bare() -> dict[str, object]:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": "reader"},
        "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list"]}],
    }


@pytest.mark.parametrize("verb", ["bind", "escalate"])
async def test_bind_and_escalate_open_the_door(cluster: Cluster, as_user: As, verb: str) -> None:
    await cluster.apply(
        f"""
        apiVersion: {RBAC}/v1
        kind: ClusterRole
        metadata: {{name: door}}
        rules: [{{apiGroups: [{RBAC}], resources: [clusterroles, clusterrolebindings], verbs: [create, {verb}]}}]
        """
    )
    await cluster.apply(bound("ClusterRole!", "door", "door"))
    bob, version = as_user("bob"), "rbac.authorization.k8s.io/v1"
    role = {
        "apiVersion": version,
        "kind": "ClusterRole",
        "metadata": {"name": "all"},
        "rules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
    }
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
    binding = {"apiVersion": version, "kind": "ClusterRoleBinding", "metadata": {"name": "all"}, "roleRef": reference}
    allowed, refused = (binding, role) if verb == "bind" else (role, binding)
    await bob.create(allowed)
    assert "attempting to grant" in await refusal(bob.create(refused))


async def test_an_aggregated_role_follows_its_parts(cluster: Cluster) -> None:
    part = """
    apiVersion: rbac.authorization.k8s.io/v1
    kind: ClusterRole
    metadata: {{name: {0}, labels: {{part: 'yes'}}}}
    rules: [{{apiGroups: [{0}], resources: [x], verbs: [get]}}]
    """
    whole = """
    apiVersion: rbac.authorization.k8s.io/v1
    kind: ClusterRole
    metadata: {name: whole}
    aggregationRule: {clusterRoleSelectors: [{matchLabels: {part: 'yes'}}]}
    """
    await cluster.apply(part.format("b"))
    await cluster.apply(whole)
    await cluster.apply(part.format("a"))

    def made_of(*groups: str) -> object:
        return lambda role: role is not None and [rule.api_groups for rule in role.rules] == [(one,) for one in groups]

    await cluster.wait("clusterrole/whole", made_of("a", "b"))  # type: ignore[arg-type]
    await cluster.client.delete("clusterroles", "a")
    await cluster.wait("clusterrole/whole", made_of("b"))  # type: ignore[arg-type]


async def test_the_default_policy_is_there_and_is_mended_at_the_next_start(cluster: Cluster) -> None:
    client = cluster.client
    for plural, namespace, wanted in default_objects():
        stored = await client.get(plural, wanted.metadata.name, namespace or None)
        assert getattr(stored, "rules", ()) == getattr(wanted, "rules", ())
        assert getattr(stored, "subjects", ()) == getattr(wanted, "subjects", ())
    await client.delete("clusterroles", "system:node")
    view = await client.get("clusterroles", "system:discovery")
    await client.patch("clusterroles", "system:discovery", {"rules": []}, type="merge")
    own = {"metadata": {"annotations": {"rbac.authorization.kubernetes.io/autoupdate": "false"}}, "rules": []}
    await client.patch("clusterroles", "system:basic-user", own, type="merge")
    await reconcile_policy(apiserver_of(cluster))
    assert (await client.get("clusterroles", "system:node")).rules
    assert (await client.get("clusterroles", "system:discovery")).rules == view.rules
    assert (await client.get("clusterroles", "system:basic-user")).rules == ()


async def test_a_decision_among_ten_thousand_bindings_is_quick(cluster: Cluster) -> None:
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}
    for number in range(10_000):
        subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": f"user-{number}"}
        binding = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "roleRef": reference}
        await cluster.client.create({**binding, "metadata": {"name": f"b-{number}"}, "subjects": [subject]}, "default")
    authorizer = rbac_of(cluster)
    asked = Attributes("list", "", "pods", "", "default")
    users = [UserInfo(f"user-{number}", ("system:authenticated",)) for number in range(0, 10_000, 10)]
    authorizer.authorize(users[0], asked)
    begin = time.perf_counter()
    assert all(authorizer.authorize(user, asked).allowed for user in users)
    first = (time.perf_counter() - begin) / len(users)
    begin = time.perf_counter()
    assert all(authorizer.authorize(user, asked).allowed for user in users)
    again = (time.perf_counter() - begin) / len(users)
    assert again < 100e-6 and first < 2e-3, f"first {first * 1e6:.1f} us, again {again * 1e6:.1f} us"


def apiserver_of(cluster: Cluster) -> ApiServer:
    live = cluster.system.slot("kube-apiserver").live
    assert live is not None and isinstance(live.actor, ApiServer)
    return live.actor


def rbac_of(cluster: Cluster) -> RbacAuthorizer:
    rbac = apiserver_of(cluster).authorizer.rbac
    assert rbac is not None
    return rbac
