"""Values with a schema: their field sets, the difference of two, the merge of two, and one without some fields.

Server-side apply's arithmetic ("Merge strategy" on its page): atomic values are one leaf, sets and maps are merged item
by item, the applied order is kept. Values are builtins; nothing given is changed.
"""

from typing import Any

from msgspec import Struct

from kubeloop.actors.apiserver.field_set import FieldSet, Path, Tree, compact, tree_of
from kubeloop.actors.apiserver.merge_schema import DEDUCED, Node

ABSENT: Any = type("Absent", (), {"__repr__": lambda self: "ABSENT"})()


class ListKeyError(ValueError):
    """A list that is a map or a set holds an item twice, or one without its keys."""


class Comparison(Struct):
    """What changed between two values: each a set of paths."""

    added: FieldSet
    modified: FieldSet
    removed: FieldSet


def element_of(node: Node, item: Any) -> str:
    """The path element of an item of a list that is a set or a map."""
    if node.list_type == "set":
        return f"v:{compact(item)}"
    if not isinstance(item, dict):
        raise ListKeyError("associative list with keys may not have non-map elements")
    keys: dict[str, Any] = {}
    for key in sorted(node.keys):
        if key in item:
            keys[key] = item[key]
        elif key in node.key_defaults:
            keys[key] = node.key_defaults[key]
    if not keys:
        keys[node.keys[0]] = ""
    return f"k:{compact(keys)}"


def is_leaf(node: Node, *values: Any) -> bool:
    """Whether these values (of one place) are compared and owned as a whole."""
    if node.atomic or node.form == "scalar":
        return True
    wanted = list if node.form == "list" else dict
    return not any(isinstance(value, wanted) and value for value in values)


def field_set(value: Any, node: Node) -> FieldSet:
    """The fields that an applied value claims."""
    paths: FieldSet = set()
    _claim(value, node, (), paths)
    return paths


def _claim(value: Any, node: Node, path: Path, paths: FieldSet) -> None:
    node = node.of(value)
    if node.atomic or node.form == "scalar":
        paths.add(path)
    elif node.form == "list":
        assert node.element is not None
        for item in value or ():
            inner = (*path, element_of(node, item))
            _claim(item, node.element, inner, paths)
            paths.add(inner)
    else:
        for key, child in (value or {}).items():
            inner = (*path, f"f:{key}")
            _claim(child, node.child(key), inner, paths)
            if child is None or child == {} or not node.declares(key):
                paths.add(inner)


def compare(old: Any, new: Any, node: Node) -> Comparison:
    """What changed from `old` to `new`.

    Fields that an object has even when nothing sets them (`Node.always`) are taken to be there: who sets a field in one
    has not added the struct around it.
    """
    found = Comparison(set(), set(), set())
    _compare(old, new, node, (), found)
    return found


def _compare(old: Any, new: Any, node: Node, path: Path, found: Comparison) -> None:
    if old == new and old is not ABSENT:
        return
    if node.form == "any":
        node = node.of(old if new is ABSENT or new is None else new)
    if old is ABSENT or new is ABSENT:
        value, paths = (new, found.added) if old is ABSENT else (old, found.removed)
        _whole(value, node, path, paths)
    elif node.atomic or node.form == "scalar":
        found.modified.add(path)
    elif node.form == "list":
        assert node.element is not None
        before, after = _items(node, old), _items(node, new)
        for element in {**before, **after}:
            inner = (*path, element)
            _compare(before.get(element, ABSENT), after.get(element, ABSENT), node.element, inner, found)
        if not before and not after:
            found.modified.add(path)
    else:
        before, after = old or {}, new or {}
        if node.always:
            before, after = filled(before, node), filled(after, node)
        for key in {**before, **after}:
            if key in before or not node.leaves_out(key, after[key]):
                _compare(before.get(key, ABSENT), after.get(key, ABSENT), node.child(key), (*path, f"f:{key}"), found)
        if not before and not after:
            found.modified.add(path)


def _whole(value: Any, node: Node, path: Path, paths: FieldSet) -> None:
    """Every path of a value that came or went with all that is in it."""
    if path:
        paths.add(path)
    if node.form == "any":
        node = node.of(value)
    if node.atomic or node.form == "scalar":
        return
    if node.form == "list":
        assert node.element is not None
        for element, item in _items(node, value).items():
            _whole(item, node.element, (*path, element), paths)
    elif isinstance(value, dict):
        for key, child in filled(value, node).items():
            _whole(child, node.child(key), (*path, f"f:{key}"), paths)


def filled(value: dict[str, Any], node: Node) -> dict[str, Any]:
    """With the fields that are always there."""
    always = node.always
    if not always or always.keys() <= value.keys():
        return value
    return {**always, **value}


