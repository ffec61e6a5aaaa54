"""What `RemoteKV` is tested over: the real etcd, our own served one, and how connections to them fail."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from kubeloop.actors.etcd.actor import EtcdActor
from kubeloop.actors.etcd.options import EtcdOptions
from kubeloop.actors.etcd.wire.server import EtcdServer
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


class Relay:
    """Carries bytes between a client and 127.0.0.1:`port`. What is kept back is lost with the connection."""

    def __init__(self, port: int) -> None:
        self.keeps_requests = False
        self.keeps_answers = False
        self.refuses = False
        self.kept = asyncio.Event()
        self._port = port
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: list[asyncio.Task[None]] = []

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()
            self.cut()
            await asyncio.gather(*self._tasks)
            await server.wait_closed()

    def cut(self) -> None:
        """End every connection, and carry everything on the next ones."""
        self.keeps_requests = self.keeps_answers = False
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()
        self.kept.clear()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refuses:
            writer.transport.abort()
            return
        target_reader, target_writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers += [writer, target_writer]
        self._tasks.append(asyncio.create_task(self._carry(reader, target_writer, lambda: self.keeps_requests)))
        self._tasks.append(asyncio.create_task(self._carry(target_reader, writer, lambda: self.keeps_answers)))

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, keeps: Callable[[], bool]
    ) -> None:
        try:
            while data := await reader.read(65_536):
                if keeps():
                    self.kept.set()
                else:
                    writer.write(data)
        except ConnectionError:
            pass
        writer.transport.abort()


async def until(condition: Callable[[], object], seconds: float = SECONDS) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - any condition
            await asyncio.sleep(0.002)
