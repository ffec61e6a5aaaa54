"""The scale subresource (autoscaling/v1 Scale) of whatever has replicas; paths come from the kind's entry."""

from collections.abc import Sequence
from typing import Any

import msgspec

from kubeloop.actors.api import codec, errors, meta
from kubeloop.actors.api.errors import FieldError
from kubeloop.actors.apiserver import bodies, limits, metadata
from kubeloop.actors.apiserver.bodies import Expected
from kubeloop.actors.apiserver.call import Call
from kubeloop.actors.apiserver.handlers import patch as patches
from kubeloop.actors.apiserver.handlers import read, write
from kubeloop.actors.apiserver.handlers.apply import applied_to, decode_applied
from kubeloop.actors.apiserver.messages import Response
from kubeloop.actors.apiserver.options import APPLY, WriteOptions, write_options
from kubeloop.actors.apiserver.watch_cache import Entry


def scale_of(call: Call, obj: Any) -> Any:
    """The Scale that shows `obj`."""
    from kubeloop.actors.api.autoscaling_v1 import Scale, ScaleSpec, ScaleStatus

    current = metadata.current_metadata(obj)
    shown = msgspec.structs.replace(
        metadata.NO_METADATA,
        name=current.name,
        namespace=current.namespace,
        uid=current.uid,
        resource_version=current.resource_version,
        creation_timestamp=current.creation_timestamp,
    )
    paths = call.kind.scale
    selector = text_at(obj, paths.get("selector"), "selector")
    return Scale(
        metadata=shown,
        spec=ScaleSpec(replicas=number_at(obj, paths.get("specReplicas", ".spec.replicas")) or None),
        status=ScaleStatus(
            replicas=number_at(obj, paths.get("statusReplicas", ".status.replicas")), selector=selector or None
        ),
    )


def number_at(obj: Any, path: Any) -> int:
    value = path(obj) if callable(path) else at(obj, path)
    return int(value or 0)


def text_at(obj: Any, path: Any, field: str) -> str:
    if callable(path):
        return str(path(obj) or "")
    from kubeloop.actors.api import selectors

    selector = at(obj, path or f".spec.{field}")
    if selector is None or isinstance(selector, str):
        return selector or ""
    if isinstance(selector, dict):  # a replication controller's plain map
        return ",".join(f"{key}={value}" for key, value in sorted(selector.items()))
    return str(selectors.from_label_selector(selector))


def at(obj: Any, path: str) -> Any:
    for part in path.strip(".").split("."):
        if obj is None:
            return None
        obj = obj.get(part) if isinstance(obj, dict) else getattr(obj, part, None)
    return obj


async def get(call: Call) -> Response:
    return Response(200, scale_of(call, read.find(call).object), call.warnings)


async def update(call: Call) -> Response:
    options = write_options(call.request.options, "UpdateOptions")
    scale = bodies.read(call.request, expected_scale(), options.field_validation, call.warnings)
    given = metadata.current_metadata(scale)
    if not given.name:
        text = f"the name of the object ({call.name} based on URL) was undeterminable: name must be provided"
        raise errors.bad_request(text)
    write.check_identity(call, given)
    while True:
        found = await write_scale(call, read.find(call), scale, options)
        if found is not None:
            return found


def expected_scale() -> Expected:
    from kubeloop.actors.api.autoscaling_v1 import Scale

    return Expected("autoscaling", "v1", "Scale", Scale)


async def patch(call: Call) -> Response:
    expected = expected_scale()
    found = patches.read_patch(call, expected.type)
    options = write_options(call.request.options, "PatchOptions", content_type=found.content_type)
    if found.content_type == APPLY:
        return await apply(call, patches.decode_patch(read_apply(found.raw), dict, "{}"), options)
    for _ in range(limits.patch_retries_max):
        entry = read.find(call)
        document = codec.to_builtins(scale_of(call, entry.object))
        document = {"apiVersion": "autoscaling/v1", "kind": "Scale", **document}
        document = found.apply(document)
        scale = patches.decode_patched(call, document, expected, options, found)
        write.check_identity(call, metadata.current_metadata(scale))
        answer = await write_scale(call, entry, scale, options)
        if answer is not None:
            return answer
    raise write.conflict(call)


