"""The typed client of the API server: what every process of the cluster, and every embedder, speaks through."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, overload

import msgspec

from kubeloop.actors.api import meta
from kubeloop.actors.api.resources import KNOWN_CLASSES, ResourceType, UnknownResource, resource_for
from kubeloop.actors.apiserver.messages import NO_OPTIONS, Request, Response, UserInfo
from kubeloop.actors.client.custom import CustomResources
from kubeloop.actors.client.options import delete_options, query_options, write_options
from kubeloop.actors.client.pods import PODS, PodCalls
from kubeloop.actors.client.stream import WatchStream
from kubeloop.actors.client.transport import InProcessTransport, Transport
from kubeloop.runtime.actor import ActorRef

if TYPE_CHECKING:
    from kubeloop.actors.apiserver.messages import WatchHandle, WatchSink

T = TypeVar("T")
PATCH_TYPES = {
    "strategic": "application/strategic-merge-patch+json",
    "merge": "application/merge-patch+json",
    "json": "application/json-patch+json",
    "apply": "application/apply-patch+yaml",
}


class ObjectList(msgspec.Struct, Generic[T], frozen=True):
    """What `list` answers: the objects, and the list's metadata."""

    items: Sequence[T]
    resource_version: str
    continue_: str = ""
    remaining_item_count: int | None = None


