"""A store's whole content at one moment, for a file or another process."""

from msgspec import Struct

from kubeloop.store.model import Event, KeyValue


class Snapshot(Struct, frozen=True):
    """`base` are the keys living at `compact_revision` (or at revision 1), in order of key; `log` the events from
    `compact_revision` on, in order; `leases` are pairs of id and time to live in seconds."""

    revision: int
    compact_revision: int
    base: list[KeyValue]
    log: list[Event]
    leases: list[tuple[int, int]]