async def apply(call: Call, applied: dict[str, Any], options: WriteOptions) -> Response:
    """A Scale applied: the same as its replicas applied to the object, owned under the subresource's name."""
    expected = expected_scale()
    bodies.check_gvk(bodies.text_of(applied, "apiVersion"), bodies.text_of(applied, "kind"), expected, applied)
    scale = bodies.decoded(applied, expected, options.field_validation, call.warnings)
    write.check_identity(call, metadata.current_metadata(scale))
    wanted: dict[str, Any] = {"apiVersion": call.route.api_version, "kind": call.route.resource.kind}
    if scale.spec is not None and scale.spec.replicas is not None:
        path = call.kind.scale["specReplicas"] if call.route.resource.type_path is None else "spec.replicas"
        wanted = with_number_at(wanted, path.strip(".").split("."), scale.spec.replicas)
    for _ in range(limits.patch_retries_max):
        entry = read.find(call)
        owned = decode_applied(call, applied_to(call, entry.object, wanted, options))
        answer = await write_scale(call, entry, scale, options, metadata.current_metadata(owned).managed_fields)
        if answer is not None:
            return answer
    raise write.conflict(call)


def read_apply(raw: Any) -> Any:
    if not isinstance(raw, bytes):
        return raw if isinstance(raw, dict) else codec.to_builtins(raw)
    from kubeloop.actors.apiserver.go_yaml import YamlError, load

    try:
        return load(raw)[0]
    except YamlError as error:
        raise errors.bad_request(f"error decoding YAML: {error}") from None


async def write_scale(
    call: Call, entry: Entry, scale: Any, options: WriteOptions, managed_fields: Sequence[Any] | None = None
) -> Response | None:
    """Set the replicas (and, after an apply, who owns them). None: somebody else was faster."""
    given = metadata.current_metadata(scale)
    replicas = (scale.spec.replicas if scale.spec is not None else None) or 0
    if replicas < 0:
        wrong = FieldError("FieldValueInvalid", "spec.replicas", replicas, "must be greater than or equal to 0")
        raise errors.invalid("autoscaling", "Scale", call.name, [wrong])
    current = metadata.current_metadata(entry.object)
    if given.uid and given.uid != current.uid:
        detail = f"Precondition failed: UID in precondition: {given.uid}, UID in object meta: {current.uid}"
        raise errors.conflict(call.route.resource.plural, call.name, detail, call.route.resource.group)
    if given.resource_version and given.resource_version != current.resource_version:
        raise write.conflict(call)
    scaled = with_replicas(call, entry.object, replicas)
    if managed_fields is not None:
        owned = msgspec.structs.replace(metadata.current_metadata(scaled), managed_fields=managed_fields)
        scaled = metadata.with_metadata(scaled, owned)
    found = await write.write_update(
        call,
        entry,
        scaled,
        metadata.current_metadata(scaled),
        options,
        prepare=None,
        validate=None,
        track=managed_fields is None,
    )
    if found is None:
        return None
    return Response(200, scale_of(call, found.body), call.warnings)


def with_replicas(call: Call, obj: Any, replicas: int) -> Any:
    if isinstance(obj, dict):
        return with_number_at(obj, call.kind.scale["specReplicas"].strip(".").split("."), replicas)
    return msgspec.structs.replace(obj, spec=msgspec.structs.replace(obj.spec, replicas=replicas))


def with_number_at(obj: dict[str, Any], path: Sequence[str], number: int) -> dict[str, Any]:
    name, *rest = path
    inner = obj.get(name)
    return {**obj, name: with_number_at(inner if isinstance(inner, dict) else {}, rest, number) if rest else number}


__all__ = ["get", "meta", "patch", "update"]
