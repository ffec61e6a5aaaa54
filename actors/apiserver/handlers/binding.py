"""pods/binding (and the older bindings): the scheduler's word that a pod belongs to a node."""

from typing import Any

import msgspec
from msgspec.structs import replace

from kubeloop.actors.api import errors
from kubeloop.actors.api.errors import FieldError
from kubeloop.actors.apiserver import bodies, limits, metadata
from kubeloop.actors.apiserver.bodies import Expected
from kubeloop.actors.apiserver.call import Call
from kubeloop.actors.apiserver.handlers import read, write
from kubeloop.actors.apiserver.messages import Response
from kubeloop.actors.apiserver.options import write_options

SUCCESS = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}


async def create(call: Call) -> Response:
    from kubeloop.actors.api.core_v1 import Binding

    options = write_options(call.request.options, "CreateOptions")
    expected = Expected("", "v1", "Binding", Binding)
    binding = bodies.read(call.request, expected, options.field_validation, call.warnings)
    check(call, binding)
    for _ in range(limits.patch_retries_max):
        entry = read.find(call)
        bound = bind(call, entry.object, binding)
        if options.dry_run or await call.store.replace(entry, bound) is not None:
            return Response(201, SUCCESS, call.warnings)
    raise write.conflict(call)


def check(call: Call, binding: Any) -> None:
    """Raises 400 and 422 for a binding that binds nothing."""
    given = metadata.current_metadata(binding)
    if given.name and given.name != call.name:
        raise errors.bad_request("name in URL does not match name in Binding object")
    write.checked_namespace(call, given)
    target = binding.target
    wrong = []
    if target is None or (target.kind and target.kind not in ("Node", "Minion")):
        kind = target.kind if target is not None else ""
        wrong.append(FieldError("FieldValueNotSupported", "target.kind", kind, 'supported values: "Node", "<empty>"'))
    if target is None or not target.name:
        wrong.append(FieldError("FieldValueRequired", "target.name", "", ""))
    if wrong:
        raise errors.invalid("", "Binding", call.name, wrong)


def bind(call: Call, pod: Any, binding: Any) -> Any:
    """The bound pod. Raises 409 for one that is bound, or is going."""
    given = metadata.current_metadata(binding)
    current = pod.metadata
    if given.uid and given.uid != current.uid:
        detail = f"Precondition failed: UID in precondition: {given.uid}, UID in object meta: {current.uid}"
        raise errors.conflict("pods/binding", call.name, detail)
    if current.deletion_timestamp is not None:
        raise errors.conflict(
            "pods/binding", call.name, f"pod {call.name} is being deleted, cannot be assigned to a host"
        )
    if pod.spec.node_name:
        detail = f'pod {call.name} is already assigned to node "{pod.spec.node_name}"'
        raise errors.conflict("pods/binding", call.name, detail)
    if pod.spec.scheduling_gates:
        detail = f"pod {call.name} has non-empty .spec.schedulingGates"
        raise errors.conflict("pods/binding", call.name, detail)
    changes: dict[str, Any] = {"resource_version": None}
    if given.annotations:
        changes["annotations"] = {**current.annotations, **given.annotations}
    return replace(
        pod,
        metadata=replace(current, **changes),
        spec=replace(pod.spec, node_name=binding.target.name),
        status=scheduled(call, pod.status),
    )


def scheduled(call: Call, status: Any) -> Any:
    """The status with the condition PodScheduled true."""
    from kubeloop.actors.api.core_v1 import PodCondition, PodStatus

    condition = PodCondition(
        type="PodScheduled", status="True", last_transition_time=call.server.context.clock.now_rfc3339()
    )
    if status is None:
        return PodStatus(phase="Pending", conditions=(condition,))
    others = tuple(one for one in status.conditions if one.type != "PodScheduled")
    return replace(status, conditions=(*others, condition))


async def create_from_body(call: Call) -> Response:
    """POST to bindings: the pod's name stands in the object."""
    from kubeloop.actors.api.core_v1 import Binding

    expected = Expected("", "v1", "Binding", Binding)
    binding = bodies.read(call.request, expected, "Ignore", [])
    given = metadata.current_metadata(binding)
    if not given.name:
        raise errors.bad_request("name in URL does not match name in Binding object")
    server = call.server
    route = await server.find_route("", "v1", "pods")
    assert route.store is not None
    await route.store.load()
    request = msgspec.structs.replace(call.request, resource="pods", name=given.name, subresource="binding")
    return await create(Call(server, request, route, call.user))
