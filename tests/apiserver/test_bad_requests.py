"""Bad requests of every sort: verbs, paths, bodies, patches, selectors, options, versions, encodings, sizes.

Each has the code and reason that a real API server gives, and a part of its message; none is ever a 500, and the server
answers as before when all are done. A row: method, path, body, headers, code, reason, part of the message.
"""

import asyncio
import gzip
import io
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import aiohttp
import pytest

from kubeloop.actors.apiserver import limits
from kubeloop.actors.apiserver.http import HttpServer
from kubeloop.actors.apiserver.messages import Request, WatchEvent, WatchRequest
from tests.apiserver.conftest import ADMIN, Recorder, Server

Row = tuple[str, str, Any, dict[str, str], int, str, str]
V1, NAMESPACED = "/api/v1", "/api/v1/namespaces/default"
MAPS, PODS = f"{NAMESPACED}/configmaps", f"{NAMESPACED}/pods"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
WIDGETS = "/apis/example.com/v1/namespaces/default/widgets"
NONE: dict[str, str] = {}
NO_SUCH = "the server could not find the requested resource"
NOT_ALLOWED = "the server does not allow this method on the requested resource"
JSON_PATCH = {"Content-Type": "application/json-patch+json"}
MERGE = {"Content-Type": "application/merge-patch+json"}
STRATEGIC = {"Content-Type": "application/strategic-merge-patch+json"}
APPLY = {"Content-Type": "application/apply-patch+yaml"}
YAML = {"Content-Type": "application/yaml"}
PROTOBUF = {"Content-Type": "application/vnd.kubernetes.protobuf"}


def not_found(method: str, path: str, message: str = NO_SUCH, body: Any = None) -> Row:
    return (method, path, body, NONE, 404, "NotFound", message)


def not_allowed(method: str, path: str, message: str = NOT_ALLOWED) -> Row:
    return (method, path, None, NONE, 405, "MethodNotAllowed", message)


def bad(method: str, path: str, body: Any, message: str, headers: dict[str, str] = NONE) -> Row:
    return (method, path, body, headers, 400, "BadRequest", message)


def invalid(method: str, path: str, body: Any, message: str, headers: dict[str, str] = NONE) -> Row:
    return (method, path, body, headers, 422, "Invalid", message)


def named(**more: Any) -> dict[str, Any]:
    return {"metadata": {"name": "new"}, **more}


def definition_with(schema: dict[str, Any]) -> dict[str, Any]:
    """A definition whose field `a` has this schema."""
    whole = {"type": "object", "properties": {"a": {"type": "object", **schema}}}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": whole}}
    names = {"kind": "Other", "plural": "others"}
    spec = {"group": "example.com", "names": names, "scope": "Namespaced", "versions": [version]}
    return {"metadata": {"name": "others.example.com"}, "spec": spec}


PATHS: Sequence[Row] = [
    not_found("GET", f"{V1}/unheards"),
    not_found("GET", f"{NAMESPACED}/unheards/x"),
    not_found("GET", f"{NAMESPACED}/nodes"),
    not_found("GET", f"{NAMESPACED}/nodes/n"),
    not_found("GET", f"{V1}/pods/p"),
    not_found("PUT", f"{V1}/configmaps/a", body={}),
    not_found("DELETE", f"{V1}/configmaps/a"),
    not_found("GET", f"{MAPS}/a/unheard"),
    not_found("GET", f"{MAPS}/a/status"),
    not_found("GET", f"{PODS}/p/status/deeper"),
    not_found("GET", f"{PODS}/p/scale"),
    not_found("GET", f"{DEPLOYMENTS}/d/unheard"),
    not_found("GET", "/api/v2/namespaces/default/pods"),
    not_found("GET", "/api/v2"),
    not_found("GET", "/apis/apps/v9/deployments"),
    not_found("GET", "/apis/apps/v9"),
    not_found("GET", "/apis/apps/v1beta1/namespaces/default/deployments"),
    not_found("GET", "/apis/batch/v1/namespaces/default/pods"),
    not_found("POST", "/apis/apps/v1/namespaces/default/pods", body={}),
    not_found("GET", "/version/deeper"),
    not_found("GET", "/apis/authentication.k8s.io/v1/tokenreviews/x"),
    not_found("GET", f"{NAMESPACED}/bindings/x"),
    not_found("GET", f"{MAPS}/absent", 'configmaps "absent" not found'),
    not_found("GET", f"{V1}/namespaces/absent", 'namespaces "absent" not found'),
    not_found("GET", f"{V1}/nodes/absent", 'nodes "absent" not found'),
    not_found("GET", f"{PODS}/absent/log", 'pods "absent" not found'),
    not_found("GET", f"{DEPLOYMENTS}/absent/scale", 'deployments.apps "absent" not found'),
    not_found("GET", f"{DEPLOYMENTS}/absent/status", 'deployments.apps "absent" not found'),
    not_found("DELETE", f"{DEPLOYMENTS}/absent", 'deployments.apps "absent" not found'),
    not_found("GET", f"{MAPS}/a%22b", 'configmaps "a\\"b" not found'),
    not_found("GET", f"{WIDGETS}/absent", 'widgets.example.com "absent" not found'),
    not_found("GET", f"{WIDGETS}/w/unheard", 'widgets.example.com "w" not found'),
    not_found("POST", f"{V1}/namespaces/absent/configmaps", 'namespaces "absent" not found', body=named()),
    not_allowed("POST", f"{MAPS}/a"),
    not_allowed("PUT", MAPS),
    not_allowed("PATCH", MAPS),
    not_allowed("POST", f"{V1}/configmaps"),
    not_allowed("DELETE", f"{V1}/secrets"),
    not_allowed("DELETE", f"{V1}/namespaces"),
    not_allowed("POST", f"{DEPLOYMENTS}/d/status"),
    not_allowed("DELETE", f"{DEPLOYMENTS}/d/status"),
    not_allowed("POST", f"{DEPLOYMENTS}/d/scale"),
    not_allowed("DELETE", f"{DEPLOYMENTS}/d/scale"),
    not_allowed("GET", f"{PODS}/p/eviction"),
    not_allowed("GET", f"{PODS}/p/binding"),
    not_allowed("POST", f"{PODS}/p/log"),
    not_allowed("GET", f"{V1}/namespaces/default/finalize"),
    not_allowed("GET", "/apis/authentication.k8s.io/v1/tokenreviews"),
    not_allowed("GET", f"{NAMESPACED}/serviceaccounts/default/token"),
    not_allowed("POST", f"{V1}/componentstatuses"),
    not_allowed("POST", "/apis"),
    not_allowed("POST", "/apis/apps"),
    not_allowed("PUT", "/apis/apps/v1"),
    not_allowed("DELETE", "/api"),
    not_allowed("POST", "/version"),
    not_allowed("OPTIONS", MAPS),
    not_allowed("TRACE", MAPS),
    not_allowed("BREW", MAPS),
    not_allowed("PROPFIND", f"{MAPS}/a"),
    not_allowed("POST", f"{V1}/watch/configmaps"),
]

