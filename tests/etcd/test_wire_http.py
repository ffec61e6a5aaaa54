"""One port: gRPC and plain HTTP, with and without TLS, and the command that serves it."""

import asyncio
import ssl
import subprocess
import sys
from pathlib import Path

import aiohttp
import grpc  # type: ignore[import-untyped]
import pytest
from aetcd.rpc import rpc_pb2  # type: ignore[import-untyped]

from kubeloop.actors.etcd.messages import Alarm
from kubeloop.actors.etcd.options import EtcdOptions
from kubeloop.actors.etcd.wire.http2_frames import PREFACE, Http2Limits
from kubeloop.actors.pki import CertificateAuthority, KeyPair
from kubeloop.runtime.clock import Clock
from tests.etcd.http2_peer import GREETING
from tests.etcd.wire_server import Served, WatchClient, connected, etcd_and_client, served


async def get(etcd: Served, path: str, **options: ssl.SSLContext) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(etcd.url + path, **options) as response:  # type: ignore[arg-type]
        return response.status, await response.text()


async def test_health_version_and_metrics() -> None:
    async with etcd_and_client() as (etcd, stubs):
        await stubs.put(b"a", b"1")
        watch = WatchClient(stubs)
        await watch.create(key=b"a")
        assert await get(etcd, "/health") == (200, '{"health":"true","reason":""}')
        assert await get(etcd, "/version") == (200, '{"etcdserver":"3.5.13","etcdcluster":"3.5.0"}')
        assert await get(etcd, "/livez") == (200, "ok\n")
        assert await get(etcd, "/readyz?verbose") == (200, "ok\n")
        assert await get(etcd, "/v2/keys") == (404, "404 page not found\n")
        status, metrics = await get(etcd, "/metrics")
        labels = 'grpc_service="etcdserverpb.KV",grpc_type="unary"'
        for line in (
            "etcd_server_has_leader 1.0",
            "etcd_debugging_mvcc_keys_total 1.0",
            "etcd_debugging_mvcc_watcher_total 1.0",
            "etcd_mvcc_db_total_size_in_bytes 0.0",
            f'grpc_server_handled_total{{grpc_code="OK",grpc_method="Put",{labels}}} 1.0',
        ):
            assert line in metrics.splitlines(), line
        assert status == 200


async def test_an_alarm_is_bad_health() -> None:
    async with served() as etcd:
        await etcd.answer(Alarm("activate", "NOSPACE"))
        assert await get(etcd, "/health") == (503, '{"health":"false","reason":"ALARM NOSPACE"}')
        assert (await get(etcd, "/readyz"))[0] == 200
        await etcd.answer(Alarm("activate", "CORRUPT"))
        assert (await get(etcd, "/readyz"))[0] == 503


async def test_several_urls_and_free_ports() -> None:
    urls = ("http://127.0.0.1:0", "http://localhost:0")
    async with served(EtcdOptions(listen_client_urls=urls)) as etcd:
        assert len({url.rpartition(":")[2] for url in etcd.server.urls}) == 2
        for url in etcd.server.urls:
            async with connected(url.partition("//")[2]) as stubs:
                members = (await stubs.cluster.MemberList(rpc_pb2.MemberListRequest())).members
                assert [list(member.clientURLs) for member in members] == [etcd.server.urls]


async def test_a_taken_port_is_an_os_error() -> None:
    async with served() as etcd:
        with pytest.raises(OSError, match="in use"):
            async with served(EtcdOptions(listen_client_urls=(etcd.url,))):
                pass


@pytest.mark.parametrize("data", [PREFACE[:5], PREFACE, b""])
async def test_who_only_connects_is_sent_away(data: bytes) -> None:
    async with served(limits=Http2Limits(handshake_seconds=0.02)) as etcd:
        host, _, port = etcd.target.partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(data)
        async with asyncio.timeout(5):
            try:
                while await reader.read(1_000):
                    pass
            except ConnectionError:
                pass
        assert not etcd.server._connections
        writer.close()


async def test_the_preface_may_come_in_pieces() -> None:
    async with served() as etcd:
        host, _, port = etcd.target.partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        for position in range(len(GREETING)):
            writer.write(GREETING[position : position + 1])
            await writer.drain()
            await asyncio.sleep(0)
        async with asyncio.timeout(5):
            received = await reader.readexactly(9)
        assert received[3] == 4  # SETTINGS
        writer.close()


