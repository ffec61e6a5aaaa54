"""Logging: a constant snake_case event and key/values; `actor` and `host` are bound once.

    log = get_logger(actor="kube-scheduler", host="control-plane-0")
    log.info("pod_bound", key="default/web", node="node-1")

structlog renders the lines. It is imported when the first line is written, because importing it takes 150 ms.
Lines go to standard error; until `configure` is called only warnings and worse do.
"""

import sys
from collections.abc import Mapping, MutableMapping
from typing import Any

from kubeloop.runtime.clock import Clock

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}


class _State:
    """The process-wide settings, and the structlog logger made for them once it is needed."""

    level = LEVELS["warning"]
    json = False
    writer: Any = None


def configure(level: str = "info", json: bool = False) -> None:
    """Sets the least level to be written, and whether lines are JSON. Raises ValueError for an unknown level."""
    if level.lower() not in LEVELS:
        raise ValueError(f"log level {level!r}: one of {', '.join(LEVELS)}")
    _State.level = LEVELS[level.lower()]
    _State.json = json
    _State.writer = None


def get_logger(*, clock: Clock | None = None, **bound: Any) -> "Logger":
    """A logger with these key/values in each of its lines. With a clock, its time is on them."""
    return Logger(bound, clock)


class Logger:
    """structlog's bound logger as far as kubeloop needs it; a line below the level costs one comparison."""

    __slots__ = ("_bound", "_clock")

    def __init__(self, bound: Mapping[str, Any], clock: Clock | None) -> None:
        self._bound = bound
        self._clock = clock

    def bind(self, **values: Any) -> "Logger":
        return Logger({**self._bound, **values}, self._clock)

    def debug(self, event: str, **values: Any) -> None:
        if _State.level <= 10:
            self._write("debug", event, values)

    def info(self, event: str, **values: Any) -> None:
        if _State.level <= 20:
            self._write("info", event, values)

    def warning(self, event: str, **values: Any) -> None:
        if _State.level <= 30:
            self._write("warning", event, values)

    def error(self, event: str, **values: Any) -> None:
        if _State.level <= 40:
            self._write("error", event, values)

    def exception(self, event: str, **values: Any) -> None:
        """An error with a traceback: of `exc_info=error`, or of the exception that is being handled."""
        if _State.level <= 40:
            self._write("error", event, {"exc_info": True, **values})

    def critical(self, event: str, **values: Any) -> None:
        if _State.level <= 50:
            self._write("critical", event, values)

    def _write(self, method: str, event: str, values: Mapping[str, Any]) -> None:
        if _State.writer is None:
            _State.writer = _structlog_writer(_State.json)
        time = {} if self._clock is None else {"timestamp": self._clock.now_rfc3339_micro()}
        getattr(_State.writer, method)(event, **time, **self._bound, **values)


def _structlog_writer(json: bool) -> Any:
    import msgspec
    import structlog

    def encode(event: MutableMapping[str, Any], **_: Any) -> str:
        return msgspec.json.encode(event, enc_hook=repr).decode()

    processors: list[Any] = [structlog.processors.add_log_level]
    if json:
        processors += [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(serializer=encode)]
    else:
        renderer = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
        processors.append(renderer)
    return structlog.wrap_logger(
        _StandardError(), processors=processors, wrapper_class=structlog.BoundLogger, context_class=dict
    )


class _StandardError:
    """Writes to whatever sys.stderr is at that moment."""

    def msg(self, line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    debug = info = warning = error = critical = msg
