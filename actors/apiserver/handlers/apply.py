"""server-side apply: the object that a manager wants, merged into the stored one; created when it is not there.

Field ownership (managedFields, conflicts) is `managed_fields`' to decide.
"""

from typing import Any

from kubeloop.actors.api import codec, errors
from kubeloop.actors.apiserver import crd_typed, limits, managed_fields, metadata
from kubeloop.actors.apiserver.call import Call
from kubeloop.actors.apiserver.crd_schema import read_metadata
from kubeloop.actors.apiserver.custom_resources import Pruner
from kubeloop.actors.apiserver.go_json import go_kind
from kubeloop.actors.apiserver.handlers import read, write
from kubeloop.actors.apiserver.messages import Response
from kubeloop.actors.apiserver.options import WriteOptions
from kubeloop.actors.apiserver.watch_cache import Entry


async def apply(
    call: Call,
    options: WriteOptions,
    *,
    prepare: write.Prepare | None,
    validate: write.Validate | None,
) -> Response:
    wanted = read_apply(call, options)
    for _ in range(limits.patch_retries_max):
        entry = call.store.cache.entries.get(call.key)
        if entry is None and call.request.subresource:
            raise read.missing(call)
        check_preconditions(call, entry, wanted)
        live = None
        if entry is not None:
            live = entry.object if call.route.from_storage is None else call.route.from_storage(entry.object)
        obj = decode_applied(call, applied_to(call, live, wanted, options))
        if call.route.to_storage is not None:
            obj = call.route.to_storage(obj)
        if entry is None:
            return await write.create_object(call, obj, options, track=False)
        answer = await write.write_update(
            call,
            entry,
            call.kind.default(obj),
            metadata.current_metadata(obj),
            options,
            prepare=prepare,
            validate=validate,
            track=False,
        )
        if answer is not None:
            return answer
    raise write.conflict(call)


def check_preconditions(call: Call, entry: Entry | None, wanted: dict[str, Any]) -> None:
    """Raises 409 for a configuration that was made for another object, or another version of it."""
    given = wanted.get("metadata") or {}
    uid, version = given.get("uid"), given.get("resourceVersion")
    if entry is None and uid:
        resource = call.route.resource
        detail = f"uid mismatch: the provided object specified uid {uid}, and no existing object was found"
        raise errors.conflict(resource.plural, call.name, detail, resource.group)
    if entry is not None and version not in (None, "", "0", str(entry.revision)):
        raise write.conflict(call)


def applied_to(call: Call, live: Any | None, wanted: dict[str, Any], options: WriteOptions) -> dict[str, Any]:
    """`wanted` applied to the object, as builtins. Raises 409 for fields that others own."""
    return managed_fields.server_side_apply(
        None if live is None else codec.to_builtins(live),
        wanted,
        call.route.schema,
        options.field_manager,
        bool(options.force),
        api_version=call.route.api_version,
        subresource=call.request.subresource,
        now=call.server.context.clock.now_rfc3339(),
        reset=managed_fields.reset_fields(call.request.subresource, call.kind.has_status),
    )


def read_apply(call: Call, options: WriteOptions) -> dict[str, Any]:
    """The applied object as builtins. Raises 400 when it is none, or another than the path names."""
    body = call.request.body
    body = read_yaml(call, body, options) if isinstance(body, bytes) else body
    if not isinstance(body, dict):
        body = codec.to_builtins(body)
    for name in ("apiVersion", "kind"):
        if not isinstance(body.get(name) or "", str):
            text = f"json: cannot unmarshal {go_kind(body[name])} into Go struct field TypeMeta.{name} of type string"
            raise errors.bad_request(f"error decoding YAML: {text}")
    kind = body.get("kind")
    if kind and kind != call.route.resource.kind:
        raise errors.bad_request(f"expected an object of kind {call.route.resource.kind}, but got {kind}")
    try:
        found = codec.decode_object(body, call.route.resource.type)
        unknown = list(found.unknown)
        if call.route.resource.type is None:
            body = {**body, "metadata": read_metadata(body.get("metadata"), unknown)}
            found = codec.Decoded(body)
            if isinstance(call.route.prune, Pruner):
                wrong = crd_typed.problems(body, call.route.prune.schema)
                if wrong:
                    raise managed_fields.not_appliable(body, wrong)
    except codec.DecodeError as error:
        raise managed_fields.not_appliable(body, [str(error)]) from None
    if unknown:
        raise managed_fields.not_appliable(body, [f".{path}: field not declared in schema" for path in unknown])
    given = metadata.current_metadata(found.obj)
    if given.name and given.name != call.name:
        raise write.name_mismatch(call, given.name)
    write.checked_namespace(call, given)
    document: dict[str, Any] = body
    return document


def read_yaml(call: Call, data: bytes, options: WriteOptions) -> dict[str, Any]:
    """Keys given twice are told, or refused. Raises 400 for what is no object."""
    from kubeloop.actors.apiserver.go_yaml import YamlError, load

    try:
        found, duplicates = load(data)
    except YamlError as error:
        raise errors.bad_request(f"error decoding YAML: {error}") from None
    if found is None:
        found = {}
    if not isinstance(found, dict):
        text = f"json: cannot unmarshal {go_kind(found)} into Go value of type map[string]interface {{}}"
        raise errors.bad_request(f"error decoding YAML: error unmarshaling JSON: while decoding JSON: {text}")
    if duplicates and options.field_validation != "Ignore":
        lines = "".join(f"\n  {line}" for line in duplicates)
        text = f"error converting YAML to JSON: yaml: unmarshal errors:{lines}"
        if options.field_validation == "Strict":
            raise errors.bad_request(f"error strict decoding YAML: {text}")
        call.warnings.append(text)
    return found


def decode_applied(call: Call, merged: dict[str, Any]) -> Any:
    try:
        return codec.decode_object(merged, call.route.resource.type).obj
    except codec.DecodeError as error:
        raise errors.bad_request(str(error)) from None
