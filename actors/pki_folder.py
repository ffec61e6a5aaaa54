"""A cluster's secrets on disk: kubeadm's folder `pki`, so that kubeconfigs and tokens outlive the process.

    ca.crt, ca.key      the cluster's certificate authority
    sa.pub, sa.key      of service account tokens
    tokens.csv          the administrator's bearer token, as kube-apiserver's --token-auth-file: token,user,uid,"groups"

Follows the "PKI certificates and requirements" page. The folder appears whole or not at all.
"""

import csv
import io
import os
import shutil
import tempfile
from pathlib import Path

import msgspec

from kubeloop.actors import pki
from kubeloop.actors.apiserver.messages import UserInfo
from kubeloop.actors.pki import CertificateAuthority, KeyPair
from kubeloop.runtime.clock import Clock

NAME = "pki"
FILES = ("ca.crt", "ca.key", "sa.pub", "sa.key", "tokens.csv")
FOLDER_MODE = 0o700


class PkiError(Exception):
    """The folder is there, and what is in it cannot be used."""


class Secrets(msgspec.Struct, frozen=True):
    """`signing_key`: of service account tokens, PEM. `tokens`: bearer token -> whose it is."""

    authority: CertificateAuthority
    signing_key: bytes
    tokens: dict[str, UserInfo]


def load(data_dir: Path, clock: Clock) -> Secrets | None:
    """What the folder holds; None where there is none yet. Raises PkiError, OSError."""
    folder = data_dir / NAME
    if not folder.exists():
        return None
    contents: dict[str, bytes] = {}
    for name in FILES:
        try:
            contents[name] = (folder / name).read_bytes()
        except FileNotFoundError:
            raise PkiError(f"{folder / name} is missing; {_advice(folder)}") from None
    damaged = "ca.key"
    try:
        pki.private_key(contents["ca.key"])
        damaged = "ca.crt"
        authority = CertificateAuthority(clock, key_pair=KeyPair(contents["ca.crt"], contents["ca.key"]))
        damaged = "sa.key"
        if pki.public_key(contents["sa.key"]).split() != contents["sa.pub"].split():
            raise ValueError("sa.pub is not its public half")
        damaged = "tokens.csv"
        tokens = _read_tokens(contents["tokens.csv"])
    except (ValueError, TypeError) as error:
        raise PkiError(f"{folder / damaged} cannot be used: {error}; {_advice(folder)}") from None
    return Secrets(authority, contents["sa.key"], tokens)


def _advice(folder: Path) -> str:
    return f"bring it back, or remove {folder}: then every kubeconfig and token of this cluster is made anew"


def save(data_dir: Path, secrets: Secrets) -> None:
    """Raises OSError."""
    data_dir.mkdir(parents=True, exist_ok=True)
    pair = secrets.authority.key_pair
    contents = {
        "ca.crt": pair.certificate,
        "ca.key": pair.key,
        "sa.pub": pki.public_key(secrets.signing_key),
        "sa.key": secrets.signing_key,
        "tokens.csv": _write_tokens(secrets.tokens),
    }
    temporary = Path(tempfile.mkdtemp(dir=data_dir, prefix=f".{NAME}."))  # for its owner only
    try:
        for name, content in contents.items():
            handle = os.open(temporary / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        temporary.rename(data_dir / NAME)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _read_tokens(content: bytes) -> dict[str, UserInfo]:
    tokens = {}
    for row in csv.reader(io.StringIO(content.decode())):
        if len(row) < 3 or not row[0] or not row[1]:
            raise ValueError("each line is: token,user,uid,groups")
        groups = tuple(row[3].split(",")) if len(row) > 3 and row[3] else ()
        tokens[row[0]] = UserInfo(name=row[1], uid=row[2], groups=groups)
    if not tokens:
        raise ValueError("there is no token in it")
    return tokens


def _write_tokens(tokens: dict[str, UserInfo]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for token, user in tokens.items():
        writer.writerow([token, user.name, user.uid, ",".join(user.groups)])
    return text.getvalue().encode()
