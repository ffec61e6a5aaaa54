"""The entries of admissionregistration.k8s.io/v1: webhooks, admission policies and their bindings."""

from collections.abc import Callable, Sequence
from typing import Any

from msgspec.structs import replace

from kubeloop.actors.api.admissionregistration_v1 import ServiceReference, ValidatingAdmissionPolicyStatus
from kubeloop.actors.api.errors import FieldError
from kubeloop.actors.api.meta_v1 import LabelSelector
from kubeloop.actors.apiserver.registry.admission_checks import (
    check_match_conditions,
    check_match_resources,
    check_webhook,
)
from kubeloop.actors.apiserver.registry.catalog import entry
from kubeloop.actors.apiserver.registry.fields import (
    Errors,
    check_label_selector,
    check_one_of,
    duplicate,
    forbidden,
    invalid,
    required,
    unsupported,
)
from kubeloop.actors.apiserver.registry.pod_defaults import each, filled
from kubeloop.actors.apiserver.registry.printing import AGE, NAME, integer, text
from kubeloop.actors.apiserver.registry.strategy import keep_status, only_status, status_reset

GROUP = "admissionregistration.k8s.io"
ANYTHING = LabelSelector()
REASONS = ("Forbidden", "Invalid", "RequestEntityTooLarge")
_NOTHING = "validations or auditAnnotations must contain at least one item"


def _default_rule(rule: Any) -> Any:
    return rule if rule.scope else replace(rule, scope="*")


def _default_webhook(webhook: Any) -> Any:
    new = filled(
        webhook,
        failure_policy="Fail",
        match_policy="Equivalent",
        timeout_seconds=10,
        namespace_selector=ANYTHING,
        object_selector=ANYTHING,
    )
    if hasattr(webhook, "reinvocation_policy"):
        new = filled(new, reinvocation_policy="Never")
    rules = each(new.rules, _default_rule)
    if rules is not new.rules:
        new = replace(new, rules=rules)
    config = new.client_config
    if config is not None and isinstance(config.service, ServiceReference) and config.service.port is None:
        new = replace(new, client_config=replace(config, service=replace(config.service, port=443)))
    return new


def default_webhooks(obj: Any) -> Any:
    webhooks = each(obj.webhooks, _default_webhook)
    return obj if webhooks is obj.webhooks else replace(obj, webhooks=webhooks)


def validate_webhooks(obj: Any) -> Sequence[FieldError]:
    errors: Errors = []
    seen: set[str] = set()
    for index, webhook in enumerate(obj.webhooks):
        path = f"webhooks[{index}]"
        check_webhook(errors, path, webhook)
        if webhook.name in seen:
            errors.append(duplicate(f"{path}.name", webhook.name))
        seen.add(webhook.name or "")
    return errors


def _default_match(resources: Any) -> Any:
    if resources is None:
        return None
    new = filled(resources, match_policy="Equivalent", namespace_selector=ANYTHING, object_selector=ANYTHING)
    for field in ("resource_rules", "exclude_resource_rules"):
        rules = each(getattr(new, field), _default_rule)
        if rules is not getattr(new, field):
            new = replace(new, **{field: rules})
    return new


def default_policy(obj: Any) -> Any:
    spec = filled(obj.spec, failure_policy="Fail")
    constraints = _default_match(spec.match_constraints)
    if constraints is not spec.match_constraints:
        spec = replace(spec, match_constraints=constraints)
    return obj if spec is obj.spec else replace(obj, spec=spec)


def default_policy_binding(obj: Any) -> Any:
    resources = _default_match(obj.spec.match_resources)
    if resources is obj.spec.match_resources:
        return obj
    return replace(obj, spec=replace(obj.spec, match_resources=resources))


