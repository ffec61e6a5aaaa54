"""Garbage collector: deletes what nobody owns any more, and carries out foreground deletion and orphaning.

It watches every resource that holds objects, custom ones too, through the informers that the other controllers share.
Which ones do, our API server tells (`storedresources`); with another API server all of them are watched. The informers
that nobody else has start a moment after the manager, so that a cluster's start does not wait for them. Nothing is
decided while one of them is not filled yet, and an owner counts as absent only after a live read said so.

https://kubernetes.io/docs/concepts/architecture/garbage-collection/
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import msgspec

from kubeloop.actors.api import meta
from kubeloop.actors.api.errors import StatusError, is_conflict, is_not_found
from kubeloop.actors.api.meta_v1 import OwnerReference
from kubeloop.actors.api.resources import ResourceType
from kubeloop.actors.client.informer import Informer
from kubeloop.actors.client.reconcile import Result, TerminalError
from kubeloop.actors.controller_manager.controller import Controller, ControllerContext
from kubeloop.actors.controller_manager.ownership_graph import (
    FOREGROUND,
    ORPHAN,
    Identity,
    OwnershipGraph,
    Reference,
    Vertex,
)
from kubeloop.actors.controller_manager.resource_catalog import ResourceCatalog

START_DELAY_SECONDS = 0.02
DELETIONS_IN_A_ROW_MAX = 64  # then everybody else has a turn
RETRY_SECONDS = 1.0
ABSENT_REMEMBERED_MAX = 10_000
DEFINITIONS = "customresourcedefinitions.apiextensions.k8s.io"
# Objects that come and go by the thousand and own nothing.
NOT_WATCHED = ("events",)


class GarbageCollector(Controller):
    NAME = "garbage-collector-controller"
    ACCOUNT = "generic-garbage-collector"
    WORKERS_MAX = 20

    def __init__(self, context: ControllerContext) -> None:
        super().__init__(context)
        self.graph = OwnershipGraph(self._resolve, self._find)
        self.informers: dict[str, Informer[Any]] = {}
        self._began = False
        self._refreshing = 1  # nothing is decided while this is not 0; the first time until all is watched
        self._waiting: dict[str, None] = {}
        self._deletions = 0
        self._absent: dict[tuple[str, str], None] = {}  # (uid, namespace) of owners that a live read did not find

    def set_up(self) -> None:
        super().set_up()
        self.catalog = ResourceCatalog(self.watch(DEFINITIONS, self._on_definition))

    def start(self) -> None:
        super().start()
        self.context.call_later(START_DELAY_SECONDS, self._begin)

    def _begin(self) -> None:
        if self.context.signal is not None:
            self.context.signal.add_handler(self._on_stored)
        self._began = True
        self._refreshing -= 1
        self._refresh()

    # What is watched

    def _on_definition(self, old: Any | None, new: Any | None) -> None:
        if self._started:
            self._refresh()

    def _on_stored(self, old: Any | None, new: Any | None) -> None:
        """The first object of some resource: nothing is decided before that resource is watched too."""
        if old is None and self._began:
            self._refresh()

    def _refresh(self) -> None:
        self._refreshing += 1
        self.context.spawn(self._watch_everything, name=f"{self.NAME}/watches")

    async def _watch_everything(self) -> None:
        """Every resource that holds objects has an informer; runs until all of them are filled."""
        try:
            wanted = self._wanted()
            for name in [name for name in self.informers if name not in wanted]:
                self._stop_watching(name)
            for name, type_ in wanted.items():
                if name not in self.informers:
                    informer = self.informers[name] = self.context.informer(type_)
                    informer.add_handler(partial(self._on_object, name))
            for name in list(self.informers):
                if name in self.informers:
                    await self.context.start_informer(self.informers[name])
        finally:
            self._refreshing -= 1
        if self._refreshing == 0:
            waiting, self._waiting = self._waiting, {}
            self._enqueue_all(list(waiting))

    def _wanted(self) -> dict[str, ResourceType]:
        """What holds objects."""
        wanted = {
            name: type_
            for name, type_ in self.catalog.built_in.items()
            if name not in NOT_WATCHED and (name in self.informers or self.context.holds_objects(name))
        }
        wanted.update(self.catalog.custom())
        return wanted

    def _stop_watching(self, name: str) -> None:
        """A definition is gone, and its objects with it."""
        del self.informers[name]
        self.context.discard(name)
        for uid, vertex in list(self.graph.vertices.items()):
            if vertex.identity.resource == name:
                self._enqueue_all(self.graph.remove(uid))

    def _on_object(self, resource: str, old: Any | None, new: Any | None) -> None:
        if new is None:
            uid = meta.uid(old) or ""
            self._enqueue_all(self.graph.remove(uid))
            return
        if old is not None and old.__class__ is not dict and _alike(old, new):
            return
        if old is not None and meta.uid(old) != meta.uid(new):
            self._enqueue_all(self.graph.remove(meta.uid(old) or ""))
        self._enqueue_all(self.graph.observe(resource, new))

    def _enqueue_all(self, uids: Sequence[str]) -> None:
        for uid in uids:
            self.enqueue(uid)

    def _resolve(self, api_version: str, kind: str) -> tuple[str, bool] | None:
        found = self.catalog.of_kind(api_version, kind)
        return (found[0], found[1].namespaced) if found is not None else None

    def _find(self, identity: Identity) -> Any | None:
        informer = self.informers.get(identity.resource)
        if informer is None:
            return None
        return informer.get(f"{identity.namespace}/{identity.name}" if identity.namespace else identity.name)

    def _type(self, resource: str) -> ResourceType | None:
        return self.catalog.built_in.get(resource) or dict(self.catalog.custom()).get(resource)

    def _known_type(self, resource: str) -> ResourceType:
        type_ = self._type(resource)
        if type_ is None:
            raise TerminalError(f"{resource} is not served any more")
        return type_

    # One object's case

    async def reconcile(self, key: str) -> Result | None:
        vertex = self.graph.vertices.get(key)
        if self._refreshing:
            self._waiting[key] = None
            return None
        if vertex is None:
            return None
        try:
            if vertex.virtual:
                await self._verify(vertex)
            elif vertex.deleting and vertex.finalizer == FOREGROUND:
                await self._finish_foreground(vertex)
            elif vertex.deleting and vertex.finalizer == ORPHAN:
                await self._orphan_dependents(vertex)
            elif not vertex.deleting and vertex.owners:
                return await self._attempt_to_delete(vertex)
        except StatusError as error:
            if is_conflict(error):
                return Result(requeue_after_seconds=0.005)
            raise
        return None

    async def _verify(self, vertex: Vertex) -> None:
        """No cache has shown this owner: is it there?"""
        if vertex.identity.resource and await self._is_there(vertex.identity):
            self.graph.confirm(vertex.identity.uid)
        elif vertex.identity.resource:
            self._enqueue_all(self.graph.remove(vertex.identity.uid))

    async def _is_there(self, identity: Identity) -> bool:
        if (identity.uid, identity.namespace) in self._absent:
            return False
        type_ = self._type(identity.resource)
        if type_ is None:
            return True  # unknown kind: nothing is deleted on a guess
        try:
            live = await self.client.get(type_, identity.name, identity.namespace or None)
        except StatusError as error:
            if not is_not_found(error):
                raise
        else:
            if meta.uid(live) == identity.uid:
                return True
        self._absent[(identity.uid, identity.namespace)] = None
        if len(self._absent) > ABSENT_REMEMBERED_MAX:
            del self._absent[next(iter(self._absent))]
        return False

    async def _attempt_to_delete(self, vertex: Vertex) -> Result | None:
        """Deletes it when no owner is left; drops references to owners that are gone or waiting for it to go."""
        obj = await self._latest(vertex)
        if obj is None:
            return None
        solid, waiting, dangling = await self._classify(vertex)
        if solid:
            if dangling or waiting:
                gone = [reference.identity.uid for reference in (*dangling, *waiting)]
                references = [each for each in meta.owner_references(obj) if each.uid not in gone]
                await self._patch(vertex, obj, {"ownerReferences": [_builtin(each) for each in references] or None})
            return None
        if waiting and vertex.dependents:
            if any(child.deleting and child.finalizer == FOREGROUND for child in vertex.dependents.values()):
                freed = [{**_builtin(each), "blockOwnerDeletion": False} for each in meta.owner_references(obj)]
                obj = await self._patch(vertex, obj, {"ownerReferences": freed})
            await self._delete(vertex, obj, "Foreground")
            return None
        finalizers = meta.finalizers(obj)
        policy = "Orphan" if ORPHAN in finalizers else "Foreground" if FOREGROUND in finalizers else "Background"
        await self._delete(vertex, obj, policy)
        return None

    async def _classify(self, vertex: Vertex) -> tuple[Sequence[Reference], Sequence[Reference], Sequence[Reference]]:
        """The owners that hold it; those in foreground deletion; those that are not there."""
        solid, waiting, dangling = [], [], []
        for reference in vertex.owners:
            identity = reference.identity
            owner = self.graph.vertices.get(identity.uid)
            known = owner is not None and not owner.virtual and owner.identity == identity
            if not identity.resource:
                solid.append(reference)
            elif known and owner is not None and owner.finalizer == FOREGROUND:
                waiting.append(reference)
            elif known or self._is_cached(identity):
                solid.append(reference)
            elif self._scope_is_wrong(vertex, reference):
                solid.append(reference)
                self._report_scope(vertex, reference)
            elif await self._is_there(identity):
                solid.append(reference)
            else:
                if owner is not None and not owner.virtual:
                    self._report_scope(vertex, reference)
                dangling.append(reference)
        return solid, waiting, dangling

    def _is_cached(self, identity: Identity) -> bool:
        found = self._find(identity)
        return found is not None and meta.uid(found) == identity.uid

    def _scope_is_wrong(self, vertex: Vertex, reference: Reference) -> bool:
        """A cluster-wide object cannot be owned by something in a namespace: nobody could say which one."""
        type_ = self._type(reference.identity.resource)
        return type_ is not None and type_.namespaced and not vertex.identity.namespace

    def _report_scope(self, vertex: Vertex, reference: Reference) -> None:
        identity = reference.identity
        where = f"[{reference.api_version}/{reference.kind}, namespace: {identity.namespace}, name: {identity.name}, "
        message = f'ownerRef {where}uid: {identity.uid}] does not exist in namespace "{vertex.identity.namespace}"'
        obj = self._find(vertex.identity)
        if obj is not None:
            self.events.event(obj, "Warning", "OwnerRefInvalidNamespace", message)

    async def _finish_foreground(self, vertex: Vertex) -> None:
        """Drops the finalizer once no dependent that blocks is left; until then the dependents go."""
        uid = vertex.identity.uid
        blocking = [child for child in vertex.dependents.values() if child.blocks(uid)]
        if not blocking:
            await self._drop_finalizer(vertex, FOREGROUND)
            return
        for child in blocking:
            if not child.deleting:
                self.enqueue(child.identity.uid)

    async def _orphan_dependents(self, vertex: Vertex) -> None:
        """Dependents forget this owner; then it may go."""
        uid = vertex.identity.uid
        for child in list(vertex.dependents.values()):
            obj = await self._latest(child)
            if obj is None:
                continue
            references = [_builtin(each) for each in meta.owner_references(obj) if each.uid != uid]
            if len(references) != len(meta.owner_references(obj)):
                await self._patch(child, obj, {"ownerReferences": references or None})
        await self._drop_finalizer(vertex, ORPHAN)

    async def _drop_finalizer(self, vertex: Vertex, finalizer: str) -> None:
        obj = await self._latest(vertex)
        if obj is None or finalizer not in meta.finalizers(obj):
            return
        await self._patch(
            vertex, obj, {"finalizers": [each for each in meta.finalizers(obj) if each != finalizer] or None}
        )

    # Reads and writes

    async def _latest(self, vertex: Vertex) -> Any | None:
        """The object as the cache has it (each write checks its resourceVersion), or live; None when it is gone."""
        identity = vertex.identity
        obj = self._find(identity)
        if obj is None or meta.uid(obj) != identity.uid:
            try:
                obj = await self.client.get(
                    self._known_type(identity.resource), identity.name, identity.namespace or None
                )
            except StatusError as error:
                if not is_not_found(error):
                    raise
                obj = None
            if obj is None or meta.uid(obj) != identity.uid:
                self._enqueue_all(self.graph.remove(identity.uid))
                return None
        return obj

    async def _patch(self, vertex: Vertex, obj: Any, metadata: dict[str, Any]) -> Any | None:
        identity = vertex.identity
        patch = {"metadata": {"uid": identity.uid, "resourceVersion": meta.resource_version(obj), **metadata}}
        try:
            return await self.client.patch(
                self._known_type(identity.resource), identity.name, patch, identity.namespace or None, type="merge"
            )
        except StatusError as error:
            if is_not_found(error):
                return None
            raise

    async def _delete(self, vertex: Vertex, obj: Any | None, policy: str) -> None:
        if obj is None:
            return
        self._deletions += 1
        if self._deletions % DELETIONS_IN_A_ROW_MAX == 0:
            await self.clock.sleep(0)
        identity = vertex.identity
        preconditions = {"uid": identity.uid, "resourceVersion": meta.resource_version(obj)}
        try:
            await self.client.delete(
                self._known_type(identity.resource),
                identity.name,
                identity.namespace or None,
                propagation_policy=policy,
                preconditions=preconditions,
            )
        except StatusError as error:
            if not is_not_found(error):
                raise


def _alike(old: Any, new: Any) -> bool:
    """Nothing that the graph keeps differs (built-in objects; cheap when metadata was carried over)."""
    before, after = old.metadata, new.metadata
    return (
        before.uid == after.uid
        and before.deletion_timestamp == after.deletion_timestamp
        and (before.owner_references is after.owner_references or before.owner_references == after.owner_references)
        and (before.finalizers is after.finalizers or before.finalizers == after.finalizers)
    )


def _builtin(reference: OwnerReference) -> dict[str, Any]:
    builtin: dict[str, Any] = msgspec.to_builtins(reference)
    return builtin
