"""The rules of metadata that hold for every kind: what the server fills in, keeps and refuses.

Pure functions over ObjectMeta; `current_metadata` and `with_metadata` fetch and replace it in a Struct or a custom
resource's dict. Follows the API conventions page ("Metadata") and words errors as apimachinery does.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from kubeloop.actors.api import codec
from kubeloop.actors.api.errors import FieldError
from kubeloop.actors.api.meta_v1 import ObjectMeta
from kubeloop.actors.apiserver.registry import fields, names

replace = msgspec.structs.replace
NO_METADATA = ObjectMeta()
GENERATED_NAME_MAX = 63
SUFFIX_LENGTH = 5
SUFFIX_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
STANDARD_FINALIZERS = ("kubernetes", "orphan", "foregroundDeletion")
ANNOTATION_BYTES_MAX = 256 * 1024


def current_metadata(obj: Any) -> ObjectMeta:
    if type(obj) is dict:
        found: ObjectMeta = codec.convert(obj.get("metadata") or {}, ObjectMeta)
        return found
    return obj.metadata or NO_METADATA


def with_metadata(obj: Any, metadata: ObjectMeta) -> Any:
    if type(obj) is dict:
        return {**obj, "metadata": codec.to_builtins(metadata)}
    return replace(obj, metadata=metadata)


def generated_name(prefix: str, random: Any) -> str:
    suffix = "".join(random.choices(SUFFIX_ALPHABET, k=SUFFIX_LENGTH))
    return prefix[: GENERATED_NAME_MAX - SUFFIX_LENGTH] + suffix


# what changes tell


def body_changed(new: Any, old: Any) -> bool:
    """Whether anything but metadata and status differs: what bumps the generation."""
    if type(new) is dict:
        ignored = ("metadata", "status", "apiVersion", "kind")
        return {k: v for k, v in new.items() if k not in ignored} != {k: v for k, v in old.items() if k not in ignored}
    spec = getattr(new, "spec", None)
    if spec is not None:
        return bool(spec is not old.spec and spec != old.spec)
    for field in new.__struct_fields__:
        if field not in ("metadata", "status", "api_version", "kind") and getattr(new, field) != getattr(old, field):
            return True
    return False


# checks


def check(metadata: ObjectMeta, *, namespaced: bool, name_rule: str) -> list[FieldError]:
    """Errors of an object's metadata, in the API's order. An empty name is checked by the caller's rule: required."""
    errors: list[FieldError] = []
    rule = names.NAME_RULES[name_rule]
    if metadata.generate_name:
        for message in rule(masked_generate_name(metadata.generate_name)):
            errors.append(fields.invalid("metadata.generateName", metadata.generate_name, message))
    if not metadata.name:
        errors.append(fields.required("metadata.name", "name or generateName is required"))
    else:
        for message in rule(metadata.name):
            errors.append(fields.invalid("metadata.name", metadata.name, message))
    if not namespaced:
        if metadata.namespace:
            errors.append(fields.forbidden("metadata.namespace", "not allowed on this type"))
    elif not metadata.namespace:
        errors.append(fields.required("metadata.namespace"))
    elif names.dns_label(metadata.namespace):
        for message in names.dns_label(metadata.namespace):
            errors.append(fields.invalid("metadata.namespace", metadata.namespace, message))
    if metadata.generation is not None and metadata.generation < 0:
        errors.append(fields.invalid("metadata.generation", metadata.generation, fields.NON_NEGATIVE))
    if metadata.labels:
        check_labels(errors, "metadata.labels", metadata.labels)
    if metadata.annotations:
        check_annotations(errors, "metadata.annotations", metadata.annotations)
    if metadata.owner_references:
        check_owner_references(errors, metadata.owner_references)
    if metadata.finalizers:
        check_finalizers(errors, metadata.finalizers)
    return errors


def masked_generate_name(prefix: str) -> str:
    """A prefix may end in a dash: the name made of it will not."""
    return prefix[:-1] + "a" if len(prefix) > 1 and prefix.endswith("-") else prefix


def check_labels(errors: list[FieldError], path: str, labels: Any) -> None:
    for key, value in labels.items():
        if not names.qualified_name(key) and not names.label_value(value):
            continue
        for message in names.qualified_name(key):
            errors.append(fields.invalid(path, key, message))
        for message in names.label_value(value):
            errors.append(fields.invalid(path, value, message))


def check_annotations(errors: list[FieldError], path: str, annotations: Any) -> None:
    total = 0
    for key, value in annotations.items():
        for message in names.qualified_name(key.lower()):
            errors.append(fields.invalid(path, key, message))
        total += len(key) + len(value)
    if total > ANNOTATION_BYTES_MAX:
        errors.append(fields.too_long(path, "", ANNOTATION_BYTES_MAX))


