"""The real etcdctl against two etcds at once, the real one and ours, and what it printed, made comparable."""

import json
import os
import re
import select
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct

from tests.etcd.etcd_process import EtcdProcess
from tests.etcd.real_etcd import ETCDCTL

COMMAND_SECONDS = 60.0
NUMBERS = "ClusterID|MemberID|RaftTerm|Leader|RaftIndex|RaftAppliedIndex|DBSize|Hash|ID|Lease"
SCRUBBED = (
    (re.compile(r"127\.0\.0\.1:\d+"), "ENDPOINT"),
    (re.compile(r"endpoint://client-[0-9a-f-]+"), "CLIENT"),
    (re.compile(r'"ts":"[^"]+"'), '"ts":"TIME"'),
    (re.compile(r"(took = |took\" ?: ?\"?)[0-9.]+[a-zµ]+", re.IGNORECASE), r"\1TIME"),
    (re.compile(r"\b[0-9.]+[mµ]s\b"), "TIME"),
    (re.compile(r"\b[0-9a-f]{12,16}\b"), "ID"),
    (re.compile(rf'("?(?:{NUMBERS})"? : )[1-9][0-9]*'), r"\1NUMBER"),
    (re.compile(r"memberID:\d+"), "memberID:ID"),
    (re.compile(r"\bremaining\([0-9]+s\)"), "remaining(TIME)"),
    (re.compile(r"(panic: .*)\n(.|\n)*"), r"\1"),
    (re.compile(r"-{3,}"), "--"),
    (re.compile(r" {2,}"), " "),
)
SCRUBBED_FIELDS = {
    *("cluster_id", "member_id", "raft_term", "leader", "raftIndex", "raftAppliedIndex", "raftTerm", "lease"),
    *("dbSize", "dbSizeInUse", "version", "hash", "took", "endpoint", "Endpoint", "memberID", "ID", "id", "peerURLs"),
    *("clientURLs", "ttl", "TTL"),
}


class Done(Struct, frozen=True):
    """What a command came to."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def scrub(text: str) -> str:
    """The text without what differs between two etcds: addresses, identities, times and sizes."""
    for pattern, replacement in SCRUBBED:
        text = pattern.sub(replacement, text)
    return text


def scrub_json(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: "SCRUBBED" if name in SCRUBBED_FIELDS else scrub_json(one) for name, one in value.items()}
    if isinstance(value, list):
        return [scrub_json(one) for one in value]
    return scrub(value) if isinstance(value, str) else value


def scrubbed(done: Done) -> tuple[int, Any, str]:
    """What must be equal of two."""
    if done.out.startswith(("{", "[")):
        return done.code, [scrub_json(json.loads(line)) for line in done.out.splitlines()], scrub(done.err)
    return done.code, scrub(done.out), scrub(done.err)


class Running:
    """A command that has not ended. What it printed is read by `until`, not thrown away."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.out = ""

    def until(self, condition: Callable[[str], object]) -> str:
        """Read what it prints until `condition` holds of all of it. Raises AssertionError when it ends or is late."""
        assert self.process.stdout is not None
        deadline = time.monotonic() + COMMAND_SECONDS
        while not condition(self.out):
            ready, _, _ = select.select([self.process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            read = os.read(self.process.stdout.fileno(), 65_536) if ready else b""
            assert read, f"printed only {self.out!r}, then ended with {self.process.poll()}"
            self.out += read.decode()
        return self.out

    def until_lines(self, count: int) -> str:
        return self.until(lambda out: out.count("\n") >= count)

    def say(self, text: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def end(self, how: signal.Signals | None = signal.SIGINT) -> Done:
        """Interrupt it (None: only close its standard input) and wait."""
        if how is not None:
            self.process.send_signal(how)
        out, err = self.process.communicate(timeout=COMMAND_SECONDS)
        return Done(self.process.returncode, self.out + out.decode(), err.decode())


class Etcdctl:
    """Runs a command on both etcds. `{}` in an argument stands for what `put_in` has for each."""

    def __init__(self, real: EtcdProcess, ours: EtcdProcess) -> None:
        self.etcds = (real, ours)

    def start(self, etcd: EtcdProcess, *arguments: str) -> subprocess.Popen[bytes]:
        """The command on one of them, as a client that it knows."""
        return self.start_as(etcd.tls.client_flags() if etcd.tls else [], etcd, *arguments)

    def start_as(self, tls_flags: Sequence[str], etcd: EtcdProcess, *arguments: str) -> subprocess.Popen[bytes]:
        assert ETCDCTL is not None
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ETCDCTL_")}
        return subprocess.Popen(
            [ETCDCTL, f"--endpoints={etcd.url}", *tls_flags, "--command-timeout=20s", *arguments],
            env={**environment, "ETCDCTL_API": "3"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run_as(self, tls_flags: Sequence[str], *arguments: str) -> list[Done]:
        """The command on each, as another client."""
        return [Running(self.start_as(tls_flags, etcd, *arguments)).end(None) for etcd in self.etcds]

    def run(self, *arguments: str, stdin: str = "", each: tuple[str, str] = ("", "")) -> tuple[Done, Done]:
        """The command on each; `{}` in the arguments is replaced by `each`'s own."""
        started = [
            self.start(etcd, *(argument.replace("{}", own) for argument in arguments))
            for etcd, own in zip(self.etcds, each, strict=True)
        ]
        done = [process.communicate(stdin.encode(), COMMAND_SECONDS) for process in started]
        real, ours = (
            Done(process.returncode, out.decode(errors="surrogateescape"), err.decode(errors="replace"))
            for process, (out, err) in zip(started, done, strict=True)
        )
        return real, ours

    def begin(self, *arguments: str) -> tuple[Running, Running]:
        """The command on each, running."""
        real, ours = (Running(self.start(etcd, *arguments)) for etcd in self.etcds)
        return real, ours

    def same(self, *arguments: str, stdin: str = "", each: tuple[str, str] = ("", "")) -> Done:
        """Our answer, which is the real one's."""
        real, ours = self.run(*arguments, stdin=stdin, each=each)
        assert scrubbed(ours) == scrubbed(real), f"etcdctl {' '.join(arguments)}"
        return ours
