"""Lists and watches with parameters drawn by chance, over HTTPS: answers keep the rules of fuzz, pages add up."""

import base64
import json
import ssl
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import yaml
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from kubeloop.actors.api.core_v1 import ConfigMap
from kubeloop.actors.api.meta_v1 import ObjectMeta
from kubeloop.actors.cluster import Cluster
from tests.apiserver.fuzz import NUMBERS, Target, fuzz, rarely, words

COLLECTIONS = (
    *("/api/v1/namespaces/default/configmaps", "/api/v1/configmaps", "/api/v1/nodes", "/api/v1/namespaces"),
    *("/api/v1/pods", "/apis/apps/v1/deployments", "/apis/rbac.authorization.k8s.io/v1/clusterroles"),
    *("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", "/api/v1/namespaces/default/configmaps/c-1"),
    *("/api/v1/watch/configmaps", "/api/v1/watch/namespaces/default/configmaps/c-1", "/api/v1/componentstatuses"),
    *("/api", "/apis", "/apis/apps", "/openapi/v2", "/openapi/v3", "/version", "/livez", "/readyz/x", "/metrics"),
)
TYPES = (
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
    "*/*",
    "text/html",
    "application/json",
)
AS = (
    "",
    ";as=Table;v=v1;g=meta.k8s.io",
    ";as=PartialObjectMetadataList;v=v1;g=meta.k8s.io",
    ";as=Table",
    ";q=0",
    ";q=x",
    ";stream=watch",
)
numbers = st.one_of(st.sampled_from(["", "x", "01", "1.5", "+1", " 1", "0x1"]), st.sampled_from(NUMBERS).map(str))
flags = st.sampled_from(["true", "false", "1", "0", "", "x", "True"])
versions = st.one_of(st.sampled_from(["", "0", "1", "5", "10"]), numbers)
VALUES: dict[str, st.SearchStrategy[str]] = {
    "limit": st.one_of(st.sampled_from(["1", "2", "500"]), numbers),
    "resourceVersion": versions,
    "resourceVersionMatch": st.sampled_from(["Exact", "NotOlderThan", "", "x", "exact"]),
    "watch": flags,
    "allowWatchBookmarks": flags,
    "sendInitialEvents": flags,
    "timeoutSeconds": st.one_of(st.just("1"), numbers),
    "timeout": st.sampled_from(["1s", "-1s", "x", "1h"]),
    "pretty": flags,
    "includeObject": st.sampled_from(["None", "Metadata", "Object", "x"]),
}


@st.composite
def selectors(draw: DrawFn) -> str:
    parts = []
    for _ in range(draw(st.integers(1, 3))):
        key = draw(st.one_of(st.sampled_from(["app", "metadata.name", "metadata.namespace", "status.phase"]), words))
        operator = draw(
            st.sampled_from(["=", "==", "!=", " in (a,b)", " notin (a)", " in ()", "", "!", "<", ">", "\\"])
        )
        parts.append(
            f"!{key}"
            if operator == "!"
            else f"{key}{operator}{draw(words) if operator in ('=', '==', '!=', '<', '>') else ''}"
        )
    return draw(st.sampled_from([",", ",", ", ", ",,", ""])).join(parts)


@st.composite
def tokens(draw: DrawFn) -> str:
    """A continue token that is like one."""
    found: dict[str, Any] = {"v": "meta.k8s.io/v1", "rv": draw(st.sampled_from(NUMBERS)), "start": draw(words)}
    if rarely(draw, 3):
        found[draw(st.sampled_from(["v", "rv", "start"]))] = draw(st.one_of(words, st.none(), st.lists(words)))
    text = base64.urlsafe_b64encode(json.dumps(found).encode()).decode()
    return text.rstrip("=") if draw(st.booleans()) else draw(st.sampled_from([text, text[:-3], text.replace("e", "!")]))


def one_read(target: Target, data: st.DataObject) -> None:
    query: dict[str, str] = {}
    for name in data.draw(st.lists(st.sampled_from(sorted(VALUES)), unique=True, max_size=4)):
        query[name] = data.draw(VALUES[name])
    for name, strategy in (("labelSelector", selectors()), ("fieldSelector", selectors()), ("continue", tokens())):
        if data.draw(st.integers(0, 2)) == 2:
            query[name] = data.draw(strategy)
    accept = data.draw(st.sampled_from(TYPES)) + data.draw(st.sampled_from(AS))
    headers = {"Accept": accept} if data.draw(st.booleans()) else {}
    method = data.draw(st.sampled_from(["GET"] * 8 + ["HEAD", "OPTIONS"]))
    target.ask(method, data.draw(st.sampled_from(COLLECTIONS)), None, headers, **query)


def pages_add_up(target: Target, data: st.DataObject) -> None:
    """Pages of any size, one after the other, are the whole list; in YAML and as metadata it lists the same."""
    path = data.draw(st.sampled_from(["/api/v1/configmaps", "/api/v1/namespaces/default/configmaps"]))
    size = data.draw(st.integers(20, 60))
    _, whole = target.ask("GET", path)
    items, query = [], {"limit": str(size)}
    while True:
        code, page = target.ask("GET", path, None, None, **query)
        assert code == 200, page
        items += page["items"]
        if not page["metadata"].get("continue"):
            break
        assert page["metadata"]["remainingItemCount"] == len(whole["items"]) - len(items)
        query["continue"] = page["metadata"]["continue"]
    assert items == whole["items"]
    _, in_yaml = target.ask("GET", path, None, {"Accept": "application/yaml"}, **query)
    assert in_yaml["items"] == page["items"]
    partial = {"Accept": "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"}
    _, metadata = target.ask("GET", path, None, partial, **query)
    assert [one["metadata"] for one in metadata["items"] or ()] == [one["metadata"] for one in page["items"]]


@pytest.fixture
async def target() -> AsyncIterator[Target]:
    """The API server of a whole cluster, over HTTPS."""
    async with Cluster(nodes=2) as cluster:
        for number in range(60):
            metadata = ObjectMeta(name=f"c-{number}", namespace="default", labels={"app": "ab"[number % 2]})
            await cluster.client.create(ConfigMap(metadata=metadata, data={"n": str(number)}))
        user = yaml.safe_load((await cluster.serve()).read_text())
        credentials = user["users"][0]["user"]
        server = user["clusters"][0]["cluster"]
        context = ssl.create_default_context(cadata=base64.b64decode(server["certificate-authority-data"]).decode())
        headers = {"Authorization": f"Bearer {credentials['token']}"} if "token" in credentials else {}
        connector = aiohttp.TCPConnector(ssl=context)
        async with aiohttp.ClientSession(server["server"], headers=headers, connector=connector) as session:
            yield Target(session)


async def test_reads_of_every_sort_keep_the_rules(target: Target) -> None:
    await fuzz(target, lambda data: one_read(target, data), examples=300)


async def test_pages_add_up(target: Target) -> None:
    await fuzz(target, lambda data: pages_add_up(target, data), examples=10)
