"""Ranges of very many keys, read a page at a time at one revision: whole, consistent, and no answer is gigantic.

A page is so many keys as make `PAGE_BYTES`, going by the page before: each costs etcd a walk over the whole range's
keys (it counts them), and each is decoded at one go, while nothing else runs.
"""

from typing import Any

from msgspec.structs import replace

from kubeloop.actors.etcd.messages import CompactedError, KeyValue, Range, RangeResult
from kubeloop.actors.etcd.remote import words
from kubeloop.actors.etcd.remote.calls import Calls

PAGE_KEYS = 1_000
PAGE_KEYS_MAX = 50_000
PAGE_BYTES = 8 * 1024 * 1024
ATTEMPTS_MAX = 3
KEY_BYTES = 48  # what a key costs beside its own bytes and its value's


async def read_pages(calls: Calls, op: Range) -> RangeResult:
    """`op` in pages. When compaction overtakes it, and no revision was asked for, it begins anew."""
    for attempt in range(ATTEMPTS_MAX):
        try:
            return await _read(calls, op)
        except CompactedError:
            if op.revision or attempt == ATTEMPTS_MAX - 1:
                raise
    raise AssertionError


async def _read(calls: Calls, op: Range) -> RangeResult:
    kvs: list[KeyValue] = []
    start, revision, size = op.key, op.revision, PAGE_KEYS
    first: Any = None
    while True:
        limit = min(size, op.limit - len(kvs)) if op.limit else size
        page = words.to_range(replace(op, key=start, revision=revision, limit=limit))
        response = await calls.read("Range", page)
        if first is None:
            first, revision = response, revision or response.header.revision
        found = [words.key_value(kv) for kv in response.kvs]
        kvs.extend(found)
        if not response.more or len(kvs) == op.limit:
            return RangeResult(kvs, response.more, first.count, first.header.revision)
        start = found[-1].key + b"\0"
        size = page_keys(found)


def page_keys(page: list[KeyValue]) -> int:
    """How many keys the next page shall have, going by this one."""
    total = sum(len(kv.key) + len(kv.value) + KEY_BYTES for kv in page)
    return max(1, min(PAGE_KEYS_MAX, PAGE_BYTES * len(page) // total))
