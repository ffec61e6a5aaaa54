"""kill -9 at random moments, hundreds of times, under load: everything acknowledged is there after the restart."""

import os
import random
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from kubeloop.store.model import KeyValue
from tests.etcd.kill_child import CLIENTS, Acknowledged, Found, Life, digest
from tests.etcd.soak import SOAK

KILLS = 250 * SOAK
ACKNOWLEDGED_MAX = 400
MOMENT_SECONDS = 0.004


class Lives:
    """Tells lives to begin, kills them, and knows what must be in the data directory."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.child = subprocess.Popen(
            [sys.executable, "-m", "tests.etcd.kill_child", str(data_dir)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )
        self.revision = 1
        self.compact_revision = -1
        self.keys: dict[str, KeyValue] = {}
        self.leases: set[int] = set()
        self.acknowledged: list[Acknowledged] = []
        self.acknowledged_in_total = 0
        self.life = 0
        self.pid = 0

    def line(self) -> bytes:
        assert self.child.stdout is not None
        line = self.child.stdout.readline()
        assert line, f"the child ended with {self.child.wait()}"
        return line

    def live_and_die(self, number: int, chance: random.Random) -> None:
        """One life: check what it found, let it work, kill it, keep what it acknowledged."""
        assert self.child.stdin is not None
        self.child.stdin.write(msgspec.json.encode(Life(number, self.revision)) + b"\n")
        self.child.stdin.flush()
        self.pid = int(self.line())
        if chance.random() < 0.1:  # while it starts
            self.kill(chance)
        else:
            self.check(number, msgspec.json.decode(self.line(), type=Found))
            for _ in range(chance.randrange(ACKNOWLEDGED_MAX)):
                self.acknowledged.append(msgspec.json.decode(self.line(), type=Acknowledged))
            self.kill(chance)
        while not (line := self.line()).startswith(b"-"):
            if b'"client"' in line:
                self.acknowledged.append(msgspec.json.decode(line, type=Acknowledged))
            else:
                self.check(number, msgspec.json.decode(line, type=Found))
        self.pid = 0
        assert int(line) == -signal.SIGKILL

    def kill(self, chance: random.Random) -> None:
        """At no special moment."""
        select.select([], [], [], chance.random() * MOMENT_SECONDS)
        os.kill(self.pid, signal.SIGKILL)

    def check(self, number: int, found: Found) -> None:
        """What a life found is what the one before acknowledged, and perhaps what its clients still waited for."""
        life, self.life = self.life, number
        newest = {one.client: one.number for one in self.acknowledged}
        assert found.digest_known in ("", digest(self.living())), "what was known has changed"
        events: dict[int, list[tuple[str, str, str, int]]] = {}
        for revision, kind, key, value, lease in found.events:
            events.setdefault(revision, []).append((kind, key, value, lease))
        assert list(events) == list(range(self.revision + 1, found.revision + 1)), "revisions are not continuous"

        written = {one.revision for one in self.acknowledged if one.kind != "compact"} - {0}
        for one in self.acknowledged:
            value = f"{life}:{one.client}:{one.number}"
            if one.kind == "compact":
                assert found.compact_revision >= one.revision
            elif one.kind == "delete" and one.revision:
                assert events[one.revision] == [("DELETE", one.keys[0], "", 0)]
            elif one.revision:
                assert events[one.revision] == [("PUT", key, value, one.lease) for key in one.keys]
        unknown = {revision: happened for revision, happened in events.items() if revision not in written}
        self.check_unknown(life, unknown, newest)
        self.check_leases(found)
        for revision, kind, key, value, lease in found.events:
            self.apply(revision, kind, key, value, lease)
        assert found.digest == digest(self.living())
        assert found.compact_revision >= self.compact_revision
        self.revision, self.compact_revision = found.revision, found.compact_revision
        self.acknowledged_in_total += len(self.acknowledged)
        self.acknowledged = []

    def check_unknown(
        self, life: int, unknown: dict[int, list[tuple[str, str, str, int]]], newest: dict[int, int]
    ) -> None:
        """What nobody was told of is a client's last operation, or the keys that went with a lease."""
        clients = set()
        for happened in unknown.values():
            for kind, _, value, _ in happened:
                if kind == "PUT":
                    written_in, client, number = map(int, value.split(":"))
                    assert (written_in, number) == (life, newest.get(client, 0) + 1)
                    clients.add(client)
        deletions = [happened for happened in unknown.values() if happened[0][0] == "DELETE"]
        revocations = sum(one.kind == "revoke" for one in self.acknowledged)
        assert len(clients) + len(deletions) <= CLIENTS + revocations

    def check_leases(self, found: Found) -> None:
        granted = {one.lease for one in self.acknowledged if one.kind == "grant"}
        revoked = {one.lease for one in self.acknowledged if one.kind == "revoke"}
        leases = set(found.leases)
        assert not leases & revoked
        lost, extra = (self.leases | granted) - revoked - leases, leases - self.leases - granted
        assert len(lost) + len(extra) <= CLIENTS, "more than the clients' last operations"
        self.leases = leases

    def apply(self, revision: int, kind: str, key: str, value: str, lease: int) -> None:
        before = self.keys.pop(key, None)
        if kind == "PUT":
            created, version = (before.create_revision, before.version + 1) if before else (revision, 1)
            self.keys[key] = KeyValue(key.encode(), value.encode(), created, revision, version, lease)

    def living(self) -> list[KeyValue]:
        return [self.keys[key] for key in sorted(self.keys)]

    def close(self) -> None:
        assert self.child.stdin is not None and self.child.stdout is not None
        self.child.stdin.close()
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
        self.child.wait()
        self.child.stdout.close()


@pytest.fixture
def lives(tmp_path: Path) -> Iterator[Lives]:
    lives = Lives(tmp_path / "data")
    yield lives
    lives.close()


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork and no kill -9")
def test_everything_acknowledged_outlives_kill_9(lives: Lives) -> None:
    chance = random.Random(1)
    for number in range(1, KILLS + 1):
        lives.live_and_die(number, chance)
    assert lives.acknowledged_in_total > KILLS * 20
