"""The cluster's certificate authority, and the kubeconfig files that carry its certificates.

Follows the PKI certificates and requirements page of the Kubernetes documentation: a client certificate's common name
is the user, its organizations are the groups. Keys are P-256. What is kept on disk, `pki_folder` keeps.
`cryptography` is imported when a certificate is first made: an embedded cluster that serves no HTTPS never pays for it.
"""

from __future__ import annotations

import base64
import datetime
import ipaddress
import os
import ssl
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from kubeloop.runtime.clock import Clock, format_rfc3339

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

VALID_DAYS = 365
SKEW_SECONDS = 300.0


class KeyPair(msgspec.Struct, frozen=True):
    """A certificate and its private key, both PEM."""

    certificate: bytes
    key: bytes


class CertificateAuthority:
    """Signs the API server's certificate and its clients'. A `key_pair` that was made before is taken up again.

    Raises ValueError for one that is none, does not belong together, is no authority's, or has expired.
    """

    def __init__(self, clock: Clock, common_name: str = "kubernetes", *, key_pair: KeyPair | None = None) -> None:
        from cryptography.hazmat.primitives.asymmetric import ec

        self._clock = clock
        if key_pair is not None:
            self.key_pair = key_pair
            self._certificate, self._key = _authority_of(key_pair, clock.now())
            return
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._certificate = self._sign(common_name, (), self._key, None, ca=True)
        self.key_pair = KeyPair(certificate=_pem(self._certificate), key=_key_pem(self._key))

    @property
    def certificate(self) -> bytes:
        """The CA's own certificate, PEM."""
        return self.key_pair.certificate

    def issue_client(self, user: str, groups: Sequence[str] = ()) -> KeyPair:
        """A client certificate that authenticates as `user` with `groups`."""
        return self._issue(user, groups, hosts=())

    def issue_server(self, hosts: Sequence[str], common_name: str = "kube-apiserver") -> KeyPair:
        """A serving certificate for DNS names and IP addresses."""
        return self._issue(common_name, (), hosts)

    def _issue(self, common_name: str, organizations: Sequence[str], hosts: Sequence[str]) -> KeyPair:
        from cryptography.hazmat.primitives.asymmetric import ec

        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._sign(common_name, organizations, key, hosts, ca=False)
        return KeyPair(certificate=_pem(certificate), key=_key_pem(key))

    def _sign(
        self,
        common_name: str,
        organizations: Sequence[str],
        key: ec.EllipticCurvePrivateKey,
        hosts: Sequence[str] | None,
        *,
        ca: bool,
    ) -> x509.Certificate:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes
        from cryptography.x509.oid import NameOID

        names = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in organizations]
        subject = x509.Name([*names, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        now = datetime.datetime.fromtimestamp(self._clock.now(), datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject if ca else self._certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(seconds=SKEW_SECONDS))
            .not_valid_after(now + datetime.timedelta(days=VALID_DAYS * (10 if ca else 1)))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        for extension, critical in _usages(ca, hosts):
            builder = builder.add_extension(extension, critical=critical)
        return builder.sign(self._key, hashes.SHA256())


def _usages(ca: bool, hosts: Sequence[str] | None) -> list[tuple[x509.ExtensionType, bool]]:
    from cryptography import x509
    from cryptography.x509.oid import ExtendedKeyUsageOID

    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=True,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )
    extensions: list[tuple[x509.ExtensionType, bool]] = [(usage, True)]
    if ca:
        return extensions
    purpose = ExtendedKeyUsageOID.SERVER_AUTH if hosts else ExtendedKeyUsageOID.CLIENT_AUTH
    extensions.append((x509.ExtendedKeyUsage([purpose]), False))
    if hosts:
        extensions.append((x509.SubjectAlternativeName([_general_name(host) for host in hosts]), False))
    return extensions


def _general_name(host: str) -> x509.GeneralName:
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _authority_of(pair: KeyPair, now: float) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    from cryptography import x509

    try:
        certificate = x509.load_pem_x509_certificate(pair.certificate)
    except ValueError:
        raise ValueError("there is no certificate in PEM in it") from None
    key = private_key(pair.key)
    if certificate.public_key() != key.public_key():
        raise ValueError("the key is not the certificate's")
    try:
        is_authority = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        is_authority = False
    if not is_authority:
        raise ValueError("the certificate is no authority's")
    ends = certificate.not_valid_after_utc.timestamp()
    if ends <= now:
        raise ValueError(f"the certificate has expired at {format_rfc3339(ends)}")
    return certificate, key


def new_private_key() -> bytes:
    """PEM (PKCS 8)."""
    from cryptography.hazmat.primitives.asymmetric import ec

    return _key_pem(ec.generate_private_key(ec.SECP256R1()))


def private_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    """Raises ValueError for what is no P-256 key in PEM."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError("there is no private key in PEM in it") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ValueError("the key is not of the curve P-256")
    return key


def public_key(key: bytes) -> bytes:
    """The public half of a private key, both PEM."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return private_key(key).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _pem(certificate: x509.Certificate) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def server_ssl_context(authority: CertificateAuthority, hosts: Sequence[str]) -> ssl.SSLContext:
    """TLS 1.2 or newer; a client certificate is asked for, and checked against the CA when one is shown."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_OPTIONAL
    context.load_verify_locations(cadata=authority.certificate.decode())
    pair = authority.issue_server(hosts)
    with tempfile.TemporaryDirectory() as folder:  # the ssl module reads key files only
        path = Path(folder, "server.pem")
        path.touch(mode=0o600)
        path.write_bytes(pair.certificate + pair.key)
        context.load_cert_chain(path)
    return context


def kubeconfig_text(url: str, authority: bytes, pair: KeyPair, token: str, *, user: str = "kubernetes-admin") -> str:
    """A kubeconfig (v1 Config) with one context, everything inline; two credentials, as some clients take only one."""
    import yaml

    def inline(data: bytes) -> str:
        return base64.b64encode(data).decode()

    credentials = {
        "client-certificate-data": inline(pair.certificate),
        "client-key-data": inline(pair.key),
        "token": token,
    }
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": "kubeloop", "cluster": {"server": url, "certificate-authority-data": inline(authority)}},
        ],
        "users": [{"name": user, "user": credentials}],
        "contexts": [{"name": "kubeloop", "context": {"cluster": "kubeloop", "user": user, "namespace": "default"}}],
        "current-context": "kubeloop",
        "preferences": {},
    }
    return yaml.safe_dump(config, sort_keys=False)


def write_private(path: Path, text: str) -> None:
    """Writes a file that only its owner may read, whole or not at all.

    Raises OSError as the file system gives it (a missing folder, no permission).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
