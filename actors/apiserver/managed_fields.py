"""Field ownership: who set which field, and server-side apply on top of it (the "Server-Side Apply" page).

An object's owners are its `metadata.managedFields`. An update gives the updater what it changed; an apply claims
what the applied object says, conflicts where others own another value, and removes what its manager applied before and
applies no more. Pure functions of builtins; `now` is RFC 3339.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import msgspec

from kubeloop.actors.api.errors import StatusError, bad_request, failure
from kubeloop.actors.apiserver.field_set import (
    FieldSet,
    Path,
    decode,
    encode,
    ordered,
    owns,
    shown,
    with_paths,
    without,
)
from kubeloop.actors.apiserver.merge_schema import Node, schema_of
from kubeloop.actors.apiserver.typed_merge import (
    ListKeyError,
    compare,
    created,
    field_set,
    merge,
    remove,
    with_named_fields,
)

APPLY, UPDATE = "Apply", "Update"
MANAGER_BYTES_MAX = 128
UPDATE_MANAGERS_MAX = 10
BEFORE_FIRST_APPLY = "before-first-apply"
ANCIENT_CHANGES = "ancient-changes"
ENTRY_FIELDS = ("manager", "operation", "apiVersion", "time", "fieldsType", "fieldsV1", "subresource")
NOBODYS: frozenset[Path] = frozenset(
    {
        ("f:apiVersion",),
        ("f:kind",),
        ("f:metadata",),
        *(
            ("f:metadata", f"f:{name}")
            for name in (
                "name",
                "namespace",
                "creationTimestamp",
                "selfLink",
                "uid",
                "clusterName",
                "generation",
                "managedFields",
                "resourceVersion",
            )
        ),
    }
)
Schema: TypeAlias = Node | type | None


class Manager(msgspec.Struct, frozen=True, order=True):
    """Who owns: an applier is one whatever version it uses, an updater another in each version."""

    name: str
    operation: str
    api_version: str
    subresource: str

    def __str__(self) -> str:
        text = msgspec.json.encode(self.name).decode()
        if self.subresource:
            text += f' with subresource "{self.subresource}"'
        return text if self.operation == APPLY else f"{text} using {self.api_version}"


class Owned:
    """What a manager owns: a set of fields, or FieldsV1, whichever was given; the other is made when asked for."""

    __slots__ = ("_encoded", "_fields", "api_version", "time")

    def __init__(
        self, fields: FieldSet | None, api_version: str, time: str, encoded: dict[str, Any] | None = None
    ) -> None:
        self._fields = fields
        self._encoded = encoded
        self.api_version = api_version
        self.time = time

    @property
    def fields(self) -> FieldSet:
        if self._fields is None:
            self._fields = decode(self._encoded)
        return self._fields

    @property
    def encoded(self) -> dict[str, Any]:
        if self._encoded is None:
            self._encoded = encode(self._fields or set())
        return self._encoded

    def touches(self, paths: FieldSet) -> bool:
        encoded = self.encoded
        return any(owns(encoded, path) for path in paths)


Managers: TypeAlias = dict[Manager, Owned]


def manager_name(field_manager: str, user_agent: str) -> str:
    """The fieldManager option, else the user agent up to its first slash."""
    if field_manager:
        return field_manager
    name = ""
    for character in user_agent.partition("/")[0]:
        if character.isprintable():
            if len((name + character).encode()) > MANAGER_BYTES_MAX:
                break
            name += character
    return name


def read_managers(entries: Sequence[Mapping[str, Any]], *, check: bool = True) -> Managers:
    """The owners that an object's managedFields name. Raises ValueError for entries that nobody can have written.

    Without `check` the fields are believed and not read before they are needed: those of a stored object.
    """
    managers: Managers = {}
    for entry in entries:
        operation, api_version = entry.get("operation"), entry.get("apiVersion", "")
        if operation not in (APPLY, UPDATE):
            raise ValueError(f"operation {operation!r} is neither Apply nor Update")
        identity = "" if operation == APPLY else api_version
        manager = Manager(entry.get("manager", ""), operation, identity, entry.get("subresource", ""))
        encoded = entry.get("fieldsV1") or {}
        managers[manager] = Owned(decode(encoded) if check else None, api_version, entry.get("time", ""), encoded)
    return managers


def write_managers(managers: Managers) -> list[dict[str, Any]]:
    """managedFields in the API's order: appliers first, then by time."""
    entries = []
    for manager, owned in managers.items():
        entry = {
            "manager": manager.name,
            "operation": manager.operation,
            "apiVersion": owned.api_version,
            "time": owned.time,
            "fieldsType": "FieldsV1",
            "fieldsV1": owned.encoded,
            "subresource": manager.subresource,
        }
        entries.append({key: value for key, value in entry.items() if value != ""})
    return sorted(entries, key=_entry_order)


