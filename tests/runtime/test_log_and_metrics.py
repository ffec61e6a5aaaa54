"""What operators see: log lines and metrics."""

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from kubeloop.runtime import log
from kubeloop.runtime.clock import Clock
from kubeloop.runtime.metrics import Registry
from kubeloop.runtime.simulation import simulate
from kubeloop.runtime.system import System


@pytest.fixture(autouse=True)
def restored_log_settings() -> Iterator[None]:
    yield
    log.configure("warning")


def test_lines_below_the_level_are_not_written(capsys: pytest.CaptureFixture[str]) -> None:
    logger = log.get_logger(actor="a")
    logger.info("quiet_event")
    logger.warning("loud_event")
    log.configure("debug")
    logger.debug("now_heard")
    written = capsys.readouterr().err
    assert "quiet_event" not in written
    assert "loud_event" in written and "now_heard" in written


def test_json_lines_carry_event_level_time_and_what_was_bound(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("info", json=True)

    async def main() -> None:
        clock = Clock(seed=1, epoch=1_767_225_600.0)
        log.get_logger(clock=clock, actor="a", host="h").bind(key="default/web").info("pod_bound", node="n", odd={1})
        try:
            raise ValueError("boom")
        except ValueError:
            log.get_logger().exception("failed_event")

    simulate(main(), seed=1)
    first, second = map(json.loads, capsys.readouterr().err.splitlines())
    assert first == {
        "event": "pod_bound",
        "level": "info",
        "timestamp": "2026-01-01T00:00:00.000000Z",
        "actor": "a",
        "host": "h",
        "key": "default/web",
        "node": "n",
        "odd": [1],
    }
    assert "ValueError: boom" in second["exception"]


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(ValueError, match="'loud': one of debug, info"):
        log.configure("loud")


def test_actors_need_no_structlog_until_something_is_written() -> None:
    code = "import sys, kubeloop.runtime.system; print([m for m in ('structlog', 'rich') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_metrics_are_exported_in_prometheus_text_format() -> None:
    registry = Registry()
    requests = registry.counter("requests_total", "Requests answered.", ("verb",))
    requests.labels("GET").inc()
    requests.labels("GET").inc(2)
    requests.labels("LIST").inc()
    depth = registry.gauge("depth", "Keys that wait.").labels()
    depth.set(5)
    depth.inc()
    depth.dec(2)
    registry.gauge("read", "Read when exported.").labels().set_function(lambda: 7)
    seconds = registry.histogram("seconds", "Time taken.", buckets=(0.1, 1.0)).labels()
    for value in (0.05, 0.1, 0.5, 3):
        seconds.observe(value)
    assert (depth.value, seconds.count) == (4, 4)
    assert registry.text().decode() == (
        "# HELP depth Keys that wait.\n# TYPE depth gauge\ndepth 4.0\n"
        "# HELP read Read when exported.\n# TYPE read gauge\nread 7.0\n"
        "# HELP requests_total Requests answered.\n# TYPE requests_total counter\n"
        'requests_total{verb="GET"} 3.0\nrequests_total{verb="LIST"} 1.0\n'
        "# HELP seconds Time taken.\n# TYPE seconds histogram\n"
        'seconds_bucket{le="0.1"} 2.0\nseconds_bucket{le="1.0"} 3.0\nseconds_bucket{le="+Inf"} 4.0\n'
        "seconds_count 4.0\nseconds_sum 3.65\n"
    )


def test_a_metric_is_declared_once_and_used_as_declared() -> None:
    registry = Registry()
    family = registry.counter("requests_total", "Requests.", ("verb",))
    assert registry.counter("requests_total", "Requests.", ("verb",)) is family
    wrong: list[Any] = [
        lambda: registry.gauge("requests_total", "", ("verb",)),
        lambda: registry.counter("requests_total", ""),
        lambda: family.labels("GET", "200"),
        lambda: family.labels("GET").inc(-1),
        lambda: registry.histogram("seconds", "", buckets=(1.0, 0.5)),
    ]
    for attempt in wrong:
        with pytest.raises(ValueError):
            attempt()


def test_the_statistics_of_a_system_are_numbers_of_its_actors() -> None:
    from kubeloop.runtime.actor import Actor

    class Sleeper(Actor):
        async def on_message(self, message: Any) -> None:
            await self.context.clock.sleep(10)

    async def main() -> None:
        async with System() as system:
            ref = await system.start(Sleeper, name="sleeper", host="a")
            for _ in range(3):
                await ref.tell("sleep")
            await system.clock.sleep(1)
            (one,) = system.statistics()
            assert (one.name, one.host, one.state) == ("sleeper", "a", "running")
            assert (one.mailbox, one.messages, one.children, one.restarts) == (2, 1, 1, 0)

    simulate(main(), seed=1)