def _check_policy(errors: Errors, spec: Any) -> None:
    check_one_of(errors, "spec.failurePolicy", spec.failure_policy, ("Fail", "Ignore"))
    kind = spec.param_kind
    if kind is not None:
        for value, name in ((kind.api_version, "apiVersion"), (kind.kind, "kind")):
            if not value:
                errors.append(required(f"spec.paramKind.{name}"))
        if (kind.api_version or "").count("/") > 1:
            detail = f"unexpected GroupVersion string: {kind.api_version}"
            errors.append(invalid("spec.paramKind.apiVersion", kind.api_version, detail))
    if spec.match_constraints is None:
        errors.append(required("spec.matchConstraints"))
    else:
        check_match_resources(errors, "spec.matchConstraints", spec.match_constraints)
    check_match_conditions(errors, "spec.matchConditions", spec.match_conditions)
    for index, variable in enumerate(spec.variables):
        if not variable.name:
            errors.append(required(f"spec.variables[{index}].name", "name is not specified"))
        elif not variable.name.isidentifier() or not variable.name.isascii():
            detail = "name is not a valid CEL identifier"
            errors.append(invalid(f"spec.variables[{index}].name", variable.name, detail))
        if not (variable.expression or "").strip():
            errors.append(required(f"spec.variables[{index}].expression", "expression is not specified"))


def validate_validating_policy(obj: Any) -> Sequence[FieldError]:
    errors: Errors = []
    spec = obj.spec
    _check_policy(errors, spec)
    if not spec.validations and not spec.audit_annotations:
        errors += [required("spec.validations", _NOTHING), required("spec.auditAnnotations", _NOTHING)]
    for index, validation in enumerate(spec.validations):
        path = f"spec.validations[{index}]"
        if not (validation.expression or "").strip():
            errors.append(required(f"{path}.expression", "expression is not specified"))
        if validation.message and "\n" in validation.message:
            errors.append(invalid(f"{path}.message", validation.message, "must not contain line breaks"))
        if validation.reason is not None and validation.reason not in (*REASONS, "Unauthorized"):
            errors.append(unsupported(f"{path}.reason", validation.reason, REASONS))
    seen: set[str] = set()
    for index, annotation in enumerate(spec.audit_annotations):
        path = f"spec.auditAnnotations[{index}]"
        if not annotation.key:
            errors.append(required(f"{path}.key"))
        elif annotation.key in seen:
            errors.append(duplicate(f"{path}.key", annotation.key))
        seen.add(annotation.key or "")
        if not (annotation.value_expression or "").strip():
            errors.append(required(f"{path}.valueExpression", "valueExpression is not specified"))
    return errors


def validate_mutating_policy(obj: Any) -> Sequence[FieldError]:
    errors: Errors = []
    spec = obj.spec
    _check_policy(errors, spec)
    if not spec.mutations:
        errors.append(required("spec.mutations", "mutations must contain at least one item"))
    for index, mutation in enumerate(spec.mutations):
        path = f"spec.mutations[{index}]"
        for type_, field, json_name in (
            ("ApplyConfiguration", "apply_configuration", "applyConfiguration"),
            ("JSONPatch", "json_patch", "jsonPatch"),
        ):
            source = getattr(mutation, field)
            if mutation.patch_type == type_ and source is None:
                errors.append(required(f"{path}.{json_name}", f"must be specified when patchType is {type_}"))
        if not mutation.patch_type:
            errors.append(required(f"{path}.patchType"))
        elif mutation.patch_type not in ("ApplyConfiguration", "JSONPatch"):
            errors.append(unsupported(f"{path}.patchType", mutation.patch_type, ("ApplyConfiguration", "JSONPatch")))
    if not spec.reinvocation_policy:
        errors.append(required("spec.reinvocationPolicy"))
    else:
        check_one_of(errors, "spec.reinvocationPolicy", spec.reinvocation_policy, ("IfNeeded", "Never"))
    return errors


def _check_binding(errors: Errors, spec: Any) -> None:
    if not spec.policy_name:
        errors.append(required("spec.policyName"))
    reference = spec.param_ref
    if reference is not None:
        path = "spec.paramRef"
        if reference.name and reference.selector is not None:
            message = "name and selector are mutually exclusive"
            errors += [forbidden(f"{path}.name", message), forbidden(f"{path}.selector", message)]
        elif not reference.name and reference.selector is None:
            errors.append(required(path, "one of name or selector must be specified"))
        elif reference.selector is not None:
            check_label_selector(errors, f"{path}.selector", reference.selector)
        if not reference.parameter_not_found_action:
            errors.append(required(f"{path}.parameterNotFoundAction"))
        else:
            check_one_of(
                errors, f"{path}.parameterNotFoundAction", reference.parameter_not_found_action, ("Allow", "Deny")
            )
    if spec.match_resources is not None:
        check_match_resources(errors, "spec.matchResources", spec.match_resources, rules_required=False)


