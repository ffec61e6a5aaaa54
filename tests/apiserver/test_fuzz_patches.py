"""Patches, updates, creates and applies drawn by chance, on objects of every kind: no answer breaks the rules of fuzz.

A patch changes nobody's identity; what is stored after it reads back, and is the same sent as protobuf.
"""

import copy
import json
from collections.abc import AsyncIterator
from importlib import import_module
from typing import Any

import aiohttp
import pytest
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from kubeloop.actors.api import schema
from kubeloop.actors.api.meta_v1 import DeleteOptions
from kubeloop.actors.apiserver.http import HttpServer
from tests.apiserver import protobuf_writer
from tests.apiserver.conftest import Server
from tests.apiserver.fuzz import IDENTITY, Target, differences, fuzz, junk, places, put_at, rarely, typed
from tests.apiserver.fuzz_objects import CLUSTER_WIDE, CRD, OBJECTS

JSON_PATCH, MERGE, STRATEGIC, APPLY = (
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
)
Key = tuple[str, str, str]
KEYS = sorted(OBJECTS)
OPTIONS = {
    "gracePeriodSeconds": ("0", "1", "-1", "", "99999999999999999999"),
    "orphanDependents": ("true", "x"),
    "propagationPolicy": ("Foreground", "Background", "Orphan", "x"),
    "dryRun": ("All", "", "x"),
    "fieldManager": ("a", "b", "", "x" * 200),
    "fieldValidation": ("Strict", "Warn", "Ignore", "x"),
    "force": ("true", "false", "x"),
    "resourceVersion": ("0", "1", "x"),
    "pretty": ("true", "x"),
}


