"""The opaque continue token of a paged list: the revision of the first page, and the key to go on behind."""

import base64

import msgspec

from kubeloop.actors.api.errors import bad_request
from kubeloop.actors.apiserver.go_json import syntax_error

VERSION = "meta.k8s.io/v1"


INVALID = "continue key is not valid"
ALPHABET = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


class Token(msgspec.Struct, frozen=True):
    """`rv` -1: an inconsistent continuation, from whatever is there now (after the list's revision was compacted)."""

    v: str = ""
    rv: int = 0
    start: str = ""


_decoder = msgspec.json.Decoder(Token)


def encode(revision: int, after: str) -> str:
    data = msgspec.json.encode(Token(VERSION, revision, after + "\0"))
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def decode(text: str) -> tuple[int, str]:
    """(revision, last key of the page before). Raises 400 for what no list gave out, in the API's words."""
    try:
        return _decoded(text)
    except ValueError as error:
        raise bad_request(f"invalid continue token: {INVALID}{error}") from None


def _decoded(text: str) -> tuple[int, str]:
    wrong = next((index for index, one in enumerate(text) if one not in ALPHABET), None)
    if wrong is None and len(text) % 4 == 1:
        wrong = len(text) - 1
    if wrong is not None:
        raise ValueError(f": illegal base64 data at input byte {wrong}")
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    problem = syntax_error(data)
    if problem:
        raise ValueError(f": {problem}")
    try:
        token = _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f": {error}") from None
    if token.v != VERSION:
        raise ValueError(f": server does not recognize this encoded version {token.v}")
    if token.rv == 0:
        raise ValueError(f": incorrect encoded start resourceVersion (version {VERSION})")
    if not token.start:
        raise ValueError(f": encoded start key empty (version {VERSION})")
    key = token.start.rstrip("\0")
    if any(part in ("", ".", "..") for part in key.removeprefix("/").split("/")):
        raise ValueError(f": {token.start}")
    return token.rv, key
