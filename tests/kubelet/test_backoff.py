from kubeloop.actors.kubelet.backoff import BackOff, format_duration, raised, restart_at


def test_the_first_restart_is_at_once_and_the_next_ones_wait_twice_as_long_each() -> None:
    backoff: BackOff | None = None
    delays, now = [], 1000.0
    for _ in range(8):
        at = max(now, restart_at(backoff, now))
        delays.append(at - now)
        backoff = raised(backoff, now, at)
        now = at + 1.0  # runs a second, then ends again
    assert delays == [0.0, 10.0, 20.0, 40.0, 80.0, 160.0, 300.0, 300.0]


def test_a_container_that_ran_ten_minutes_starts_over() -> None:
    backoff = BackOff(160.0, updated_at=1000.0)
    assert restart_at(backoff, finished_at=1601.0) == 0.0
    assert raised(backoff, 1601.0, 1601.0).seconds == 10.0


def test_durations_are_printed_as_go_prints_them() -> None:
    assert [format_duration(s) for s in (10, 80, 300, 3600)] == ["10s", "1m20s", "5m0s", "1h0m0s"]
