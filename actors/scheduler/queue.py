"""The pods that wait: active, backing off, unschedulable, gated.

Follows https://kubernetes.io/docs/concepts/scheduling-eviction/scheduling-framework/ and kube-scheduler's documented
queue: priority order, then first come first served; a pod that failed waits in the unschedulable pool until an event
may help it; it is not tried again sooner than its backoff (1 s doubling to 10 s) says, unless nobody else is waiting;
after five minutes in the pool it is tried again whatever happened.

Times are in seconds of the caller's clock. Nothing here is asynchronous.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kubeloop.actors.scheduler.framework import Event
    from kubeloop.actors.scheduler.needs import PodInfo

BACKOFF_INITIAL_SECONDS = 1.0
BACKOFF_MAX_SECONDS = 10.0
UNSCHEDULABLE_MAX_SECONDS = 300.0

ACTIVE, BACKOFF, UNSCHEDULABLE, GATED, IN_FLIGHT = "active", "backoff", "unschedulable", "gated", "in flight"


class QueuedPod:
    """A waiting pod and what has become of it so far."""

    __slots__ = ("after_error", "attempts", "events", "info", "place", "plugins", "since", "ticket")

    def __init__(self, info: PodInfo) -> None:
        self.info = info
        self.attempts = 0
        self.since = 0.0
        self.place = ""
        self.ticket = 0
        """Names the heap entry that is valid for it."""
        self.plugins: Sequence[str] = ()
        """Names of the plugins that refused it last."""
        self.events: frozenset[Event] = frozenset()
        self.after_error = False

    @property
    def backoff_seconds(self) -> float:
        """How long after its last attempt the pod waits at least."""
        if not self.attempts:
            return 0.0
        return float(min(BACKOFF_INITIAL_SECONDS * 2.0 ** min(self.attempts - 1, 10), BACKOFF_MAX_SECONDS))


class SchedulingQueue:
    """Holds each waiting pod in exactly one place."""

    def __init__(self) -> None:
        self._pods: dict[str, QueuedPod] = {}
        self._active: list[tuple[int, float, int, str]] = []
        self._backoff: list[tuple[int, int, float, int, str]] = []
        """End of the backoff in whole seconds, and then as in ``_active``: within a second the order is by priority."""
        self._by_event: dict[Event, dict[str, QueuedPod]] = {}
        self._tickets = 0
        self._counts = dict.fromkeys((ACTIVE, BACKOFF, UNSCHEDULABLE, GATED, IN_FLIGHT), 0)
        self._unschedulable: dict[str, QueuedPod] = {}

    def __len__(self) -> int:
        return len(self._pods)

    @property
    def counts(self) -> dict[str, int]:
        """Pods by place."""
        return dict(self._counts)

    def get(self, uid: str) -> QueuedPod | None:
        """The entry of a pod, wherever it is."""
        return self._pods.get(uid)

    # In and out

    def add(self, info: PodInfo, now: float, *, gated: bool = False) -> None:
        """A new pod, or a new version of a waiting one that has changed enough to be tried again."""
        queued = self._pods.get(info.uid)
        if queued is None:
            queued = self._pods[info.uid] = QueuedPod(info)
        queued.info = info
        if queued.place == IN_FLIGHT:
            return
        queued.since = now if not queued.attempts else queued.since
        if gated:
            self._leave(queued)
            self._enter(queued, GATED)
        elif queued.place == UNSCHEDULABLE:
            self._wake(queued, now)
        elif queued.place in ("", GATED):
            self._leave(queued)
            self._activate(queued)

    def refresh(self, info: PodInfo) -> None:
        """A new version of a waiting pod whose needs are the same."""
        queued = self._pods.get(info.uid)
        if queued is not None:
            queued.info = info

    def remove(self, uid: str) -> QueuedPod | None:
        """Forgets a pod: it is bound, or gone."""
        queued = self._pods.pop(uid, None)
        if queued is not None:
            self._leave(queued)
        return queued

    def pop(self, now: float) -> QueuedPod | None:
        """The next pod to try; it is in flight until removed or put back."""
        if self._backoff or self._unschedulable:
            self.wake(now)
        queued = self._pop_active() or self._pop_backoff()
        if queued is not None:
            self._leave(queued)
            queued.attempts += 1
            self._enter(queued, IN_FLIGHT)
        return queued

    def _pop_active(self) -> QueuedPod | None:
        while self._active:
            *_, ticket, uid = heapq.heappop(self._active)
            queued = self._pods.get(uid)
            if queued is not None and queued.place == ACTIVE and queued.ticket == ticket:
                return queued
        return None

    def _pop_backoff(self) -> QueuedPod | None:
        """Nobody is active: there is no reason to let a pod wait that an event may have helped."""
        kept = []
        found = None
        while self._backoff and found is None:
            entry = heapq.heappop(self._backoff)
            queued = self._pods.get(entry[4])
            if queued is None or queued.place != BACKOFF or queued.ticket != entry[3]:
                continue
            if queued.after_error:
                kept.append(entry)
            else:
                found = queued
        for entry in kept:
            heapq.heappush(self._backoff, entry)
        return found

    # Failures

    def refused(self, queued: QueuedPod, plugins: Sequence[str], events: frozenset[Event], now: float) -> None:
        """No node fits: into the unschedulable pool, until one of ``events``."""
        if self._pods.get(queued.info.uid) is not queued:
            return
        queued.since, queued.plugins, queued.events, queued.after_error = now, plugins, events, False
        self._leave(queued)
        self._enter(queued, UNSCHEDULABLE)
        self._unschedulable[queued.info.uid] = queued
        for event in sorted(events, key=lambda e: e.name):
            self._by_event.setdefault(event, {})[queued.info.uid] = queued

    def failed(self, queued: QueuedPod, now: float) -> None:
        """An error came between: try again after the backoff."""
        if self._pods.get(queued.info.uid) is not queued:
            return
        queued.since, queued.plugins, queued.after_error = now, (), True
        self._leave(queued)
        self._back_off(queued)

    # Waking

    def move(self, event: Event, helps: Callable[[QueuedPod], bool], now: float) -> int:
        """After ``event``: those it may help leave the unschedulable pool. Returns how many."""
        waiting = self._by_event.get(event)
        if not waiting:
            return 0
        woken = [queued for queued in waiting.values() if helps(queued)]
        for queued in woken:
            self._wake(queued, now)
        return len(woken)

    def wake(self, now: float) -> None:
        """Lets go those whose backoff is over, or who have been in the pool too long."""
        while self._backoff and self._backoff[0][0] <= now:
            *_, ticket, uid = heapq.heappop(self._backoff)
            queued = self._pods.get(uid)
            if queued is not None and queued.place == BACKOFF and queued.ticket == ticket:
                self._leave(queued)
                self._activate(queued)
        while self._unschedulable:
            queued = next(iter(self._unschedulable.values()))
            if now - queued.since < UNSCHEDULABLE_MAX_SECONDS:
                break
            self._wake(queued, now)

    def next_wake(self) -> float | None:
        """When ``wake`` has to be called next; None: never, while nothing else happens."""
        times: list[float] = [self._backoff[0][0]] if self._backoff else []
        if self._unschedulable:
            times.append(next(iter(self._unschedulable.values())).since + UNSCHEDULABLE_MAX_SECONDS)
        return min(times, default=None)

    @property
    def ready(self) -> bool:
        """Whether ``pop`` would return a pod (or has to look)."""
        return bool(self._counts[ACTIVE]) or self._counts[BACKOFF] > 0

    def names(self, places: Iterable[str]) -> list[str]:
        """Keys of the pods in some places, in the order of their arrival."""
        wanted = tuple(places)
        return [queued.info.key for queued in self._pods.values() if queued.place in wanted]

    # Places

    def _wake(self, queued: QueuedPod, now: float) -> None:
        self._leave(queued)
        if now - queued.since < queued.backoff_seconds:
            self._back_off(queued)
        else:
            self._activate(queued)

    def _activate(self, queued: QueuedPod) -> None:
        self._enter(queued, ACTIVE)
        heapq.heappush(self._active, (-queued.info.priority, queued.since, queued.ticket, queued.info.uid))

    def _back_off(self, queued: QueuedPod) -> None:
        self._enter(queued, BACKOFF)
        end = int(queued.since + queued.backoff_seconds)
        heapq.heappush(self._backoff, (end, -queued.info.priority, queued.since, queued.ticket, queued.info.uid))

    def _enter(self, queued: QueuedPod, place: str) -> None:
        self._tickets += 1
        queued.ticket, queued.place = self._tickets, place
        self._counts[place] += 1

    def _leave(self, queued: QueuedPod) -> None:
        if not queued.place:
            return
        self._counts[queued.place] -= 1
        if queued.place == UNSCHEDULABLE:
            self._unschedulable.pop(queued.info.uid, None)
            for event in queued.events:
                self._by_event[event].pop(queued.info.uid, None)
        queued.place = ""