class Client(PodCalls):
    """One identity's way to one API server.

    `resource` is a type (`Pod`), a plural, singular or short name ("pods", "deployments.apps"), or an object.
    Names and objects of custom resources are looked up in the cluster's definitions; what is in neither raises
    UnknownResource. A namespace of None is "default" where one object is meant, and all namespaces for list and watch.
    Built-in objects come back as frozen Structs, custom resources as dicts. In process they are the API server's own.
    Every method raises StatusError with the API server's Status, or ConnectionError when none answers.

    >>> import asyncio
    >>> from kubeloop import Cluster
    >>> async def main():
    ...     settings = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"a": "1"}}
    ...     async with Cluster(nodes=0) as cluster:
    ...         await cluster.client.create(settings)
    ...         return (await cluster.client.get("configmaps", "settings")).data
    >>> asyncio.run(main())
    {'a': '1'}
    """

    def __init__(self, transport: Transport, *, user: UserInfo | None = None, user_agent: str = "kubeloop") -> None:
        self.transport = transport
        self.user = user
        self.user_agent = user_agent
        self._custom = CustomResources(self)

    @classmethod
    def in_process(
        cls,
        apiserver: ActorRef,
        *,
        user: str = "system:admin",
        groups: Sequence[str] = ("system:masters",),
        user_agent: str = "kubeloop",
    ) -> Self:
        """A client of an API server in this process, as the user it says to be."""
        info = UserInfo(name=user, groups=(*groups, "system:authenticated"))
        return cls(InProcessTransport(apiserver), user=info, user_agent=user_agent)

    def acting_as(self, user: UserInfo) -> Self:
        """Another client over the same connection, in process only: as that user."""
        return type(self)(self.transport, user=user, user_agent=self.user_agent)

    @classmethod
    async def from_kubeconfig(cls, path: str | Path, context: str | None = None) -> Self:
        """A client over HTTPS, for the current context of a kubeconfig or the one named.

        Raises FileNotFoundError, and ValueError for a file that is no kubeconfig or lacks what it refers to.
        """
        from kubeloop.actors.client.http import HttpTransport
        from kubeloop.actors.client.kubeconfig import load

        return cls(HttpTransport(load(Path(path), context)))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Closes the connections; watches of this client end."""
        await self.transport.aclose()

    async def resource(self, what: Any) -> ResourceType:
        """What a type, a name or an object means here: a built-in resource, or a custom one of this cluster.

        Raises UnknownResource (a ValueError).
        """
        try:
            return resource_for(what)
        except UnknownResource:
            return await self._custom.find(what)

    # reading

    @overload
    async def get(
        self,
        resource: type[T],
        name: str,
        namespace: str | None = None,
        *,
        subresource: str = "",
        resource_version: str | None = None,
    ) -> T: ...
    @overload
    async def get(
        self,
        resource: Any,
        name: str,
        namespace: str | None = None,
        *,
        subresource: str = "",
        resource_version: str | None = None,
    ) -> Any: ...
    async def get(
        self,
        resource: Any,
        name: str,
        namespace: str | None = None,
        *,
        subresource: str = "",
        resource_version: str | None = None,
    ) -> Any:
        options = query_options(resourceVersion=resource_version)
        request = self._request("get", await self.resource(resource), namespace, name, subresource, options)
        return (await self.transport.request(request)).body

    @overload
    async def list(
        self,
        resource: type[T],
        namespace: str | None = None,
        *,
        label_selector: str | None = None,
        field_selector: str | None = None,
        limit: int | None = None,
        continue_: str | None = None,
        resource_version: str | None = None,
        resource_version_match: str | None = None,
    ) -> ObjectList[T]: ...
    @overload
    async def list(
        self,
        resource: Any,
        namespace: str | None = None,
        *,
        label_selector: str | None = None,
        field_selector: str | None = None,
        limit: int | None = None,
        continue_: str | None = None,
        resource_version: str | None = None,
        resource_version_match: str | None = None,
    ) -> ObjectList[Any]: ...
    async def list(
        self,
        resource: Any,
        namespace: str | None = None,
        *,
        label_selector: str | None = None,
        field_selector: str | None = None,
        limit: int | None = None,
        continue_: str | None = None,
        resource_version: str | None = None,
        resource_version_match: str | None = None,
    ) -> ObjectList[Any]:
        options = {
            "labelSelector": label_selector,
            "fieldSelector": field_selector,
            "limit": limit,
            "continue": continue_,
            "resourceVersion": resource_version,
            "resourceVersionMatch": resource_version_match,
        }
        request = self._collection("list", await self.resource(resource), namespace, query_options(**options))
        body = (await self.transport.request(request)).body
        return ObjectList(body.items, body.resource_version, body.continue_, body.remaining_item_count)

    def watch(
        self,
        resource: Any,
        namespace: str | None = None,
        *,
        label_selector: str | None = None,
        field_selector: str | None = None,
        resource_version: str | None = None,
        timeout_seconds: int | None = None,
        allow_bookmarks: bool = False,
        send_initial_events: bool | None = None,
    ) -> WatchStream:
        """WatchEvents (`.type` ADDED, MODIFIED, DELETED, BOOKMARK, and `.object`) until the server ends the watch.

        A failure that comes through the watch is raised as StatusError (410 Expired: list again). A consumer that falls
        behind by limits.watch_events_buffered_max events loses the watch with a StatusError 429.
        """
        options = {
            "labelSelector": label_selector,
            "fieldSelector": field_selector,
            "resourceVersion": resource_version,
            "timeoutSeconds": timeout_seconds,
            "allowWatchBookmarks": allow_bookmarks or None,
            "sendInitialEvents": send_initial_events,
            "resourceVersionMatch": "NotOlderThan" if send_initial_events is not None else None,
        }

        async def open(sink: WatchSink) -> WatchHandle:
            return await self.open_watch(resource, namespace, sink, given)

        given = query_options(**options)
        return WatchStream(open)

    async def open_watch(
        self, resource: Any, namespace: str | None, sink: WatchSink, options: Mapping[str, str]
    ) -> WatchHandle:
        """A watch that pushes into `sink`, synchronously; what informers use. Options by their API names."""
        request = self._collection("watch", await self.resource(resource), namespace, options)
        return await self.transport.watch(request, sink)

    # writing

    async def create(
        self,
        obj: T,
        namespace: str | None = None,
        *,
        subresource: str = "",
        name: str = "",
        dry_run: bool = False,
        field_manager: str | None = None,
        field_validation: str | None = None,
    ) -> T:
        if dry_run or field_manager is not None or field_validation is not None:
            options = write_options(dry_run, field_manager, field_validation)
        else:
            options = NO_OPTIONS
        resource = KNOWN_CLASSES.get(type(obj))
        if resource is None:
            resource = await self.resource(obj)
        namespace = meta.namespace(obj) or namespace
        request = self._request("create", resource, namespace, name, subresource, options, body=obj)
        answer: T = (await self.transport.request(request)).body
        return answer

    async def update(
        self,
        obj: T,
        *,
        subresource: str = "",
        dry_run: bool = False,
        field_manager: str | None = None,
        field_validation: str | None = None,
    ) -> T:
        """Replaces the object. With its resource_version set, raises StatusError 409 when it has changed since."""
        options = write_options(dry_run, field_manager, field_validation)
        request = await self._of(obj, "update", subresource, options, obj)
        answer: T = (await self.transport.request(request)).body
        return answer

    async def update_status(self, obj: T, *, field_manager: str | None = None) -> T:
        return await self.update(obj, subresource="status", field_manager=field_manager)

    async def patch(
        self,
        resource: Any,
        name: str,
        patch: Any,
        namespace: str | None = None,
        *,
        type: str = "strategic",
        subresource: str = "",
        force: bool = False,
        dry_run: bool = False,
        field_manager: str | None = None,
        field_validation: str | None = None,
    ) -> Any:
        """Patches: `type` is "strategic", "merge", "json" (then `patch` is a list of operations) or "apply"."""
        if type not in PATCH_TYPES:
            raise ValueError(f"patch type {type!r}: one of {', '.join(PATCH_TYPES)}")
        found = await self.resource(resource)
        if type == "strategic" and found.type_path is None:
            type = "merge"  # custom resources know no strategic merge patch
        options = {**write_options(dry_run, field_manager, field_validation)}
        if type == "apply":
            options["force"] = str(force).lower()
            options.setdefault("fieldManager", "kubeloop")
        request = self._request(
            "patch", found, namespace, name, subresource, options, body=patch, content_type=PATCH_TYPES[type]
        )
        return (await self.transport.request(request)).body

    async def apply(
        self,
        obj: T,
        *,
        field_manager: str = "kubeloop",
        force: bool = False,
        subresource: str = "",
        dry_run: bool = False,
        field_validation: str | None = None,
    ) -> T:
        """Server-side apply. Raises StatusError 409 when another manager owns a field, unless `force`."""
        options = {**write_options(dry_run, field_manager, field_validation), "force": str(force).lower()}
        request = await self._of(obj, "patch", subresource, options, obj, PATCH_TYPES["apply"])
        answer: T = (await self.transport.request(request)).body
        return answer

    async def delete(
        self,
        resource: Any,
        name: str | None = None,
        namespace: str | None = None,
        *,
        grace_period_seconds: int | None = None,
        propagation_policy: str | None = None,
        preconditions: Mapping[str, str] | None = None,
        dry_run: bool = False,
    ) -> Any:
        """Deletes the object named, or `resource` itself when it is an object. Returns the object or a Status.

        propagation_policy: Background, Foreground or Orphan. preconditions: {"uid": ..., "resourceVersion": ...}.
        """
        if name is None:
            name, namespace = meta.name(resource), meta.namespace(resource) or namespace
        body = delete_options(grace_period_seconds, propagation_policy, preconditions)
        options = query_options(dryRun="All" if dry_run else None)
        request = self._request("delete", await self.resource(resource), namespace, name, "", options, body=body)
        return (await self.transport.request(request)).body

    async def delete_collection(
        self,
        resource: Any,
        namespace: str | None = None,
        *,
        label_selector: str | None = None,
        field_selector: str | None = None,
        grace_period_seconds: int | None = None,
        propagation_policy: str | None = None,
    ) -> Any:
        options = query_options(labelSelector=label_selector, fieldSelector=field_selector)
        request = self._collection("deletecollection", await self.resource(resource), namespace, options)
        body = delete_options(grace_period_seconds, propagation_policy, None)
        return (await self.transport.request(msgspec.structs.replace(request, body=body))).body

    # subresources

    async def bind(self, pod: Any, node_name: str) -> None:
        """Binds a pod to a node (pods/binding), as a scheduler does."""
        from kubeloop.actors.api.core_v1 import Binding, ObjectReference
        from kubeloop.actors.api.meta_v1 import ObjectMeta

        metadata = ObjectMeta(name=meta.name(pod), namespace=meta.namespace(pod), uid=meta.uid(pod))
        binding = Binding(metadata=metadata, target=ObjectReference(api_version="v1", kind="Node", name=node_name))
        await self.transport.request(await self._of(pod, "create", "binding", NO_OPTIONS, binding))

    async def evict(self, name: str, namespace: str | None = None, *, grace_period_seconds: int | None = None) -> Any:
        """Evicts a pod. Raises StatusError 429 while a PodDisruptionBudget forbids it."""
        eviction = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": name, "namespace": namespace or "default"},
        }
        if grace_period_seconds is not None:
            eviction["deleteOptions"] = {"gracePeriodSeconds": grace_period_seconds}
        request = self._request("create", PODS, namespace, name, "eviction", NO_OPTIONS, body=eviction)
        return (await self.transport.request(request)).body

    async def get_scale(self, resource: Any, name: str, namespace: str | None = None) -> Any:
        return await self.get(resource, name, namespace, subresource="scale")

    async def scale(self, resource: Any, name: str, replicas: int, namespace: str | None = None) -> Any:
        """Sets spec.replicas through the scale subresource."""
        patch = {"spec": {"replicas": replicas}}
        return await self.patch(resource, name, patch, namespace, type="merge", subresource="scale")

    async def raw(self, request: Request) -> Response:
        """Any request, sent as this client's user."""
        return await self.transport.request(msgspec.structs.replace(request, user=self.user))

    # building requests

    def _request(
        self,
        verb: str,
        resource: ResourceType,
        namespace: str | None,
        name: str,
        subresource: str,
        options: Mapping[str, str],
        *,
        body: Any = None,
        content_type: str = "application/json",
    ) -> Request:
        return Request(
            verb,
            resource.group,
            resource.version,
            resource.plural,
            (namespace or "default") if resource.namespaced else "",
            name,
            subresource,
            body,
            content_type,
            options,
            self.user,
            self.user_agent,
        )

    async def _of(
        self,
        obj: Any,
        verb: str,
        subresource: str,
        options: Mapping[str, str],
        body: Any,
        content_type: str = "application/json",
    ) -> Request:
        return self._request(
            verb,
            await self.resource(obj),
            meta.namespace(obj),
            meta.name(obj),
            subresource,
            options,
            body=body,
            content_type=content_type,
        )

    def _collection(
        self, verb: str, resource: ResourceType, namespace: str | None, options: Mapping[str, str]
    ) -> Request:
        return Request(
            verb=verb,
            group=resource.group,
            version=resource.version,
            resource=resource.plural,
            namespace=(namespace or "") if resource.namespaced else "",
            options=options,
            user=self.user,
            user_agent=self.user_agent,
        )
