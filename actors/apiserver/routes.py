"""Which resources are served, and where each is stored. Built-in kinds come from the registry at their first use."""

from collections.abc import Mapping
from typing import Any

from kubeloop.actors.apiserver import stored_resources
from kubeloop.actors.apiserver.admission.plugins import ON_REMEMBERED
from kubeloop.actors.apiserver.call import Route
from kubeloop.actors.apiserver.conversion import CONVERSIONS
from kubeloop.actors.apiserver.leases import Leases
from kubeloop.actors.apiserver.outcomes import Outcomes
from kubeloop.actors.apiserver.registry import nulls
from kubeloop.actors.apiserver.registry.catalog import SERVED, kind_for
from kubeloop.actors.apiserver.registry.kind import Kind
from kubeloop.actors.apiserver.resource_store import ResourceStore
from kubeloop.actors.apiserver.storage import Storage

# the field by which a resource's watchers and lists are indexed
INDEXED_FIELDS = {"pods": "spec.nodeName"}
VIRTUAL_ONLY = frozenset({"create"})
UNSTORED = frozenset({"componentstatuses"})


class Routes:
    """`by_name`: (group, version, plural) -> Route. `stores_by_plural`: "plural.group" as strategies look up.

    `leases`: storage prefix -> the leases of its objects, which expire.
    """

    def __init__(self, storage: Storage, leases: Mapping[str, Leases]) -> None:
        self.storage = storage
        self.leases = leases
        self.by_name: dict[tuple[str, str, str], Route] = {}
        self.stores_by_plural: dict[str, ResourceStore] = {}
        own = stored_resources.STORED_RESOURCES
        store = storage.add(stored_resources.StoredResources(storage))
        self.by_name[own.group, own.version, own.plural] = Route(stored_resources.KIND, store)

    def find(self, group: str, version: str, plural: str) -> Route | None:
        """The route of a built-in resource, None when it is not served."""
        name = (group, version, plural)
        route = self.by_name.get(name)
        if route is None:
            kind = kind_for(group, version, plural)
            if kind is None:
                return None
            route = self.by_name[name] = self._route(kind)
        return route

    def has_group(self, group: str) -> bool:
        """Whether a group is built in: all paths below it are answered in Statuses."""
        return any(one.resource.group == group for one in SERVED)

    def has_version(self, group: str, version: str) -> bool:
        """Whether anything of a group and version is served."""
        return any(one.resource.group == group and one.resource.version == version for one in SERVED)

    async def load(self, group: str, version: str, plural: str) -> None:
        """Fill the cache of a resource that is certain to be needed."""
        route = self.find(group, version, plural)
        assert route is not None and route.store is not None
        await route.store.load()

    def _route(self, kind: Kind) -> Route:
        own = kind.resource
        if set(kind.verbs) <= VIRTUAL_ONLY or own.plural in UNSTORED:
            return Route(kind, None)
        conversion = CONVERSIONS.get((own.group, own.version, own.plural))
        if conversion is not None:
            stored_as = kind_for(*conversion.stored_as)
            assert stored_as is not None
            base = self.find(*conversion.stored_as)
            assert base is not None
            return Route(
                kind,
                base.store,
                to_storage=conversion.to_storage,
                from_storage=conversion.from_storage,
                stored_kind=stored_as,
            )
        route = Route(kind, self.store_of(kind))
        if kind.spec_decides:
            route.outcomes = Outcomes(ON_REMEMBERED[kind.resource.group, kind.resource.plural])
        return route

    def store_of(self, kind: Kind) -> ResourceStore:
        field = INDEXED_FIELDS.get(kind.resource.plural, "") if not kind.resource.group else ""
        getter = kind.selectable_fields[field] if field else None
        prefix = kind.storage_prefix or kind.resource.plural
        type_: Any = kind.resource.type
        store = ResourceStore(
            self.storage,
            prefix,
            namespaced=kind.resource.namespaced,
            type=type_,
            index_field=field,
            index_value=getter,
        )
        store.leases = self.leases.get(prefix)
        if kind.nulls:
            store.encode = nulls.encoder(store.encode, kind.nulls)
        return self.storage.add(store)
