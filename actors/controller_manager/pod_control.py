"""Making and deleting many pods: in growing batches, a bounded number at once, each with its event.

A batch stops the rest when one in it fails, so that a quota that blocks costs one refused request and not hundreds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from kubeloop.actors.api import meta
from kubeloop.actors.api.core_v1 import Pod, PodSpec, PodTemplateSpec
from kubeloop.actors.api.errors import StatusError, is_not_found
from kubeloop.actors.api.meta_v1 import ObjectMeta, OwnerReference
from kubeloop.actors.client.client import Client
from kubeloop.actors.client.events import EventRecorder
from kubeloop.actors.controller_manager.replicas import slow_start

REQUESTS_AT_ONCE_MAX = 16
REQUESTS_IN_A_ROW_MAX = 64  # in process nothing waits by itself: then everybody else has a turn
GENERATE_NAME_CHARACTERS_MAX = 253 - 5


def pod_from_template(template: PodTemplateSpec | None, owner: Any, reference: OwnerReference) -> Pod:
    """A pod of that template, named after its owner with a random end. Its spec is the template's own object."""
    metadata = template.metadata if template is not None else ObjectMeta()
    return Pod(
        metadata=ObjectMeta(
            generate_name=f"{meta.name(owner)}-"[:GENERATE_NAME_CHARACTERS_MAX],
            namespace=meta.namespace(owner),
            labels=metadata.labels,
            annotations=metadata.annotations,
            finalizers=metadata.finalizers,
            owner_references=(reference,),
        ),
        spec=template.spec if template is not None else PodSpec(),
    )


def namespace_is_terminating(error: StatusError) -> bool:
    """The refusal that every create in a namespace on its way out gets: nothing to report, nothing to retry."""
    details = error.status.get("details") or {}
    return any(cause.get("reason") == "NamespaceTerminating" for cause in details.get("causes") or ())


async def in_batches(
    work: Sequence[Any], do: Callable[[Any], Awaitable[None]], *, initial: int = 1
) -> StatusError | None:
    """`do` for each item of `work`, slowly at first; the first StatusError ends it after its batch and is returned."""
    start = 0
    for size in slow_start(len(work), initial):
        error = await _batch(work[start : start + size], do)
        if error is not None:
            return error
        start += size
    return None


async def _batch(work: Sequence[Any], do: Callable[[Any], Awaitable[None]]) -> StatusError | None:
    errors: list[StatusError] = []
    waiting = iter(work)

    async def worker() -> None:
        for number, item in enumerate(waiting, 1):
            if number % REQUESTS_IN_A_ROW_MAX == 0:
                await asyncio.sleep(0)
            try:
                await do(item)
            except StatusError as error:
                errors.append(error)

    if len(work) == 1:
        await worker()
    else:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(len(work), REQUESTS_AT_ONCE_MAX)):
                group.create_task(worker())
    return errors[0] if errors else None


async def create_pod(client: Client, events: EventRecorder, owner: Any, pod: Pod) -> Pod:
    """Creates it and says so in an event on the owner; a refusal is an event too, and raised."""
    try:
        created = await client.create(pod, meta.namespace(owner))
    except StatusError as error:
        if not namespace_is_terminating(error):
            events.event(owner, "Warning", "FailedCreate", f"Error creating: {error.message}")
        raise
    events.event(owner, "Normal", "SuccessfulCreate", f"Created pod: {meta.name(created)}")
    return created


async def delete_pod(client: Client, events: EventRecorder, owner: Any, pod: Pod) -> None:
    """Deletes it gracefully and says so in an event on the owner; one that is gone already is nothing to say."""
    try:
        await client.delete("pods", meta.name(pod), meta.namespace(pod), preconditions={"uid": meta.uid(pod)})
    except StatusError as error:
        if is_not_found(error):
            return
        events.event(owner, "Warning", "FailedDelete", f"Error deleting: {error.message}")
        raise
    events.event(owner, "Normal", "SuccessfulDelete", f"Deleted pod: {meta.name(pod)}")
