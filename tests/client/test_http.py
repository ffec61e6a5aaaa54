"""The client over HTTPS, as over any API server: the same calls, the same answers."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from msgspec.structs import replace

from kubeloop.actors.api import meta
from kubeloop.actors.api.core_v1 import ConfigMap, Pod
from kubeloop.actors.api.errors import StatusError, is_conflict, is_expired, is_not_found
from kubeloop.actors.apiserver.messages import Request
from kubeloop.actors.client import kubeconfig
from kubeloop.actors.client.client import Client
from kubeloop.actors.client.http import Lines, decode_event, path_of, status_error
from kubeloop.actors.client.informer import InformerFactory
from kubeloop.actors.client.transport import ApiServerUnavailable
from kubeloop.actors.cluster import Cluster
from tests.client.harness import config_map, pod
from tests.client.test_client import WIDGETS


@asynccontextmanager
async def over_https() -> AsyncIterator[tuple[Cluster, Client]]:
    async with Cluster(nodes=0) as cluster, await Client.from_kubeconfig(await cluster.serve()) as client:
        yield cluster, client


async def test_objects_come_over_https_as_they_do_in_process() -> None:
    async with over_https() as (cluster, client):
        created = await client.create(config_map(color="red"))
        assert created == await cluster.client.get(ConfigMap, "a") == await client.get(ConfigMap, "a")
        updated = await client.update(replace(created, data={"color": "blue"}))
        with pytest.raises(StatusError) as stale:
            await client.update(replace(created, data={"color": "green"}))
        assert is_conflict(stale.value) and stale.value.status["details"]["name"] == "a"
        patched = await client.patch("configmaps", "a", {"data": {"size": "1"}})
        assert patched.data == {"color": "blue", "size": "1"}
        applied = await client.apply(config_map(color="red"), field_manager="me", force=True)
        assert applied.data == {"color": "red", "size": "1"}
        assert int(meta.resource_version(applied)) > int(meta.resource_version(updated))
        await client.delete(applied, preconditions={"uid": meta.uid(applied)})
        with pytest.raises(StatusError) as gone:
            await client.get("configmaps", "a")
        assert is_not_found(gone.value)


async def test_lists_select_page_and_hold_typed_objects() -> None:
    async with over_https() as (_, client):
        for number in range(3):
            await client.create(pod(f"web-{number}", number=str(number)))
        found = await client.list(Pod, "default", label_selector="number in (0, 2)")
        assert [type(each) for each in found.items] == [Pod, Pod] and found.items[0].kind == "Pod"
        page = await client.list("pods", limit=2)
        assert page.remaining_item_count == 1 and page.continue_
        rest = await client.list("pods", limit=2, continue_=page.continue_)
        assert [meta.name(each) for each in rest.items] == ["web-2"]


async def test_a_watch_shows_changes_and_ends_with_its_loop() -> None:
    async with over_https() as (_, client):
        start = (await client.list("configmaps")).resource_version
        await client.create(config_map("a", color="red"))
        await client.delete("configmaps", "a")
        seen = []
        async for event in client.watch("configmaps", "default", resource_version=start):
            seen.append((event.type, event.object.data["color"]))
            if len(seen) == 2:
                break
        assert seen == [("ADDED", "red"), ("DELETED", "red")]
        async with asyncio.timeout(10):
            events = [event.type async for event in client.watch("secrets", "default", timeout_seconds=1)]
        assert events == []
        with pytest.raises(StatusError) as expired:
            async for _event in client.watch("configmaps", resource_version="1"):
                pass
        assert is_expired(expired.value)


async def test_an_informer_works_over_https() -> None:
    async with over_https() as (cluster, client):
        factory = InformerFactory(client, cluster.system, cluster.system.clock)
        informer = factory.informer(ConfigMap, "default")
        arrived = asyncio.Event()
        informer.add_handler(lambda old, new: arrived.set() if new is not None and "color" in new.data else None)
        await factory.start()
        await cluster.client.create(config_map("a", color="red"))
        async with asyncio.timeout(10):
            await arrived.wait()
        assert informer.get("default/a") is not None
        factory.stop()


async def test_custom_resources_work_over_https() -> None:
    async with over_https() as (_, client):
        definition = await client.create(WIDGETS)
        async for event in client.watch(definition, resource_version="0"):
            if any(each.type == "Established" for each in event.object.status.conditions):
                break
        await client.create({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"}, "size": 3})
        assert [each["size"] for each in (await client.list("widgets")).items] == [3]


async def test_a_server_that_is_not_there_is_a_connection_error(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(yaml.safe_dump(config("https://127.0.0.1:1")))
    async with await Client.from_kubeconfig(path) as client:
        with pytest.raises(ApiServerUnavailable, match="127.0.0.1:1"):
            await client.list("pods")
        with pytest.raises(ConnectionError):
            await anext(client.watch("pods"))


async def test_who_is_not_known_is_unauthorized(tmp_path: Path) -> None:
    async with Cluster(nodes=0) as cluster:
        known = yaml.safe_load((await cluster.serve()).read_text())
        known["users"][0]["user"] = {"token": "nonsense"}
        path = tmp_path / "config"
        path.write_text(yaml.safe_dump(known))
        async with await Client.from_kubeconfig(path) as client:
            with pytest.raises(StatusError) as refused:
                await client.list("pods")
            assert refused.value.code == 401


def config(server: str = "https://example.com:6443", **user: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "one",
        "contexts": [
            {"name": "one", "context": {"cluster": "c", "user": "u", "namespace": "shop"}},
            {"name": "two", "context": {"cluster": "c"}},
        ],
        "clusters": [{"name": "c", "cluster": {"server": server, "certificate-authority": "ca.pem"}}]
        if "ca" in user
        else [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": {key: value for key, value in user.items() if key != "ca"}}],
    }


def load(tmp_path: Path, document: Any, context: str | None = None) -> Any:
    path = tmp_path / "config"
    path.write_text(document if isinstance(document, str) else yaml.safe_dump(document))
    return kubeconfig.load(path, context)


def test_a_kubeconfig_names_files_beside_it_or_holds_their_data(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_bytes(b"authority")
    (tmp_path / "token").write_text("secret\n")
    data = base64.b64encode(b"certificate").decode()
    address = load(tmp_path, config(ca=True, tokenFile="token", **{"client-certificate-data": data}))
    assert (address.server, address.namespace) == ("https://example.com:6443", "shop")
    assert (address.authority, address.token, address.certificate) == (b"authority", "secret", b"certificate")
    assert load(tmp_path, config(), "two").token is None


@pytest.mark.parametrize(
    ("document", "context", "message"),
    [
        ("a: b: c", None, "not YAML"),
        ("[]", None, "not a kubeconfig"),
        (config(), "three", "context 'three' does not exist"),
        (config(server=""), None, "has no server"),
        (config(**{"client-certificate-data": "%"}), None, "client-certificate-data is not base64"),
        (config(exec={"command": "login"}), None, "'exec', which is not supported"),
    ],
)
def test_what_is_wrong_with_a_kubeconfig_is_said(
    tmp_path: Path, document: Any, context: str | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        load(tmp_path, document, context)
    with pytest.raises(FileNotFoundError):
        kubeconfig.load(tmp_path / "nothing")


def test_lines_are_put_together_from_chunks() -> None:
    lines = Lines(10)
    assert lines.feed(b"ab") == [] and lines.feed(b"c\nd\n\ne") == [b"abc", b"d"] and lines.feed(b"\n") == [b"e"]
    with pytest.raises(ApiServerUnavailable, match="longer than 10 bytes"):
        lines.feed(b"x" * 11)


def test_paths_are_those_of_the_api() -> None:
    assert path_of(Request("list", "", "v1", "nodes")) == "/api/v1/nodes"
    scale = Request("patch", "apps", "v1", "deployments", "default", "web", "scale")
    assert path_of(scale) == "/apis/apps/v1/namespaces/default/deployments/web/scale"
    role = Request("get", "rbac.authorization.k8s.io", "v1", "clusterroles", "", "system:node/x")
    assert path_of(role).endswith("/clusterroles/system:node%2Fx")


def test_what_a_proxy_says_instead_of_a_status_is_an_error_too() -> None:
    error = status_error(502, b"Bad Gateway")
    assert (error.code, error.message) == (502, "Bad Gateway")
    status = status_error(404, b'{"kind":"Status","reason":"NotFound","message":"no"}')
    assert (status.code, status.reason) == (404, "NotFound")


def test_events_are_typed_and_errors_are_not() -> None:
    event = decode_event(b'{"type":"ADDED","object":{"kind":"Pod","apiVersion":"v1","metadata":{"name":"p"}}}')
    assert event.type == "ADDED" and isinstance(event.object, Pod)
    error = decode_event(b'{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","code":410}}')
    assert error.object["code"] == 410
