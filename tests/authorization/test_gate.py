"""Over HTTPS: who is nobody, other paths, acting as another, and kubectl's questions."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from kubeloop import Cluster
from kubeloop.actors.client.http import ssl_context
from kubeloop.actors.client.kubeconfig import load

IMPERSONATOR = """
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: impersonator}
rules:
- {apiGroups: [''], resources: [users], resourceNames: [alice], verbs: [impersonate]}
- {apiGroups: [''], resources: [groups], resourceNames: [devs], verbs: [impersonate]}
- {apiGroups: [authentication.k8s.io], resources: [userextras/scopes], resourceNames: [view], verbs: [impersonate]}
- {apiGroups: [authentication.k8s.io], resources: [uids], resourceNames: [u-1], verbs: [impersonate]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: impersonator}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: impersonator}
subjects: [{kind: ServiceAccount, name: robot, namespace: default}]
"""
REVIEW = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
REVIEWS = "/apis/authentication.k8s.io/v1/selfsubjectreviews"


async def ask(config: Path, method: str, path: str, token: str | None = "", body: Any = None, **headers: str) -> Any:
    """(code, body) of a request with the administrator's token, another one, or (None) without."""
    address = load(config)
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    if token is not None:
        given["Authorization"] = f"Bearer {token or address.token}"
    connector = aiohttp.TCPConnector(ssl=context_without_certificate(address))
    async with aiohttp.ClientSession(connector=connector) as session:
        async with session.request(method, address.server + path, headers=given, json=body) as answer:
            text = await answer.text()
            return answer.status, json.loads(text) if text.startswith("{") else text


def context_without_certificate(address: Any) -> Any:
    import msgspec

    return ssl_context(msgspec.structs.replace(address, certificate=None, key=None))


async def test_nobody_reads_health_and_nothing_else(cluster: Cluster) -> None:
    config = await cluster.serve()
    assert (await ask(config, "GET", "/healthz", None))[0] == 200
    assert (await ask(config, "GET", "/version", None))[0] == 200
    for method, path, message in (
        ("GET", "/metrics", 'forbidden: User "system:anonymous" cannot get path "/metrics"'),
        ("POST", "/healthz", 'forbidden: User "system:anonymous" cannot post path "/healthz"'),
        ("GET", "/no/such", 'forbidden: User "system:anonymous" cannot get path "/no/such"'),
        (
            "GET",
            "/api/v1/namespaces/default/pods/p/nosuch",
            'pods "p" is forbidden: User "system:anonymous" cannot get resource "pods/nosuch" in API group "" '
            'in the namespace "default"',
        ),
        (
            "GET",
            "/api/v1/pods?watch=1",
            'pods is forbidden: User "system:anonymous" cannot watch resource "pods" in API group "" '
            "at the cluster scope",
        ),
    ):
        code, status = await ask(config, method, path, None)
        assert (code, status["message"]) == (403, message)
    assert (await ask(config, "GET", "/healthz", "wrong"))[0] == 401


async def test_acting_as_another_takes_rights_on_every_part(cluster: Cluster) -> None:
    config = await cluster.serve()
    await cluster.apply("{apiVersion: v1, kind: ServiceAccount, metadata: {name: robot}}")
    requested = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest"}
    accounts = "/api/v1/namespaces/default/serviceaccounts/robot/token"
    token = (await ask(config, "POST", accounts, body=requested))[1]["status"]["token"]
    robot = "system:serviceaccount:default:robot"
    _, status = await ask(config, "GET", "/api/v1/pods", token, Impersonate_User="alice")
    assert status["message"] == (
        f'pods is forbidden: User "{robot}" cannot impersonate-on:user-info:list resource "pods" in API group "" '
        "at the cluster scope"
    )
    await cluster.apply(IMPERSONATOR)
    everything = {
        "Impersonate_User": "alice", "Impersonate_Group": "devs", "Impersonate_Uid": "u-1",
        "Impersonate_Extra_Scopes": "view",
    }  # fmt: skip
    code, review = await ask(config, "POST", REVIEWS, token, REVIEW, **everything)
    assert (code, review["status"]["userInfo"]) == (
        201,
        {"username": "alice", "uid": "u-1", "groups": ["devs", "system:authenticated"], "extra": {"scopes": ["view"]}},
    )
    for change, what in (
        ({"Impersonate_User": "bob"}, 'users "bob"'),
        ({"Impersonate_Group": "ops"}, 'groups "ops"'),
        ({"Impersonate_Uid": "u-2"}, 'uids.authentication.k8s.io "u-2"'),
        ({"Impersonate_Extra_Scopes": "edit"}, 'userextras.authentication.k8s.io "edit"'),
    ):
        code, status = await ask(config, "POST", REVIEWS, token, REVIEW, **{**everything, **change})
        assert code == 403 and status["message"].startswith(f'{what} is forbidden: User "{robot}" cannot impersonate')
    code, status = await ask(config, "GET", "/api/v1/pods", token, Impersonate_Group="devs")
    assert code == 400 and status["message"].endswith("without impersonating a user name")


async def test_reviews_answer_what_the_authorizer_would(cluster: Cluster) -> None:
    await cluster.apply(
        "{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: v}, subjects: [{kind: User, "
        "name: bob}], roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}}"
    )
    config = await cluster.serve()

    async def review(verb: str, resource: str) -> Any:
        attributes = {"namespace": "default", "verb": verb, "resource": resource}
        spec = {"user": "bob", "resourceAttributes": attributes}
        body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
        return (await ask(config, "POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", body=body))[1]["status"]

    reason = 'RBAC: allowed by RoleBinding "v/default" of ClusterRole "view" to User "bob"'
    assert await review("get", "pods") == {"allowed": True, "reason": reason}
    assert await review("get", "secrets") == {"allowed": False}


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed on this machine")
async def test_kubectl_auth(cluster: Cluster, tmp_path: Path) -> None:
    config = await cluster.serve()

    async def kubectl(*arguments: str) -> str:
        import asyncio

        command = ["kubectl", "--kubeconfig", str(config), "--cache-dir", str(tmp_path), *arguments]
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=60)
        return done.stdout + done.stderr

    assert (await kubectl("auth", "can-i", "list", "pods")).strip() == "yes"
    assert (await kubectl("auth", "can-i", "list", "pods", "--as", "bob")).strip() == "no"
    assert "kubernetes-admin" in await kubectl("auth", "whoami")
    listed = await kubectl("auth", "can-i", "--list", "--as", "bob")
    assert "selfsubjectreviews.authentication.k8s.io" in listed and "[/version/]" in listed
    assert "pods" not in listed
    assert 'User "bob" cannot list resource "pods"' in await kubectl("get", "pods", "--as", "bob")
    assert "cluster-admin" in await kubectl("get", "clusterroles")
