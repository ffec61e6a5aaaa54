"""The way of every request, in order: who asks, may they, what is it, is its resource in memory, what does it do.

    authenticate -> authorize -> find the route -> fill its cache -> the handler of its verb and subresource

A handler of a write goes on: decode, default, admit, prepare, validate, store (handlers/write.py).
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

from kubeloop.actors.api import errors
from kubeloop.actors.api.errors import StatusError
from kubeloop.actors.apiserver import freshness
from kubeloop.actors.apiserver.authorization import authorize
from kubeloop.actors.apiserver.call import Call, NeedsCache, Route, unknown_resource
from kubeloop.actors.apiserver.handlers import delete, patch, read, subresources, watch, write
from kubeloop.actors.apiserver.messages import Request, Response, UserInfo, WatchHandle, WatchRequest
from kubeloop.actors.apiserver.rbac.authorizer import MASTERS

if TYPE_CHECKING:
    from kubeloop.actors.apiserver.actor import ApiServer

Handler = Callable[[Call], Awaitable[Response]]

HANDLERS: Mapping[tuple[str, str], Handler] = {
    ("get", ""): read.get,
    ("list", ""): read.list_,
    ("create", ""): write.create,
    ("update", ""): write.update,
    ("patch", ""): patch.patch,
    ("delete", ""): delete.delete,
    ("deletecollection", ""): delete.delete_collection,
    ("get", "status"): read.get,
    ("update", "status"): write.update_status,
    ("patch", "status"): patch.patch_status,
    **subresources.HANDLERS,
}


ITEM_VERBS = ("delete", "get", "patch", "update")
COLLECTION_VERBS = ("create", "deletecollection", "list")
NAMELESS = ("create", "list", "deletecollection", "watch")  # what is asked of a collection


async def handle(server: "ApiServer", request: Request) -> Response:
    """Answers one request, or raises StatusError."""
    user = authenticate(request)
    if not server.authorizer.always and MASTERS not in user.groups:
        await authorize(server, request, user)
    route = server.routes.get((request.group, request.version, request.resource))
    if route is None or (route.store is not None and not route.store.loaded):
        route = await loaded(server, request, route)
    call = Call(server, request, route, user)
    handler = HANDLERS.get((request.verb, request.subresource))
    if call.stored is None:
        handler = server.virtual_handler(request)
    if handler is None or not allowed(call.route, request):
        raise refused(call.route, request)
    if request.verb == "get" and (request.options or not server.storage.in_step) and call.stored is not None:
        version = request.options.get("resourceVersion", "")
        await freshness.refresh(call.stored, version, name=call.key)
    while True:
        try:
            return await handler(call)
        except NeedsCache as need:
            await need.store.load()
        except StatusError as error:
            if server.storage.in_step or error.code not in (404, 409) or request.verb in ("get", "list"):
                raise
            if not await freshness.caught_up(call, error):
                raise
        call.warnings.clear()


async def handle_watch(server: "ApiServer", message: WatchRequest) -> WatchHandle:
    """Opens one watch, or raises StatusError."""
    request = message.request
    user = authenticate(request)
    if not server.authorizer.always and MASTERS not in user.groups:
        await authorize(server, request, user)
    call = Call(server, request, await loaded(server, request, None), user)
    if call.stored is None or request.subresource or "watch" not in call.route.verbs:
        raise errors.method_not_supported()
    return await watch.open_watch(call, message.sink)


async def loaded(server: "ApiServer", request: Request, route: Route | None) -> Route:
    """The route of the resource, its objects in memory. Raises 404 for a resource that is not served."""
    if route is None:
        route = server.routes.get((request.group, request.version, request.resource))
    if route is None:
        route = await server.find_route(request.group, request.version, request.resource)
    if route.store is not None:
        await route.store.load()
    return route


def authenticate(request: Request) -> UserInfo:
    """In process the transport states the user; over HTTPS the gate found it. Raises 401 when there is none."""
    if request.user is None:
        raise errors.unauthorized()
    return request.user


def refused(route: Route, request: Request) -> errors.StatusError:
    """404 where there is no such path, 405 where there is and it does not do that."""
    resource = route.resource
    if resource.type_path is None:
        return refused_custom(route, request)
    if request.subresource:
        known = request.subresource in route.subresources
    elif request.name:
        known = not route.verbs.isdisjoint(ITEM_VERBS)
    else:
        known = not route.verbs.isdisjoint(COLLECTION_VERBS)
    outside = request.namespace if not resource.namespaced else not request.namespace and request.name
    if outside or not known:
        return unknown_resource(True)
    return errors.method_not_supported()


def refused_custom(route: Route, request: Request) -> errors.StatusError:
    resource = route.resource
    if request.namespace and not resource.namespaced:
        return unknown_resource(False)
    if resource.namespaced and not request.namespace and request.verb not in ("list", "watch"):
        return unknown_resource(False)
    if request.subresource and request.subresource not in route.subresources:
        return errors.not_found(resource.plural, request.name, resource.group)
    return errors.method_not_supported(resource.plural, resource.group, request.verb)


def allowed(route: Route, request: Request) -> bool:
    """Whether the resource has the verb here. Also refuses a namespace too many or too few."""
    if request.namespace and not route.resource.namespaced:
        return False
    if request.subresource:
        verbs = route.subresources.get(request.subresource)
        return verbs is not None and request.verb in verbs
    if request.verb not in route.verbs or bool(request.name) is (request.verb in NAMELESS):
        return False
    if route.resource.namespaced and not request.namespace:
        return request.verb in ("list", "watch")
    return True