GO_STRUCT = "json: cannot unmarshal {} into Go struct field {}"
BODIES: Sequence[Row] = [
    bad("POST", MAPS, b"", "unexpected end of JSON input (<empty>)"),
    bad("POST", MAPS, b"   ", "unexpected end of JSON input"),
    bad("POST", MAPS, b"plain", "invalid character 'p' looking for beginning of value"),
    bad("POST", MAPS, b'{"a":1', "unexpected end of JSON input"),
    bad("POST", MAPS, b'{"a" 1}', "invalid character '1' after object key"),
    bad("POST", MAPS, b'{"a":1,}', "invalid character '}' looking for beginning of object key string"),
    bad("POST", MAPS, b"{'a':1}", "invalid character '\\'' looking for beginning of object key string"),
    bad("POST", MAPS, b'{"a":01}', "invalid character '1' after object key:value pair"),
    bad("POST", MAPS, b'{"a":"\n"}', "invalid character '\\n' in string literal"),
    bad("POST", MAPS, b'{"a":"\\x"}', "invalid character 'x' in string escape code"),
    bad("POST", MAPS, b"{} {}", "invalid character '{' after top-level value"),
    bad("POST", MAPS, b"[]", "cannot unmarshal array into Go value of type struct"),
    bad("POST", MAPS, b'"text"', "cannot unmarshal string into Go value of type struct"),
    bad("POST", MAPS, b"7", "cannot unmarshal number into Go value of type struct"),
    bad("POST", MAPS, b"true", "cannot unmarshal bool into Go value of type struct"),
    bad("POST", MAPS, b"\xff\xfe", "unrecognized"),
    bad("POST", MAPS, b"[" * 20_000, "exceeded max depth"),
    bad("POST", MAPS, b'{"data":' * 20_000, "exceeded max depth"),
    bad("POST", MAPS, {"metadata": 7}, "json: cannot unmarshal number into Go struct field ConfigMap.metadata"),
    bad("POST", MAPS, {"metadata": {"name": 7}}, "json: cannot unmarshal number into Go struct field"),
    bad("POST", MAPS, {"metadata": {"labels": ["a"]}}, "json: cannot unmarshal array into Go struct field"),
    bad("POST", MAPS, {"metadata": {"labels": {"a": 1}}}, "json: cannot unmarshal number into Go struct field"),
    bad("POST", MAPS, {"data": {"k": 1}}, "json: cannot unmarshal number into Go struct field ConfigMap.data"),
    bad("POST", MAPS, {"data": "text"}, "json: cannot unmarshal string into Go struct field ConfigMap.data"),
    bad("POST", MAPS, {"binaryData": {"k": "not base64!"}}, "illegal base64 data at input byte"),
    bad("POST", MAPS, {"immutable": "yes"}, "json: cannot unmarshal string into Go struct field ConfigMap.immutable"),
    bad("POST", MAPS, {"metadata": {"creationTimestamp": "yesterday"}}, "parsing time"),
    bad("POST", DEPLOYMENTS, {"spec": {"replicas": "3"}}, "json: cannot unmarshal string into Go struct field"),
    bad("POST", DEPLOYMENTS, {"spec": {"replicas": 1.5}}, "json: cannot unmarshal number 1.5 into Go struct field"),
    bad("POST", DEPLOYMENTS, {"spec": {"replicas": 1 << 40}}, "json: cannot unmarshal number"),
    bad("POST", PODS, {"spec": {"containers": {}}}, "json: cannot unmarshal object into Go struct field"),
    bad("POST", PODS, {"spec": {"containers": [7]}}, "json: cannot unmarshal number into Go struct field"),
    bad(
        "POST",
        PODS,
        {"spec": {"containers": [{"resources": {"limits": {"cpu": "lots"}}}]}},
        "quantities must match the regular expression",
    ),
    bad("POST", MAPS, {"apiVersion": "v1", "kind": "Secret"}, "converting (v1.Secret) to (core.ConfigMap): unknown"),
    bad("POST", MAPS, {"apiVersion": "v9", "kind": "ConfigMap"}, 'no kind "ConfigMap" is registered for version "v9"'),
    bad("POST", MAPS, {"apiVersion": "v1", "kind": "Unheard"}, 'no kind "Unheard" is registered for version "v1"'),
    bad("POST", MAPS, {"apiVersion": "a/b/c"}, "unexpected GroupVersion string: a/b/c"),
    bad("POST", MAPS, {"apiVersion": 1}, "cannot unmarshal number into Go"),
    bad(
        "POST",
        DEPLOYMENTS,
        {"apiVersion": "apps/v1beta1", "kind": "Deployment"},
        "the API version in the data (apps/v1beta1) does not match the expected API version (apps/v1)",
    ),
    bad("POST", MAPS, {"metadata": {"name": "new", "namespace": "other"}}, "does not match the namespace sent"),
    bad("POST", MAPS, {"metadata": {"name": "new", "resourceVersion": "5"}}, "resourceVersion should not be set"),
    bad("POST", MAPS, b"a: [", "yaml: ", YAML),
    bad("POST", MAPS, b"a: b: c", "yaml: ", YAML),
    bad("POST", MAPS, b"- a\n- b\n", "cannot unmarshal", YAML),
    bad("POST", MAPS, b"\t", "yaml: ", YAML),
    bad("POST", MAPS, b"k8s", "does not appear to be a protobuf message", PROTOBUF),
    bad("POST", MAPS, b"k8s\x00\xff\xff", "", PROTOBUF),
    bad("POST", MAPS, b"k8s\x00" + b"\x0a\xff\xff\xff\x7f", "", PROTOBUF),
    bad("POST", WIDGETS, {"metadata": {"name": "x"}}, "Object 'Kind' is missing in"),
    bad("POST", WIDGETS, {"kind": "Widget", "apiVersion": "example.com/v2"}, "does not match the expected API version"),
    bad("PUT", f"{MAPS}/a", {}, "the name of the object (a based on URL) was undeterminable: name must be provided"),
    bad("PUT", f"{MAPS}/a", {"metadata": {"name": "b"}}, "does not match the name on the URL (a)"),
    bad("PUT", f"{MAPS}/a", {"metadata": {"name": "a", "namespace": "b"}}, "does not match the namespace sent"),
    bad("PUT", f"{DEPLOYMENTS}/d/scale", {}, "name must be provided"),
    bad("PUT", f"{DEPLOYMENTS}/d/scale", {"metadata": {"name": "x"}}, "does not match the name on the URL"),
    bad("POST", f"{PODS}/p/binding", {"metadata": {"name": "q"}}, "name in URL does not match name in Binding object"),
    bad("POST", f"{PODS}/p/eviction", {"metadata": {"name": "q"}}, "name in URL does not match name in Eviction"),
    bad("DELETE", f"{MAPS}/a", b"{", "unexpected end of JSON input"),
    bad("DELETE", f"{MAPS}/a", {"gracePeriodSeconds": "1"}, "DeleteOptions.gracePeriodSeconds of type int64"),
    bad("DELETE", f"{MAPS}/a", {"preconditions": 1}, "json: cannot unmarshal number into Go struct field"),
    bad("POST", f"{MAPS}?fieldValidation=Strict", named(unheard=1), 'strict decoding error: unknown field "unheard"'),
    bad("POST", f"{MAPS}?fieldValidation=Strict", b'{"data":{},"data":{}}', 'duplicate field "data"'),
    ("PUT", f"{MAPS}/absent", {"metadata": {"name": "absent"}}, NONE, 404, "NotFound", 'configmaps "absent" not found'),
    ("POST", MAPS, {"metadata": {"name": "a"}}, NONE, 409, "AlreadyExists", 'configmaps "a" already exists'),
    (
        "PUT",
        f"{MAPS}/a",
        {"metadata": {"name": "a", "resourceVersion": "1"}},
        NONE,
        409,
        "Conflict",
        "the object has been modified; please apply your changes to the latest version and try again",
    ),
    ("PUT", f"{MAPS}/a", {"metadata": {"name": "a", "uid": "x"}}, NONE, 409, "Conflict", "Precondition failed: UID"),
]

