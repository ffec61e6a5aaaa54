"""The process that is killed: an etcd on a data directory, and clients in it that say what was acknowledged to them.

    python -m tests.etcd.kill_child DATA_DIR

It imports everything once; for each line on its standard input it forks a life, which says its process id, what it
found in the data directory, and then one line for each operation that was acknowledged, until somebody kills it. All
lines are JSON.
"""

import asyncio
import hashlib
import os
import random
import sys
from pathlib import Path
from typing import Any

import msgspec

from kubeloop.actors.etcd.actor import EtcdActor
from kubeloop.actors.etcd.messages import (
    Compact,
    DeleteIf,
    DeleteRange,
    EtcdError,
    LeaseGrant,
    LeaseRevoke,
    Put,
    PutIf,
    Txn,
)
from kubeloop.actors.etcd.options import EtcdOptions
from kubeloop.runtime.system import System
from kubeloop.store.model import KeyValue
from kubeloop.store.store import Store

CLIENTS = 8
KEYS = [b"key-%d" % number for number in range(12)]
TTL_SECONDS = 1_000_000


class Life(msgspec.Struct, frozen=True):
    """What a life is told. `known` is the newest revision whose events the teller has."""

    number: int
    known: int


class Found(msgspec.Struct, frozen=True):
    """What a life found: `events` are those after `known`: (revision, type, key, value, lease).

    `digest` is of everything that lives now, `digest_known` of what lived at `known` (empty: that is compacted).
    """

    revision: int
    compact_revision: int
    leases: list[int]
    digest: str
    digest_known: str
    events: list[tuple[int, str, str, str, int]]


class Acknowledged(msgspec.Struct, frozen=True):
    """The `number`th operation of a client was answered. `revision` 0: it wrote nothing."""

    client: int
    number: int
    kind: str
    keys: list[str] = []
    revision: int = 0
    lease: int = 0


def digest(kvs: list[KeyValue]) -> str:
    """Of keys with all that is kept of them."""
    return hashlib.sha256(repr([msgspec.structs.astuple(kv) for kv in kvs]).encode()).hexdigest()


def say(what: Any) -> None:
    os.write(1, msgspec.json.encode(what) + b"\n")


def found(store: Store, known: int) -> Found:
    events: list[tuple[int, str, str, str, int]] = [
        (event.kv.mod_revision, event.type, event.kv.key.decode(), event.kv.value.decode(), event.kv.lease)
        for transaction in store.history(max(known + 1, store.compact_revision), lambda key: True)
        for event in transaction
        if event.kv.mod_revision > known
    ]
    return Found(
        store.revision,
        store.compact_revision,
        [lease.id for lease in store.leases.all()],
        digest(store.range(b"\0", b"\0").kvs),
        digest(store.range(b"\0", b"\0", revision=known).kvs) if known >= store.compact_revision else "",
        events,
    )


class Client:
    def __init__(self, etcd: EtcdActor, life: Life, client: int) -> None:
        self.etcd = etcd
        self.life = life
        self.client = client
        self.chance = random.Random(f"{life.number} {client}")
        self.leases: list[int] = []

    async def work(self) -> None:
        number = 0
        while True:
            number += 1
            kind = self.chance.choice(["put", "put", "put", "txn", "cas", "delete", "delete", "lease", "compact"])
            value = f"{self.life.number}:{self.client}:{number}".encode()
            try:
                what = await getattr(self, kind)(value)
            except EtcdError:
                what = {}
            say(Acknowledged(self.client, number, **{"kind": kind, **what}))

    async def put(self, value: bytes) -> dict[str, Any]:
        key = self.chance.choice(KEYS)
        lease = self.chance.choice([0, *self.leases])
        result = await self.etcd.answer(Put(key, value, lease))
        return {"keys": [key.decode()], "revision": result.revision, "lease": lease}

    async def txn(self, value: bytes) -> dict[str, Any]:
        keys = self.chance.sample(KEYS, 3)
        result = await self.etcd.answer(Txn((), tuple(Put(key, value) for key in keys)))
        return {"keys": [key.decode() for key in keys], "revision": result.revision}

    async def cas(self, value: bytes) -> dict[str, Any]:
        key = self.chance.choice(KEYS)
        kv = self.etcd.store.get(key)
        result = await self.etcd.answer(PutIf(key, value, kv.mod_revision if kv else 0))
        return {"keys": [key.decode()], "revision": result.revision if result.succeeded else 0}

    async def delete(self, value: bytes) -> dict[str, Any]:
        key = self.chance.choice(KEYS)
        if self.chance.random() < 0.5:
            result = await self.etcd.answer(DeleteRange(key))
            return {"keys": [key.decode()], "revision": result.revision if result.deleted else 0}
        kv = self.etcd.store.get(key)
        result = await self.etcd.answer(DeleteIf(key, kv.mod_revision if kv else 1))
        return {"keys": [key.decode()], "revision": result.revision if result.succeeded else 0}

    async def lease(self, value: bytes) -> dict[str, Any]:
        if self.leases and self.chance.random() < 0.5:
            lease = self.leases.pop()
            await self.etcd.answer(LeaseRevoke(lease))
            return {"kind": "revoke", "lease": lease}
        lease = (self.life.number * CLIENTS + self.client) * 1_000_000 + self.chance.randrange(1, 1_000_000)
        await self.etcd.answer(LeaseGrant(TTL_SECONDS, lease))
        self.leases.append(lease)
        return {"kind": "grant", "lease": lease}

    async def compact(self, value: bytes) -> dict[str, Any]:
        """Of what the teller knows only."""
        revision = self.chance.randint(max(1, self.life.known - 50), max(1, self.life.known))
        await self.etcd.answer(Compact(revision, physical=self.chance.random() < 0.3))
        return {"revision": revision}


async def live(data_dir: Path, life: Life) -> None:
    say(os.getpid())
    async with System(seed=life.number) as system:
        etcd = EtcdActor(EtcdOptions(data_dir=data_dir))
        await system.start(lambda: etcd, name="etcd", host="etcd-0")
        say(found(etcd.store, life.known))
        await asyncio.gather(*(Client(etcd, life, client).work() for client in range(CLIENTS)))


def main() -> None:
    data_dir = Path(sys.argv[1])
    for line in sys.stdin.buffer:
        life = msgspec.json.decode(line, type=Life)
        process = os.fork()
        if process == 0:
            asyncio.run(live(data_dir, life))
        _, status = os.waitpid(process, 0)
        say(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
