"""Label selectors and field selectors: their texts, and whether an object matches. Errors are worded as apimachinery's.

Follows the page "Labels and Selectors" of the Kubernetes documentation.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from kubeloop.actors.api.label_names import key_problem, value_problem

EQUALS, DOUBLE_EQUALS, NOT_EQUALS, IN, NOT_IN = "=", "==", "!=", "in", "notin"
EXISTS, DOES_NOT_EXIST, GREATER, LESS = "exists", "!", "gt", "lt"
_SYMBOLS = {"=": EQUALS, "==": DOUBLE_EQUALS, "!=": NOT_EQUALS, "in": IN, "notin": NOT_IN, ">": GREATER, "<": LESS}
_OF_EXPRESSION = {
    "In": IN,
    "NotIn": NOT_IN,
    "Exists": EXISTS,
    "DoesNotExist": DOES_NOT_EXIST,
    "Gt": GREATER,
    "Lt": LESS,
}
OPERATORS = "in, notin, =, ==, !=, gt, lt"
_TOKEN = re.compile(r"\s*(==|!=|[=!(),<>]|[^\s=!(),<>]+|$)")
_WORD = "word"
_INTEGER = re.compile(r"[+-]?[0-9]+")


class SelectorError(ValueError):
    """A selector that cannot be understood."""


class Requirement(msgspec.Struct, frozen=True):
    """One term of a label selector; `operator` is one of this module's constants."""

    key: str
    operator: str
    values: Sequence[str] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        return _MATCHES[self.operator](labels.get(self.key), self.values)

    def __str__(self) -> str:
        if self.operator == EXISTS:
            return self.key
        if self.operator == DOES_NOT_EXIST:
            return f"!{self.key}"
        if self.operator in (IN, NOT_IN):
            return f"{self.key} {self.operator} ({','.join(sorted(self.values))})"
        symbol = {GREATER: ">", LESS: "<"}.get(self.operator, self.operator)
        return f"{self.key}{symbol}{self.values[0]}"


def _compared(compare: Callable[[int, int], bool]) -> Callable[[str | None, Sequence[str]], bool]:
    def matches(found: str | None, values: Sequence[str]) -> bool:
        if found is None or not _INTEGER.fullmatch(found) or not _INTEGER.fullmatch(values[0]):
            return False
        return compare(int(found), int(values[0]))

    return matches


_MATCHES: Mapping[str, Callable[[str | None, Sequence[str]], bool]] = {
    EQUALS: lambda found, values: found == values[0],
    DOUBLE_EQUALS: lambda found, values: found == values[0],
    NOT_EQUALS: lambda found, values: found != values[0],
    IN: lambda found, values: found in values,
    NOT_IN: lambda found, values: found not in values,
    EXISTS: lambda found, values: found is not None,
    DOES_NOT_EXIST: lambda found, values: found is None,
    GREATER: _compared(lambda found, limit: found > limit),
    LESS: _compared(lambda found, limit: found < limit),
}


class LabelSelector:
    """A parsed label selector: all requirements must hold. Without any it matches everything."""

    __slots__ = ("_equal", "_others", "nothing", "requirements")

    def __init__(self, requirements: Iterable[Requirement] = (), *, nothing: bool = False) -> None:
        self.requirements = tuple(sorted(requirements, key=lambda requirement: requirement.key))
        self.nothing = nothing
        equal = [each for each in self.requirements if each.operator in (EQUALS, DOUBLE_EQUALS)]
        self._equal = tuple((each.key, each.values[0]) for each in equal)
        self._others = tuple(each for each in self.requirements if each.operator not in (EQUALS, DOUBLE_EQUALS))

    @property
    def empty(self) -> bool:
        """It selects everything."""
        return not self.requirements and not self.nothing

    def matches(self, labels: Mapping[str, str]) -> bool:
        for key, value in self._equal:
            if labels.get(key) != value:
                return False
        for requirement in self._others:
            if not requirement.matches(labels):
                return False
        return not self.nothing

    def __str__(self) -> str:
        return ",".join(str(requirement) for requirement in self.requirements)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LabelSelector) and (self.requirements, self.nothing) == (
            other.requirements,
            other.nothing,
        )

    def __hash__(self) -> int:
        return hash((str(self), self.nothing))

    def __repr__(self) -> str:
        return f"<LabelSelector {'nothing' if self.nothing else self}>"


