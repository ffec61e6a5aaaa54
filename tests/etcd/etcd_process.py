"""Processes that serve etcd's API on loopback, the real etcd's or ours: started, killed, started again."""

import os
import signal
import socket
import subprocess
import sys
import time
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any

import grpc  # type: ignore[import-untyped]
from aetcd.rpc import rpc_pb2, rpc_pb2_grpc  # type: ignore[import-untyped]
from msgspec import Struct

from kubeloop.actors.pki import CertificateAuthority
from kubeloop.runtime.clock import Clock

HEALTHY_SECONDS = 30.0
STOP_SECONDS = 10.0
PORTS = range(20_000, 32_000)
"""Below the ports that the system gives to outgoing connections, so that a member gets its own back after a kill."""


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


class EtcdDied(RuntimeError):
    """The process ended by itself; the text has its last words."""


class EtcdProcess:
    """A process that serves etcd's API on a port of 127.0.0.1: start it, kill it, start it again."""

    def __init__(self, name: str, folder: Path, tls: Tls | None) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self.tls = tls
        self.client_port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        """What is run."""
        raise NotImplementedError

    @property
    def target(self) -> str:
        """host:port, as grpc wants it."""
        return f"127.0.0.1:{self.client_port}"

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.target}"

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start the process; it serves a little later."""
        assert not self.running
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ETCD_")}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment
            )

    def channel(self, **options: int) -> Any:
        """A synchronous grpc channel of its own to this process; close it."""
        return open_channel(self.target, self.tls, **options)

    def wait_healthy(self, seconds: float = HEALTHY_SECONDS) -> None:
        """Until a linearizable read is answered, which needs a leader and a majority. Raises EtcdDied, TimeoutError."""
        deadline = time.monotonic() + seconds
        with self.channel() as channel:
            read = rpc_pb2_grpc.KVStub(channel).Range
            while True:
                if not self.running:
                    raise EtcdDied(f"{self.name} ended:\n{self.said()}")
                try:
                    read(rpc_pb2.RangeRequest(key=b"health"), timeout=1, wait_for_ready=True)
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


class OurEtcd(EtcdProcess):
    """`kubeloop etcd` as a process: a context manager that gives it started and healthy."""

    def __init__(
        self, folder: Path, *, data_dir: Path | None = None, tls: Tls | None = None, flags: list[str] | None = None
    ) -> None:
        """`folder` is for its log; without `data_dir` it keeps everything in memory."""
        super().__init__("ours", folder, tls)
        self.data_dir = data_dir
        self._flags = flags or []

    def command(self) -> list[str]:
        return [
            *(sys.executable, "-m", "kubeloop", "etcd", f"--listen-client-url={self.url}"),
            *([f"--data-dir={self.data_dir}"] if self.data_dir else []),
            *(self.tls.server_flags() if self.tls else []),
            *self._flags,
        ]

    def __enter__(self) -> "OurEtcd":
        self.start()
        try:
            self.wait_healthy()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.kill()