INVALID: Sequence[Row] = [
    invalid("POST", MAPS, {}, "metadata.name: Required value: name or generateName is required"),
    invalid("POST", MAPS, b"null", "name or generateName is required"),
    invalid("POST", MAPS, {"metadata": {"name": "Bad_"}}, "a lowercase RFC 1123 subdomain"),
    invalid("POST", MAPS, {"metadata": {"name": "x" * 254}}, "must be no more than 253"),
    invalid("POST", MAPS, {"metadata": {"name": "a/b"}}, "metadata.name: Invalid value"),
    invalid("POST", MAPS, {"metadata": {"generateName": "Bad_"}}, "metadata.generateName"),
    invalid("POST", MAPS, {"metadata": {"name": "x", "labels": {"-": "1"}}}, "metadata.labels"),
    invalid("POST", MAPS, {"metadata": {"name": "x", "labels": {"a": "b c"}}}, "a valid label must be"),
    invalid("POST", MAPS, {"metadata": {"name": "x", "annotations": {"a b": ""}}}, "metadata.annotations"),
    invalid("POST", MAPS, {"metadata": {"name": "x", "finalizers": ["plain"]}}, "is neither a standard finalizer"),
    invalid("POST", MAPS, {"metadata": {"name": "x", "ownerReferences": [{}]}}, "metadata.ownerReferences"),
    invalid("POST", MAPS, named(data={"a b": "1"}), "data[a b]: Invalid value"),
    invalid(
        "POST",
        MAPS,
        named(data={"k": "1"}, binaryData={"k": "YQ=="}),
        'data[k]: Invalid value: "k": duplicate of key present in binaryData',
    ),
    invalid("POST", f"{V1}/namespaces", {"metadata": {"name": "a.b"}}, "must not contain dots"),
    invalid("POST", f"{NAMESPACED}/services", named(spec={"ports": []}), "spec.ports: Required value"),
    invalid("POST", PODS, named(spec={"containers": []}), "spec.containers: Required value"),
    invalid("POST", DEPLOYMENTS, named(spec={}), "spec.selector: Required value"),
    invalid("POST", CRDS, {"metadata": {"name": "x.y.z"}, "spec": {}}, 'must be spec.names.plural+"."+spec.group'),
    invalid("POST", WIDGETS, {"apiVersion": "example.com/v1", "kind": "Gadget"}, "kind: Invalid value"),
    invalid(
        "POST",
        WIDGETS,
        {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "x"}, "spec": {"size": "big"}},
        'spec.size in body must be of type integer: "string"',
    ),
    invalid(
        "PUT",
        f"{WIDGETS}/w",
        {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"}},
        "metadata.resourceVersion: Invalid value: 0: must be specified for an update",
    ),
    invalid("PUT", f"{DEPLOYMENTS}/d/scale", {"metadata": {"name": "d"}, "spec": {"replicas": -1}}, "spec.replicas"),
    invalid("POST", f"{PODS}/p/binding", {}, "target.name: Required value"),
    invalid("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", {"spec": {}}, "exactly one of"),
]