class Objects:
    """Makes objects; remembers the name of the last one of each kind."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.number = 0
        self.names: dict[Key, str] = {}

    def collection(self, key: Key) -> str:
        group, version, plural = key
        base = f"/apis/{group}/{version}" if group else f"/api/{version}"
        return f"{base}/{plural}" if plural in CLUSTER_WIDE else f"{base}/namespaces/default/{plural}"

    def path(self, key: Key) -> str:
        return f"{self.collection(key)}/{self.names[key]}"

    def new(self, key: Key) -> dict[str, Any]:
        """An object as it may be created, with a name that no object had."""
        self.number += 1
        group, version, plural = key
        kind, rest = OBJECTS[key]
        rest, name = copy.deepcopy(rest), f"fuzz-{self.number}"
        if plural == "customresourcedefinitions":
            rest["spec"]["group"] = f"{name}.example.com"
            name = f"gadgets.{name}.example.com"
        self.names[key] = name
        return {"apiVersion": f"{group}/{version}".lstrip("/"), "kind": kind, "metadata": {"name": name}, **rest}

    def create(self, key: Key) -> dict[str, Any]:
        made = self.new(key)
        code, found = self.target.ask("POST", self.collection(key), made)
        assert code == 201, f"{key}: {found}"
        while key[2] == "customresourcedefinitions" and len(found["status"].get("conditions") or ()) < 2:
            code, found = self.target.ask("GET", self.path(key))  # until it is established
        return dict(found)


def type_of(key: Key) -> Any:
    group, version, _ = key
    module = import_module(f"kubeloop.actors.api.{group.partition('.')[0] or 'core'}_{version}")
    return getattr(module, OBJECTS[key][0])


def pointer(path: list[str | int]) -> str:
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in path)


@st.composite
def spots(draw: DrawFn, key: Key, document: dict[str, Any]) -> tuple[list[str | int], Any]:
    """A path into the object and a value for it; also into custom resources, which have no type."""
    if key[0] != "example.com":
        path, node = draw(places(type_of(key), document))
        return path, draw(typed(node))
    here: Any = document
    path = list[str | int]()
    while not path or (isinstance(here, (dict, list)) and not rarely(draw, 4)):
        if isinstance(here, list):
            index = draw(st.integers(0, len(here)))
            path.append(index)
            here = here[index] if index < len(here) else None
        else:
            name = draw(st.sampled_from([*here, "status", "x"]))
            path.append(name)
            here = here.get(name)
    return path, draw(st.one_of(junk, st.just(here)))


def first_missing(document: Any, path: list[str | int]) -> int:
    """How many steps of the path there are, with the first that is not in the document."""
    for count, step in enumerate(path, start=1):
        there = isinstance(document, list) and isinstance(step, int) and step < len(document)
        if not there and not (isinstance(document, dict) and step in document):
            return count
        document = document[step]
    return len(path)


@st.composite
def json_patches(draw: DrawFn, key: Key, document: dict[str, Any]) -> Any:
    """Most of its operations add something that can be added."""
    found = []
    for _ in range(draw(st.integers(1, 4))):
        path, value = draw(spots(key, document))
        cut = first_missing(document, path)
        if cut < len(path) and not rarely(draw, 8):
            holder: dict[str, Any] = {}
            try:
                put_at(holder, ["x", *(0 if isinstance(step, int) else step for step in path[cut:])], value)
            except (TypeError, IndexError, AttributeError):
                continue
            path, value = path[:cut], holder["x"]
        text = pointer(path)
        if isinstance(path[-1], int) and rarely(draw, 6):
            text = pointer([*path[:-1], draw(st.sampled_from(["-", "-1", "01", "99999999999999999999", "", "a"]))])
        operation = {
            "op": draw(st.sampled_from(["add"] * 5 + ["replace", "remove", "test", "copy", "move"])),
            "path": text,
        }
        if operation["op"] in ("add", "replace", "test"):
            operation["value"] = value
        elif operation["op"] in ("copy", "move"):
            operation["from"] = pointer(draw(spots(key, document))[0])
        if rarely(draw, 30):
            operation[draw(st.sampled_from(["op", "path", "from", "value"]))] = draw(junk)
        found.append(operation)
    return found if not rarely(draw, 40) else draw(junk)


@st.composite
def overlays(draw: DrawFn, key: Key, document: dict[str, Any]) -> Any:
    """A part of an object, for merge patches and applies."""
    found: dict[str, Any] = {}
    for _ in range(draw(st.integers(1, 3))):
        path, value = draw(spots(key, document))
        try:
            put_at(found, [0 if isinstance(step, int) else step for step in path], None if rarely(draw, 8) else value)
        except (TypeError, IndexError, AttributeError):
            continue
    return found if not rarely(draw, 40) else draw(junk)


@st.composite
def strategic(draw: DrawFn, key: Key, document: dict[str, Any]) -> Any:
    """An overlay with directives at some of its places; items of lists name what they are merged with."""
    found = draw(overlays(key, document))
    stack: list[tuple[Any, Any]] = [(found, document)]
    while stack:
        patch, live = stack.pop()
        if isinstance(patch, list):
            inner = [one for one in live if isinstance(one, dict)] if isinstance(live, list) else []
            for index, one in enumerate(patch):
                if isinstance(one, dict) and inner and draw(st.booleans()):
                    patch[index] = {**draw(st.sampled_from(inner)), **one}
                stack.append((one, None))
        elif isinstance(patch, dict):
            stack.extend((value, live.get(name) if isinstance(live, dict) else None) for name, value in patch.items())
            names = [*patch, *(live if isinstance(live, dict) else ())]
            if names and rarely(draw, 6):
                form = draw(st.sampled_from(["$patch", "$setElementOrder", "$deleteFromPrimitiveList", "$retainKeys"]))
                name = form if form in ("$patch", "$retainKeys") else f"{form}/{draw(st.sampled_from(names))}"
                some = st.one_of(
                    st.sampled_from(["delete", "replace", "merge"]), st.lists(st.sampled_from(names)), junk
                )
                patch[name] = draw(some)
    return found


@st.composite
def applied(draw: DrawFn, key: Key, document: dict[str, Any]) -> Any:
    found = draw(overlays(key, document))
    if isinstance(found, dict) and not rarely(draw, 30):
        found |= {"apiVersion": document["apiVersion"], "kind": document["kind"]}
        given = found.get("metadata")
        found["metadata"] = {**(given if isinstance(given, dict) else {}), "name": document["metadata"]["name"]}
        if not rarely(draw, 10):
            found["metadata"].pop("managedFields", None)
    return found


@st.composite
def whole(draw: DrawFn, key: Key, document: dict[str, Any]) -> Any:
    found = copy.deepcopy(document)
    for _ in range(draw(st.integers(0, 3))):
        path, value = draw(spots(key, document))
        try:
            put_at(found, path, value)
        except (TypeError, IndexError, AttributeError):
            continue
    if rarely(draw, 3) and isinstance(found.get("metadata"), dict):
        found["metadata"].pop("resourceVersion", None)
    return found


@st.composite
def deletions(draw: DrawFn, key: Key, document: dict[str, Any]) -> Any:
    """DeleteOptions, or nothing."""
    if draw(st.booleans()):
        return None
    found = draw(typed(schema.node_of(DeleteOptions)))
    if isinstance(found, dict) and rarely(draw, 3):
        found["preconditions"] = {"uid": document["metadata"].get("uid")}
    return found


FORMS = {
    JSON_PATCH: json_patches,
    MERGE: overlays,
    STRATEGIC: strategic,
    APPLY: applied,
    "PUT": whole,
    "POST": whole,
    "DELETE": deletions,
}


@st.composite
def queries(draw: DrawFn) -> dict[str, str]:
    if not rarely(draw, 6):
        return {}
    names = draw(st.lists(st.sampled_from(sorted(OPTIONS)), unique=True, max_size=3))
    return {name: draw(st.sampled_from(OPTIONS[name])) for name in names}


def some_changes(objects: Objects, data: st.DataObject) -> None:
    """A new object, and up to three changes of it by one request each: the draws depend on nothing from before."""
    key = data.draw(st.sampled_from(KEYS))
    found = objects.create(key)
    for form in data.draw(st.lists(st.sampled_from(sorted(FORMS)), min_size=1, max_size=3)):
        after = one_change(objects, key, form, found, data)
        if after is None:
            return
        found = after


def one_change(objects: Objects, key: Key, form: str, before: dict[str, Any], data: st.DataObject) -> Any:
    """One request that changes the object, or does not; then the rules. The object as it is then, if it still is."""
    target, path = objects.target, objects.path(key)
    if form == "POST":
        before = objects.new(key)
        path = objects.path(key)
    query = data.draw(queries())
    body = data.draw(FORMS[form](key, before))
    if form == APPLY:
        query.setdefault("fieldManager", "fuzz")
    subresource = data.draw(st.sampled_from(["", "", "", "", "/status", "/scale"])) if form != "POST" else ""
    method = form if form in ("PUT", "POST", "DELETE") else "PATCH"
    where = objects.collection(key) if form == "POST" else path + subresource
    headers = {"Content-Type": form} if method == "PATCH" else {}
    code, found = target.ask(method, where, body, headers, **query)
    shown = (
        f"{method} {where} {query} {form} {json.dumps(body)}\nbefore: {json.dumps(before)}\nafter: {json.dumps(found)}"
    )
    if code < 300 and form not in ("POST", "DELETE") and subresource != "/scale":
        keeps_identity(before, found, shown)
    if form == "POST" and (code >= 300 or "dryRun" in query):
        return None
    if form == "POST" and (name := found["metadata"]["name"]) != objects.names[key]:
        objects.names[key], path = name, f"{objects.collection(key)}/{name}"
    if target.ask("GET", path)[0] == 404:  # a finalizer less: it has gone
        return None
    written = subresource if subresource == "/status" and code < 300 else ""
    try:
        after = target.reads_back(path, written)
        return None if written else after
    except AssertionError as error:
        raise AssertionError(f"{error}\nafter {shown}") from None


def keeps_identity(before: dict[str, Any], after: dict[str, Any], shown: str) -> None:
    assert (after["apiVersion"], after["kind"]) == (before["apiVersion"], before["kind"]), shown
    for name in IDENTITY:
        assert after["metadata"].get(name) == before["metadata"].get(name), shown


@pytest.fixture
async def target(server: Server, http: HttpServer) -> AsyncIterator[Target]:
    headers = {"Authorization": "Bearer secret"}
    crd = {"metadata": {"name": "widgets.example.com"}, "spec": CRD}
    await server.call("create", "customresourcedefinitions", body=crd, namespace="")
    async with aiohttp.ClientSession(f"http://127.0.0.1:{http.port}", headers=headers) as session:
        yield Target(session)


PROTOBUF_KEYS = [key for key in KEYS if key[2] not in ("widgets", "customresourcedefinitions")]
VOLATILE = ("uid", "creationTimestamp", "managedFields", "resourceVersion")


def created_both_ways(objects: Objects, data: st.DataObject) -> None:
    """The same object created from JSON and from protobuf is the same."""
    key = data.draw(st.sampled_from(PROTOBUF_KEYS))
    where, options = objects.collection(key), {"dryRun": "All"}
    code, made = objects.target.ask("POST", where, data.draw(whole(key, objects.new(key))), None, **options)
    if code != 201:
        return
    for name in VOLATILE:
        made["metadata"].pop(name, None)
    for claim in (made.get("spec") or {}).get("volumeClaimTemplates") or ():  # protobuf says of parts not what they are
        for name in ("apiVersion", "kind"):
            claim.pop(name, None)
    json_code, from_json = objects.target.ask("POST", where, made, None, **options)
    headers = {"Content-Type": "application/vnd.kubernetes.protobuf"}
    body = protobuf_writer.written(made, type_of(key))
    code, from_protobuf = objects.target.ask("POST", where, body, headers, **options)
    assert code == json_code, f"{made}: {from_json} {from_protobuf}"
    if code == 201:  # a Job's selector names its UID, so that one of another is refused
        for found in (from_json, from_protobuf):
            found.pop("status", None)  # says when it was made
            for name in VOLATILE:
                found["metadata"].pop(name, None)
        assert from_protobuf == from_json, f"{made}: {differences(from_json, from_protobuf)}"


async def test_json_and_protobuf_describe_the_same_objects(target: Target) -> None:
    objects = Objects(target)
    await fuzz(target, lambda data: created_both_ways(objects, data), examples=100)


async def test_changes_of_every_sort_keep_the_rules(target: Target) -> None:
    objects = Objects(target)
    await fuzz(target, lambda data: some_changes(objects, data), examples=120)
