from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeloop.actors.api import quantity
from kubeloop.actors.api.quantity import QuantityError


@pytest.mark.parametrize(
    ("text", "canonical", "value", "milli_value"),
    [
        # the reference page of Quantity, and "Resource Management for Pods and Containers"
        ("0", "0", 0, 0),
        ("0Gi", "0", 0, 0),
        ("1.5", "1500m", 2, 1500),
        ("1.5Gi", "1536Mi", 1610612736, 1610612736000),
        ("0.1", "100m", 1, 100),
        ("100m", "100m", 1, 100),
        ("1000m", "1", 1, 1000),
        ("0.5", "500m", 1, 500),
        ("128974848", "128974848", 128974848, 128974848000),
        ("129e6", "129e6", 129000000, 129000000000),
        ("129M", "129M", 129000000, 129000000000),
        ("128974848000m", "128974848", 128974848, 128974848000),
        ("123Mi", "123Mi", 128974848, 128974848000),
        ("1024Mi", "1Gi", 1 << 30, 1000 << 30),
        ("1024Ki", "1Mi", 1 << 20, 1000 << 20),
        ("0.5Gi", "512Mi", 1 << 29, 1000 << 29),
        ("1.25Ki", "1280", 1280, 1280000),
        ("512", "512", 512, 512000),
        ("5000", "5k", 5000, 5000000),
        ("1e3", "1e3", 1000, 1000000),
        ("1E3", "1e3", 1000, 1000000),
        ("1E", "1E", 10**18, 10**21),
        ("1500e-3", "1500e-3", 2, 1500),
        ("-1.5", "-1500m", -2, -1500),
        ("+1", "1", 1, 1000),
        (".5", "500m", 1, 500),
        ("5.", "5", 5, 5000),
        ("1u", "1u", 1, 1),
        ("1n", "1n", 1, 1),
        ("0.1n", "1n", 1, 1),
        ("100000000000000000000", "9223372036854775807", 2**63 - 1, (2**63 - 1) * 1000),
    ],
)
def test_amounts_and_their_canonical_texts(text: str, canonical: str, value: int, milli_value: int) -> None:
    assert quantity.canonical(text) == canonical
    assert quantity.value(text) == value
    assert quantity.milli_value(text) == milli_value
    assert quantity.is_canonical(canonical) and quantity.is_canonical(text) == (text == canonical)


@pytest.mark.parametrize("text", ["", "lots", "12Mx", "1 Gi", " 1", "1..2", "Gi", "--1", "0x10", "1,5", "1e1.5", "١"])
def test_texts_that_are_no_quantity(text: str) -> None:
    with pytest.raises(QuantityError, match="quantities must match the regular expression"):
        quantity.parse(text)
    assert not quantity.is_canonical(text)


@pytest.mark.parametrize("text", ["1i", "12MM", "1mm", "1e"])
def test_suffixes_that_do_not_exist(text: str) -> None:
    with pytest.raises(QuantityError, match="unable to parse quantity's suffix"):
        quantity.parse(text)


def test_fractions_are_exact() -> None:
    assert quantity.parse("100m") == Fraction(1, 10)
    assert quantity.parse("1.1Gi") - quantity.parse("1.1Gi") == 0
    assert quantity.parse("3") % 1 == 0 and quantity.parse("2500m") % 1 != 0


def test_sums_keep_the_style_of_the_first() -> None:
    assert quantity.add("512Mi", "512Mi") == "1Gi"
    assert quantity.add("100m", "1") == "1100m"
    assert quantity.add("0", "1Ki") == "1Ki"


@given(st.integers(-(2**62), 2**62), st.sampled_from(["", "m", "u", "n", "k", "Ki", "Mi", "e3", "e-3"]))
def test_canonical_texts_mean_the_same_and_stay(number: int, suffix: str) -> None:
    text = f"{number}{suffix}"
    canonical = quantity.canonical(text)
    assert quantity.parse(canonical) == quantity.parse(text)
    assert quantity.canonical(canonical) == canonical
