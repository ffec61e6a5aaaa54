"""What the workload kinds share: selectors that must match the template, template rules, replica counts."""

from collections.abc import Mapping
from typing import Any

from kubeloop.actors.api import selectors
from kubeloop.actors.apiserver.registry.fields import (
    Errors,
    check_label_selector,
    forbidden,
    invalid,
    required,
    unsupported,
)
from kubeloop.actors.apiserver.registry.pod_validation import check_pod_template

NO_MATCH = "`selector` does not match template `labels`"


def selector_json(selector: Any) -> dict[str, Any]:
    """A LabelSelector as its JSON, for messages."""
    shown: dict[str, Any] = {}
    if selector.match_labels:
        shown["matchLabels"] = dict(selector.match_labels)
    if selector.match_expressions:
        shown["matchExpressions"] = [
            {"key": one.key, "operator": one.operator, **({"values": list(one.values)} if one.values else {})}
            for one in selector.match_expressions
        ]
    return shown


def is_empty(selector: Any) -> bool:
    return not selector.match_labels and not selector.match_expressions


def matches(selector: Any, labels: Mapping[str, str]) -> bool:
    """Whether a LabelSelector matches; None matches nothing, {} everything."""
    if selector is None:
        return False
    for key, value in selector.match_labels.items():
        if labels.get(key) != value:
            return False
    return not selector.match_expressions or bool(selectors.from_label_selector(selector).matches(labels))


def check_selector(errors: Errors, selector: Any, kind: str) -> bool:
    """spec.selector of a workload; whether the template can be held against it."""
    if selector is None:
        errors.append(required("spec.selector"))
        return True
    before = len(errors)
    check_label_selector(errors, "spec.selector", selector)
    if is_empty(selector):
        errors.append(invalid("spec.selector", {}, f"empty selector is invalid for {kind}"))
        return True
    if len(errors) > before:
        errors.append(invalid("spec.selector", selector_json(selector), "invalid label selector"))
        return False
    return True


def template_labels(template: Any) -> Mapping[str, str] | None:
    metadata = template.metadata
    return metadata.labels if metadata is not None and metadata.labels else None


def check_template_matches(errors: Errors, selector: Any, template: Any, path: str = "spec.template") -> None:
    if selector is not None and is_empty(selector):
        return
    labels = template_labels(template)
    if not matches(selector, labels or {}):
        errors.append(invalid(f"{path}.metadata.labels", dict(labels) if labels else None, NO_MATCH))


def check_replica_template(errors: Errors, selector: Any, template: Any, *, owner: str = "ReplicaSet") -> None:
    """The template of a kind that keeps pods running for ever."""
    check_template_matches(errors, selector, template)
    check_running_template(errors, template, owner)


def check_running_template(errors: Errors, template: Any, owner: str) -> None:
    before = len(errors)
    check_pod_template(errors, "spec.template", template)
    policy = template.spec.restart_policy
    if policy != "Always" and not any(error.field == "spec.template.spec.restartPolicy" for error in errors[before:]):
        errors.append(unsupported("spec.template.spec.restartPolicy", policy, ("Always",)))
    if template.spec.active_deadline_seconds is not None:
        errors.append(
            forbidden("spec.template.spec.activeDeadlineSeconds", f"activeDeadlineSeconds in {owner} is not Supported")
        )
