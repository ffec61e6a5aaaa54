"""patch: the four patch types, on the object and on its subresources; a lost race is tried again on the new object."""

from collections.abc import Callable
from typing import Any

import msgspec

from kubeloop.actors.api import codec, errors
from kubeloop.actors.api.errors import FieldError
from kubeloop.actors.apiserver import limits, metadata
from kubeloop.actors.apiserver.bodies import Expected, media_type, no_conversion, other_version
from kubeloop.actors.apiserver.call import Call
from kubeloop.actors.apiserver.go_json import go_kind, syntax_error, with_valid_text
from kubeloop.actors.apiserver.handlers import read, write
from kubeloop.actors.apiserver.messages import Response
from kubeloop.actors.apiserver.options import APPLY, WriteOptions, write_options

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_MERGE_PATCH = "application/strategic-merge-patch+json"
IN_PROCESS = {"json": JSON_PATCH, "merge": MERGE_PATCH, "strategic": STRATEGIC_MERGE_PATCH, "apply": APPLY}


class Patch(msgspec.Struct, frozen=True):
    """`apply(document)` gives the patched document; raises StatusError."""

    content_type: str
    apply: Callable[[dict[str, Any]], dict[str, Any]]
    raw: Any


def read_patch(call: Call, target: type | None) -> Patch:
    """The patch as its content type says. Raises 415 for another, 400 for one that cannot be read."""
    content_type = media_type(call.request.content_type)
    content_type = IN_PROCESS.get(content_type, content_type)
    body = call.request.body
    if content_type == JSON_PATCH:
        operations = decode_patch(body, list, "json: cannot unmarshal {} into Go value of type []handlers.jsonPatchOp")
        if len(operations) > limits.patch_operations_max:
            allowed = f"The allowed maximum operations in a JSON patch is {limits.patch_operations_max}"
            raise errors.request_entity_too_large(f"{allowed}, got {len(operations)}")
        return Patch(content_type, lambda document: json_patch(document, operations, target), operations)
    if content_type == MERGE_PATCH:
        document = decode_patch(body, dict, "json: cannot unmarshal {} into Go value of type map[string]interface {{}}")
        return Patch(content_type, lambda live: merge_patch(live, document), document)
    if content_type == STRATEGIC_MERGE_PATCH and target is not None:
        document = decode_patch(body, dict, "json: cannot unmarshal {} into Go value of type map[string]interface {{}}")
        return Patch(content_type, lambda live: strategic_merge_patch(live, document, target), document)
    if content_type == APPLY:
        return Patch(content_type, lambda live: live, body)
    if target is None:
        accepted = f"{JSON_PATCH}, {MERGE_PATCH}, {APPLY}"
        text = f"the body of the request was in an unknown format - accepted media types include: {accepted}"
        raise errors.unsupported_media_type(text)
    raise errors.failure(415, "UnsupportedMediaType", "415: Unsupported Media Type", {})


def decode_patch(body: Any, kind: type, wrong_type: str) -> Any:
    if isinstance(body, bytes):
        wrong = syntax_error(body) if not body.strip() else ""
        try:
            document = msgspec.json.decode(body) if not wrong else None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            wrong = syntax_error(body)
            mended = body if wrong else with_valid_text(body)
            if mended != body:
                return decode_patch(mended, kind, wrong_type)
            wrong = wrong or str(error)
        if wrong:
            raise errors.bad_request(f"error decoding patch: {wrong}")
    else:
        document = body
    if not isinstance(document, kind):
        raise errors.bad_request("error decoding patch: " + wrong_type.format(go_kind(document)))
    return document


def json_patch(document: dict[str, Any], operations: list[Any], target: type | None) -> dict[str, Any]:
    from kubeloop.actors.apiserver.json_patch import apply_json_patch
    from kubeloop.actors.apiserver.managed_fields import without_nulls
    from kubeloop.actors.apiserver.merge_schema import schema_of

    patched = apply_json_patch(document, operations)
    if target is None:
        return patched
    decoded: dict[str, Any] = without_nulls(patched, schema_of(target))
    return decoded


