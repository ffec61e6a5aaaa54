"""Strategic merge patch: lists of objects are merged by a key that their type names.

Follows sig-api-machinery's "Strategic Merge Patch": patchStrategy merge, replace and retainKeys, and the directives
`$patch`, `$retainKeys`, `$setElementOrder/FIELD`, `$deleteFromPrimitiveList/FIELD`. Pure; no argument is changed.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from kubeloop.actors.api.errors import StatusError, bad_request
from kubeloop.actors.apiserver.merge_schema import Node, schema_of

DIRECTIVE = "$patch"
RETAIN_KEYS = "$retainKeys"
SET_ORDER = "$setElementOrder/"
DELETE_FROM_LIST = "$deleteFromPrimitiveList/"


def apply_strategic_merge_patch(
    document: Mapping[str, Any], patch: Mapping[str, Any], schema: Node | type
) -> dict[str, Any]:
    """The patched document. Raises 400 for a patch that breaks the rules of its directives."""
    node = schema if isinstance(schema, Node) else schema_of(schema)
    return merge_maps(document, patch, node)


def merge_maps(original: Mapping[str, Any], patch: Mapping[str, Any], node: Node) -> dict[str, Any]:
    if DIRECTIVE in patch:
        return directed_map(patch)
    merged = dict(original)
    patch = dict(patch)
    retain_keys(merged, patch)
    order_lists(merged, patch, node)
    for key, value in patch.items():
        deletes = key.startswith(DELETE_FROM_LIST)
        field = key.removeprefix(DELETE_FROM_LIST)
        if value is None:
            merged.pop(field, None)
        elif field not in merged or kind_of(merged[field]) is not kind_of(value):
            if not deletes:
                merged[field] = without_directives(value)
        elif isinstance(value, dict):
            child = node.child(field)
            if "replace" in child.strategies:
                merged[field] = without_directives(value)
            else:
                merged[field] = merge_maps(merged[field], value, child)
        elif isinstance(value, list):
            merged[field] = merge_lists(merged[field], value, node.child(field), deletes)
        else:
            merged[field] = value
    return merged


def kind_of(value: Any) -> type:
    return float if type(value) is int else type(value)


def directed_map(patch: Mapping[str, Any]) -> dict[str, Any]:
    directive = patch[DIRECTIVE]
    if directive == "replace":
        replaced: dict[str, Any] = without_directives({key: value for key, value in patch.items() if key != DIRECTIVE})
        return replaced
    if directive == "delete":
        return {}
    raise unknown_directive(directive, patch)


def unknown_directive(directive: Any, patch: Mapping[str, Any]) -> StatusError:
    shown = directive if isinstance(directive, str) else msgspec.json.encode(directive).decode()
    return bad_request(f"unknown patch type: {shown} in map: {msgspec.json.encode(patch).decode()}")


def retain_keys(original: dict[str, Any], patch: dict[str, Any]) -> None:
    """`$retainKeys`: drop every field that it does not list; what the patch sets must be listed."""
    if RETAIN_KEYS not in patch:
        return
    listed = patch.pop(RETAIN_KEYS)
    invalid = bad_request("invalid patch format of retainKeys")
    if not isinstance(listed, list):
        raise invalid
    for key, value in patch.items():
        if value is not None and not key.startswith((DELETE_FROM_LIST, SET_ORDER)) and key not in listed:
            raise invalid
    for key in [key for key in original if key not in listed]:
        del original[key]


def order_lists(original: dict[str, Any], patch: dict[str, Any], node: Node) -> None:
    """`$setElementOrder/FIELD`: merge the field's list and put it into that order; taken out of `patch`."""
    for directive in [key for key in patch if key.startswith(SET_ORDER)]:
        order = patch.pop(directive)
        field = directive.removeprefix(SET_ORDER)
        child = node.child(field)
        present, given = original.get(field), patch.get(field)
        if not isinstance(order, list) or not all(isinstance(one, list | None) for one in (present, given)):
            raise bad_request("invalid patch format of setElementOrder list")
        check_order(given or [], order, child.merge_key)
        if field in patch and given is None:
            continue
        if given is None:
            merged = present
        elif present is None:
            merged = without_directives(given)
        else:
            merged = merge_lists(present, given, child, False)
        patch.pop(field, None)
        if merged is not None:
            original[field] = arranged(merged, order, present or [], child.merge_key)


