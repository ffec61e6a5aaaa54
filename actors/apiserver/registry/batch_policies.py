"""Pod failure policies and success policies of jobs (batch/v1)."""

from typing import Any

from msgspec.structs import replace

from kubeloop.actors.api.errors import quoted
from kubeloop.actors.apiserver.registry import names
from kubeloop.actors.apiserver.registry.fields import (
    Errors,
    check_name,
    check_non_negative,
    duplicate,
    invalid,
    required,
    too_many,
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
    if len(policy.rules) > RULES_MAX:
        errors.append(too_many(f"{path}.rules", len(policy.rules), RULES_MAX))
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
            check_name(errors, f"{where}.onPodConditions[{number}].type", pattern.type or "", names.qualified_name)
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
    elif len(values) > EXIT_CODES_MAX:
        errors.append(too_many(f"{path}.values", len(values), EXIT_CODES_MAX))
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
    rules = spec.success_policy.rules
    if spec.completion_mode != "Indexed":
        shown = [{"SucceededIndexes": one.succeeded_indexes, "SucceededCount": one.succeeded_count} for one in rules]
        errors.append(invalid(path, {"Rules": shown or None}, "requires indexed completion mode"))
        return
    if not rules:
        detail = "at least one rules must be specified when the successPolicy is specified"
        errors.append(required(f"{path}.rules", detail))
    for index, rule in enumerate(rules):
        _check_success_rule(errors, f"{path}.rules[{index}]", rule, spec.completions or 0)


def _check_success_rule(errors: Errors, path: str, rule: Any, completions: int) -> None:
    count, indexes, total = rule.succeeded_count, rule.succeeded_indexes, None
    if count is None and indexes is None:
        errors.append(required(path, "at least one of succeededCount or succeededIndexes must be specified"))
    if indexes is not None:
        try:
            total = count_of_indexes(indexes, completions)
        except ValueError as error:
            errors.append(invalid(f"{path}.succeededIndexes", indexes, f"error parsing succeededIndexes: {error}"))
            total = 0
    if count is None:
        return
    check_non_negative(errors, f"{path}.succeededCount", count)
    for most, what in (
        (completions, "the number of specified completions"),
        (total, "the number of indexes in the specified succeededIndexes field"),
    ):
        if most is not None and count > most:
            errors.append(invalid(f"{path}.succeededCount", count, f"must be less than or equal to {most} ({what})"))


def count_of_indexes(text: str, completions: int) -> int:
    """How many indexes "0,2-4" names. Raises ValueError for what names none, or not in order."""
    total, last = 0, None
    for interval in text.split(",") if text else ():
        limits = interval.split("-")
        if len(limits) > 2:
            rule = "violates the requirement that an index interval can have at most two parts separated by '-'"
            raise ValueError(f"the fragment {quoted(interval)} {rule}")
        numbers = [_index_of(limit, completions) for limit in limits]
        if last is not None and last >= numbers[0]:
            raise ValueError(f"non-increasing order, previous: {last}, current: {numbers[0]}")
        if len(numbers) == 2 and numbers[0] >= numbers[1]:
            raise ValueError(f"non-increasing order, previous: {numbers[0]}, current: {numbers[1]}")
        last = numbers[-1]
        total += last - numbers[0] + 1
    return total


def _index_of(text: str, completions: int) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"cannot convert string to integer for index: {quoted(text)}")
    if int(text) >= completions:
        raise ValueError(f"too large index: {quoted(text)}")
    return int(text)
