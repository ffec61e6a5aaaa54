"""The entries of flowcontrol.apiserver.k8s.io/v1: FlowSchema and PriorityLevelConfiguration."""

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from kubeloop.actors.api.errors import FieldError
from kubeloop.actors.api.flowcontrol_v1 import (
    ExemptPriorityLevelConfiguration,
    FlowSchemaStatus,
    PriorityLevelConfigurationStatus,
)
from kubeloop.actors.apiserver.registry.catalog import entry
from kubeloop.actors.apiserver.registry.fields import Errors, forbidden, invalid, required, unsupported
from kubeloop.actors.apiserver.registry.printing import AGE, NAME, NONE, text
from kubeloop.actors.apiserver.registry.strategy import keep_status, only_status, status_reset

GROUP = "flowcontrol.apiserver.k8s.io"
PRECEDENCE_MAX = 10000
VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch")
_SUBJECTS = {"Group": "group", "ServiceAccount": "serviceAccount", "User": "user"}


def default_schema(obj: Any) -> Any:
    if obj.spec.matching_precedence:
        return obj
    return replace(obj, spec=replace(obj.spec, matching_precedence=1000))


def validate_schema(obj: Any) -> Sequence[FieldError]:
    errors: Errors = []
    spec = obj.spec
    precedence = spec.matching_precedence
    if precedence <= 0:
        errors.append(invalid("spec.matchingPrecedence", precedence, "must be a positive value"))
    if precedence > PRECEDENCE_MAX:
        errors.append(invalid("spec.matchingPrecedence", precedence, f"must not be greater than {PRECEDENCE_MAX}"))
    if precedence == 1 and obj.metadata.name != "exempt":
        detail = "only the schema named 'exempt' may have matchingPrecedence 1"
        errors.append(invalid("spec.matchingPrecedence", precedence, detail))
    method = spec.distinguisher_method
    if method is not None and method.type not in ("ByNamespace", "ByUser"):
        errors.append(
            unsupported("spec.distinguisherMethod.type", {"Type": method.type or ""}, ("ByNamespace", "ByUser"))
        )
    level = spec.priority_level_configuration
    if level is None or not level.name:
        errors.append(required("spec.priorityLevelConfiguration.name", "must reference a priority level"))
    for index, rule in enumerate(spec.rules):
        _check_rule(errors, f"spec.rules[{index}]", rule)
    return errors


def _check_rule(errors: Errors, path: str, rule: Any) -> None:
    if not rule.subjects:
        errors.append(required(f"{path}.subjects", "subjects must contain at least one value"))
    for index, subject in enumerate(rule.subjects):
        _check_subject(errors, f"{path}.subjects[{index}]", subject)
    if not rule.resource_rules and not rule.non_resource_rules:
        errors.append(required(path, "at least one of resourceRules and nonResourceRules has to be non-empty"))
    for index, resource in enumerate(rule.resource_rules):
        where = f"{path}.resourceRules[{index}]"
        for values, name, word in (
            (resource.verbs, "verbs", "verb"),
            (resource.api_groups, "apiGroups", "api group"),
            (resource.resources, "resources", "resource"),
        ):
            if not values:
                errors.append(required(f"{where}.{name}", f"resource rules must supply at least one {word}"))
        _check_verbs(errors, f"{where}.verbs", resource.verbs)
        if not resource.namespaces and not resource.cluster_scope:
            detail = "resource rules that are not cluster scoped must supply at least one namespace"
            errors.append(required(f"{where}.namespaces", detail))
    for index, other in enumerate(rule.non_resource_rules):
        where = f"{path}.nonResourceRules[{index}]"
        if not other.verbs:
            errors.append(required(f"{where}.verbs", "verbs must contain at least one value"))
        _check_verbs(errors, f"{where}.verbs", other.verbs)
        if not other.non_resource_urls:
            errors.append(required(f"{where}.nonResourceURLs", "nonResourceURLs must contain at least one value"))
        for number, url in enumerate(other.non_resource_urls):
            detail = "" if url == "*" else _wrong_url(url)
            if detail:
                errors.append(invalid(f"{where}.nonResourceURLs[{number}]", url, detail))


