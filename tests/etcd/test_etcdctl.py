"""The real etcdctl prints the same of `kubeloop etcd` as of the real etcd, command by command: keys and leases.

Both begin at revision 1 and are given the same commands, so revisions are compared as they are.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from aetcd.rpc import rpc_pb2  # type: ignore[import-untyped]

from tests.etcd.etcdctl import Etcdctl
from tests.etcd.peer_client import plain
from tests.etcd.real_etcd import OurEtcd, RealEtcd, require_etcd


@pytest.fixture(scope="module")
def etcdctl(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Etcdctl]:
    require_etcd("etcd", "etcdctl")
    folder: Path = tmp_path_factory.mktemp("etcdctl")
    with RealEtcd(folder) as real, OurEtcd(folder, data_dir=folder / "ours") as ours:
        yield Etcdctl(real.members[0], ours)


@pytest.fixture
def ctl(etcdctl: Etcdctl) -> Etcdctl:
    """Some keys, with some history."""
    etcdctl.same("del", "--prefix", "")
    for key, value in (("a", "1"), ("b", "3"), ("a", "2"), ("a/x", "1"), ("c", "0")):
        assert etcdctl.same("put", key, value).out == "OK\n"
    return etcdctl


FORMATS = ("simple", "json", "fields", "table", "bogus")


@pytest.mark.parametrize(
    "command",
    [
        ("put", "a", "3"),
        ("put", "a", "3", "--prev-kv"),
        ("put", "new", "3", "--prev-kv"),
        ("put", "a", "--ignore-value"),
        ("put", "a", "x", "--ignore-value"),
        ("put", "none", "--ignore-value"),
        ("put", "a", "4", "--ignore-lease"),
        ("put", "none", "4", "--ignore-lease"),
        ("put", "a", "1", "--lease=77"),
        ("put", "a", "1", "--lease=x"),
        ("put", "", "1"),
        ("put",),
        ("put", "a", "b", "c"),
        ("put", "a", "b", "--bogus"),
    ],
    ids=" ".join,
)
def test_put(ctl: Etcdctl, command: tuple[str, ...]) -> None:
    ctl.same(*command)
    ctl.same("get", "", "--prefix", "-w", "json")


def test_put_takes_its_value_from_stdin(ctl: Etcdctl) -> None:
    assert ctl.same("put", "a", stdin="two\nlines").out == "OK\n"
    assert ctl.same("get", "a", "--print-value-only").out == "two\nlines\n"


@pytest.mark.parametrize(
    "command",
    [
        ("a",),
        ("none",),
        ("a", "c"),
        ("c", "a"),
        ("a", "--prefix"),
        ("b", "--from-key"),
        ("a", "--prefix", "--from-key"),
        ("", "--prefix", "--limit=2"),
        ("", "--prefix", "--order=DESCEND"),
        ("", "--prefix", "--order=ASCEND", "--sort-by=VALUE"),
        ("", "--prefix", "--order=DESCEND", "--sort-by=CREATE", "--limit=2"),
        ("", "--prefix", "--sort-by=MODIFY"),
        ("", "--prefix", "--sort-by=VERSION", "--order=DESCEND"),
        ("", "--prefix", "--sort-by=KEY", "--order=DESCEND", "--keys-only"),
        ("", "--prefix", "--sort-by=BOGUS"),
        ("", "--prefix", "--order=BOGUS"),
        ("", "--prefix", "--keys-only"),
        ("a", "--print-value-only"),
        ("a", "--rev=2"),
        ("a", "--rev=100000"),
        ("a", "--hex"),
        ("a", "--consistency=s"),
        ("a", "--consistency=bogus"),
        ("",),
        (),
        ("--prefix",),
        ("a", "b", "c"),
    ],
    ids=" ".join,
)
def test_get(ctl: Etcdctl, command: tuple[str, ...]) -> None:
    ctl.same("get", *command)
    ctl.same("get", *command, "-w", "json")


@pytest.mark.parametrize(
    "command",
    [
        ("a",),
        ("none",),
        ("none", "--prev-kv"),
        ("a", "--prev-kv"),
        ("a", "--prefix", "--prev-kv"),
        ("a/x", "--from-key", "--prev-kv"),
        ("a", "c"),
        ("c", "a"),
        ("",),
        (),
    ],
    ids=" ".join,
)
def test_del(ctl: Etcdctl, command: tuple[str, ...]) -> None:
    ctl.same("del", *command)
    ctl.same("get", "", "--prefix", "-w", "json")


@pytest.mark.parametrize("output", FORMATS)
def test_every_output_format(ctl: Etcdctl, output: str) -> None:
    ctl.same("put", "a", "5", "--prev-kv", "-w", output)
    ctl.same("get", "a", "-w", output)
    ctl.same("get", "", "--prefix", "--hex", "-w", output)
    ctl.same("del", "a", "--prev-kv", "-w", output)
    ctl.same("txn", "-w", output, stdin=TXN)
    ctl.same("lease", "list", "-w", output)


def test_protobuf_output(ctl: Etcdctl) -> None:
    for command, message in (
        (("put", "a", "5", "--prev-kv"), rpc_pb2.PutResponse),
        (("get", "", "--prefix"), rpc_pb2.RangeResponse),
        (("del", "a", "--prev-kv"), rpc_pb2.DeleteRangeResponse),
    ):
        real, ours = ctl.run(*command, "-w", "protobuf")
        said = [plain(message.FromString(done.out.encode(errors="surrogateescape")), 0) for done in (real, ours)]
        assert said[1] == said[0], command


TXN = """mod("a") > "0"
value("b") = "3"

