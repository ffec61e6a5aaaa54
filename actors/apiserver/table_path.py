"""The part of JSONPath that printer columns of CustomResourceDefinitions use: fields, indexes, [*], simple filters.

Follows the "Additional printer columns" section of the CustomResourceDefinition page.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any

Step = Callable[[Any], Iterable[Any]]

_TOKEN = re.compile(
    r"""
    \.(?P<field>[^.\[\]'"\\]*(?:\\.[^.\[\]'"\\]*)*)   # .name, dots escaped by a backslash
    | \[(?P<quote>['"])(?P<quoted>.*?)(?P=quote)\]    # ['name']
    | \[(?P<index>-?\d+)\]                            # [0]
    | \[(?P<all>\*)\]                                 # [*]
    | \[\?\(@(?P<left>[^=!<>]*?)\s*(?P<operator>==|!=)\s*(?P<right>.*?)\)\]
    """,
    re.VERBOSE,
)


class PathError(ValueError):
    """A path that is not understood."""


def _field(name: str) -> Step:
    def step(value: Any) -> Iterable[Any]:
        if isinstance(value, dict) and name in value:
            yield value[name]

    return step


def _index(index: int) -> Step:
    def step(value: Any) -> Iterable[Any]:
        if isinstance(value, list | tuple) and -len(value) <= index < len(value):
            yield value[index]

    return step


def _every(value: Any) -> Iterable[Any]:
    if isinstance(value, list | tuple):
        yield from value
    elif isinstance(value, dict):
        yield from value.values()


def _filter(left: Sequence[Step], operator: str, right: Any) -> Step:
    def step(value: Any) -> Iterable[Any]:
        for item in value if isinstance(value, list | tuple) else ():
            found = _walk(left, item)
            if bool(found and found[0] == right) == (operator == "=="):
                yield item

    return step


def _literal(text: str) -> Any:
    text = text.strip()
    if text[:1] in ("'", '"') and text[-1:] == text[:1]:
        return text[1:-1]
    if text in ("true", "false"):
        return text == "true"
    try:
        return int(text)
    except ValueError:
        return text


@lru_cache(1024)
def parse(path: str) -> tuple[Step, ...]:
    """The steps of a path as `.spec.replicas`. Raises PathError."""
    steps: list[Step] = []
    position = 0
    while position < len(path):
        found = _TOKEN.match(path, position)
        if found is None or found.end() == position:
            raise PathError(f"unrecognized path at {path[position:]!r}")
        position = found.end()
        if found["field"] is not None:
            name = found["field"].replace("\\.", ".")
            if name == "*":
                steps.append(_every)
            elif name:
                steps.append(_field(name))
        elif found["quoted"] is not None:
            steps.append(_field(found["quoted"].replace("\\.", ".")))
        elif found["index"] is not None:
            steps.append(_index(int(found["index"])))
        elif found["all"] is not None:
            steps.append(_every)
        else:
            steps.append(_filter(parse(found["left"].strip() or "."), found["operator"], _literal(found["right"])))
    return tuple(steps)


def _walk(steps: Sequence[Step], value: Any) -> list[Any]:
    values = [value]
    for step in steps:
        values = [found for one in values for found in step(one)]
    return values


def find(path: str, value: Any) -> list[Any]:
    """Everything that the path leads to in builtins; nothing for a path that is not understood."""
    try:
        return _walk(parse(path), value)
    except PathError:
        return []
