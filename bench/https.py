"""Creating pods over HTTPS, beside a bare aiohttp server that reads and writes the same bytes over the same TLS.

Server and clients share one process and one core in both cases, so each carries the client's cost as well; the clients
are aiohttp's, and the ratio is what counts.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any

from bench.api import CONTROL_PLANE_ONLY
from bench.objects import pod
from bench.workload import Measurement
from kubeloop.actors.cluster import Cluster
from kubeloop.runtime.clock import Clock

Post = Callable[[int], Awaitable[int]]


async def create_over_https(requests: int, connections: int) -> Measurement:
    """Pods created a second over HTTPS as a share of what the bare server answers."""
    from kubeloop.actors.api import codec

    bodies = [codec.encode(pod(number)) for number in range(requests)]
    bare = await _bare(bodies, connections)
    ours = await _ours(bodies, connections)
    detail = {"bare_requests_per_second": requests / bare, "requests_per_second": requests / ours}
    return Measurement(bare / ours, detail)


async def _bare(bodies: list[bytes], connections: int) -> float:
    from aiohttp import web

    from kubeloop.actors import pki

    async def echo(request: web.Request) -> web.Response:
        return web.Response(body=await request.read(), status=201, content_type="application/json")

    authority = pki.CertificateAuthority(Clock())
    application = web.Application()
    application.router.add_post("/api/v1/namespaces/default/pods", echo)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    site = web.TCPSite(
        runner, "127.0.0.1", 0, ssl_context=pki.server_ssl_context(authority, ("localhost", "127.0.0.1"))
    )
    await site.start()
    try:
        port = runner.addresses[0][1]
        return await _load(f"https://127.0.0.1:{port}", {}, bodies, connections)
    finally:
        await runner.cleanup()


async def _ours(bodies: list[bytes], connections: int) -> float:
    import yaml

    async with Cluster(nodes=0, without=CONTROL_PLANE_ONLY) as cluster:
        kubeconfig = yaml.safe_load((await cluster.serve()).read_text())
        server = kubeconfig["clusters"][0]["cluster"]["server"]
        token = kubeconfig["users"][0]["user"]["token"]
        return await _load(server, {"Authorization": f"Bearer {token}"}, bodies, connections)


async def _load(server: str, headers: dict[str, str], bodies: list[bytes], connections: int) -> float:
    """Seconds that so many connections take to post all bodies."""
    import aiohttp

    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    url = f"{server}/api/v1/namespaces/default/pods"
    headers = {**headers, "Content-Type": "application/json"}
    connector = aiohttp.TCPConnector(limit=connections, ssl=context)
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
        queue = iter(bodies)

        async def post() -> None:
            for body in queue:
                async with session.post(url, data=body) as answer:
                    text = await answer.read()
                    if answer.status != 201:
                        raise AssertionError(f"{answer.status}: {text[:500]!r}")

        async with session.post(url, data=bodies[0].replace(b'"app-0"', b'"warm"')) as answer:
            await answer.read()  # loads what is loaded lazily
        async with asyncio.TaskGroup() as warm:
            for _ in range(connections):
                warm.create_task(_touch(session, server))
        before = perf_counter()
        async with asyncio.TaskGroup() as group:
            for _ in range(connections):
                group.create_task(post())
        return perf_counter() - before


async def _touch(session: Any, server: str) -> None:
    """Opens the connection, so that the handshake is not counted."""
    async with session.get(f"{server}/version") as answer:
        await answer.read()
