"""The Table answer (meta.k8s.io/v1 Table): the columns that kubectl shows, computed by the server.

Follows the "Receiving resources as Tables" section of the API concepts page. Built-in kinds bring their columns in the
registry; custom resources those of their definition, or Name and Age.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from kubeloop.actors.apiserver import table_path
from kubeloop.actors.apiserver.messages import ObjectListing
from kubeloop.actors.apiserver.registry import kind_for
from kubeloop.actors.apiserver.registry.column_descriptions import description
from kubeloop.actors.apiserver.registry.kind import Column
from kubeloop.actors.apiserver.registry.printing import AGE, NAME, since
from kubeloop.runtime.clock import parse_rfc3339

_UNDESCRIBED = "Custom resource definition column (in JSONPath format)"
PARTIAL = "PartialObjectMetadata"


def table_of(
    resource: tuple[str, str, str],
    body: Any,
    now: float,
    *,
    include_object: str = "Metadata",
    version: str = "v1",
    printer_columns: Sequence[Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """One object or an ObjectListing as a Table, as builtins.

    `resource`: (group, version, plural). `now`: unix seconds, for ages. `include_object`: None, Metadata or Object.
    `version`: of meta.k8s.io. `printer_columns`: additionalPrinterColumns of a custom resource's version.
    """
    kind = kind_for(*resource)
    columns = kind.columns if kind is not None else custom_columns(printer_columns)
    if not columns:
        columns = (NAME, AGE)
    conditions = kind.row_conditions if kind is not None else None
    api_version = f"meta.k8s.io/{version}"
    rows = []
    for obj in items_of(body):
        row: dict[str, Any] = {"cells": [column.cell(obj, now) for column in columns]}
        found = conditions(obj) if conditions is not None else ()
        if found:
            row["conditions"] = list(found)
        if include_object == "Object":
            row["object"] = msgspec.to_builtins(obj)
        elif include_object == "None":
            row["object"] = None
        else:
            row["object"] = partial_metadata(obj, api_version)
        rows.append(row)
    return {
        "kind": "Table",
        "apiVersion": api_version,
        "metadata": list_metadata(body),
        "columnDefinitions": definitions(resource, columns),
        "rows": rows,
    }


def items_of(body: Any) -> Iterable[Any]:
    if isinstance(body, ObjectListing):
        return body.items
    return (body,)


def metadata_of(obj: Any) -> Mapping[str, Any]:
    if isinstance(obj, dict):
        found: Mapping[str, Any] = obj.get("metadata") or {}
        return found
    builtins: Mapping[str, Any] = msgspec.to_builtins(obj.metadata)
    return builtins


def partial_metadata(obj: Any, api_version: str = "meta.k8s.io/v1") -> dict[str, Any]:
    """A PartialObjectMetadata: what an object's metadata says, and nothing else."""
    return {"kind": PARTIAL, "apiVersion": api_version, "metadata": metadata_of(obj)}


def list_metadata(body: Any) -> dict[str, Any]:
    if not isinstance(body, ObjectListing):
        version = metadata_of(body).get("resourceVersion")
        return {"resourceVersion": version} if version else {}
    metadata: dict[str, Any] = {"resourceVersion": body.resource_version} if body.resource_version else {}
    if body.continue_:
        metadata["continue"] = body.continue_
    if body.remaining_item_count is not None:
        metadata["remainingItemCount"] = body.remaining_item_count
    return metadata


def definitions(resource: tuple[str, str, str], columns: Sequence[Column]) -> list[dict[str, Any]]:
    """TableColumnDefinitions. What columns say of themselves comes first, then what the API reference says."""
    group, _, plural = resource
    name = f"{plural}.{group}" if group else plural
    return [
        {
            "name": column.name,
            "type": column.type,
            "format": column.format,
            "description": column.description or description(name, column.name),
            "priority": column.priority,
        }
        for column in columns
    ]


def custom_columns(printer_columns: Sequence[Mapping[str, Any]] | None) -> Sequence[Column]:
    """Columns of a custom resource: its name first, then those of its definition."""
    if not printer_columns:
        return (_CUSTOM_NAME, _CUSTOM_AGE)
    return (_CUSTOM_NAME, *(_custom_column(given) for given in printer_columns))


def _custom_column(given: Mapping[str, Any]) -> Column:
    path, type_ = str(given.get("jsonPath", "")), str(given.get("type", "string"))

    def cell(obj: Any, now: float) -> Any:
        found = table_path.find(path, obj)
        return _value(type_, found[0], now) if found else None

    return Column(
        name=str(given.get("name", "")),
        cell=cell,
        type=type_,
        format=str(given.get("format", "")),
        priority=int(given.get("priority", 0)),
        description=str(given.get("description") or f"{_UNDESCRIBED}: {path}"),
    )


def _value(type_: str, value: Any, now: float) -> Any:
    """A found value as its column's type asks; None for one that does not fit."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    match type_:
        case "integer":
            return int(value) if number else None
        case "number":
            return value if number else None
        case "boolean":
            return value if isinstance(value, bool) else None
        case "date":
            return _age(value, now)
        case _:
            return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def _age(value: Any, now: float) -> str | None:
    if not isinstance(value, str):
        return None
    try:
        parse_rfc3339(value)
    except ValueError:
        return "<invalid>"
    return since(value, now)


def _custom_name(obj: Any, now: float) -> Any:
    return metadata_of(obj).get("name", "")


def _custom_age(obj: Any, now: float) -> Any:
    return since(metadata_of(obj).get("creationTimestamp"), now)


_CUSTOM_NAME = msgspec.structs.replace(NAME, cell=_custom_name)
_CUSTOM_AGE = Column("Age", _custom_age, type="date")
