"""The real etcd (Debian's etcd-server), one member or several, on loopback, with data in a folder of the caller.

    with RealEtcd(tmp_path) as etcd:              # started and healthy
        etcd.url                                  # http://127.0.0.1:23456
    with RealEtcd(tmp_path, members=3) as etcd:
        etcd.members[0].kill()                    # kill -9; also stop() (SIGTERM)
        etcd.members[0].start()                   # does not wait; wait_healthy() does

Where the package is missing `require_etcd` skips the test, in CI it fails it.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

import grpc  # type: ignore[import-untyped]
import pytest
from aetcd.rpc import rpc_pb2, rpc_pb2_grpc  # type: ignore[import-untyped]

from tests.etcd.etcd_process import EtcdDied, EtcdProcess, OurEtcd, Tls, free_port, open_channel

__all__ = [
    "EtcdProcess",
    "Member",
    "OurEtcd",
    "RealEtcd",
    "Tls",
    "free_port",
    "in_ci",
    "open_channel",
    "our_etcd_of_the_session",
    "real_etcd",
    "real_etcd_cluster",
    "require_etcd",
]

ETCD = shutil.which("etcd")
ETCDCTL = shutil.which("etcdctl")
STATUS_SECONDS = 10.0
HEARTBEAT_MILLISECONDS = 20
ELECTION_MILLISECONDS = 200
START_ATTEMPTS = 5


def in_ci() -> bool:
    """Whether nothing may be skipped: `.ci/run` and the usual CI services set these."""
    return bool(os.environ.get("KUBELOOP_CI") or os.environ.get("CI"))


def require_etcd(*programs: str) -> None:
    """Skip the test where a program is missing; in CI fail it."""
    missing = [program for program in programs or ("etcd",) if shutil.which(program) is None]
    if missing:
        reason = f"{', '.join(missing)} is not installed (Debian: etcd-server, etcd-client; `make debian`)"
        pytest.fail(reason) if in_ci() else pytest.skip(reason)


class Member(EtcdProcess):
    """One process of a real etcd. Its data stays when it ends."""

    def __init__(self, name: str, folder: Path, tls: Tls | None, flags: list[str]) -> None:
        super().__init__(name, folder, tls)
        self.data_dir = folder / name
        self.peer_port = free_port()
        self.initial_cluster = ""
        self._flags = flags

    @property
    def peer_url(self) -> str:
        return f"http://127.0.0.1:{self.peer_port}"

    @staticmethod
    def elections() -> list[str]:
        """Quick ones, where there is somebody to elect. They also shorten the least time to live of a lease."""
        return [f"--heartbeat-interval={HEARTBEAT_MILLISECONDS}", f"--election-timeout={ELECTION_MILLISECONDS}"]

    def command(self) -> list[str]:
        assert ETCD is not None
        return [
            ETCD,
            f"--name={self.name}",
            f"--data-dir={self.data_dir}",
            f"--listen-client-urls={self.url}",
            f"--advertise-client-urls={self.url}",
            f"--listen-peer-urls={self.peer_url}",
            f"--initial-advertise-peer-urls={self.peer_url}",
            f"--initial-cluster={self.initial_cluster}",
            *(self.elections() if "," in self.initial_cluster else []),
            "--logger=zap",
            "--log-outputs=stderr",
            "--log-level=warn",
            *(self.tls.server_flags() if self.tls else []),
            *self._flags,
        ]


class RealEtcd:
    """A cluster of one or more members: a context manager."""

    def __init__(
        self, folder: Path, *, members: int = 1, tls: Tls | None = None, flags: list[str] | None = None
    ) -> None:
        """`folder` is where the data lies; `flags` are more of etcd's own, for every member."""
        self.folder = folder
        self.tls = tls
        self._flags = flags or []
        self._count = members
        self.members: list[Member] = []

    def __enter__(self) -> "RealEtcd":
        for attempt in range(START_ATTEMPTS):
            try:
                self._start(self.folder / f"try-{attempt}")
                return self
            except EtcdDied as error:  # somebody took a port between the look and the use
                self.stop()
                if "address already in use" not in str(error) or attempt == START_ATTEMPTS - 1:
                    raise
            except BaseException:
                self.stop()
                raise
        raise AssertionError

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for member in self.members:
            member.kill()

    def _start(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.members = [Member(f"member-{number}", folder, self.tls, self._flags) for number in range(self._count)]
        initial_cluster = ",".join(f"{member.name}={member.peer_url}" for member in self.members)
        for member in self.members:
            member.initial_cluster = initial_cluster
            member.start()
        for member in self.members:
            member.wait_healthy()

    def stop(self) -> None:
        for member in self.members:
            member.stop()

    @property
    def urls(self) -> list[str]:
        return [member.url for member in self.members]

    @property
    def url(self) -> str:
        return self.members[0].url

    @property
    def target(self) -> str:
        return self.members[0].target

    def leader(self) -> Member:
        """The member that leads now. Raises StopIteration when none of the healthy ones does."""
        return next(member for member in self.members if member.running and _leads(member))

    def wipe(self) -> None:
        """No key, no lease, no alarm; the revision goes on."""
        with self.members[0].channel() as channel:
            lease = rpc_pb2_grpc.LeaseStub(channel)
            for status in lease.LeaseLeases(rpc_pb2.LeaseLeasesRequest()).leases:
                try:
                    lease.LeaseRevoke(rpc_pb2.LeaseRevokeRequest(ID=status.ID))
                except grpc.RpcError as error:  # it may just have expired
                    if error.code() != grpc.StatusCode.NOT_FOUND:
                        raise
            rpc_pb2_grpc.KVStub(channel).DeleteRange(rpc_pb2.DeleteRangeRequest(key=b"\0", range_end=b"\0"))
            maintenance = rpc_pb2_grpc.MaintenanceStub(channel)
            for alarm in maintenance.Alarm(rpc_pb2.AlarmRequest()).alarms:
                maintenance.Alarm(rpc_pb2.AlarmRequest(action="DEACTIVATE", memberID=alarm.memberID, alarm=alarm.alarm))


def _leads(member: EtcdProcess) -> bool:
    with member.channel() as channel:
        status = rpc_pb2_grpc.MaintenanceStub(channel).Status(rpc_pb2.StatusRequest(), timeout=STATUS_SECONDS)
        return bool(status.leader == status.header.member_id)


@contextmanager
def _folder() -> Iterator[Path]:
    """In memory where there is such a place: a real etcd waits for the disk at each write."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="kubeloop-etcd-", dir=memory if os.access(memory, os.W_OK) else None) as at:
        yield Path(at)


@pytest.fixture(scope="session")
def etcd_of_the_session() -> Iterator[RealEtcd]:
    require_etcd()
    with _folder() as folder, RealEtcd(folder) as etcd:
        yield etcd


@pytest.fixture
def real_etcd(etcd_of_the_session: RealEtcd) -> RealEtcd:
    """A real etcd of one member, without a key or lease; its revision is anything, and so is what is compacted."""
    etcd_of_the_session.wipe()
    return etcd_of_the_session


@pytest.fixture(scope="session")
def our_etcd_of_the_session() -> Iterator[OurEtcd]:
    """`kubeloop etcd`, in memory; `PeerClient.begin` makes it empty."""
    with _folder() as folder, OurEtcd(folder) as etcd:
        yield etcd


@pytest.fixture
def real_etcd_cluster() -> Iterator[RealEtcd]:
    """Three members of its own."""
    require_etcd()
    with _folder() as folder, RealEtcd(folder, members=3) as etcd:
        yield etcd
