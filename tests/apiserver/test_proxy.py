"""pods/proxy, services/proxy and nodes/proxy over HTTPS, to scripted pods and to a server of our own."""

import io
import ssl
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
import yaml
from aiohttp import web

from kubeloop import Cluster
from kubeloop.actors import pki
from kubeloop.actors.apiserver.html_links import rewrite
from kubeloop.actors.apiserver.http_proxy import location_through, split_path
from kubeloop.actors.container_runtime.sim import SimContext
from kubeloop.actors.container_runtime.sim_answers import SimRequest

PODS = """
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec: {containers: [{name: web, image: web, ports: [{containerPort: 8080}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}, {name: other, port: 81}]}
---
apiVersion: v1
kind: Service
metadata: {name: nobody}
spec: {selector: {app: nobody}, ports: [{port: 80}]}
"""
BASE = "/api/v1/namespaces/default"
PREFIX = f"{BASE}/pods/web/proxy"
PAGE = '<html><a href="/x">x</a><img src="y.png"></html>'


def behavior(context: SimContext) -> None:
    def answer(request: SimRequest) -> Any:
        if request.path == "/headers":
            return dict(request.headers)
        if request.path == "/page":
            return 200, {"Content-Type": "text/html"}, PAGE
        if request.path == "/packed":
            return 200, {"Content-Type": "text/html", "Content-Encoding": "gzip"}, packed(PAGE.encode())
        if request.path == "/moved":
            return 302, {"Location": "/new?a=b"}, b""
        if request.path == "/code":
            return int(request.query)
        return [request.method, request.path, request.query, request.port, request.body.decode()]

    context.on_http(answer)


def packed(data: bytes) -> bytes:
    compressor = zlib.compressobj(1, zlib.DEFLATED, 31)
    return compressor.compress(data) + compressor.flush()


@asynccontextmanager
async def session(cluster: Cluster) -> AsyncIterator[aiohttp.ClientSession]:
    config = yaml.safe_load((await cluster.serve()).read_text())
    headers = {"Authorization": f"Bearer {config['users'][0]['user']['token']}", "Accept": "application/json"}
    connector = aiohttp.TCPConnector(ssl=False)
    async with aiohttp.ClientSession(cluster.url, headers=headers, connector=connector) as opened:
        yield opened


@asynccontextmanager
async def serving(cluster: Cluster) -> AsyncIterator[aiohttp.ClientSession]:
    await cluster.apply(PODS)
    await cluster.wait("pod/web", "Ready")
    await cluster.wait("endpoints/web", lambda found: bool(found.subsets and found.subsets[0].addresses))
    async with session(cluster) as opened:
        yield opened


SIM = pytest.mark.kubeloop(nodes=1, behaviors={"web": behavior})


@SIM
@pytest.mark.parametrize(
    ("name", "port"),
    [
        ("pods/web", 8080),
        ("pods/web:9", 9),
        ("pods/http:web:9", 9),
        ("services/web:http", 8080),
        ("services/web:80", 8080),
        ("services/http:web:81", 81),
    ],
)
async def test_requests_go_on_as_they_are(cluster: Cluster, name: str, port: int) -> None:
    async with serving(cluster) as api:
        url = f"{BASE}/{name}/proxy/a%2Fb/c%20d/?x=1&x=2"
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
            async with api.request(method, url, data=b"body" if method != "GET" else None) as answer:
                body = "" if method == "GET" else "body"
                assert await answer.json() == [method, "/a/b/c d/", "x=1&x=2", port, body]


@SIM
async def test_headers_are_passed_on_without_credentials_and_with_the_way_they_came(cluster: Cluster) -> None:
    async with serving(cluster) as api:
        headers = {"X-Own": "1", "X-Hop": "2", "Connection": "x-hop", "X-Forwarded-For": "10.0.0.1"}
        async with api.get(f"{PREFIX}/headers", headers=headers) as answer:
            seen = await answer.json()
    assert "authorization" not in seen and "x-hop" not in seen and seen["x-own"] == "1"
    assert seen["x-forwarded-uri"] == f"{PREFIX}/headers" and seen["x-forwarded-proto"] == "https"
    assert seen["x-forwarded-host"] == seen["host"] and seen["x-forwarded-for"] == "10.0.0.1, 127.0.0.1"


@SIM
async def test_an_empty_path_is_led_to_a_slash_and_redirects_lead_through_the_proxy(cluster: Cluster) -> None:
    async with serving(cluster) as api:
        for path, location in (
            (f"{PREFIX}?a=b", f"{PREFIX}/?a=b"),
            (f"{PREFIX}/moved", f"{PREFIX}/new?a=b"),
        ):
            async with api.get(path, allow_redirects=False) as answer:
                assert answer.status in (301, 302) and answer.headers["Location"] == location
        async with api.post(PREFIX) as answer:
            assert (await answer.json())[:2] == ["POST", "/"]


