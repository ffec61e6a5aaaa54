"""The real etcdctl keeps `kubeloop etcd` in order as it does the real etcd: members, status, alarms, backups, TLS."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.etcd.etcdctl import Done, Etcdctl, Running, scrub
from tests.etcd.real_etcd import OurEtcd, RealEtcd, Tls, require_etcd

QUOTA_BYTES = 4 * 1024 * 1024


@pytest.fixture(scope="module")
def perf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """`check perf`, which takes a minute whatever one tells it: it runs beside the other tests, alone with its etcd."""
    require_etcd("etcdctl")
    folder: Path = tmp_path_factory.mktemp("perf")
    with OurEtcd(folder, data_dir=folder / "ours") as ours:
        running = Running(Etcdctl(ours, ours).start(ours, "check", "perf", "--auto-compact", "--auto-defrag"))
        yield running
        running.process.kill()
        running.process.communicate()


@pytest.fixture(scope="module")
def etcdctl(tmp_path_factory: pytest.TempPathFactory, perf: Running) -> Iterator[Etcdctl]:
    require_etcd("etcd", "etcdctl")
    folder: Path = tmp_path_factory.mktemp("etcdctl")
    quota = [f"--quota-backend-bytes={QUOTA_BYTES}"]
    with RealEtcd(folder, flags=quota) as real, OurEtcd(folder, data_dir=folder / "ours", flags=quota) as ours:
        yield Etcdctl(real.members[0], ours)


def json_of(ctl: Etcdctl, *command: str) -> tuple[Any, Any]:
    real, ours = ctl.run(*command, "-w", "json")
    assert (real.code, ours.code) == (0, 0)
    return real.json, ours.json


def shape(value: Any) -> Any:
    """The names in it, and the types of what they name."""
    if isinstance(value, dict):
        return {name: shape(one) for name, one in value.items()}
    if isinstance(value, list):
        return [shape(one) for one in value]
    return type(value).__name__


def test_members(etcdctl: Etcdctl) -> None:
    real, ours = json_of(etcdctl, "member", "list")
    (member,) = ours["members"]
    assert member["clientURLs"] == [etcdctl.etcds[1].url]
    assert member["ID"] == ours["header"]["member_id"]
    del real["members"][0]["peerURLs"]  # ours has no peers
    assert shape(ours) == shape(real)
    for output, words in (("simple", "started"), ("table", "STATUS"), ("fields", '"ClientURL" : ')):
        for done in etcdctl.run("member", "list", "-w", output):
            assert (done.code, words in done.out) == (0, True)


def test_members_cannot_be_changed(etcdctl: Etcdctl) -> None:
    """The real one is not asked: it would wait for the new member for ever."""
    ours = etcdctl.etcds[1]
    for command in (("add", "x", "--peer-urls=http://127.0.0.1:1"), ("remove", "5"), ("promote", "5")):
        done = Running(etcdctl.start(ours, "member", *command)).end(None)
        assert done.code == 1
        assert done.err.splitlines()[-1].startswith("Error: ")


def test_status(etcdctl: Etcdctl) -> None:
    etcdctl.same("put", "a", "1")
    (real,), (ours,) = json_of(etcdctl, "endpoint", "status")
    assert shape(ours) == shape(real)
    assert ours["Status"]["header"]["revision"] == real["Status"]["header"]["revision"]
    assert ours["Status"]["leader"] == ours["Status"]["header"]["member_id"]
    assert ours["Status"]["dbSize"] >= ours["Status"]["dbSizeInUse"] > 0
    for output in ("simple", "table", "fields"):
        for flags in ((), ("--cluster",)):
            assert [done.code for done in etcdctl.run("endpoint", "status", *flags, "-w", output)] == [0, 0]


def test_health(etcdctl: Etcdctl) -> None:
    for output in ("simple", "json", "fields", "table"):
        for flags in ((), ("--cluster",)):
            etcdctl.same("endpoint", "health", *flags, "-w", output)


def test_a_hash_changes_with_the_data_and_not_without(etcdctl: Etcdctl) -> None:
    hashes = []
    for _ in range(2):
        revision = etcdctl.same("put", "h", "1", "-w", "json").json["header"]["revision"]
        for flags in ((), (), (f"--rev={revision}",)):
            (real,), (ours,) = json_of(etcdctl, "endpoint", "hashkv", *flags)
            assert shape(ours) == shape(real)
            hashes.append(ours["HashKV"]["hash"])
    assert hashes == [hashes[0]] * 3 + [hashes[3]] * 3
    assert hashes[0] != hashes[3]
    etcdctl.same("endpoint", "hashkv", f"--rev={revision + 100}")
    etcdctl.same("compaction", str(revision))
    etcdctl.same("endpoint", "hashkv", f"--rev={revision - 1}")


def test_the_leader_stays(etcdctl: Etcdctl) -> None:
    """Nobody is there to lead instead, in either."""
    etcdctl.same("move-leader", "5")
    etcdctl.same("move-leader", "x")
    etcdctl.same("move-leader")


def test_a_full_etcd_raises_an_alarm_until_there_is_room(etcdctl: Etcdctl) -> None:
    assert etcdctl.same("alarm", "list").out == ""
    assert etcdctl.same("alarm", "disarm").out == ""
    refused: dict[int, Done] = {}
    for number in range(12):  # each writes until it is full: their files grow differently
        for index, done in enumerate(etcdctl.run("put", f"big-{number}", stdin="v" * 1_000_000)):
            if done.code:
                refused.setdefault(index, done)
    assert scrub(refused[1].err) == scrub(refused[0].err)
    assert "etcdserver: mvcc: database space exceeded" in refused[1].err
    assert etcdctl.same("alarm", "list").out.endswith(" alarm:NOSPACE \n")
    etcdctl.same("endpoint", "health")
    assert etcdctl.same("put", "small", "1").code == 1
    assert etcdctl.same("lease", "grant", "100").code == 1
    assert etcdctl.same("txn", stdin="\nput small 1\n\n\n").code == 1
    assert etcdctl.same("get", "h").code == 0
    assert [done.code for done in etcdctl.run("del", "big-", "--prefix")] == [0, 0]
    real, ours = json_of(etcdctl, "get", "h")
    for etcd, answer in zip(etcdctl.etcds, (real, ours), strict=True):
        revision = str(answer["header"]["revision"])
        assert Running(etcdctl.start(etcd, "compaction", revision, "--physical")).end(None).code == 0
    assert etcdctl.same("put", "small", "1").code == 1, "the alarm stands until it is disarmed"
    etcdctl.same("defrag")
    for flags in ((), ("--cluster",)):
        assert etcdctl.same("defrag", *flags).code == 0
    assert etcdctl.same("alarm", "disarm").out.endswith(" alarm:NOSPACE \n")
    assert etcdctl.same("alarm", "list").out == ""
    assert etcdctl.same("put", "small", "1").out == "OK\n"


def test_a_snapshot_is_saved_and_restored(etcdctl: Etcdctl, tmp_path: Path) -> None:
    ours = etcdctl.etcds[1]
    assert etcdctl.same("put", "kept", "for ever").code == 0
    file = tmp_path / "snapshot.db"
    saved = Running(etcdctl.start(ours, "snapshot", "save", str(file))).end(None)
    assert (saved.code, saved.out) == (0, f"Snapshot saved at {file}\n")
    data_dir = tmp_path / "restored"
    command = [sys.executable, "-m", "kubeloop", "etcd", "restore", str(file), f"--data-dir={data_dir}"]
    subprocess.run(command, check=True, capture_output=True)
    with OurEtcd(tmp_path, data_dir=data_dir) as restored:
        before, after = (
            json.loads(Running(etcdctl.start(etcd, "get", "", "--prefix", "-w", "json")).end(None).out)
            for etcd in (ours, restored)
        )
    assert after["header"]["cluster_id"] != before["header"]["cluster_id"]
    del before["header"], after["header"]
    assert after == before
    nowhere = Running(etcdctl.start(ours, "snapshot", "save", str(tmp_path / "none" / "at"))).end(None)
    assert nowhere.code != 0


AUTH = [
    ("auth", "enable"),
    ("auth", "disable"),
    ("user", "list"),
    ("user", "add", "u:p"),
    ("user", "get", "u"),
    ("user", "grant-role", "u", "r"),
    ("user", "delete", "u"),
    ("role", "list"),
    ("role", "add", "r"),
    ("role", "get", "r"),
    ("role", "grant-permission", "r", "read", "a"),
]


@pytest.mark.parametrize("command", AUTH, ids=" ".join)
def test_users_are_not_served(etcdctl: Etcdctl, command: tuple[str, ...]) -> None:
    done = Running(etcdctl.start(etcdctl.etcds[1], *command)).end(None)
    assert done.code == 1
    assert "code = Unimplemented desc = unknown " in done.err.splitlines()[-1]


def test_tls_with_client_certificates(tmp_path: Path) -> None:
    require_etcd("etcd", "etcdctl")
    tls = Tls.make(tmp_path / "tls", client_cert_auth=True)
    with RealEtcd(tmp_path, tls=tls) as real, OurEtcd(tmp_path, tls=tls) as ours:
        ctl = Etcdctl(real.members[0], ours)
        assert ctl.same("put", "a", "1").out == "OK\n"
        assert ctl.same("get", "a").out == "a\n1\n"
        ctl.same("endpoint", "health")
        for flags in ((), (f"--cacert={tls.trusted_ca_file}",)):
            strangers = ctl.run_as(flags, "--dial-timeout=500ms", "--command-timeout=1s", "get", "a")
            assert [done.code for done in strangers] == [1, 1]


def test_check_perf_passes(perf: Running) -> None:
    """The small load: 150 writes a second for a minute, not one slower than half a second."""
    done = perf.end(None)
    assert "PASS: Throughput is" in done.out
    assert "PASS: Slowest request took" in done.out
    assert (done.code, done.out.splitlines()[-1]) == (0, "PASS")
