"""Header blocks of HTTP/2: read by `hpack`, remembered while its table stays as it is, and checked once.

A client's second request of a kind is the same few bytes as its first, so reading one is usually one look into a dict.
Written blocks never touch the peer's table (RFC 7541, literals without indexing), so they are constants.
"""

import re
from typing import Any

from hpack import Decoder, HPACKError, OversizedHeaderListError
from hpack.huffman_table import decode_huffman
from hpack.table import HeaderTable

BLOCKS_REMEMBERED_MAX = 256
BLOCK_REMEMBERED_BYTES_MAX = 4_096
CONNECTION_HEADERS = frozenset((b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"))
NAMES = re.compile(rb"(?:[a-z0-9!#$%&'*+.^_`|~-]+(?:\n(?=.)|\Z))*", re.DOTALL).fullmatch  # one a line
BAD_VALUES = re.compile(rb"[\0\r]|(?:\A|\n)[ \t]|[ \t](?:\n|\Z)").search
REQUEST_PSEUDO_HEADERS = frozenset((b":method", b":scheme", b":path", b":authority"))


class BadHeaders(Exception):
    """A block that HPACK cannot read: the connection's state is lost. `oversized`: too much in it, not garbage."""

    def __init__(self, text: str, *, oversized: bool = False) -> None:
        super().__init__(text)
        self.oversized = oversized


class Head:
    """One header block: `headers` has the values of a name that comes twice joined by commas.

    `malformed` says what RFC 9113, 8.2 and 8.3, forbids in it when it begins a request, else "". `route` is the
    reader's own note about it: made once for the many requests with the same block.
    """

    __slots__ = ("content_length", "fields", "headers", "malformed", "method", "path", "route")

    def __init__(self, fields: list[tuple[bytes, bytes]]) -> None:
        self.fields = fields
        self.headers = headers = dict(fields)
        if len(headers) < len(fields):
            self.headers = _joined(fields)
        self.method = headers.get(b":method", b"")
        self.path = headers.get(b":path", b"")
        self.content_length: int | None = None
        self.route: Any = None
        self.malformed = self._check()

    def _check(self) -> str:
        fields, headers = self.fields, self.headers
        count = 0
        for name, _ in fields:
            if name[:1] != b":":
                break
            if name not in REQUEST_PSEUDO_HEADERS:
                return f"{name!r} is no pseudo-header of a request"
            count += 1
        if count > 1 and len({name for name, _ in fields[:count]}) < count:
            return "a pseudo-header twice"
        for name in (b":authority",) if self.method == b"CONNECT" else (b":method", b":scheme", b":path"):
            if not headers.get(name):
                return f"{name.decode()} is missing"
        length = headers.get(b"content-length")
        if length is not None:
            if not length.isdigit() or len(length) > 18:
                return f"content-length {length!r}"
            self.content_length = int(length)
        return _malformed_fields(fields[count:])

    @property
    def trailers_malformed(self) -> str:
        """As `malformed`, when it ends a request."""
        return _malformed_fields(self.fields)


def _joined(fields: list[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    headers: dict[bytes, bytes] = {}
    for name, value in fields:
        headers[name] = headers[name] + b"," + value if name in headers else value
    return headers


def _malformed_fields(fields: list[tuple[bytes, bytes]]) -> str:
    """What is wrong with the fields after the pseudo-headers. All are looked at together first: mostly none is."""
    names = [name for name, _ in fields]
    values = b"\n".join([value for _, value in fields])
    if (
        NAMES(b"\n".join(names))
        and not BAD_VALUES(values)
        and values.count(b"\n") == max(len(fields) - 1, 0)
        and CONNECTION_HEADERS.isdisjoint(names)
        and (b"te" not in names or (b"te", b"trailers") in fields)
    ):
        return ""
    for name, value in fields:
        if name[:1] == b":":
            return f"pseudo-header {name!r} after the fields"
        if name in CONNECTION_HEADERS or (name == b"te" and value != b"trailers"):
            return f"{name!r} belongs to HTTP/1.1"
        if not NAMES(name) or b"\n" in name or not name:
            return f"header name {name!r}"
        if BAD_VALUES(value) or b"\n" in value:
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
        """The fields. Short ones from the table, and those whose name is there, are read here: hpack takes ten times
        as long, and a deadline of grpc-go's makes every block a new one. hpack reads the rest, from the same table."""
        table = self._table
        fields: list[tuple[bytes, bytes]] = []
        position, end = 0, len(block)
        while position < end:
            byte = block[position]
            if 0x80 < byte < 0xFF:
                fields.append(table.get_by_index(byte & 0x7F))
                position += 1
                continue
            stop = position + 2 + (block[position + 1] & 0x7F) if position + 1 < end else end + 1
            if not 0x40 < byte < 0x7F or stop > end or block[position + 1] & 0x7F == 0x7F:
                break
            value = block[position + 2 : stop]
            if block[position + 1] & 0x80:
                value = decode_huffman(value)
            field = (table.get_by_index(byte & 0x3F)[0], value)
            table.add(*field)
            fields.append(field)
            position = stop
        if position < end:
            if fields and block[position] & 0xE0 == 0x20:
                raise BadHeaders("a table size update after a field")
            fields += [(field[0], field[1]) for field in self._decoder.decode(block[position:], raw=True)]
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
