"""namespaces/finalize: how the namespace controller says that a namespace is empty."""

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from kubeloop.actors.api.errors import FieldError
from kubeloop.actors.apiserver import bodies, metadata
from kubeloop.actors.apiserver.call import Call
from kubeloop.actors.apiserver.handlers import write
from kubeloop.actors.apiserver.messages import Response
from kubeloop.actors.apiserver.options import write_options
from kubeloop.actors.apiserver.registry.kind import StrategyContext


def keep_all_but_finalizers(new: Any, old: Any, context: StrategyContext) -> Any:
    finalizers = new.spec.finalizers if new.spec is not None else ()
    spec = replace(old.spec, finalizers=finalizers) if old.spec is not None else new.spec
    return replace(new, spec=spec, status=old.status)


def check(new: Any, old: Any) -> Sequence[FieldError]:
    errors: list[FieldError] = []
    for index, finalizer in enumerate(new.spec.finalizers if new.spec is not None else ()):
        metadata.check_finalizer(errors, f"spec.finalizers[{index}]", finalizer)
    return errors


async def update(call: Call) -> Response:
    options = write_options(call.request.options, "UpdateOptions")
    obj = bodies.read(call.request, write.expected_body(call), options.field_validation, call.warnings)
    write.check_identity(call, metadata.current_metadata(obj))
    obj = call.kind.default(obj)
    return await write.update_object(call, obj, options, prepare=keep_all_but_finalizers, validate=check)
