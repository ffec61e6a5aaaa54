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

app = typer.Typer(
    name="kubeloop",
    help="A whole Kubernetes cluster in one process.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

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
            without=[name for item in without or () for name in item.split(",")],
            controllers=controllers.split(","),
        )
    except ValueError as error:
        raise fail(str(error)) from None
    run(_up(cluster, port, kubeconfig))


async def _up(cluster: Any, port: int, kubeconfig: Path) -> None:
    stop = stop_event()
    async with cluster:
        try:
            path = await cluster.serve(port=port, kubeconfig=kubeconfig)
        except OSError as error:
            what = f"write {error.filename}" if error.filename else f"serve on 127.0.0.1:{port}"
            raise fail(f"cannot {what}: {error.strerror or error}") from None
        print(f"ready: {cluster.url}, {len(cluster.nodes)} nodes; export KUBECONFIG={path.resolve()}", flush=True)
        await stop.wait()


@app.command()
def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave the cluster running at the end, for kubectl.")] = False,
) -> None:
    """Show the whole cluster at work: real processes, requests, failures and recovery, in about a minute."""
    from kubeloop.demo import scenario

    sys.exit(run(scenario.play(keep=keep)))


def run(main: Coroutine[Any, Any, T]) -> T:
    """Runs `main` on uvloop where there is one; an interrupt that nobody handles ends with status 130."""
    factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    with contextlib.suppress(ImportError):
        import uvloop

        factory = uvloop.new_event_loop
    try:
        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(main)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


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
