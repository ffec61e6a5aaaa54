"""create and update: decode, default, admit, fill in, validate, write. Patches and status updates end here too."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from kubeloop.actors.api import errors
from kubeloop.actors.api.errors import FieldError
from kubeloop.actors.api.meta_v1 import ObjectMeta
from kubeloop.actors.apiserver import bodies, deletion, limits, metadata, ownership
from kubeloop.actors.apiserver.admission import plugins
from kubeloop.actors.apiserver.answers import EntryResponse
from kubeloop.actors.apiserver.bodies import Expected
from kubeloop.actors.apiserver.call import Call
from kubeloop.actors.apiserver.handlers import read
from kubeloop.actors.apiserver.messages import Response
from kubeloop.actors.apiserver.options import WriteOptions, write_options
from kubeloop.actors.apiserver.rbac.attributes import attributes_of
from kubeloop.actors.apiserver.registry.kind import Kind, StrategyContext
from kubeloop.actors.apiserver.sharing import shared
from kubeloop.actors.apiserver.watch_cache import Entry

replace = msgspec.structs.replace
NAMESPACE_MISMATCH = "the namespace of the provided object does not match the namespace sent on the request"
MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"

# (new object, stored object, context) -> the new object as it may be stored
Prepare = Callable[[Any, Any, StrategyContext], Any]
Validate = Callable[[Any, Any], Sequence[FieldError]]


def expected_body(call: Call) -> Expected:
    resource = call.route.resource
    return Expected(resource.group, resource.version, resource.kind, resource.type, call.route.prune)


async def create(call: Call) -> Response:
    options = write_options(call.request.options, "CreateOptions")
    obj = call.request.body
    if type(obj) is bytes or type(obj) is dict:
        obj = bodies.read(call.request, expected_body(call), options.field_validation, call.warnings)
    if call.route.to_storage is not None:
        obj = call.route.to_storage(obj)
    return await create_object(call, obj, options)


async def create_object(call: Call, obj: Any, options: WriteOptions, *, track: bool = True) -> Response:
    """From the decoded object on: also what an update or apply of a missing object becomes.

    `track`: whether the writer comes to own the fields (an apply has seen to that itself).
    """
    kind = call.kind
    if call.request.verb != "create" and not call.server.authorizer.always:
        await call.server.authorizer.check(call.user, attributes_of(call.request)._replace(verb="create"))
    given = metadata.current_metadata(obj)
    namespace = checked_namespace(call, given)
    version = given.resource_version
    if version and call.request.verb == "create" and version.strip("0").isdigit():
        raise errors.bad_request("resourceVersion should not be set on objects to be created")
    if call.name and given.name and given.name != call.name:
        raise name_mismatch(call, given.name)
    if call.route.terminating:
        text = "create not allowed while custom resource definition is terminating"
        raise errors.forbidden(call.route.resource.plural, given.name or "", text, call.route.resource.group)
    outcomes = call.route.outcomes
    outcome, spec_key = outcomes.find(call, obj, namespace) if outcomes is not None else (None, None)
    track = track and ownership.is_tracked(call, options)
    if outcome is None:
        defaulted = obj = kind.default(obj)
        if track:
            obj = ownership.tracked(call, obj, None, options)
        obj = plugins.admit_create(call, obj, given, namespace)
    else:
        if track:
            obj = ownership.tracked(call, replace(obj, spec=outcome.defaulted), None, options)
        if outcome.warnings:
            call.warnings.extend(outcome.warnings)
    given = metadata.current_metadata(obj)
    server = call.server
    clock = server.context.clock
    for _ in range(limits.name_suffix_attempts_max):
        name = given.name or call.name
        if not name and given.generate_name:
            name = metadata.generated_name(given.generate_name, clock.random)
        filled = replace(
            given,
            name=name or None,
            namespace=namespace or None,
            uid=clock.uuid4(),
            creation_timestamp=clock.now_rfc3339(),
            deletion_timestamp=None,
            deletion_grace_period_seconds=None,
            resource_version=None,
            self_link=None,
            generation=first_generation(kind, given),
        )
        if outcome is not None:
            candidate = replace(obj, metadata=filled, spec=outcome.spec, status=outcome.status)
            check_metadata(call, filled)
            value = outcome.encoded(filled)
        else:
            candidate, value = completed(call, metadata.with_metadata(obj, filled), defaulted, spec_key, options)
        key = f"{namespace}/{name}" if namespace else str(name)
        if key not in call.store.cache.entries:
            if options.dry_run:
                return Response(201, read_back(call, candidate), call.warnings)
            entry = await call.store.create(key, fresh(candidate, filled), value)
            if entry is not None:
                return read.answer(call, entry, 201)
        if given.name or call.name:
            break
    raise already_exists(call, key, str(name))


def first_generation(kind: Kind, given: ObjectMeta) -> int | None:
    if given.generation is not None and given.generation < 0:
        return given.generation  # to be found wrong
    return 1 if kind.tracks_generation else None


def completed(
    call: Call, obj: Any, defaulted: Any, spec_key: bytes | None, options: WriteOptions
) -> tuple[Any, bytes | None]:
    """The object as it may be stored: with what the kind fills in, checked; and its encoding, if known. Raises 422."""
    kind = call.kind
    if kind.prepare_for_create is not None:
        obj = kind.prepare_for_create(obj, call.strategy_context(options.dry_run))
    told = len(call.warnings)
    check_create(call, obj)
    outcomes = call.route.outcomes
    if outcomes is None or spec_key is None:
        return obj, None
    return obj, outcomes.remember(call, spec_key, defaulted.spec, obj, tuple(call.warnings[told:]))


def read_back(call: Call, obj: Any) -> Any:
    return obj if call.route.from_storage is None else call.route.from_storage(obj)


def fresh(obj: Any, known: ObjectMeta | None = None) -> Any:
    """The object with metadata that nobody else holds, so that its resourceVersion can be set once it is written."""
    if type(obj) is dict:
        found = {key: value for key, value in obj["metadata"].items() if key != "resourceVersion"}
        return {**obj, "metadata": found}
    if known is not None and obj.metadata is known:
        return obj
    return replace(obj, metadata=replace(obj.metadata, resource_version=None))


def checked_namespace(call: Call, given: ObjectMeta) -> str:
    """The namespace to write to. Raises 400 when path and object disagree."""
    if not call.route.resource.namespaced:
        return ""
    if given.namespace and given.namespace != call.namespace:
        raise errors.bad_request(NAMESPACE_MISMATCH)
    return call.namespace


def name_mismatch(call: Call, name: str) -> errors.StatusError:
    return errors.bad_request(f"the name of the object ({name}) does not match the name on the URL ({call.name})")


def already_exists(call: Call, key: str, name: str) -> errors.StatusError:
    resource = call.route.resource
    error = errors.already_exists(resource.plural, name, resource.group)
    old = call.store.cache.entries.get(key)
    if old is not None and metadata.current_metadata(old.object).deletion_timestamp:
        return errors.StatusError({**error.status, "message": f"object is being deleted: {error.message}"})
    return error


def check_metadata(call: Call, found: ObjectMeta) -> None:
    """Raises 422 when the metadata alone is wrong."""
    kind = call.kind
    wrong = metadata.check(found, namespaced=kind.resource.namespaced, name_rule=kind.name_rule)
    if wrong:
        raise invalid(call, found.name or "", wrong)


def check_create(call: Call, obj: Any) -> None:
    """Raises 422 with everything that is wrong: the kind's own rules (metadata's with them), else metadata's alone."""
    kind = call.kind
    found = metadata.current_metadata(obj)
    check_type(call, obj, found.name or "")
    wrong = metadata.check(found, namespaced=kind.resource.namespaced, name_rule=kind.name_rule)
    wrong.extend(kind.validate(obj))
    if wrong:
        raise invalid(call, found.name or "", wrong)
    if kind.warnings is not None:
        call.warnings.extend(kind.warnings(obj))


