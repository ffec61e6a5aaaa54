"""What an API server is started with."""

from collections.abc import Callable, Mapping

import msgspec

from kubeloop.actors.apiserver import limits
from kubeloop.actors.apiserver.messages import UserInfo


class ApiServerConfig(msgspec.Struct, frozen=True):
    """`tokens`: bearer token -> who it is. `signing_key`: gives the PEM key of service account tokens, called
    when one is first needed; None: no tokens.

    `etcd_prefix`: the key below which everything is kept (--etcd-prefix). `service_address`: the first address of the
    service network, on which "kubernetes" answers; `advertise_address` and `advertise_port`: where it leads.
    `audiences`: whom the tokens are for. `authorization_modes`: who is asked whether a user may, in order.
    `anonymous_auth`: over HTTPS, who shows no credential is system:anonymous.
    """

    tokens: Mapping[str, UserInfo] = {}
    signing_key: Callable[[], bytes] | None = None
    issuer: str = "https://kubernetes.default.svc.cluster.local"
    audiences: tuple[str, ...] = ("https://kubernetes.default.svc.cluster.local",)
    service_address: str = "10.96.0.1"
    advertise_address: str = "172.16.0.10"  # endpoints may not be on the loopback network
    advertise_port: int = 6443
    bookmark_interval_seconds: float = limits.bookmark_interval_seconds
    event_ttl_seconds: int = limits.event_ttl_seconds
    compaction_interval_seconds: float = limits.compaction_interval_seconds  # 0: never
    etcd_prefix: str = "/registry"
    bootstrap: bool = True
    authorization_modes: tuple[str, ...] = ("AlwaysAllow",)
    anonymous_auth: bool = False
