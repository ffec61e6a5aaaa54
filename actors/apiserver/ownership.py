"""Where field ownership meets requests: which writes are tracked, under which manager, with which schema.

Writes over HTTP are tracked. In process a write is tracked when it names a field manager, or when its object has owners
already; the others are left out for speed, as the API server itself leaves out objects that nobody owns yet.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import msgspec

from kubeloop.actors.api import codec
from kubeloop.actors.api.meta_v1 import ManagedFieldsEntry, ObjectMeta
from kubeloop.actors.apiserver import managed_fields, metadata
from kubeloop.actors.apiserver.call import Call
from kubeloop.actors.apiserver.field_set import Path
from kubeloop.actors.apiserver.options import WriteOptions
from kubeloop.actors.apiserver.typed_merge import ListKeyError

REMEMBERED_OBJECTS_MAX = 256
REMEMBERED_BYTES_MAX = 16 * 1024


def is_tracked(call: Call, options: WriteOptions) -> bool:
    """Whether this write is tracked whatever it writes over: see above."""
    return bool(options.field_manager) or type(call.request.body) is bytes


def tracked(call: Call, obj: Any, stored: Any | None, options: WriteOptions) -> Any:
    """The object with its managedFields after this create (`stored` None) or update.

    `obj` is what the client asked for, defaulted: before admission and before the kind fills in its own.
    """
    request = call.request
    before = None if stored is None else metadata.current_metadata(stored)
    owned = before is not None and before.managed_fields
    if not owned and not is_tracked(call, options):
        return obj
    current = metadata.current_metadata(obj)
    if stored is not None and not owned and not current.managed_fields:
        return obj
    if stored is None and not current.managed_fields and type(obj) is not dict:
        return metadata.with_metadata(obj, created_by(call, obj, current, options))
    try:
        entries = managed_fields.track_update(
            None if stored is None else builtins_of(stored),
            builtins_of(obj),
            schema(call),
            managed_fields.manager_name(options.field_manager, request.user_agent),
            api_version=call.route.api_version,
            subresource=request.subresource,
            now=call.server.context.clock.now_rfc3339(),
            reset=reset_fields(call),
        )
    except ListKeyError:  # validation says what is wrong
        return metadata.with_metadata(obj, msgspec.structs.replace(current, managed_fields=()))
    found = msgspec.convert(entries, tuple[ManagedFieldsEntry, ...])
    return metadata.with_metadata(obj, msgspec.structs.replace(current, managed_fields=found))


def created_by(call: Call, obj: Any, current: ObjectMeta, options: WriteOptions) -> ObjectMeta:
    """The metadata of an object whose creator owns what is in it."""
    bare = msgspec.structs.replace(
        current,
        name=None,
        namespace=None,
        uid=None,
        creation_timestamp=None,
        generation=None,
        resource_version=None,
        self_link=None,
    )
    encoded = codec.encode(msgspec.structs.replace(obj, metadata=bare))
    work_out = created_fields if len(encoded) <= REMEMBERED_BYTES_MAX else created_fields.__wrapped__
    kind: Any = type(obj)
    fields = work_out(kind, encoded, tuple(reset_fields(call)))
    if not fields:
        return current
    entry = ManagedFieldsEntry(
        manager=managed_fields.manager_name(options.field_manager, call.request.user_agent),
        operation=managed_fields.UPDATE,
        api_version=call.route.api_version,
        time=call.server.context.clock.now_rfc3339(),
        fields_type="FieldsV1",
        fields_v1=fields,
        subresource=call.request.subresource or None,
    )
    return msgspec.structs.replace(current, managed_fields=(entry,))


@lru_cache(maxsize=REMEMBERED_OBJECTS_MAX)
def created_fields(type_: type, encoded: bytes, reset: tuple[Path, ...]) -> Mapping[str, Any]:
    """FieldsV1 of a created object. Remembered: most creates repeat an object under another name."""
    return managed_fields.created_fields(msgspec.json.decode(encoded), type_, reset)


def builtins_of(obj: Any) -> Mapping[str, Any]:
    return obj if type(obj) is dict else codec.to_builtins(obj)


def schema(call: Call) -> managed_fields.Schema:
    """How the stored object's fields merge."""
    return call.route.schema if call.route.kind.resource is call.route.resource else call.kind.resource.type


def reset_fields(call: Call) -> Sequence[Path]:
    return managed_fields.reset_fields(call.request.subresource, call.kind.has_status)
