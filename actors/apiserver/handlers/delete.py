"""delete and deletecollection: preconditions, grace, finalizers; what `deletion.plan` decides is carried out here."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from kubeloop.actors.api import errors
from kubeloop.actors.apiserver import deletion, freshness, limits, metadata
from kubeloop.actors.apiserver.admission import plugins
from kubeloop.actors.apiserver.answers import EntryListing
from kubeloop.actors.apiserver.bodies import (
    ACCEPTED,
    JSON,
    PROTOBUF,
    YAML,
    Expected,
    media_type,
    read_json,
    read_protobuf,
    read_yaml,
)
from kubeloop.actors.apiserver.call import Call
from kubeloop.actors.apiserver.handlers import read, write
from kubeloop.actors.apiserver.messages import Response
from kubeloop.actors.apiserver.options import NO_DELETE_OPTIONS as NO_DELETE_OPTIONS
from kubeloop.actors.apiserver.options import DeleteOptions, WriteOptions, delete_options, list_options
from kubeloop.actors.apiserver.selection import selection
from kubeloop.actors.apiserver.watch_cache import Entry


def expected_body() -> Expected:
    from kubeloop.actors.api.meta_v1 import DeleteOptions

    return Expected("", "v1", "DeleteOptions", DeleteOptions, unversioned=True)


READERS = {JSON: read_json, YAML: read_yaml, PROTOBUF: read_protobuf}


async def delete(call: Call) -> Response:
    plugins.admit_delete(call)
    options = delete_options(call.request.options, body_of(call))
    entry = read.find(call)
    for _ in range(limits.delete_retries_max):
        found = await delete_entry(call, entry, options)
        if found is not None:
            return found
        entry = read.find(call)
    raise write.conflict(call)


def body_of(call: Call) -> dict[str, Any] | None:
    """DeleteOptions as builtins: from JSON or YAML, or in process as they are. None when there are none."""
    body = call.request.body
    if not body:
        return None
    if isinstance(body, bytes):
        type_ = media_type(call.request.content_type, JSON)
        if type_ not in READERS:
            raise errors.unsupported_media_type(
                f"the body of the request was in an unknown format - accepted media types include: {ACCEPTED}"
            )
        body = READERS[type_](body, expected_body(), "Ignore", [])
    if not isinstance(body, dict):
        body = msgspec.to_builtins(body)
    checked: dict[str, Any] = body
    return checked


async def delete_entry(call: Call, entry: Entry, options: DeleteOptions) -> Response | None:
    """One attempt. None: the object changed meanwhile, and no precondition forbids to try again."""
    kind = call.kind
    stored = entry.object
    current = metadata.current_metadata(stored)
    check_preconditions(call, current, options)
    now = call.server.context.clock.now()
    mark = MARKS.get((call.route.resource.group, call.route.resource.plural))
    if mark is not None:
        return await delete_by_controller(call, entry, options, mark)
    grace = deletion.grace_period_seconds(stored, options) if kind.graceful_deletion else None
    plan = deletion.plan(current, options, now=now, default=kind.default_delete_propagation, grace=grace)
    shown = stored if plan.metadata is None else metadata.with_metadata(stored, plan.metadata)
    if plan.remove:
        if not options.dry_run:
            if await call.store.delete(entry) is None:
                return None
            after_delete(call, stored)
        if kind.return_deleted_object:
            return Response(200, write.read_back(call, shown if grace is not None else stored), call.warnings)
        return Response(200, deleted_status(call, current.uid or ""), call.warnings)
    if plan.metadata is None:
        return read.answer(call, entry)
    return await write.store_update(call, entry, write.fresh(shown), WriteOptions(dry_run=options.dry_run))


def after_delete(call: Call, stored: Any) -> None:
    if call.kind.after_delete is not None:
        call.kind.after_delete(stored, call.strategy_context())


def check_preconditions(call: Call, current: Any, options: DeleteOptions) -> None:
    name = call.name
    kind = call.route.resource.kind
    if options.uid is not None and options.uid != current.uid:
        if kind == "Namespace":
            detail = f"Precondition failed: UID in precondition: {options.uid}, UID in object meta: {current.uid}"
            raise errors.conflict(call.route.resource.plural, name, detail)
        detail = (
            f"the UID in the precondition ({options.uid}) does not match the UID in record ({current.uid}). "
            "The object might have been deleted and then recreated"
        )
        raise errors.conflict(kind, name, detail)
    if options.resource_version is not None and options.resource_version != current.resource_version:
        detail = (
            f"the ResourceVersion in the precondition ({options.resource_version}) does not match the ResourceVersion "
            f"in record ({current.resource_version}). The object might have been modified"
        )
        raise errors.conflict(kind, name, detail)


async def delete_by_controller(
    call: Call, entry: Entry, options: DeleteOptions, mark: Callable[[Any, str], Any]
) -> Response | None:
    """For what is emptied before it goes: marked here; a controller takes the last finalizer away."""
    stored = entry.object
    marked = mark(stored, call.server.context.clock.now_rfc3339())
    current = metadata.current_metadata(marked)
    finalizers = deletion.garbage_collection_finalizers(tuple(current.finalizers), options, "Background")
    if not finalizers and not getattr(marked.spec, "finalizers", ()):
        if not options.dry_run and await call.store.delete(entry) is None:
            return None
        return Response(200, deleted_status(call, current.uid or ""), call.warnings)
    if finalizers != tuple(current.finalizers):
        marked = metadata.with_metadata(marked, msgspec.structs.replace(current, finalizers=finalizers))
    if marked is stored:
        return read.answer(call, entry)
    return await write.store_update(call, entry, write.fresh(marked), WriteOptions(dry_run=options.dry_run))


def mark_namespace(namespace: Any, now: str) -> Any:
    """A namespace is emptied by the namespace controller: Terminating until then."""
    if namespace.metadata.deletion_timestamp is not None:
        return namespace
    status = msgspec.structs.replace(namespace.status, phase="Terminating")
    own = msgspec.structs.replace(namespace.metadata, deletion_timestamp=now)
    return msgspec.structs.replace(namespace, metadata=own, status=status)


def mark_definition(crd: Any, now: str) -> Any:
    """A definition goes after its objects."""
    from kubeloop.actors.api.apiextensions_v1 import CustomResourceDefinitionCondition

    if crd.metadata.deletion_timestamp is not None:
        return crd
    finalizers = tuple(crd.metadata.finalizers)
    if CLEANUP not in finalizers:
        finalizers = (*finalizers, CLEANUP)
    own = msgspec.structs.replace(crd.metadata, deletion_timestamp=now, finalizers=finalizers)
    terminating = CustomResourceDefinitionCondition(
        type="Terminating",
        status="True",
        reason="InstanceDeletionPending",
        message="CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon",
        last_transition_time=now,
    )
    status = msgspec.structs.replace(crd.status, conditions=(*crd.status.conditions, terminating))
    return msgspec.structs.replace(crd, metadata=own, status=status)


CLEANUP = "customresourcecleanup.apiextensions.k8s.io"
# (group, plural) of what a controller empties before it goes
MARKS: Mapping[tuple[str, str], Callable[[Any, str], Any]] = {
    ("", "namespaces"): mark_namespace,
    ("apiextensions.k8s.io", "customresourcedefinitions"): mark_definition,
}


def deleted_status(call: Call, uid: str) -> dict[str, Any]:
    resource = call.route.resource
    details = {"name": call.name, "group": resource.group, "kind": resource.plural, "uid": uid}
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": {key: value for key, value in details.items() if value},
    }


async def delete_collection(call: Call) -> Response:
    """Delete what the selectors select; the answer lists it as it was."""
    options = list_options(call.request.options)
    wanted = selection(call.route, call.namespace, options)
    await freshness.refresh(call.store, "", namespace=call.namespace)
    deleting = delete_options(call.request.options, body_of(call))
    entries, _ = read.present(call, wanted, 0, "")
    deleted = []
    for entry in entries:
        one = Call(call.server, call.request, call.route, call.user)
        one.namespace = entry.namespace
        one.name = entry.key.rpartition("/")[2]
        latest = call.store.cache.entries.get(entry.key)
        while latest is not None and await delete_entry(one, latest, deleting) is None:
            latest = call.store.cache.entries.get(entry.key)
        if latest is not None:
            deleted.append(entry)
    convert = call.route.from_storage
    items = [entry.object if convert is None else convert(entry.object) for entry in deleted]
    revision = str(freshness.known_revision(call.store))
    kind, api_version = call.route.resource.kind, call.route.api_version
    listing = EntryListing(items, revision, "", None, deleted if convert is None else (), kind, api_version)
    return Response(200, listing, call.warnings)
