import pytest

from kubeloop.actors.container_runtime.script import ENDS, RUNS, BadScript, parse_duration, script_for

PREFIX = "sim.kubeloop.io/"


def test_without_annotations_a_container_runs_until_it_is_stopped() -> None:
    assert script_for("web", {}, {}, init=False) is RUNS


def test_init_containers_and_pods_of_jobs_end_at_once() -> None:
    assert script_for("init", {}, {}, init=True) is ENDS
    assert script_for("work", {}, {"batch.kubernetes.io/job-name": "job"}, init=False) is ENDS


def test_an_annotation_for_one_container_wins_over_that_for_all() -> None:
    annotations = {PREFIX + "run-time": "10", PREFIX + "web.run-time": "1m30s"}
    assert script_for("web", annotations, {}, init=False).run_time == 90.0
    assert script_for("db", annotations, {}, init=False).run_time == 10.0


def test_an_exit_code_without_a_run_time_ends_the_container_at_once() -> None:
    script = script_for("web", {PREFIX + "exit-code": "1,0"}, {}, init=False)
    assert script.run_time == 0.0
    assert [script.exit_code(attempt) for attempt in range(3)] == [1, 0, 0]


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90.0), ("1.5", 1.5), ("1m30s", 90.0), ("200ms", 0.2), ("1h", 3600.0)]
)
def test_durations_are_seconds_or_in_gos_notation(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "soon", "-1", "1m 30s", "inf", "nan"])
def test_other_durations_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="invalid duration"):
        parse_duration(text)


@pytest.mark.parametrize(("name", "value"), [("run-time", "soon"), ("exit-code", "256"), ("exit-code", "one")])
def test_an_annotation_that_cannot_be_read_is_named(name: str, value: str) -> None:
    with pytest.raises(BadScript, match=f"annotation {PREFIX}{name}: "):
        script_for("web", {PREFIX + name: value}, {}, init=False)
