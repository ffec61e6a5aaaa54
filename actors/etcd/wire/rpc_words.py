"""The words of gRPC over HTTP/2: status codes, header blocks, timeouts, texts, and what a method is."""

import zlib
from collections.abc import Callable, Coroutine
from typing import Any, Literal, TypeAlias
from urllib.parse import quote_from_bytes

from kubeloop.actors.etcd.wire.http2_headers import literal
from kubeloop.runtime.metrics import Counter

CODES = {
    "OK": 0,
    "CANCELLED": 1,
    "UNKNOWN": 2,
    "INVALID_ARGUMENT": 3,
    "DEADLINE_EXCEEDED": 4,
    "NOT_FOUND": 5,
    "ALREADY_EXISTS": 6,
    "PERMISSION_DENIED": 7,
    "RESOURCE_EXHAUSTED": 8,
    "FAILED_PRECONDITION": 9,
    "ABORTED": 10,
    "OUT_OF_RANGE": 11,
    "UNIMPLEMENTED": 12,
    "INTERNAL": 13,
    "UNAVAILABLE": 14,
    "DATA_LOSS": 15,
    "UNAUTHENTICATED": 16,
}
CODE_LABELS = {name: "".join(word.title() for word in name.split("_")) for name in CODES} | {
    "OK": "OK",
    "CANCELLED": "Canceled",
}
"""As grpc-go writes them in metrics."""

HEADERS = b"\x88" + literal(b"content-type", b"application/grpc")  # 0x88: ":status 200" of the static table
TRAILERS_OK = literal(b"grpc-status", b"0")
ACCEPTED_ENCODINGS = literal(b"grpc-accept-encoding", b"identity,gzip")
PREFIX_BYTES = 5  # of a message: whether it is compressed, and its length
STATUS_TEXT_BYTES_MAX = 4_096  # more of a grpc-message is cut off
PRINTABLE = "".join(chr(byte) for byte in range(0x20, 0x7F) if byte != 0x25)
TIMEOUT_UNITS = {ord("H"): 3600.0, ord("M"): 60.0, ord("S"): 1.0, ord("m"): 1e-3, ord("u"): 1e-6, ord("n"): 1e-9}

Kind: TypeAlias = Literal["unary", "server_stream", "bidi_stream"]
Handler: TypeAlias = Callable[[Any], Coroutine[Any, Any, Any]]


class RpcError(Exception):
    """A call's end with a status other than OK; `code` is the gRPC status code's name."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class Method:
    """One method.

    `handler(request)` of a unary one returns the encoded response; it may wait for futures, but enter no cancel scope,
    because it runs outside of any task. `handler(call)` of a streaming one runs as a task, gets its requests by
    `call.receive()` and answers by `call.send()`.
    """

    __slots__ = ("handled", "handler", "kind", "name", "parse", "service", "started")

    def __init__(self, service: str, name: str, kind: Kind, parse: Callable[[bytes], Any], handler: Handler) -> None:
        self.service = service
        self.name = name
        self.kind = kind
        self.parse = parse
        self.handler = handler
        self.started = Counter()
        self.handled: dict[str, Counter] = {}


def text(header: bytes) -> str:
    return header.decode("utf-8", "replace")


def prefixed(message: bytes) -> bytes:
    """A message as it stands in DATA."""
    return b"\0" + len(message).to_bytes(4, "big") + message


def status_trailers(code: str, message: str) -> bytes:
    """The block that ends a call."""
    trailers = TRAILERS_OK if code == "OK" else literal(b"grpc-status", b"%d" % CODES[code])
    if message:
        trailers += literal(b"grpc-message", percent_encoded(message))
    if code == "UNIMPLEMENTED":
        trailers += ACCEPTED_ENCODINGS
    return trailers


def percent_encoded(message: str) -> bytes:
    """A grpc-message: UTF-8, everything but printable ASCII without "%" as %XX."""
    return quote_from_bytes(message.encode("utf-8", "replace")[:STATUS_TEXT_BYTES_MAX], safe=PRINTABLE).encode()


def timeout_seconds(timeout: bytes) -> float | None:
    """A grpc-timeout, as `100m`, in seconds; None for one that is malformed."""
    digits = timeout[:-1]
    unit = TIMEOUT_UNITS.get(timeout[-1]) if timeout else None
    if unit is None or not digits.isdigit() or len(digits) > 8:
        return None
    return int(digits) * unit


def too_large(size: int, limit: int) -> RpcError:
    return RpcError("RESOURCE_EXHAUSTED", f"grpc: received message larger than max ({size} vs. {limit})")


def decompressed(message: bytes, flag: int, encoding: str, bytes_max: int) -> bytes:
    """A message that came with the compressed flag set. Raises RpcError in grpc-go's words."""
    if flag != 1:
        raise RpcError("INTERNAL", f"grpc: received unexpected payload format {flag}")
    if encoding == "identity":
        raise RpcError("INTERNAL", "grpc: compressed flag set with identity or empty encoding")
    if encoding != "gzip":
        raise RpcError("UNIMPLEMENTED", f'grpc: Decompressor is not installed for grpc-encoding "{encoding}"')
    unzip = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        plain = unzip.decompress(message, bytes_max + 1)
    except zlib.error as error:
        raise RpcError("INTERNAL", f"grpc: failed to decompress the received message: {error}") from None
    if len(plain) > bytes_max:
        raise too_large(len(plain), bytes_max)
    if not unzip.eof:
        raise RpcError("INTERNAL", "grpc: failed to decompress the received message: unexpected EOF")
    return plain
