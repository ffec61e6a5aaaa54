"""What became of a compare-and-swap whose answer was lost: found out by reading, never guessed.

The compare protects what was there: of a key at mod revision M > 0 nobody but one writer can ever take the next
version. So the key's history tells everything. It is read from the newest version back to M:

- the key is still at M: nothing has happened yet, and repeating the same compare can only succeed once;
- the version behind M has exactly our value and lease: it is ours, even if others came after;
- the version behind M is another's: ours has failed, for ever.

(Two clients that put the same bytes with the same lease on the same version cannot be told apart; nor need they.)
What reading cannot tell stays `OutcomeUnknown`: a key that is gone, as nobody signs a deletion, and a creation (M = 0)
of which nothing is to be seen, since it may still be on its way and the key may come and go before it arrives.
"""

from collections.abc import Awaitable, Callable
from typing import Protocol

from kubeloop.actors.etcd.messages import CasResult, EtcdError, KeyValue, RangeResult
from kubeloop.actors.etcd.remote.errors import OutcomeUnknown
from kubeloop.runtime.actor import Unreachable

VERSIONS_READ_MAX = 32
ATTEMPTS_MAX = 4


class Reader(Protocol):
    async def range(self, key: bytes, range_end: bytes | None = None, *, revision: int = 0) -> RangeResult: ...


class Unsettled(Exception):
    """Reading does not tell."""


async def settle(
    reader: Reader,
    key: bytes,
    mod_revision: int,
    attempt: Callable[[], Awaitable[CasResult]],
    unknown: OutcomeUnknown,
    *,
    since_revision: int = 0,
    is_ours: Callable[[KeyValue], bool] = lambda kv: False,
) -> CasResult:
    """The result of a put (or, without `is_ours`, of a deletion) whose answer was `unknown`. Raises `unknown`.

    `attempt` sends the same request again; `since_revision`: etcd had reached it before the request was first sent.
    """
    for _ in range(ATTEMPTS_MAX):
        try:
            found = await reader.range(key)
            if mod_revision:
                after = await _version_after(reader, found, mod_revision)
            else:
                after = await _creation(reader, found, since_revision)
            if after is not None and is_ours(after):
                return CasResult(True, after, after.mod_revision)
            if after is not None and not mod_revision:
                raise Unsettled
            if after is not None:
                return CasResult(False, found.kvs[0], found.revision)
            result = await attempt()
        except OutcomeUnknown:
            continue
        except (Unsettled, EtcdError, Unreachable):
            break
        if result.succeeded:
            return result  # else perhaps by the attempt before: look again
    raise unknown


async def _version_after(reader: Reader, found: RangeResult, mod_revision: int) -> KeyValue | None:
    """The version that followed the one at `mod_revision`; None while that one is the newest. Raises `Unsettled`."""
    after: KeyValue | None = None
    for _ in range(VERSIONS_READ_MAX):
        if not found.kvs:
            break
        kv = found.kvs[0]
        if kv.mod_revision == mod_revision:
            return after
        if kv.mod_revision < mod_revision or kv.version == 1:
            break  # another life of the key: it was deleted in between
        after = kv
        found = await reader.range(kv.key, revision=kv.mod_revision - 1)
    raise Unsettled


async def _creation(reader: Reader, found: RangeResult, since_revision: int) -> KeyValue:
    """The first version of the key's present life, if that began after `since_revision`. Raises `Unsettled`."""
    if not found.kvs or found.kvs[0].create_revision <= since_revision:
        raise Unsettled
    kv = found.kvs[0]
    return kv if kv.version == 1 else (await reader.range(kv.key, revision=kv.create_revision)).kvs[0]
