"""What a scripted container does: read from its pod's annotations, pure.

`sim.kubeloop.io/NAME` counts for every container of the pod, `sim.kubeloop.io/CONTAINER.NAME` for one. Durations are
seconds ("1.5") or Go's ("1m30s", "200ms").

| NAME | meaning | default |
|---|---|---|
| start-delay | from StartContainer to running | 0 |
| run-time | from running to its end | until stopped; 0 with exit-code, for init containers and Jobs' pods |
| exit-code | how it ends; a list ("1,1,0") is taken by attempt, the last one repeats | 0 |
| ready-after | from running to ready; readiness and startup probes fail before | 0 |
| unhealthy-after | from running to failing liveness probes | never |
| stop-delay | from SIGTERM to its end; killed with 137 when the grace period is over first | 0 |
| log-lines | written to its log when it starts | none |
"""

import re
from collections.abc import Callable, Mapping
from math import inf

import msgspec

PREFIX = "sim.kubeloop.io/"
JOB_LABEL = "batch.kubernetes.io/job-name"
UNITS_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
DURATION = re.compile(r"([0-9.]+)(ns|us|µs|ms|s|m|h)")


class BadScript(ValueError):
    """An annotation cannot be read; the message names it, its value and what is allowed."""


class Script(msgspec.Struct, frozen=True):
    """Times in seconds. run_time inf: until stopped."""

    start_delay: float = 0.0
    run_time: float = inf
    exit_codes: tuple[int, ...] = (0,)
    ready_after: float = 0.0
    unhealthy_after: float = inf
    stop_delay: float = 0.0
    log_lines: str = ""

    def exit_code(self, attempt: int) -> int:
        return self.exit_codes[min(attempt, len(self.exit_codes) - 1)]


RUNS = Script()
ENDS = Script(run_time=0.0)


def parse_duration(text: str) -> float:
    """Seconds of "90", "1.5", "1m30s". ValueError otherwise, also for negative ones."""
    text = text.strip()
    try:
        seconds = float(text)
    except ValueError:
        parts = DURATION.findall(text)
        if not parts or "".join(number + unit for number, unit in parts) != text:
            raise ValueError(f"invalid duration {text!r}: seconds or Go's notation, such as 1m30s") from None
        seconds = sum(float(number) * UNITS_SECONDS[unit] for number, unit in parts)
    if not 0 <= seconds < inf:
        raise ValueError(f"invalid duration {text!r}: must not be negative")
    return seconds


def _exit_codes(text: str) -> tuple[int, ...]:
    codes = tuple(int(part) for part in text.split(","))
    if not all(0 <= code <= 255 for code in codes):
        raise ValueError(f"invalid exit codes {text!r}: each must be from 0 to 255")
    return codes


PARSERS: dict[str, tuple[str, Callable[[str], object]]] = {
    "start-delay": ("start_delay", parse_duration),
    "run-time": ("run_time", parse_duration),
    "exit-code": ("exit_codes", _exit_codes),
    "ready-after": ("ready_after", parse_duration),
    "unhealthy-after": ("unhealthy_after", parse_duration),
    "stop-delay": ("stop_delay", parse_duration),
    "log-lines": ("log_lines", str),
}


def script_for(container: str, annotations: Mapping[str, str], labels: Mapping[str, str], *, init: bool) -> Script:
    """The script of one container. BadScript when an annotation cannot be read."""
    default = ENDS if init or JOB_LABEL in labels else RUNS
    if not annotations:
        return default
    found: dict[str, object] = {}
    for name, (field, parse) in PARSERS.items():
        for key in (f"{PREFIX}{container}.{name}", f"{PREFIX}{name}"):
            text = annotations.get(key)
            if text is None:
                continue
            try:
                found[field] = parse(text)
            except ValueError as error:
                raise BadScript(f"annotation {key}: {error}") from None
            break
    if not found:
        return default
    if "exit_codes" in found:
        found.setdefault("run_time", 0.0)
    return msgspec.structs.replace(default, **found)
