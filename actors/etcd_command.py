"""The command `kubeloop etcd`: the embedded etcd alone, for etcd's own clients. Flags are named as etcd's."""

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from kubeloop.actors import etcd_backup, etcd_migrate
from kubeloop.actors.etcd.options import REQUEST_BYTES_MAX, TXN_OPS_MAX, EtcdOptions

app = typer.Typer(help="Etcd's v3 API from kubeloop's store, alone.", invoke_without_command=True, no_args_is_help=True)
app.command()(etcd_migrate.migrate)
app.command()(etcd_backup.backup)
app.command()(etcd_backup.restore)

HOUR_SECONDS = 3600.0
UNIT_SECONDS = {"h": HOUR_SECONDS, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
DURATION_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(h|ms|m|s|us|µs|ns)")


@app.callback()
def serve(
    context: typer.Context,
    listen_client_url: Annotated[
        list[str] | None,
        typer.Option(
            "--listen-client-url",
            "--listen-client-urls",
            metavar="URL",
            help="Where to serve, http:// or https://, port 0 takes a free one; several, or with commas.",
        ),
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where to keep the data; without it, in memory.")
    ] = None,
    name: Annotated[str, typer.Option(help="Of the one member.")] = "default",
    cert_file: Annotated[str, typer.Option(metavar="FILE", help="Certificate of the https:// URLs, PEM.")] = "",
    key_file: Annotated[str, typer.Option(metavar="FILE", help="Its key.")] = "",
    trusted_ca_file: Annotated[
        str, typer.Option(metavar="FILE", help="Authority of the clients' certificates, which are then demanded.")
    ] = "",
    client_cert_auth: Annotated[bool, typer.Option("--client-cert-auth", help="Demand client certificates.")] = False,
    quota_backend_bytes: Annotated[
        int, typer.Option(help="Size on disk beyond which writes are refused; 0 is 2 GiB, below 0 none.")
    ] = 0,
    auto_compaction_mode: Annotated[str, typer.Option(help="periodic or revision.")] = "periodic",
    auto_compaction_retention: Annotated[
        str, typer.Option(help="History to keep: 1h, 5m, a number of hours, or a number of revisions; 0 is all.")
    ] = "0",
    max_request_bytes: Annotated[int, typer.Option(min=1, help="Largest request.")] = REQUEST_BYTES_MAX,
    max_txn_ops: Annotated[int, typer.Option(min=1, help="Most operations of a transaction.")] = TXN_OPS_MAX,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "warning",
) -> None:
    """Serve etcd's v3 API until interrupted. Prints a line that begins with `ready` when clients can come."""
    if context.invoked_subcommand is not None:
        return
    from kubeloop.actors.cli import comma_separated, fail, run
    from kubeloop.actors.etcd_choice import check_listening
    from kubeloop.runtime import log

    try:
        log.configure(log_level)
        urls = comma_separated(listen_client_url)
        if not urls:
            raise ValueError("no --listen-client-url, as in --listen-client-url http://127.0.0.1:2379")
        options = EtcdOptions(
            name=name,
            data_dir=data_dir,
            listen_client_urls=tuple(urls),
            cert_file=cert_file,
            key_file=key_file,
            trusted_ca_file=trusted_ca_file,
            client_cert_auth=client_cert_auth,
            quota_backend_bytes=quota_backend_bytes,
            auto_compaction_mode=compaction_mode(auto_compaction_mode),
            auto_compaction_retention=retention(auto_compaction_mode, auto_compaction_retention),
            max_request_bytes=max_request_bytes,
            max_txn_ops=max_txn_ops,
        )
        check_listening(options)
    except (ValueError, ImportError) as error:
        raise fail(str(error)) from None
    run(_serve(options))


async def _serve(options: EtcdOptions) -> None:
    from kubeloop.actors.cli import fail, stop_event
    from kubeloop.actors.etcd_choice import ClusterEtcd
    from kubeloop.runtime.errors import RestartLimitExceeded
    from kubeloop.runtime.system import System
    from kubeloop.store.errors import DataDirError

    stop = stop_event()
    etcd = ClusterEtcd(options)
    try:
        async with System() as system:
            await etcd.start(system)
            where = f"data in {options.data_dir.resolve()}" if options.data_dir is not None else "data in memory"
            print(f"ready: etcd's v3 API on {', '.join(etcd.urls)}, {where}", flush=True)
            await stop.wait()
    except (DataDirError, ValueError, ImportError, RestartLimitExceeded) as error:
        raise fail(str(error)) from None
    except OSError as error:
        raise fail(f"{error.filename}: {error.strerror}" if error.filename else error.strerror or str(error)) from None


def compaction_mode(text: str) -> Any:
    """Raises ValueError for another mode than etcd's two."""
    if text not in ("periodic", "revision"):
        raise ValueError(f"--auto-compaction-mode {text!r}: periodic or revision")
    return text


def retention(mode: str, text: str) -> float:
    """`--auto-compaction-retention` in seconds or revisions. A bare number of a periodic one is hours, as in etcd.

    Raises ValueError.
    """
    if text.isascii() and text.isdigit():
        return int(text) * HOUR_SECONDS if mode == "periodic" else int(text)
    if mode == "revision":
        raise ValueError(f"--auto-compaction-retention {text!r}: with mode revision a number of revisions, as in 1000")
    parts = DURATION_PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"--auto-compaction-retention {text!r}: a number of hours, or a duration as in 1h30m")
    return sum(float(number) * UNIT_SECONDS[unit] for number, unit in parts)
