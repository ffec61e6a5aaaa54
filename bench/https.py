"""The API server over HTTPS, beside a bare aiohttp server that sends and takes the same bytes over the same TLS.

Server and clients share one process and one core in both cases, so each carries the client's cost as well; the clients
are aiohttp's, and the ratio is what counts.
"""

import asyncio
import multiprocessing
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from time import perf_counter
from typing import Any

import aiohttp
from aiohttp import web
from msgspec import Struct

from bench.api import CONTROL_PLANE_ONLY
from bench.objects import pod
from bench.workload import Measurement
from kubeloop.actors import pki
from kubeloop.actors.api import codec
from kubeloop.actors.cluster import Cluster
from kubeloop.runtime.clock import Clock

PODS = "/api/v1/namespaces/default/pods"


class Server(Struct, frozen=True):
    url: str
    token: str = ""
    cluster: Cluster | None = None


@asynccontextmanager
async def bare_server(answer: Callable[[web.Request], Awaitable[bytes]], status: int) -> AsyncIterator[Server]:
    async def handle(request: web.Request) -> web.Response:
        return web.Response(body=await answer(request), status=status, content_type="application/json")

    authority = pki.CertificateAuthority(Clock())
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    context = pki.server_ssl_context(authority, ("localhost", "127.0.0.1"))
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    try:
        yield Server(f"https://127.0.0.1:{runner.addresses[0][1]}")
    finally:
        await runner.cleanup()


@asynccontextmanager
async def api_server() -> AsyncIterator[Server]:
    import yaml

    async with Cluster(nodes=0, without=CONTROL_PLANE_ONLY) as cluster:
        kubeconfig = yaml.safe_load((await cluster.serve()).read_text())
        url = kubeconfig["clusters"][0]["cluster"]["server"]
        yield Server(url, kubeconfig["users"][0]["user"]["token"], cluster)


@asynccontextmanager
async def client(server: Server, connections: int) -> AsyncIterator[aiohttp.ClientSession]:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    connector = aiohttp.TCPConnector(limit=connections, ssl=context)
    headers = {"Authorization": f"Bearer {server.token}", "Content-Type": "application/json"}
    async with aiohttp.ClientSession(server.url, connector=connector, headers=headers) as session:

        async def touch() -> None:
            """Opens a connection, so that the handshake is not counted."""
            async with session.get("/version") as answer:
                await answer.read()

        await asyncio.gather(*(touch() for _ in range(connections)))
        yield session


async def create_over_https(requests: int, connections: int) -> Measurement:
    """Pods created a second over HTTPS as a share of what the bare server answers."""
    bodies = [codec.encode(pod(number)) for number in range(requests)]

    async def post(session: aiohttp.ClientSession, number: int) -> None:
        async with session.post(PODS, data=bodies[number]) as answer:
            text = await answer.read()
            if answer.status != 201:
                raise AssertionError(f"{answer.status}: {text[:500]!r}")

    async with bare_server(lambda request: request.read(), 201) as server:
        bare = await _load(server, connections, requests, post)
    async with api_server() as server:
        async with client(server, 1) as session:  # loads what is loaded lazily
            async with session.post(PODS, data=bodies[0].replace(b'"app-0"', b'"warm"')) as answer:
                await answer.read()
        ours = await _load(server, connections, requests, post)
    return _ratio(bare, ours)


async def get_over_https(requests: int, connections: int) -> Measurement:
    """GETs of one pod a second over HTTPS as a share of what the bare server answers."""

    async def get(session: aiohttp.ClientSession, number: int) -> None:
        async with session.get(f"{PODS}/app-0") as answer:
            text = await answer.read()
            if answer.status != 200:
                raise AssertionError(f"{answer.status}: {text[:500]!r}")

    async with api_server() as server:
        assert server.cluster is not None
        await server.cluster.client.create(pod(0))
        async with client(server, 1) as session, session.get(f"{PODS}/app-0") as answer:
            body = await answer.read()
        ours = await _load(server, connections, requests, get)

    async def same(request: web.Request) -> bytes:
        return body

    async with bare_server(same, 200) as server:
        bare = await _load(server, connections, requests, get)
    return _ratio(bare, ours)