def check_type(call: Call, obj: Any, name: str) -> None:
    """Raises 422 for a custom resource that is of another kind: nothing else of it is looked at."""
    if type(obj) is dict and obj.get("kind") != call.route.resource.kind:
        kind, wanted = obj.get("kind"), call.route.resource.kind
        wrong = FieldError("FieldValueInvalid", "kind", kind, f"must be {wanted}")
        raise errors.invalid(call.route.resource.group, str(kind), name, [wrong])


def invalid(call: Call, name: str, wrong: Sequence[FieldError]) -> errors.StatusError:
    resource = call.route.stored_resource
    return errors.invalid(resource.group, resource.kind, name, list(wrong))


# update


async def update(call: Call) -> Response:
    options = write_options(call.request.options, "UpdateOptions")
    obj = bodies.read(call.request, expected_body(call), options.field_validation, call.warnings)
    check_identity(call, metadata.current_metadata(obj))
    if call.route.to_storage is not None:
        obj = call.route.to_storage(obj)
    kind = call.kind
    entry = call.store.cache.entries.get(call.key)
    if entry is None:
        if not kind.create_on_update:
            raise read.missing(call)
        return await create_object(call, obj, options)
    return await update_object(call, kind.default(obj), options)


def check_identity(call: Call, given: ObjectMeta) -> None:
    if not given.name:
        raise errors.bad_request(
            f"the name of the object ({call.name} based on URL) was undeterminable: name must be provided"
        )
    if given.name != call.name:
        raise name_mismatch(call, given.name)
    checked_namespace(call, given)


