"""Which names of a CustomResourceDefinition are its own, and whether it is established. Pure.

Follows the CustomResourceDefinition page: names that another definition of the group has already are not accepted, the
others are; a definition is served from when all its names were accepted once.
"""

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from kubeloop.actors.api.errors import quoted

NO_CONFLICTS = ("True", "NoConflicts", "no conflicts found")
NOT_ACCEPTED = ("False", "NotAccepted", "not all names are accepted")
ESTABLISHED = ("True", "InitialNamesAccepted", "the initial names have been accepted")


def established(crd: Any) -> bool:
    status = crd.status
    return status is not None and any(one.type == "Established" and one.status == "True" for one in status.conditions)


def settled(crd: Any) -> bool:
    """Whether it is established and has the names that it asks for."""
    return established(crd) and crd.status.accepted_names == crd.spec.names


def with_conditions(crd: Any, others: Sequence[Any], now: str) -> Any:
    """The definition with the names that it may have, and what stands in the way of the rest; itself if nothing is new.

    `others`: all other definitions. `now`: RFC 3339.
    """
    from kubeloop.actors.api.apiextensions_v1 import CustomResourceDefinitionStatus as Status

    status = crd.status if crd.status is not None else Status()
    names, reason, text = accepted(crd, status.accepted_names, others)
    outcome = ("False", reason, text) if reason else NO_CONFLICTS
    conditions = with_condition(status.conditions, "NamesAccepted", outcome, now)
    if not established(crd):
        conditions = with_condition(conditions, "Established", NOT_ACCEPTED if reason else ESTABLISHED, now)
    if names == status.accepted_names and conditions is status.conditions:
        return crd
    stored = (*status.stored_versions, *(one.name for one in crd.spec.versions if one.storage))
    stored_versions = tuple(dict.fromkeys(stored))
    return replace(
        crd, status=replace(status, accepted_names=names, conditions=conditions, stored_versions=stored_versions)
    )


def accepted(crd: Any, before: Any, others: Sequence[Any]) -> tuple[Any, str, str]:
    """(accepted names, reason and message of the last conflict or "")."""
    from kubeloop.actors.api.apiextensions_v1 import CustomResourceDefinitionNames as Names

    resources, kinds = taken_names(crd.spec.group, others)
    wanted, found = crd.spec.names, before if before is not None else Names(kind="", plural="")
    conflict = ("", "")
    for field, reason, used in (
        ("plural", "PluralConflict", resources),
        ("singular", "SingularConflict", resources),
        ("short_names", "ShortNamesConflict", resources),
        ("kind", "KindConflict", kinds),
        ("list_kind", "ListKindConflict", kinds),
    ):
        value, had = getattr(wanted, field), getattr(found, field)
        if field == "short_names":
            own = (*found.short_names, found.plural, found.singular)
            clashes = [name for name in value if name not in own and name in used]
        else:
            clashes = [value] if value != had and value in used else []
        if clashes:
            texts = [f"{quoted(name)} is already in use" for name in clashes]
            conflict = (reason, texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]")
        else:
            found = replace(found, **{field: value})
    return replace(found, categories=wanted.categories), *conflict


def taken_names(group: str, others: Sequence[Any]) -> tuple[set[str], set[str]]:
    """The names of resources and the names of kinds that other definitions of the group have."""
    resources: set[str] = set()
    kinds: set[str] = set()
    for other in others:
        names = other.status.accepted_names if other.status is not None else None
        if other.spec.group == group and names is not None:
            resources.update((names.plural or "", names.singular or "", *names.short_names))
            kinds.update((names.kind or "", names.list_kind or ""))
    return resources - {""}, kinds - {""}


def with_condition(conditions: Sequence[Any], name: str, outcome: tuple[str, str, str], now: str) -> Sequence[Any]:
    """`conditions` with this one replaced in its place or added; the very same when it says so already."""
    from kubeloop.actors.api.apiextensions_v1 import CustomResourceDefinitionCondition as Condition

    status, reason, message = outcome
    for index, one in enumerate(conditions):
        if one.type != name:
            continue
        if (one.status, one.reason, one.message) == outcome:
            return conditions
        changed = now if one.status != status else one.last_transition_time
        new = replace(one, status=status, reason=reason, message=message, last_transition_time=changed)
        return (*conditions[:index], new, *conditions[index + 1 :])
    return (
        *conditions,
        Condition(type=name, status=status, reason=reason, message=message, last_transition_time=now),
    )
