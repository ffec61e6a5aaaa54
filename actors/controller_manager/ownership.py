"""Whose an object is: owner references, adopting what matches and has no owner, releasing what no longer matches.

https://kubernetes.io/docs/concepts/overview/working-with-objects/owners-dependents/
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from kubeloop.actors.api import meta
from kubeloop.actors.api.errors import StatusError, is_not_found
from kubeloop.actors.api.meta_v1 import OwnerReference
from kubeloop.actors.api.resources import resource_for
from kubeloop.actors.client.client import Client

Matches = Callable[[Mapping[str, str]], bool]


class ClaimPlan(msgspec.Struct, frozen=True):
    """`claimed` are the owner's already; `adopt` and `release` need a write each."""

    claimed: Sequence[Any] = ()
    adopt: Sequence[Any] = ()
    release: Sequence[Any] = ()


def plan_claims(owned: Sequence[Any], orphans: Sequence[Any], matches: Matches, *, owner_deleting: bool) -> ClaimPlan:
    """Which objects are the owner's. An owner on its way out neither adopts nor releases."""
    claimed, release = [], []
    for obj in owned:
        if matches(meta.labels(obj)):
            claimed.append(obj)
        elif not owner_deleting:
            release.append(obj)
    if owner_deleting:
        return ClaimPlan(claimed)
    adopt = [obj for obj in orphans if meta.deletion_timestamp(obj) is None and matches(meta.labels(obj))]
    return ClaimPlan(claimed, adopt, release)


def controller_reference(owner: Any, resource: str) -> OwnerReference:
    """The owner reference that makes `owner` (of that resource) somebody's controller."""
    type_ = resource_for(resource)
    return OwnerReference(
        api_version=f"{type_.group}/{type_.version}" if type_.group else type_.version,
        kind=type_.kind,
        name=meta.name(owner),
        uid=meta.uid(owner),
        controller=True,
        block_owner_deletion=True,
    )


async def carry_out_claims(
    client: Client, owner: Any, owner_resource: str, dependent_resource: str, plan: ClaimPlan
) -> list[Any]:
    """Adopts and releases as planned; returns everything the owner has then.

    Before the first adoption the owner is read live: one that is being deleted, or was made anew, adopts nothing.
    """
    mine = list(plan.claimed)
    if plan.adopt:
        live = await client.get(owner_resource, meta.name(owner), meta.namespace(owner))
        if meta.uid(live) != meta.uid(owner) or meta.deletion_timestamp(live) is not None:
            return mine
    reference = controller_reference(owner, owner_resource)
    for obj in plan.adopt:
        references = [*meta.owner_references(obj), reference]
        adopted = await _set_owners(client, dependent_resource, obj, references)
        if adopted is not None:
            mine.append(adopted)
    for obj in plan.release:
        references = [each for each in meta.owner_references(obj) if each.uid != meta.uid(owner)]
        await _set_owners(client, dependent_resource, obj, references)
    return mine


async def _set_owners(client: Client, resource: str, obj: Any, references: Sequence[OwnerReference]) -> Any | None:
    """Writes the owner references if the object is still the one that was looked at; None when it is gone."""
    patch = {
        "metadata": {
            "uid": meta.uid(obj),
            "resourceVersion": meta.resource_version(obj),
            "ownerReferences": [msgspec.to_builtins(reference) for reference in references] or None,
        }
    }
    try:
        return await client.patch(resource, meta.name(obj), patch, meta.namespace(obj), type="merge")
    except StatusError as error:
        if is_not_found(error):
            return None
        raise
