"""Runs the probes of one container attempt: timers only, no standing task. What results mean is `probes`' to say."""

import asyncio
from math import inf
from typing import TYPE_CHECKING

from kubeloop.actors.api.core_v1 import Container
from kubeloop.actors.container_runtime import messages as cri
from kubeloop.actors.kubelet.probes import (
    LIVENESS,
    READINESS,
    STARTUP,
    Outcome,
    ProbeState,
    check_within,
    timed_out,
)
from kubeloop.actors.kubelet.record import ContainerRecord
from kubeloop.runtime.actor import ActorStopped
from kubeloop.runtime.tasks import ChildCancelled

if TYPE_CHECKING:
    from kubeloop.actors.kubelet.worker import PodWorker

TITLES = {STARTUP: "Startup", LIVENESS: "Liveness", READINESS: "Readiness"}


class Prober:
    """The probes of `container` until `close()`. Tells its worker by changing the record and asking for a sync."""

    __slots__ = ("_container", "_record", "_states", "_timers", "_worker", "closed")

    def __init__(
        self, worker: "PodWorker", container: Container, record: ContainerRecord, states: list[ProbeState]
    ) -> None:
        self._worker = worker
        self._container = container
        self._record = record
        self._states = states
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self.closed = False

    def start(self, *, was_ready: bool = False) -> None:
        """Begin; probes without an initial delay are made at once. was_ready: an adopted container stays ready until a
        probe says otherwise."""
        kinds = [state.kind for state in self._states]
        self._record.started = STARTUP not in kinds
        self._record.ready = READINESS not in kinds and self._record.started
        if was_ready:
            self._record.started = self._record.ready = True
            for state in self._states:
                state.healthy = True
            kinds = []
        self._begin(STARTUP) if STARTUP in kinds else self._begin(LIVENESS, READINESS)

    def close(self) -> None:
        self.closed = True
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def keep_readiness(self) -> None:
        """The container is being stopped: nothing but its readiness is probed from now on."""
        self._states = [state for state in self._states if state.kind == READINESS]
        for kind in (STARTUP, LIVENESS):
            if kind in self._timers:
                self._timers.pop(kind).cancel()

    def _begin(self, *kinds: str) -> None:
        status, now = self._record.status, self._worker.kubelet.clock.now()
        started_at = status.started_at if status is not None else now
        for state in self._states:
            if state.kind in kinds:
                self._schedule(state, started_at + state.initial_delay_seconds - now)

    def _schedule(self, state: ProbeState, delay_seconds: float) -> None:
        if delay_seconds <= 0:
            self._tick(state)
        elif not self.closed:
            self._timers[state.kind] = self._worker.kubelet.clock.call_later(delay_seconds, self._tick, state)

    def _tick(self, state: ProbeState) -> None:
        if not self.closed:
            self._worker.kubelet.drive(self._check, state)

    async def _check(self, state: ProbeState) -> None:
        kubelet, until = self._worker.kubelet, 0.0
        try:
            if kubelet.runtime.scripted_probes:
                answer: cri.ProbeAnswer = await kubelet.ask_runtime(cri.RunProbe(self._container_id(), state.kind))
                outcome, until = Outcome(answer.success, answer.message), answer.until
            else:
                outcome = await self._check_process(state)
        except (cri.RuntimeServiceError, ActorStopped, ChildCancelled):
            return  # the container has gone, or its runtime: the event about that is on its way
        if self.closed or state not in self._states:
            return
        self._apply(state, outcome)
        settled = until == inf and state.healthy is outcome.success
        if not self.closed and not settled and not (state.kind == STARTUP and state.healthy):
            self._schedule(state, max(state.period_seconds, until - kubelet.clock.now() if until < inf else 0.0))

    def _container_id(self) -> str:
        return self._record.status.id if self._record.status is not None else ""

    async def _check_process(self, state: ProbeState) -> Outcome:
        worker, probe = self._worker, state.spec
        pod_ip = worker.address()
        try:
            if probe.exec is not None:
                request = cri.ExecSync(self._container_id(), probe.exec.command, state.timeout_seconds)
                result: cri.ExecResult = await worker.kubelet.ask_runtime(request)
                text = (result.stdout + result.stderr).decode(errors="replace")
                return Outcome(result.exit_code == 0, text)
            check = (check_within, probe, self._container, pod_ip, state.timeout_seconds)
            outcome: Outcome = await worker.kubelet.spawn(*check, name="probe")
            return outcome
        except cri.RuntimeServiceError as error:
            if error.reason != "DeadlineExceeded":
                raise
            return Outcome(False, timed_out(probe, self._container, pod_ip))

    def _apply(self, state: ProbeState, outcome: Outcome) -> None:
        worker, record = self._worker, self._record
        title = TITLES[state.kind]
        if not outcome.success:
            worker.event("Warning", "Unhealthy", f"{title} probe failed: {outcome.message}", self._container)
        if not state.observe(outcome.success):
            return
        if state.kind == READINESS:
            record.ready = bool(state.healthy)
        elif state.healthy is False:
            reason = f"Container {self._container.name} failed {state.kind} probe"
            record.kill_message = f"{reason}, will be restarted"
            self.close()
        elif state.kind == STARTUP:
            record.started = True
            record.ready = all(other.kind != READINESS for other in self._states)
            self._begin(LIVENESS, READINESS)
        else:
            return
        worker.kubelet.enqueue(worker)
