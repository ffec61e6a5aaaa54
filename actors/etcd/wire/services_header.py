"""The header of every response, and the encoding of what is sent often. A message's fields may come in any order and
in pieces (protobuf, "Last One Wins"), so a header made by hand goes before what a message class has serialized."""

from typing import Any

from aetcd.rpc import kv_pb2  # type: ignore[import-untyped]

from kubeloop.actors.etcd.actor import EtcdActor
from kubeloop.actors.etcd.messages import Event, KeyValue

EVENTS_REMEMBERED_BYTES_MAX = 4_194_304


def varint(value: int) -> bytes:
    """protobuf's base 128 varint; negative numbers as 64-bit two's complement."""
    if 0 <= value < 128:
        return bytes((value,))
    value &= 0xFFFF_FFFF_FFFF_FFFF
    out = bytearray()
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def encoded(header: bytes, message: Any) -> bytes:
    """A response of an encoded header and a message of the rest."""
    rest: bytes = message.SerializeToString()
    return header + rest


class Headers:
    """ResponseHeader as the encoded field 1 of a response. Made when the actor has started, and has its ids."""

    def __init__(self, etcd: EtcdActor) -> None:
        self._etcd = etcd
        self._ids = b"\x08" + varint(etcd.cluster_id) + b"\x10" + varint(etcd.member_id)
        self._term = b"\x20" + varint(etcd.raft_term)
        self._revision = 0
        self._header = b""

    def at(self, revision: int) -> bytes:
        """A header with a revision; revision 0 is left out, as etcd's member list does."""
        if revision == self._revision and self._header:
            return self._header
        content = self._ids + (b"\x18" + varint(revision) if revision else b"") + self._term
        self._revision = revision
        self._header = header = b"\x0a" + varint(len(content)) + content
        return header

    def now(self) -> bytes:
        """A header with the newest revision that is on disk."""
        return self.at(self._etcd.revision)


def fill_key_value(message: Any, kv: KeyValue) -> None:
    """Make a new message KeyValue hold `kv`. A field at a time: five times as fast as the class with keywords."""
    message.key = kv.key
    message.mod_revision = kv.mod_revision
    if kv.version:
        message.create_revision = kv.create_revision
        message.version = kv.version
        message.value = kv.value
        if kv.lease:
            message.lease = kv.lease


class EventEncoder:
    """Events as encoded `events` entries of a WatchResponse. One event goes to many watches, and is encoded once."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, bool], tuple[Event, bytes]] = {}
        self._bytes = 0

    def encode(self, event: Event) -> bytes:
        key = (id(event.kv), event.prev_kv is not None)
        known = self._known.get(key)
        if known is not None:
            return known[1]
        message = kv_pb2.Event(type=0 if event.type == "PUT" else 1)
        fill_key_value(message.kv, event.kv)
        if event.prev_kv is not None:
            fill_key_value(message.prev_kv, event.prev_kv)
        body = encoded(b"", message)
        entry = b"\x5a" + varint(len(body)) + body
        if self._bytes > EVENTS_REMEMBERED_BYTES_MAX:
            self._known.clear()
            self._bytes = 0
        self._known[key] = (event, entry)  # the event is kept so that nobody else gets its kv's id
        self._bytes += len(entry) + 256
        return entry