WRITE_OPTIONS: Sequence[Row] = [
    invalid("POST", f"{MAPS}?dryRun=Some", named(), 'dryRun: Unsupported value: "Some": supported values: "All"'),
    invalid("POST", f"{MAPS}?dryRun=", named(), "dryRun: Unsupported value"),
    invalid("PUT", f"{MAPS}/a?dryRun=all", named(), "dryRun: Unsupported value"),
    invalid("POST", f"{MAPS}?fieldValidation=strict", named(), "fieldValidation: Unsupported value"),
    invalid("POST", f"{MAPS}?fieldManager=" + "x" * 129, named(), "fieldManager: Too long"),
    invalid("POST", f"{MAPS}?fieldManager=a%00b", named(), "should only contain printable characters"),
    invalid("PATCH", f"{MAPS}/a?force=true", {}, "force: Forbidden: may not be specified for non-apply patch", MERGE),
    invalid("PATCH", f"{MAPS}/a", {}, "fieldManager: Required value: is required for apply patch", APPLY),
    invalid("DELETE", f"{MAPS}/a?propagationPolicy=Slowly", None, "propagationPolicy: Unsupported value"),
    invalid("DELETE", f"{MAPS}/a?propagationPolicy=", None, "propagationPolicy: Unsupported value"),
    invalid(
        "DELETE",
        f"{MAPS}/a?propagationPolicy=Orphan&orphanDependents=true",
        None,
        "orphanDependents and deletionPropagation cannot be both set",
    ),
    invalid("DELETE", f"{MAPS}/a", {"dryRun": ["Some"]}, "dryRun: Unsupported value"),
    bad("DELETE", f"{MAPS}/a?gracePeriodSeconds=soon", None, 'strconv.ParseInt: parsing "soon": invalid syntax'),
    bad("DELETE", f"{MAPS}/a?gracePeriodSeconds=", None, 'strconv.ParseInt: parsing "": invalid syntax'),
    ("DELETE", f"{MAPS}/a", {"preconditions": {"uid": "x"}}, NONE, 409, "Conflict", "UID in the precondition (x)"),
    ("DELETE", f"{MAPS}/a?uid=x", None, NONE, 409, "Conflict", "UID in the precondition (x)"),
    (
        "DELETE",
        f"{MAPS}/a",
        {"preconditions": {"resourceVersion": "1"}},
        NONE,
        409,
        "Conflict",
        "the ResourceVersion in the precondition (1) does not match",
    ),
]

