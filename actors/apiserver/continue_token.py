"""The opaque continue token of a paged list: the revision of the first page, and the key to go on behind."""

import base64
import binascii

import msgspec

from kubeloop.actors.api.errors import bad_request

VERSION = "meta.k8s.io/v1"


class Token(msgspec.Struct, frozen=True):
    """`rv` -1: an inconsistent continuation, from whatever is there now (after the list's revision was compacted)."""

    v: str
    rv: int
    start: str


_decoder = msgspec.json.Decoder(Token)


def encode(revision: int, after: str) -> str:
    data = msgspec.json.encode(Token(VERSION, revision, after + "\0"))
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def decode(text: str) -> tuple[int, str]:
    """(revision, last key of the page before). Raises 400 for what no list gave out."""
    try:
        padded = text + "=" * (-len(text) % 4)
        token = _decoder.decode(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (binascii.Error, msgspec.DecodeError, ValueError) as error:
        raise bad_request(f"continue key is not valid: {error}") from None
    if token.v != VERSION:
        raise bad_request(f'continue key is not valid: server does not recognize this encoded version "{token.v}"')
    if token.rv == 0:
        raise bad_request(
            "continue key is not valid: incorrect encoded start resourceVersion 0 (version meta.k8s.io/v1)"
        )
    return token.rv, token.start.rstrip("\0")
