"""A container's environment, as the pod's spec says and the kubelet resolves it. Pure.

Tasks "Define environment variables", "Expose pod information", concepts "Service: discovering services" of the
Kubernetes documentation.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from kubeloop.actors.api.core_v1 import Container, Pod, Service
from kubeloop.actors.api.quantity import milli_value

REFERENCE = re.compile(r"\$(\$|\(([^()]*)\))")
SUBSCRIPT = re.compile(r"^metadata\.(labels|annotations)\['(.*)'\]$")
Sources = Mapping[tuple[str, str], Any]


class ConfigError(Exception):
    """The container cannot be configured; the message is the one of reason CreateContainerConfigError."""


class PodFacts(msgspec.Struct, frozen=True):
    """What field references see beside the pod's own metadata."""

    node_name: str
    pod_ip: str
    host_ip: str
    allocatable: Mapping[str, str]


def expand(text: str, values: Mapping[str, str]) -> str:
    """$(NAME) becomes its value, $$(NAME) becomes $(NAME); a name that is not there is left as written."""
    if "$" not in text:
        return text

    def replacement(match: re.Match[str]) -> str:
        if match.group(1) == "$":
            return "$"
        return values.get(match.group(2), match.group(0))

    return REFERENCE.sub(replacement, text)


def references(container: Container) -> list[tuple[str, str]]:
    """The ("configmaps" | "secrets", name) that the environment reads, each once, in order."""
    found: dict[tuple[str, str], None] = {}
    for source in container.env_from:
        if source.config_map_ref is not None:
            found["configmaps", source.config_map_ref.name or ""] = None
        if source.secret_ref is not None:
            found["secrets", source.secret_ref.name or ""] = None
    for variable in container.env:
        value_from = variable.value_from
        if value_from is not None and value_from.config_map_key_ref is not None:
            found["configmaps", value_from.config_map_key_ref.name or ""] = None
        if value_from is not None and value_from.secret_key_ref is not None:
            found["secrets", value_from.secret_key_ref.name or ""] = None
    return list(found)


def resolve(
    container: Container, pod: Pod, facts: PodFacts, sources: Sources, services: Mapping[str, str]
) -> dict[str, str]:
    """Name to value: envFrom, then env (later wins), then services that nothing else names.

    `sources` holds the objects of `references` that exist. ConfigError when a needed one, or a key of it, is missing.
    """
    values: dict[str, str] = {}
    for source in container.env_from:
        kind, reference = (
            ("configmaps", source.config_map_ref)
            if source.config_map_ref is not None
            else ("secrets", source.secret_ref)
        )
        if reference is None:
            continue
        found = sources.get((kind, reference.name or ""))
        if found is None:
            if not reference.optional:
                raise ConfigError(missing(kind, reference.name or ""))
            continue
        prefix = source.prefix or ""
        values.update((prefix + key, text) for key, text in data_of(kind, found).items())
    for variable in container.env:
        if variable.value_from is None:
            values[variable.name or ""] = expand(variable.value or "", {**services, **values})
            continue
        text = _from_source(variable.value_from, container, pod, facts, sources)
        if text is not None:
            values[variable.name or ""] = text
    return {**{name: value for name, value in services.items() if name not in values}, **values}


def missing(kind: str, name: str) -> str:
    return f'{"configmap" if kind == "configmaps" else "secret"} "{name}" not found'


def data_of(kind: str, source: Any) -> dict[str, str]:
    """The keys of a ConfigMap or Secret as text."""
    if kind == "configmaps":
        return dict(source.data)
    return {key: data.decode("utf-8", "surrogateescape") for key, data in secret_bytes(source).items()}


def secret_bytes(secret: Any) -> dict[str, bytes]:
    import base64

    return {
        key: value if isinstance(value, bytes) else base64.b64decode(value)
        for key, value in {**secret.data, **secret.string_data}.items()
    }


def _from_source(value_from: Any, container: Container, pod: Pod, facts: PodFacts, sources: Sources) -> str | None:
    if value_from.field_ref is not None:
        return field(pod, value_from.field_ref.field_path or "", facts)
    if value_from.resource_field_ref is not None:
        return resource_field(pod, container, value_from.resource_field_ref, facts.allocatable)
    for kind, title, reference in (
        ("configmaps", "ConfigMap", value_from.config_map_key_ref),
        ("secrets", "Secret", value_from.secret_key_ref),
    ):
        if reference is None:
            continue
        found = sources.get((kind, reference.name or ""))
        if found is None:
            if reference.optional:
                return None
            raise ConfigError(missing(kind, reference.name or ""))
        text = data_of(kind, found).get(reference.key or "")
        if text is None and not reference.optional:
            namespace = pod.metadata.namespace if pod.metadata else ""
            raise ConfigError(f"couldn't find key {reference.key} in {title} {namespace}/{reference.name}")
        return text
    return None