def _check_verbs(errors: Errors, path: str, verbs: Sequence[str]) -> None:
    if "*" in verbs:
        if len(verbs) > 1:
            errors.append(invalid(path, list(verbs), "if '*' is present, must not specify other verbs"))
    elif any(verb not in VERBS for verb in verbs):
        errors.append(unsupported(path, list(verbs), VERBS))


def _wrong_url(url: str) -> str:
    """What is wrong with a path that a rule is for."""
    if not url:
        return "must not be empty"
    if not url.startswith("/"):
        return "must start with slash"
    if " " in url:
        return "must not contain white-space"
    if "//" in url:
        return "must not contain double slash"
    if url.count("*") > 1 or ("*" in url and not url.endswith("/*")):
        return "wildcard can only do suffix matching"
    return ""


def _check_subject(errors: Errors, path: str, subject: Any) -> None:
    kind = subject.kind or ""
    json_name = _SUBJECTS.get(kind)
    if json_name is None:
        errors.append(unsupported(f"{path}.kind", kind, tuple(_SUBJECTS)))
        return
    given = {"group": subject.group, "serviceAccount": subject.service_account, "user": subject.user}
    own = given.pop(json_name)
    if own is None:
        errors.append(required(f"{path}.{json_name}", f"{json_name} is required when subject kind is '{kind}'"))
    elif not own.name:
        errors.append(required(f"{path}.{json_name}.name"))
    for name, other in given.items():
        if other is not None:
            errors.append(forbidden(f"{path}.{name}", f"{name} is forbidden when subject kind is not '{name.title()}'"))


def default_level(obj: Any) -> Any:
    spec = obj.spec
    changes: dict[str, Any] = {}
    if spec.type == "Exempt":
        exempt = spec.exempt if spec.exempt is not None else ExemptPriorityLevelConfiguration()
        changes["exempt"] = _numbers(exempt, nominal_concurrency_shares=0, lendable_percent=0)
    elif spec.limited is not None:
        limited = _numbers(spec.limited, nominal_concurrency_shares=30, lendable_percent=0)
        response = limited.limit_response
        if response is not None and response.queuing is not None:
            queuing = _numbers(response.queuing, queues=64, hand_size=8, queue_length_limit=50)
            limited = replace(limited, limit_response=replace(response, queuing=queuing))
        changes["limited"] = limited
    return replace(obj, spec=replace(spec, **changes)) if changes else obj


def _numbers(value: Any, **defaults: int) -> Any:
    missing = {name: default for name, default in defaults.items() if getattr(value, name) is None}
    return replace(value, **missing) if missing else value


def validate_level(obj: Any) -> Sequence[FieldError]:
    errors: Errors = []
    spec = obj.spec
    type_ = spec.type or ""
    exempt = obj.metadata.name == "exempt"
    if type_ in ("Exempt", "Limited") and (type_ == "Exempt") != exempt:
        errors.append(invalid("spec.type", type_, "must be 'Exempt' if and only if `name` is 'exempt'"))
        return errors
    if type_ == "Exempt":
        if spec.limited is not None:
            errors.append(forbidden("spec.limited", "must be nil if the type is not Limited"))
    elif type_ == "Limited":
        if spec.exempt is not None:
            errors.append(forbidden("spec.exempt", "must be nil if the type is Limited"))
        if spec.limited is None:
            errors.append(required("spec.limited", "must not be empty when type is Limited"))
        else:
            _check_limited(errors, "spec.limited", spec.limited)
    else:
        errors.append(unsupported("spec.type", type_, ("Exempt", "Limited")))
    return errors


