"""A store's whole content at one moment, for a file or another process."""

from msgspec import Struct

from kubeloop.store.model import Event, KeyValue, kv_checksum


class Snapshot(Struct, frozen=True):
    """`base` are the keys living at `compact_revision` (or at revision 1), in order of key; `log` the events from
    `compact_revision` on, in order; `leases` are pairs of id and time to live in seconds."""

    revision: int
    compact_revision: int
    base: list[KeyValue]
    log: list[Event]
    leases: list[tuple[int, int]]

    def checksum(self, revision: int) -> int:
        """CRC-32 of all that can be read and watched up to `revision`."""
        checksum = 0
        for kv in self.base:
            checksum = kv_checksum(kv, checksum)
        for event in self.log:
            if self.compact_revision < event.kv.mod_revision <= revision:
                checksum = kv_checksum(event.kv, checksum)
        return checksum
