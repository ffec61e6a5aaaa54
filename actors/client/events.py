"""Events (core/v1) as client-go's recorder writes them: told once, repeated ones counted, similar ones combined.

Similar are those about one object that differ in their message alone: from the tenth on within ten minutes they are one
event. An object that is much talked about is told of seldom; what is not written then is counted nevertheless. Follows
the Event v1 core reference. Recording never fails and never waits; what cannot be written is dropped and logged.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from kubeloop.actors.api import meta
from kubeloop.actors.api.core_v1 import Event, EventSource, ObjectReference
from kubeloop.actors.api.errors import StatusError, is_not_found
from kubeloop.actors.api.meta_v1 import ObjectMeta
from kubeloop.actors.client import limits
from kubeloop.actors.client.client import Client
from kubeloop.actors.client.transport import InProcessTransport
from kubeloop.runtime.actor import ActorStopped
from kubeloop.runtime.clock import Clock, format_rfc3339
from kubeloop.runtime.log import get_logger
from kubeloop.runtime.tasks import Spawner

COMBINED = "(combined from similar events): "


class _Budget:
    """How many events about one object may still be written; refills with time (client-go's spam filter)."""

    __slots__ = ("left", "since")

    def __init__(self, now: float) -> None:
        self.left = float(limits.events_burst_max)
        self.since = now

    def spend(self, now: float) -> bool:
        self.left = min(limits.events_burst_max, self.left + (now - self.since) / limits.events_refill_seconds)
        self.since = now
        if self.left < 1:
            return False
        self.left -= 1
        return True


class _Told:
    """An event, told or about to be. `first`: when, unix seconds."""

    __slots__ = ("count", "first", "name")

    def __init__(self, name: str, first: float) -> None:
        self.name = name
        self.first = first
        self.count = 0


class _Similar:
    """The messages that an object's events of one type and reason have had; too many, and they are combined."""

    __slots__ = ("last", "messages")

    def __init__(self) -> None:
        self.last = 0.0
        self.messages: dict[str, None] = {}

    def are_many(self, message: str, now: float) -> bool:
        messages = self.messages
        if now - self.last > limits.events_similar_seconds:
            messages.clear()
        self.last = now
        messages[message] = None
        if len(messages) < limits.events_similar_max:
            return False
        messages.popitem()
        return True


def _remember(things: dict[Any, Any], key: Any, thing: Any) -> None:
    """As the newest; the oldest goes when there are too many."""
    things.pop(key, None)
    things[key] = thing
    if len(things) > limits.events_aggregated_max:
        del things[next(iter(things))]


class EventRecorder:
    """Records events of one component on one host ("" where a component has no host of its own)."""

    def __init__(self, client: Client, component: str, host: str, clock: Clock, *, spawner: Spawner) -> None:
        self._client = client
        self._source = EventSource(component=component, host=host or None)
        self._clock = clock
        self._spawner = spawner
        self._waiting: deque[tuple[Any, ...]] | None = None  # while something is to be written
        self._told: dict[tuple[str, ...], _Told] = {}
        self._similar: dict[tuple[str, ...], _Similar] = {}
        self._budgets: dict[str, _Budget] = {}
        self._newest = ("", _Budget(0.0))
        self._reference: tuple[Any, str | None, ObjectReference] = (None, None, ObjectReference())
        # In process nothing that is written needs a task of its own.
        inline = isinstance(client.transport, InProcessTransport)
        self._begin: Callable[..., None] | None = getattr(spawner, "begin", None) if inline else None

    def event(self, obj: Any, type: str, reason: str, message: str, *, field_path: str | None = None) -> None:
        """Says that `reason` happened to `obj`. `type`: Normal or Warning; `field_path`: as in spec.containers{web}."""
        now = self._clock.now()
        about = meta.uid(obj) or meta.key(obj)
        kind = (about, type, reason)
        similar = self._similar.pop(kind, None) or _Similar()
        _remember(self._similar, kind, similar)
        if similar.are_many(message, now):
            key: tuple[str, ...] = kind
            message = COMBINED + message
        else:
            key = (*kind, message, field_path or "")
        told = self._told.pop(key, None) or _Told(self._new_name(obj, now), now)
        told.count += 1
        _remember(self._told, key, told)
        if not self._may_tell(about, now):
            return
        event = (obj, type, reason, message, field_path, now, told, told.count)
        if self._waiting is not None:
            self._waiting.append(event)
            return
        self._waiting = deque([event], limits.events_aggregated_max)
        if self._begin is None:
            self._start(self._spawner.spawn)
        else:
            asyncio.get_running_loop().call_soon(self._start, self._begin)

    def _start(self, run: Callable[..., Any]) -> None:
        """`run`: the spawner's spawn, or its begin, which needs no task as long as nothing waits."""
        try:
            run(self._write, self._waiting, name="events")
        except ActorStopped:
            self._waiting = None

    def _may_tell(self, key: str, now: float) -> bool:
        """False once too much was said about the object: ten thousand pods are not ten thousand events."""
        if key != self._newest[0]:
            budget = self._budgets.pop(key, None) or _Budget(now)
            _remember(self._budgets, key, budget)
            self._newest = (key, budget)
        return self._newest[1].spend(now)

    async def _write(self, waiting: deque[tuple[Any, ...]]) -> None:
        try:
            while waiting:
                try:
                    await self._write_one(*waiting.popleft())
                except (StatusError, OSError, TimeoutError) as error:
                    get_logger().debug("event_dropped", error=str(error))
        finally:
            self._waiting = None

    async def _write_one(
        self,
        obj: Any,
        type_: str,
        reason: str,
        message: str,
        field_path: str | None,
        now: float,
        told: _Told,
        count: int,
    ) -> None:
        if count > 1:
            changes = {"count": count, "message": message, "lastTimestamp": format_rfc3339(now)}
            try:
                await self._client.patch("events", told.name, changes, _namespace(obj), type="merge")
                return
            except StatusError as error:
                if not is_not_found(error):
                    raise
        reference = self._refer(obj, field_path)
        await self._client.create(self._new_event(obj, reference, type_, reason, message, now, told, count))

    def _refer(self, obj: Any, field_path: str | None) -> ObjectReference:
        """What is said of an object is often said of it several times in a row."""
        known, path, reference = self._reference
        if known is not obj or path != field_path:
            api_version, kind = meta.api_version_and_kind(obj)
            reference = ObjectReference(
                kind=kind,
                api_version=api_version,
                name=meta.name(obj),
                namespace=meta.namespace(obj) or None,
                uid=meta.uid(obj),
                resource_version=meta.resource_version(obj),
                field_path=field_path,
            )
            self._reference = (obj, field_path, reference)
        return reference

    def _new_name(self, obj: Any, now: float) -> str:
        nanoseconds = int(now * 1000) * 1_000_000 + self._clock.random.randrange(1_000_000)
        return f"{meta.name(obj)}.{nanoseconds:x}"

    def _new_event(
        self,
        obj: Any,
        reference: ObjectReference,
        type_: str,
        reason: str,
        message: str,
        now: float,
        told: _Told,
        count: int,
    ) -> Event:
        return Event(
            metadata=ObjectMeta(name=told.name, namespace=_namespace(obj)),
            involved_object=reference,
            type=type_,
            reason=reason,
            message=message,
            source=self._source,
            first_timestamp=format_rfc3339(told.first),
            last_timestamp=format_rfc3339(now),
            count=count,
            reporting_component=self._source.component,
            reporting_instance=self._source.host or "",
        )


def _namespace(obj: Any) -> str:
    """Where events about it are: those about what has no namespace are in default."""
    return meta.namespace(obj) or "default"