REJECTED = "the server rejected our request due to an error in our request"
PATCHES: Sequence[Row] = [
    ("PATCH", f"{MAPS}/a", {}, {"Content-Type": "application/json"}, 415, "UnsupportedMediaType", "415"),
    ("PATCH", f"{MAPS}/a", {}, {"Content-Type": "text/plain"}, 415, "UnsupportedMediaType", "415"),
    ("PATCH", f"{WIDGETS}/w", {}, STRATEGIC, 415, "UnsupportedMediaType", "accepted media types include"),
    ("PATCH", f"{MAPS}/absent", {}, MERGE, 404, "NotFound", 'configmaps "absent" not found'),
    ("PATCH", f"{MAPS}/absent", [], JSON_PATCH, 404, "NotFound", 'configmaps "absent" not found'),
    bad("PATCH", f"{MAPS}/a", b"", "unexpected end of JSON input", MERGE),
    bad("PATCH", f"{MAPS}/a", b"{", "unexpected end of JSON input", MERGE),
    bad("PATCH", f"{MAPS}/a", b"[]", "cannot unmarshal array into Go value of type map", MERGE),
    bad("PATCH", f"{MAPS}/a", b'"x"', "cannot unmarshal string into Go value of type map", MERGE),
    bad("PATCH", f"{MAPS}/a", b"7", "cannot unmarshal number into Go value of type map", STRATEGIC),
    bad("PATCH", f"{MAPS}/a", b"{", "unexpected end of JSON input", STRATEGIC),
    bad("PATCH", f"{MAPS}/a", b'{"a":' * 20_000, "exceeded max depth", MERGE),
    bad("PATCH", f"{MAPS}/a", {"metadata": {"name": "b"}}, "does not match the name on the URL", MERGE),
    bad("PATCH", f"{MAPS}/a", {"metadata": {"namespace": "b"}}, "does not match the namespace", MERGE),
    bad("PATCH", f"{MAPS}/a", {"metadata": {"$patch": "unheard"}}, "", STRATEGIC),
    invalid("PATCH", f"{MAPS}/a", {"data": {"k": 1}}, "patch: Invalid value", MERGE),
    invalid("PATCH", f"{MAPS}/a", {"metadata": 7}, "", MERGE),
    invalid("PATCH", f"{MAPS}/a", {"kind": "Secret"}, "patch: Invalid value", MERGE),
    invalid("PATCH", f"{MAPS}/a", {"metadata": {"labels": {"a": "b c"}}}, "a valid label must be", MERGE),
    invalid("PATCH", f"{MAPS}/a", {"metadata": {"labels": {"a": "b c"}}}, "a valid label must be", STRATEGIC),
    invalid("PATCH", f"{MAPS}/a", {"metadata": {"uid": "x"}}, "", MERGE),
    ("PATCH", f"{MAPS}/a", {"metadata": {"resourceVersion": "1"}}, MERGE, 409, "Conflict", "has been modified"),
    bad(
        "PATCH", f"{MAPS}/a", b"{}", "cannot unmarshal object into Go value of type []handlers.jsonPatchOp", JSON_PATCH
    ),
    invalid("PATCH", f"{MAPS}/a", b"[7]", REJECTED, JSON_PATCH),
    bad("PATCH", f"{MAPS}/a", b"[", "unexpected end of JSON input", JSON_PATCH),
    invalid("PATCH", f"{MAPS}/a", [{"op": "unheard", "path": "/a"}], REJECTED, JSON_PATCH),
    invalid("PATCH", f"{MAPS}/a", [{"op": "remove", "path": "/absent"}], "", JSON_PATCH),
    invalid("PATCH", f"{MAPS}/a", [{"op": "replace", "path": "/absent/b", "value": 1}], "", JSON_PATCH),
    invalid("PATCH", f"{MAPS}/a", [{"op": "test", "path": "/data/k", "value": "other"}], "", JSON_PATCH),
    invalid("PATCH", f"{MAPS}/a", [{"op": "add", "path": "no slash", "value": 1}], "", JSON_PATCH),
    invalid("PATCH", f"{MAPS}/a", [{"op": "move", "from": "/absent", "path": "/data"}], "", JSON_PATCH),
    invalid("PATCH", f"{MAPS}/a", [{"op": "copy", "from": "/absent", "path": "/data"}], "", JSON_PATCH),
    (
        "PATCH",
        f"{MAPS}/a",
        [{"op": "test", "path": "/x", "value": 1}] * (limits.patch_operations_max + 1),
        JSON_PATCH,
        413,
        "RequestEntityTooLarge",
        "The allowed maximum operations in a JSON patch is 10000, got 10001",
    ),
    bad("PATCH", f"{MAPS}/a?fieldManager=m", b"a: [", "error decoding YAML", APPLY),
    bad("PATCH", f"{MAPS}/a?fieldManager=m", b"7", "", APPLY),
    bad("PATCH", f"{MAPS}/a?fieldManager=m", {"metadata": {"name": "b"}}, "", APPLY),
    bad("PATCH", f"{DEPLOYMENTS}/d/scale", b"{", "unexpected end of JSON input", MERGE),
    invalid("PATCH", f"{DEPLOYMENTS}/d/scale", {"spec": {"replicas": "x"}}, "patch: Invalid value", MERGE),
    invalid("PATCH", f"{DEPLOYMENTS}/d/scale", {"spec": {"replicas": -1}}, "spec.replicas: Invalid value: -1", MERGE),
    invalid("PATCH", f"{DEPLOYMENTS}/d/status", {"status": {"replicas": -1}}, "status.replicas: Invalid value", MERGE),
    invalid("PATCH", f"{DEPLOYMENTS}/d/status", {"status": 7}, "", MERGE),
    invalid("PATCH", f"{WIDGETS}/w", {"spec": {"size": "big"}}, "must be of type integer", MERGE),
    invalid("PATCH", f"{WIDGETS}/w", [{"op": "remove", "path": "/absent"}], "", JSON_PATCH),
    bad(
        "PATCH",
        f"{MAPS}/a?fieldValidation=Strict",
        {"unheard": 1},
        'strict decoding error: unknown field "unheard"',
        STRATEGIC,
    ),
]

