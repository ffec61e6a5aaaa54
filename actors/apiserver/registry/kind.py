"""What the API server knows of one kind: a declarative entry. Adding a kind is adding an entry."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from kubeloop.actors.api.errors import FieldError
from kubeloop.actors.api.resources import ResourceType
from kubeloop.runtime.clock import Clock


class Column(msgspec.Struct, frozen=True):
    """A column of the Table answer (meta/v1 TableColumnDefinition).

    `cell` gives its value for an object at a time in unix seconds. `description`: only of columns that the
    API reference does not describe (column_descriptions.py).
    """

    name: str
    cell: Callable[[Any, float], Any]
    type: str = "string"
    format: str = ""
    priority: int = 0
    description: str = ""


class StrategyContext(msgspec.Struct, frozen=True):
    """What a strategy may look at: the time, chance, and other objects.

    `get(plural.group, namespace, name)` and `list(plural.group, namespace)` answer from the caches.
    """

    clock: Clock
    get: Callable[[str, str, str], Any | None]
    list: Callable[[str, str], Sequence[Any]]
    user: str = ""
    groups: Sequence[str] = ()
    dry_run: bool = False


def unchanged(obj: Any) -> Any:
    return obj


def nothing_wrong(obj: Any) -> Sequence[FieldError]:
    return ()


def no_update_rules(new: Any, old: Any) -> Sequence[FieldError]:
    return ()


class Subresource(msgspec.Struct, frozen=True):
    """A subresource: its name, verbs, and the group, version and kind on its wire (default: the parent's)."""

    name: str
    verbs: Sequence[str]
    kind: str = ""
    group: str = ""
    version: str = ""


class Kind(msgspec.Struct, frozen=True):
    """One built-in kind.

    default: fills in what the API reference documents as defaults (create, update and patch; pure).
    prepare_for_create / prepare_for_update: what the server sets or drops itself (status on create, cluster IPs, status
        kept on a spec update ...; generation is generic). They run after defaulting and before validation.
    prepare_for_status_update(new, old): keeps everything but status (and metadata that may change) of old.
    validate / validate_update: field errors, in the real server's order and words. Metadata is checked generically.
    spec_decides: there is nothing beside metadata, spec and status; a creation drops a given status, and the spec alone
        decides what default, prepare_for_create, validate and warnings make of the rest (outcomes.py remembers it).
    selectable_fields: field selector name -> getter, beside metadata.name and metadata.namespace.
    """

    resource: ResourceType
    verbs: Sequence[str] = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
    subresources: Sequence[Subresource] = ()
    storage_prefix: str = ""  # below /registry/, default the plural
    name_rule: str = "dns_subdomain"  # dns_subdomain | dns_label | dns_1035_label | path_segment
    default: Callable[[Any], Any] = unchanged
    prepare_for_create: Callable[[Any, StrategyContext], Any] | None = None
    prepare_for_update: Callable[[Any, Any, StrategyContext], Any] | None = None
    prepare_for_status_update: Callable[[Any, Any, StrategyContext], Any] | None = None
    after_delete: Callable[[Any, StrategyContext], None] | None = None
    validate: Callable[[Any], Sequence[FieldError]] = nothing_wrong
    validate_update: Callable[[Any, Any], Sequence[FieldError]] = no_update_rules
    validate_status_update: Callable[[Any, Any], Sequence[FieldError]] = no_update_rules
    warnings: Callable[[Any], Sequence[str]] | None = None
    deprecation_warnings: Sequence[str] = ()  # every answer carries them
    nulls: Sequence[str] = ()  # fields written as null when absent ("rules", "status.currentMetrics")
    selectable_fields: Mapping[str, Callable[[Any], str]] = {}
    columns: Sequence[Column] = ()
    row_conditions: Callable[[Any], Sequence[Mapping[str, str]]] | None = None  # of a Table row (TableRowCondition)
    graceful_deletion: bool = False  # pods: the kubelet deletes for good
    default_delete_propagation: str = "Background"
    unconditional_update: bool = True
    create_on_update: bool = False
    has_status: bool = False
    spec_decides: bool = False
    tracks_generation: bool = False  # metadata.generation: 1 when created, counted up when the spec changes
    fixed_generation: bool = False  # it stays what it was when created
    return_deleted_object: bool = False  # a delete is answered with the object, not with a Status
    scale: Mapping[str, Any] = {}  # paths of the scale subresource: specReplicas, statusReplicas, selector getters