EVERYTHING = LabelSelector()
NOTHING = LabelSelector(nothing=True)


def from_label_selector(selector: Any) -> LabelSelector:
    """Of a LabelSelector object (Struct or dict). None selects nothing, an empty one everything.

    Raises SelectorError for an operator that there is not, and for wrong keys or values.
    """
    if selector is None:
        return NOTHING
    if isinstance(selector, Mapping):
        labels = selector.get("matchLabels") or {}
        expressions = [
            (each.get("key", ""), each.get("operator", ""), each.get("values") or ())
            for each in selector.get("matchExpressions") or ()
        ]
    else:
        labels = selector.match_labels
        expressions = [(each.key or "", each.operator or "", each.values) for each in selector.match_expressions]
    found = [requirement(key, EQUALS, (value,)) for key, value in labels.items()]
    for key, name, values in expressions:
        if name not in ("In", "NotIn", "Exists", "DoesNotExist"):
            raise SelectorError(f'"{name}" is not a valid label selector operator')
        found.append(requirement(key, _OF_EXPRESSION[name], tuple(values)))
    return LabelSelector(found) if found else EVERYTHING


def from_labels(labels: Mapping[str, str]) -> LabelSelector:
    """All of these labels; a service's spec.selector."""
    return LabelSelector(Requirement(key, EQUALS, (value,)) for key, value in labels.items())


def requirement(key: str, operator: str, values: Sequence[str] = ()) -> Requirement:
    """Checks as labels.NewRequirement does. Raises SelectorError."""
    wrong = key_problem(key)
    if wrong:
        raise SelectorError(f'<nil>: Invalid value: "{key}": {wrong}')
    if operator in (IN, NOT_IN) and not values:
        raise SelectorError("values: Invalid value: []: for 'in', 'notin' operators, values set can't be empty")
    if operator in (EXISTS, DOES_NOT_EXIST) and values:
        shown = _go_strings(values)
        raise SelectorError(f"values: Invalid value: {shown}: values set must be empty for exists and does not exist")
    if operator in (GREATER, LESS) and not (len(values) == 1 and _INTEGER.fullmatch(values[0])):
        detail = "for 'Gt', 'Lt' operators, the value must be an integer"
        raise SelectorError(f'values[0]: Invalid value: "{values[0]}": {detail}')
    for index, value in enumerate(values):
        wrong = value_problem(value)
        if wrong:
            raise SelectorError(f'values[{index}][{key}]: Invalid value: "{value}": {wrong}')
    return Requirement(key, operator, tuple(values))


def _go_strings(values: Sequence[str]) -> str:
    return "[" + ",".join(f'"{value}"' for value in values) + "]"


def parse_label_selector(text: str) -> LabelSelector:
    """`a=b,c!=d,e in (f,g),h notin (i),j,!k,l>1`. Raises SelectorError."""
    return LabelSelector(_Parser(text).requirements()) if text.strip() else EVERYTHING


