"""The secrets of a cluster: its CA, the key of service account tokens, its administrator."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from kubeloop.actors.apiserver.config import ApiServerConfig
from kubeloop.actors.apiserver.messages import UserInfo
from kubeloop.runtime.clock import Clock

if TYPE_CHECKING:
    from kubeloop.actors.pki import CertificateAuthority


class Security:
    """The cluster's CA, service account key and administrator; keys are made when first needed."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.token = f"{clock.random.getrandbits(256):064x}"
        admin = UserInfo(name="kubernetes-admin", groups=("system:masters", "system:authenticated"))
        self.config = ApiServerConfig(tokens={self.token: admin}, signing_key=self.signing_key)

    @cached_property
    def authority(self) -> CertificateAuthority:
        from kubeloop.actors.pki import CertificateAuthority

        return CertificateAuthority(self._clock)

    def signing_key(self) -> bytes:
        """The private key of service account tokens, PEM."""
        return self.authority.key_pair.key

    def root_ca(self) -> str:
        """The CA's certificate, PEM; "" as long as nothing has needed a CA."""
        return self.authority.certificate.decode() if "authority" in self.__dict__ else ""

    def kubeconfig(self, url: str) -> str:
        from kubeloop.actors.pki import kubeconfig_text

        pair = self.authority.issue_client("kubernetes-admin", ("system:masters",))
        return kubeconfig_text(url, self.authority.certificate, pair, self.token)
