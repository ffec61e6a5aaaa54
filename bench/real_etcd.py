"""A real etcd, or kubeloop's own, as a process on a free port of this machine."""

import asyncio
import shutil
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from msgspec import Struct

READY_TIMEOUT_SECONDS = 30.0


class EtcdProcess(Struct, frozen=True):
    address: str


@asynccontextmanager
async def real_etcd(data_dir: Path) -> AsyncIterator[EtcdProcess]:
    """Raises RuntimeError when there is none on this machine."""
    program = shutil.which("etcd")
    if program is None:
        raise RuntimeError("needs a real etcd beside it: Debian's package etcd-server")
    client, peer = free_port(), free_port()
    flags = ["--data-dir", str(data_dir), "--log-level", "error", "--quota-backend-bytes", str(8 << 30)]
    for name, port in (("client", client), ("peer", peer)):
        flags += [f"--listen-{name}-urls", f"http://127.0.0.1:{port}"]
    flags += ["--advertise-client-urls", f"http://127.0.0.1:{client}"]
    flags += ["--initial-advertise-peer-urls", f"http://127.0.0.1:{peer}", "--initial-cluster"]
    async with _running([program, *flags, f"default=http://127.0.0.1:{peer}"], client) as process:
        yield process


@asynccontextmanager
async def kubeloop_etcd(data_dir: Path | None) -> AsyncIterator[EtcdProcess]:
    port = free_port()
    command = [sys.executable, "-m", "kubeloop", "etcd", "--listen-client-url", f"http://127.0.0.1:{port}"]
    if data_dir is not None:
        command += ["--data-dir", str(data_dir)]
    async with _running(command, port) as process:
        yield process


@asynccontextmanager
async def _running(command: list[str], port: int) -> AsyncIterator[EtcdProcess]:
    devnull = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(*command, stdout=devnull, stderr=devnull)
    try:
        async with asyncio.timeout(READY_TIMEOUT_SECONDS):
            while not await _accepts(port):
                if process.returncode is not None:
                    raise RuntimeError(f"{command[0]} ended with {process.returncode}")
                await asyncio.sleep(0.05)
        yield EtcdProcess(f"127.0.0.1:{port}")
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _accepts(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    return True


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
