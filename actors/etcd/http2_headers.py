"""Header blocks of HTTP/2: read by `hpack`, remembered while its table stays as it is, and checked once.

A client's second request of a kind is the same few bytes as its first, so reading one is usually one look into a dict.
Written blocks never touch the peer's table (RFC 7541, literals without indexing), so they are constants.
"""

import re
from typing import Any

from hpack import Decoder, HPACKError, OversizedHeaderListError
from hpack.table import HeaderTable

BLOCKS_REMEMBERED_MAX = 256
BLOCK_REMEMBERED_BYTES_MAX = 4_096
CONNECTION_HEADERS = frozenset((b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"))
NAME = re.compile(rb"[a-z0-9!#$%&'*+.^_`|~-]+").fullmatch
BAD_VALUE = re.compile(rb"[\0\r\n]|\A[ \t]|[ \t]\Z").search
REQUEST_PSEUDO_HEADERS = frozenset((b":method", b":scheme", b":path", b":authority"))


class BadHeaders(Exception):
    """A block that HPACK cannot read: the connection's state is lost. `oversized`: too much in it, not garbage."""

    def __init__(self, text: str, *, oversized: bool = False) -> None:
        super().__init__(text)
        self.oversized = oversized


class Head:
    """One header block. `malformed` says what RFC 9113, 8.1.1 to 8.3.1 forbid in it when it begins a request, else "".

    `route` is the reader's own note about it: made once for the many requests with the same block.
    """

    __slots__ = ("content_length", "headers", "malformed", "method", "path", "route", "trailers_malformed")

    def __init__(self, headers: list[tuple[bytes, bytes]]) -> None:
        self.headers: dict[bytes, bytes] = {}
        for name, value in headers:
            self.headers[name] = self.headers[name] + b"," + value if name in self.headers else value
        self.method = self.headers.get(b":method", b"")
        self.path = self.headers.get(b":path", b"")
        self.content_length: int | None = None
        self.route: Any = None
        self.malformed = self._check(headers)
        self.trailers_malformed = _check_fields(headers)

    def _check(self, headers: list[tuple[bytes, bytes]]) -> str:
        count = 0
        for name, _ in headers:
            if name[:1] != b":":
                break
            if name not in REQUEST_PSEUDO_HEADERS:
                return f"{name!r} is no pseudo-header of a request"
            count += 1
        if len({name for name, _ in headers[:count]}) < count:
            return "a pseudo-header twice"
        connect = self.method == b"CONNECT"
        for name in (b":authority",) if connect else (b":method", b":scheme", b":path"):
            if not self.headers.get(name):
                return f"{name.decode()} is missing"
        length = self.headers.get(b"content-length")
        if length is not None:
            if not length.isdigit() or len(length) > 18:
                return f"content-length {length!r}"
            self.content_length = int(length)
        return _check_fields(headers[count:])


def _check_fields(fields: list[tuple[bytes, bytes]]) -> str:
    for name, value in fields:
        if name[:1] == b":":
            return f"pseudo-header {name!r} after the fields"
        if name in CONNECTION_HEADERS or (name == b"te" and value != b"trailers"):
            return f"{name!r} belongs to HTTP/1.1"
        if not NAME(name):
            return f"header name {name!r}"
        if BAD_VALUE(value):
            return f"the value of {name!r}: {value[:64]!r}"
    return ""


class _Table(HeaderTable):
    """Counts its additions: a block that adds nothing is read the same way next time."""

    def __init__(self) -> None:
        super().__init__()
        self.additions = 0

    def add(self, name: bytes, value: bytes) -> None:
        self.additions += 1
        super().add(name, value)


class HeaderReader:
    """The peer's header blocks, which must be read in the order in which they came."""

    def __init__(self, list_bytes_max: int) -> None:
        self._table = _Table()
        self._decoder = Decoder(list_bytes_max)
        self._decoder.header_table = self._table
        self._list_bytes_max = list_bytes_max
        self._heads: dict[bytes, Head] = {}

    def read(self, block: bytes) -> Head:
        """Raises BadHeaders."""
        head = self._heads.get(block)
        if head is not None:
            return head
        additions = self._table.additions
        try:
            head = Head(self._decoded(block))
        except OversizedHeaderListError as error:
            raise BadHeaders(str(error), oversized=True) from None
        except (HPACKError, IndexError) as error:
            raise BadHeaders(str(error)) from None
        resized = len(block) > 0 and block[0] & 0xE0 == 0x20  # RFC 7541, 6.3: only at the beginning
        if resized or self._table.additions != additions:
            self._heads.clear()
        elif len(block) <= BLOCK_REMEMBERED_BYTES_MAX:
            if len(self._heads) >= BLOCKS_REMEMBERED_MAX:
                self._heads.clear()
            self._heads[block] = head
        return head

    def _decoded(self, block: bytes) -> list[tuple[bytes, bytes]]:
        """The fields. Those of one byte at the beginning, which most are, are looked up here: hpack takes ten times as
        long, and grpc-go's deadlines make every block a new one."""
        fields = []
        get_by_index = self._table.get_by_index
        for byte in block:
            if not 0x80 < byte < 0xFF:
                break
            fields.append(get_by_index(byte & 0x7F))
        indexed = len(fields)
        if indexed < len(block):
            if indexed and block[indexed] & 0xE0 == 0x20:
                raise BadHeaders("a table size update after a field")
            fields += [(field[0], field[1]) for field in self._decoder.decode(block[indexed:], raw=True)]
        if sum([len(name) + len(value) + 32 for name, value in fields]) > self._list_bytes_max:
            raise BadHeaders(f"a header list larger than {self._list_bytes_max}", oversized=True)
        return fields


def literal(name: bytes, value: bytes) -> bytes:
    """A header field that leaves the peer's table as it is (RFC 7541, 6.2.2), without Huffman coding."""
    return b"\0" + _string(name) + _string(value)


def _string(text: bytes) -> bytes:
    length = len(text)
    if length < 127:
        return bytes((length,)) + text
    prefix = bytearray((127,))
    length -= 127
    while length >= 128:
        prefix.append(length & 127 | 128)
        length >>= 7
    prefix.append(length)
    return bytes(prefix) + text