SELECTORS: Sequence[Row] = [
    *(
        bad("GET", f"{MAPS}?labelSelector={selector}", None, "")
        for selector in (
            "a%20in",
            "a%20in%20b",
            "a%20in%20(b",
            "a%20in%20()%20c",
            "a%20notin",
            "a==b==c",
            "%21",
            "a%3D%3D%3Db",
            "(a)",
            "a%20b",
            "a%3Eb",
            "a%3C",
            "-a",
            "a%3D-b",
            "a%2Fb%2Fc",
            "%2Ca%2C%2C",
        )
    ),
    bad("GET", f"{MAPS}?fieldSelector=spec.x%3D1", None, "is not a known field selector"),
    bad("GET", f"{PODS}?fieldSelector=spec.unheard%3D1", None, "field label not supported: spec.unheard"),
    bad("GET", f"{MAPS}?fieldSelector=metadata.name", None, "invalid selector"),
    bad("GET", f"{MAPS}?fieldSelector=%3D", None, ""),
    bad("GET", f"{MAPS}?fieldSelector=metadata.uid%3Dx", None, "is not a known field selector"),
    bad("GET", f"{DEPLOYMENTS}?fieldSelector=status.x%3D1", None, ""),
    bad("GET", f"{WIDGETS}?fieldSelector=spec.size%3D1", None, "field label not supported: spec.size"),
    bad("DELETE", f"{MAPS}?labelSelector=a%20in", None, ""),
    bad("DELETE", f"{MAPS}?fieldSelector=x%3D1", None, "is not a known field selector"),
    bad("GET", f"{MAPS}?watch=1&labelSelector=a%20in", None, ""),
    bad("GET", f"{MAPS}?watch=1&fieldSelector=x%3D1", None, "is not a known field selector"),
]


def list_only(query: str, message: str) -> Row:
    return invalid("GET", f"{MAPS}?{query}", None, message)


LISTS: Sequence[Row] = [
    bad("GET", f"{MAPS}?limit=x", None, 'strconv.ParseInt: parsing "x": invalid syntax'),
    bad("GET", f"{MAPS}?limit=", None, 'strconv.ParseInt: parsing "": invalid syntax'),
    bad("GET", f"{MAPS}?limit=1.5", None, 'strconv.ParseInt: parsing "1.5": invalid syntax'),
    bad("GET", f"{MAPS}?limit=1_0", None, "invalid syntax"),
    bad("GET", f"{MAPS}?limit=99999999999999999999", None, "value out of range"),
    bad("GET", f"{MAPS}?limit=" + "9" * 5000, None, "value out of range"),
    bad("GET", f"{MAPS}?timeoutSeconds=soon", None, 'strconv.ParseInt: parsing "soon": invalid syntax'),
    bad("GET", f"{MAPS}?timeoutSeconds=", None, 'strconv.ParseInt: parsing "": invalid syntax'),
    bad("GET", f"{MAPS}?watch=1&timeoutSeconds=", None, 'strconv.ParseInt: parsing "": invalid syntax'),
    bad("GET", f"{MAPS}?resourceVersion=abc", None, 'strconv.ParseUint: parsing "abc": invalid syntax'),
    bad("GET", f"{MAPS}?resourceVersion=-1", None, "invalid syntax"),
    bad("GET", f"{MAPS}?resourceVersion=" + "9" * 30, None, "value out of range"),
    bad("GET", f"{MAPS}/a?resourceVersion=abc", None, "invalid syntax"),
    bad("GET", f"{MAPS}?watch=1&resourceVersion=abc", None, "invalid syntax"),
    bad("GET", f"{MAPS}?continue=junk", None, "invalid continue token: continue key is not valid"),
    bad("GET", f"{MAPS}?continue=a%20b", None, "illegal base64 data at input byte 1"),
    bad("GET", f"{MAPS}?continue=e30", None, "server does not recognize this encoded version"),
    bad("GET", f"{MAPS}?limit=1&continue=%FF", None, "illegal base64 data at input byte 0"),
    (
        "GET",
        f"{MAPS}?resourceVersion=99999999",
        None,
        NONE,
        504,
        "Timeout",
        "Too large resource version: 99999999, current: ",
    ),
    list_only("resourceVersionMatch=Exact", "resourceVersionMatch is forbidden unless resourceVersion is provided"),
    list_only("resourceVersionMatch=NotOlderThan", "is forbidden unless resourceVersion is provided"),
    list_only("resourceVersion=0&resourceVersionMatch=Exact", 'resourceVersionMatch "exact" is forbidden'),
    list_only("resourceVersion=1&resourceVersionMatch=Near", "resourceVersionMatch: Unsupported value"),
    list_only("continue=x&resourceVersion=1&resourceVersionMatch=Exact", "is forbidden when continue is provided"),
    list_only("sendInitialEvents=true", "sendInitialEvents is forbidden for list"),
    list_only("watch=1&sendInitialEvents=true", "sendInitialEvents requires setting resourceVersionMatch"),
    list_only("watch=1&resourceVersionMatch=NotOlderThan", "is forbidden for watch unless sendInitialEvents"),
    list_only("watch=1&sendInitialEvents=true&resourceVersionMatch=Exact", "resourceVersionMatch"),
    list_only("watch=1&continue=x", "resourceVersionMatch is forbidden when continue is provided"),
    not_allowed("GET", "/apis/authorization.k8s.io/v1/subjectaccessreviews?watch=1"),
]

