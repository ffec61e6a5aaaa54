"""JSON patch (RFC 6902), with the liberties that the API server's own library takes.

A missing `value` is null; testing for null holds where there is nothing. Whatever cannot be applied is 422 without a
word about what was wrong, as the API server answers.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import msgspec

from kubeloop.actors.api.errors import failure

REFUSED = "the server rejected our request due to an error in our request"
VALUE_OPERATIONS = ("add", "replace", "test")


def apply_json_patch(document: Mapping[str, Any], patch: Sequence[Any]) -> dict[str, Any]:
    """The patched document; the given one is not changed. Raises 422 for a patch that does not apply."""
    if not patch:
        return dict(document)
    jsonpatch, patch_type = library()
    operations = [with_value(operation) for operation in patch]
    try:
        patched = patch_type(operations).apply(document)
    except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException, TypeError, KeyError, IndexError, ValueError):
        raise failure(422, "Invalid", REFUSED, {}) from None
    if not isinstance(patched, dict):
        raise failure(422, "Invalid", REFUSED, {})
    return patched


def with_value(operation: Any) -> Any:
    if isinstance(operation, dict) and operation.get("op") in VALUE_OPERATIONS and "value" not in operation:
        return {**operation, "value": None}
    return operation


@lru_cache(maxsize=1)
def library() -> tuple[Any, Any]:
    """jsonpatch, imported when the first patch comes, and its JsonPatch with the API server's idea of `test`."""
    import jsonpatch

    class Test(jsonpatch.TestOperation):  # type: ignore[misc, unused-ignore]
        def apply(self, document: Any) -> Any:
            value = self.operation["value"]
            try:
                parent, part = self.pointer.to_last(document)
                found = parent if part is None else self.pointer.walk(parent, part)
            except jsonpatch.JsonPointerException:
                found = None
                if value is not None:
                    raise jsonpatch.JsonPatchTestFailed(self.location) from None
            if msgspec.json.encode(found, order="sorted") != msgspec.json.encode(value, order="sorted"):
                raise jsonpatch.JsonPatchTestFailed(self.location)
            return document

    class Patch(jsonpatch.JsonPatch):  # type: ignore[misc, unused-ignore]
        operations = MappingProxyType({**jsonpatch.JsonPatch.operations, "test": Test})

    return jsonpatch, Patch
