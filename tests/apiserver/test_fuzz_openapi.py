"""schemathesis on the API server's own OpenAPI: every operation of every group, no answer breaks the rules of fuzz.

Its values are of the schemas' types, and its texts are anything. Names and kinds are put right most of the time, so
that its requests get as far as validation.
"""

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
import schemathesis
from hypothesis import strategies as st
from schemathesis.core.result import Err

from kubeloop.actors.apiserver.http import HttpServer
from tests.apiserver.conftest import Server
from tests.apiserver.fuzz import Target, fuzz, words
from tests.apiserver.fuzz_objects import CRD, OBJECTS

STREAMS = ("attach", "exec", "portforward", "proxy", "log")
GROUP_EXAMPLES = 12
NAMES = ("fuzz", "a", "b")
Operations = dict[str, Any]


def operations_of(document: dict[str, Any]) -> Operations:
    """Every operation that is described, by method and path. Streams are left out: they are no requests."""
    found = {}
    for one in schemathesis.openapi.from_dict(document).get_all_operations():
        if isinstance(one, Err):
            raise one.err()
        operation = one.ok()
        if operation.path.rpartition("/")[2] not in STREAMS:
            found[f"{operation.method.upper()} {operation.path}"] = operation
    return found


def kind_of(operation: Any) -> dict[str, str]:
    """apiVersion and kind of what the operation is about."""
    found = operation.definition.raw["x-kubernetes-group-version-kind"]
    return {"apiVersion": f"{found['group']}/{found['version']}".lstrip("/"), "kind": found["kind"]}


def one_operation(target: Target, operations: Operations, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(operations)))
    operation = operations[name]
    case = data.draw(operation.as_strategy())
    right = data.draw(st.integers(0, 4)) > 0
    values = {"namespace": "default", "name": data.draw(st.sampled_from(NAMES))}
    path = operation.path
    for key in case.path_parameters or {}:
        value = values[key] if right else quote(data.draw(words), safe="") or "-"
        path = path.replace(f"{{{key}}}", value)
    body = case.body if isinstance(case.body, (dict, list)) else None
    if right and isinstance(body, dict) and operation.method in ("post", "put"):
        given = body.get("metadata")
        body = {**body, **kind_of(operation)}
        body["metadata"] = {**(given if isinstance(given, dict) else {}), "name": values["name"], "namespace": None}
    query = {key: str(value) for key, value in (case.query or {}).items() if not right or data.draw(st.booleans())}
    content_type = case.media_type if operation.method == "patch" and case.media_type else "application/json"
    code, _ = target.ask(operation.method.upper(), path, body, {"Content-Type": content_type}, **query)
    if code in (200, 201) and operation.method in ("put", "post") and path.endswith(f"/{values['name']}"):
        target.reads_back(path)


@pytest.fixture
async def target(server: Server, http: HttpServer) -> AsyncIterator[Target]:
    """An API server with an object of each kind, so that there is something to change."""
    crd = {"metadata": {"name": "widgets.example.com"}, "spec": CRD}
    await server.call("create", "customresourcedefinitions", body=crd, namespace="")
    headers = {"Authorization": "Bearer secret"}
    async with aiohttp.ClientSession(f"http://127.0.0.1:{http.port}", headers=headers) as session:
        yield Target(session)


GROUPS = sorted({f"apis/{group}/{version}" if group else f"api/{version}" for group, version, _ in OBJECTS})


@pytest.mark.parametrize("group", GROUPS)
async def test_operations_that_schemathesis_makes_up_keep_the_rules(target: Target, group: str) -> None:
    async with target.session.get(f"/openapi/v3/{group}") as answer:
        operations = operations_of(await answer.json())
    examples = GROUP_EXAMPLES * (1 + len(operations) // 20)
    await fuzz(target, lambda data: one_operation(target, operations, data), examples=examples)