AS = "application/json;as={};g=meta.k8s.io;v=v1"
TABLE, ONE, LIST = (AS.format(kind) for kind in ("Table", "PartialObjectMetadata", "PartialObjectMetadataList"))
ACCEPTED = "accepted media types include"
ENCODINGS: Sequence[Row] = [
    *(
        ("POST", MAPS, named(), {"Content-Type": type_}, 415, "UnsupportedMediaType", ACCEPTED)
        for type_ in (
            "text/plain",
            "text/html",
            "application/xml",
            "application/octet-stream",
            "application/x-www-form-urlencoded",
            "application/merge-patch+json",
            "multipart/form-data; boundary=x",
            ";;",
            "application/jsonx",
        )
    ),
    ("POST", WIDGETS, b"k8s\x00", PROTOBUF, 415, "UnsupportedMediaType", ACCEPTED),
    ("PUT", f"{MAPS}/a", named(), {"Content-Type": "text/plain"}, 415, "UnsupportedMediaType", ACCEPTED),
    ("DELETE", f"{MAPS}/a", {}, {"Content-Type": "text/plain"}, 415, "UnsupportedMediaType", ACCEPTED),
    *(
        ("GET", path, None, {"Accept": accept}, 406, "NotAcceptable", "")
        for path in (MAPS, f"{MAPS}/a", "/apis", "/apis/apps", "/apis/apps/v1", "/api/v1")
        for accept in ("application/xml", "text/plain;q=0.5, image/*")
    ),
    ("GET", MAPS, None, {"Accept": "application/json;as=Tree;g=meta.k8s.io;v=v1"}, 406, "NotAcceptable", ""),
    ("GET", MAPS, None, {"Accept": "application/json;as=Table;g=other;v=v1"}, 406, "NotAcceptable", ""),
    ("GET", MAPS, None, {"Accept": "application/json;as=Table;g=meta.k8s.io;v=v9"}, 406, "NotAcceptable", ""),
    (
        "GET",
        MAPS,
        None,
        {"Accept": ONE},
        406,
        "NotAcceptable",
        "is a list (*core.ConfigMapList)",
    ),
    ("GET", f"{MAPS}/a", None, {"Accept": LIST}, 406, "NotAcceptable", "is not a list type (*core.ConfigMap)"),
    invalid("GET", f"{MAPS}?includeObject=All", None, "includeObject: Invalid value", {"Accept": TABLE}),
    ("GET", f"{MAPS}?watch=1", None, {"Accept": "application/xml"}, 406, "NotAcceptable", "stream=watch"),
    bad("POST", MAPS, b"{}", "content-encoding: gzip", {"Content-Encoding": "gzip"}),
    bad("POST", MAPS, gzip.compress(b"{}")[:9], "", {"Content-Encoding": "gzip"}),
    ("POST", MAPS, b" " * (limits.request_body_bytes_max + 1), NONE, 413, "RequestEntityTooLarge", "limit is 3145728"),
    *(
        ("GET", MAPS, None, {"Authorization": token}, 401, "Unauthorized", "Unauthorized")
        for token in ("Bearer wrong", "Bearer a.b.c", "Bearer " + "x" * 9000, "Bearer \xe9", "Bearer ..")
    ),
]

WIDGET = {"apiVersion": "example.com/v1", "kind": "Widget"}
AS_WIDGET = 'Widget in version "v1" cannot be handled as a Widget: '
UNREADABLE: Sequence[tuple[Any, str]] = [
    ("x", "json: cannot unmarshal string into Go value of type v1.ObjectMeta"),
    ([None], "json: cannot unmarshal array into Go value of type v1.ObjectMeta"),
    ({"name": 5}, "json: cannot unmarshal number into Go struct field ObjectMeta.name of type string"),
    ({"name": "w", "uid": {}}, "json: cannot unmarshal object into Go struct field ObjectMeta.uid of type string"),
    ({"name": "w", "creationTimestamp": "x"}, 'parsing time "x" as "2006-01-02T15:04:05Z07:00": cannot parse "x"'),
]
UNKNOWN = {**WIDGET, "metadata": {"name": "w", "bogus": 1}}
CUSTOM: Sequence[Row] = [
    *(bad("POST", WIDGETS, {**WIDGET, "metadata": given}, AS_WIDGET + text) for given, text in UNREADABLE),
    *(bad("PUT", f"{WIDGETS}/w", {**WIDGET, "metadata": given}, AS_WIDGET + text) for given, text in UNREADABLE),
    *(invalid("PATCH", f"{WIDGETS}/w", {"metadata": given}, text, MERGE) for given, text in UNREADABLE),
    *(
        bad("PATCH", f"{WIDGETS}/w?fieldManager=m", {**WIDGET, "metadata": given}, text, APPLY)
        for given, text in UNREADABLE
    ),
    bad("POST", f"{WIDGETS}?fieldValidation=Strict", UNKNOWN, 'strict decoding error: unknown field "metadata.bogus"'),
    bad(
        "PATCH", f"{WIDGETS}/w?fieldManager=m", UNKNOWN, "object (/w; example.com/v1, Kind=Widget): .metadata.b", APPLY
    ),
    bad("PATCH", f"{MAPS}/a?fieldManager=m", {"kind": "ConfigMap", "metadata": 1}, "object (/; /, Kind=", APPLY),
    bad("PATCH", f"{MAPS}/a?fieldManager=m", {"kind": {"a": None}}, "cannot unmarshal object into Go struct", APPLY),
    bad("PATCH", f"{PODS}/p", {"spec": {"$patch": {"a": None}}}, 'unknown patch type: {"a":null} in map', STRATEGIC),
    bad(
        "POST", CRDS, definition_with({"items": {"type": 5}}), "cannot unmarshal number into Go struct field JSONSchem"
    ),
    bad("POST", CRDS, definition_with({"additionalProperties": "x"}), "boolean or JSON schema expected"),
    invalid("POST", f"{V1}/namespaces", {"metadata": {}}, "name or generateName is required"),
    invalid("PATCH", f"{CRDS}/widgets.example.com", {"spec": {"names": None}}, "spec.names.kind: Required", MERGE),
    *(
        bad("PATCH", f"{WIDGETS}/w?fieldManager=m", {**WIDGET, "metadata": {"name": "w"}, **more}, text, APPLY)
        for more, text in (
            ({"unheard": 1}, "(/w; example.com/v1, Kind=Widget): .unheard: field not declared in schema"),
            ({"spec": {"unheard": 1}}, ".spec.unheard: field not declared in schema"),
            ({"spec": "x"}, ".spec: expected map, got &{x}"),
            ({"spec": [1, "a"]}, ".spec: expected map, got &{[1 a]}"),
            ({"spec": {"size": "x"}}, ".spec.size: expected numeric (int or float), got string"),
            ({"spec": {"size": {}}}, ".spec.size: expected numeric (int or float), got map[string]interface {}"),
            ({"spec": {"word": 5}}, ".spec.word: expected string, got &value.valueUnstructured{Value:5}"),
            ({"spec": {"flag": "x"}}, ".spec.flag: expected boolean, got &{x}"),
            ({"spec": {"parts": {}}}, ".spec.parts: expected list, got &{map[]}"),
            ({"spec": {"parts": ["x"]}}, ".spec.parts: element 0: associative list with keys may not have non-map"),
            ({"spec": {"parts": [{}]}}, 'omits key field "k" (and doesn\'t have default value)'),
            ({"spec": {"parts": [{"k": "a", "z": 1}]}}, '.spec.parts[k="a"].z: field not declared in schema'),
        )
    ),
    invalid("POST", WIDGETS, {**WIDGET, "metadata": {"name": "n"}, "spec": {"parts": ["x"]}}, "spec.parts[0]"),
]