def _check_limited(errors: Errors, path: str, limited: Any) -> None:
    if limited.nominal_concurrency_shares < 0:
        errors.append(
            invalid(
                f"{path}.nominalConcurrencyShares",
                limited.nominal_concurrency_shares,
                "must be a non-negative integer",
            )
        )
    response = limited.limit_response
    type_ = (response.type if response is not None else None) or ""
    queuing = response.queuing if response is not None else None
    where = f"{path}.limitResponse"
    if type_ == "Reject":
        if queuing is not None:
            errors.append(forbidden(f"{where}.queuing", "must be nil if limited.limitResponse.type is not Limited"))
    elif type_ == "Queue":
        if queuing is None:
            errors.append(required(f"{where}.queuing", "must not be empty if limited.limitResponse.type is Limited"))
        else:
            _check_queuing(errors, f"{where}.queuing", queuing)
    else:
        errors.append(unsupported(f"{where}.type", type_, ("Queue", "Reject")))
    lendable = limited.lendable_percent
    if not 0 <= lendable <= 100:
        errors.append(invalid(f"{path}.lendablePercent", lendable, "must be between 0 and 100, inclusive"))
    borrowing = limited.borrowing_limit_percent
    if borrowing is not None and borrowing < 0:
        errors.append(
            invalid(f"{path}.borrowingLimitPercent", borrowing, "if specified, must be a non-negative integer")
        )


def _check_queuing(errors: Errors, path: str, queuing: Any) -> None:
    if queuing.queue_length_limit <= 0:
        errors.append(invalid(f"{path}.queueLengthLimit", queuing.queue_length_limit, "must be positive"))
    if queuing.queues <= 0:
        errors.append(invalid(f"{path}.queues", queuing.queues, "must be positive"))
    elif queuing.queues > 10000000:
        errors.append(invalid(f"{path}.queues", queuing.queues, "must not be greater than 10000000"))
    if queuing.hand_size <= 0:
        errors.append(invalid(f"{path}.handSize", queuing.hand_size, "must be positive"))
    elif queuing.hand_size > queuing.queues:
        errors.append(
            invalid(f"{path}.handSize", queuing.hand_size, f"should not be greater than queues ({queuing.queues})")
        )


def _missing_level(obj: Any, now: float) -> str:
    for condition in obj.status.conditions:
        if condition.type == "Dangling":
            return condition.status or "?"
    return "?"


def _level_number(*path: str) -> Any:
    def cell(obj: Any, now: float) -> Any:
        value = obj.spec
        for name in path:
            value = getattr(value, name)
            if value is None:
                return NONE
        return value

    return cell


def _shares(obj: Any, now: float) -> Any:
    holder = obj.spec.limited if obj.spec.limited is not None else obj.spec.exempt
    shares = holder.nominal_concurrency_shares if holder is not None else None
    return NONE if shares is None else shares


def _distinguisher(obj: Any, now: float) -> str:
    method = obj.spec.distinguisher_method
    return NONE if method is None else method.type or ""


KINDS = (
    entry(
        GROUP,
        "v1",
        "flowschemas",
        default=default_schema,
        prepare_for_create=status_reset(FlowSchemaStatus()),
        prepare_for_update=keep_status,
        prepare_for_status_update=only_status,
        validate=validate_schema,
        tracks_generation=True,
        columns=(
            NAME,
            text("PriorityLevel", _level_number("priority_level_configuration", "name")),
            text("MatchingPrecedence", _level_number("matching_precedence")),
            text("DistinguisherMethod", _distinguisher),
            AGE,
            text("MissingPL", _missing_level),
        ),
    ),
    entry(
        GROUP,
        "v1",
        "prioritylevelconfigurations",
        default=default_level,
        prepare_for_create=status_reset(PriorityLevelConfigurationStatus()),
        prepare_for_update=keep_status,
        prepare_for_status_update=only_status,
        validate=validate_level,
        tracks_generation=True,
        columns=(
            NAME,
            text("Type", lambda obj, now: obj.spec.type or ""),
            text("NominalConcurrencyShares", _shares),
            text("Queues", _level_number("limited", "limit_response", "queuing", "queues")),
            text("HandSize", _level_number("limited", "limit_response", "queuing", "hand_size")),
            text(
                "QueueLengthLimit",
                _level_number("limited", "limit_response", "queuing", "queue_length_limit"),
            ),
            AGE,
        ),
    ),
)
