"""Objects from what users hold: a file, a folder, YAML or JSON text, or the objects themselves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

SUFFIXES = (".yaml", ".yml", ".json")


class ManifestError(ValueError):
    """A manifest that is no Kubernetes object: says which file or document, and what is missing."""


def read_objects(source: str | Path | Mapping[str, Any] | msgspec.Struct | Iterable[Any]) -> list[Any]:
    """The objects of `source`, in order; Lists are opened.

    A str with a line break, or one that is no existing path and holds a colon, is text; every other str is a path.
    A folder gives its .yaml, .yml and .json files in name order, as `kubectl apply -f` does.
    Raises FileNotFoundError, and ManifestError for text that is not YAML or documents without apiVersion and kind.
    """
    if isinstance(source, Path):
        return list(_read_path(source))
    if isinstance(source, str):
        if "\n" not in source and (Path(source).exists() or ":" not in source):
            return list(_read_path(Path(source)))
        return list(_read_text(source, "text"))
    if isinstance(source, Mapping):
        return list(_open(source, "object"))
    if isinstance(source, msgspec.Struct):
        return [source]
    return [obj for item in source for obj in read_objects(item)]


def _read_path(path: Path) -> Iterator[Any]:
    if path.is_dir():
        for file in sorted(path.iterdir()):
            if file.suffix in SUFFIXES:
                yield from _read_path(file)
        return
    yield from _read_text(path.read_text(encoding="utf-8"), str(path))


def _read_text(text: str, where: str) -> Iterator[Any]:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        documents = list(yaml.load_all(text, Loader=loader))
    except yaml.YAMLError as error:
        raise ManifestError(f"{where}: error parsing YAML: {error}") from error
    for number, document in enumerate(documents, 1):
        if document is not None:
            yield from _open(document, f"{where}, document {number}")


def _open(document: Any, where: str) -> Iterator[Any]:
    if not isinstance(document, Mapping):
        raise ManifestError(f"{where}: an object is a mapping with apiVersion and kind, this is {document!r:.80}")
    for field in ("apiVersion", "kind"):
        if not isinstance(document.get(field), str):
            raise ManifestError(f"{where}: {field} not set")
    if document["kind"].endswith("List") and isinstance(document.get("items"), list):
        for index, item in enumerate(document["items"]):
            yield from _open(item, f"{where}, item {index}")
        return
    yield document
