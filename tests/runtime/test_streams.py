import asyncio
from typing import Any

import pytest

from kubeloop.runtime.clock import Clock
from kubeloop.runtime.errors import Unreachable
from kubeloop.runtime.network import Network
from kubeloop.runtime.simulation import simulate
from kubeloop.runtime.stream_transport import PipeTransport
from kubeloop.runtime.streams import Pipe, Streams, StreamSet


async def test_a_pipe_keeps_the_order_and_ends() -> None:
    pipe = Pipe()
    await pipe.write(b"one")
    pipe.feed(b"two")
    pipe.end()
    pipe.end(ConnectionResetError("only the first end counts"))
    assert [await pipe.read(), await pipe.read(1), await pipe.read(), await pipe.read()] == [b"one", b"t", b"wo", b""]


def test_a_full_pipe_makes_its_writer_wait_until_it_is_half_empty() -> None:
    async def main() -> list[Any]:
        pipe = Pipe(bytes_max=10)
        done: list[int | str] = []

        async def write() -> None:
            for number in range(4):
                await pipe.write(b"12345")
                done.append(number)

        async with asyncio.TaskGroup() as group:
            group.create_task(write())
            await asyncio.sleep(1)
            done.append("full")
            await pipe.read()
            await asyncio.sleep(1)
            done.append("half")
            await pipe.read()
            await asyncio.sleep(1)
        return done

    assert simulate(main(), seed=1) == [0, 1, "full", 2, "half", 3]


async def test_feed_says_that_it_is_full_and_calls_back_when_there_is_room() -> None:
    pipe, called = Pipe(bytes_max=4), []
    pipe.on_room = lambda: called.append("room")
    assert pipe.feed(b"123") and not pipe.feed(b"45") and pipe.full
    assert await pipe.read() == b"123"
    assert called == ["room"] and not pipe.full


async def test_who_writes_to_a_reader_that_has_gone_is_told() -> None:
    pipe, called = Pipe(bytes_max=1), []
    pipe.on_closed = lambda: called.append("closed")
    pipe.feed(b"x")
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(raised(pipe.write(b"y")))
        await asyncio.sleep(0)
        pipe.close()
    assert isinstance(waiting.result(), BrokenPipeError) and called == ["closed"]
    assert pipe.feed(b"dropped") and await pipe.read() == b""


async def raised(awaitable: Any) -> Exception | None:
    try:
        await awaitable
    except Exception as error:
        return error
    return None


async def test_what_a_pipe_broke_with_comes_after_what_was_written() -> None:
    pipe = Pipe()
    pipe.feed(b"last words")
    pipe.end(ConnectionResetError("cut"))
    assert await pipe.read() == b"last words"
    with pytest.raises(ConnectionResetError, match="cut"):
        await pipe.read()


async def test_a_command_ends_with_its_code_after_its_output() -> None:
    streams = Streams(stderr=True)
    assert streams.stdout is not None and streams.stderr is not None and streams.stdin is not None
    streams.stdout.feed(b"out")
    streams.finish(3)
    assert await streams.stdout.read_all(10) == b"out" and await streams.stderr.read() == b""
    assert await streams.wait() == 3 and streams.over
    with pytest.raises(BrokenPipeError):
        await streams.stdin.write(b"too late")


async def test_who_serves_hears_once_that_the_asker_has_gone() -> None:
    streams, called = Streams(), []
    streams.on_close = lambda: called.append("gone")
    async with streams:
        pass
    streams.close()
    streams.finish(1)
    assert called == ["gone"] and streams.stdin is not None and await streams.stdin.read() == b""


def test_a_delay_of_the_network_delays_both_directions() -> None:
    async def main() -> list[float]:
        clock = Clock(1, epoch=0)
        network = Network(clock)
        network.delay("a", "b", min_seconds=1)
        streams = Streams()
        streams.carry(network, "a", "b")
        assert streams.stdin is not None and streams.stdout is not None
        times = []
        await streams.stdin.write(b"ask")
        await streams.stdin.read()
        times.append(clock.now())
        streams.stdout.feed(b"answer")
        streams.finish(0)
        await streams.stdout.read()
        times.append(clock.now())
        await streams.wait()
        return [*times, network.connections()]

    assert simulate(main(), seed=1) == [1.0, 2.0, 0]


async def test_a_partition_breaks_streams_for_both_sides() -> None:
    network, called = Network(Clock(1)), []
    streams = Streams()
    streams.on_close = lambda: called.append("gone")
    streams.carry(network, "a", "b")
    assert streams.stdin is not None and streams.stdout is not None
    streams.stdout.feed(b"lost")
    network.partition("a", "b")
    for broken in (streams.stdout.read(), streams.stdin.read(), streams.wait()):
        with pytest.raises(Unreachable, match="the connection from a to b was cut"):
            await broken
    assert called == ["gone"] and network.connections() == 0
    with pytest.raises(Unreachable, match="no way"):
        Streams().carry(network, "a", "b")


async def test_a_set_forgets_what_is_over_and_breaks_the_rest() -> None:
    streams = StreamSet(2)
    first, second = Streams(), Streams()
    streams.add(first)
    streams.add(second)
    assert streams.full
    first.finish(0)
    assert len(streams) == 1
    streams.abort(ConnectionResetError("the end"))
    with pytest.raises(ConnectionResetError, match="the end"):
        await second.wait()
    assert not len(streams)
    streams.add(second)  # over already: nothing would take it out again
    assert not len(streams)


class Echo(asyncio.Protocol):
    """Answers what comes, in capitals; slowly when it is told to pause."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data.upper())

    def eof_received(self) -> bool:
        self.events.append("eof")
        return False

    def pause_writing(self) -> None:
        self.events.append("pause")

    def resume_writing(self) -> None:
        self.events.append("resume")

    def connection_lost(self, error: Exception | None) -> None:
        self.events.append(f"lost {error!r}")


async def test_a_protocol_speaks_over_pipes_as_over_a_socket() -> None:
    incoming, outgoing, protocol = Pipe(), Pipe(bytes_max=4), Echo()
    transport = PipeTransport(incoming, outgoing, protocol)
    async with asyncio.TaskGroup() as group:
        group.create_task(transport.run())
        await incoming.write(b"hello")
        assert await outgoing.read() == b"HELLO"
        transport.pause_reading()
        await incoming.write(b"later")
        await asyncio.sleep(0)
        transport.resume_reading()
        assert await outgoing.read() == b"LATER"
        incoming.end()
        assert await outgoing.read() == b""
    assert protocol.events == ["pause", "resume", "pause", "resume", "eof", "lost None"]


async def test_a_protocol_hears_why_its_pipes_broke() -> None:
    incoming, outgoing, protocol = Pipe(), Pipe(), Echo()
    incoming.end(Unreachable("cut"))
    await PipeTransport(incoming, outgoing, protocol).run()
    assert protocol.events == ["lost ConnectionResetError('cut')"]
