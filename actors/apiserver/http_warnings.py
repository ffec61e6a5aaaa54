"""Warning headers (RFC 7234, 5.5): what a write was warned of ("Warnings" in the API concepts page).

A client reads headers up to some size, so many long texts are cut: each to so many characters, and so many in all.
"""

import unicodedata
from collections.abc import Iterable

from kubeloop.actors.apiserver import limits


def headers(warnings: Iterable[str]) -> list[str]:
    """The values of the Warning headers. Each text once; those with control characters cannot be told."""
    texts = [text for text in dict.fromkeys(warnings) if text]
    told = [text for text in texts if is_printable(text)]
    if sum(map(len, told)) > limits.warnings_characters_max:
        told, texts = [], told
        size = 0
        for text in texts:
            if size >= limits.warnings_characters_max:
                break
            told.append(text[: limits.warning_characters_max])
            size += len(told[-1])
    return [f"299 - {quoted(text)}" for text in told]


def is_printable(text: str) -> bool:
    """Without control characters and halves of surrogate pairs, which no header can hold."""
    return not any(unicodedata.category(character) in ("Cc", "Cs") for character in text)


def quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
