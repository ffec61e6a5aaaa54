"""CrashLoopBackOff: when a container that ended may be started again. Pure.

Pod lifecycle, "Container restarts": at once the first time, then 10 s, doubling, at most 5 min; forgotten when the
container ran for 10 min.
"""

import msgspec

INITIAL_SECONDS = 10.0
MAX_SECONDS = 300.0
FORGET_SECONDS = 2 * MAX_SECONDS


class BackOff(msgspec.Struct, frozen=True):
    """The delay after the next end, and when it was last raised (unix seconds)."""

    seconds: float
    updated_at: float


def restart_at(backoff: BackOff | None, finished_at: float) -> float:
    """The time (unix seconds) from which a container that ended at `finished_at` may be started again."""
    if backoff is None or finished_at - backoff.updated_at > FORGET_SECONDS:
        return 0.0
    return finished_at + backoff.seconds


def raised(backoff: BackOff | None, finished_at: float, now: float) -> BackOff:
    """The delay that counts after this restart."""
    if backoff is None or finished_at - backoff.updated_at > FORGET_SECONDS:
        return BackOff(INITIAL_SECONDS, now)
    return BackOff(min(backoff.seconds * 2, MAX_SECONDS), now)


def format_duration(seconds: float) -> str:
    """Whole seconds as Go prints a duration: 10s, 1m20s, 5m0s."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{rest}s" if hours else f"{minutes}m{rest}s"