def uid_conflict(call: Call, wanted: str, found: str) -> errors.StatusError:
    resource = call.route.resource
    detail = (
        f"StorageError: invalid object, Code: 4, Key: {call.store.prefix}{call.key}, ResourceVersion: 0, "
        f"AdditionalErrorMsg: Precondition failed: UID in precondition: {wanted}, UID in object meta: {found}"
    )
    return errors.conflict(resource.plural, call.name, detail, resource.group)


async def update_object(
    call: Call,
    obj: Any,
    options: WriteOptions,
    *,
    prepare: Prepare | None = None,
    validate: Validate | None = None,
) -> Response:
    """An update with the object's resourceVersion: 409 when the stored one is another; none: whatever is stored."""
    given = metadata.current_metadata(obj)
    entry = read.find(call)
    unconditional = not given.resource_version or given.resource_version == "0"
    while True:
        old = metadata.current_metadata(entry.object)
        if given.uid and given.uid != old.uid and call.request.verb == "update":
            raise uid_conflict(call, given.uid, old.uid or "")
        if unconditional and not call.kind.unconditional_update:
            raise must_specify_resource_version(call)
        if not unconditional and given.resource_version != old.resource_version:
            raise conflict(call)
        found = await write_update(call, entry, obj, given, options, prepare=prepare, validate=validate)
        if found is not None:
            return found
        if not unconditional:
            raise conflict(call)
        entry = read.find(call)


def conflict(call: Call) -> errors.StatusError:
    resource = call.route.resource
    return errors.conflict(resource.plural, call.name, MODIFIED, resource.group)


def must_specify_resource_version(call: Call) -> errors.StatusError:
    resource = call.route.resource
    wrong = FieldError("FieldValueInvalid", "metadata.resourceVersion", 0, "must be specified for an update")
    return errors.invalid(resource.group, resource.plural, call.name, [wrong])


async def write_update(
    call: Call,
    entry: Entry,
    obj: Any,
    given: ObjectMeta,
    options: WriteOptions,
    *,
    prepare: Prepare | None,
    validate: Validate | None,
    track: bool = True,
) -> Response | None:
    """One attempt to replace `entry` by `obj`. None: somebody else was faster."""
    kind = call.kind
    stored = entry.object
    obj = shared(obj, stored)
    old = metadata.current_metadata(stored)
    kept = metadata.carry_over(given, old)
    obj = metadata.with_metadata(obj, kept)
    if track:
        obj = ownership.tracked(call, obj, stored, options)
    prepare = prepare if prepare is not None else kind.prepare_for_update
    if prepare is not None:
        obj = prepare(obj, stored, call.strategy_context(options.dry_run))
    plugins.admit_update(call, obj, stored)
    counted = kind.tracks_generation and not kind.fixed_generation and old.generation is not None
    if counted and metadata.body_changed(obj, stored):
        current = metadata.current_metadata(obj)
        if current.generation == old.generation:
            obj = metadata.with_metadata(obj, replace(current, generation=(old.generation or 0) + 1))
    check_update(call, obj, stored, validate if validate is not None else kind.validate_update)
    return await store_update(call, entry, fresh(obj), options)


