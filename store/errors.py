"""Errors in etcd's own words; `code` is the gRPC status code name with which etcd sends each.

Names and texts follow etcd's `api/v3/rpc/rpctypes`.
"""

from typing import ClassVar


class StoreError(Exception):
    """A request that etcd refuses. `str(error)` is etcd's message."""

    code: ClassVar[str] = "UNKNOWN"
    text: ClassVar[str] = "etcdserver: unknown error"

    def __init__(self, text: str | None = None) -> None:
        super().__init__(text or self.text)


class EmptyKeyError(StoreError):
    code = "INVALID_ARGUMENT"
    text = "etcdserver: key is not provided"


class KeyNotFoundError(StoreError):
    """`ignore_value` or `ignore_lease` on a key that is not there."""

    code = "INVALID_ARGUMENT"
    text = "etcdserver: key not found"


class ValueProvidedError(StoreError):
    code = "INVALID_ARGUMENT"
    text = "etcdserver: value is provided"


class LeaseProvidedError(StoreError):
    code = "INVALID_ARGUMENT"
    text = "etcdserver: lease is provided"


class DuplicateKeyError(StoreError):
    """One transaction would write a key twice."""

    code = "INVALID_ARGUMENT"
    text = "etcdserver: duplicate key given in txn request"


class TooManyOpsError(StoreError):
    code = "INVALID_ARGUMENT"
    text = "etcdserver: too many operations in txn request"


class InvalidSortOptionError(StoreError):
    code = "INVALID_ARGUMENT"
    text = "etcdserver: invalid sort option"


class RequestTooLargeError(StoreError):
    code = "INVALID_ARGUMENT"
    text = "etcdserver: request is too large"


class CompactedError(StoreError):
    """The revision asked for is older than `compact_revision`, the oldest that can still be read."""

    code = "OUT_OF_RANGE"
    text = "etcdserver: mvcc: required revision has been compacted"

    def __init__(self, compact_revision: int) -> None:
        super().__init__()
        self.compact_revision = compact_revision


class FutureRevisionError(StoreError):
    code = "OUT_OF_RANGE"
    text = "etcdserver: mvcc: required revision is a future revision"


class LeaseNotFoundError(StoreError):
    code = "NOT_FOUND"
    text = "etcdserver: requested lease not found"


class LeaseExistsError(StoreError):
    code = "FAILED_PRECONDITION"
    text = "etcdserver: lease already exists"


class LeaseTtlTooLargeError(StoreError):
    code = "OUT_OF_RANGE"
    text = "etcdserver: too large lease TTL"


class NoSpaceError(StoreError):
    code = "RESOURCE_EXHAUSTED"
    text = "etcdserver: mvcc: database space exceeded"


class DataDirError(Exception):
    """The data directory cannot be read or written."""


class DataDirInUseError(DataDirError):
    """Another process, or another store of this one, has it."""


class DataDirDamagedError(DataDirError):
    """Not all that was acknowledged is there, or not as it was written."""


class DiskFailedError(DataDirError):
    """A commit ended so that nobody can say whether it is on disk."""
