"""The commands `kubeloop etcd backup` and `kubeloop etcd restore`."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated

import typer

from kubeloop.actors.etcd.remote.options import RemoteEtcd


def backup(
    source: Annotated[
        str, typer.Option("--from", metavar="URL_OR_DIR", help="An etcd's URL, or a data directory nobody uses now.")
    ],
    file: Annotated[Path, typer.Argument(help="Where to write the backup.")],
    cacert: Annotated[str, typer.Option(metavar="FILE", help="Authority of the etcd's certificates, PEM.")] = "",
    cert: Annotated[str, typer.Option(metavar="FILE", help="Client certificate.")] = "",
    key: Annotated[str, typer.Option(metavar="FILE", help="Its key.")] = "",
) -> None:
    """Save one moment of an etcd in a file, as `etcdctl snapshot save` does; writers are not held up."""
    from kubeloop.actors.cli import fail, run
    from kubeloop.actors.etcd_migrate import side

    try:
        where = side(source, "--from", cacert, cert, key)
    except ValueError as error:
        raise fail(str(error)) from None
    run(_backup(where, file))


async def _backup(source: RemoteEtcd | Path, file: Path) -> None:
    from kubeloop.actors.cli import fail
    from kubeloop.actors.etcd.backup import save
    from kubeloop.actors.etcd.messages import EtcdError
    from kubeloop.runtime.errors import Unreachable
    from kubeloop.store.errors import DataDirError

    try:
        size = await save(_of_directory(source) if isinstance(source, Path) else _of_url(source), file)
    except (EtcdError, Unreachable, DataDirError, ImportError) as error:
        raise fail(str(error)) from None
    except OSError as error:
        raise fail(f"{error.filename or file}: {error.strerror}") from None
    print(f"saved {size:,} bytes in {file}")


async def _of_directory(path: Path) -> AsyncIterator[bytes]:
    from kubeloop.actors.etcd.actor import EtcdActor
    from kubeloop.actors.etcd.migrate import etcd_folder
    from kubeloop.actors.etcd.options import EtcdOptions
    from kubeloop.runtime.system import System
    from kubeloop.store.disk import FILE
    from kubeloop.store.errors import DataDirError

    folder = etcd_folder(path)
    if not (folder / FILE).exists():
        raise DataDirError(f"{path} holds no etcd data")
    etcd = EtcdActor(EtcdOptions(data_dir=folder))
    async with System() as system:
        await system.start(lambda: etcd, name="etcd", host="localhost")
        async for chunk in etcd.backup():
            yield chunk


async def _of_url(source: RemoteEtcd) -> AsyncIterator[bytes]:
    from kubeloop.actors.etcd.remote.errors import refusal
    from kubeloop.actors.etcd.remote.members import Members
    from kubeloop.actors.etcd.remote.stubs import grpc, rpc, rpc_pb2

    members = Members(source)
    try:
        stub = rpc.MaintenanceStub(members.current.channel)
        async for response in stub.Snapshot(rpc_pb2.SnapshotRequest()):
            yield response.blob
    except grpc.RpcError as error:
        raise refusal(error) from None
    finally:
        await members.close()


def restore(
    file: Annotated[Path, typer.Argument(help="A backup, by `kubeloop etcd backup` or `etcdctl snapshot save`.")],
    data_dir: Annotated[Path, typer.Option(metavar="DIR", help="The data directory to make of it; empty or new.")],
) -> None:
    """Make a data directory of a backup. The etcd gets new ids, as from `etcdctl snapshot restore`."""
    from kubeloop.actors.cli import fail
    from kubeloop.runtime.clock import Clock
    from kubeloop.store.backup import restore as restore_file
    from kubeloop.store.errors import DataDirError

    chance = Clock().random
    cluster_id, member_id = chance.getrandbits(63), chance.getrandbits(63)
    try:
        state = restore_file(file, data_dir, cluster_id=cluster_id, member_id=member_id)
    except DataDirError as error:
        raise fail(str(error)) from None
    except OSError as error:
        raise fail(f"{error.filename or file}: {error.strerror}") from None
    print(f"restored revision {state.revision} in {data_dir}")
