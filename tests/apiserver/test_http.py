"""Over HTTP: media types, credentials, streams, and what a server says to bad input. It lives on after all of it."""

import gzip
import io
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from kubeloop.actors.apiserver import limits
from kubeloop.actors.apiserver.http import HttpServer
from tests.apiserver.conftest import Server

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
JSON = "application/json"
PATCH = "application/merge-patch+json"


class Http:
    def __init__(self, session: aiohttp.ClientSession, base: str) -> None:
        self.session = session
        self.base = base

    async def __call__(
        self, method: str, path: str, body: Any = None, **headers: str
    ) -> tuple[int, Any, aiohttp.ClientResponse]:
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        given = {key.replace("_", "-"): value for key, value in headers.items()}
        given.setdefault("Authorization", "Bearer secret")
        if data is not None:
            given.setdefault("Content-Type", JSON)
        async with self.session.request(method, self.base + path, data=data, headers=given) as response:
            raw = await response.read()
            try:
                return response.status, json.loads(raw), response
            except ValueError:
                return response.status, raw.decode(), response


@pytest.fixture
async def ask(http: HttpServer) -> AsyncIterator[Http]:
    async with aiohttp.ClientSession() as session:
        yield Http(session, f"http://127.0.0.1:{http.port}")


async def test_no_valid_credential_is_unauthorized_but_health_and_version_are_open(ask: Http) -> None:
    for token in ("", "Bearer wrong", "Basic c2VjcmV0"):
        code, body, _ = await ask("GET", CONFIG_MAPS, Authorization=token)
        assert (code, body["reason"], body["message"]) == (401, "Unauthorized", "Unauthorized")
    for path in ("/healthz", "/livez", "/readyz", "/readyz/etcd", "/version"):
        assert (await ask("GET", path, Authorization=""))[0] == 200
    assert "[+]etcd ok" in (await ask("GET", "/readyz?verbose", Authorization=""))[1]


async def test_a_body_that_is_too_large_is_refused(ask: Http) -> None:
    data = io.BytesIO(b" " * (limits.request_body_bytes_max + 1))
    headers = {"Authorization": "Bearer secret"}
    async with ask.session.post(ask.base + CONFIG_MAPS, data=data, headers=headers) as response:
        assert (response.status, (await response.json())["reason"]) == (413, "RequestEntityTooLarge")


async def test_an_unknown_group_has_no_page(ask: Http) -> None:
    assert (await ask("GET", "/apis/unheard.example.com/v1/things"))[:2] == (404, "404 page not found\n")


async def test_unknown_fields_are_warned_of(ask: Http) -> None:
    body = {"metadata": {"name": "a"}, "unheard": 1}
    code, _, response = await ask("POST", CONFIG_MAPS, body)
    assert (code, response.headers["Warning"]) == (201, '299 - "unknown field \\"unheard\\""')


@pytest.mark.parametrize("text", [b"\\ud800", b"\\uDC00", b"\xff"])
async def test_text_that_is_not_unicode_is_mended_as_go_does(ask: Http, text: bytes) -> None:
    kept = b"\\ud83d\\ude00\\\\ud800"
    body = b'{"metadata":{"name":"a"},"data":{"k":"' + text + kept + b'"}}'
    code, made, _ = await ask("POST", CONFIG_MAPS, body)
    assert (code, made["data"]) == (201, {"k": "\ufffd\N{GRINNING FACE}\\ud800"})
    patch = b'{"data":{"k":"' + text + b'"}}'
    code, patched, _ = await ask("PATCH", CONFIG_MAPS + "/a", patch, Content_Type=PATCH)
    assert (code, patched["data"]) == (200, {"k": "\ufffd"})


async def test_a_continued_list_has_its_own_revision(ask: Http) -> None:
    for name in ("a", "b"):
        await ask("POST", CONFIG_MAPS, {"metadata": {"name": name}})
    page = (await ask("GET", CONFIG_MAPS + "?limit=1"))[1]["metadata"]
    path = f"{CONFIG_MAPS}?continue={page['continue']}&resourceVersion="
    code, refused, _ = await ask("GET", path + page["resourceVersion"])
    assert (code, refused["message"]) == (400, "specifying resource version is not allowed when using continue")
    assert (await ask("GET", path + "0"))[0] == 200


async def test_initial_events_of_a_revision_to_come_are_refused(ask: Http) -> None:
    query = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&resourceVersion=99999"
    code, refused, _ = await ask("GET", f"{CONFIG_MAPS}?{query}&timeoutSeconds=1")
    assert (code, refused["details"]["causes"][0]["reason"]) == (504, "ResourceVersionTooLarge")


async def test_an_applied_object_says_its_version(ask: Http) -> None:
    path = CONFIG_MAPS + "/a?fieldManager=m"
    code, refused, _ = await ask("PATCH", path, {"data": {"k": "v"}}, Content_Type="application/apply-patch+yaml")
    assert code == 400
    assert refused["message"].endswith("Specified patch version: , expected: v1")


async def test_representations_are_negotiated(ask: Http) -> None:
    await ask("POST", CONFIG_MAPS, {"metadata": {"name": "a"}})
    path = CONFIG_MAPS + "/a"
    assert "kind: ConfigMap" in (await ask("GET", path, Accept="application/yaml"))[1]
    table = (await ask("GET", path, Accept="application/json;as=Table;v=v1;g=meta.k8s.io,application/json"))[1]
    assert (table["kind"], table["rows"][0]["cells"][0]) == ("Table", "a")
    partial = (await ask("GET", path, Accept="application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"))[1]
    assert (partial["kind"], set(partial)) == ("PartialObjectMetadata", {"kind", "apiVersion", "metadata"})
    fallback = "application/vnd.kubernetes.protobuf, application/json"
    assert (await ask("GET", path, Accept=fallback))[1]["kind"] == "ConfigMap"


