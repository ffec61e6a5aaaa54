"""Writes docs/api.md: every served kind and what is enforced of it, as the registry's entries say.

python -m kubeloop.actors.apiserver.registry.document_generate
"""

from collections.abc import Iterator
from inspect import getclosurevars
from pathlib import Path
from typing import Any

from kubeloop.actors.apiserver.registry import all_resources, kind_for
from kubeloop.actors.apiserver.registry.catalog import ALL_VERBS, Served
from kubeloop.actors.apiserver.registry.kind import Kind, no_update_rules, nothing_wrong, unchanged

INTRODUCTION = """\
# The API that is served

Generated from the registry by `make api-table`; a test says when it is out of date.

Every kind here is served with get, list, watch, create, update, all four patch types (JSON, merge, strategic, apply),
delete and deletecollection, with dry run, field validation (unknown and duplicate fields), server-side apply and
managedFields, as JSON, YAML, Table and metadata only, unless the column *verbs* says otherwise. Of the metadata of all
of them are enforced: names and generateName, labels, annotations, finalizers, owner references, resource versions, and
what may not be changed. Custom resources: their schema (types, formats, limits, pruning, defaults), status and scale,
printer columns, selectable fields and short names are those of their CustomResourceDefinition.

What the columns say:

- *subresources*: and the kind that they take, where it is another one.
- *validated*: "fields" are checked one by one, and errors name them as a real server does; "types": only that each
  field is of its type and known.
- *fixed*: by "rules" some fields may not change, or only so; "+ status": the status is checked as well; empty: all but
  the metadata may change.
- *defaults*: fields that are not given are filled in as the API reference says.
- *set*: the server sets or drops fields itself when the object is made (status, addresses, generation ...).
- *columns*: of the Table answer, what `kubectl get` shows; in brackets those of `-o wide`.
- *field selectors*: beside `metadata.name` and `metadata.namespace`.

"""
HEADER = (
    "kind",
    "group/version",
    "resource",
    "short",
    "namespaced",
    "verbs",
    "subresources",
    "validated",
    "fixed",
    "defaults",
    "set",
    "columns",
    "field selectors",
)
STORED_AS = {
    ("autoscaling", "v1", "horizontalpodautoscalers"): ("autoscaling", "v2", "horizontalpodautoscalers"),
    ("events.k8s.io", "v1", "events"): ("", "v1", "events"),
}
YES = "yes"


def document() -> str:
    """The whole text of docs/api.md."""
    return INTRODUCTION + "".join(_table())


def _table() -> Iterator[str]:
    yield _line(HEADER)
    yield _line(["---"] * len(HEADER))
    for row in all_resources():
        yield _line(_cells(row))


def _line(cells: Any) -> str:
    return f"| {' | '.join(cells)} |\n".replace("|  |", "| |").replace("|  |", "| |")


def _cells(row: Served) -> list[str]:
    own = row.resource
    kind = kind_for(own.group, own.version, own.plural)
    assert kind is not None
    stored = kind_for(*STORED_AS.get((own.group, own.version, own.plural), (own.group, own.version, own.plural)))
    assert stored is not None
    return [
        own.kind,
        f"{own.group}/{own.version}" if own.group else own.version,
        own.plural,
        " ".join(own.short_names),
        YES if own.namespaced else "",
        "" if tuple(row.verbs) == tuple(ALL_VERBS) else ", ".join(row.verbs),
        ", ".join(f"{one.name} ({one.kind})" if one.kind else one.name for one in row.subresources),
        "fields" if kind.validate is not nothing_wrong or stored.validate is not nothing_wrong else "types",
        _fixed(kind) or _fixed(stored),
        YES if _defaults(kind) or _defaults(stored) else "",
        YES if (kind.prepare_for_create or stored.prepare_for_create) is not None else "",
        ", ".join(f"({one.name})" if one.priority else one.name for one in kind.columns) or "Name, Age",
        ", ".join(f"`{name}`" for name in kind.selectable_fields),
    ]


def _fixed(kind: Kind) -> str:
    """`entry` gives kinds that have no rules of their own a function that only validates."""
    rules = kind.validate_update
    own = rules is not no_update_rules and rules.__qualname__ != "entry.<locals>.<lambda>"
    status = kind.validate_status_update is not no_update_rules
    return " ".join(["rules"] * own + ["+ status"] * status)


def _defaults(kind: Kind) -> bool:
    """Whether anything is filled in beside empty parts, which `entry` writes out for all."""
    default = kind.default
    inner = getclosurevars(default).nonlocals.get("default", default) if callable(default) else default
    return inner is not unchanged


if __name__ == "__main__":
    path = Path("docs") / "api.md"
    path.write_text(document())
    print(f"{path}: {len(all_resources())} kinds")
