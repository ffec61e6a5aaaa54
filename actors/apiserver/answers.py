"""Answers that remember the cache entries behind them, so that HTTP sends bytes made once instead of encoding again."""

from collections.abc import Sequence
from typing import Any

from kubeloop.actors.apiserver.messages import ObjectListing, Response


class EntryResponse(Response, frozen=True):
    """`entry`: the cache entry whose object is the body; its `encoded()` is the body's JSON."""

    entry: Any = None


class EntryListing(ObjectListing, frozen=True):
    """`entries` behind `items`. `kind` is the item's kind (the list is KIND + "List") in `api_version`."""

    entries: Sequence[Any] = ()
    kind: str = ""
    api_version: str = ""


class StreamResponse(Response, frozen=True):
    """The body is an async iterator of bytes with `aclose()` (logs)."""

    content_type: str = "text/plain"