class _Parser:
    """Recursive descent over the tokens; every method consumes what it reads."""

    def __init__(self, text: str) -> None:
        self.tokens: list[str] = [token for token in _TOKEN.findall(text) if token]
        self.position = 0

    def peek(self) -> str:
        return self.tokens[self.position] if self.position < len(self.tokens) else ""

    def take(self) -> str:
        token = self.peek()
        self.position += 1
        return token

    def requirements(self) -> list[Requirement]:
        found: list[Requirement] = []
        while self.peek():
            if not (_is_word(self.peek()) or self.peek() == "!"):
                raise SelectorError(f"found '{self.peek()}', expected: !, identifier, or 'end of string'")
            try:
                found.append(self.requirement())
            except SelectorError as error:
                raise SelectorError(f"unable to parse requirement: {error}") from None
            token = self.take()
            if not token:
                break
            if token != ",":
                raise SelectorError(f"found '{token}', expected: ',' or 'end of string'")
            if not (_is_word(self.peek()) or self.peek() == "!"):
                raise SelectorError(f"found '{self.peek()}', expected: identifier after ','")
        return found

    def requirement(self) -> Requirement:
        key = self.take()
        absent = key == "!"
        if absent:
            key = self.take()
        if not _is_word(key):
            raise SelectorError(f"found '{key}', expected: identifier")
        wrong = key_problem(key)
        if wrong:
            raise SelectorError(f'<nil>: Invalid value: "{key}": {wrong}')
        if absent:
            return requirement(key, DOES_NOT_EXIST)
        if self.peek() in ("", ","):
            return requirement(key, EXISTS)
        operator = _SYMBOLS.get(token := self.take())
        if operator is None:
            raise SelectorError(f"found '{token}', expected: {OPERATORS}")
        values = self.values() if operator in (IN, NOT_IN) else (self.exact_value(),)
        return requirement(key, operator, values)

    def exact_value(self) -> str:
        if self.peek() in ("", ","):
            return ""
        token = self.take()
        if not _is_word(token):
            raise SelectorError(f"found '{token}', expected: identifier")
        return token

    def values(self) -> tuple[str, ...]:
        """`(a,b)`; an empty place between commas is the empty value."""
        token = self.take()
        if token != "(":
            raise SelectorError(f"found '{token}' expected: '('")
        found: dict[str, None] = {}
        value = ""
        while True:
            token = self.take()
            if _is_word(token) and not value:
                value = token
            elif token in (",", ")"):
                found[value] = None
                value = ""
                if token == ")":
                    return tuple(sorted(found))
            else:
                expected = "',' or ')'" if value else "',', ')' or identifier"
                raise SelectorError(f"found '{token}', expected: {expected}")


def _is_word(token: str) -> bool:
    return bool(token) and token[0] not in "=!(),<>"


class FieldRequirement(msgspec.Struct, frozen=True):
    """One term of a field selector; `operator` is "=" or "!="."""

    field: str
    operator: str
    value: str


_FIELD_TERM = re.compile(r"(?:[^\\,]|\\.)+")
_FIELD_OPERATOR = re.compile(r"(?P<field>(?:[^\\=!]|\\.)*?)(?P<operator>!=|==|=)(?P<value>.*)", re.DOTALL)


def parse_field_selector(text: str) -> tuple[FieldRequirement, ...]:
    """`metadata.name=a,status.phase!=Running`; a backslash escapes comma, equals sign and backslash.

    Raises SelectorError.
    """
    found = []
    for term in _FIELD_TERM.findall(text):
        parts = _FIELD_OPERATOR.fullmatch(term)
        if parts is None:
            raise SelectorError(f"invalid selector: '{text}'; can't understand '{term}'")
        operator = "!=" if parts["operator"] == "!=" else "="
        found.append(FieldRequirement(parts["field"], operator, _unescaped(parts["value"])))
    return tuple(found)


def _unescaped(value: str) -> str:
    if "\\" not in value and "=" not in value and "," not in value:
        return value
    result, escaped = [], False
    for character in value:
        if escaped:
            if character not in "\\,=":
                raise SelectorError(f"invalid field selector: invalid escape sequence: \\{character}")
            escaped = False
        elif character == "\\":
            escaped = True
            continue
        elif character in ",=":
            raise SelectorError(f"invalid field selector: unescaped special character '{character}' in value")
        result.append(character)
    if escaped:
        raise SelectorError("invalid field selector: trailing escape character")
    return "".join(result)
