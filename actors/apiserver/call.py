"""A request on its way through the chain, and the resources that requests find."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kubeloop.actors.api import errors
from kubeloop.actors.apiserver.messages import Request, UserInfo
from kubeloop.actors.apiserver.registry.kind import Kind, StrategyContext
from kubeloop.actors.apiserver.resource_store import ResourceStore

if TYPE_CHECKING:
    from kubeloop.actors.apiserver.actor import ApiServer
    from kubeloop.actors.apiserver.outcomes import Outcomes


PAGE_NOT_FOUND = "404 page not found"


def unknown_resource(known_group: bool) -> errors.StatusError:
    """404 for a resource that is not served; of a group that is not built in, HTTP says only: no such page."""
    text = "the server could not find the requested resource" if known_group else PAGE_NOT_FOUND
    return errors.failure(404, "NotFound", text, {})


class NeedsCache(Exception):
    """A strategy looked at a resource that nobody had used yet: load it, and run the handler again."""

    def __init__(self, store: ResourceStore) -> None:
        super().__init__(store.prefix)
        self.store = store


class Route:
    """A served resource: its registry entry and its store (None for what is answered and not stored).

    `kind` is the path's entry; its functions take the stored shape. `stored_resource` names what is stored in errors.
    `to_storage` and `from_storage` convert where another version of the kind is the stored one.
    """

    __slots__ = (
        "api_version",
        "from_storage",
        "kind",
        "outcomes",
        "own_kind",
        "prune",
        "resource",
        "schema",
        "store",
        "stored_resource",
        "subresources",
        "terminating",
        "to_storage",
        "verbs",
    )

    def __init__(
        self,
        kind: Kind,
        store: ResourceStore | None,
        *,
        to_storage: Callable[[Any], Any] | None = None,
        from_storage: Callable[[Any], Any] | None = None,
        stored_kind: Kind | None = None,
        schema: Any = None,
    ) -> None:
        self.kind = kind
        self.stored_resource = (stored_kind if stored_kind is not None else kind).resource
        self.own_kind = kind
        self.outcomes: Outcomes | None = None  # what creates made of specs; where the kind lets that be remembered
        self.resource = kind.resource
        self.schema = schema if schema is not None else kind.resource.type  # how patches and applies merge
        self.store = store
        self.verbs = frozenset(kind.verbs)
        self.subresources: Mapping[str, Sequence[str]] = {one.name: tuple(one.verbs) for one in kind.subresources}
        group, version = kind.resource.group, kind.resource.version
        self.api_version = f"{group}/{version}" if group else version
        self.to_storage = to_storage
        self.from_storage = from_storage
        # custom resources: drops what the schema does not know; their definition is going
        self.prune: Callable[[Any], tuple[Any, list[str]]] | None = None
        self.terminating = False


class Call:
    """One request with what it was resolved to. `warnings` collects what the answer's Warning headers say."""

    __slots__ = ("kind", "name", "namespace", "request", "route", "server", "stored", "user", "warnings")

    def __init__(self, server: "ApiServer", request: Request, route: Route, user: UserInfo) -> None:
        self.server = server
        self.request = request
        self.route = route
        self.kind = route.kind
        self.stored = route.store
        self.user = user
        self.namespace = request.namespace
        self.name = request.name
        self.warnings: list[str] = list(route.kind.deprecation_warnings)

    @property
    def store(self) -> ResourceStore:
        assert self.stored is not None
        return self.stored

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}" if self.route.resource.namespaced else self.name

    def strategy_context(self, dry_run: bool = False) -> StrategyContext:
        server = self.server
        return StrategyContext(
            clock=server.context.clock,
            get=server.lookup,
            list=server.lookup_all,
            user=self.user.name,
            groups=self.user.groups,
            dry_run=dry_run,
        )