async def list_over_https(pods: int, lists: int) -> Measurement:
    """Megabytes a second of whole lists, read by one client that does not decompress."""
    async with api_server() as server, client(server, 1) as session:
        assert server.cluster is not None
        await _fill(server.cluster, pods)
        size = await _list(session)
        before = perf_counter()
        for _ in range(lists):
            size = await _list(session)
        seconds = perf_counter() - before
    return Measurement(size * lists / seconds / 1e6, {"megabytes each": size / 1e6, "ms each": seconds / lists * 1e3})


async def get_beside_lists(pods: int, gets: int) -> Measurement:
    """Milliseconds in which 99 of 100 GETs are answered while another client lists everything all the time."""
    async with api_server() as server, client(server, 1) as lister, client(server, 1) as getter:
        assert server.cluster is not None
        await _fill(server.cluster, pods)

        async def list_for_ever() -> None:
            while True:
                await _list(lister)

        background = server.cluster.system.spawn(list_for_ever)
        took = []
        for _ in range(gets):
            before = perf_counter()
            async with getter.get(f"{PODS}/app-0") as answer:
                await answer.read()
            took.append(perf_counter() - before)
        background.cancel()
    took.sort()
    return Measurement(took[len(took) * 99 // 100] * 1e3, {"median ms": took[len(took) // 2] * 1e3})


async def watch_over_https(watchers: int, writes: int) -> Measurement:
    """Deliveries a second: each write goes to every watcher; they share a process of their own, not a connection."""
    context = multiprocessing.get_context("spawn")
    heard = context.Queue()
    async with api_server() as server:
        assert server.cluster is not None
        process = context.Process(target=watch_all, args=(server.url, server.token, watchers, writes, heard))
        process.start()
        await asyncio.to_thread(heard.get)  # every watch has begun
        before = perf_counter()
        for number in range(writes):
            await server.cluster.client.create(pod(number))
            await asyncio.sleep(0)
        await asyncio.to_thread(heard.get)
        seconds = perf_counter() - before
        await asyncio.to_thread(process.join)
    return Measurement(watchers * writes / seconds, {"milliseconds each write": seconds / writes * 1e3})


def watch_all(url: str, token: str, watchers: int, writes: int, heard: Any) -> None:
    """The clients: tell when all watch, and when each has heard of every write."""
    asyncio.run(_watch_all(url, token, watchers, writes, heard))


async def _watch_all(url: str, token: str, watchers: int, writes: int, heard: Any) -> None:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    host, port = url.removeprefix("https://").split(":")
    head = f"GET {PODS}?watch=1&resourceVersion=0 HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token}\r\n\r\n"
    streams = []
    for _ in range(watchers):
        reader, writer = await asyncio.open_connection(host, int(port), ssl=context)
        writer.write(head.encode())
        await reader.readuntil(b"\r\n\r\n")
        streams.append((reader, writer))

    async def read(reader: asyncio.StreamReader) -> None:
        seen = 0
        while seen < writes:
            seen += (await reader.read(1 << 16)).count(b'"type":"ADDED"')

    heard.put("begun")
    await asyncio.gather(*(read(reader) for reader, _ in streams))
    heard.put("ended")
    for _, writer in streams:
        writer.close()


async def _fill(cluster: Cluster, pods: int) -> None:
    for number in range(pods):
        await cluster.client.create(pod(number))


async def _list(session: aiohttp.ClientSession) -> int:
    size = 0
    async with session.get("/api/v1/pods", headers={"Accept-Encoding": "identity"}) as answer:
        async for chunk in answer.content.iter_any():
            size += len(chunk)
    return size


async def _load(
    server: Server, connections: int, requests: int, one: Callable[[aiohttp.ClientSession, int], Awaitable[None]]
) -> float:
    """Requests a second over so many connections."""
    numbers = iter(range(requests))

    async def work() -> None:
        for number in numbers:
            await one(session, number)

    async with client(server, connections) as session:
        before = perf_counter()
        await asyncio.gather(*(work() for _ in range(connections)))
        return requests / (perf_counter() - before)


def _ratio(bare: float, ours: float) -> Measurement:
    return Measurement(ours / bare, {"bare requests/s": bare, "requests/s": ours})
