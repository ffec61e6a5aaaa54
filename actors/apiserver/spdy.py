"""SPDY/3.1 frames, as far as port-forwarding over a WebSocket needs them. Pure: bytes in, frames out, and back.

Follows the SPDY drafts 3 and 3.1 ("Framing", "Name/Value Header Block") and KEP-4006. There is no flow control: clients
of Kubernetes neither send nor expect WINDOW_UPDATE.
"""

import struct
import zlib
from collections.abc import Iterator, Mapping

import msgspec

SYN_STREAM, SYN_REPLY, RST_STREAM, SETTINGS, PING, GOAWAY, HEADERS, WINDOW_UPDATE = 1, 2, 3, 4, 6, 7, 8, 9
FIN = 0x01
PROTOCOL_ERROR, INVALID_STREAM, REFUSED_STREAM, CANCEL = 1, 2, 3, 5
VERSION = 3
HEADER_BYTES_MAX = 64 * 1024  # of one header block, unpacked
FRAME_BYTES_MAX = 4 << 20
DATA_BYTES_MAX = 64 * 1024  # of one frame that we send

_NAMES = (
    "options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age allow "
    "authorization cache-control connection content-base content-encoding content-language content-length "
    "content-location content-md5 content-range content-type date etag expect expires from host if-match "
    "if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma "
    "proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade "
    "user-agent vary via warning www-authenticate method get status 200\N{NO-BREAK SPACE}OK version HTTP/1.1 url "
    "public set-cookie keep-alive origin"
)
_REST = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden"
    "404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable"
    "Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT"
    "chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,"
    "text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)


def _dictionary() -> bytes:
    """What both sides' zlib knows before the first header: 1423 bytes, Adler-32 e3c6a7c2."""
    names = (name.replace("\N{NO-BREAK SPACE}", " ").encode() for name in _NAMES.split(" "))
    return b"".join(struct.pack(">I", len(name)) + name for name in names) + _REST.encode()


DICTIONARY = _dictionary()


class SpdyError(Exception):
    """What came is no SPDY/3; the connection cannot go on."""


class Frame(msgspec.Struct, frozen=True):
    """`type` 0 is data. `number` is the stream's, PING's own, or GOAWAY's last good stream."""

    type: int
    number: int = 0
    flags: int = 0
    headers: Mapping[str, str] = {}
    data: bytes = b""


class Reader:
    """Puts chunks together to frames."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._inflate = zlib.decompressobj(zdict=DICTIONARY)

    def feed(self, chunk: bytes) -> Iterator[Frame]:
        """The frames that `chunk` completes. Raises SpdyError."""
        self._rest += chunk
        while len(self._rest) >= 8:
            head, flags_and_length = struct.unpack_from(">II", self._rest)
            length = flags_and_length & 0xFFFFFF
            if length > FRAME_BYTES_MAX:
                raise SpdyError(f"a frame of {length} bytes: at most {FRAME_BYTES_MAX} are taken")
            if len(self._rest) < 8 + length:
                return
            body = bytes(self._rest[8 : 8 + length])
            del self._rest[: 8 + length]
            yield self._frame(head, flags_and_length >> 24, body)

    def _frame(self, head: int, flags: int, body: bytes) -> Frame:
        if not head & 0x80000000:
            return Frame(0, head, flags, data=body)
        version, kind = head >> 16 & 0x7FFF, head & 0xFFFF
        if version != VERSION:
            raise SpdyError(f"version {version} of SPDY: only 3 is spoken here")
        try:
            if kind == SYN_STREAM:
                return Frame(kind, _number(body), flags, self._headers(body[10:]))
            if kind in (SYN_REPLY, HEADERS):
                return Frame(kind, _number(body), flags, self._headers(body[4:]))
            if kind in (RST_STREAM, PING, GOAWAY, WINDOW_UPDATE):
                return Frame(kind, _number(body), flags, data=body[4:])
        except struct.error:
            raise SpdyError(f"a frame of type {kind} is too short") from None
        return Frame(kind, 0, flags, data=body)

    def _headers(self, block: bytes) -> dict[str, str]:
        try:
            raw = self._inflate.decompress(block, HEADER_BYTES_MAX)
        except zlib.error as error:
            raise SpdyError(f"a header block cannot be decompressed: {error}") from None
        if self._inflate.unconsumed_tail:
            raise SpdyError(f"a header block is longer than {HEADER_BYTES_MAX} bytes")
        (count,) = struct.unpack_from(">I", raw)
        position, found = 4, {}
        for _ in range(count):
            name, position = _text(raw, position)
            found[name], position = _text(raw, position)
        return found


def _number(body: bytes) -> int:
    number: int = struct.unpack_from(">I", body)[0]
    return number & 0x7FFFFFFF


def _text(raw: bytes, position: int) -> tuple[str, int]:
    (length,) = struct.unpack_from(">I", raw, position)
    end = position + 4 + length
    if end > len(raw):
        raise SpdyError("a header block ends too early")
    return raw[position + 4 : end].decode("latin-1"), end


class Writer:
    """Makes bytes of frames. Header blocks depend on each other: send them in the order in which they were made."""

    def __init__(self) -> None:
        self._deflate = zlib.compressobj(zdict=DICTIONARY)

    def data(self, number: int, data: bytes, *, fin: bool = False) -> bytes:
        return struct.pack(">II", number, (FIN if fin else 0) << 24 | len(data)) + data

    def syn_stream(self, number: int, headers: Mapping[str, str], *, fin: bool = False) -> bytes:
        body = struct.pack(">IIH", number, 0, 0) + self._headers(headers)
        return _control(SYN_STREAM, FIN if fin else 0, body)

    def syn_reply(self, number: int, headers: Mapping[str, str]) -> bytes:
        return _control(SYN_REPLY, 0, struct.pack(">I", number) + self._headers(headers))

    def rst_stream(self, number: int, status: int) -> bytes:
        return _control(RST_STREAM, 0, struct.pack(">II", number, status))

    def ping(self, number: int) -> bytes:
        return _control(PING, 0, struct.pack(">I", number))

    def goaway(self, last: int, status: int = 0) -> bytes:
        return _control(GOAWAY, 0, struct.pack(">II", last, status))

    def _headers(self, headers: Mapping[str, str]) -> bytes:
        raw = [struct.pack(">I", len(headers))]
        for name, value in headers.items():
            for text in (name.lower().encode("latin-1"), value.encode("latin-1")):
                raw += [struct.pack(">I", len(text)), text]
        return self._deflate.compress(b"".join(raw)) + self._deflate.flush(zlib.Z_SYNC_FLUSH)


def _control(kind: int, flags: int, body: bytes) -> bytes:
    return struct.pack(">II", 0x80000000 | VERSION << 16 | kind, flags << 24 | len(body)) + body
