"""How an embedded etcd runs: the flags of etcd that have a meaning here, under etcd's own names."""

from pathlib import Path
from typing import Literal

from msgspec import Struct

REQUEST_BYTES_MAX = 1_572_864  # etcd's --max-request-bytes
TXN_OPS_MAX = 128  # etcd's --max-txn-ops
QUOTA_BACKEND_BYTES = 2_147_483_648  # etcd's default, 2 GiB


class EtcdOptions(Struct, frozen=True):
    """One embedded etcd. Follows etcd's configuration flags page.

    data_dir: where it keeps its data; None keeps it in memory, and a crash loses it.
    listen_client_urls: where it serves the v3 API, http:// or https://; port 0 takes a free one.
    cert_file, key_file: of the https:// URLs, PEM. trusted_ca_file: signs the clients' certificates, which
        client_cert_auth demands.
    quota_backend_bytes: the size of the data on disk beyond which writes are refused with NOSPACE; 0 is etcd's 2 GiB,
        below 0 no limit. Memory alone has no quota.
    auto_compaction_mode, auto_compaction_retention: "periodic" keeps the history of that many seconds, "revision" that
        many revisions; retention 0 never compacts by itself.

    >>> from kubeloop import Cluster, EtcdOptions
    >>> etcd = EtcdOptions(auto_compaction_mode="revision", auto_compaction_retention=10_000)
    >>> len(Cluster(nodes=2, etcd=etcd).nodes)
    2
    """

    name: str = "default"
    data_dir: Path | None = None
    listen_client_urls: tuple[str, ...] = ()
    cert_file: str = ""
    key_file: str = ""
    trusted_ca_file: str = ""
    client_cert_auth: bool = False
    quota_backend_bytes: int = 0
    auto_compaction_mode: Literal["periodic", "revision"] = "periodic"
    auto_compaction_retention: float = 0
    max_request_bytes: int = REQUEST_BYTES_MAX
    max_txn_ops: int = TXN_OPS_MAX
