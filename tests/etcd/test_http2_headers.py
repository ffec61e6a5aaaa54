"""Header blocks are read as hpack reads them, remembered or not."""

import pytest
from hpack import Decoder, Encoder
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from kubeloop.actors.etcd.wire.http2_headers import BLOCKS_REMEMBERED_MAX, BadHeaders, HeaderReader, literal

NAMES = [b":path", b":method", b"te", b"grpc-timeout", b"user-agent", b"x-a", b"x-b"]
FIELDS = st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from([b"", b"1", b"POST", b"v" * 100])), max_size=8)


@hypothesis_settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(FIELDS, st.sampled_from([None, 0, 60, 200, 4096]), st.booleans()), max_size=12))
def test_blocks_are_read_as_hpack_reads_them(blocks: list[tuple[list[tuple[bytes, bytes]], int | None, bool]]) -> None:
    """Whatever changes the table in between: additions, evictions, a new size."""
    encoder, plain, reader = Encoder(), Decoder(), HeaderReader(65_536)
    for fields, table_size, huffman in blocks:
        if table_size is not None:
            encoder.header_table_size = table_size
        for _ in range(2):
            block = encoder.encode(fields, huffman=huffman)
            expected: dict[bytes, bytes] = {}
            for name, value in plain.decode(block, raw=True):
                expected[name] = expected[name] + b"," + value if name in expected else value
            assert reader.read(block).headers == expected


def test_a_block_that_changes_nothing_is_read_once() -> None:
    encoder, reader = Encoder(), HeaderReader(65_536)
    fields = [(b":method", b"POST"), (b"x-a", b"1")]
    first = reader.read(encoder.encode(fields))
    block = encoder.encode(fields)
    second = reader.read(block)
    assert second is not first
    assert reader.read(block) is second
    reader.read(encoder.encode([(b"x-b", b"2")]))  # now the indexes mean something else
    assert reader.read(encoder.encode(fields)).headers == second.headers
    assert reader.read(block).headers[b"x-b"] == b"2"


def test_what_is_remembered_is_bounded() -> None:
    reader = HeaderReader(65_536)
    for number in range(5 * BLOCKS_REMEMBERED_MAX):
        reader.read(literal(b"x", b"%d" % number))
        assert len(reader._heads) <= BLOCKS_REMEMBERED_MAX


def test_oversized_lists_are_told_from_garbage() -> None:
    reader = HeaderReader(1_000)
    with pytest.raises(BadHeaders) as caught:
        reader.read(b"\x83" * 30)
    assert caught.value.oversized
    with pytest.raises(BadHeaders) as caught:
        reader.read(b"\x83\xbf")
    assert not caught.value.oversized
