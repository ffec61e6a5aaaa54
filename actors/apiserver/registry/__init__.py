"""What the API server knows of each built-in kind: one declarative entry a kind, one module an API group.

Here live served resources, defaulting, validation, strategies, selectable fields and printer columns, as pure
functions. Not here: HTTP, storage, admission, anything asynchronous. `kind_for` imports a group's module when its first
kind is asked for; `all_resources` reads the catalogue alone.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kubeloop.actors.apiserver.registry.catalog import Served
    from kubeloop.actors.apiserver.registry.kind import Kind


def kind_for(group: str, version: str, plural: str) -> "Kind | None":
    """The entry of a served built-in resource; None when it is not one."""
    from kubeloop.actors.apiserver.registry import catalog

    return catalog.kind_for(group, version, plural)


def all_resources() -> "Sequence[Served]":
    """Every served built-in resource in discovery order, without importing what the kinds do."""
    from kubeloop.actors.apiserver.registry import catalog

    return catalog.SERVED
