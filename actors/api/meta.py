"""Accessors to what every object has, whether it is a Struct or, as custom resources are, a dict.

What an object does not say is empty: "" for text, an empty sequence or map, None for a time.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from kubeloop.actors.api.empty import EMPTY
from kubeloop.actors.api.meta_v1 import ObjectMeta, OwnerReference

T = TypeVar("T")

_JSON_NAMES = dict(zip(ObjectMeta.__struct_fields__, ObjectMeta.__struct_encode_fields__, strict=True))


def name(obj: Any) -> str:
    if isinstance(obj, dict):
        return (obj.get("metadata") or EMPTY).get("name") or ""
    return obj.metadata.name or ""


def namespace(obj: Any) -> str:
    """Empty for an object that is cluster-scoped, or was not yet given one."""
    if isinstance(obj, dict):
        return (obj.get("metadata") or EMPTY).get("namespace") or ""
    return obj.metadata.namespace or ""


def key(obj: Any) -> str:
    """NAMESPACE/NAME, or NAME: how informers and queues call it."""
    metadata = obj["metadata"] if isinstance(obj, dict) else obj.metadata
    if isinstance(metadata, dict):
        space, own = metadata.get("namespace"), metadata.get("name") or ""
    else:
        space, own = metadata.namespace, metadata.name or ""
    return f"{space}/{own}" if space else own


def split_key(key: str) -> tuple[str, str]:
    """(namespace, name) of a key; the namespace is empty for NAME alone."""
    space, _, own = key.rpartition("/")
    return space, own


def uid(obj: Any) -> str:
    if isinstance(obj, dict):
        return (obj.get("metadata") or EMPTY).get("uid") or ""
    return obj.metadata.uid or ""


def resource_version(obj: Any) -> str:
    if isinstance(obj, dict):
        return (obj.get("metadata") or EMPTY).get("resourceVersion") or ""
    return obj.metadata.resource_version or ""


def generation(obj: Any) -> int:
    """0 where there is none."""
    if isinstance(obj, dict):
        return (obj.get("metadata") or EMPTY).get("generation") or 0
    return obj.metadata.generation or 0


def labels(obj: Any) -> Mapping[str, str]:
    if isinstance(obj, dict):
        return (obj.get("metadata") or EMPTY).get("labels") or EMPTY
    found: Mapping[str, str] = obj.metadata.labels
    return found


def annotations(obj: Any) -> Mapping[str, str]:
    if isinstance(obj, dict):
        return (obj.get("metadata") or EMPTY).get("annotations") or EMPTY
    found: Mapping[str, str] = obj.metadata.annotations
    return found


def finalizers(obj: Any) -> Sequence[str]:
    if isinstance(obj, dict):
        return (obj.get("metadata") or EMPTY).get("finalizers") or ()
    found: Sequence[str] = obj.metadata.finalizers
    return found


def creation_timestamp(obj: Any) -> str | None:
    """RFC 3339."""
    if isinstance(obj, dict):
        return (obj.get("metadata") or EMPTY).get("creationTimestamp")
    found: str | None = obj.metadata.creation_timestamp
    return found


def deletion_timestamp(obj: Any) -> str | None:
    """RFC 3339; None as long as nobody deletes it."""
    if isinstance(obj, dict):
        return (obj.get("metadata") or EMPTY).get("deletionTimestamp")
    found: str | None = obj.metadata.deletion_timestamp
    return found


def owner_references(obj: Any) -> Sequence[OwnerReference]:
    if isinstance(obj, dict):
        found = (obj.get("metadata") or EMPTY).get("ownerReferences")
        return msgspec.convert(found, tuple[OwnerReference, ...]) if found else ()
    references: Sequence[OwnerReference] = obj.metadata.owner_references
    return references


def controller_of(obj: Any) -> OwnerReference | None:
    """The owner reference that is marked as the controller."""
    for reference in owner_references(obj):
        if reference.controller:
            return reference
    return None


def api_version_and_kind(obj: Any) -> tuple[str, str]:
    """("apps/v1", "Deployment"); empty where a dict does not say."""
    if isinstance(obj, dict):
        return obj.get("apiVersion") or "", obj.get("kind") or ""
    return obj.api_version, obj.kind


def gvk(obj: Any) -> tuple[str, str, str]:
    """(group, version, kind)."""
    api_version, kind = api_version_and_kind(obj)
    group, _, version = api_version.rpartition("/")
    return group, version, kind


def replace_metadata(obj: T, **changes: Any) -> T:
    """A copy with other metadata; `changes` are ObjectMeta's fields, None unsets one."""
    if isinstance(obj, dict):
        metadata = dict(obj.get("metadata") or EMPTY)
        for field, value in changes.items():
            if value:
                metadata[_JSON_NAMES[field]] = msgspec.json.decode(msgspec.json.encode(value))
            else:
                metadata.pop(_JSON_NAMES[field], None)
        return {**obj, "metadata": metadata}  # type: ignore[return-value]
    for field, value in changes.items():
        if value is None and field in _EMPTIES:
            changes[field] = _EMPTIES[field]
    metadata = msgspec.structs.replace(obj.metadata, **changes)  # type: ignore[attr-defined]
    return msgspec.structs.replace(obj, metadata=metadata)  # type: ignore[type-var]


_EMPTIES = {
    field: default
    for field, default in zip(ObjectMeta.__struct_fields__, ObjectMeta.__struct_defaults__, strict=True)
    if default is not None
}


def replace_status(obj: T, status: Any) -> T:
    """A copy with another status (a Struct's, or a dict for a dict)."""
    if isinstance(obj, dict):
        return {**obj, "status": status}  # type: ignore[return-value]
    return msgspec.structs.replace(obj, status=status)  # type: ignore[type-var]
