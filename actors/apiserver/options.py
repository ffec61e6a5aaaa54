"""Query parameters and DeleteOptions, checked as the API does: what cannot be read is 400, what is refused 422."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from kubeloop.actors.api.errors import FieldError, bad_request, invalid, quoted

DIGITS_MAX = 40  # of a number that is read at all
META_GROUP = "meta.k8s.io"
FIELD_VALIDATIONS = ("", "Ignore", "Strict", "Warn")
PROPAGATION_POLICIES = ("Foreground", "Background", "Orphan")
APPLY = "application/apply-patch+yaml"


class ListOptions(msgspec.Struct, frozen=True):
    """meta/v1 ListOptions. `send_initial_events` None: not given."""

    label_selector: str = ""
    field_selector: str = ""
    limit: int = 0
    continue_: str = ""
    resource_version: str = ""
    resource_version_match: str = ""
    timeout_seconds: int | None = None
    allow_watch_bookmarks: bool = False
    send_initial_events: bool | None = None


class WriteOptions(msgspec.Struct, frozen=True):
    """meta/v1 CreateOptions, UpdateOptions, PatchOptions."""

    dry_run: bool = False
    field_manager: str = ""
    field_validation: str = ""
    force: bool | None = None


class DeleteOptions(msgspec.Struct, frozen=True):
    """meta/v1 DeleteOptions. `propagation_policy` None: the kind's default, or what its finalizers say."""

    dry_run: bool = False
    grace_period_seconds: int | None = None
    propagation_policy: str | None = None
    orphan_dependents: bool | None = None
    uid: str | None = None
    resource_version: str | None = None


NO_LIST_OPTIONS = ListOptions()
NO_WRITE_OPTIONS = WriteOptions()
NO_DELETE_OPTIONS = DeleteOptions()


def boolean(text: str) -> bool:
    """As the API reads a boolean parameter: present is true, unless it says false or 0."""
    return text.lower() not in ("false", "0")


_INTEGER = re.compile(r"[+-]?[0-9]+\Z")


def integer(text: str) -> int:
    """Raises 400 in the words of Go's strconv; an empty text is no number either."""
    wrong = ""
    if _INTEGER.match(text) is None:
        wrong = "invalid syntax"
    elif len(text) > DIGITS_MAX or not -(1 << 63) <= int(text) < 1 << 63:
        wrong = "value out of range"
    if wrong:
        raise bad_request(f"strconv.ParseInt: parsing {quoted(text)}: {wrong}")
    return int(text)


def resource_version(text: str) -> int:
    """ "" and "0" are 0. Raises 400 for what is not a revision."""
    if not text:
        return 0
    if not (text.isascii() and text.isdigit()):
        detail = f"strconv.ParseUint: parsing {quoted(text)}: invalid syntax"
        raise bad_request(f"resourceVersion: Invalid value: {quoted(text)}: {detail}")
    if len(text) > DIGITS_MAX or int(text) >= 1 << 64:
        detail = f"strconv.ParseUint: parsing {quoted(text)}: value out of range"
        raise bad_request(f"resourceVersion: Invalid value: {quoted(text)}: {detail}")
    return int(text)


def list_options(options: Mapping[str, str], *, watch: bool = False) -> ListOptions:
    """Read and check; selectors stay text (they are the resource's to understand)."""
    if not options:
        return NO_LIST_OPTIONS
    timeout, initial = options.get("timeoutSeconds"), options.get("sendInitialEvents")
    parsed = ListOptions(
        label_selector=options.get("labelSelector", ""),
        field_selector=options.get("fieldSelector", ""),
        limit=integer(options["limit"]) if "limit" in options else 0,
        continue_=options.get("continue", ""),
        resource_version=options.get("resourceVersion", ""),
        resource_version_match=options.get("resourceVersionMatch", ""),
        timeout_seconds=integer(timeout) if timeout is not None else None,
        allow_watch_bookmarks="allowWatchBookmarks" in options and boolean(options["allowWatchBookmarks"]),
        send_initial_events=None if initial is None else boolean(initial),
    )
    errors = watch_errors(parsed) if watch else list_errors(parsed)
    if errors:
        raise invalid(META_GROUP, "ListOptions", "", errors)
    return parsed


