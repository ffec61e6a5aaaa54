"""Reading a kubeconfig: which server, and who we are to it.

Follows the "Organizing Cluster Access Using kubeconfig Files" page. Credential plugins (exec, auth-provider) are not
run.
"""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import Any

from kubeloop.actors.client.transport import ServerAddress


def load(path: Path, context: str | None = None) -> ServerAddress:
    """The server of a context (default: the current one). Raises FileNotFoundError, ValueError with what is wrong."""
    import yaml

    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: not YAML: {error}") from error
    if not isinstance(config, dict) or config.get("kind", "Config") != "Config":
        raise ValueError(f"{path}: not a kubeconfig (kind: Config)")
    name = context or config.get("current-context") or ""
    chosen = _named(config, "contexts", name, "context", path)
    cluster = _named(config, "clusters", chosen.get("cluster", ""), "cluster", path)
    user = _named(config, "users", chosen["user"], "user", path) if chosen.get("user") else {}
    if not cluster.get("server"):
        raise ValueError(f"{path}: cluster {chosen.get('cluster')!r} has no server")
    for plugin in ("exec", "auth-provider"):
        if plugin in user:
            raise ValueError(
                f"{path}: user {chosen['user']!r} has its credentials from {plugin!r}, which is not supported"
            )
    return ServerAddress(
        server=str(cluster["server"]).rstrip("/"),
        authority=_data(cluster, "certificate-authority", path),
        insecure_skip_tls_verify=bool(cluster.get("insecure-skip-tls-verify")),
        tls_server_name=cluster.get("tls-server-name"),
        certificate=_data(user, "client-certificate", path),
        key=_data(user, "client-key", path),
        token=_token(user, path),
        username=user.get("username"),
        password=user.get("password"),
        namespace=chosen.get("namespace") or "default",
    )


def _named(config: dict[str, Any], section: str, name: str, field: str, path: Path) -> dict[str, Any]:
    for entry in config.get(section) or ():
        if entry.get("name") == name:
            return dict(entry.get(field) or {})
    raise ValueError(f"{path}: {field} {name!r} does not exist")


def _data(holder: dict[str, Any], name: str, path: Path) -> bytes | None:
    inline = holder.get(f"{name}-data")
    if inline:
        try:
            return base64.b64decode(inline, validate=True)
        except (binascii.Error, ValueError) as error:
            raise ValueError(f"{path}: {name}-data is not base64: {error}") from error
    file = holder.get(name)
    return (path.parent / file).read_bytes() if file else None


def _token(user: dict[str, Any], path: Path) -> str | None:
    file = user.get("tokenFile")
    if file:
        text: str = (path.parent / file).read_text(encoding="utf-8")
        return text.strip()
    token: str | None = user.get("token")
    return token
