"""Objects with something wrong somewhere in them: whatever it is, the server answers, never with a 500.

Each object is damaged in many ways (a value of another type, none, one too big, a part left out), always the same ones,
and created, replaced, patched and applied; error texts are free of Python's own forms.
"""

import copy
import json
import random
from collections.abc import Iterator
from typing import Any

import pytest

from kubeloop.actors.api.errors import StatusError
from tests.apiserver.conftest import Server

Path = tuple[Any, ...]
PER_OBJECT = 40
WRONG: tuple[Any, ...] = (
    *(None, "", 0, -1, 2**31, 2**63, 1.5, True, [], {}, "x" * 70, "UPPER_case!", "a/b", "\0", "é", [None], [[]]),
    *({"a": None}, {"": ""}, [{}], ["", ""], "-1", "9" * 23, "0x10", "..", "10.0.0.0/8", "*", {"x": [1, "a", None]}),
)
PYTHONS = ("NoneType", "Traceback", "<class", "object at 0x", ": True", ": False", "'a': None")
TYPES = {
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "apply": "application/apply-patch+yaml",
}

CONTAINER = {
    "name": "c",
    "image": "i:1",
    "ports": [{"containerPort": 80, "name": "web", "protocol": "TCP"}],
    "env": [{"name": "A", "value": "b"}, {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
    "resources": {"requests": {"cpu": "100m"}, "limits": {"cpu": "1", "memory": "1Gi"}},
    "readinessProbe": {"httpGet": {"path": "/", "port": "web"}, "periodSeconds": 5},
    "volumeMounts": [{"name": "v", "mountPath": "/v"}],
    "securityContext": {"runAsUser": 1000, "capabilities": {"drop": ["ALL"]}},
}
POD = {
    "containers": [CONTAINER],
    "volumes": [{"name": "v", "configMap": {"name": "m", "items": [{"key": "k", "path": "p"}]}}],
    "tolerations": [{"key": "k", "operator": "Exists", "effect": "NoSchedule"}],
    "nodeSelector": {"a": "b"},
    "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}],
}
LABELS = {"app": "a"}
TEMPLATE = {"metadata": {"labels": LABELS}, "spec": POD}
SELECTOR = {"matchLabels": LABELS, "matchExpressions": [{"key": "app", "operator": "In", "values": ["a"]}]}
SCHEMA = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "required": ["size"],
            "properties": {
                "size": {"type": "integer", "minimum": 1, "default": 2},
                "parts": {
                    "type": "array",
                    "items": {"type": "object", "required": ["k"], "properties": {"k": {"type": "string"}}},
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["k"],
                },
                "free": {"type": "object", "additionalProperties": {"type": "string"}},
            },
        }
    },
}
VERSION = {
    "name": "v1",
    "served": True,
    "storage": True,
    "schema": {"openAPIV3Schema": SCHEMA},
    "additionalPrinterColumns": [{"name": "Size", "type": "integer", "jsonPath": ".spec.size"}],
    "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.size", "statusReplicasPath": ".status.size"}},
}
PORTS = [{"port": 80, "targetPort": "web", "name": "p"}]
RULE = {"host": "h.example.com", "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": {}}]}}
RULE["http"]["paths"][0]["backend"] = {"service": {"name": "s", "port": {"number": 80}}}  # type: ignore[index]
WEBHOOK_RULES = [{"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["CREATE"], "resources": ["pods"]}]

# plural -> what is damaged
OBJECTS: dict[str, dict[str, Any]] = {
    "namespaces": {"metadata": {"name": "x", "labels": LABELS}},
    "configmaps": {
        "metadata": {"name": "x", "annotations": {"a": "b"}},
        "data": {"k": "v"},
        "binaryData": {"b": "YQ=="},
    },
    "secrets": {"metadata": {"name": "x"}, "type": "Opaque", "data": {"k": "YQ=="}, "stringData": {"s": "t"}},
    "pods": {"metadata": {"name": "x", "labels": LABELS}, "spec": POD},
    "services": {"metadata": {"name": "x"}, "spec": {"selector": LABELS, "ports": PORTS, "type": "NodePort"}},
    "nodes": {"metadata": {"name": "x"}, "spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]}},
    "persistentvolumes": {
        "metadata": {"name": "x"},
        "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/x"}},
    },
    "persistentvolumeclaims": {
        "metadata": {"name": "x"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    },
    "deployments": {
        "metadata": {"name": "x"},
        "spec": {"selector": SELECTOR, "template": TEMPLATE, "strategy": {"rollingUpdate": {"maxSurge": "25%"}}},
    },
    "statefulsets": {
        "metadata": {"name": "x"},
        "spec": {
            "selector": SELECTOR,
            "serviceName": "s",
            "template": TEMPLATE,
            "volumeClaimTemplates": [
                {
                    "metadata": {"name": "v"},
                    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
                }
            ],
        },
    },
    "jobs": {"metadata": {"name": "x"}, "spec": {"template": {"spec": {**POD, "restartPolicy": "Never"}}}},
    "cronjobs": {
        "metadata": {"name": "x"},
        "spec": {
            "schedule": "* * * * *",
            "jobTemplate": {"spec": {"template": {"spec": {**POD, "restartPolicy": "Never"}}}},
        },
    },
    "horizontalpodautoscalers": {
        "metadata": {"name": "x"},
        "spec": {"maxReplicas": 3, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}},
    },
    "ingresses": {"metadata": {"name": "x"}, "spec": {"rules": [RULE], "tls": [{"hosts": ["h.example.com"]}]}},
    "networkpolicies": {
        "metadata": {"name": "x"},
        "spec": {"podSelector": SELECTOR, "ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}]},
    },
    "roles": {"metadata": {"name": "x"}, "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]},
    "leases": {"metadata": {"name": "x"}, "spec": {"holderIdentity": "h", "renewTime": "2026-01-02T03:04:05.000006Z"}},
    "validatingwebhookconfigurations": {
        "metadata": {"name": "x"},
        "webhooks": [
            {
                "name": "a.example.com",
                "clientConfig": {"url": "https://h/x"},
                "admissionReviewVersions": ["v1"],
                "sideEffects": "None",
                "rules": WEBHOOK_RULES,
                "matchConditions": [{"name": "m", "expression": "true"}],
            }
        ],
    },
    "customresourcedefinitions": {
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com",
            "names": {"kind": "Widget", "plural": "widgets"},
            "scope": "Namespaced",
            "versions": [VERSION],
        },
    },
    "widgets": {
        "apiVersion": "example.com/v1",
        "kind": "Widget",
        "metadata": {"name": "x", "labels": LABELS, "finalizers": ["a/b"]},
        "spec": {"size": 3, "parts": [{"k": "a"}], "free": {"a": "b"}},
    },
}
CLUSTER_WIDE = {
    "namespaces",
    "nodes",
    "persistentvolumes",
    "validatingwebhookconfigurations",
    "customresourcedefinitions",
}
GROUPS = {
    "deployments": "apps",
    "statefulsets": "apps",
    "jobs": "batch",
    "cronjobs": "batch",
    "horizontalpodautoscalers": "autoscaling",
    "ingresses": "networking.k8s.io",
    "networkpolicies": "networking.k8s.io",
    "roles": "rbac.authorization.k8s.io",
    "leases": "coordination.k8s.io",
    "validatingwebhookconfigurations": "admissionregistration.k8s.io",
    "customresourcedefinitions": "apiextensions.k8s.io",
    "widgets": "example.com",
}


def paths(value: Any, path: Path = ()) -> Iterator[Path]:
    if path:
        yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield from paths(one, (*path, key))


def damaged(obj: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    found = copy.deepcopy(obj)
    for _ in range(chance.choice((1, 1, 2))):
        path = chance.choice(list(paths(found)) or [("metadata",)])
        parent: Any = found
        for key in path[:-1]:
            parent = parent[key]
        if chance.random() < 0.1 and path in set(paths(found)):
            del parent[path[-1]]
            continue
        now = parent[path[-1]] if path in set(paths(found)) else None
        like = [one for one in WRONG if type(one) is type(now)]
        parent[path[-1]] = copy.deepcopy(chance.choice(like if like and chance.random() < 0.7 else WRONG))
    return found


def pointer(path: Path) -> str:
    return "".join("/" + str(key).replace("~", "~0").replace("/", "~1") for key in path)


def patch_of(obj: dict[str, Any], chance: random.Random) -> list[dict[str, Any]]:
    places = [pointer(path) for path in paths(obj)] + ["", "/", "a", "/spec/-", "/metadata/name/x", "/~2"]
    verbs = ("add", "remove", "replace", "move", "copy", "test", "nope")
    return [
        {
            "op": chance.choice(verbs),
            "path": chance.choice(places),
            "from": chance.choice(places),
            "value": copy.deepcopy(chance.choice(WRONG)),
        }
        for _ in range(chance.choice((1, 2)))
    ]


async def problem(server: Server, verb: str, plural: str, body: Any, **more: Any) -> str:
    """What is wrong with the answer: "" for one that a client can be given."""
    data = json.dumps(body).encode()
    namespace = "" if plural in CLUSTER_WIDE else "default"
    given = {"group": GROUPS.get(plural, ""), "namespace": namespace, "dryRun": "All", **more}
    try:
        await server.call(verb, plural, body=data, **given)
    except StatusError as error:
        text = error.message
        if error.code >= 500 or any(one in text and one not in str(body) for one in PYTHONS):
            return f"{verb} {plural} {given}: {error.code} {text[:300]}\n  {data.decode()[:500]}"
    return ""


@pytest.mark.parametrize("plural", OBJECTS)
async def test_no_damage_is_answered_with_a_500(server: Server, plural: str) -> None:
    chance = random.Random(plural)
    if plural == "widgets":
        await server.call(
            "create", "customresourcedefinitions", body=OBJECTS["customresourcedefinitions"], namespace=""
        )
        for _ in range(50):
            try:
                await server.call("list", "widgets", group="example.com")
                break
            except StatusError:
                await server.system.clock.sleep(0.1)
    whole = OBJECTS[plural]
    name = whole["metadata"]["name"]
    namespace = "" if plural in CLUSTER_WIDE else "default"
    await server.call("create", plural, body=whole, group=GROUPS.get(plural, ""), namespace=namespace)
    wrong = []
    for _ in range(PER_OBJECT):
        bad = damaged(whole, chance)
        wrong.append(await problem(server, "create", plural, bad))
        wrong.append(await problem(server, "update", plural, bad, name=name))
        for kind, type_ in TYPES.items():
            more = {"fieldManager": "m", "force": "true"} if kind == "apply" else {}
            sub = chance.choice(("", "", "status"))
            wrong.append(
                await problem(server, "patch", plural, bad, name=name, content_type=type_, subresource=sub, **more)
            )
        body, type_ = patch_of(whole, chance), "application/json-patch+json"
        wrong.append(await problem(server, "patch", plural, body, name=name, content_type=type_))
    found = [one for one in wrong if one]
    assert not found, "\n".join(["", *found[:5]])