@SIM
async def test_links_of_pages_lead_through_the_proxy(cluster: Cluster) -> None:
    changed = f'<html><a href="{PREFIX}/x">x</a><img src="y.png"></html>'
    async with serving(cluster) as api:
        for path in ("page", "packed"):
            async with api.get(f"{PREFIX}/{path}") as answer:
                assert await answer.text() == changed
        async with api.head(f"{PREFIX}/page") as answer:
            assert answer.status == 200


@SIM
async def test_a_scripted_server_takes_large_bodies(cluster: Cluster) -> None:
    async with serving(cluster) as api:
        async with api.post(f"{PREFIX}/", data=io.BytesIO(b"x" * (5 << 20))) as answer:
            assert len((await answer.json())[4]) == 5 << 20


@SIM
async def test_a_servers_own_errors_come_back_as_they_are(cluster: Cluster) -> None:
    async with serving(cluster) as api:
        for code in (404, 500, 204, 304):
            async with api.get(f"{PREFIX}/code?{code}") as answer:
                assert answer.status == code


REFUSED = [
    ("pods/nobody/proxy/", 404, 'pods "nobody" not found'),
    ("pods/a:b:c:d/proxy/", 400, 'invalid pod request "a:b:c:d"'),
    ("pods/ftp:web:80/proxy/", 400, 'invalid pod request "ftp:web:80"'),
    ("pods/:80/proxy/", 400, 'invalid pod request ":80"'),
    ("pods/web:no-port/proxy/", 503, "error trying to reach service: dial tcp: lookup tcp/no-port: unknown port"),
    ("services/none:80/proxy/", 404, 'services "none" not found'),
    ("services/none/proxy/", 404, 'endpoints "none" not found'),
    ("services/web:82/proxy/", 503, 'no service port 82 found for service "web"'),
    ("services/web/proxy/", 503, 'no endpoints available for service "web"'),
    ("services/nobody/proxy/", 503, 'no endpoints available for service "nobody"'),
    ("services/a:b:c:d/proxy/", 400, 'invalid service request "a:b:c:d"'),
]


@SIM
async def test_what_leads_nowhere_is_refused(cluster: Cluster) -> None:
    async with serving(cluster) as api:
        for path, code, message in REFUSED:
            async with api.get(f"{BASE}/{path}") as answer:
                status = await answer.json()
                assert (answer.status, status["message"]) == (code, message), path
        async with api.request("TRACE", f"{PREFIX}/") as answer:
            assert answer.status == 405
        async with api.get("/api/v1/nodes/none/proxy/healthz") as answer:
            assert (await answer.json())["message"] == 'nodes "none" not found'
        async with api.get("/api/v1/nodes/node-1:9999/proxy/") as answer:
            assert (await answer.json())["message"] == (
                "error trying to reach service: dial tcp node-1:9999: connect: connection refused"
            )


@SIM
async def test_a_node_is_its_kubelets_server(cluster: Cluster) -> None:
    async with serving(cluster) as api:
        node = "/api/v1/nodes/node-1/proxy"
        for path in (f"{node}/healthz", "/api/v1/nodes/node-1:10250/proxy/healthz"):
            async with api.get(path) as answer:
                assert await answer.text() == "ok"
        for path in ("pods", "runningpods/"):
            async with api.get(f"{node}/{path}") as answer:
                assert [pod["metadata"]["name"] for pod in (await answer.json())["items"]] == ["web"]
        async with api.get(f"{node}/metrics") as answer:
            assert 'kubelet_running_containers{container_state="running"} 1.0' in await answer.text()
        async with api.get(f"{node}/configz") as answer:
            assert (await answer.json())["kubeletconfig"]["kind"] == "KubeletConfiguration"
        for path, code in (
            ("containerLogs/default/web/web", 200),
            ("containerLogs/default/web/no", 400),
            ("containerLogs/default/no/no", 404),
            ("containerLogs/x", 404),
            ("stats/summary", 404),
        ):
            async with api.get(f"{node}/{path}") as answer:
                assert answer.status == code, path
        async with api.post(f"{node}/pods") as answer:
            assert answer.status == 405


@SIM
async def test_a_kubelet_that_is_down_is_said_to_be_unreachable(cluster: Cluster) -> None:
    async with serving(cluster) as api:
        cluster.system.crash_host("node-1")
        async with api.get(f"{PREFIX}/") as answer:
            status = await answer.json()
            assert answer.status == 500 and "error dialing backend: dial tcp node-1:10250" in status["message"]


EXTERNAL = """
apiVersion: v1
kind: Service
metadata: {{name: outside}}
spec: {{ports: [{{port: 443}}]}}
---
apiVersion: v1
kind: Endpoints
metadata: {{name: outside}}
subsets: [{{addresses: [{{ip: {ip}}}], ports: [{{port: {port}}}]}}]
"""


