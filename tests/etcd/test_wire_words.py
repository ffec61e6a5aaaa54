"""What gRPC writes in headers, and how much the command line's durations are."""

import gzip

import pytest

from kubeloop.actors.etcd.options import EtcdOptions
from kubeloop.actors.etcd.wire.rpc_words import CODE_LABELS, RpcError, decompressed, percent_encoded, timeout_seconds
from kubeloop.actors.etcd.wire.server import address_of, tls_context
from kubeloop.actors.etcd.wire.services_header import varint
from kubeloop.actors.etcd_command import compaction_mode, retention


@pytest.mark.parametrize(
    ("timeout", "seconds"),
    [(b"1H", 3600), (b"2M", 120), (b"30S", 30), (b"100m", 0.1), (b"5u", 5e-6), (b"99999999n", 0.099999999)],
)
def test_timeouts_have_units(timeout: bytes, seconds: float) -> None:
    assert timeout_seconds(timeout) == pytest.approx(seconds)


@pytest.mark.parametrize("timeout", [b"", b"1", b"S", b"1s", b"-1S", b"1.5S", b"123456789S", b"1 S"])
def test_malformed_timeouts_are_none(timeout: bytes) -> None:
    assert timeout_seconds(timeout) is None


def test_status_texts_are_percent_encoded() -> None:
    assert percent_encoded("plain: text, as it is ~!") == b"plain: text, as it is ~!"
    assert percent_encoded("50% of\nüß") == b"50%25 of%0A%C3%BC%C3%9F"
    assert len(percent_encoded("x" * 100_000)) == 4_096


def test_code_labels_are_grpc_gos() -> None:
    assert CODE_LABELS["OK"] == "OK"
    assert CODE_LABELS["CANCELLED"] == "Canceled"
    assert CODE_LABELS["INVALID_ARGUMENT"] == "InvalidArgument"


@pytest.mark.parametrize(
    ("message", "flag", "encoding", "refusal"),
    [
        (b"x", 1, "identity", "INTERNAL: grpc: compressed flag set with identity or empty encoding"),
        (b"x", 1, "snappy", 'UNIMPLEMENTED: grpc: Decompressor is not installed for grpc-encoding "snappy"'),
        (b"x", 2, "gzip", "INTERNAL: grpc: received unexpected payload format 2"),
        (b"not gzip", 1, "gzip", "INTERNAL: grpc: failed to decompress"),
        (
            gzip.compress(b"x" * 90, mtime=0)[:-9],
            1,
            "gzip",
            "INTERNAL: grpc: failed to decompress the received message: unexp",
        ),
        (gzip.compress(bytes(10_000_000)), 1, "gzip", "RESOURCE_EXHAUSTED: grpc: received message larger than max"),
    ],
)
def test_compressed_messages_that_cannot_be_read_are_refused(
    message: bytes, flag: int, encoding: str, refusal: str
) -> None:
    with pytest.raises(RpcError) as caught:
        decompressed(message, flag, encoding, 100)
    assert f"{caught.value.code}: {caught.value}".startswith(refusal)


def test_gzip_is_read() -> None:
    assert decompressed(gzip.compress(b"x" * 100, mtime=0), 1, "gzip", 100) == b"x" * 100


def test_varints_are_protobufs() -> None:
    assert varint(0) == b"\0"
    assert varint(300) == b"\xac\x02"
    assert varint(-1) == b"\xff" * 9 + b"\x01"
    assert varint((1 << 63) - 1) == b"\xff" * 8 + b"\x7f"


@pytest.mark.parametrize(
    ("mode", "text", "expected"),
    [
        ("periodic", "0", 0),
        ("periodic", "72", 72 * 3600),
        ("periodic", "5m", 300),
        ("periodic", "1h30m", 5400),
        ("periodic", "1.5h", 5400),
        ("periodic", "10s500ms", 10.5),
        ("revision", "1000", 1000),
    ],
)
def test_retentions_are_written_as_for_etcd(mode: str, text: str, expected: float) -> None:
    assert retention(mode, text) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("mode", "text"), [("periodic", "5x"), ("periodic", ""), ("periodic", "-1h"), ("revision", "1h")]
)
def test_other_retentions_are_refused(mode: str, text: str) -> None:
    with pytest.raises(ValueError, match="--auto-compaction-retention"):
        retention(mode, text)


def test_there_are_two_modes() -> None:
    assert compaction_mode("revision") == "revision"
    with pytest.raises(ValueError, match="periodic or revision"):
        compaction_mode("weekly")


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://127.0.0.1:2379", ("http", "127.0.0.1", 2379)),
        ("https://localhost:0", ("https", "localhost", 0)),
        ("http://[::1]:2379", ("http", "::1", 2379)),
    ],
)
def test_client_urls(url: str, address: tuple[str, str, int]) -> None:
    assert address_of(url) == address


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("127.0.0.1:2379", "URL scheme must be http or https"),
        ("unix://socket", "URL scheme must be http or https"),
        ("http://127.0.0.1", "does not have the form"),
        ("http://:2379", "does not have the form"),
        ("http://127.0.0.1:x", "does not have the form"),
        ("http://127.0.0.1:70000", "does not have the form"),
        ("http://127.0.0.1:2379/v3", "must not contain a path"),
    ],
)
def test_other_client_urls_are_refused(url: str, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        address_of(url)


def test_https_needs_a_certificate() -> None:
    with pytest.raises(ValueError, match="TLS key/cert .* must be provided for client url https://a:1"):
        tls_context(EtcdOptions(listen_client_urls=("http://a:2", "https://a:1")))
