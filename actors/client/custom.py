"""Which custom resources a cluster has, as its CustomResourceDefinitions say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from kubeloop.actors.api.resources import ResourceType, UnknownResource, resource_for

if TYPE_CHECKING:
    from kubeloop.actors.client.client import Client

DEFINITIONS = resource_for("customresourcedefinitions")


class CustomResources:
    """Remembers what it found; what is not known is looked for in the cluster once more each time."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._known: dict[Any, ResourceType] = {}

    async def find(self, what: Any) -> ResourceType:
        """By (apiVersion, kind), an object, or a name as resource_for takes it. Raises UnknownResource."""
        key = self._key(what)
        if key not in self._known:
            definitions = (await self._client.list(DEFINITIONS)).items
            self._known = {}
            for definition in definitions:
                for resource in resources_of(definition):
                    for name in _names(resource):
                        self._known.setdefault(name, resource)
        if key not in self._known:
            resource_for(what)  # says what is wrong
        return self._known[key]

    def _key(self, what: Any) -> Any:
        if isinstance(what, str):
            return what.lower()
        if isinstance(what, Mapping):
            return (str(what.get("apiVersion", "")), str(what.get("kind", "")))
        if isinstance(what, tuple):
            return what
        raise UnknownResource(f"{what!r:.100} names no resource: give a type, a plural name, or an object")


def resources_of(definition: Any) -> Iterator[ResourceType]:
    """What a definition serves: its storage version first, then the others."""
    names = definition.spec.names
    for version in sorted(definition.spec.versions, key=lambda each: not each.storage):
        if version.served:
            yield ResourceType(
                group=definition.spec.group or "",
                version=version.name or "",
                kind=names.kind,
                plural=names.plural,
                singular=names.singular or names.kind.lower(),
                short_names=tuple(names.short_names),
                categories=tuple(names.categories),
                namespaced=definition.spec.scope == "Namespaced",
            )


def _names(resource: ResourceType) -> Iterator[Any]:
    yield resource.api_version, resource.kind
    for name in (resource.plural, resource.singular, resource.kind.lower(), *resource.short_names):
        yield f"{name}.{resource.version}.{resource.group}"
        yield f"{name}.{resource.group}"
        yield name
