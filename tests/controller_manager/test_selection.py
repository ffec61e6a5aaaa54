"""The --controllers flag."""

from __future__ import annotations

import pytest

from kubeloop.actors.controller_manager.selection import select_controllers

KNOWN = {"deployment-controller": True, "garbage-collector-controller": True, "token-thing-controller": False}


def test_star_is_everything_that_is_on_by_default() -> None:
    assert select_controllers(["*"], KNOWN) == ("deployment-controller", "garbage-collector-controller")


def test_a_minus_switches_off_and_short_names_are_understood() -> None:
    assert select_controllers(["*", "-deployment"], KNOWN) == ("garbage-collector-controller",)
    assert select_controllers(["gc"], KNOWN) == ("garbage-collector-controller",)
    assert select_controllers(["*", "-garbagecollector"], KNOWN) == ("deployment-controller",)


def test_one_off_by_default_runs_only_when_named() -> None:
    assert "token-thing-controller" in select_controllers(["*", "token-thing"], KNOWN)


def test_the_first_word_about_a_controller_decides() -> None:
    assert select_controllers(["-deployment", "deployment"], KNOWN) == ()


def test_an_unknown_name_is_a_clear_error() -> None:
    with pytest.raises(ValueError, match="'deploymnet' is not in the list of known controllers: deployment-controller"):
        select_controllers(["*", "deploymnet"], KNOWN)


def test_a_real_controller_that_is_not_here_can_be_left_out_but_not_asked_for() -> None:
    assert select_controllers(["-service-lb"], KNOWN) == ()
    with pytest.raises(ValueError, match="kubeloop does not"):
        select_controllers(["service-lb-controller"], KNOWN)
