"""Pod failure policies and success policies of jobs (batch/v1)."""

from typing import Any

from msgspec.structs import replace

from kubeloop.actors.apiserver.registry.fields import (
    Errors,
    check_non_negative,
    duplicate,
    invalid,
    required,
    unsupported,
)
from kubeloop.actors.apiserver.registry.pod_defaults import each

ACTIONS = ("Count", "FailIndex", "FailJob", "Ignore")
EXIT_CODES_MAX, RULES_MAX = 255, 20


def default_failure_policy(policy: Any) -> Any:
    rules = each(policy.rules, _default_rule)
    return policy if rules is policy.rules else replace(policy, rules=rules)


def _default_rule(rule: Any) -> Any:
    patterns = each(rule.on_pod_conditions, lambda one: one if one.status else replace(one, status="True"))
    return rule if patterns is rule.on_pod_conditions else replace(rule, on_pod_conditions=patterns)


def check_failure_policy(errors: Errors, path: str, spec: Any) -> None:
    if spec.template.spec.restart_policy != "Never":
        where = path.removesuffix(".podFailurePolicy")
        detail = 'only "Never" is supported when podFailurePolicy is specified'
        errors.append(invalid(f"{where}.template.spec.restartPolicy", spec.template.spec.restart_policy, detail))
    policy = spec.pod_failure_policy
    containers = {one.name for one in (*spec.template.spec.containers, *spec.template.spec.init_containers)}
    for index, rule in enumerate(policy.rules):
        where = f"{path}.rules[{index}]"
        if not rule.action:
            errors.append(required(f"{where}.action", 'valid values: "Count", "FailIndex", "FailJob", "Ignore"'))
        elif rule.action == "FailIndex" and spec.backoff_limit_per_index is None:
            errors.append(invalid(f"{where}.action", rule.action, "requires the backoffLimitPerIndex to be set"))
        elif rule.action not in ACTIONS:
            errors.append(unsupported(f"{where}.action", rule.action, ACTIONS))
        if rule.on_exit_codes is not None:
            _check_exit_codes(errors, f"{where}.onExitCodes", rule.on_exit_codes, containers)
        for number, pattern in enumerate(rule.on_pod_conditions):
            if pattern.status not in ("False", "True", "Unknown"):
                errors.append(
                    unsupported(
                        f"{where}.onPodConditions[{number}].status", pattern.status, ("False", "True", "Unknown")
                    )
                )
        if rule.on_exit_codes is not None and rule.on_pod_conditions:
            errors.append(invalid(where, "", "specifying both OnExitCodes and OnPodConditions is not supported"))
        elif rule.on_exit_codes is None and not rule.on_pod_conditions:
            errors.append(invalid(where, "", "specifying one of OnExitCodes and OnPodConditions is required"))


def _check_exit_codes(errors: Errors, path: str, codes: Any, containers: set[Any]) -> None:
    operators = ("In", "NotIn")
    if not codes.operator:
        errors.append(required(f"{path}.operator", 'valid values: "In", "NotIn"'))
    elif codes.operator not in operators:
        errors.append(unsupported(f"{path}.operator", codes.operator, operators))
    if codes.container_name is not None and codes.container_name not in containers:
        errors.append(
            invalid(
                f"{path}.containerName",
                codes.container_name,
                "must be one of the container or initContainer names in the pod template",
            )
        )
    values = list(codes.values)
    if not values:
        errors.append(invalid(f"{path}.values", values, "at least one value is required"))
    seen: set[int] = set()
    for index, value in enumerate(values):
        if value == 0 and codes.operator == "In":
            errors.append(invalid(f"{path}.values[{index}]", value, "must not be 0 for the In operator"))
        if value in seen:
            errors.append(duplicate(f"{path}.values[{index}]", value))
        seen.add(value)
    if values != sorted(values):
        errors.append(invalid(f"{path}.values", values, "must be ordered"))


def check_success_policy(errors: Errors, path: str, spec: Any) -> None:
    if spec.completion_mode != "Indexed":
        errors.append(invalid(path, "", "requires indexed completion mode"))
        return
    rules = spec.success_policy.rules
    if not rules:
        errors.append(
            required(f"{path}.rules", "at least one rules must be specified when the successPolicy is specified")
        )
    for index, rule in enumerate(rules):
        where = f"{path}.rules[{index}]"
        if rule.succeeded_count is None and not rule.succeeded_indexes:
            errors.append(required(where, "at least one of succeededCount or succeededIndexes must be specified"))
        check_non_negative(errors, f"{where}.succeededCount", rule.succeeded_count)
        if (
            rule.succeeded_count is not None
            and spec.completions is not None
            and rule.succeeded_count > spec.completions
        ):
            errors.append(
                invalid(
                    f"{where}.succeededCount",
                    rule.succeeded_count,
                    f"must be less than or equal to {spec.completions} (the number of specified completions)",
                )
            )