def merge_patch(document: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    from kubeloop.actors.apiserver.merge_patch import apply_merge_patch

    return apply_merge_patch(document, patch)


def strategic_merge_patch(document: dict[str, Any], patch: dict[str, Any], target: type) -> dict[str, Any]:
    from kubeloop.actors.apiserver.strategic_merge import apply_strategic_merge_patch

    return apply_strategic_merge_patch(document, patch, target)


async def patch(call: Call) -> Response:
    return await patch_with(call)


async def patch_status(call: Call) -> Response:
    return await patch_with(call, prepare=write.prepare_status(call), validate=call.kind.validate_status_update)


async def patch_with(
    call: Call,
    *,
    prepare: write.Prepare | None = None,
    validate: write.Validate | None = None,
) -> Response:
    found = read_patch(call, call.route.resource.type)
    options = write_options(call.request.options, "PatchOptions", content_type=found.content_type)
    if found.content_type == APPLY:
        from kubeloop.actors.apiserver.handlers.apply import apply

        return await apply(call, options, prepare=prepare, validate=validate)
    for _ in range(limits.patch_retries_max):
        entry = read.find(call)
        live = entry.object if call.route.from_storage is None else call.route.from_storage(entry.object)
        document = codec.to_builtins(live)
        patched = found.apply(document)
        obj = decode_patched(call, patched, write.expected_body(call), options, found)
        given = metadata.current_metadata(obj)
        write.check_identity(call, given)
        if (given.resource_version or "0") not in ("0", str(entry.revision)):
            raise write.conflict(call)
        if call.route.to_storage is not None:
            obj = call.route.to_storage(obj)
        answer = await write.write_update(
            call, entry, call.kind.default(obj), given, options, prepare=prepare, validate=validate
        )
        if answer is not None:
            return answer
    raise write.conflict(call)


def decode_patched(call: Call, patched: dict[str, Any], expected: Expected, options: WriteOptions, patch: Patch) -> Any:
    """The patched document as an object. Raises 422 with the field "patch" when it is none of this kind."""
    if patch.content_type == STRATEGIC_MERGE_PATCH:  # is of the type that it was: what it says it is does not count
        patched = {**patched, "apiVersion": expected.api_version, "kind": expected.kind}
    try:
        check_type(patched, expected)
        found = codec.decode_object(patched, expected.type)
    except codec.DecodeError as error:
        raise invalid_patch(patched, str(error)) from None
    obj, unknown = found.obj, list(found.unknown)
    if expected.prune is not None:
        try:
            obj, dropped = expected.prune(obj)
        except ValueError as error:  # crd_schema.WrongEmbedded, DecodeError
            raise invalid_patch(patched, str(error)) from None
        unknown += dropped
    if unknown and options.field_validation != "Ignore":
        texts = [f'unknown field "{path}"' for path in unknown]
        if options.field_validation == "Strict":
            if patch.content_type == JSON_PATCH or patch.content_type == MERGE_PATCH:
                raise invalid_patch(patch.raw, "strict decoding error: " + ", ".join(texts))
            raise errors.bad_request("strict decoding error: " + ", ".join(texts))
        call.warnings.extend(texts)
    return obj


def check_type(patched: dict[str, Any], expected: Expected) -> None:
    """Raises DecodeError when the patch made another kind of it. A built-in kind may be silent about it."""
    api_version, kind = patched.get("apiVersion"), patched.get("kind")
    if expected.prune is None:
        api_version, kind = api_version or expected.api_version, kind or expected.kind
    if not isinstance(api_version, str) or not isinstance(kind, str):
        name, value = ("kind", kind) if isinstance(api_version, str) else ("apiVersion", api_version)
        raise codec.DecodeError(f"json: cannot unmarshal {go_kind(value)} into Go struct field .{name} of type string")
    if expected.prune is None and (api_version, kind) != (expected.api_version, expected.kind):
        raise codec.DecodeError(no_conversion(api_version, kind, expected))
    if expected.prune is not None and (not kind or api_version != expected.api_version):
        raise codec.DecodeError(other_version(api_version, expected).message if kind else "Object 'Kind' is missing")


def invalid_patch(document: Any, text: str) -> errors.StatusError:
    from kubeloop.actors.apiserver.managed_fields import in_wire_order

    shown = msgspec.json.encode(in_wire_order(document)).decode()
    return errors.invalid("", "", "", [FieldError("FieldValueInvalid", "patch", shown, text)])
