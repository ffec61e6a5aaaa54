"""The secrets of a cluster: its CA, the key of service account tokens, its administrator."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from kubeloop.actors.apiserver.authorization import ALWAYS_ALLOW
from kubeloop.actors.apiserver.config import ApiServerConfig
from kubeloop.actors.apiserver.messages import UserInfo
from kubeloop.runtime.clock import Clock

if TYPE_CHECKING:
    from kubeloop.actors.pki import CertificateAuthority
    from kubeloop.actors.pki_folder import Secrets

ADMIN = UserInfo(name="kubernetes-admin", groups=("system:masters", "system:authenticated"))


class Security:
    """The cluster's CA, service account key and administrator; keys are made when first needed.

    With `data_dir` they are kept in its folder `pki`, and those found there are used. Raises PkiError for damaged ones.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        data_dir: Path | None = None,
        etcd_prefix: str = "/registry",
        authorization: Sequence[str] = ("AlwaysAllow",),
    ) -> None:
        self._clock = clock
        self._data_dir = data_dir
        found = None
        if data_dir is not None and data_dir.exists():
            from kubeloop.actors import pki_folder

            found = pki_folder.load(data_dir, clock)
        if found is not None:
            self.__dict__["secrets"] = found
            tokens = found.tokens
        else:
            tokens = {f"{clock.random.getrandbits(256):064x}": ADMIN}
        self.token = next(iter(tokens))
        self.config = ApiServerConfig(
            tokens=tokens,
            signing_key=self.signing_key,
            etcd_prefix=etcd_prefix,
            authorization_modes=tuple(authorization),
            anonymous_auth=authorization[0] != ALWAYS_ALLOW,
        )

    @cached_property
    def secrets(self) -> Secrets:
        from kubeloop.actors import pki, pki_folder

        authority = pki.CertificateAuthority(self._clock)
        key = authority.key_pair.key if self._data_dir is None else pki.new_private_key()
        secrets = pki_folder.Secrets(authority, key, dict(self.config.tokens))
        if self._data_dir is not None:
            pki_folder.save(self._data_dir, secrets)
        return secrets

    @property
    def authority(self) -> CertificateAuthority:
        return self.secrets.authority

    def signing_key(self) -> bytes:
        """The private key of service account tokens, PEM."""
        return self.secrets.signing_key

    def root_ca(self) -> str:
        """The CA's certificate, PEM; "" as long as nothing has needed a CA."""
        return self.authority.certificate.decode() if "secrets" in self.__dict__ else ""

    def kubeconfig(self, url: str) -> str:
        from kubeloop.actors.pki import kubeconfig_text

        pair = self.authority.issue_client("kubernetes-admin", ("system:masters",))
        return kubeconfig_text(url, self.authority.certificate, pair, self.token)
