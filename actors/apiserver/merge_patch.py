"""JSON merge patch (RFC 7386): objects are merged, null removes, everything else replaces."""

from collections.abc import Mapping
from typing import Any


def apply_merge_patch(document: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """The patched document; neither argument is changed."""
    merged = dict(document)
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict):
            present = merged.get(key)
            merged[key] = apply_merge_patch(present if isinstance(present, dict) else {}, value)
        else:
            merged[key] = value
    return merged