def field(pod: Pod, path: str, facts: PodFacts) -> str:
    """The value of a downward API fieldRef. ConfigError for a path that there is not."""
    metadata, spec = pod.metadata, pod.spec
    assert metadata is not None and spec is not None
    subscript = SUBSCRIPT.match(path)
    if subscript:
        mapping = metadata.labels if subscript.group(1) == "labels" else metadata.annotations
        return mapping.get(subscript.group(2), "")
    simple = {
        "metadata.name": metadata.name,
        "metadata.namespace": metadata.namespace,
        "metadata.uid": metadata.uid,
        "spec.nodeName": facts.node_name,
        "spec.serviceAccountName": spec.service_account_name,
        "status.hostIP": facts.host_ip,
        "status.hostIPs": facts.host_ip,
        "status.podIP": facts.pod_ip,
        "status.podIPs": facts.pod_ip,
    }
    if path in simple:
        return simple[path] or ""
    if path in ("metadata.labels", "metadata.annotations"):
        mapping = metadata.labels if path == "metadata.labels" else metadata.annotations
        return "\n".join(f'{key}="{_quote(value)}"' for key, value in sorted(mapping.items()))
    raise ConfigError(f"unsupported fieldPath: {path}")


def _quote(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def resource_field(pod: Pod, container: Container, reference: Any, allocatable: Mapping[str, str]) -> str:
    """limits.X or requests.X in units of the divisor, rounded up; without a limit, the node's allocatable."""
    if reference.container_name and reference.container_name != container.name:
        spec = pod.spec
        assert spec is not None
        for other in (*spec.containers, *spec.init_containers):
            if other.name == reference.container_name:
                container = other
    part, _, name = (reference.resource or "").partition(".")
    resources = container.resources
    limits = resources.limits if resources is not None else {}
    if part == "limits":
        text = limits.get(name) or allocatable.get(name)
    else:
        text = (resources.requests.get(name) if resources is not None else None) or limits.get(name)
    divisor = reference.divisor or "1"
    if divisor == "0":
        divisor = "1"
    amount = milli_value(text or "0")
    return str(-(-amount // max(1, milli_value(divisor))))


def service_variables(
    services: Iterable[Service],
    namespace: str,
    *,
    links: bool = True,
    addresses: Mapping[tuple[str, str, int], tuple[str, int]] | None = None,
) -> dict[str, str]:
    """Docker-link variables of the services with a cluster IP in `namespace`, and of default/kubernetes.

    links False (enableServiceLinks): only the latter. `addresses`: (namespace, name, port) to the (host, port) to use
    in place of the cluster IP.
    """
    found: dict[str, str] = {}
    for service in sorted(
        services, key=lambda service: (service.metadata.namespace or "", service.metadata.name or "")
    ):
        metadata, spec = service.metadata, service.spec
        if metadata is None or spec is None or not spec.cluster_ip or spec.cluster_ip == "None" or not spec.ports:
            continue
        own = metadata.namespace == namespace and links
        if own or (metadata.namespace == "default" and metadata.name == "kubernetes"):
            found.update(_variables(service, addresses or {}))
    return found


def _variables(service: Any, addresses: Mapping[tuple[str, str, int], tuple[str, int]]) -> dict[str, str]:
    name = service.metadata.name
    prefix = name.upper().replace("-", "_")
    found: dict[str, str] = {}
    for index, port in enumerate(service.spec.ports):
        key = (service.metadata.namespace, name, port.port)
        host, number = addresses.get(key, (service.spec.cluster_ip, port.port))
        protocol = (port.protocol or "TCP").lower()
        url = f"{protocol}://{host}:{number}"
        if index == 0:
            found[f"{prefix}_SERVICE_HOST"] = host
            found[f"{prefix}_SERVICE_PORT"] = str(number)
            found[f"{prefix}_PORT"] = url
        if port.name:
            found[f"{prefix}_SERVICE_PORT_{port.name.upper().replace('-', '_')}"] = str(number)
        link = f"{prefix}_PORT_{port.port}_{protocol.upper()}"
        found[link] = url
        found[f"{link}_PROTO"] = protocol
        found[f"{link}_PORT"] = str(number)
        found[f"{link}_ADDR"] = host
    return found
