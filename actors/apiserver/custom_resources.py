"""CustomResourceDefinitions at work: each establishes routes to a store of its own; its objects are plain dicts.

The definitions' cache tells of every change synchronously, so a resource is served from the moment its definition is
stored. What has to be written (names accepted, clean-up when a definition goes) the API server tells itself to do.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from kubeloop.actors.api import codec, meta
from kubeloop.actors.api.errors import FieldError
from kubeloop.actors.api.resources import ResourceType
from kubeloop.actors.apiserver import crd_schema, crd_validation, limits
from kubeloop.actors.apiserver.call import Call, Route
from kubeloop.actors.apiserver.crd_names import established, settled, with_conditions
from kubeloop.actors.apiserver.messages import Request, UserInfo, WatchEvent
from kubeloop.actors.apiserver.registry.catalog import Served
from kubeloop.actors.apiserver.registry.kind import Kind, StrategyContext, Subresource
from kubeloop.actors.apiserver.resource_store import ResourceStore
from kubeloop.actors.apiserver.watchers import Watcher

if TYPE_CHECKING:
    from kubeloop.actors.apiserver.actor import ApiServer

GROUP = "apiextensions.k8s.io"
PLURAL = "customresourcedefinitions"
CLEANUP = "customresourcecleanup.apiextensions.k8s.io"
CONTROLLER = UserInfo("system:apiserver", ("system:masters",))


class Establish(msgspec.Struct, frozen=True):
    """Told by the API server to itself: accept the names of a definition."""

    name: str


class CleanUp(msgspec.Struct, frozen=True):
    """Told by the API server to itself: delete the objects of a definition that goes, then let it go."""

    name: str


class Describe(msgspec.Struct, frozen=True):
    """Asked of the API server by what stands before it. Answer: CustomDescription."""


class CustomDescription(msgspec.Struct, frozen=True):
    """`schemas`: (Served row, schema) of each version; `columns`: (group, version, plural) -> printer columns."""

    schemas: Sequence[tuple[Served, dict[str, Any]]]
    columns: dict[tuple[str, str, str], Any]


def served(kind: Kind) -> Served:
    return Served(kind.resource, tuple(sorted(kind.verbs)), kind.subresources, kind.storage_prefix)


class CustomResources:
    """Follows the definitions. `start` once; then routes appear in `server.routes` and go from it."""

    def __init__(self, server: "ApiServer") -> None:
        self._server = server
        self._routes: dict[str, list[tuple[str, str, str]]] = {}
        self._stores: dict[str, ResourceStore] = {}
        self._started = False

    async def start(self) -> None:
        """Load the definitions that are there, and follow them."""
        if self._started:
            return
        self._started = True
        route = self._server.resources.find(GROUP, "v1", PLURAL)
        assert route is not None and route.store is not None
        await route.store.load()
        for entry in route.store.cache.select():
            self._serve(entry.object)
        route.store.cache.watchers.add(Watcher(self))

    def on_event(self, event: WatchEvent) -> None:
        name = meta.name(event.object)
        if event.type == "DELETED":
            self._forget(name)
            self._reconsider(event.object.spec.group)
        else:
            self._serve(event.object)

    def on_closed(self, error: Exception | None) -> None:
        for name in list(self._routes):
            self._forget(name)
        self._started = False

    def _serve(self, crd: Any) -> None:
        name = meta.name(crd)
        going = crd.metadata.deletion_timestamp is not None
        if going and CLEANUP in crd.metadata.finalizers:
            self._tell(CleanUp(name))
        elif not settled(crd):
            self._tell(Establish(name))
        spec = crd.spec
        store = self._stores.get(name)
        if store is None:
            prefix = f"{spec.group}/{spec.names.plural}"
            namespaced = spec.scope == "Namespaced"
            store = ResourceStore(self._server.storage, prefix, namespaced=namespaced, type=None)
            self._stores[name] = self._server.storage.add(store)
        for key in self._routes.get(name, ()):
            self._server.routes.pop(key, None)
        keys = []
        if established(crd):
            stored_version = next((version.name for version in spec.versions if version.storage), "")
            for version in spec.versions:
                if version.served:
                    key = (spec.group, version.name, spec.names.plural)
                    self._server.routes[key] = route_of(crd, version, store, stored_version, going)
                    keys.append(key)
        self._routes[name] = keys

    def _forget(self, name: str) -> None:
        for key in self._routes.pop(name, ()):
            self._server.routes.pop(key, None)
        store = self._stores.pop(name, None)
        if store is not None:
            self._server.storage.remove(store)

    def described(self) -> "CustomDescription":
        """For discovery, OpenAPI and tables: what is served of custom resources."""
        schemas, columns = [], {}
        for name, keys in self._routes.items():
            entry = self._definitions().cache.get(name)
            if entry is None:
                continue
            for version in entry.object.spec.versions:
                key = (entry.object.spec.group, version.name, entry.object.spec.names.plural)
                if key not in keys:
                    continue
                route = self._server.routes[key]
                schemas.append((served(route.own_kind), schema_of(version)))
                columns[key] = [codec.to_builtins(column) for column in version.additional_printer_columns]
        return CustomDescription(tuple(schemas), columns)

    def _tell(self, message: Any) -> None:
        self._server.self_ref.tell_nowait(message)

    # what is written

    async def establish(self, name: str) -> None:
        """Accept the names, unless another definition of the group has them."""
        store = self._definitions()
        for _ in range(limits.patch_retries_max):
            entry = store.cache.get(name)
            if entry is None or settled(entry.object):
                return
            others = [one.object for one in store.cache.select() if one.key != name]
            crd = with_conditions(entry.object, others, self._server.context.clock.now_rfc3339())
            if crd is entry.object:
                return
            crd = replace(crd, metadata=replace(crd.metadata, resource_version=None))
            if await store.replace(entry, crd) is not None:
                return self._reconsider(crd.spec.group)

    def _reconsider(self, group: str) -> None:
        """Names of the group may have become free: whoever waits for some looks again."""
        for entry in self._definitions().cache.select():
            if entry.object.spec.group == group and not settled(entry.object):
                self._tell(Establish(meta.name(entry.object)))

    async def clean_up(self, name: str) -> None:
        """Delete every object; when none is left, take the finalizer away."""
        from kubeloop.actors.apiserver.handlers import delete

        definitions, store = self._definitions(), self._stores.get(name)
        entry = definitions.cache.get(name)
        if entry is None or store is None:
            return
        await store.load()
        crd = entry.object
        stored = next((version for version in crd.spec.versions if version.storage), crd.spec.versions[0])
        route = route_of(crd, stored, store, stored.name, True)
        request = Request("delete", crd.spec.group, stored.name, crd.spec.names.plural, user=CONTROLLER)
        for one in list(store.cache.select()):
            if meta.deletion_timestamp(one.object) is None:
                call = Call(self._server, request, route, CONTROLLER)
                call.namespace, call.name = one.namespace, one.key.rpartition("/")[2]
                await delete.delete_entry(call, one, delete.NO_DELETE_OPTIONS)
        if store.cache.entries:
            self._wait_until_empty(name, store)
            return
        kept = tuple(finalizer for finalizer in crd.metadata.finalizers if finalizer != CLEANUP)
        if kept:
            metadata = replace(crd.metadata, finalizers=kept, resource_version=None)
            await definitions.replace(entry, replace(crd, metadata=metadata))
        else:
            await definitions.delete(entry)

    def _wait_until_empty(self, name: str, store: ResourceStore) -> None:
        sink = WhenEmpty(store, lambda: self._tell(CleanUp(name)))
        if not any(isinstance(watcher.sink, WhenEmpty) for watcher in store.cache.watchers):
            sink.watcher = Watcher(sink)
            store.cache.watchers.add(sink.watcher)

    def _definitions(self) -> ResourceStore:
        route = self._server.resources.find(GROUP, "v1", PLURAL)
        assert route is not None and route.store is not None
        return route.store


class WhenEmpty:
    """A watch sink that calls once, when the resource's last object is gone."""

    def __init__(self, store: ResourceStore, call: Callable[[], None]) -> None:
        self._store = store
        self._call = call
        self.watcher: Watcher | None = None

    def on_event(self, event: WatchEvent) -> None:
        if not self._store.cache.entries and self.watcher is not None:
            self._store.cache.watchers.remove(self.watcher)
            self._call()

    def on_closed(self, error: Exception | None) -> None:
        pass


