"""Who owns whom: the garbage collector's picture of the cluster. Pure data; says what to look at, never looks itself.

Only what matters is kept: objects with owners, their owners, and objects that are being deleted.
An owner that no cache has shown is virtual until somebody verified it with a live read.

https://kubernetes.io/docs/concepts/architecture/garbage-collection/
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from kubeloop.actors.api import meta
from kubeloop.actors.api.meta_v1 import OwnerReference

FOREGROUND, ORPHAN = "foregroundDeletion", "orphan"


class Identity(msgspec.Struct, frozen=True):
    """Where an object lives. `resource` is plural.group ("pods", "deployments.apps"); namespace "" when it has none."""

    resource: str
    namespace: str
    name: str
    uid: str


class Reference(msgspec.Struct, frozen=True):
    """An owner reference, resolved; `identity.resource` is "" when nobody serves that kind."""

    identity: Identity
    kind: str
    api_version: str
    blocks: bool


class Vertex:
    """An object in the graph."""

    __slots__ = ("deleting", "dependents", "finalizer", "identity", "owners", "virtual")

    def __init__(self, identity: Identity) -> None:
        self.identity = identity
        self.owners: tuple[Reference, ...] = ()
        self.dependents: dict[str, Vertex] = {}
        self.virtual = False
        self.deleting = False
        self.finalizer = ""  # foregroundDeletion or orphan, while it is being deleted

    def blocks(self, owner_uid: str) -> bool:
        return any(owner.identity.uid == owner_uid and owner.blocks for owner in self.owners)


Find = Callable[[Identity], Any | None]  # the object in the caches, by its place


class OwnershipGraph:
    """Vertices by uid. `observe` and `remove` return the uids whose case must be looked at."""

    def __init__(self, resolve: Callable[[str, str], tuple[str, bool] | None], find: Find) -> None:
        self.vertices: dict[str, Vertex] = {}
        self._resolve = resolve
        self._find = find

    def observe(self, resource: str, obj: Any) -> list[str]:
        """An object is there, or changed."""
        uid = meta.uid(obj) or ""
        references = meta.owner_references(obj)
        deleting = meta.deletion_timestamp(obj) is not None
        vertex = self.vertices.get(uid)
        if vertex is None and not references and not deleting:
            return []
        identity = Identity(resource, meta.namespace(obj) or "", meta.name(obj) or "", uid)
        if vertex is None:
            vertex = self.vertices[uid] = Vertex(identity)
        attention: list[str] = []
        if vertex.virtual:
            vertex.virtual = False
            attention.extend(  # those who looked for it in another place look again
                child for child, each in vertex.dependents.items() if identity not in [o.identity for o in each.owners]
            )
        vertex.identity = identity
        attention.extend(self._set_owners(vertex, references))
        finalizer = _deletion_finalizer(obj) if deleting else ""
        if deleting and finalizer and finalizer != vertex.finalizer:
            attention.append(uid)
        if deleting and not vertex.deleting:  # a parent in foreground deletion need not wait for it to be asked again
            attention.extend(owner.identity.uid for owner in vertex.owners if self._is_foreground(owner.identity.uid))
        vertex.deleting, vertex.finalizer = deleting, finalizer
        self._prune(vertex)
        return attention

    def remove(self, uid: str) -> list[str]:
        """The object is gone (or was found never to have been there)."""
        vertex = self.vertices.pop(uid, None)
        if vertex is None:
            return []
        attention = list(vertex.dependents)
        for owner in vertex.owners:
            parent = self.vertices.get(owner.identity.uid)
            if parent is not None:
                parent.dependents.pop(uid, None)
                if parent.finalizer == FOREGROUND:
                    attention.append(parent.identity.uid)
                self._prune(parent)
        return attention

    def confirm(self, uid: str) -> None:
        """A live read found the virtual owner: the caches only lag behind."""
        vertex = self.vertices.get(uid)
        if vertex is not None:
            vertex.virtual = False

    def resolve_reference(self, reference: OwnerReference, namespace: str) -> Reference:
        api_version, kind = reference.api_version or "", reference.kind or ""
        found = self._resolve(api_version, kind)
        resource, namespaced = found if found is not None else ("", True)
        identity = Identity(
            resource,
            namespace if namespaced else "",
            reference.name or "",
            reference.uid or "",
        )
        return Reference(identity, kind, api_version, bool(reference.block_owner_deletion))

    def _set_owners(self, vertex: Vertex, references: Sequence[OwnerReference]) -> list[str]:
        uid = vertex.identity.uid
        owners = tuple(self.resolve_reference(reference, vertex.identity.namespace) for reference in references)
        if owners == vertex.owners:
            return []
        attention: list[str] = []
        before = {owner.identity.uid: owner for owner in vertex.owners}
        after = {owner.identity.uid: owner for owner in owners}
        vertex.owners = owners
        for owner_uid in before:
            parent = self.vertices.get(owner_uid)
            if parent is None:
                continue
            if owner_uid not in after:
                parent.dependents.pop(uid, None)
            if parent.finalizer == FOREGROUND and before[owner_uid] != after.get(owner_uid):
                attention.append(owner_uid)
            if owner_uid not in after:
                self._prune(parent)
        for owner_uid, owner in after.items():
            parent = self.vertices.get(owner_uid)
            if parent is None:
                parent = self.vertices[owner_uid] = Vertex(owner.identity)
                known = self._find(owner.identity)
                parent.virtual = known is None or meta.uid(known) != owner_uid
                if not parent.virtual and meta.deletion_timestamp(known) is not None:
                    parent.deleting, parent.finalizer = True, _deletion_finalizer(known)
                if parent.virtual:
                    attention.append(owner_uid)
            elif parent.identity != owner.identity or parent.finalizer == FOREGROUND:
                attention.append(uid)
            parent.dependents[uid] = vertex
        return attention

    def _is_foreground(self, uid: str) -> bool:
        vertex = self.vertices.get(uid)
        return vertex is not None and vertex.finalizer == FOREGROUND

    def _prune(self, vertex: Vertex) -> None:
        """Forgets who neither owns, nor is owned, nor goes."""
        if not vertex.owners and not vertex.dependents and not vertex.deleting:
            self.vertices.pop(vertex.identity.uid, None)


def _deletion_finalizer(obj: Any) -> str:
    finalizers = meta.finalizers(obj)
    return ORPHAN if ORPHAN in finalizers else FOREGROUND if FOREGROUND in finalizers else ""
