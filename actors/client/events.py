"""Events (core/v1) as client-go's recorder writes them: told once, repeated ones counted.

Follows the Event v1 core reference. Recording never fails and never waits; what cannot be written is dropped and
logged.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from kubeloop.actors.api import meta
from kubeloop.actors.api.core_v1 import Event, EventSource, ObjectReference
from kubeloop.actors.api.errors import StatusError, is_not_found
from kubeloop.actors.api.meta_v1 import ObjectMeta
from kubeloop.actors.client import limits
from kubeloop.actors.client.client import Client
from kubeloop.runtime.actor import ActorStopped
from kubeloop.runtime.clock import Clock, format_rfc3339
from kubeloop.runtime.log import get_logger
from kubeloop.runtime.tasks import Spawner


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
    __slots__ = ("count", "name", "namespace")

    def __init__(self, name: str, namespace: str) -> None:
        self.name = name
        self.namespace = namespace
        self.count = 1


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
        self._budgets: dict[str, _Budget] = {}

    def event(self, obj: Any, type: str, reason: str, message: str, *, field_path: str | None = None) -> None:
        """Says that `reason` happened to `obj`. `type`: Normal or Warning; `field_path`: as in spec.containers{web}."""
        now = self._clock.now()
        if not self._may_tell(obj, now):
            return
        event = (obj, type, reason, message, field_path, now)
        if self._waiting is not None:
            self._waiting.append(event)
            return
        waiting = self._waiting = deque([event], limits.events_aggregated_max)
        try:
            self._spawner.spawn(self._write, waiting, name="events")
        except ActorStopped:
            self._waiting = None

    def _may_tell(self, obj: Any, now: float) -> bool:
        """False once too much was said about the object: ten thousand pods are not ten thousand events."""
        key = meta.uid(obj) or meta.key(obj)
        budget = self._budgets.pop(key, None) or _Budget(now)
        _remember(self._budgets, key, budget)
        return budget.spend(now)

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
        self, obj: Any, type_: str, reason: str, message: str, field_path: str | None, now: float
    ) -> None:
        key = (meta.uid(obj) or meta.key(obj), type_, reason, message, field_path or "")
        told = self._told.pop(key, None)
        if told is not None:
            _remember(self._told, key, told)
            told.count += 1
            changes = {"count": told.count, "lastTimestamp": format_rfc3339(now)}
            try:
                await self._client.patch("events", told.name, changes, told.namespace, type="merge")
                return
            except StatusError as error:
                if not is_not_found(error):
                    raise
        event = self._new_event(obj, type_, reason, message, field_path, now)
        await self._client.create(event)
        _remember(self._told, key, _Told(event.metadata.name or "", event.metadata.namespace or ""))

    def _new_event(self, obj: Any, type_: str, reason: str, message: str, field_path: str | None, now: float) -> Event:
        api_version, kind = meta.api_version_and_kind(obj)
        stamp = format_rfc3339(now)
        nanoseconds = int(now * 1000) * 1_000_000 + self._clock.random.randrange(1_000_000)
        return Event(
            metadata=ObjectMeta(name=f"{meta.name(obj)}.{nanoseconds:x}", namespace=meta.namespace(obj) or "default"),
            involved_object=ObjectReference(
                kind=kind,
                api_version=api_version,
                name=meta.name(obj),
                namespace=meta.namespace(obj) or None,
                uid=meta.uid(obj),
                resource_version=meta.resource_version(obj),
                field_path=field_path,
            ),
            type=type_,
            reason=reason,
            message=message,
            source=self._source,
            first_timestamp=stamp,
            last_timestamp=stamp,
            count=1,
            reporting_component=self._source.component,
            reporting_instance=self._source.host or "",
        )