class Files:
    """A CA, its server's and a client's certificate, and a stranger's."""

    def __init__(self, folder: Path) -> None:
        authority, stranger = CertificateAuthority(Clock()), CertificateAuthority(Clock())
        self.ca = self._write(folder / "ca.pem", authority.certificate)
        self.server = self._pair(folder, "server", authority.issue_server(("localhost", "127.0.0.1"), "etcd"))
        self.client = self._pair(folder, "client", authority.issue_client("client"))
        self.stranger = self._pair(folder, "stranger", stranger.issue_client("client"))

    def _pair(self, folder: Path, name: str, pair: KeyPair) -> tuple[str, str]:
        return self._write(folder / f"{name}.pem", pair.certificate), self._write(folder / f"{name}.key", pair.key)

    @staticmethod
    def _write(path: Path, content: bytes) -> str:
        path.write_bytes(content)
        return str(path)

    def credentials(self, pair: tuple[str, str] | None) -> grpc.ChannelCredentials:
        certificate, key = (Path(pair[0]).read_bytes(), Path(pair[1]).read_bytes()) if pair else (None, None)
        return grpc.ssl_channel_credentials(Path(self.ca).read_bytes(), key, certificate)

    def context(self, pair: tuple[str, str] | None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.ca)
        if pair:
            context.load_cert_chain(*pair)
        return context

    def options(self, *, clients: bool) -> EtcdOptions:
        return EtcdOptions(
            listen_client_urls=("https://127.0.0.1:0",),
            cert_file=self.server[0],
            key_file=self.server[1],
            trusted_ca_file=self.ca if clients else "",
            client_cert_auth=clients,
        )


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files(tmp_path_factory.mktemp("tls"))


async def test_tls_without_client_certificates(files: Files) -> None:
    async with served(files.options(clients=False)) as etcd:
        async with connected(etcd.target, files.credentials(None)) as stubs:
            assert (await stubs.put(b"a", b"x" * 1_000_000)).header.revision == 2
            assert (await stubs.get(b"a")).kvs[0].value == b"x" * 1_000_000
        assert (await get(etcd, "/health", ssl=files.context(None)))[0] == 200


async def test_client_certificates_are_demanded_and_checked(files: Files) -> None:
    async with served(files.options(clients=True)) as etcd:
        async with connected(etcd.target, files.credentials(files.client)) as stubs:
            assert (await stubs.put(b"a", b"1")).header.revision == 2
        assert (await get(etcd, "/health", ssl=files.context(files.client)))[0] == 200
        for pair in (None, files.stranger):
            with pytest.raises(aiohttp.ClientError):
                await get(etcd, "/health", ssl=files.context(pair))
            async with connected(etcd.target, files.credentials(pair)) as stubs:
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await stubs.put(b"a", b"2")
                assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
        assert etcd.revision == 2


async def test_pages_over_http2_for_who_agreed_on_it_by_tls(files: Files, tmp_path: Path) -> None:
    async with served(files.options(clients=False)) as etcd:
        process = await asyncio.create_subprocess_exec(
            *(
                "curl",
                "-s",
                "--http2",
                "--cacert",
                files.ca,
                "-w",
                " %{http_version} %{http_code}",
                etcd.url + "/health",
            ),
            stdout=subprocess.PIPE,
        )
        said, _ = await process.communicate()
    assert said.decode() == '{"health":"true","reason":""} 2 200'


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (["--listen-client-url", "zz"], "error: URL scheme must be http or https: zz"),
        (["--listen-client-url", "https://127.0.0.1:0"], "needs cert_file and key_file"),
        (["--data-dir", "x"], "error: no --listen-client-url, as in"),
        (["--listen-client-url", "http://127.0.0.1:0", "--auto-compaction-mode", "x"], "periodic or revision"),
        (["--listen-client-url", "http://127.0.0.1:0", "--data-dir", "/dev/null/x"], "error: data directory"),
    ],
)
def test_the_command_says_what_is_wrong_in_one_line(flags: list[str], text: str) -> None:
    command = [sys.executable, "-m", "kubeloop", "etcd", *flags]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert run.returncode == 1 and run.stdout == ""
    assert text in run.stderr and run.stderr.count("\n") == 1, run.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM to catch")
async def test_the_command_serves_and_keeps_its_data(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "kubeloop", "etcd", "--data-dir", str(tmp_path / "data"), "--name", "one"]
    for revision in (2, 3):
        process = await asyncio.create_subprocess_exec(
            *command, "--listen-client-url", "http://127.0.0.1:0", stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert process.stdout is not None
        line = (await process.stdout.readline()).decode()
        assert line.startswith("ready: etcd's v3 API on http://127.0.0.1:")
        async with connected(line.split("http://")[1].split(",")[0]) as stubs:
            assert (await stubs.put(b"a", b"1")).header.revision == revision
        process.terminate()
        _, said = await process.communicate()
        assert (process.returncode, said) == (0, b"")