def created(value: Any, node: Node) -> dict[str, Any]:
    """FieldsV1 of what is added when `value` is created: `compare` from nothing, in one walk."""
    tree: dict[str, Any] = {}
    if node.form == "list":
        assert node.element is not None
        items = _items(node, value)
        return {element: _came(items[element], node.element) for element in sorted(items)}
    if not isinstance(value, dict):
        return tree
    always = node.always
    for key in sorted(value):
        child, inner = value[key], node.child(key)
        if key not in always:
            if not node.leaves_out(key, child):
                tree[f"f:{key}"] = _came(child, inner)
        elif child != always[key]:
            below = {} if inner.atomic or not child else created(child, inner)
            if below or inner.atomic or not child:
                tree[f"f:{key}"] = below
    return tree


def _came(value: Any, node: Node) -> dict[str, Any]:
    """FieldsV1 of a value that came with all that is in it."""
    if node.form == "any":
        node = node.of(value)
    if node.atomic or node.form == "scalar":
        return {}
    tree: dict[str, Any] = {".": {}}
    if node.form == "list":
        assert node.element is not None
        items = _items(node, value)
        for element in sorted(items):
            tree[element] = _came(items[element], node.element)
    elif isinstance(value, dict):
        fields = node.fields
        other = DEDUCED if node.element is None else node.element
        for key, child in sorted(filled(value, node).items()):
            inner = fields.get(key, other)
            tree["f:" + key] = {} if inner.form == "scalar" else _came(child, inner)
    return tree if len(tree) > 1 else {}


def _items(node: Node, value: Any) -> dict[str, Any]:
    """Items by path element; of items that there are twice, the first."""
    found: dict[str, Any] = {}
    for item in value if isinstance(value, list) else ():
        found.setdefault(element_of(node, item), item)
    return found


def merge(live: Any, applied: Any, node: Node) -> Any:
    """`live` overlaid with `applied`. Raises ListKeyError when `applied` holds a list item twice."""
    node = node.of(live if applied is ABSENT or applied is None else applied)
    if is_leaf(node, live, applied):
        return live if applied is ABSENT else applied
    if node.form == "list":
        merged = _merge_lists(node, live, applied)
        return merged or None
    before = live if isinstance(live, dict) else {}
    over = applied if isinstance(applied, dict) else {}
    return {key: merge(before.get(key, ABSENT), over.get(key, ABSENT), node.child(key)) for key in {**before, **over}}


def _merge_lists(node: Node, live: Any, applied: Any) -> list[Any]:
    """Applied items in their order; live ones stay where they stood among them."""
    assert node.element is not None
    before = live if isinstance(live, list) else []
    over = applied if isinstance(applied, list) else []
    left = [element_of(node, item) for item in before]
    right = [element_of(node, item) for item in over]
    for element in right:
        if right.count(element) > 1:
            raise ListKeyError(f"duplicate entries for key {element[2:]}")
    before_of, over_of = _items(node, before), _items(node, over)
    shared = iter([element for element in right if element in before_of])
    wanted = next(shared, None)
    done: dict[str, None] = {}
    merged: list[Any] = []
    at, to = 0, 0
    while at < len(left) or to < len(right):
        if at < len(left) and to < len(right):
            element = left[at]
            if element == right[to]:
                done[element] = None
                merged.append(merge(before_of[element], over_of[element], node.element))
                at, to, wanted = at + 1, to + 1, next(shared, None)
                continue
            if element in over_of and wanted is not None and wanted != element:
                at += 1
                continue
        if at < len(left):
            element = left[at]
            if element not in over_of:
                merged.append(before[at])
                at += 1
                continue
            if element in done:
                at += 1
        if to < len(right):
            element = right[to]
            done[element] = None
            merged.append(merge(before_of.get(element, ABSENT), over_of[element], node.element))
            to += 1
            if wanted == element:
                wanted = next(shared, None)
    return merged


def remove(value: Any, paths: FieldSet, node: Node) -> Any:
    """The value without these fields. A map or list that loses its last entry becomes None."""
    return _remove(value, tree_of(paths), node)


def _remove(value: Any, gone: Tree, node: Node) -> Any:
    node = node.of(value)
    if node.form == "list" and isinstance(value, list):
        if node.atomic:
            return None
        assert node.element is not None
        items = []
        for item in value:
            inner = gone.children.get(element_of(node, item))
            if inner is None:
                items.append(item)
            elif not inner.member:
                items.append(_remove(item, inner, node.element))
        return items or None
    if node.form in ("struct", "map") and isinstance(value, dict):
        if node.atomic:
            return None
        kept: dict[str, Any] = {}
        for key, child in value.items():
            inner = gone.children.get(f"f:{key}")
            if inner is None:
                kept[key] = child
            elif not inner.member:
                kept[key] = _remove(child, inner, node.child(key)) if inner.children else child
        return kept or None
    return value


def with_named_fields(paths: FieldSet, node: Node) -> FieldSet:
    """The set and every declared field on the way to its paths."""
    found = set(paths)
    for path in paths:
        schema = node
        for depth, element in enumerate(path[:-1]):
            kind, _, name = element.partition(":")
            if kind == "f":
                if schema.declares(name):
                    found.add(path[: depth + 1])
                schema = schema.child(name)
            else:
                schema = schema.element if schema.element is not None else schema
    return found
