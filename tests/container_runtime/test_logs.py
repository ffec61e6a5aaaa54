import asyncio

import pytest

from kubeloop.actors.container_runtime import logs
from kubeloop.actors.container_runtime.logs import BufferStream, LogBuffer


async def read(stream: BufferStream) -> bytes:
    return b"".join([chunk async for chunk in stream])


def filled() -> LogBuffer:
    buffer = LogBuffer()
    for second in range(4):
        buffer.write("stdout", f"line {second}\n".encode(), float(second))
    return buffer


async def test_lines_come_in_the_order_in_which_they_were_written() -> None:
    buffer = LogBuffer()
    buffer.write("stdout", b"one\ntw", 1.0)
    buffer.write("stderr", b"error\n", 2.0)
    buffer.write("stdout", b"o\n", 3.0)
    assert await read(BufferStream(buffer)) == b"one\nerror\ntwo\n"


async def test_an_unfinished_line_counts_once_the_container_has_ended() -> None:
    buffer = LogBuffer()
    buffer.write("stdout", b"no newline", 1.0)
    assert await read(BufferStream(buffer)) == b""
    buffer.close(2.0)
    assert await read(BufferStream(buffer)) == b"no newline\n"


async def test_tail_and_since_and_limit_choose() -> None:
    assert await read(BufferStream(filled(), tail_lines=2)) == b"line 2\nline 3\n"
    assert await read(BufferStream(filled(), tail_lines=0)) == b""
    assert await read(BufferStream(filled(), since=3.0)) == b"line 3\n"
    assert await read(BufferStream(filled(), limit_bytes=10)) == b"line 0\nlin"


async def test_timestamps_have_nanoseconds() -> None:
    buffer = LogBuffer()
    buffer.write("stdout", b"x\n", 1767225600.5)
    assert await read(BufferStream(buffer, timestamps=True)) == b"2026-01-01T00:00:00.500000000Z x\n"


async def test_the_oldest_lines_go_when_the_ring_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "LOG_BYTES_MAX", 21)
    assert await read(BufferStream(filled())) == b"line 1\nline 2\nline 3\n"


async def test_following_gives_new_lines_and_ends_with_the_container() -> None:
    buffer = filled()
    reader = asyncio.create_task(read(BufferStream(buffer, follow=True, tail_lines=1)))
    await asyncio.sleep(0)
    buffer.write("stdout", b"late\n", 9.0)
    await asyncio.sleep(0)
    buffer.close(10.0)
    assert await reader == b"line 3\nlate\n"
    assert buffer.followers == []


async def test_closing_a_stream_ends_its_reader() -> None:
    stream = BufferStream(filled(), follow=True, tail_lines=0)
    reader = asyncio.create_task(read(stream))
    await asyncio.sleep(0)
    await stream.aclose()
    assert await reader == b""