def check_order(patch: Sequence[Any], order: Sequence[Any], merge_key: str) -> None:
    """Raises 400 unless the patch's items come in the order that the directive gives."""
    left = iter([identity(item, merge_key) for item in order])
    for item in patch:
        if isinstance(item, dict) and DIRECTIVE in item:
            continue
        if identity(item, merge_key) not in left:
            text = "The order in patch list:\n{}\n doesn't match {} list:\n{}\n"
            raise bad_request(text.format(encoded(patch), SET_ORDER.rstrip("/"), encoded(order)))


def encoded(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def identity(item: Any, merge_key: str) -> Any:
    """What tells an item of a list apart. Raises 400 for an object without its key."""
    if not merge_key:
        return item
    if not isinstance(item, dict) or merge_key not in item:
        raise bad_request(f"map: {encoded(item)} does not contain declared merge key: {merge_key}")
    return item[merge_key]


def merge_lists(original: list[Any], patch: list[Any], node: Node, deletes: bool) -> list[Any]:
    if "merge" not in node.strategies and not deletes:
        return patch
    if any(isinstance(item, list) for item in (*original, *patch)):
        raise bad_request("lists of lists are not supported")
    kinds = {type(item) is dict for item in (*original, *patch)}
    if len(kinds) > 1:
        raise bad_request("invalid patch format of primitive list")
    if kinds != {True}:
        if deletes:
            return [item for item in original if item not in patch]
        return arranged(unique([*original, *patch]), patch, original, "")
    if not node.merge_key:
        raise bad_request("cannot merge lists without merge key")
    original, patch = directed_lists(original, patch, node.merge_key)
    return arranged(merged_items(original, patch, node), patch, original, node.merge_key)


def unique(items: list[Any]) -> list[Any]:
    found: list[Any] = []
    for item in items:
        if item not in found:
            found.append(item)
    return found


def directed_lists(original: list[Any], patch: list[Any], merge_key: str) -> tuple[list[Any], list[Any]]:
    """Carry out the items that hold `$patch`; what is left to merge."""
    plain: list[Any] = []
    replace = False
    for item in patch:
        directive = item.get(DIRECTIVE)
        if DIRECTIVE not in item:
            plain.append(item)
        elif directive == "delete":
            gone = identity(item, merge_key)
            original = [kept for kept in original if kept.get(merge_key) != gone]
        elif directive == "replace":
            replace = True
        elif directive == "merge":
            raise bad_request("merging lists cannot yet be specified in the patch")
        else:
            raise unknown_directive(directive, item)
    return (without_directives(plain), []) if replace else (original, plain)


def merged_items(original: list[Any], patch: list[Any], node: Node) -> list[Any]:
    element = node.element
    assert element is not None
    merged = list(original)
    for item in patch:
        wanted = identity(item, node.merge_key)
        for position, present in enumerate(merged):
            if present.get(node.merge_key) == wanted:
                merged[position] = merge_maps(present, item, element)
                break
        else:
            merged.append(without_directives(item))
    return merged


def arranged(merged: list[Any], order: list[Any], live: list[Any], merge_key: str) -> list[Any]:
    """Items that `order` names in its order; the others keep their place among them as far as `live` had both."""
    wanted = [identity(item, merge_key) for item in order]
    before = [identity(item, merge_key) for item in live]
    named = [item for item in merged if identity(item, merge_key) in wanted]
    others = [item for item in merged if identity(item, merge_key) not in wanted]
    named.sort(key=lambda item: wanted.index(identity(item, merge_key)))
    others.sort(key=lambda item: position_in(before, identity(item, merge_key)))
    found: list[Any] = []
    at = to = 0
    while at < len(others) or to < len(named):
        if to >= len(named) or (at < len(others) and comes_first(others[at], named[to], before, merge_key)):
            found.append(others[at])
            at += 1
        else:
            found.append(named[to])
            to += 1
    return found


def position_in(order: list[Any], key: Any) -> int:
    return order.index(key) if key in order else len(order)


def comes_first(one: Any, other: Any, order: list[Any], merge_key: str) -> bool:
    left, right = identity(one, merge_key), identity(other, merge_key)
    return left in order and right in order and order.index(left) < order.index(right)


def without_directives(value: Any) -> Any:
    """A patch's value as it is stored where there was nothing to merge with: no directives, no nulls in objects."""
    if isinstance(value, dict):
        if value.get(DIRECTIVE) == "delete":
            return {}
        return {
            key: without_directives(child)
            for key, child in value.items()
            if child is not None
            and key not in (DIRECTIVE, RETAIN_KEYS)
            and not key.startswith((SET_ORDER, DELETE_FROM_LIST))
        }
    if isinstance(value, list):
        return [without_directives(item) for item in value if not (isinstance(item, dict) and DIRECTIVE in item)]
    return value
