"""What one rule allows and what rules lack, as tables."""

import pytest

from kubeloop.actors.apiserver.messages import Request, UserInfo
from kubeloop.actors.apiserver.rbac.attributes import Attributes, attributes_of, forbidden
from kubeloop.actors.apiserver.rbac.defaults import rule_of
from kubeloop.actors.apiserver.rbac.rules import allows, descriptions, missing

TABLE = [
    ("get list  core: pods", Attributes("get", "", "pods"), True),
    ("get list  core: pods", Attributes("watch", "", "pods"), False),
    ("*  core: pods", Attributes("deletecollection", "", "pods"), True),
    ("get  core: pods", Attributes("get", "apps", "pods"), False),
    ("get  apps,core: pods", Attributes("get", "apps", "pods"), True),
    ("get  *: pods", Attributes("get", "anything.example.com", "pods"), True),
    ("get  core: *", Attributes("get", "", "secrets"), True),
    ("get  core: *", Attributes("get", "", "pods", "log"), True),
    ("get  core: pods", Attributes("get", "", "pods", "log"), False),
    ("get  core: pods/log", Attributes("get", "", "pods", "log"), True),
    ("get  core: pods/log", Attributes("get", "", "pods"), False),
    ("get  core: pods/*", Attributes("get", "", "pods", "log"), False),
    ("update  *: */scale", Attributes("update", "apps", "deployments", "scale"), True),
    ("update  *: */scale", Attributes("update", "apps", "deployments"), False),
    ("update  *: */scale", Attributes("update", "apps", "deployments", "status"), False),
    ("get  core: configmaps # one two", Attributes("get", "", "configmaps", name="two"), True),
    ("get  core: configmaps # one two", Attributes("get", "", "configmaps", name="three"), False),
    ("list  core: configmaps # one", Attributes("list", "", "configmaps"), False),
    ("create  core: configmaps # one", Attributes("create", "", "configmaps"), False),
    ("get  /healthz /apis/*", Attributes("get", path="/healthz"), True),
    ("get  /healthz /apis/*", Attributes("get", path="/apis/apps/v1"), True),
    ("get  /healthz /apis/*", Attributes("get", path="/apis"), False),
    ("get  /healthz /apis/*", Attributes("post", path="/healthz"), False),
    ("get  *", Attributes("get", path="/whatever/there/is"), True),
    ("*  *: *", Attributes("get", path="/metrics"), False),
    ("*  *", Attributes("get", "", "pods"), False),
    ("get  core: pods", Attributes("*", "", "pods"), False),
    ("*  *: *", Attributes("*", "*", "*"), True),
]


@pytest.mark.parametrize(("rule", "asked", "expected"), TABLE)
def test_a_rule_allows_what_it_says(rule: str, asked: Attributes, expected: bool) -> None:
    assert allows(rule_of(rule), asked) is expected


@pytest.mark.parametrize(
    ("held", "wanted", "lacking"),
    [
        (["*  *: *"], ["get  core: pods pods/log"], []),
        (["get  core: pods"], ["get list  core: pods"], ['{APIGroups:[""], Resources:["pods"], Verbs:["list"]}']),
        (["get  core: *"], ["get  core: pods/log"], []),
        (["get  *: */scale"], ["get  apps: deployments/scale"], []),
        (["get  core: pods"], ["get  core: pods/log"], ['{APIGroups:[""], Resources:["pods/log"], Verbs:["get"]}']),
        (["get  core: secrets"], ["get  core: secrets # one"], []),
        (
            ["get  core: secrets # one"],
            ["get  core: secrets"],
            ['{APIGroups:[""], Resources:["secrets"], Verbs:["get"]}'],
        ),
        (
            ["get  core: secrets # one"],
            ["get  core: secrets # one two"],
            ['{APIGroups:[""], Resources:["secrets"], ResourceNames:["two"], Verbs:["get"]}'],
        ),
        (["get  /apis/*"], ["get  /apis/apps /apis/*"], []),
        (["get  /apis"], ["get  /apis/*"], ['{NonResourceURLs:["/apis/*"], Verbs:["get"]}']),
        (["get  core: pods", "list  core: pods"], ["get list  core: pods"], []),
        (
            [],
            ["get list  core: pods", "get  apps: deployments"],
            [
                '{APIGroups:[""], Resources:["pods"], Verbs:["get" "list"]}',
                '{APIGroups:["apps"], Resources:["deployments"], Verbs:["get"]}',
            ],
        ),
    ],
)
def test_what_rules_lack_is_described_as_a_real_server_does(
    held: list[str], wanted: list[str], lacking: list[str]
) -> None:
    assert descriptions(missing([*map(rule_of, held)], [*map(rule_of, wanted)])) == lacking


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (
            Request("get", "", "v1", "namespaces", name="a"),
            Attributes("get", "", "namespaces", namespace="a", name="a"),
        ),
        (Request("list", "", "v1", "namespaces"), Attributes("list", "", "namespaces")),
        (
            Request("list", "", "v1", "secrets", "a", options={"fieldSelector": "metadata.name=b"}),
            Attributes("list", "", "secrets", "", "a", "b", "", "metadata.name=b"),
        ),
        (
            Request("get", "", "v1", "secrets", "a", "b", options={"fieldSelector": "metadata.name=c"}),
            Attributes("get", "", "secrets", "", "a", "b"),
        ),
    ],
)
def test_a_request_says_what_it_asks(request_: Request, expected: Attributes) -> None:
    assert attributes_of(request_) == expected


@pytest.mark.parametrize(
    ("asked", "message", "details"),
    [
        (
            Attributes("list", "", "pods", "", "default"),
            'pods is forbidden: User "x" cannot list resource "pods" in API group "" in the namespace "default"',
            {"kind": "pods"},
        ),
        (
            Attributes("get", "apps", "deployments", "scale", "a", "d"),
            'deployments.apps "d" is forbidden: User "x" cannot get resource "deployments/scale" in API group "apps" '
            'in the namespace "a"',
            {"name": "d", "group": "apps", "kind": "deployments"},
        ),
        (
            Attributes("get", "", "nodes", name="n"),
            'nodes "n" is forbidden: User "x" cannot get resource "nodes" in API group "" at the cluster scope',
            {"name": "n", "kind": "nodes"},
        ),
        (Attributes("get", path="/metrics"), 'forbidden: User "x" cannot get path "/metrics"', {}),
    ],
)
def test_a_refusal_is_worded_as_a_real_server_does(asked: Attributes, message: str, details: dict[str, str]) -> None:
    error = forbidden(UserInfo("x"), asked)
    assert (error.code, error.reason, error.message) == (403, "Forbidden", message)
    assert error.status["details"] == details
