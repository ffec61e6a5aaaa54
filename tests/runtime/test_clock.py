"""Time, its notation, and chance."""

import asyncio
import time
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeloop.runtime.clock import Clock, format_rfc3339, format_rfc3339_micro, parse_rfc3339
from kubeloop.runtime.simulation import simulate


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2026-01-01T00:00:00Z", 1_767_225_600),
        ("2026-01-01T00:00:00.25Z", 1_767_225_600.25),
        ("2026-01-01t00:00:00z", 1_767_225_600),
        ("2026-01-01T02:30:00+02:30", 1_767_225_600),
        ("2025-12-31T19:00:00.500-05:00", 1_767_225_600.5),
        ("2024-02-29T00:00:00Z", 1_709_164_800),
    ],
)
def test_rfc3339_times_are_read(text: str, seconds: float) -> None:
    assert parse_rfc3339(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "2026-01-01",
        "2026-01-01T00:00:00",
        "2026-01-01 00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2025-02-29T00:00:00Z",
        "2026-01-01T24:00:00Z",
        "2026-01-01T00:00:00.Z",
        "2026-01-01T00:00:00.1",
        "2026-01-01T00:00:00+2:00",
        "2026-01-01T00:00:00+99:00",
        "２026-01-01T00:00:00Z",
        "2026-01-01T00:00:00Z\n",
    ],
)
def test_what_is_no_rfc3339_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not an RFC 3339 time"):
        parse_rfc3339(text)


@given(st.integers(0, 4_000_000_000))
def test_what_is_written_can_be_read(seconds: int) -> None:
    assert parse_rfc3339(format_rfc3339(seconds)) == seconds
    assert parse_rfc3339(format_rfc3339_micro(seconds + 0.5)) == seconds + 0.5


def test_seconds_are_cut_and_microseconds_rounded() -> None:
    assert format_rfc3339(1_767_225_600.999) == "2026-01-01T00:00:00Z"
    assert format_rfc3339_micro(1_767_225_600.9999999) == "2026-01-01T00:00:01.000000Z"


def test_equal_seeds_give_equal_chance_and_streams_do_not_disturb_each_other() -> None:
    one, two = Clock(seed=1, epoch=0.0), Clock(seed=1, epoch=0.0)
    one.stream("other").random()
    assert [one.uuid4(), one.random.random()] == [two.uuid4(), two.random.random()]
    assert one.uuid4() != Clock(seed=2, epoch=0.0).uuid4()
    assert uuid.UUID(one.uuid4()).version == 4
    assert one.stream("a").random() != one.stream("b").random()


def test_virtual_time_is_the_epoch_plus_the_loops_time() -> None:
    async def main() -> None:
        clock = Clock(seed=1, epoch=1_767_225_600.0)
        fired: list[float] = []
        clock.call_later(5, lambda: fired.append(clock.monotonic()))
        await clock.sleep(10)
        assert fired == [5]
        assert clock.now_rfc3339() == "2026-01-01T00:00:10Z"
        assert clock.now_rfc3339_micro() == "2026-01-01T00:00:10.000000Z"

    simulate(main(), seed=1)


def test_without_an_epoch_the_wall_clock_counts() -> None:
    async def main() -> None:
        clock = Clock()
        assert abs(clock.now() - time.time()) < 5
        assert clock.uuid4() != Clock().uuid4()

    asyncio.run(main())
