"""Amounts of a resource: "100m", "1Gi", "2e3". Follows the Kubernetes reference page of Quantity.

Values are exact (int, or Fraction when fractional). Everything is cached: a cluster uses few different texts.
"""

import re
from fractions import Fraction
from functools import lru_cache
from typing import TypeAlias

Amount: TypeAlias = int | Fraction

FORMAT_WRONG = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
SUFFIX_WRONG = "unable to parse quantity's suffix"
NUMBER_WRONG = "unable to parse numeric part of quantity"
LARGEST = 2**63 - 1
SMALLEST_PART = 10**9  # nothing is finer than nano: what is, is rounded up

_SYNTAX = re.compile(r"([+-]?)([0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)")
_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY_SUFFIX = {power: suffix for suffix, power in _BINARY.items()}
_DECIMAL_SUFFIX = {power: suffix for suffix, power in _DECIMAL.items()}
_EXPONENT = re.compile(r"[eE]([+-]?[0-9]+)")

BINARY_SI, DECIMAL_SI, DECIMAL_EXPONENT = "BinarySI", "DecimalSI", "DecimalExponent"


class QuantityError(ValueError):
    """A text that is no quantity, in apimachinery's words."""


@lru_cache(8192)
def parse(text: str) -> Amount:
    """The exact amount. Raises QuantityError."""
    return _parse(text)[0]


@lru_cache(8192)
def value(text: str) -> int:
    """Whole units (bytes, pods, cores), rounded away from zero. Raises QuantityError."""
    return _round_up(parse(text))


@lru_cache(8192)
def milli_value(text: str) -> int:
    """Thousandths, rounded away from zero: 250 for "250m", 1000 for "1". Raises QuantityError."""
    return _round_up(parse(text) * 1000)


@lru_cache(8192)
def canonical(text: str) -> str:
    """The text that the API server answers with: "0.5" -> "500m", "1024Mi" -> "1Gi". Raises QuantityError."""
    amount, style = _parse(text)
    return format(amount, style)


def is_canonical(text: str) -> bool:
    """False also for a text that is no quantity."""
    try:
        return canonical(text) == text
    except QuantityError:
        return False


def add(*texts: str) -> str:
    """Their sum, written in the style of the first that is not zero, as Quantity.Add does."""
    parsed = [_parse(text) for text in texts]
    style = next((style for amount, style in parsed if amount), DECIMAL_SI)
    return format(sum(amount for amount, _ in parsed), style)


def format(amount: Amount, style: str = DECIMAL_SI) -> str:
    """The canonical text of an amount in one of the three styles."""
    if amount == 0:
        return "0"
    if style == BINARY_SI:
        if -1024 < amount < 1024 or amount % 1:
            style = DECIMAL_SI
        else:
            return _format_binary(int(amount))
    mantissa, exponent = _mantissa(amount)
    if style == DECIMAL_EXPONENT:
        return f"{mantissa}e{exponent}" if exponent else str(mantissa)
    exponent_over = max(0, exponent - 18)
    return f"{mantissa * 10**exponent_over}{_DECIMAL_SUFFIX[exponent - exponent_over]}"


def _format_binary(amount: int) -> str:
    power = 0
    while amount % 1024 == 0 and power < 6:
        amount //= 1024
        power += 1
    return f"{amount}{_BINARY_SUFFIX[power]}" if power else str(amount)


def _mantissa(amount: Amount) -> tuple[int, int]:
    """The least whole mantissa with an exponent of ten that is a multiple of three, -9 or more."""
    number, exponent = _round_up(amount * SMALLEST_PART), -9
    while number % 1000 == 0:
        number //= 1000
        exponent += 3
    return number, exponent


def _round_up(amount: Amount) -> int:
    return -(-amount // 1) if amount >= 0 else int(amount // 1)


@lru_cache(8192)
def _parse(text: str) -> tuple[Amount, str]:
    found = _SYNTAX.fullmatch(text)
    if found is None:
        raise QuantityError(FORMAT_WRONG)
    sign, digits, suffix = found.groups()
    if digits.count(".") > 1 or digits == ".":
        raise QuantityError(FORMAT_WRONG if digits.count(".") > 1 else NUMBER_WRONG)
    whole, _, fraction = digits.partition(".")
    amount: Amount = Fraction(int(whole + fraction or "0"), 10 ** len(fraction))
    if suffix in _DECIMAL:
        style, scale = DECIMAL_SI, Fraction(10) ** _DECIMAL[suffix]
    elif suffix in _BINARY:
        style, scale = BINARY_SI, Fraction(1024 ** _BINARY[suffix])
    elif (exponent := _EXPONENT.fullmatch(suffix)) and len(exponent[1]) < 5:
        style, scale = DECIMAL_EXPONENT, Fraction(10) ** int(exponent[1])
    else:
        raise QuantityError(SUFFIX_WRONG)
    amount = _limited(amount * scale)
    return (-amount if sign == "-" else amount), style


def _limited(amount: Fraction) -> Amount:
    """At most 2^63-1, and nothing finer than nano."""
    if amount >= LARGEST:
        return LARGEST
    if amount.denominator == 1:
        return int(amount)
    if SMALLEST_PART % amount.denominator:
        amount = Fraction(_round_up(amount * SMALLEST_PART), SMALLEST_PART)
    return amount
