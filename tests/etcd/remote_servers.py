"""What `RemoteKV` is tested over: the real etcd, and our own served one, which it must not tell apart."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from kubeloop.actors.etcd.actor import EtcdActor
from kubeloop.actors.etcd.options import EtcdOptions
from kubeloop.actors.etcd.server import EtcdServer
from kubeloop.runtime.system import System

SECONDS = 10.0


class ServedEtcd(EtcdActor):
    """Listens on a free port; `urls`, which it is given, then holds where."""

    def __init__(self, urls: list[str]) -> None:
        super().__init__(EtcdOptions(listen_client_urls=("http://127.0.0.1:0",)))
        self._urls = urls

    async def on_start(self) -> None:
        await super().on_start()
        server = EtcdServer(self)
        await server.start()
        self._urls[:] = server.urls


@pytest.fixture(params=["real", "served"])
async def etcd_urls(request: pytest.FixtureRequest) -> AsyncIterator[tuple[str, ...]]:
    """One member, in which nothing is."""
    if request.param == "real":
        yield tuple(request.getfixturevalue("real_etcd").urls)
        return
    urls: list[str] = []
    async with System() as system:
        await system.start(lambda: ServedEtcd(urls), name="etcd", host="etcd-0")
        yield tuple(urls)


async def until(condition: Callable[[], object], seconds: float = SECONDS) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - any condition
            await asyncio.sleep(0.002)
