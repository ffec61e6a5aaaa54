"""pods/ephemeralcontainers and pods/resize: updates that may change one part of a pod's spec."""

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from kubeloop.actors.apiserver import bodies, metadata
from kubeloop.actors.apiserver.call import Call
from kubeloop.actors.apiserver.handlers import patch, write
from kubeloop.actors.apiserver.messages import Response
from kubeloop.actors.apiserver.options import write_options
from kubeloop.actors.apiserver.registry.kind import StrategyContext
from kubeloop.actors.apiserver.registry.pod_updates import validate_ephemeral_containers_update, validate_resize


def keep_all_but_ephemeral_containers(new: Any, old: Any, context: StrategyContext) -> Any:
    spec = replace(old.spec, ephemeral_containers=new.spec.ephemeral_containers)
    return replace(new, spec=spec, status=old.status)


def keep_all_but_resources(new: Any, old: Any, context: StrategyContext) -> Any:
    """Containers keep everything but their resources; a container that is not there yet is ignored."""
    containers = _with_resources(old.spec.containers, new.spec.containers)
    init_containers = _with_resources(old.spec.init_containers, new.spec.init_containers)
    spec = replace(old.spec, containers=containers, init_containers=init_containers)
    return replace(new, spec=spec, status=old.status)


def _with_resources(old: Sequence[Any], new: Sequence[Any]) -> Sequence[Any]:
    wanted = {container.name: container for container in new}
    return tuple(
        replace(container, resources=wanted[container.name].resources) if container.name in wanted else container
        for container in old
    )


async def _update(call: Call, prepare: write.Prepare, validate: write.Validate) -> Response:
    options = write_options(call.request.options, "UpdateOptions")
    obj = bodies.read(call.request, write.expected_body(call), options.field_validation, call.warnings)
    write.check_identity(call, metadata.current_metadata(obj))
    return await write.update_object(call, call.kind.default(obj), options, prepare=prepare, validate=validate)


async def update_ephemeral_containers(call: Call) -> Response:
    return await _update(call, keep_all_but_ephemeral_containers, validate_ephemeral_containers_update)


async def patch_ephemeral_containers(call: Call) -> Response:
    return await patch.patch_with(
        call, prepare=keep_all_but_ephemeral_containers, validate=validate_ephemeral_containers_update
    )


async def update_resize(call: Call) -> Response:
    return await _update(call, keep_all_but_resources, validate_resize)


async def patch_resize(call: Call) -> Response:
    return await patch.patch_with(call, prepare=keep_all_but_resources, validate=validate_resize)