put a 5
get a
put d "x y"
del c --prev-kv

put d 1
get a --rev=1

"""


@pytest.mark.parametrize(
    "text",
    [
        TXN,
        TXN.replace('"3"', '"4"'),
        'ver("a") < "9"\ncreate("a") != "0"\nc("none") = "0"\nlease("a") = "0"\n\nget a --prefix\n\n\n',
        "\nput a 1\nput a 2\n\n\n",
        "\nput a 1 --lease=77\n\n\n",
        "\n\nput a 1\n\n",
        "\n\n\n",
        "",
        "bogus\n\n\n\n",
        'mod("a") ~ "0"\n\n\n\n',
        'mod("a") > "x"\n\n\n\n',
        "\nbogus a\n\n\n",
    ],
)
def test_txn(ctl: Etcdctl, text: str) -> None:
    ctl.same("txn", stdin=text)
    ctl.same("txn", "--interactive", stdin=text)
    ctl.same("get", "", "--prefix", "-w", "json")


def test_compaction(ctl: Etcdctl) -> None:
    revision = ctl.same("get", "a", "-w", "json").json["header"]["revision"]
    assert ctl.same("compaction", str(revision - 2)).out == f"compacted revision {revision - 2}\n"
    assert ctl.same("compaction", str(revision - 2)).code == 1
    assert ctl.same("compaction", str(revision), "--physical").out == f"compacted revision {revision}\n"
    for arguments in ((), ("x",), ("0",), ("-1",), (str(revision + 9),)):
        assert ctl.same("compaction", *arguments).code != 0
    assert ctl.same("get", "a", f"--rev={revision - 1}").code == 1
    assert ctl.same("get", "a", f"--rev={revision}").code == 0


def test_leases(ctl: Etcdctl) -> None:
    granted = ctl.run("lease", "grant", "1000", "-w", "json")
    each = (f"{granted[0].json['ID']:x}", f"{granted[1].json['ID']:x}")
    ctl.same("put", "k1", "1", "--lease={}", each=each)
    for output in FORMATS[:-1]:
        ctl.same("lease", "grant", "500", "-w", output)
        ctl.same("lease", "timetolive", "{}", "-w", output, each=each)
        ctl.same("lease", "timetolive", "{}", "--keys", "-w", output, each=each)
        ctl.same("lease", "keep-alive", "{}", "--once", "-w", output, each=each)
        ctl.same("get", "k", "--prefix", "-w", output)
    ctl.same("put", "k2", "2", "--lease={}", each=each)
    ctl.same("put", "k1", "3", "--ignore-lease")
    ctl.same("put", "k2", "3")
    assert "attached keys([k1])" in ctl.same("lease", "timetolive", "{}", "--keys", each=each).out
    assert ctl.same("lease", "revoke", "{}", each=each).code == 0
    assert ctl.same("get", "k", "--prefix", "--keys-only").out == "k2\n\n"
    assert ctl.same("lease", "revoke", "{}", each=each).code == 1
    listed = [done.out.splitlines() for done in ctl.run("lease", "list")]
    assert len(listed[0]) == len(listed[1])
    for lease in zip(*listed, strict=True):
        if "found" not in lease[0]:
            ctl.same("lease", "revoke", "{}", each=(lease[0], lease[1]))
    assert ctl.same("lease", "list").out == "found 0 leases\n"


@pytest.mark.parametrize(
    "command",
    [
        ("grant",),
        ("grant", "x"),
        ("grant", "0"),
        ("grant", "9999999999"),
        ("revoke", "5"),
        ("revoke", "zz"),
        ("revoke",),
        ("timetolive", "5"),
        ("timetolive", "5", "--keys"),
        ("timetolive", "zz"),
        ("keep-alive", "5"),
        ("keep-alive", "5", "--once"),
    ],
    ids=" ".join,
)
def test_leases_that_are_none(ctl: Etcdctl, command: tuple[str, ...]) -> None:
    ctl.same("lease", *command)
