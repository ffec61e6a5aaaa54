"""The real etcdctl watches, locks and elects through `kubeloop etcd` as through the real etcd."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.etcd.etcdctl import COMMAND_SECONDS, Done, Etcdctl, Running, scrub, scrubbed
from tests.etcd.real_etcd import OurEtcd, RealEtcd, require_etcd


@pytest.fixture(scope="module")
def etcdctl(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Etcdctl]:
    require_etcd("etcd", "etcdctl")
    folder: Path = tmp_path_factory.mktemp("etcdctl")
    with RealEtcd(folder) as real, OurEtcd(folder) as ours:
        yield Etcdctl(real.members[0], ours)


@pytest.fixture
def first(etcdctl: Etcdctl) -> int:
    """The revision of the first of some changes: a put, b put, a put again, a deleted, a/x put."""
    revision: int = etcdctl.same("put", "a", "1", "-w", "json").json["header"]["revision"]
    etcdctl.same("put", "b", "2")
    etcdctl.same("put", "a", "3")
    etcdctl.same("del", "a")
    etcdctl.same("put", "a/x", "4")
    return revision


def both(running: tuple[Running, Running], lines: int) -> str:
    """The first lines of ours, which are the real one's."""
    real, ours = ("".join(scrub(one.until_lines(lines)).splitlines(keepends=True)[:lines]) for one in running)
    assert ours == real
    return ours


def end(running: tuple[Running, Running], how: signal.Signals | None = signal.SIGINT) -> Done:
    """Ours, which is the real one's."""
    real, ours = (one.end(how) for one in running)
    assert scrubbed(ours) == scrubbed(real)
    return ours


def test_watch(etcdctl: Etcdctl, first: int) -> None:
    watch = etcdctl.begin("watch", "a", f"--rev={first}")
    assert both(watch, 9) == "PUT\na\n1\nPUT\na\n3\nDELETE\na\n\n"
    etcdctl.same("put", "b", "not seen")
    etcdctl.same("put", "a", "5")
    both(watch, 12)
    assert end(watch).out.endswith("PUT\na\n5\n")


@pytest.mark.parametrize("flags", [("--prefix",), ("--prefix", "--prev-kv"), ("--prefix", "-w=simple"), ("c",)])
def test_watch_of_a_range(etcdctl: Etcdctl, first: int, flags: tuple[str, ...]) -> None:
    watch = etcdctl.begin("watch", "a", *flags, f"--rev={first}")
    both(watch, 8)
    etcdctl.same("put", "a/y", "5")
    etcdctl.same("txn", stdin="\nput a/y 6\nput a 6\nput a/0 6\n\n\n")
    etcdctl.same("del", "a", "--prefix")
    etcdctl.same("put", "a/last", "end")
    for one in watch:
        one.until(lambda out: "end" in out)
    end(watch)


@pytest.mark.parametrize("output", ["json", "fields", "simple"])
def test_output_of_a_watch(etcdctl: Etcdctl, first: int, output: str) -> None:
    """JSON has one line an answer of the etcd's, which may hold several transactions: so one is watched."""
    etcdctl.same("txn", stdin="\nput w/1 1\nput w/2 2\n\n\n")
    watch = etcdctl.begin("watch", "w", "--prefix", "--prev-kv", f"--rev={first + 5}", "-w", output)
    for one in watch:
        one.until(lambda out: out.endswith(("}\n", "w/2\n2\n")) or out.count('"Lease" : 0\n') == 2)
    end(watch)
    etcdctl.same("del", "w", "--prefix")


def test_interactive_watch(etcdctl: Etcdctl, first: int) -> None:
    watch = etcdctl.begin("watch", "-i")
    for one in watch:
        one.say(f"watch b --rev={first}\n")
    both(watch, 3)
    for one in watch:
        one.say(f"watch a --prefix --prev-kv --rev={first + 2}\n")
        one.until(lambda out: out.endswith("a/x\n4\n"))
    end(watch, None)


def test_watch_that_runs_a_command(etcdctl: Etcdctl, first: int) -> None:
    command = "echo $ETCD_WATCH_EVENT_TYPE $ETCD_WATCH_KEY $ETCD_WATCH_VALUE $ETCD_WATCH_REVISION"
    watch = etcdctl.begin("watch", "a", f"--rev={first}", "--", "sh", "-c", command)
    for one in watch:
        one.until(lambda out: '"DELETE" "a"' in out and out.endswith("\n"))
    end(watch)


def test_watch_of_what_is_compacted(etcdctl: Etcdctl, first: int) -> None:
    etcdctl.same("compaction", str(first + 4))
    compacted = etcdctl.same("watch", "a", f"--rev={first}")
    assert "required revision has been compacted" in compacted.err + compacted.out
    assert etcdctl.same("watch").code != 0


def test_a_lock_goes_from_one_to_the_next(etcdctl: Etcdctl) -> None:
    holder = etcdctl.begin("lock", "l")
    for one in holder:
        assert one.until_lines(1).startswith("l/")
    waiter = etcdctl.begin("lock", "l", "--", "sh", "-c", "echo mine, revision $ETCD_LOCK_REV; exit 7")
    wait_for_keys(etcdctl, "l/", 2)
    assert [(one.process.poll(), one.out) for one in waiter] == [(None, ""), (None, "")]
    end(holder)
    done = end(waiter, None)
    assert (done.code, done.out.startswith("mine, revision ")) == (1, True)
    assert etcdctl.same("get", "l/", "--prefix", "--keys-only").out == ""


def test_a_lock_whose_holder_is_killed_is_free_when_its_lease_ends(etcdctl: Etcdctl) -> None:
    holder = etcdctl.begin("lock", "k", "--ttl=2")
    for one in holder:
        assert one.until_lines(1).startswith("k/")
        one.process.kill()
        one.process.communicate()
    waiter = etcdctl.begin("lock", "k", "echo", "mine")
    for one in waiter:
        assert one.end(None) == Done(0, "mine\n", "")


def test_an_election_has_one_leader_after_the_other(etcdctl: Etcdctl) -> None:
    leader = etcdctl.begin("elect", "e", "first")
    for one in leader:
        assert one.until_lines(2).endswith("first\n")
    listener = etcdctl.begin("elect", "-l", "e")
    for one in listener:
        assert one.until_lines(2).endswith("first\n")
    follower = etcdctl.begin("elect", "e", "second")
    wait_for_keys(etcdctl, "e/", 2)
    assert [one.out for one in follower] == ["", ""]
    end(leader)
    for one in (*follower, *listener):
        one.until(lambda out: out.endswith("second\n"))
    end(follower)
    end(listener)


def wait_for_keys(etcdctl: Etcdctl, prefix: str, count: int) -> None:
    """Until there are so many keys: each contender has one."""
    deadline = time.monotonic() + COMMAND_SECONDS
    while any(done.out.count(prefix) < count for done in etcdctl.run("get", prefix, "--prefix", "--keys-only")):
        assert time.monotonic() < deadline