# pure


def route_of(crd: Any, version: Any, store: ResourceStore, stored_version: str, going: bool) -> Route:
    kind = kind_of(crd, version)
    api_version = f"{crd.spec.group}/{version.name}"
    stored_api_version = f"{crd.spec.group}/{stored_version}"
    to_storage = from_storage = None
    if version.name != stored_version:
        to_storage = in_version(stored_api_version)
    if any(other.name != stored_version for other in crd.spec.versions):
        from_storage = in_version(api_version)
    schema = None
    if version.schema is not None and version.schema.open_api_v3_schema is not None:
        from kubeloop.actors.apiserver.merge_schema import schema_of_openapi

        schema = schema_of_openapi(schema_of(version))
    route = Route(kind, store, to_storage=to_storage, from_storage=from_storage, schema=schema)
    route.prune = Pruner(schema_of(version))
    route.terminating = going
    return route


def in_version(api_version: str) -> Callable[[Any], Any]:
    """Conversion strategy None: only the apiVersion changes."""
    return lambda obj: obj if obj.get("apiVersion") == api_version else {**obj, "apiVersion": api_version}


class Pruner:
    """What drops from an object the fields that its schema does not know."""

    __slots__ = ("schema",)

    def __init__(self, schema: crd_schema.Schema) -> None:
        self.schema = schema

    def __call__(self, obj: Any) -> tuple[Any, list[str]]:
        return crd_schema.prune(obj, self.schema)


