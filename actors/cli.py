"""The command `kubeloop`: up, demo, version. Messages go to stderr, except the line that begins with `ready`."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

import kubeloop
from kubeloop.actors import etcd_command

app = typer.Typer(
    name="kubeloop",
    help="A whole Kubernetes cluster in one process.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.add_typer(etcd_command.app, name="etcd")

T = TypeVar("T")
DEFAULT_KUBECONFIG = Path("kubeloop.kubeconfig")


def main() -> None:
    app()


def fail(message: str) -> typer.Exit:
    """Prints what went wrong in one line; exit status 1, as kubectl's."""
    print(f"error: {message}", file=sys.stderr)
    return typer.Exit(1)


@app.command()
def version() -> None:
    """Print kubeloop's version, and the Kubernetes version that its API server speaks."""
    from kubeloop.actors.apiserver.version import GIT_VERSION

    print(f"kubeloop {kubeloop.__version__} (Kubernetes {GIT_VERSION})")


@app.command()
def up(
    nodes: Annotated[int, typer.Option(min=0, help="How many nodes.")] = 1,
    runtime: Annotated[str, typer.Option(help="How containers run: sim or process.")] = "sim",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the API server; 0 takes a free one.")] = 6443,
    kubeconfig: Annotated[Path, typer.Option(help="Where to write the kubeconfig.")] = DEFAULT_KUBECONFIG,
    without: Annotated[
        list[str] | None, typer.Option(metavar="ACTOR", help="Leave a process out, as in --without scheduler.")
    ] = None,
    controllers: Annotated[
        str, typer.Option(metavar="LIST", help="Controllers to run: '*', or with exceptions '*,-job'.")
    ] = "*",
    seed: Annotated[int | None, typer.Option(help="Of every random choice.")] = None,
    data_dir: Annotated[
        str | None,
        typer.Option(metavar="DIR", help="Folder in which state, certificates and tokens outlive the process."),
    ] = None,
    etcd: Annotated[
        list[str] | None,
        typer.Option(metavar="URL", help="A member of a real etcd; several, or with commas. Needs the extra etcd."),
    ] = None,
    etcd_prefix: Annotated[str, typer.Option(help="The key below which all is kept.")] = "/registry",
    etcd_cafile: Annotated[str, typer.Option(metavar="FILE", help="Authority of the real etcd's members.")] = "",
    etcd_certfile: Annotated[str, typer.Option(metavar="FILE", help="Client certificate for the real etcd.")] = "",
    etcd_keyfile: Annotated[str, typer.Option(metavar="FILE", help="Its key.")] = "",
    listen_client_url: Annotated[
        list[str] | None,
        typer.Option(metavar="URL", help="Where the cluster's own etcd serves etcd's API. Needs the extra etcd."),
    ] = None,
    quota_backend_bytes: Annotated[
        int, typer.Option(help="Size on disk beyond which etcd refuses writes; 0 is 2 GiB, below 0 none.")
    ] = 0,
    authorization_mode: Annotated[
        str, typer.Option(metavar="MODES", help="Who decides what users may: Node,RBAC or AlwaysAllow.")
    ] = "AlwaysAllow",
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "warning",
) -> None:
    """Run a cluster until interrupted. Prints a line that begins with `ready` when clients can come."""
    from kubeloop.actors.cluster import Cluster
    from kubeloop.runtime import log

    try:
        log.configure(log_level)
        cluster = Cluster(
            nodes=nodes,
            runtime=runtime,  # type: ignore[arg-type]
            seed=seed,
            without=comma_separated(without),
            controllers=controllers.split(","),
            data_dir=data_dir,
            etcd=etcd_of(
                comma_separated(etcd),
                (etcd_cafile, etcd_certfile, etcd_keyfile),
                comma_separated(listen_client_url),
                quota_backend_bytes,
            ),
            etcd_prefix=etcd_prefix,
            authorization=authorization_mode,
        )
    except (ValueError, ImportError) as error:
        raise fail(str(error)) from None
    run(_up(cluster, port, kubeconfig))


def comma_separated(given: list[str] | None) -> list[str]:
    return [name.strip() for item in given or () for name in item.split(",")]


def etcd_of(
    endpoints: list[str], tls_files: tuple[str, str, str], listen_client_urls: list[str], quota_backend_bytes: int
) -> Any:
    """What `Cluster(etcd=...)` takes. `tls_files`: CA, certificate, key. Raises ValueError."""
    from kubeloop.actors.etcd.options import EtcdOptions
    from kubeloop.actors.etcd.remote.options import RemoteEtcd

    if not endpoints:
        if any(tls_files):
            raise ValueError("--etcd-cafile, --etcd-certfile and --etcd-keyfile are for a real etcd: give --etcd URL")
        return EtcdOptions(listen_client_urls=tuple(listen_client_urls), quota_backend_bytes=quota_backend_bytes)
    if listen_client_urls or quota_backend_bytes:
        raise ValueError("--listen-client-url and --quota-backend-bytes are the own etcd's: not beside --etcd")
    return RemoteEtcd(tuple(endpoints), *tls_files)


async def _up(cluster: Any, port: int, kubeconfig: Path) -> None:
    stop = stop_event()
    async with contextlib.AsyncExitStack() as stack:
        await _enter(cluster, stack)
        try:
            path = await cluster.serve(port=port, kubeconfig=kubeconfig)
        except OSError as error:
            what = f"write {error.filename}" if error.filename else f"serve on 127.0.0.1:{port}"
            raise fail(f"cannot {what}: {error.strerror or error}") from None
        etcd = f", etcd at {', '.join(cluster.etcd_urls)}" if cluster.etcd_urls else ""
        ready = f"ready: {cluster.url}, {len(cluster.nodes)} nodes{etcd}"
        print(f"{ready}; export KUBECONFIG={path.resolve()}", flush=True)
        await stop.wait()


async def _enter(cluster: Any, stack: contextlib.AsyncExitStack) -> None:
    """Starts the cluster; what keeps it from starting is said in one line."""
    from kubeloop.actors.etcd.messages import EtcdError
    from kubeloop.actors.pki_folder import PkiError
    from kubeloop.store.errors import DataDirError

    try:
        await stack.enter_async_context(cluster)
    except (DataDirError, PkiError, EtcdError, ImportError, ConnectionError) as error:
        raise fail(str(error)) from None
    except OSError as error:
        raise fail(f"{error.filename}: {error.strerror}" if error.filename else str(error)) from None


@app.command()
def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave the cluster running at the end, for kubectl.")] = False,
) -> None:
    """Show the whole cluster at work: real processes, requests, failures and recovery, in about a minute."""
    from kubeloop.demo import scenario

    sys.exit(run(scenario.play(keep=keep)))


def run(main: Coroutine[Any, Any, T]) -> T:
    """Runs `main` on uvloop where there is one; an interrupt that nobody handles ends with status 130.

    A process that crashed too often, as when the disk has failed for good, is told in one line.
    """
    from kubeloop.runtime.errors import RestartLimitExceeded

    factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    with contextlib.suppress(ImportError):
        import uvloop

        factory = uvloop.new_event_loop
    try:
        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(main)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    except RestartLimitExceeded as error:
        raise fail(str(error)) from None


def stop_event() -> asyncio.Event:
    """Set by SIGINT or SIGTERM."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(number, stop.set)
        except NotImplementedError:  # Windows' loops have none
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop.set))
    return stop
