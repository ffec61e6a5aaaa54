"""What follows a crash: a restart with backoff, until an actor crashes too often; then the whole System ends.

Only crashes of an actor's own making count towards the limit: killing it from outside (System.crash) restarts it with
the same backoff, as often as anybody likes.
"""

from typing import TYPE_CHECKING

from msgspec import Struct

from kubeloop.runtime.backoff import Backoff
from kubeloop.runtime.errors import RestartLimitExceeded
from kubeloop.runtime.limits import (
    RESTART_INITIAL_SECONDS,
    RESTART_MAX_SECONDS,
    RESTART_WINDOW_SECONDS,
    RESTARTS_MAX,
)

if TYPE_CHECKING:
    from kubeloop.runtime.system import Slot, System


class RestartPolicy(Struct, frozen=True):
    """Waits initial_seconds after the first crash within window_seconds, times `factor` after each further one.

    restarts_max: crashes within the window after which the supervisor gives up. 0 never restarts.
    """

    initial_seconds: float = RESTART_INITIAL_SECONDS
    max_seconds: float = RESTART_MAX_SECONDS
    factor: float = 2.0
    restarts_max: int = RESTARTS_MAX
    window_seconds: float = RESTART_WINDOW_SECONDS


class Verdict(Struct, frozen=True):
    """What to do after a crash: restart after so many seconds, or give up (None)."""

    delay_seconds: float | None
    crashes: tuple[float, ...]  # times of those within the window, this one included
    failures: tuple[float, ...]  # those of them that were the actor's own


def judge(
    policy: RestartPolicy, now: float, crashes: tuple[float, ...], failures: tuple[float, ...], own_failure: bool
) -> Verdict:
    """Decides about a crash at `now`, in seconds, after those at `crashes` and `failures`."""
    since = now - policy.window_seconds
    crashes = (*(time for time in crashes if time > since), now)
    failures = tuple(time for time in failures if time > since)
    if own_failure:
        failures = (*failures, now)
    if len(failures) > policy.restarts_max:
        return Verdict(None, crashes, failures)
    backoff = Backoff(policy.initial_seconds, policy.max_seconds, policy.factor)
    return Verdict(backoff.delay_seconds(len(crashes) - 1), crashes, failures)


class Supervisor:
    def __init__(self, system: "System") -> None:
        self._system = system

    def crashed(self, slot: "Slot", error: Exception | None) -> None:
        """An incarnation ended by crash: schedules the next one, or ends the System."""
        now = self._system.clock.monotonic()
        verdict = judge(slot.policy, now, slot.crashes, slot.failures, own_failure=error is not None)
        slot.crashes, slot.failures = verdict.crashes, verdict.failures
        if error is not None:
            slot.log.exception("actor_crashed", restart_seconds=verdict.delay_seconds, exc_info=error)
        else:
            slot.log.info("actor_killed", restart_seconds=verdict.delay_seconds)
        if self._system.closing or slot.state == "stopping":
            slot.state = "stopped"
        elif verdict.delay_seconds is None:
            slot.state = "failed"
            limit = RestartLimitExceeded(
                f"{slot.name} crashed {len(verdict.failures)} times within {slot.policy.window_seconds:g} s, "
                f"at most {slot.policy.restarts_max} restarts are allowed; the last error: {error!r}"
            )
            limit.__cause__ = error
            self._system.fail(limit)
        else:
            slot.state = "backoff"
            slot.timer = self._system.clock.call_later(verdict.delay_seconds, self._restart, slot)

    def _restart(self, slot: "Slot") -> None:
        slot.timer = None
        slot.restarts += 1
        self._system.boot(slot)
