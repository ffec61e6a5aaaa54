"""Where field ownership meets requests: which writes are tracked, under which manager, with which schema.

Writes over HTTP are tracked. In process a write is tracked when it names a field manager, or when its object has owners
already; the others are left out for speed, as the API server itself leaves out objects that nobody owns yet.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from kubeloop.actors.api import codec
from kubeloop.actors.api.meta_v1 import ManagedFieldsEntry
from kubeloop.actors.apiserver import managed_fields, metadata
from kubeloop.actors.apiserver.call import Call
from kubeloop.actors.apiserver.field_set import Path
from kubeloop.actors.apiserver.options import WriteOptions


def tracked(call: Call, obj: Any, stored: Any | None, options: WriteOptions) -> Any:
    """The object with its managedFields after this create (`stored` None) or update.

    `obj` is what the client asked for, defaulted: before admission and before the kind fills in its own.
    """
    request = call.request
    before = None if stored is None else metadata.current_metadata(stored)
    owned = before is not None and before.managed_fields
    if not owned and not options.field_manager and type(request.body) is not bytes:
        return obj
    current = metadata.current_metadata(obj)
    if stored is not None and not owned and not current.managed_fields:
        return obj
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
    found = msgspec.convert(entries, tuple[ManagedFieldsEntry, ...])
    return metadata.with_metadata(obj, msgspec.structs.replace(current, managed_fields=found))


def builtins_of(obj: Any) -> Mapping[str, Any]:
    return obj if type(obj) is dict else codec.to_builtins(obj)


def schema(call: Call) -> managed_fields.Schema:
    """How the stored object's fields merge."""
    return call.route.schema if call.route.kind.resource is call.route.resource else call.kind.resource.type


def reset_fields(call: Call) -> Sequence[Path]:
    return managed_fields.reset_fields(call.request.subresource, call.kind.has_status)
