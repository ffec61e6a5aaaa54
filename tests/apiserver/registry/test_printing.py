"""Facts about how durations and selectors are shown."""

import pytest

from kubeloop.actors.api.meta_v1 import LabelSelector, LabelSelectorRequirement
from kubeloop.actors.apiserver.registry.printing import first_of, human_duration, selector_text

MINUTE, HOUR, DAY = 60, 3600, 86400


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (-5, "<invalid>"),
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (150, "2m30s"),
        (10 * MINUTE + 5, "10m"),
        (179 * MINUTE, "179m"),
        (3 * HOUR, "3h"),
        (3 * HOUR + 5 * MINUTE, "3h5m"),
        (8 * HOUR + 5 * MINUTE, "8h"),
        (47 * HOUR, "47h"),
        (2 * DAY + 3 * HOUR, "2d3h"),
        (8 * DAY + 3 * HOUR, "8d"),
        (400 * DAY, "400d"),
        (2 * 365 * DAY + 7 * DAY, "2y7d"),
        (9 * 365 * DAY, "9y"),
    ],
)
def test_a_duration_has_two_units_at_most(seconds: float, shown: str) -> None:
    assert human_duration(seconds) == shown


def test_a_selector_is_shown_as_kubectl_takes_it() -> None:
    requirements = (
        LabelSelectorRequirement(key="b", operator="In", values=("y", "x")),
        LabelSelectorRequirement(key="c", operator="DoesNotExist"),
    )
    selector = LabelSelector(match_labels={"a": "1"}, match_expressions=requirements)
    assert selector_text(selector) == "a=1,b in (x,y),!c"
    assert selector_text(LabelSelector()) == "<none>"


def test_long_lists_are_cut_short() -> None:
    assert first_of(["a", "b"], 3) == "a,b"
    assert first_of(["a", "b", "c", "d", "e"], 3) == "a,b,c + 2 more..."
