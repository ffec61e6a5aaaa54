"""The command `kubeloop etcd migrate`: what lives in one etcd, copied to another; with a progress bar on a terminal."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kubeloop.actors.etcd.remote.options import RemoteEtcd

if TYPE_CHECKING:
    from kubeloop.actors.etcd.migrate import OnProgress, Report

LINES = 10  # where there is no terminal: a line for each tenth


def migrate(
    source: Annotated[
        str, typer.Option("--from", metavar="URL_OR_DIR", help="A real etcd's URLs, with commas, or a data directory.")
    ],
    target: Annotated[str, typer.Option("--to", metavar="URL_OR_DIR", help="The same; a directory may be new.")],
    prefix: Annotated[str, typer.Option(help="Copy only keys that begin with this, as in /registry/.")] = "",
    force: Annotated[
        bool, typer.Option("--force", help="Delete what the target has there, if it is not empty.")
    ] = False,
    from_cacert: Annotated[str, typer.Option(metavar="FILE", help="Authority of the source's certificates, PEM.")] = "",
    from_cert: Annotated[str, typer.Option(metavar="FILE", help="Client certificate for the source.")] = "",
    from_key: Annotated[str, typer.Option(metavar="FILE", help="Its key.")] = "",
    to_cacert: Annotated[str, typer.Option(metavar="FILE", help="Authority of the target's certificates, PEM.")] = "",
    to_cert: Annotated[str, typer.Option(metavar="FILE", help="Client certificate for the target.")] = "",
    to_key: Annotated[str, typer.Option(metavar="FILE", help="Its key.")] = "",
) -> None:
    """Copy the living keys of one etcd to another: a data directory to a real etcd, or back. Stop the cluster first.

    Leases are granted anew with their whole time. The target is read back and compared. History stays behind, and
    revisions begin anew, so that the resourceVersion of every object changes: clients list and watch again.
    """
    from kubeloop.actors.cli import fail, run

    try:
        sides = (
            side(source, "--from", from_cacert, from_cert, from_key),
            side(target, "--to", to_cacert, to_cert, to_key),
        )
    except ValueError as error:
        raise fail(str(error)) from None
    run(_migrate(*sides, prefix.encode(), force))


def side(where: str, option: str, ca_file: str, cert_file: str, key_file: str) -> RemoteEtcd | Path:
    """Raises ValueError for URLs that are none, and for certificates of a directory."""
    if "://" in where:
        return RemoteEtcd(tuple(url.strip() for url in where.split(",")), ca_file, cert_file, key_file)
    if not where:
        raise ValueError(f"{option} is empty: a URL, as in http://127.0.0.1:2379, or a data directory")
    if ca_file or cert_file or key_file:
        raise ValueError(f"{option} {where} is a directory: certificates are for URLs")
    return Path(where)


async def _migrate(source: RemoteEtcd | Path, target: RemoteEtcd | Path, prefix: bytes, force: bool) -> None:
    from kubeloop.actors.cli import fail
    from kubeloop.actors.etcd.messages import EtcdError
    from kubeloop.actors.etcd.migrate import MigrationError, migrate, opened
    from kubeloop.runtime.actor import ActorStopped, Unreachable
    from kubeloop.runtime.system import System
    from kubeloop.store.errors import DataDirError

    try:
        async with System() as system:
            async with opened(system, source, "from", must_exist=True) as (source_kv, source_id):
                async with opened(system, target, "to", must_exist=False) as (target_kv, target_id):
                    if source_id == target_id:
                        raise MigrationError("--from and --to are the same etcd")
                    with progress() as on_progress:
                        report = await migrate(
                            source_kv, target_kv, prefix=prefix, force=force, on_progress=on_progress
                        )
    except (MigrationError, EtcdError, Unreachable, ActorStopped, DataDirError, ImportError) as error:
        raise fail(str(error)) from None
    except OSError as error:
        raise fail(f"{error.filename}: {error.strerror}" if error.filename else str(error)) from None
    print(summary(report))


def summary(report: "Report") -> str:
    extras = [
        f"{report.leases} leases granted anew, with their whole time" if report.leases else "",
        f"{report.expired} keys left out, as their leases ended" if report.expired else "",
        f"{report.deleted} keys of the target deleted before" if report.deleted else "",
    ]
    return "\n".join(
        [
            f"copied {report.keys} keys with {report.value_bytes} bytes of values, read back and compared",
            *(line for line in extras if line),
            f"revision {report.source_revision} of the source is {report.target_revision} of the target: each etcd "
            "counts its own transactions. So the resourceVersion of every object has changed",
            "clients must list and watch again: restart those that hold on to old resourceVersions",
        ]
    )


@contextmanager
def progress() -> Iterator["OnProgress"]:
    """A bar on a terminal, else a line now and then; both on stderr."""
    if not sys.stderr.isatty():
        yield lines(lambda line: print(line, file=sys.stderr, flush=True))
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("copying keys"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=None)
        yield lambda copied, total: bar.update(task, completed=copied, total=total)


def lines(say: Callable[[str], None]) -> "OnProgress":
    """A line for each tenth of the keys."""
    said = 0

    def on_progress(copied: int, total: int) -> None:
        nonlocal said
        tenths = copied * LINES // total if total else LINES
        if tenths > said:
            said = tenths
            say(f"copied {copied} of {total} keys")

    return on_progress
