"""certificatesigningrequests/approval: only the conditions that approve or deny may change."""

from typing import Any

from msgspec.structs import replace

from kubeloop.actors.apiserver import bodies, metadata
from kubeloop.actors.apiserver.call import Call
from kubeloop.actors.apiserver.handlers import patch as patches
from kubeloop.actors.apiserver.handlers import write
from kubeloop.actors.apiserver.messages import Response
from kubeloop.actors.apiserver.options import write_options
from kubeloop.actors.apiserver.registry.kind import StrategyContext


def keep_all_but_conditions(new: Any, old: Any, context: StrategyContext) -> Any:
    conditions = new.status.conditions if new.status is not None else ()
    if old.status is None:
        return replace(new, spec=old.spec)
    return replace(new, spec=old.spec, status=replace(old.status, conditions=conditions))


async def update(call: Call) -> Response:
    options = write_options(call.request.options, "UpdateOptions")
    obj = bodies.read(call.request, write.expected_body(call), options.field_validation, call.warnings)
    write.check_identity(call, metadata.current_metadata(obj))
    prepare = keep_all_but_conditions
    return await write.update_object(
        call, call.kind.default(obj), options, prepare=prepare, validate=call.kind.validate_status_update
    )


async def patch(call: Call) -> Response:
    validate = call.kind.validate_status_update
    return await patches.patch_with(call, prepare=keep_all_but_conditions, validate=validate)