def check_owner_references(errors: list[FieldError], references: Sequence[Any]) -> None:
    path = "metadata.ownerReferences"
    controller = None
    for reference in references:
        if not reference.api_version:
            errors.append(
                fields.invalid(f"{path}.apiVersion", reference.api_version or "", "version must not be empty")
            )
        if not reference.kind:
            errors.append(fields.invalid(f"{path}.kind", reference.kind or "", "must not be empty"))
        if not reference.name:
            errors.append(fields.invalid(f"{path}.name", reference.name or "", "must not be empty"))
        if not reference.uid:
            errors.append(fields.invalid(f"{path}.uid", reference.uid or "", "must not be empty"))
        if reference.kind == "Event" and reference.api_version in ("v1", "events.k8s.io/v1"):
            group, _, version = (reference.api_version or "").rpartition("/")
            detail = f"{group}/{version}, Kind=Event is disallowed from being an owner"
            errors.append(fields.invalid(path, shown(reference), detail))
        if reference.controller:
            if controller is not None:
                detail = (
                    'Only one reference can have Controller set to true. Found "true" in references for '
                    f"{controller.kind}/{controller.name} and {reference.kind}/{reference.name}"
                )
                errors.append(fields.invalid(path, [shown(one) for one in references], detail))
            controller = reference


def shown(reference: Any) -> dict[str, Any]:
    """An owner reference as error messages print it."""
    builtins = codec.to_builtins(reference)
    order = ("apiVersion", "kind", "name", "uid", "controller", "blockOwnerDeletion")
    return {
        key: builtins.get(key, "")
        for key in order
        if key in builtins or key not in ("controller", "blockOwnerDeletion")
    }


def check_finalizers(errors: list[FieldError], finalizers: Sequence[str]) -> None:
    path = "metadata.finalizers"
    for index, finalizer in enumerate(finalizers):
        check_finalizer(errors, f"{path}[{index}]", finalizer)
    if "orphan" in finalizers and "foregroundDeletion" in finalizers:
        detail = "finalizer orphan and foregroundDeletion cannot be both set"
        errors.append(fields.invalid(path, list(finalizers), detail))


def check_finalizer(errors: list[FieldError], path: str, finalizer: str) -> None:
    wrong = names.qualified_name(finalizer)
    for message in wrong:
        errors.append(fields.invalid(path, finalizer, message))
    if not wrong and "/" not in finalizer and finalizer not in STANDARD_FINALIZERS:
        detail = "name is neither a standard finalizer name nor is it fully qualified"
        errors.append(fields.invalid(path, finalizer, detail))


# updates


def carry_over(new: ObjectMeta, old: ObjectMeta) -> ObjectMeta:
    """What an update may leave out, and what it cannot take away: uid, creation, and a deletion under way."""
    changes: dict[str, Any] = {}
    if not new.uid:
        changes["uid"] = old.uid
    if not new.namespace:
        changes["namespace"] = old.namespace
    if not new.creation_timestamp:
        changes["creation_timestamp"] = old.creation_timestamp
    if old.deletion_timestamp:
        changes["deletion_timestamp"] = old.deletion_timestamp
        if new.deletion_grace_period_seconds is None:
            changes["deletion_grace_period_seconds"] = old.deletion_grace_period_seconds
    if new.generation != old.generation:
        changes["generation"] = old.generation
    if new.resource_version is not None:
        changes["resource_version"] = None
    if new.self_link:
        changes["self_link"] = None
    return replace(new, **changes)


def check_update(new: ObjectMeta, old: ObjectMeta) -> list[FieldError]:
    """Errors of changing metadata from `old` to `new` (after `carry_over`)."""
    errors: list[FieldError] = []
    if old.deletion_timestamp:
        added = [finalizer for finalizer in new.finalizers if finalizer not in old.finalizers]
        if added:
            listed = ", ".join(f'"{finalizer}"' for finalizer in sorted(added))
            detail = (
                "no new finalizers can be added if the object is being deleted, "
                f"found new finalizers []string{{{listed}}}"
            )
            errors.append(fields.forbidden("metadata.finalizers", detail))
    for field, path in IMMUTABLE:
        value = getattr(new, field)
        if value != getattr(old, field):
            errors.append(fields.invalid(path, value, fields.IMMUTABLE))
    if new.labels:
        check_labels(errors, "metadata.labels", new.labels)
    if new.annotations:
        check_annotations(errors, "metadata.annotations", new.annotations)
    return errors


IMMUTABLE = (
    ("name", "metadata.name"),
    ("namespace", "metadata.namespace"),
    ("uid", "metadata.uid"),
    ("creation_timestamp", "metadata.creationTimestamp"),
    ("deletion_timestamp", "metadata.deletionTimestamp"),
    ("deletion_grace_period_seconds", "metadata.deletionGracePeriodSeconds"),
)
