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
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any

import grpc  # type: ignore[import-untyped]
import pytest
from aetcd.rpc import rpc_pb2, rpc_pb2_grpc  # type: ignore[import-untyped]
from msgspec import Struct

from kubeloop.actors.pki import CertificateAuthority
from kubeloop.runtime.clock import Clock

ETCD = shutil.which("etcd")
ETCDCTL = shutil.which("etcdctl")
HEALTHY_SECONDS = 30.0
STOP_SECONDS = 10.0
HEARTBEAT_MILLISECONDS = 20
ELECTION_MILLISECONDS = 200
START_ATTEMPTS = 5
PORTS = range(20_000, 32_000)
"""Below the ports that the system gives to outgoing connections, so that a member gets its own back after a kill."""


def in_ci() -> bool:
    """Whether nothing may be skipped: `.ci/run` and the usual CI services set these."""
    return bool(os.environ.get("KUBELOOP_CI") or os.environ.get("CI"))


def require_etcd(*programs: str) -> None:
    """Skip the test where a program is missing; in CI fail it."""
    missing = [program for program in programs or ("etcd",) if shutil.which(program) is None]
    if missing:
        reason = f"{', '.join(missing)} is not installed (Debian: etcd-server, etcd-client; `make debian`)"
        pytest.fail(reason) if in_ci() else pytest.skip(reason)


class Tls(Struct, frozen=True):
    """Paths of PEM files. `client_cert_auth`: clients must show a certificate of the CA's."""

    trusted_ca_file: Path
    cert_file: Path
    key_file: Path
    client_cert_file: Path
    client_key_file: Path
    client_cert_auth: bool = False

    @classmethod
    def make(cls, folder: Path, *, client_cert_auth: bool = False) -> "Tls":
        """A CA, a certificate for 127.0.0.1 and localhost, and a client's."""
        folder.mkdir(parents=True, exist_ok=True)
        authority = CertificateAuthority(Clock(), "etcd-ca")
        server = authority.issue_server(["localhost", "127.0.0.1"], "etcd")
        client = authority.issue_client("root")
        contents = {
            "ca.pem": authority.certificate,
            "server.pem": server.certificate,
            "server-key.pem": server.key,
            "client.pem": client.certificate,
            "client-key.pem": client.key,
        }
        for name, content in contents.items():
            (folder / name).write_bytes(content)
        ca, server_file, server_key, client_file, client_key = (folder / name for name in contents)
        return cls(ca, server_file, server_key, client_file, client_key, client_cert_auth)

    def credentials(self) -> Any:
        """grpc's channel credentials, with the client's certificate."""
        return grpc.ssl_channel_credentials(
            self.trusted_ca_file.read_bytes(), self.client_key_file.read_bytes(), self.client_cert_file.read_bytes()
        )

    def server_flags(self) -> list[str]:
        files = {
            "--trusted-ca-file": self.trusted_ca_file,
            "--cert-file": self.cert_file,
            "--key-file": self.key_file,
        }
        return [f"{flag}={path}" for flag, path in files.items()] + ["--client-cert-auth"] * self.client_cert_auth

    def client_flags(self) -> list[str]:
        """etcdctl's."""
        return [f"--cacert={self.trusted_ca_file}", f"--cert={self.client_cert_file}", f"--key={self.client_key_file}"]


_ports = count(os.getpid() * 97)


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now."""
    for _ in PORTS:
        port = PORTS[next(_ports) % len(PORTS)]
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError(f"no free port in {PORTS}")


class Member:
    """One etcd process. Start, kill, stop and start again; its data stays."""

    def __init__(self, name: str, folder: Path, tls: Tls | None, flags: list[str]) -> None:
        self.name = name
        self.data_dir = folder / name
        self.log = folder / f"{name}.log"
        self.tls = tls
        self.client_port, self.peer_port = free_port(), free_port()
        self.initial_cluster = ""
        self._flags = flags
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def target(self) -> str:
        """host:port, as grpc wants it."""
        return f"127.0.0.1:{self.client_port}"

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.target}"

    @property
    def peer_url(self) -> str:
        return f"http://127.0.0.1:{self.peer_port}"

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start the process; it serves a little later."""
        assert ETCD is not None and not self.running
        command = [
            ETCD,
            f"--name={self.name}",
            f"--data-dir={self.data_dir}",
            f"--listen-client-urls={self.url}",
            f"--advertise-client-urls={self.url}",
            f"--listen-peer-urls={self.peer_url}",
            f"--initial-advertise-peer-urls={self.peer_url}",
            f"--initial-cluster={self.initial_cluster}",
            f"--heartbeat-interval={HEARTBEAT_MILLISECONDS}",
            f"--election-timeout={ELECTION_MILLISECONDS}",
            "--logger=zap",
            "--log-outputs=stderr",
            "--log-level=warn",
            *(self.tls.server_flags() if self.tls else []),
            *self._flags,
        ]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ETCD_")}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)

    def channel(self, **options: int) -> Any:
        """A synchronous grpc channel of its own to this member; close it."""
        return open_channel(self.target, self.tls, **options)

    def wait_healthy(self, seconds: float = HEALTHY_SECONDS) -> None:
        """Until a linearizable read is answered, which needs a leader and a majority."""
        deadline = time.monotonic() + seconds
        while True:
            if not self.running:
                raise EtcdDied(f"{self.name} ended:\n{self.said()}")
            with self.channel() as channel:
                try:
                    rpc_pb2_grpc.KVStub(channel).Range(
                        rpc_pb2.RangeRequest(key=b"health"), timeout=2, wait_for_ready=True
                    )
                    return
                except grpc.RpcError as error:
                    if time.monotonic() > deadline:
                        raise TimeoutError(f"{self.name} is not healthy: {error}\n{self.said()}") from None

    def said(self) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-2_000:] if self.log.exists() else ""

    def kill(self) -> None:
        """kill -9."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM, and wait."""
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(how)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None


class EtcdDied(RuntimeError):
    """The process ended by itself; the text has its last words."""


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


def _leads(member: Member) -> bool:
    with member.channel() as channel:
        status = rpc_pb2_grpc.MaintenanceStub(channel).Status(rpc_pb2.StatusRequest(), timeout=STOP_SECONDS)
        return bool(status.leader == status.header.member_id)


def open_channel(target: str, tls: Tls | None = None, **options: int) -> Any:
    """A synchronous grpc channel with a connection of its own, reconnecting quickly; `options` are grpc's."""
    settings = {
        "grpc.use_local_subchannel_pool": 1,
        "grpc.initial_reconnect_backoff_ms": 20,
        "grpc.min_reconnect_backoff_ms": 20,
        "grpc.max_reconnect_backoff_ms": 200,
        "grpc.max_receive_message_length": -1,
        "grpc.max_send_message_length": -1,
        **options,
    }
    if tls is not None:
        return grpc.secure_channel(target, tls.credentials(), options=list(settings.items()))
    return grpc.insecure_channel(target, options=list(settings.items()))


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


@pytest.fixture
def real_etcd_cluster() -> Iterator[RealEtcd]:
    """Three members of its own."""
    require_etcd()
    with _folder() as folder, RealEtcd(folder, members=3) as etcd:
        yield etcd
