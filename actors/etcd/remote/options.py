"""Which real etcd is spoken to, and how: etcdctl's --endpoints, --cacert, --cert and --key.

Apart from `remote`, so that whoever only passes options on does not pay for gRPC.
"""

from pathlib import Path
from urllib.parse import urlsplit

from msgspec import Struct

CLIENT_PORT = 2379
DIAL_TIMEOUT_SECONDS = 2.0
REQUEST_TIMEOUT_SECONDS = 10.0


class RemoteEtcd(Struct, frozen=True):
    """One etcd cluster.

    endpoints: URLs of its members, http:// or https://, as etcd's --advertise-client-urls; the first is preferred.
    ca_file: PEM of the authorities that sign the members' certificates; empty is the system's.
    cert_file, key_file: the client's certificate and key, PEM; a member with --client-cert-auth demands them.
    dial_timeout_seconds: how long a connection may take to be made.
    request_timeout_seconds: how long a request may take with all its repetitions. Members give up writes after 7 s by
        themselves (5 s and two election timeouts), so less than that turns slow writes into unknown outcomes.

    Raises ValueError for URLs that are none, and for half a key pair.

    >>> from kubeloop import Cluster, RemoteEtcd
    >>> etcd = RemoteEtcd(("https://10.0.0.1:2379",), ca_file="ca.crt", cert_file="client.crt", key_file="client.key")
    >>> len(Cluster(nodes=2, etcd=etcd).nodes)
    2
    """

    endpoints: tuple[str, ...]
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    dial_timeout_seconds: float = DIAL_TIMEOUT_SECONDS
    request_timeout_seconds: float = REQUEST_TIMEOUT_SECONDS

    def __post_init__(self) -> None:
        if not self.endpoints:
            raise ValueError("a real etcd needs the URL of at least one member")
        for endpoint in self.endpoints:
            parse_endpoint(endpoint)
        if bool(self.cert_file) != bool(self.key_file):
            raise ValueError("a client certificate needs both cert_file and key_file")
        if min(self.dial_timeout_seconds, self.request_timeout_seconds) <= 0:
            raise ValueError("timeouts are more than 0 seconds")

    def read_files(self) -> tuple[bytes | None, bytes | None, bytes | None]:
        """CA, key and certificate, PEM. Raises OSError."""
        ca, key, certificate = (
            Path(file).read_bytes() if file else None for file in (self.ca_file, self.key_file, self.cert_file)
        )
        return ca, key, certificate


def parse_endpoint(endpoint: str) -> tuple[str, bool]:
    """(host:port, whether TLS) of a member's URL; without a port it is 2379. Raises ValueError."""
    try:
        url = urlsplit(endpoint)
        port = CLIENT_PORT if url.port is None else url.port
    except ValueError as error:
        raise ValueError(f"etcd endpoint {endpoint!r}: {error}") from None
    if url.scheme not in ("http", "https") or not url.hostname or url.path.strip("/") or url.query or "@" in url.netloc:
        raise ValueError(f"etcd endpoint {endpoint!r}: written as http://host:2379 or https://host:2379")
    host = f"[{url.hostname}]" if ":" in url.hostname else url.hostname
    return f"{host}:{port}", url.scheme == "https"
