"""What a log on disk is told: the changes that a store has made and nobody has been told of yet.

With `keeps_changes` a store holds them until the disk has them: `Store.settle` then tells the watches, and
`Store.roll_back` takes them back when the disk refused. Written in this order, they make the same store again.
"""

from itertools import groupby
from operator import attrgetter
from typing import TypeAlias

from msgspec import Struct

from kubeloop.store.lease import Lease
from kubeloop.store.model import DELETE, PUT, Event
from kubeloop.store.snapshot import Snapshot

_mod_revision_of = attrgetter("kv.mod_revision")


class Written(Struct, frozen=True):
    """One transaction: its events are of one revision."""

    events: list[Event]


class Granted(Struct, frozen=True):
    lease: Lease


class Revoked(Struct, frozen=True):
    """The deletion of the lease's keys, if it had any, came before, as `Written`."""

    lease: Lease


class Compacted(Struct, frozen=True):
    """`previous` is the compact revision that was."""

    revision: int
    previous: int


Change: TypeAlias = Written | Granted | Revoked | Compacted


def changes_of(snapshot: Snapshot) -> list[Change]:
    """The changes that make the store of which the snapshot was taken, out of an empty one."""
    compacted = snapshot.compact_revision
    events = [Event(PUT, kv) for kv in snapshot.base]
    events += [event for event in snapshot.log if event.kv.mod_revision > compacted or event.type == DELETE]
    events.sort(key=_mod_revision_of)
    changes: list[Change] = [Granted(Lease(lease_id, ttl, 0, {})) for lease_id, ttl in snapshot.leases]
    changes += [Written(list(transaction)) for _, transaction in groupby(events, _mod_revision_of)]
    if compacted > 0:
        changes.append(Compacted(compacted, -1))
    return changes
