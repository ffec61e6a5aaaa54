"""Discovery: which groups, versions and resources there are, as the legacy documents and as the aggregated one.

Follows the "Discovery API" section of the API concepts page. The built-in part comes from the registry's catalogue;
custom resources are handed in as further `Served` rows, in any order.
"""

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import msgspec

from kubeloop.actors.apiserver.registry import all_resources
from kubeloop.actors.apiserver.registry.catalog import Served

JSON = "application/json"
AGGREGATED_VERSIONS = ("v2", "v2beta1")
_VERSION = re.compile(r"v(\d+)(?:(alpha|beta)(\d+))?\Z")
_STAGES = {None: 2, "beta": 1, "alpha": 0}
# resources that are stored as another version or group of their kind: what their storage hash is made of
_STORED_AS = {
    ("autoscaling", "v1", "horizontalpodautoscalers"): "autoscaling/v2/HorizontalPodAutoscaler",
    ("events.k8s.io", "v1", "events"): "/v1/Event",
    (
        "apiextensions.k8s.io",
        "v1",
        "customresourcedefinitions",
    ): "apiextensions.k8s.io/v1beta1/CustomResourceDefinition",
}
Groups = Mapping[str, Mapping[str, Sequence[Served]]]


class Document(msgspec.Struct, frozen=True):
    """An answer of discovery: its bytes, their media type, and a hash that changes when they do (for ETag)."""

    body: bytes
    content_type: str
    etag: str


def answer(path: str, accept: str = JSON, custom: Sequence[Served] = (), server_address: str = "") -> Document | None:
    """What a GET of /api, /apis or below answers; None for a path that discovery does not know.

    `accept` chooses the aggregated form of /api and /apis. `server_address`: host:port for /api's hint to clients.
    """
    parts = tuple(part for part in path.split("/") if part)
    version = aggregated_version(accept) if len(parts) == 1 else ""
    return _document(parts, version, tuple(custom), server_address)


@lru_cache(256)
def _document(parts: tuple[str, ...], version: str, custom: tuple[Served, ...], server_address: str) -> Document | None:
    groups = grouped((*all_resources(), *custom))
    match parts:
        case ("api" | "apis" as root,) if version:
            content_type = f"{JSON};g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList"
            return _written(aggregated(groups, legacy=root == "api", version=version), content_type)
        case ("api",):
            found: Mapping[str, Any] | None = api_versions(server_address)
        case ("apis",):
            found = group_list(groups)
        case ("api", api_version):
            found = resource_list(groups, "", api_version)
        case ("apis", group):
            found = api_group(groups, group)
        case ("apis", group, api_version):
            found = resource_list(groups, group, api_version)
        case _:
            found = None
    return None if found is None else _written(found, JSON)


def _written(document: Mapping[str, Any], content_type: str) -> Document:
    body = msgspec.json.encode(document)
    return Document(body, content_type, hashlib.sha512(body).hexdigest().upper())


def aggregated_version(accept: str) -> str:
    """v2 or v2beta1 when the Accept header's first JSON clause asks for aggregated discovery, else ""."""
    for clause in accept.split(","):
        media, *parameters = (part.strip() for part in clause.split(";"))
        found = dict(parameter.partition("=")[::2] for parameter in parameters)
        if media not in (JSON, "*/*", "application/*"):
            continue
        if found.get("as") == "APIGroupDiscoveryList":
            if found.get("g") == "apidiscovery.k8s.io" and found.get("v") in AGGREGATED_VERSIONS:
                return found["v"]
            continue
        return ""
    return ""


def version_priority(version: str) -> tuple[int, int, int, str]:
    """Sorts versions as CustomResourceDefinitions order them: v10, v2, v1, v11beta2, v1beta1, v1alpha1, foo1."""
    found = _VERSION.match(version)
    if found is None:
        return (1, 0, 0, version)
    major, stage, minor = found.groups()
    return (0, -_STAGES[stage], -int(major), f"{99999 - int(minor or 0):05}")


def grouped(served: Iterable[Served]) -> Groups:
    """group -> version -> resources; built-in groups in their own order, custom groups behind by name."""
    groups: dict[str, dict[str, list[Served]]] = {}
    for row in served:
        versions = groups.setdefault(row.resource.group, {})
        versions.setdefault(row.resource.version, []).append(row)
    builtin = {row.resource.group for row in all_resources()}
    custom = sorted(group for group in groups if group not in builtin)
    for group in custom:
        versions = groups.pop(group)
        groups[group] = {
            version: sorted(versions[version], key=lambda row: row.resource.plural)
            for version in sorted(versions, key=version_priority)
        }
    return groups