AREAS = {
    "paths": PATHS,
    "bodies": BODIES,
    "validation": INVALID,
    "write options": WRITE_OPTIONS,
    "patches": PATCHES,
    "selectors": SELECTORS,
    "lists": LISTS,
    "encodings": ENCODINGS,
    "custom resources": CUSTOM,
}
KEYED = {"type": "object", "required": ["k"], "properties": {"k": {"type": "string"}}}
FIELDS = {
    "size": {"type": "integer"},
    "word": {"type": "string"},
    "flag": {"type": "boolean"},
    "parts": {
        "type": "array",
        "items": KEYED,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["k"],
    },
}
CRD = {
    "metadata": {"name": "widgets.example.com"},
    "spec": {
        "group": "example.com",
        "names": {"kind": "Widget", "plural": "widgets"},
        "scope": "Namespaced",
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {"spec": {"type": "object", "properties": FIELDS}},
                    }
                },
            }
        ],
    },
}


@pytest.fixture
async def session(server: Server, http: HttpServer) -> AsyncIterator[aiohttp.ClientSession]:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    spec = {"selector": {"matchLabels": {"a": "b"}}, "template": template}
    await server.call("create", "customresourcedefinitions", body=CRD, namespace="")
    await server.call("create", "configmaps", body={"metadata": {"name": "a"}, "data": {"k": "v"}})
    await server.call("create", "pods", body={"metadata": {"name": "p"}, "spec": template["spec"]})
    await server.call("create", "deployments", body={"metadata": {"name": "d"}, "spec": spec})
    established = asyncio.Event()

    class Sink(Recorder):
        def on_event(self, event: WatchEvent) -> None:
            if event.object.status.conditions:
                established.set()

    request = Request("watch", "apiextensions.k8s.io", "v1", "customresourcedefinitions", user=ADMIN)
    await server.ref.ask(WatchRequest(request, Sink()))
    await established.wait()
    widget = {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"}}
    await server.call("create", "widgets", body=widget, group="example.com")
    connector = aiohttp.TCPConnector(force_close=True)  # a refused body is not read to its end
    async with aiohttp.ClientSession(f"http://127.0.0.1:{http.port}", connector=connector) as opened:
        yield opened


async def ask(session: aiohttp.ClientSession, row: Row) -> tuple[int, Any]:
    method, path, body, given = row[:4]
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"Authorization": "Bearer secret", **({"Content-Type": "application/json"} if data is not None else {})}
    async with session.request(
        method, path, data=None if data is None else io.BytesIO(data), headers={**headers, **given}
    ) as response:
        text = await response.text()
        return response.status, json.loads(text) if text.startswith("{") else text


def test_there_are_enough_of_them() -> None:
    assert sum(len(rows) for rows in AREAS.values()) >= 200


@pytest.mark.parametrize("area", AREAS)
async def test_each_is_refused_with_its_code_and_reason(session: aiohttp.ClientSession, area: str) -> None:
    wrong = []
    before = await ask(session, ("GET", MAPS, None, NONE, 200, "", ""))
    for row in AREAS[area]:
        code, answer = await ask(session, row)
        found = answer if isinstance(answer, dict) else {"message": answer}
        told = (found.get("kind"), found.get("code"), found.get("reason"))
        if (code, *told) != (row[4], "Status", row[4], row[5]) or row[6] not in found.get("message", ""):
            wrong.append(f"{row[0]} {row[1][:90]} {str(row[2])[:60]} {row[3]}: {code} {str(answer)[:300]}; {row[4:]}")
    assert not wrong, "\n".join(["", *wrong])
    assert await ask(session, ("GET", MAPS, None, NONE, 200, "", "")) == before
