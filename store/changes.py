"""What a log on disk is told: the changes that a store has made and nobody has been told of yet.

With `staged=True` a store keeps its changes here until the disk has them: `Store.settle` then tells the watches, and
`Store.roll_back` takes them back when the disk refused. Written in this order, they make the same store again.
"""

from typing import TypeAlias

from msgspec import Struct

from kubeloop.store.lease import Lease
from kubeloop.store.model import Event


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
