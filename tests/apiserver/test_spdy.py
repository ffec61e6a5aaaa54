import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubeloop.actors.apiserver import spdy
from kubeloop.actors.apiserver.spdy import Frame, Reader, SpdyError, Writer

NAMES = st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=20)
HEADERS = st.dictionaries(NAMES, st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=50), max_size=8)
NUMBERS = st.integers(1, 0x7FFFFFFF)


def test_the_dictionary_is_spdys() -> None:
    assert len(spdy.DICTIONARY) == 1423 and zlib.adler32(spdy.DICTIONARY) == 0xE3C6A7C2


@st.composite
def frames(draw: st.DrawFn) -> tuple[str, int, object]:
    kind = draw(st.sampled_from(["data", "syn_stream", "syn_reply", "rst_stream", "ping", "goaway"]))
    more = {
        "data": st.binary(max_size=200),
        "syn_stream": HEADERS,
        "syn_reply": HEADERS,
        "rst_stream": st.integers(1, 11),
    }.get(kind, st.none())
    return kind, draw(NUMBERS), draw(more)


@given(st.lists(frames(), max_size=8), st.integers(1, 64))
def test_what_is_written_is_read_back_in_any_pieces(sent: list[tuple[str, int, object]], size: int) -> None:
    writer, reader = Writer(), Reader()
    wire, expected = b"", []
    for kind, number, more in sent:
        arguments = (number,) if more is None else (number, more)
        wire += getattr(writer, kind)(*arguments)
        if kind == "data":
            assert isinstance(more, bytes)
            expected.append(Frame(0, number, data=more))
        elif isinstance(more, dict):
            expected.append(Frame(spdy.SYN_STREAM if kind == "syn_stream" else spdy.SYN_REPLY, number, 0, more))
        else:
            expected.append(Frame(getattr(spdy, kind.upper()), number))
    heard: list[Frame] = []
    for start in range(0, len(wire), size):
        heard += reader.feed(wire[start : start + size])
    assert [
        Frame(one.type, one.number, one.flags, one.headers, one.data if one.type == 0 else b"") for one in heard
    ] == (expected)


@settings(max_examples=300)
@given(st.binary(max_size=300), st.booleans())
def test_rubbish_is_refused_or_waited_for(rubbish: bytes, control: bool) -> None:
    head = b"\x80\x03\x00\x01" if control else b""
    try:
        for frame in Reader().feed(head + rubbish):
            assert isinstance(frame, Frame)
    except SpdyError:
        pass


@given(st.binary(max_size=200))
def test_damaged_headers_are_refused(damage: bytes) -> None:
    block = zlib.compressobj(zdict=spdy.DICTIONARY)
    packed = block.compress(damage) + block.flush(zlib.Z_SYNC_FLUSH)
    body = b"\x00\x00\x00\x01" + bytes(6) + packed
    frame = b"\x80\x03\x00\x01" + len(body).to_bytes(4) + body
    try:
        (only,) = Reader().feed(frame)
        assert isinstance(only.headers, dict)
    except SpdyError:
        pass


def test_limits_are_kept() -> None:
    with pytest.raises(SpdyError, match="at most"):
        list(Reader().feed(b"\x00\x00\x00\x01\x00\xff\xff\xff"))
    with pytest.raises(SpdyError, match="longer than"):
        list(Reader().feed(Writer().syn_stream(1, {"a": "x" * 100_000})))
    with pytest.raises(SpdyError, match="version 2"):
        list(Reader().feed(b"\x80\x02\x00\x01\x00\x00\x00\x00"))
