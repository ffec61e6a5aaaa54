"""Sets of fields: what a manager owns, and their form on the wire (metav1 FieldsV1).

A path is a tuple of path elements in FieldsV1's own spelling: `f:NAME`, `k:{"name":"c"}`, `v:"value"`, `i:0`; a set is
a set of paths. On the wire it is a tree; a node that is owned itself and has owned fields in it says so with `.`.
"""

from collections.abc import Iterable
from typing import Any, TypeAlias

import msgspec

Path: TypeAlias = tuple[str, ...]
FieldSet: TypeAlias = set[Path]
_ORDER = {".": -1, "f": 0, "k": 1, "v": 2, "i": 3}
_KINDS = "fkvi"


class Tree:
    """A set as a tree: `member` says whether the path that leads here is in the set."""

    __slots__ = ("children", "member")

    def __init__(self) -> None:
        self.member = False
        self.children: dict[str, Tree] = {}


def tree_of(paths: Iterable[Path]) -> Tree:
    root = Tree()
    for path in paths:
        node = root
        for element in path:
            child = node.children.get(element)
            if child is None:
                child = node.children[element] = Tree()
            node = child
        node.member = True
    return root


def element_order(element: str) -> tuple[int, str]:
    return _ORDER[element[0]], element


def encode(paths: FieldSet) -> dict[str, Any]:
    """The set as FieldsV1."""
    return _encode(tree_of(paths))


def _encode(node: Tree) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if node.member and node.children:
        found["."] = {}
    for element in sorted(node.children, key=element_order):
        found[element] = _encode(node.children[element])
    return found


def decode(fields: Any) -> FieldSet:
    """The set of a FieldsV1. Raises ValueError for what is none."""
    paths: FieldSet = set()
    _decode(fields, (), paths)
    return paths


def _decode(fields: Any, path: Path, paths: FieldSet) -> None:
    if not isinstance(fields, dict):
        raise ValueError("FieldsV1 must be an object")
    if path and (not fields or "." in fields):
        paths.add(path)
    for element, children in fields.items():
        if element == ".":
            continue
        if element[:1] not in _KINDS or element[1:2] != ":":
            raise ValueError(f"{element!r} is no path element")
        _decode(children, (*path, element), paths)


def owns(fields: dict[str, Any], path: Path) -> bool:
    """Whether a FieldsV1 holds a path."""
    node = fields
    for element in path:
        child = node.get(element)
        if child is None:
            return False
        node = child
    return not node or "." in node


def with_paths(fields: dict[str, Any], paths: Iterable[Path]) -> dict[str, Any]:
    """A FieldsV1 that holds these paths too; the given one is not changed."""
    for path in paths:
        if path:
            fields = _with_path(fields, path, False)
    return fields


def _with_path(node: dict[str, Any], path: Path, member: bool) -> dict[str, Any]:
    """`member`: whether `node`, when it is empty, stands for an owned field."""
    if not path:
        return node if not node or "." in node else {".": {}, **node}
    element = path[0]
    child = node.get(element)
    if child is not None:
        return {**node, element: _with_path(child, path[1:], True)}
    grown = {**node, element: _with_path({}, path[1:], False)}
    if not node and member:
        grown["."] = {}
    return {key: grown[key] for key in sorted(grown, key=element_order)}


def ordered(paths: FieldSet) -> list[Path]:
    """The paths as the API lists them: of each node its own members first, then what is in them."""
    found: list[Path] = []
    _ordered(tree_of(paths), (), found)
    return found


def _ordered(node: Tree, path: Path, found: list[Path]) -> None:
    elements = sorted(node.children, key=element_order)
    found.extend((*path, element) for element in elements if node.children[element].member)
    for element in elements:
        _ordered(node.children[element], (*path, element), found)


def without(paths: FieldSet, prefixes: Iterable[Path]) -> FieldSet:
    """The set without these paths and everything in them."""
    gone = tuple(prefixes)
    if not gone:
        return set(paths)
    return {path for path in paths if not any(path[: len(prefix)] == prefix for prefix in gone)}


def compact(value: Any) -> str:
    """JSON as path elements spell it."""
    return msgspec.json.encode(value).decode()


def shown(path: Path) -> str:
    """As messages spell it: `.spec.containers[name="c"].image`."""
    text = ""
    for element in path:
        kind, _, rest = element.partition(":")
        if kind == "f":
            text += f".{rest}"
        elif kind == "k":
            keys = msgspec.json.decode(rest)
            text += "[" + ",".join(f"{name}={compact(keys[name])}" for name in sorted(keys)) + "]"
        elif kind == "v":
            text += f"[={rest}]"
        else:
            text += f"[{rest}]"
    return text
