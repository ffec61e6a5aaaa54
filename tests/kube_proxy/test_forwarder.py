import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from kubeloop.actors.kube_proxy.forwarder import Listener
from kubeloop.actors.kube_proxy.tables import Endpoint


@asynccontextmanager
async def listening(choose: Any) -> AsyncIterator[Listener]:
    async with asyncio.TaskGroup() as group:

        def spawn(function: Any, *args: Any, name: str = "") -> None:
            group.create_task(function(*args), name=name)

        listener = Listener("127.0.0.1", 0, choose, spawn)
        listener.set_open(True)
        await asyncio.sleep(0.01)
        try:
            yield listener
        finally:
            listener.close()


@asynccontextmanager
async def server(handle: Any) -> AsyncIterator[Endpoint]:
    writers: list[asyncio.StreamWriter] = []

    async def kept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        await handle(reader, writer)

    made = await asyncio.start_server(kept, "127.0.0.1", 0)
    try:
        yield Endpoint("127.0.0.1", made.sockets[0].getsockname()[1])
    finally:
        made.close()
        for writer in writers:
            await closed(writer)


async def closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers in capitals, after the whole request: only a half-close gets it out of this."""
    writer.write((await reader.read()).upper())
    await writer.drain()
    writer.close()


def dead() -> Endpoint:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return Endpoint("127.0.0.1", taken.getsockname()[1])


async def exchange(port: int, data: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        writer.write_eof()
        return await reader.read()
    finally:
        await closed(writer)


async def test_bytes_go_there_and_back_and_half_close_is_kept() -> None:
    async with server(shout) as endpoint, listening(lambda source: [endpoint]) as listener:
        assert await exchange(listener.port, b"hello") == b"HELLO"
        assert await exchange(listener.port, b"x" * 3_000_000) == b"X" * 3_000_000


async def test_an_endpoint_that_refuses_is_passed_over() -> None:
    async with server(shout) as endpoint, listening(lambda source: [dead(), endpoint]) as listener:
        assert await exchange(listener.port, b"hello") == b"HELLO"


async def test_a_connection_that_no_endpoint_takes_is_reset() -> None:
    async with listening(lambda source: [dead()]) as listener:
        with pytest.raises(ConnectionError):
            await exchange(listener.port, b"hello")
            raise ConnectionError("closed without an answer")


async def test_a_closed_listener_refuses_and_keeps_its_port_and_its_connections() -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(line)
        writer.close()

    endpoints: Sequence[Endpoint] = ()
    async with server(echo) as endpoint, listening(lambda source: endpoints) as listener:
        endpoints, port = [endpoint], listener.port
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"one\n")
        assert await reader.readline() == b"one\n"
        listener.set_open(False)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"two\n")
        assert await reader.readline() == b"two\n"
        listener.set_open(True)
        await asyncio.sleep(0.01)
        assert listener.port == port
        assert await exchange(port, b"three\n") == b"three\n"
        await closed(writer)
