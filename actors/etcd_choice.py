"""Which etcd a cluster runs on: its own, in memory or on disk, or a real one; and that etcd while it runs."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from kubeloop.actors.etcd.actor import EtcdActor
from kubeloop.actors.etcd.backup import save
from kubeloop.actors.etcd.kv import ActorKV
from kubeloop.actors.etcd.messages import KV, EtcdError
from kubeloop.actors.etcd.options import EtcdOptions
from kubeloop.actors.etcd.remote.options import RemoteEtcd
from kubeloop.actors.processes import CONTROL_PLANE
from kubeloop.runtime.actor import ActorStopped, Unreachable
from kubeloop.runtime.system import System
from kubeloop.store.store import Store

if TYPE_CHECKING:
    from kubeloop.actors.etcd.remote.kv import RemoteKV

EtcdChoice: TypeAlias = EtcdOptions | RemoteEtcd | Sequence[str] | str
ETCD_FOLDER = "etcd"  # below the cluster's data_dir


def data_dir_of(data_dir: str | os.PathLike[str] | None) -> Path | None:
    """Raises ValueError for what cannot be a folder."""
    if data_dir is None:
        return None
    if not str(data_dir):
        raise ValueError("data_dir is empty: it is the folder in which the cluster keeps its state")
    path = Path(data_dir).absolute()
    if path.exists() and not path.is_dir():
        raise ValueError(f"data_dir {str(path)!r} is no folder")
    return path


def options_of(etcd: EtcdChoice | None, data_dir: Path | None) -> EtcdOptions | RemoteEtcd:
    """What a user has chosen, with the cluster's data_dir. Raises ValueError for what contradicts itself."""
    if isinstance(etcd, RemoteEtcd):
        return etcd
    if isinstance(etcd, EtcdOptions) or etcd is None:
        options = etcd or EtcdOptions()
        if options.data_dir is not None:
            raise ValueError("data_dir is the cluster's, which keeps its certificates there too: Cluster(data_dir=...)")
        if data_dir is None and options.quota_backend_bytes:
            raise ValueError("quota_backend_bytes limits the data on disk: it needs data_dir")
        check_listening(options)
        folder = data_dir / ETCD_FOLDER if data_dir is not None else None
        return msgspec.structs.replace(options, data_dir=folder)
    endpoints = [etcd] if isinstance(etcd, str) else list(etcd)
    if not all(isinstance(endpoint, str) for endpoint in endpoints):
        raise ValueError(f"etcd={etcd!r}: a list of URLs, EtcdOptions or RemoteEtcd")
    return RemoteEtcd(tuple(one.strip() for endpoint in endpoints for one in endpoint.split(",")))


def check_listening(options: EtcdOptions) -> None:
    """Raises ValueError for URLs that cannot be listened on, ImportError where aetcd is needed and not installed."""
    if not options.listen_client_urls:
        return
    from kubeloop.actors.etcd.wire.server import address_of

    for url in options.listen_client_urls:
        scheme, _, _ = address_of(url)
        if scheme == "https" and not (options.cert_file and options.key_file):
            raise ValueError(f"{url} needs cert_file and key_file")


class ListeningEtcd(EtcdActor):
    """An etcd that also serves its own API."""

    async def on_start(self) -> None:
        from kubeloop.actors.etcd.wire.server import EtcdServer

        await super().on_start()
        self.server = EtcdServer(self)
        await self.server.start()

    async def on_stop(self) -> None:
        await self.server.close()
        await super().on_stop()


class ClusterEtcd:
    """The etcd of one cluster. `urls`: where it is spoken to over gRPC; none where it is not."""

    def __init__(self, options: EtcdOptions | RemoteEtcd) -> None:
        self.options = options
        self.urls: tuple[str, ...] = options.endpoints if isinstance(options, RemoteEtcd) else ()
        self._remote: RemoteKV | None = None

    @property
    def is_real(self) -> bool:
        return isinstance(self.options, RemoteEtcd)

    @property
    def in_memory(self) -> bool:
        return isinstance(self.options, EtcdOptions) and self.options.data_dir is None

    async def start(self, system: System) -> None:
        """Raises ConnectionError when a real etcd does not answer, DataDirError for data that cannot be used, OSError
        for addresses and files, ImportError where aetcd is needed and not installed, RuntimeError in virtual time."""
        options = self.options
        virtual = getattr(system.loop, "virtual", False)
        if isinstance(options, RemoteEtcd):
            if virtual:
                raise RuntimeError("a real etcd has no place in virtual time: its answers would come when time is over")
            await self._connect(options, system)
            return
        if virtual and options.listen_client_urls:
            raise RuntimeError("listen_client_urls have no place in virtual time: real clients belong in a real loop")
        memory = Store(txn_ops_max=options.max_txn_ops) if options.data_dir is None else None  # outlives the process
        self.urls = ()
        if not options.listen_client_urls:
            await system.start(lambda: EtcdActor(options, store=memory), name="etcd", host=CONTROL_PLANE)
            return

        def listening() -> EtcdActor:
            bound = msgspec.structs.replace(options, listen_client_urls=self.urls or options.listen_client_urls)
            return ListeningEtcd(bound, store=memory)

        await system.start(listening, name="etcd", host=CONTROL_PLANE)
        live = system.slot("etcd").live
        assert live is not None and isinstance(live.actor, ListeningEtcd)
        self.urls = tuple(live.actor.server.urls)  # a restarted one listens on the same ports

    async def _connect(self, options: RemoteEtcd, system: System) -> None:
        from kubeloop.actors.etcd.remote.kv import RemoteKV

        self._remote = RemoteKV(options, system, clock=system.clock)
        try:
            await self._remote.connect()
        except (EtcdError, Unreachable) as error:
            raise ConnectionError(f"etcd at {', '.join(options.endpoints)} does not answer: {error}") from error

    def kv(self, system: System) -> KV:
        """For a process of the control plane."""
        if self._remote is not None:
            return self._remote
        etcd = system.ref("etcd", source_host=CONTROL_PLANE)
        return ActorKV(etcd, network=system.network, host=CONTROL_PLANE)

    async def backup(self, system: System, path: Path) -> int:
        """Save what the cluster's own etcd holds now; the file's size in bytes. Raises ValueError for a real etcd."""
        if self.is_real:
            raise ValueError("a real etcd saves itself: etcdctl snapshot save, or kubeloop etcd backup --from URL")
        live = system.slot("etcd").live
        if live is None:
            raise ActorStopped("etcd does not run")
        assert isinstance(live.actor, EtcdActor)
        return await save(live.actor.backup(), path)

    async def close(self) -> None:
        """Once the cluster has ended."""
        remote, self._remote = self._remote, None
        if remote is not None:
            await remote.close()
