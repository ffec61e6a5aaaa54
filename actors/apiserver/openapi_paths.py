"""The paths of a resource in an OpenAPI document: one operation a verb, with its kind and parameters."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kubeloop.actors.apiserver.openapi_schemas import META, SchemaWriter
from kubeloop.actors.apiserver.registry.catalog import Served

Operation = dict[str, Any]
PATCH_TYPES = (
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
)
_WRITE = ("dryRun", "fieldManager", "fieldValidation")
_LIST = (
    "allowWatchBookmarks",
    "continue",
    "fieldSelector",
    "labelSelector",
    "limit",
    "resourceVersion",
    "resourceVersionMatch",
    "sendInitialEvents",
    "timeoutSeconds",
    "watch",
)
_DELETE = ("dryRun", "gracePeriodSeconds", "orphanDependents", "propagationPolicy")
_PARAMETERS = {
    "post": _WRITE,
    "put": _WRITE,
    "patch": (*_WRITE, "force"),
    "delete": _DELETE,
    "list": _LIST,
    "deletecollection": (*_DELETE, *_LIST),
}
_TYPES = dict.fromkeys(("limit", "timeoutSeconds", "gracePeriodSeconds"), "integer") | dict.fromkeys(
    ("allowWatchBookmarks", "sendInitialEvents", "watch", "force", "orphanDependents"), "boolean"
)
# API verb -> (HTTP method, on one object, x-kubernetes-action)
_VERBS = {
    "create": ("post", False, "post"),
    "list": ("get", False, "list"),
    "deletecollection": ("delete", False, "deletecollection"),
    "get": ("get", True, "get"),
    "update": ("put", True, "put"),
    "patch": ("patch", True, "patch"),
    "delete": ("delete", True, "delete"),
}


class _Writer:
    """Operations of one resource, for OpenAPI 2 or 3."""

    def __init__(self, row: Served, writer: SchemaWriter, openapi: int) -> None:
        own = row.resource
        self.row, self.writer, self.openapi = row, writer, openapi
        self.gvk = {"group": own.group, "version": own.version, "kind": own.kind}
        self.base = f"/apis/{own.group}/{own.version}" if own.group else f"/api/{own.version}"

    def parameter(self, name: str, where: str = "query") -> Operation:
        type_ = {"type": _TYPES.get(name, "string")}
        found: Operation = {"name": name, "in": where}
        if where == "path":
            found["required"] = True
        return {**found, **type_} if self.openapi == 2 else {**found, "schema": type_}

    def operation(self, method: str, action: str, schema: str, gvk: Mapping[str, str], identifier: str) -> Operation:
        parameters = [self.parameter(name) for name in _PARAMETERS.get(action, ())]
        success = {"description": "OK", **self._content(schema)}
        found: Operation = {
            "operationId": identifier,
            "parameters": parameters,
            "responses": {"200": success, "401": {"description": "Unauthorized"}},
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": dict(gvk),
        }
        body = schema if method in ("post", "put") else f"{META}.DeleteOptions" if method == "delete" else ""
        if method == "patch":
            self._patch_body(found)
        elif body:
            self._body(found, body)
        return found

    def _content(self, schema: str) -> Operation:
        if not schema:
            return {}
        reference = self.writer.reference(schema)
        return {"schema": reference} if self.openapi == 2 else {"content": {"application/json": {"schema": reference}}}

    def _body(self, operation: Operation, schema: str) -> None:
        reference = self.writer.reference(schema)
        if self.openapi == 2:
            operation["parameters"].append({"name": "body", "in": "body", "schema": reference})
        else:
            operation["requestBody"] = {"content": {"*/*": {"schema": reference}}}

    def _patch_body(self, operation: Operation) -> None:
        if self.openapi == 2:
            operation["consumes"] = list(PATCH_TYPES)
            operation["parameters"].append({"name": "body", "in": "body", "schema": {"type": "object"}})
        else:
            schema = {"schema": {"type": "object"}}
            operation["requestBody"] = {"content": dict.fromkeys(PATCH_TYPES, schema)}

    def path(self, operations: Mapping[str, Operation], *, namespaced: bool, named: bool) -> Operation:
        names = (["name"] if named else []) + (["namespace"] if namespaced else [])
        return {**operations, "parameters": [self.parameter(name, "path") for name in names]}


def paths_of(
    row: Served, schemas: SchemaWriter, name: str, list_name: str, *, openapi: int, wire: Mapping[str, str]
) -> Mapping[str, Any]:
    """The paths of one resource and its subresources. `wire`: schemas of subresources of another kind."""
    writer = _Writer(row, schemas, openapi)
    own = row.resource
    scope = "namespaces/{namespace}/" if own.namespaced else ""
    collection = f"{writer.base}/{scope}{own.plural}"
    paths: dict[str, Any] = {}
    on_collection = dict(_operations(writer, row.verbs, name, list_name, one=False))
    if on_collection:
        paths[collection] = writer.path(on_collection, namespaced=own.namespaced, named=False)
    if own.namespaced and "list" in row.verbs:
        everywhere = writer.operation("get", "list", list_name, writer.gvk, f"list{own.kind}ForAllNamespaces")
        paths[f"{writer.base}/{own.plural}"] = writer.path({"get": everywhere}, namespaced=False, named=False)
    on_one = dict(_operations(writer, row.verbs, name, list_name, one=True))
    if on_one:
        paths[f"{collection}/{{name}}"] = writer.path(on_one, namespaced=own.namespaced, named=True)
    for sub in row.subresources:
        gvk = {"group": sub.group, "version": sub.version, "kind": sub.kind} if sub.group else writer.gvk
        schema = wire.get(sub.name, name if not sub.kind else "")
        operations = {}
        for verb in sub.verbs:
            method, _, action = _VERBS[verb]
            identifier = f"{verb}{own.kind}{sub.name.title()}"
            operations[method] = writer.operation(method, action, schema, gvk, identifier)
        if not schema:
            for operation in operations.values():
                operation.pop("requestBody", None)
        paths[f"{collection}/{{name}}/{sub.name}"] = writer.path(operations, namespaced=own.namespaced, named=True)
    return paths


def _operations(
    writer: _Writer, verbs: Sequence[str], name: str, list_name: str, *, one: bool
) -> Iterator[tuple[str, Operation]]:
    kind = writer.row.resource.kind
    for verb in verbs:
        if verb == "watch":
            continue
        method, on_one, action = _VERBS[verb]
        if on_one != one:
            continue
        schema = list_name if verb == "list" else f"{META}.Status" if method == "delete" else name
        yield method, writer.operation(method, action, schema, writer.gvk, f"{verb}{kind}")
