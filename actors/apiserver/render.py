"""Answers as bytes. A cached object is its stored bytes with the resourceVersion spliced in, not encoded again."""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from kubeloop.actors.api import codec
from kubeloop.actors.apiserver import limits
from kubeloop.actors.apiserver.answers import EntryListing
from kubeloop.actors.apiserver.messages import ObjectListing, WatchEvent
from kubeloop.actors.apiserver.negotiate import YAML, Representation
from kubeloop.actors.apiserver.watch_cache import METADATA_MARK, CachedEvent, Entry

PARTIAL = "PartialObjectMetadata"


def encode(obj: Any) -> bytes:
    """JSON of a Struct or of builtins."""
    return codec.encode(obj) if isinstance(obj, msgspec.Struct) else msgspec.json.encode(obj)


def item(entry: Entry) -> bytes:
    """A built-in object as an item of its list: without apiVersion and kind, which the list says."""
    value = entry.value
    start = value.index(METADATA_MARK) + len(METADATA_MARK)
    return b'{"metadata":{"resourceVersion":"%d",%b' % (entry.revision, value[start:])


def list_head(listing: ObjectListing) -> bytes:
    """The list up to its first item."""
    metadata: dict[str, Any] = {"resourceVersion": listing.resource_version}
    if not listing.resource_version:
        metadata = {}
    custom = bool(listing.items) and type(listing.items[0]) is dict
    if listing.continue_ or custom:  # lists of custom resources always say it
        metadata["continue"] = listing.continue_
    if listing.remaining_item_count is not None:
        metadata["remainingItemCount"] = listing.remaining_item_count
    kind, api_version = list_kind(listing)
    head = msgspec.json.encode({"kind": kind, "apiVersion": api_version, "metadata": metadata})
    return head[:-1] + b',"items":['


def list_kind(listing: ObjectListing) -> tuple[str, str]:
    if isinstance(listing, EntryListing):
        return f"{listing.kind}List", listing.api_version
    return "List", "v1"


def list_slices(listing: ObjectListing) -> Iterator[bytes]:
    """The list's JSON in pieces of a bounded number of items."""
    yield list_head(listing)
    parts = item_parts(listing)
    for start in range(0, len(parts), limits.list_slice_items):
        chunk = parts[start : start + limits.list_slice_items]
        lead = b"," if start else b""
        yield lead + b",".join(bytes_of(part) for part in chunk)
    yield b"]}"


def item_parts(listing: ObjectListing) -> Sequence[Any]:
    if isinstance(listing, EntryListing) and listing.entries:
        return listing.entries
    return listing.items


def bytes_of(part: Any) -> bytes:
    if isinstance(part, Entry):
        return part.encoded() if type(part.object) is dict else item(part)
    if type(part) is dict:
        return msgspec.json.encode(part)
    builtins = codec.to_builtins(part)
    return msgspec.json.encode({key: value for key, value in builtins.items() if key not in ("apiVersion", "kind")})


def builtins_of(body: Any) -> Any:
    """Any answer as plain dicts and lists, for YAML and pretty JSON."""
    if isinstance(body, ObjectListing):
        return msgspec.json.decode(b"".join(list_slices(body)))
    if isinstance(body, msgspec.Struct):
        return msgspec.json.decode(codec.encode(body))
    return body


def text(body: Any, representation: Representation, pretty: bool) -> bytes:
    """YAML, or JSON indented by two."""
    document = builtins_of(body)
    if representation.media_type == YAML:
        from kubeloop.actors.apiserver.go_yaml_writer import dump

        return dump(document)
    if pretty:
        return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"
    return msgspec.json.encode(document)


# other representations


def partial(obj: Any, version: str = "v1") -> dict[str, Any]:
    """PartialObjectMetadata of an object."""
    found = metadata_of(obj)
    return {"kind": PARTIAL, "apiVersion": f"meta.k8s.io/{version}", "metadata": found}


def metadata_of(obj: Any) -> Any:
    if isinstance(obj, dict):
        return obj.get("metadata") or {}
    return codec.to_builtins(obj.metadata) if obj.metadata is not None else {}


def partial_list(listing: ObjectListing, version: str = "v1") -> dict[str, Any]:
    metadata: dict[str, Any] = {"resourceVersion": listing.resource_version}
    if listing.continue_:
        metadata["continue"] = listing.continue_
    if listing.remaining_item_count is not None:
        metadata["remainingItemCount"] = listing.remaining_item_count
    items = [partial(obj, version) for obj in listing.items]
    return {
        "kind": f"{PARTIAL}List",
        "apiVersion": f"meta.k8s.io/{version}",
        "metadata": metadata,
        "items": items or None,
    }


# watches


def watch_line(event: WatchEvent) -> bytes:
    """An event as one line, made once for all who watch in this representation."""
    if isinstance(event, CachedEvent):
        cell = event.line
        if not cell:
            cell.append(b'{"type":"%b","object":%b}\n' % (event.type.encode(), event.entry.encoded()))
        line: bytes = cell[0]
        return line
    return line_of(event.type, event.object)


def line_of(type_: str, obj: Any) -> bytes:
    return b'{"type":"%b","object":%b}\n' % (type_.encode(), encode(obj))
