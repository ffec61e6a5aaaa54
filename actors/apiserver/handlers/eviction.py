"""pods/eviction: a deletion that a PodDisruptionBudget may refuse (the "API-initiated Eviction" page)."""

from typing import Any

import msgspec

from kubeloop.actors.api import errors, meta, selectors
from kubeloop.actors.apiserver import bodies, limits, metadata
from kubeloop.actors.apiserver.bodies import Expected
from kubeloop.actors.apiserver.call import Call
from kubeloop.actors.apiserver.handlers import delete, read, write
from kubeloop.actors.apiserver.messages import Response
from kubeloop.actors.apiserver.options import delete_options, write_options

SUCCESS = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}
TOO_MANY_BUDGETS = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."


async def create(call: Call) -> Response:
    from kubeloop.actors.api.policy_v1 import Eviction

    options = write_options(call.request.options, "CreateOptions")
    expected = Expected("policy", "v1", "Eviction", Eviction)
    eviction = bodies.read(call.request, expected, options.field_validation, call.warnings)
    given = metadata.current_metadata(eviction)
    if given.name and given.name != call.name:
        raise errors.bad_request("name in URL does not match name in Eviction object")
    body = msgspec.to_builtins(eviction.delete_options) if eviction.delete_options is not None else None
    deleting = delete_options({}, body)
    if options.dry_run:
        deleting = msgspec.structs.replace(deleting, dry_run=True)
    for _ in range(limits.delete_retries_max):
        entry = read.find(call)
        pod = entry.object
        if not can_ignore_budgets(pod):
            await take_from_budget(call, pod, deleting.dry_run)
        if await delete.delete_entry(call, entry, deleting) is not None:
            return Response(201, SUCCESS, call.warnings)
    raise write.conflict(call)


def can_ignore_budgets(pod: Any) -> bool:
    """Pods that serve nobody count in no budget."""
    phase = pod.status.phase if pod.status is not None else None
    return phase in ("Succeeded", "Failed", "Pending") or pod.metadata.deletion_timestamp is not None


async def take_from_budget(call: Call, pod: Any, dry_run: bool) -> None:
    """Counts the disruption in the pod's budget. Raises 429 when there is none left, 500 for two budgets."""
    server = call.server
    namespace = call.namespace
    budgets = [
        budget
        for budget in server.lookup_all("poddisruptionbudgets.policy", namespace)
        if budget.spec is not None
        and budget.spec.selector is not None
        and selectors.from_label_selector(budget.spec.selector).matches(meta.labels(pod))
    ]
    if not budgets:
        return
    if len(budgets) > 1:
        raise errors.internal_error(TOO_MANY_BUDGETS)
    budget = budgets[0]
    if not ready(pod) and budget.spec.unhealthy_pod_eviction_policy == "AlwaysAllow":
        return
    status = budget.status
    if (status.observed_generation if status is not None else 0) < (budget.metadata.generation or 0):
        raise refused(
            call, budget, f"The disruption budget {budget.metadata.name} is still being processed by the server."
        )
    if not status.disruptions_allowed or status.disruptions_allowed <= 0:
        text = (
            f"The disruption budget {budget.metadata.name} needs {status.desired_healthy or 0} healthy pods and has "
            f"{status.current_healthy or 0} currently"
        )
        raise refused(call, budget, text)
    if dry_run:
        return
    route = await server.find_route("policy", "v1", "poddisruptionbudgets")
    assert route.store is not None
    entry = route.store.cache.entries[f"{namespace}/{budget.metadata.name}"]
    disrupted = {**(status.disrupted_pods or {}), pod.metadata.name: server.context.clock.now_rfc3339()}
    counted = msgspec.structs.replace(
        status, disruptions_allowed=status.disruptions_allowed - 1, disrupted_pods=disrupted
    )
    if await route.store.replace(entry, write.fresh(msgspec.structs.replace(budget, status=counted))) is None:
        raise refused(call, budget, f"The disruption budget {budget.metadata.name} changed at the same time")


def refused(call: Call, budget: Any, text: str) -> errors.StatusError:
    error = errors.too_many_requests("Cannot evict pod as it would violate the pod's disruption budget.", 0)
    details = {"causes": [{"reason": "DisruptionBudget", "message": text}]}
    return errors.StatusError({**error.status, "details": details})


def ready(pod: Any) -> bool:
    conditions = pod.status.conditions if pod.status is not None else ()
    return any(condition.type == "Ready" and condition.status == "True" for condition in conditions)