def validate_validating_binding(obj: Any) -> Sequence[FieldError]:
    errors: Errors = []
    spec = obj.spec
    _check_binding(errors, spec)
    actions = list(spec.validation_actions)
    if not actions:
        errors.append(required("spec.validationActions", "at least one validation action is required"))
    for index, action in enumerate(actions):
        if action not in ("Audit", "Deny", "Warn"):
            errors.append(unsupported(f"spec.validationActions[{index}]", action, ("Audit", "Deny", "Warn")))
        if action in actions[:index]:
            errors.append(duplicate(f"spec.validationActions[{index}]", action))
    if "Deny" in actions and "Warn" in actions:
        detail = (
            "must not contain both Deny and Warn (repeating the same validation failure information in the API "
            "response and headers serves no purpose)"
        )
        errors.append(invalid("spec.validationActions", actions, detail))
    return errors


def validate_mutating_binding(obj: Any) -> Sequence[FieldError]:
    errors: Errors = []
    _check_binding(errors, obj.spec)
    return errors


def _param_kind(obj: Any, now: float) -> str:
    kind = obj.spec.param_kind
    return "<unset>" if kind is None else f"{kind.api_version}/{kind.kind}"


def _param_ref(obj: Any, now: float) -> str:
    reference = obj.spec.param_ref
    if reference is None:
        return "<unset>"
    if reference.name:
        return f"{reference.namespace}/{reference.name}" if reference.namespace else str(reference.name)
    return "<selector>" if reference.selector is not None else "<unset>"


def _count(name: str) -> Callable[[Any, float], int]:
    return lambda obj, now: len(getattr(obj.spec, name))


_WEBHOOK_COLUMNS = (NAME, integer("Webhooks", lambda obj, now: len(obj.webhooks)), AGE)
_BINDING_COLUMNS = (
    NAME,
    text("PolicyName", lambda obj, now: obj.spec.policy_name or ""),
    text("ParamRef", _param_ref),
    AGE,
)
_COMMON: dict[str, Any] = {"tracks_generation": True, "unconditional_update": False}

KINDS = (
    *(
        entry(
            GROUP,
            "v1",
            plural,
            default=default_webhooks,
            validate=validate_webhooks,
            columns=_WEBHOOK_COLUMNS,
            **_COMMON,
        )
        for plural in ("mutatingwebhookconfigurations", "validatingwebhookconfigurations")
    ),
    entry(
        GROUP,
        "v1",
        "validatingadmissionpolicies",
        default=default_policy,
        prepare_for_create=status_reset(ValidatingAdmissionPolicyStatus()),
        prepare_for_update=keep_status,
        prepare_for_status_update=only_status,
        validate=validate_validating_policy,
        columns=(
            NAME,
            integer("Validations", _count("validations")),
            text("ParamKind", _param_kind),
            AGE,
        ),
        **_COMMON,
    ),
    entry(
        GROUP,
        "v1",
        "mutatingadmissionpolicies",
        default=default_policy,
        validate=validate_mutating_policy,
        columns=(
            NAME,
            integer("Mutations", _count("mutations")),
            text("ParamKind", _param_kind),
            AGE,
        ),
        **_COMMON,
    ),
    entry(
        GROUP,
        "v1",
        "validatingadmissionpolicybindings",
        default=default_policy_binding,
        validate=validate_validating_binding,
        columns=_BINDING_COLUMNS,
        **_COMMON,
    ),
    entry(
        GROUP,
        "v1",
        "mutatingadmissionpolicybindings",
        default=default_policy_binding,
        validate=validate_mutating_binding,
        columns=_BINDING_COLUMNS,
        **_COMMON,
    ),
)
