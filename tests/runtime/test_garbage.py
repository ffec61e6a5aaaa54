"""What a System does to the garbage collector's thresholds."""

import gc
from collections.abc import Iterator

import pytest

from kubeloop.runtime.garbage import YOUNG_OBJECTS_MAX
from kubeloop.runtime.simulation import simulate
from kubeloop.runtime.system import System


@pytest.fixture(autouse=True)
def thresholds() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)


def test_thresholds_are_raised_while_systems_run_and_put_back_after_the_last() -> None:
    gc.set_threshold(700, 10, 10)

    async def scenario() -> None:
        async with System():
            async with System():
                assert gc.get_threshold() == (YOUNG_OBJECTS_MAX, 10, 10)
            assert gc.get_threshold() == (YOUNG_OBJECTS_MAX, 10, 10)

    simulate(scenario(), seed=1)
    assert gc.get_threshold() == (700, 10, 10)


def test_thresholds_are_put_back_after_a_failure() -> None:
    gc.set_threshold(700, 10, 10)

    async def scenario() -> None:
        async with System():
            raise ValueError

    with pytest.raises(ValueError):
        simulate(scenario(), seed=1)
    assert gc.get_threshold() == (700, 10, 10)


@pytest.mark.parametrize("own", [(0, 10, 10), (50_000, 20, 30)])
def test_a_process_that_decided_for_itself_is_left_alone(own: tuple[int, int, int]) -> None:
    gc.set_threshold(*own)

    async def scenario() -> None:
        async with System():
            assert gc.get_threshold() == own

    simulate(scenario(), seed=1)
    assert gc.get_threshold() == own


def test_what_somebody_sets_meanwhile_stays() -> None:
    gc.set_threshold(700, 10, 10)

    async def scenario() -> None:
        async with System():
            gc.set_threshold(1_234, 5, 6)

    simulate(scenario(), seed=1)
    assert gc.get_threshold() == (1_234, 5, 6)