def api_versions(server_address: str) -> Mapping[str, Any]:
    addresses = [{"clientCIDR": "0.0.0.0/0", "serverAddress": server_address}]
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": addresses}


def _group(group: str, versions: Iterable[str]) -> dict[str, Any]:
    found = [{"groupVersion": f"{group}/{version}", "version": version} for version in versions]
    return {"name": group, "versions": found, "preferredVersion": found[0]}


def group_list(groups: Groups) -> Mapping[str, Any]:
    found = [_group(group, versions) for group, versions in groups.items() if group]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": found}


def api_group(groups: Groups, group: str) -> Mapping[str, Any] | None:
    versions = groups.get(group) if group else None
    return None if versions is None else {"kind": "APIGroup", "apiVersion": "v1", **_group(group, versions)}


def resource_list(groups: Groups, group: str, version: str) -> Mapping[str, Any] | None:
    served = groups.get(group, {}).get(version)
    if served is None:
        return None
    resources: list[dict[str, Any]] = []
    for row in served:
        resources.append(_resource(row))
        resources += _subresources(row)
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": f"{group}/{version}" if group else version,
        "resources": resources,
    }


def _resource(row: Served) -> dict[str, Any]:
    own = row.resource
    found: dict[str, Any] = {
        "name": own.plural,
        "singularName": own.singular,
        "namespaced": own.namespaced,
        "kind": own.kind,
        "verbs": list(row.verbs),
    }
    if own.short_names:
        found["shortNames"] = list(own.short_names)
    if own.categories:
        found["categories"] = list(own.categories)
    if "watch" in row.verbs:
        found["storageVersionHash"] = storage_version_hash(own.group, own.version, own.plural, own.kind)
    return found


def storage_version_hash(group: str, version: str, plural: str, kind: str) -> str:
    """Tells clients when the stored version of a resource changes: eight bytes of a hash over what is stored."""
    stored = _STORED_AS.get((group, version, plural), f"{group}/{version}/{kind}")
    return base64.b64encode(hashlib.sha256(stored.encode()).digest()[:8]).decode()


def _subresources(row: Served) -> Iterable[dict[str, Any]]:
    for sub in row.subresources:
        found: dict[str, Any] = {
            "name": f"{row.resource.plural}/{sub.name}",
            "singularName": "",
            "namespaced": row.resource.namespaced,
            "kind": sub.kind or row.resource.kind,
            "verbs": list(sub.verbs),
        }
        if sub.group:
            found |= {"group": sub.group, "version": sub.version}
        yield found


def aggregated(groups: Groups, *, legacy: bool, version: str = "v2") -> Mapping[str, Any]:
    """All groups with all resources in one document; `legacy`: the core group, which /api answers."""
    items = [_aggregated_group(group, versions) for group, versions in groups.items() if (group == "") == legacy]
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": f"apidiscovery.k8s.io/{version}",
        "metadata": {},
        "items": items,
    }


def _aggregated_group(group: str, versions: Mapping[str, Sequence[Served]]) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": group} if group else {}
    return {
        "metadata": {**metadata, "creationTimestamp": None},
        "versions": [
            {"version": version, "resources": [_aggregated_resource(row) for row in served], "freshness": "Current"}
            for version, served in versions.items()
        ],
    }


def _aggregated_resource(row: Served) -> dict[str, Any]:
    own = row.resource
    found: dict[str, Any] = {
        "resource": own.plural,
        "responseKind": {"group": own.group, "version": own.version, "kind": own.kind},
        "scope": "Namespaced" if own.namespaced else "Cluster",
        "singularResource": own.singular,
        "verbs": list(row.verbs),
    }
    if own.short_names:
        found["shortNames"] = list(own.short_names)
    if own.categories:
        found["categories"] = list(own.categories)
    if row.subresources:
        found["subresources"] = [
            {
                "subresource": sub.name,
                "responseKind": {
                    "group": sub.group if sub.group else own.group,
                    "version": sub.version if sub.group else own.version,
                    "kind": sub.kind or own.kind,
                },
                "verbs": list(sub.verbs),
            }
            for sub in row.subresources
        ]
    return found
