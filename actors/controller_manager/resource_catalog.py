"""Every resource whose objects can be listed and deleted: the built-in and the custom ones.

Known from the object model's own table and from the definitions, so that nothing has to be decoded to know it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kubeloop.actors.api import meta
from kubeloop.actors.api.resources import RESOURCES, ResourceType
from kubeloop.actors.client.informer import Informer
from kubeloop.actors.controller_manager.pod_facts import condition_of

# Asked, not kept: nothing to list or delete.
NOT_STORED = (
    "bindings",
    "componentstatuses",
    "localsubjectaccessreviews.authorization.k8s.io",
    "selfsubjectaccessreviews.authorization.k8s.io",
    "selfsubjectreviews.authentication.k8s.io",
    "selfsubjectrulesreviews.authorization.k8s.io",
    "subjectaccessreviews.authorization.k8s.io",
    "tokenreviews.authentication.k8s.io",
)
# The same objects under a second name.
SECOND_NAMES = ("events.events.k8s.io",)


def built_in() -> dict[str, ResourceType]:
    """Stored built-in resources by name, one version each (the table's first)."""
    found: dict[str, ResourceType] = {}
    for type_ in RESOURCES:
        name = type_.name
        if name not in NOT_STORED and name not in SECOND_NAMES:
            found.setdefault(name, type_)
    return found


def custom(definition: Any) -> ResourceType | None:
    """The resource that a definition serves, at its storage version; None until it is established."""
    established = condition_of(definition.status.conditions, "Established")
    if established is None or established.status != "True":
        return None
    spec = definition.spec
    versions = [version for version in spec.versions if version.served]
    if not versions:
        return None
    version = next((each for each in versions if each.storage), versions[0])
    return ResourceType(
        group=spec.group,
        version=version.name,
        kind=spec.names.kind,
        plural=spec.names.plural,
        singular=spec.names.singular or spec.names.kind.lower(),
        short_names=tuple(spec.names.short_names),
        categories=tuple(spec.names.categories),
        namespaced=spec.scope == "Namespaced",
        type_path=None,
    )


class ResourceCatalog:
    """The resources of this moment; `definitions` is the informer of CustomResourceDefinitions."""

    def __init__(self, definitions: Informer[Any]) -> None:
        self.built_in = built_in()
        self._kinds = {(type_.group, type_.kind): name for name, type_ in self.built_in.items()}
        self._definitions = definitions

    def all(self) -> Iterator[tuple[str, ResourceType]]:
        yield from self.built_in.items()
        yield from self.custom()

    def custom(self) -> Iterator[tuple[str, ResourceType]]:
        for definition in sorted(self._definitions.list(), key=lambda each: meta.name(each) or ""):
            type_ = custom(definition)
            if type_ is not None:
                yield type_.name, type_

    def of_kind(self, api_version: str, kind: str) -> tuple[str, ResourceType] | None:
        """The resource that an owner reference means; None when nobody serves it."""
        group = api_version.rpartition("/")[0]
        name = self._kinds.get((group, kind))
        if name is not None:
            return name, self.built_in[name]
        for name, type_ in self.custom():
            if type_.group == group and type_.kind == kind:
                return name, type_
        return None
