"""Namespace: empties a namespace that is being deleted, then lets it go.

Pods first, as their ends may need the rest; then everything else; the namespace when nothing is left.
https://kubernetes.io/docs/concepts/overview/working-with-objects/namespaces/
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from kubeloop.actors.api import meta
from kubeloop.actors.api.core_v1 import Namespace, NamespaceCondition
from kubeloop.actors.api.errors import StatusError, is_not_found
from kubeloop.actors.api.resources import ResourceType
from kubeloop.actors.client.reconcile import Result
from kubeloop.actors.controller_manager.controller import Controller
from kubeloop.actors.controller_manager.pod_facts import condition_of
from kubeloop.actors.controller_manager.resource_catalog import ResourceCatalog

FINALIZER = "kubernetes"
FIRST_RETRY_SECONDS, LAST_RETRY_SECONDS = 0.02, 5.0
DISCOVERY = "NamespaceDeletionDiscoveryFailure"
PARSING = "NamespaceDeletionGroupVersionParsingFailure"
CONTENT = "NamespaceDeletionContentFailure"
REMAINING = "NamespaceContentRemaining"
FINALIZERS = "NamespaceFinalizersRemaining"


class Remains(msgspec.Struct, frozen=True):
    """What is still in the namespace: counts by resource and by finalizer, and what went wrong."""

    resources: Mapping[str, int] = {}
    finalizers: Mapping[str, int] = {}
    errors: Sequence[str] = ()

    @property
    def nothing(self) -> bool:
        return not self.resources and not self.errors


def deletion_conditions(old: Sequence[NamespaceCondition], remains: Remains, now: str) -> Sequence[NamespaceCondition]:
    """The namespace's conditions; the old ones themselves where nothing changed."""
    resources = ", ".join(f"{name} has {count} resource instances" for name, count in remains.resources.items())
    finalizers = ", ".join(f"{name} in {count} resource instances" for name, count in remains.finalizers.items())
    discovered = "All resources successfully discovered"
    parsed = "All legacy kube types successfully parsed"
    deleted = "All content successfully deleted, may be waiting on finalization"
    removed = "All content successfully removed"
    finalized = "All content-preserving finalizers finished"
    failed = f"Failed to delete all resource types, {len(remains.errors)} remaining: {'; '.join(remains.errors)}"
    rows = (
        (DISCOVERY, False, "ResourcesDiscovered", discovered),
        (PARSING, False, "ParsedGroupVersions", parsed),
        (CONTENT, True, "ContentDeletionFailed", failed)
        if remains.errors
        else (CONTENT, False, "ContentDeleted", deleted),
        (REMAINING, True, "SomeResourcesRemain", f"Some resources are remaining: {resources}")
        if resources
        else (REMAINING, False, "ContentRemoved", removed),
        (
            FINALIZERS,
            True,
            "SomeFinalizersRemain",
            f"Some content in the namespace has finalizers remaining: {finalizers}",
        )
        if finalizers
        else (FINALIZERS, False, "ContentHasNoFinalizers", finalized),
    )
    ours = [_condition(condition_of(old, type_), type_, bad, reason, text, now) for type_, bad, reason, text in rows]
    types = [condition.type for condition in ours]
    return (*(condition for condition in old if condition.type not in types), *ours)


def _condition(
    old: NamespaceCondition | None, type_: str, bad: bool, reason: str, message: str, now: str
) -> NamespaceCondition:
    status = "True" if bad else "False"
    if old is not None and (old.status, old.reason, old.message) == (status, reason, message):
        return old
    return NamespaceCondition(type=type_, status=status, reason=reason, message=message, last_transition_time=now)


class NamespaceController(Controller):
    NAME = "namespace-controller"
    RESOURCE = "namespaces"
    WORKERS_MAX = 10

    def set_up(self) -> None:
        super().set_up()
        self.catalog = ResourceCatalog(self.context.informer("customresourcedefinitions.apiextensions.k8s.io"))
        self._retry_seconds: dict[str, float] = {}

    def on_own(self, old: Any | None, new: Any | None) -> None:
        if new is not None and meta.deletion_timestamp(new) is not None:
            self.enqueue(meta.key(new))

    async def reconcile(self, key: str) -> Result | None:
        namespace: Namespace | None = self.informer.get(key)
        finalizers = namespace.spec.finalizers if namespace is not None else ()
        if namespace is None or meta.deletion_timestamp(namespace) is None or FINALIZER not in finalizers:
            self._retry_seconds.pop(key, None)
            return None
        remains = await self._empty(key)
        namespace = await self._write_status(namespace, remains)
        if not remains.nothing:
            delay = self._retry_seconds.get(key, FIRST_RETRY_SECONDS)
            self._retry_seconds[key] = min(LAST_RETRY_SECONDS, delay * 1.5)
            return Result(requeue_after_seconds=delay)
        self._retry_seconds.pop(key, None)
        await self._finalize(namespace)
        return None

    async def _empty(self, name: str) -> Remains:
        """Deletes what can be deleted now and counts what is left."""
        resources: dict[str, int] = {}
        finalizers: dict[str, int] = {}
        errors: list[str] = []
        left = await self._empty_resource("pods", self.catalog.built_in["pods"], name, finalizers, errors)
        if left:
            return Remains({"pods.": left}, finalizers, errors)
        for resource, type_ in list(self.catalog.all()):
            if type_.namespaced and resource != "pods":
                left = await self._empty_resource(resource, type_, name, finalizers, errors)
                if left:
                    resources[resource if type_.group else f"{resource}."] = left
        return Remains(resources, finalizers, errors)

    async def _empty_resource(
        self, resource: str, type_: ResourceType, name: str, finalizers: dict[str, int], errors: list[str]
    ) -> int:
        try:
            items = (await self.client.list(type_, name)).items
            if any(meta.deletion_timestamp(item) is None for item in items):
                await self.client.delete_collection(type_, name)
                items = (await self.client.list(type_, name)).items
        except StatusError as error:
            if error.code not in (404, 405):  # a kind that this server does not serve has no content
                errors.append(f"{resource}: {error.message}")
            return 0
        for item in items:
            for finalizer in meta.finalizers(item):
                finalizers[finalizer] = finalizers.get(finalizer, 0) + 1
        return len(items)

    async def _write_status(self, namespace: Namespace, remains: Remains) -> Namespace:
        status = namespace.status
        old = tuple(status.conditions)
        if remains.nothing and not old:
            return namespace  # gone before anybody could read it
        conditions = deletion_conditions(old, remains, self.clock.now_rfc3339())
        if all(new is before for new, before in zip(conditions, old, strict=False)) and len(conditions) == len(old):
            return namespace
        status = msgspec.structs.replace(status, phase="Terminating", conditions=conditions)
        return await self.client.update_status(msgspec.structs.replace(namespace, status=status))

    async def _finalize(self, namespace: Namespace) -> None:
        finalizers = tuple(each for each in namespace.spec.finalizers if each != FINALIZER)
        spec = msgspec.structs.replace(namespace.spec, finalizers=finalizers)
        try:
            await self.client.update(msgspec.structs.replace(namespace, spec=spec), subresource="finalize")
        except StatusError as error:
            if not is_not_found(error):
                raise
