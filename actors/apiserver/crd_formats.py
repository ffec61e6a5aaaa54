"""The formats of strings that schemas of custom resources may ask for (the CustomResourceDefinition page lists them).

A format that is not known says nothing.
"""

import base64
import binascii
import ipaddress
import re
from collections.abc import Callable, Mapping

_HEX = r"[0-9a-fA-F]"
_UUID = rf"{_HEX}{{8}}-?{_HEX}{{4}}-?%s-?%s-?{_HEX}{{12}}"
_HOSTNAME = (
    r"(?=.{1,255}\Z)[a-zA-Z0-9]([-a-zA-Z0-9]{0,61}[a-zA-Z0-9])?(\.[a-zA-Z0-9]([-a-zA-Z0-9]{0,61}[a-zA-Z0-9])?)*\.?"
)
_DATE = r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])"
_DURATION_UNIT = (
    r"(ns|us|µs|ms|s|m|h|d|w|nanos?|micros?|millis?|secs?|mins?|hours?|days?|weeks?|nanoseconds?|microseconds?|"
)
_DURATION_UNIT += r"milliseconds?|seconds?|minutes?|hr|hrs)"
_PATTERNS: Mapping[str, str] = {
    "bsonobjectid": rf"{_HEX}{{24}}",
    "creditcard": r"[- \d]{13,24}",
    "date": _DATE,
    "date-time": rf"{_DATE}[Tt ]([01]\d|2[0-3]):[0-5]\d:([0-5]\d|60)(\.\d+)?([Zz]|[+-]\d{{2}}:?\d{{2}})",
    "duration": rf"-?\d+(\.\d+)?\s*{_DURATION_UNIT}(\s*\d+(\.\d+)?\s*{_DURATION_UNIT})*",
    "email": r"[^@\s<>]+@[^@\s<>]+",
    "hexcolor": rf"#?({_HEX}{{3}}|{_HEX}{{6}})",
    "hostname": _HOSTNAME,
    "isbn": r"([\d-]{9,16}[\dXx])",
    "isbn10": r"[\d-]{9,12}[\dXx]",
    "isbn13": r"[\d-]{13,17}",
    "mac": rf"{_HEX}{{2}}([:-]{_HEX}{{2}}){{5,7}}|{_HEX}{{4}}(\.{_HEX}{{4}}){{2,3}}",
    "rgbcolor": r"rgb\(\s*\d{1,3}\s*,\s*\d{1,3}\s*,\s*\d{1,3}\s*\)",
    "ssn": r"\d{3}[- ]?\d{2}[- ]?\d{4}",
    "uri": r"[a-zA-Z][a-zA-Z0-9+.-]*:\S+|/\S*",
    "uuid": _UUID % (_HEX + "{4}", _HEX + "{4}"),
    "uuid3": _UUID % ("3" + _HEX + "{3}", _HEX + "{4}"),
    "uuid4": _UUID % ("4" + _HEX + "{3}", "[89abAB]" + _HEX + "{3}"),
    "uuid5": _UUID % ("5" + _HEX + "{3}", "[89abAB]" + _HEX + "{3}"),
}
_COMPILED = {name: re.compile(f"(?:{pattern})\\Z") for name, pattern in _PATTERNS.items()}
_COMPILED["datetime"] = _COMPILED["date-time"]


def _parses(parse: Callable[[str], object]) -> Callable[[str], bool]:
    def check(text: str) -> bool:
        try:
            parse(text)
        except (ValueError, binascii.Error):
            return False
        return True

    return check


def _network(text: str) -> object:
    if "/" not in text:
        raise ValueError("no prefix")
    return ipaddress.ip_network(text, strict=False)


_CHECKS: Mapping[str, Callable[[str], bool]] = {
    "byte": _parses(lambda text: base64.b64decode(text, validate=True)),
    "cidr": _parses(_network),
    "ipv4": _parses(ipaddress.IPv4Address),
    "ipv6": _parses(ipaddress.IPv6Address),
    **{name: (lambda text, found=found: found.match(text) is not None) for name, found in _COMPILED.items()},  # type: ignore[misc]
}


def matches(format_: str, text: str) -> bool:
    check = _CHECKS.get(format_)
    return check is None or check(text)