def schema_of(version: Any) -> dict[str, Any]:
    if version.schema is None or version.schema.open_api_v3_schema is None:
        return {"type": "object", crd_schema.PRESERVE: True}
    found: dict[str, Any] = codec.to_builtins(version.schema.open_api_v3_schema)
    return found


def kind_of(crd: Any, version: Any) -> Kind:
    """The registry entry of a custom resource at one version."""
    spec, names = crd.spec, crd.spec.names
    resource = ResourceType(
        spec.group,
        version.name,
        names.kind,
        names.plural,
        names.singular or names.kind.lower(),
        tuple(names.short_names),
        tuple(names.categories),
        spec.scope == "Namespaced",
        None,
    )
    schema = schema_of(version)
    subresources = version.subresources
    has_status = subresources is not None and subresources.status is not None
    declared = []
    scale: dict[str, Any] = {}
    if subresources is not None and subresources.scale is not None:
        paths = subresources.scale
        declared.append(Subresource("scale", ("get", "patch", "update"), "Scale", "autoscaling", "v1"))
        scale = {
            "specReplicas": paths.spec_replicas_path,
            "statusReplicas": paths.status_replicas_path,
            "selector": paths.label_selector_path or ".",
        }
    if has_status:
        declared.append(Subresource("status", ("get", "patch", "update")))

    def validate(obj: Any) -> Sequence[FieldError]:
        return crd_validation.validate(obj, schema, scale)

    def validate_update(new: Any, old: Any) -> Sequence[FieldError]:
        return crd_validation.validate(new, schema, scale, old)

    return Kind(
        resource=resource,
        subresources=tuple(declared),
        storage_prefix=f"{spec.group}/{names.plural}",
        default=lambda obj: crd_schema.default(obj, schema),
        prepare_for_create=drop_status if has_status else None,
        prepare_for_update=keep_status if has_status else None,
        validate=validate,
        validate_update=validate_update,
        validate_status_update=validate_update,
        selectable_fields={
            field.json_path.removeprefix("."): getter(field.json_path) for field in version.selectable_fields
        },
        has_status=has_status,
        tracks_generation=True,
        unconditional_update=False,
        scale=scale,
        deprecation_warnings=deprecation_of(crd, version),
    )


def deprecation_of(crd: Any, version: Any) -> Sequence[str]:
    """What every answer in a deprecated version warns of."""
    if not version.deprecated:
        return ()
    return (version.deprecation_warning or f"{crd.spec.group}/{version.name} {crd.spec.names.kind} is deprecated",)


def drop_status(obj: Any, context: StrategyContext) -> Any:
    return {key: value for key, value in obj.items() if key != "status"}


def keep_status(new: Any, old: Any, context: StrategyContext) -> Any:
    kept = {key: value for key, value in new.items() if key != "status"}
    return {**kept, "status": old["status"]} if "status" in old else kept


def getter(json_path: str) -> Callable[[Any], str]:
    parts = json_path.strip(".").split(".")

    def get(obj: Any) -> str:
        for part in parts:
            if not isinstance(obj, dict) or part not in obj:
                return ""
            obj = obj[part]
        if isinstance(obj, bool):
            return "true" if obj else "false"
        return str(obj)

    return get
