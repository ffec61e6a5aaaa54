"""ControllerRevisions: the numbered templates of a StatefulSet or DaemonSet, for `kubectl rollout history` and undo.

https://kubernetes.io/docs/tasks/manage-daemon/rollback-daemon-set/
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from kubeloop.actors.api import meta
from kubeloop.actors.api.apps_v1 import ControllerRevision, StatefulSet
from kubeloop.actors.api.core_v1 import PodTemplateSpec
from kubeloop.actors.api.errors import StatusError, is_already_exists, is_not_found
from kubeloop.actors.api.meta_v1 import ObjectMeta
from kubeloop.actors.client.client import Client
from kubeloop.actors.client.informer import Informer
from kubeloop.actors.controller_manager import indexes, ownership
from kubeloop.actors.controller_manager.rollout_revisions import FNV_PRIME, FNV_START, safe_letters, template_hash

HASH_LABEL = "controller-revision-hash"
REVISIONS = "controllerrevisions.apps"
NAME_CHARACTERS_MAX = 223  # of the owner's, in a revision's name

_sorted = msgspec.json.Encoder(order="sorted")


def revision_name(owner: Any) -> str:
    """The name of the revision of the owner's present template."""
    collisions = owner.status.collision_count
    if isinstance(owner, StatefulSet):
        return f"{meta.name(owner)[:NAME_CHARACTERS_MAX]}-{data_hash(owner.spec.template, collisions or 0)}"
    return f"{meta.name(owner)}-{template_hash(owner.spec.template, collisions)}"


def data_hash(template: PodTemplateSpec, collision_count: int) -> str:
    """The hash of a StatefulSet's revision: of its data's JSON as Go writes it, FNV-1 in 32 bits."""
    document = _sorted.encode({"spec": {"template": {**msgspec.to_builtins(template), "$patch": "replace"}}})
    for character in (b"<", b">", b"&", "\u2028".encode(), "\u2029".encode()):
        document = document.replace(character, b"\\u%04x" % ord(character.decode()))
    number = FNV_START
    for byte in document + str(collision_count).encode():
        number = (number * FNV_PRIME & 0xFFFFFFFF) ^ byte
    return safe_letters(number)


def hash_of(revision: str, owner: Any) -> str:
    return revision.rpartition("-")[2]


async def ensure_revision(client: Client, informer: Informer[Any], owner: Any, resource: str) -> str:
    """A ControllerRevision for the present template has the highest number; returns its name."""
    name = revision_name(owner)
    known: Sequence[Any] = informer.by_index(indexes.BY_CONTROLLER, meta.uid(owner) or "")
    highest = max((each.revision or 0 for each in known), default=0)
    existing = next((each for each in known if meta.name(each) == name), None)
    if existing is None:
        template = msgspec.to_builtins(owner.spec.template)
        made = ControllerRevision(
            metadata=ObjectMeta(
                name=name,
                namespace=meta.namespace(owner),
                labels={**meta.labels(owner.spec.template), HASH_LABEL: hash_of(name, owner)},
                owner_references=(ownership.controller_reference(owner, resource),),
            ),
            data={"spec": {"template": {**template, "$patch": "replace"}}},
            revision=highest + 1,
        )
        try:
            await client.create(made, meta.namespace(owner))
        except StatusError as error:
            if not is_already_exists(error):
                raise
    elif (existing.revision or 0) < highest:
        await client.update(msgspec.structs.replace(existing, revision=highest + 1))
    return name


async def trim_history(
    client: Client, informer: Informer[Any], owner: Any, in_use: Sequence[str], limit: int | None
) -> None:
    """Deletes the oldest revisions that nothing uses, beyond the limit."""
    known: Sequence[Any] = informer.by_index(indexes.BY_CONTROLLER, meta.uid(owner) or "")
    unused = sorted((each for each in known if meta.name(each) not in in_use), key=lambda each: each.revision or 0)
    for each in unused[: max(0, len(unused) - (10 if limit is None else limit))]:
        try:
            await client.delete(REVISIONS, meta.name(each), meta.namespace(each))
        except StatusError as error:
            if not is_not_found(error):
                raise
