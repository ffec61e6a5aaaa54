"""Saving an etcd in a file, and making one of it: from Python and on the command line."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from kubeloop import Cluster, simulate
from kubeloop.actors.cli import app
from kubeloop.store.disk import FILE

RUNNER = CliRunner()
CONFIG = "{apiVersion: v1, kind: ConfigMap, metadata: {name: %s}}"


def run(*words: object) -> tuple[int, str]:
    done = RUNNER.invoke(app, ["etcd", *map(str, words)])
    return done.exit_code, done.output


async def saved_cluster(data_dir: Path | None, file: Path) -> None:
    async with Cluster(nodes=0, data_dir=data_dir) as cluster:
        await cluster.apply(CONFIG % "before")
        assert await cluster.backup(file) > 10_000
        await cluster.apply(CONFIG % "after")


async def names(data_dir: Path) -> set[str]:
    async with Cluster(nodes=0, data_dir=data_dir) as cluster:
        found = await cluster.client.list("configmaps", namespace="default")
        return {one.metadata.name for one in found.items} - {"kube-root-ca.crt"}


@pytest.mark.parametrize("durable", [True, False])
def test_a_cluster_is_saved_while_it_runs_and_goes_on_from_there_elsewhere(tmp_path: Path, durable: bool) -> None:
    simulate(saved_cluster(tmp_path / "data" if durable else None, tmp_path / "backup"), seed=1)
    status, output = run("restore", tmp_path / "backup", "--data-dir", tmp_path / "elsewhere" / "etcd")
    assert (status, output.startswith("restored revision")) == (0, True), output
    assert simulate(names(tmp_path / "elsewhere"), seed=2) == {"before"}


def test_a_directory_that_nobody_uses_is_saved(tmp_path: Path) -> None:
    simulate(saved_cluster(tmp_path / "data", tmp_path / "first"), seed=1)
    for directory in ("data", "data/etcd"):
        status, output = run("backup", "--from", tmp_path / directory, tmp_path / "backup")
        assert (status, output.startswith("saved ")) == (0, True), output
    assert run("restore", tmp_path / "backup", "--data-dir", tmp_path / "elsewhere" / "etcd")[0] == 0
    assert "after" in simulate(names(tmp_path / "elsewhere"), seed=2)


def test_what_cannot_be_saved_or_restored_is_said_in_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "rubbish").write_text("no etcd")
    for words, expected in (
        (("backup", "--from", tmp_path / "nothing", tmp_path / "file"), "holds no etcd data"),
        (("backup", "--from", "http://127.0.0.1:1", tmp_path / "file"), "Connection refused"),
        (("backup", "--from", "ftp://127.0.0.1", tmp_path / "file"), "written as http://host:2379"),
        (("restore", tmp_path / "nothing", "--data-dir", tmp_path / "new"), "No such file"),
        (("restore", tmp_path / "rubbish", "--data-dir", tmp_path / "new"), "not a database"),
    ):
        status, output = run(*words)
        assert status == 1 and expected in output and output.count("\n") == 1, output
    assert not (tmp_path / "file").exists() and not (tmp_path / "new" / FILE).exists()