async def test_large_lists_are_compressed_and_whole(ask: Http, server: Server) -> None:
    from kubeloop.actors.api.core_v1 import ConfigMap
    from kubeloop.actors.api.meta_v1 import ObjectMeta

    count = limits.list_slice_items * 2 + 1
    for number in range(count):
        data = {"k": "v" * 100}
        await server.call("create", "configmaps", body=ConfigMap(metadata=ObjectMeta(name=f"c{number:05}"), data=data))
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        headers = {"Authorization": "Bearer secret", "Accept-Encoding": "gzip"}
        async with session.get(ask.base + CONFIG_MAPS, headers=headers) as response:
            assert response.headers["Content-Encoding"] == "gzip"
            found = json.loads(gzip.decompress(await response.read()))
    assert [one["metadata"]["name"] for one in found["items"]] == [f"c{number:05}" for number in range(count)]
    assert found["kind"] == "ConfigMapList" and "kind" not in found["items"][0]


async def test_a_watch_streams_lines_and_ends_in_time(ask: Http) -> None:
    await ask("POST", CONFIG_MAPS, {"metadata": {"name": "a"}})
    code, text, response = await ask("GET", CONFIG_MAPS + "?watch=1&timeoutSeconds=1")
    event = text if isinstance(text, dict) else json.loads(text)
    assert (code, response.headers["Content-Type"]) == (200, JSON)
    assert (event["type"], event["object"]["metadata"]["name"]) == ("ADDED", "a")


async def test_a_watch_from_a_forgotten_revision_is_an_error_event(ask: Http) -> None:
    await ask("POST", CONFIG_MAPS, {"metadata": {"name": "a"}})
    code, event, _ = await ask("GET", CONFIG_MAPS + "?watch=1&resourceVersion=1")
    assert (code, event["type"], event["object"]["code"]) == (200, "ERROR", 410)


async def test_clients_that_hang_up_leave_no_watcher(ask: Http, server: Server, http: HttpServer) -> None:
    async with aiohttp.ClientSession(headers={"Authorization": "Bearer secret"}) as session:
        response = await session.get(ask.base + CONFIG_MAPS + "?watch=1")
        await ask("POST", CONFIG_MAPS, {"metadata": {"name": "a"}})
        assert json.loads(await response.content.readline())["object"]["metadata"]["name"] == "a"
        response.close()
    while [one for one in http._server.connections if one.transport is not None and one._current_request]:  # type: ignore[union-attr]
        await server.system.clock.sleep(0)


async def test_a_client_that_reads_late_misses_nothing_and_holds_nobody_up(ask: Http, server: Server) -> None:
    headers = {"Authorization": "Bearer secret"}
    watch = f"{ask.base}{CONFIG_MAPS}?watch=1&fieldSelector=metadata.name%3Dbig&resourceVersion="
    version = (await ask("GET", CONFIG_MAPS))[1]["metadata"]["resourceVersion"]
    async with (
        ask.session.get(watch + version, headers=headers) as late,
        ask.session.get(watch + version, headers=headers) as prompt,
    ):
        big = {"metadata": {"name": "big"}, "data": {"text": "x" * 100_000, "number": "0"}}
        await ask("POST", CONFIG_MAPS, big)
        for number in range(1, 100):
            await ask("PATCH", f"{CONFIG_MAPS}/big", {"data": {"number": str(number)}}, Content_Type=PATCH)
            await prompt.content.readuntil(b"\n")
        numbers = [json.loads(await late.content.readuntil(b"\n"))["object"]["data"]["number"] for _ in range(100)]
        assert numbers == [str(number) for number in range(100)]


async def test_a_custom_resource_is_served_as_soon_as_it_is_defined(ask: Http) -> None:
    schema = {
        "type": "object",
        "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer", "default": 3}}}},
    }
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"plural": "widgets", "kind": "Widget"}
    body = {
        "metadata": {"name": "widgets.example.com"},
        "spec": {"group": "example.com", "names": names, "scope": "Namespaced", "versions": [version]},
    }
    assert (await ask("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", body))[0] == 201
    path = "/apis/example.com/v1/namespaces/default/widgets"
    widget = {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": {"other": 1}}
    code, made, response = await ask("POST", path, widget)
    assert (code, made["spec"], made["metadata"]["generation"]) == (201, {"size": 3}, 1)
    assert "spec.other" in response.headers["Warning"]
    code, refused, _ = await ask("POST", path, {**widget, "metadata": {"name": "x"}, "spec": {"size": "big"}})
    assert (code, refused["details"]["causes"][0]["field"]) == (422, "spec.size")
    assert "widgets" in [one["name"] for one in (await ask("GET", "/apis/example.com/v1"))[1]["resources"]]
    assert (await ask("GET", path))[1]["metadata"]["continue"] == ""


async def test_a_pod_without_a_node_has_no_log(ask: Http) -> None:
    pod = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    assert (await ask("POST", "/api/v1/namespaces/default/pods", pod))[0] == 201
    code, text, _ = await ask("GET", "/api/v1/namespaces/default/pods/p/log")
    assert (code, text) == (204, "")


async def test_answers_about_a_deprecated_kind_warn_also_when_they_refuse(ask: Http) -> None:
    bad = {"metadata": {"name": "bad"}, "subsets": [{"addresses": [{"ip": "127.0.0.1"}], "ports": [{"port": 80}]}]}
    code, _, answer = await ask("POST", "/api/v1/namespaces/default/endpoints", bad)
    assert code == 422 and "Endpoints is deprecated in v1.33+" in answer.headers["Warning"]