def list_errors(options: ListOptions) -> list[FieldError]:
    errors = []
    match = options.resource_version_match
    if match:
        field = "resourceVersionMatch"
        if not options.resource_version:
            errors.append(forbidden(field, "resourceVersionMatch is forbidden unless resourceVersion is provided"))
        if options.continue_:
            errors.append(forbidden(field, "resourceVersionMatch is forbidden when continue is provided"))
        if match not in ("Exact", "NotOlderThan"):
            errors.append(not_supported(field, match, ("Exact", "NotOlderThan", "")))
        if match == "Exact" and options.resource_version == "0":
            errors.append(forbidden(field, 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"'))
    if options.send_initial_events is not None:
        errors.append(forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"))
    return errors


def watch_errors(options: ListOptions) -> list[FieldError]:
    errors = []
    match, field = options.resource_version_match, "resourceVersionMatch"
    if options.send_initial_events is not None and match != "NotOlderThan":
        errors.append(forbidden(field, "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"))
    if match:
        if options.send_initial_events is None:
            text = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
            errors.append(forbidden(field, text))
        if match != "NotOlderThan":
            errors.append(not_supported(field, match, ("NotOlderThan",)))
    if options.continue_:
        errors.append(forbidden(field, "resourceVersionMatch is forbidden when continue is provided"))
    return errors


def write_options(options: Mapping[str, str], kind: str, *, content_type: str = "") -> WriteOptions:
    """`kind`: CreateOptions, UpdateOptions or PatchOptions (with the patch's content type)."""
    if not options and content_type != APPLY:
        return NO_WRITE_OPTIONS
    errors = []
    manager = options.get("fieldManager", "")
    force = None if "force" not in options else boolean(options["force"])
    if kind == "PatchOptions":
        if content_type == APPLY:
            if not manager:
                errors.append(FieldError("FieldValueRequired", "fieldManager", "", "is required for apply patch"))
        elif force is not None:
            errors.append(forbidden("force", "may not be specified for non-apply patch"))
    errors += field_manager_errors(manager)
    errors += dry_run_errors(options.get("dryRun"))
    validation = options.get("fieldValidation", "")
    if validation not in FIELD_VALIDATIONS:
        errors.append(not_supported("fieldValidation", validation, FIELD_VALIDATIONS))
    if errors:
        raise invalid(META_GROUP, kind, "", errors)
    return WriteOptions("dryRun" in options, manager, validation, force)


def field_manager_errors(manager: str) -> list[FieldError]:
    errors = []
    if len(manager.encode()) > 128:
        errors.append(FieldError("FieldValueTooLong", "fieldManager", manager, "may not be more than 128 bytes"))
    for index, character in enumerate(manager):
        if not character.isprintable():
            detail = f"invalid character U+{ord(character):04X} (at position {index})"
            errors.append(
                FieldError(
                    "FieldValueInvalid", "fieldManager", manager, "should only contain printable characters: " + detail
                )
            )
            break
    return errors


def dry_run_errors(value: str | None) -> list[FieldError]:
    return [] if value is None or value == "All" else [not_supported("dryRun", value, ("All",))]


def delete_options(options: Mapping[str, str], body: Mapping[str, Any] | None) -> DeleteOptions:
    """From the body (DeleteOptions as builtins) when there is one, else from the query."""
    if not body:
        if not options:
            return NO_DELETE_OPTIONS
        grace = options.get("gracePeriodSeconds")
        orphan = options.get("orphanDependents")
        dry_run = [options["dryRun"]] if "dryRun" in options else []
        parsed = DeleteOptions(
            dry_run=bool(dry_run),
            grace_period_seconds=integer(grace) if grace is not None else None,
            propagation_policy=options.get("propagationPolicy"),
            orphan_dependents=None if orphan is None else boolean(orphan),
            uid=options.get("uid") or None,
        )
    else:
        preconditions = body.get("preconditions") or {}
        dry_run = body.get("dryRun") or []
        parsed = DeleteOptions(
            dry_run=bool(dry_run),
            grace_period_seconds=body.get("gracePeriodSeconds"),
            propagation_policy=body.get("propagationPolicy"),
            orphan_dependents=body.get("orphanDependents"),
            uid=preconditions.get("uid"),
            resource_version=preconditions.get("resourceVersion"),
        )
    errors = delete_errors(parsed, dry_run)
    if errors:
        raise invalid(META_GROUP, "DeleteOptions", "", errors)
    return parsed


def delete_errors(options: DeleteOptions, dry_run: Sequence[str]) -> list[FieldError]:
    errors = []
    policy = options.propagation_policy
    if policy is not None and options.orphan_dependents is not None:
        detail = "orphanDependents and deletionPropagation cannot be both set"
        errors.append(FieldError("FieldValueInvalid", "propagationPolicy", policy, detail))
    if policy is not None and policy not in PROPAGATION_POLICIES:
        errors.append(not_supported("propagationPolicy", policy, (*PROPAGATION_POLICIES, "nil")))
    for value in dry_run:
        errors += dry_run_errors(value)
    return errors


def forbidden(field: str, detail: str) -> FieldError:
    return FieldError("FieldValueForbidden", field, "", detail)


def not_supported(field: str, value: str, supported: Sequence[str]) -> FieldError:
    listed = ", ".join(f'"{choice}"' for choice in supported)
    return FieldError("FieldValueNotSupported", field, value, f"supported values: {listed}")