def in_wire_order(document: Any) -> Any:
    """The document with its managedFields' entries spelled in the API's order of fields."""
    entries = entries_of(document) if isinstance(document, dict) and isinstance(document.get("metadata"), dict) else ()
    if not entries:
        return document
    spelled = [{key: entry[key] for key in ENTRY_FIELDS if key in entry} for entry in entries]
    return {**document, "metadata": {**document["metadata"], "managedFields": spelled}}


def _entry_order(entry: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(entry.get(key, "") for key in ("operation", "time", "manager", "apiVersion", "subresource"))


def reset_fields(subresource: str, has_status: bool) -> tuple[Path, ...]:
    """What a request cannot set, and therefore cannot own: status from outside, the rest through status."""
    if subresource == "status":
        return (("f:spec",),)
    return (("f:status",),) if has_status else ()


def track_update(
    old: Mapping[str, Any] | None,
    new: Mapping[str, Any],
    schema: Schema,
    manager: str,
    *,
    api_version: str,
    subresource: str = "",
    now: str,
    reset: Sequence[Path] = (),
) -> list[dict[str, Any]]:
    """The managedFields of `new` after `manager` made it of `old` (None: created it).

    An object that nobody tracks yet stays so until it is applied. `new` may bring managedFields of its own; one empty
    entry takes all of them away.
    """
    managers = live_or_given(old, new, subresource)
    if old is not None and not managers:
        return []
    identity = Manager(manager, UPDATE, api_version, subresource)
    if old is None and not managers:
        encoded = created_fields(new, schema, reset)
        if encoded:
            managers[identity] = Owned(None, api_version, now, encoded)
        return write_managers(managers)
    update(managers, old, new, schema_node(schema), identity, api_version, now, reset)
    cap_updaters(managers)
    return write_managers(managers)


def created_fields(document: Mapping[str, Any], schema: Schema, reset: Sequence[Path]) -> dict[str, Any]:
    """FieldsV1 of what the creator of an object owns."""
    return created(claimable(document, reset), schema_node(schema))


def claimable(document: Mapping[str, Any], reset: Sequence[Path]) -> dict[str, Any]:
    """The document without what is nobody's, and without what the request cannot set."""
    gone = {path[0] for path in reset}
    found = {key: value for key, value in document.items() if (f"f:{key}",) not in NOBODYS and f"f:{key}" not in gone}
    metadata = document.get("metadata") or {}
    kept = {key: value for key, value in metadata.items() if ("f:metadata", f"f:{key}") not in NOBODYS}
    return {**found, "metadata": kept}


def live_or_given(old: Mapping[str, Any] | None, new: Mapping[str, Any], subresource: str) -> Managers:
    live = entries_of(old or {})
    given = entries_of(new)
    if not subresource and given != live:
        if len(given) == 1 and not given[0]:
            return {}
        try:
            managers = read_managers(given)
        except (ValueError, AttributeError):
            managers = {}
        if managers:
            return managers
    try:
        return read_managers(live, check=False)
    except (ValueError, AttributeError):
        return {}


def entries_of(document: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    return (document.get("metadata") or {}).get("managedFields") or ()


def update(
    managers: Managers,
    old: Mapping[str, Any] | None,
    new: Mapping[str, Any],
    node: Node,
    manager: Manager,
    api_version: str,
    now: str,
    reset: Sequence[Path],
) -> None:
    """What changed is `manager`'s now and nobody else's."""
    changes = compare(unmanaged(old or {}), unmanaged(new), node)
    claimed = without(changes.added | changes.modified, reset)
    take_away(managers, claimed | without(changes.removed, reset))
    claimed -= NOBODYS
    if claimed:
        previous = managers.get(manager)
        encoded = with_paths(previous.encoded if previous is not None else {}, claimed)
        managers[manager] = Owned(None, api_version, now, encoded)


def take_away(managers: Managers, fields: FieldSet, keep: Manager | None = None) -> None:
    """Nobody but `keep` owns these fields any more; who owns nothing is forgotten."""
    for manager, owned in list(managers.items()):
        if manager != keep and owned.touches(fields):
            managers[manager] = Owned(owned.fields - fields, owned.api_version, owned.time)
        if not managers[manager].encoded:
            del managers[manager]


def unmanaged(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document without its managedFields."""
    metadata = document.get("metadata")
    if not metadata or "managedFields" not in metadata:
        return dict(document)
    return {**document, "metadata": {key: value for key, value in metadata.items() if key != "managedFields"}}


def cap_updaters(managers: Managers) -> None:
    """At most so many updaters: the oldest ones of a version become one entry."""
    updaters = sorted((owned.time, manager) for manager, owned in managers.items() if manager.operation == UPDATE)
    left = len(updaters)
    first_of: dict[str, Manager] = {}
    for time, manager in updaters:
        if left <= UPDATE_MANAGERS_MAX:
            return
        version = manager.api_version
        bucket = Manager(ANCIENT_CHANGES, UPDATE, version, "")
        first = first_of.setdefault(version, manager)
        if first != manager:
            older = managers.pop(first) if first in managers else managers.pop(bucket)
            first_of[version] = bucket
            managers[bucket] = Owned(older.fields | managers.pop(manager).fields, version, time)
            left -= 1


def schema_node(schema: Schema) -> Node:
    return schema if isinstance(schema, Node) else schema_of(schema)


def server_side_apply(
    live: Mapping[str, Any] | None,
    patch: Mapping[str, Any],
    schema: Schema,
    manager: str,
    force: bool,
    *,
    api_version: str,
    subresource: str = "",
    now: str,
    reset: Sequence[Path] = (),
) -> dict[str, Any]:
    """The object after `manager` applied `patch` to `live` (None: there is none yet), with its managedFields.

    Raises 409 with a cause a field when others own another value and `force` is not set, 400 for an object that cannot
    be applied.
    """
    check_appliable(patch, api_version)
    node = schema_node(schema)
    current = unmanaged(live or {})
    managers = live_or_given(live, {}, "")
    if live is not None and not managers:
        first = Manager(BEFORE_FIRST_APPLY, UPDATE, api_version, "")
        update(managers, None, live, node, first, api_version, now, reset)
    identity = Manager(manager, APPLY, "", subresource)
    last = managers.get(identity)
    try:
        merged = merge(current, dict(patch), node)
        claimed = without(field_set(patch, node), reset)
        managers[identity] = Owned(claimed, api_version, last.time if last is not None else now)
        if last is not None and last.fields:
            merged = prune(merged, managers, last.fields, node)
        changes = compare(current, merged, node)
    except ListKeyError as error:
        raise not_appliable(patch, [str(error)]) from None
    changed = without(changes.added | changes.modified, reset)
    if not force:
        check_conflicts(managers, identity, changed)
    take_away(managers, changed | without(changes.removed, reset), keep=identity)
    claimed -= NOBODYS
    if not claimed:
        managers.pop(identity, None)
    else:
        time = now if last is None or merged != current else last.time
        managers[identity] = Owned(claimed, api_version, time)
    return with_managers(without_nulls(merged, node), managers)


def check_appliable(patch: Mapping[str, Any], api_version: str) -> None:
    if entries_of(patch):
        raise bad_request("metadata.managedFields must be nil")
    given = patch.get("apiVersion") or ""
    if given != api_version:
        raise bad_request(
            f"incorrect version specified in apply patch. Specified patch version: {given}, expected: {api_version}"
        )


def not_appliable(patch: Mapping[str, Any], problems: Sequence[str]) -> StatusError:
    """400 for an object that its type's schema does not allow (where the API server answers 500)."""
    text = problems[0] if len(problems) == 1 else "errors:\n" + "\n".join(f"  {problem}" for problem in problems)
    return bad_request(f"failed to create typed patch object ({described(patch)}): {text}")


def described(patch: Mapping[str, Any]) -> str:
    metadata = patch.get("metadata")
    given = metadata if isinstance(metadata, dict) else {}
    namespace, name = (given.get(part) if isinstance(given.get(part), str) else "" for part in ("namespace", "name"))
    group, _, version = str(patch.get("apiVersion") or "").rpartition("/")
    return f"{namespace}/{name}; {group}/{version}, Kind={patch.get('kind') or ''}"


def prune(merged: Any, managers: Managers, last: FieldSet, node: Node) -> Any:
    """Take out what the manager applied last time, unless somebody (itself included) still owns it."""
    named_last = with_named_fields(last, node)
    pruned = remove(merged, named_last, node)
    named = with_named_fields(field_set(merged, node), node)
    kept: FieldSet = with_named_fields(field_set(pruned, node), node)
    for owned in managers.values():
        kept |= with_named_fields(owned.fields, node)
    pruned = remove(merged, named - kept, node)
    kept = with_named_fields(field_set(pruned, node), node)
    return remove(merged, (named - kept) & named_last, node)


def check_conflicts(managers: Managers, own: Manager, changed: FieldSet) -> None:
    """Raises 409 when a change touches what another manager owns."""
    conflicts = [
        (str(manager), shown(path))
        for manager in sorted(managers)
        if manager != own
        for path in ordered(managers[manager].fields & changed)
    ]
    if conflicts:
        raise conflict_error(conflicts)


def conflict_error(conflicts: Sequence[tuple[str, str]]) -> StatusError:
    """`conflicts` are pairs of manager, as it is shown, and path."""
    if len(conflicts) == 1:
        manager, path = conflicts[0]
        message = f"Apply failed with 1 conflict: conflict with {manager}: {path}"
    else:
        lines = []
        for manager in dict.fromkeys(manager for manager, _ in conflicts):
            lines.append(f"conflicts with {manager}:")
            lines += [f"- {path}" for owner, path in conflicts if owner == manager]
        message = f"Apply failed with {len(conflicts)} conflicts: " + "\n".join(lines)
    causes = [
        {"reason": "FieldManagerConflict", "message": f"conflict with {manager}", "field": path}
        for manager, path in conflicts
    ]
    return failure(409, "Conflict", message, {"causes": causes})


def without_nulls(value: Any, node: Node) -> Any:
    """As Go decodes nulls: the zero value in a map of strings, nothing in a struct."""
    if isinstance(value, dict) and node.form in ("struct", "map"):
        found = {}
        for key, child in value.items():
            if child is not None:
                found[key] = without_nulls(child, node.child(key))
            elif node.form == "map" and node.element is not None and node.element.form == "scalar":
                found[key] = ""
        return found
    if isinstance(value, list) and node.form == "list" and node.element is not None:
        element = node.element
        return [without_nulls(item, element) for item in value]
    return value


def with_managers(document: dict[str, Any], managers: Managers) -> dict[str, Any]:
    metadata = {key: value for key, value in (document.get("metadata") or {}).items() if key != "managedFields"}
    if managers:
        metadata["managedFields"] = write_managers(managers)
    return {**document, "metadata": metadata}