async def greet(request: web.BaseRequest) -> web.StreamResponse:
    """A server of our own: WebSocket echo, an endless answer, a large one, uploads."""
    if request.headers.get("Upgrade", "").lower() == "websocket":
        websocket = web.WebSocketResponse(protocols=("chat",))
        await websocket.prepare(request)
        async for message in websocket:
            if message.type is aiohttp.WSMsgType.TEXT:
                await websocket.send_str(f"{request.path} {websocket.ws_protocol} {message.data}")
            else:
                await websocket.send_bytes(message.data[::-1])
        return websocket
    if request.method == "POST":
        size = 0
        async for chunk in request.content.iter_any():
            size += len(chunk)
        return web.Response(text=str(size))
    if request.path == "/breaks":
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        await response.write(b"begun")
        assert request.transport is not None
        request.transport.abort()
        return response
    response = web.StreamResponse()
    await response.prepare(request)
    for number in range(3):
        await response.write(f"part {number}\n".encode())
    await response.write_eof()
    return response


@asynccontextmanager
async def outside(cluster: Cluster, context: ssl.SSLContext | None) -> AsyncIterator[aiohttp.ClientSession]:
    """A service whose endpoint is that server; endpoints may not be on the loopback network, so they are put there."""
    runner = web.ServerRunner(web.Server(greet))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    port = runner.addresses[0][1]
    try:
        await cluster.apply(EXTERNAL.format(ip="192.0.2.1", port=port))
        async with session(cluster) as api:
            yield api
    finally:
        await runner.cleanup()


@pytest.fixture
def dialled(monkeypatch: pytest.MonkeyPatch) -> None:
    """192.0.2.1, an address for documentation, is this machine."""
    from kubeloop.runtime import stream_sockets

    connect = stream_sockets.connect

    async def elsewhere(spawner: Any, host: str, port: int) -> Any:
        return await connect(spawner, "127.0.0.1" if host == "192.0.2.1" else host, port)

    monkeypatch.setattr(stream_sockets, "connect", elsewhere)


@pytest.mark.kubeloop(nodes=0)
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_endpoints_that_are_no_pods_are_dialled_also_with_tls(
    cluster: Cluster, dialled: None, scheme: str
) -> None:
    context = (
        pki.server_ssl_context(pki.CertificateAuthority(cluster.system.clock), ("x",)) if scheme == "https" else None
    )
    name = f"{BASE}/services/{scheme}:outside:443/proxy"
    async with outside(cluster, context) as api:
        async with api.get(f"{name}/") as answer:
            assert await answer.text() == "part 0\npart 1\npart 2\n"
        async with api.post(f"{name}/", data=io.BytesIO(bytes(8 << 20))) as answer:
            assert await answer.text() == str(8 << 20)  # more than a request of the API server's own may have
        async with api.ws_connect(f"{name}/chat/room", protocols=("no", "chat")) as websocket:
            assert websocket.protocol == "chat"
            await websocket.send_str("hello")
            assert await websocket.receive_str() == "/chat/room chat hello"
            await websocket.send_bytes(b"abc")
            assert await websocket.receive_bytes() == b"cba"
        async with api.get(f"{name}/breaks") as answer:
            with pytest.raises(aiohttp.ClientPayloadError):
                await answer.read()


def test_only_urls_of_pages_are_rewritten() -> None:
    page = (
        b'<A class=x HREF=\'/a\' title="/t"><img src=/b><script>\'<a href="/c">\'</script><script src="/d"></script>'
        b'<!-- <a href="/e"> --><a href="//host/f"><a href="/p/g"><a href=""><p href="/h"><form action="/i"></form>'
    )
    assert rewrite(page, "", "/p") == (
        b"<A class=x HREF='/p/a' title=\"/t\"><img src=/p/b><script>'<a href=\"/c\">'</script>"
        b'<script src="/p/d"></script><!-- <a href="/e"> --><a href="//host/f"><a href="/p/g"><a href="">'
        b'<p href="/h"><form action="/p/i"></form>'
    )
    for encoding in ("br", "gzip", "deflate"):
        assert rewrite(b"not that", encoding, "/p") == b"not that"
    assert zlib.decompress(rewrite(zlib.compress(b'<a href="/a">'), "deflate", "/p")) == b'<a href="/p/a">'


def test_paths_are_cut_and_locations_led_back() -> None:
    assert split_path("/api/v1/namespaces/d/pods/x/proxy", 7) == ("/api/v1/namespaces/d/pods/x/proxy", "")
    assert split_path("//api/v1/nodes/x/proxy//a%2F/", 5) == ("//api/v1/nodes/x/proxy", "//a%2F/")
    for location, led in (
        ("/a?b#c", "/p/a?b#c"),
        ("http://h:1/a", "/p/a"),
        ("https://elsewhere/a", "https://elsewhere/a"),
        ("relative", "relative"),
        ("/p/a", "/p/a"),
    ):
        assert location_through(location, "/p", "h:1") == led