async def store_update(call: Call, entry: Entry, obj: Any, options: WriteOptions) -> Response | None:
    """Write what is ready to be stored; an unchanged object is not written, a finished deletion removes it."""
    code = 200
    if options.dry_run:
        return Response(code, read_back(call, metadata_of_dry_run(obj, entry)), call.warnings)
    updated = metadata.current_metadata(obj)
    if updated.deletion_timestamp is not None and may_go(call, obj, updated):
        revision = await call.store.delete(entry)
        if revision is None:
            return None
        return Response(code, read_back(call, metadata_of_dry_run(obj, entry)), call.warnings)
    value = call.store.encode(obj)
    if len(value) == len(entry.value) and (value == entry.value or same(obj, entry.object)):
        return read.answer(call, entry, code)
    written = await call.store.replace(entry, obj, value)
    if written is None:
        return None
    return read.answer(call, written, code)


def same(obj: Any, stored: Any) -> bool:
    """Equal but for the resourceVersion (maps may differ in order)."""
    revision = metadata.current_metadata(stored).resource_version
    found = metadata.with_metadata(obj, replace(metadata.current_metadata(obj), resource_version=revision))
    return bool(found == stored)


def metadata_of_dry_run(obj: Any, entry: Entry) -> Any:
    current = metadata.current_metadata(obj)
    return metadata.with_metadata(obj, replace(current, resource_version=str(entry.revision)))


def may_go(call: Call, obj: Any, updated: ObjectMeta) -> bool:
    if call.route.resource.plural == "namespaces" and obj.spec is not None and obj.spec.finalizers:
        return False
    return deletion.may_go(updated)


def check_update(call: Call, obj: Any, stored: Any, validate: Validate) -> None:
    kind = call.kind
    new, old = metadata.current_metadata(obj), metadata.current_metadata(stored)
    check_type(call, obj, new.name or "")
    wrong: list[FieldError] = []
    if new != old and replace(new, resource_version=old.resource_version) != old:
        general = metadata.check(new, namespaced=kind.resource.namespaced, name_rule="path_segment")
        changes = metadata.check_update(new, old)
        if general or changes:  # a real server looks twice, for every kind and for this one
            wrong = [*general, *changes, *changes, *general]
    wrong.extend(validate(obj, stored))
    if wrong:
        raise invalid(call, new.name or "", wrong)
    if kind.warnings is not None:
        call.warnings.extend(kind.warnings(obj))


async def update_status(call: Call) -> Response:
    """PUT of the status subresource: only status, and what of metadata the kind lets through."""
    options = write_options(call.request.options, "UpdateOptions")
    obj = bodies.read(call.request, expected_body(call), options.field_validation, call.warnings)
    check_identity(call, metadata.current_metadata(obj))
    kind = call.kind
    if call.route.to_storage is not None:
        obj = call.route.to_storage(obj)
    return await update_object(
        call,
        kind.default(obj),
        options,
        prepare=prepare_status(call),
        validate=kind.validate_status_update,
    )


def prepare_status(call: Call) -> Prepare:
    return call.kind.prepare_for_status_update or keep_all_but_status


def keep_all_but_status(new: Any, old: Any, context: StrategyContext) -> Any:
    if type(new) is dict:
        return {**old, "metadata": new["metadata"], **({"status": new["status"]} if "status" in new else {})}
    return replace(old, metadata=new.metadata, status=new.status)


__all__ = ["EntryResponse", "create", "create_object", "update", "update_object", "update_status"]
