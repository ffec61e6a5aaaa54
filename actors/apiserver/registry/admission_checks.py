"""Checks that webhooks and admission policies share: rules, selectors, match conditions, client configurations."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from kubeloop.actors.apiserver.registry import names
from kubeloop.actors.apiserver.registry.fields import (
    PORT_RANGE,
    Errors,
    check_label_selector,
    check_name,
    check_one_of,
    duplicate,
    invalid,
    required,
    unsupported,
)

OPERATIONS = ("*", "CONNECT", "CREATE", "DELETE", "UPDATE")
SCOPES = ("*", "Cluster", "Namespaced")
REVIEW_VERSIONS = ("v1", "v1beta1")
URL_FORM = "desired format: https://host[/path]"
_WORDS = {
    "operations": "operations",
    "apiGroups": "API groups",
    "apiVersions": "API versions",
    "resources": "resources",
}


def check_webhook(errors: Errors, path: str, webhook: Any) -> None:
    check_name(errors, f"{path}.name", webhook.name or "", names.fully_qualified_domain)
    for index, rule in enumerate(webhook.rules):
        check_rule(errors, f"{path}.rules[{index}]", rule)
    check_one_of(errors, f"{path}.failurePolicy", webhook.failure_policy, ("Fail", "Ignore"))
    check_one_of(errors, f"{path}.matchPolicy", webhook.match_policy, ("Equivalent", "Exact"))
    if not webhook.side_effects:
        errors.append(required(f"{path}.sideEffects", "must specify one of None, NoneOnDryRun"))
    else:
        check_one_of(errors, f"{path}.sideEffects", webhook.side_effects, ("None", "NoneOnDryRun"))
    if not 1 <= (webhook.timeout_seconds or 0) <= 30:
        errors.append(
            invalid(
                f"{path}.timeoutSeconds",
                webhook.timeout_seconds,
                "the timeout value must be between 1 and 30 seconds",
            )
        )
    check_label_selector(errors, f"{path}.namespaceSelector", webhook.namespace_selector)
    check_label_selector(errors, f"{path}.objectSelector", webhook.object_selector)
    policy = getattr(webhook, "reinvocation_policy", None)
    if policy is not None:
        check_one_of(errors, f"{path}.reinvocationPolicy", policy, ("IfNeeded", "Never"))
    check_client_config(errors, f"{path}.clientConfig", webhook.client_config)
    check_review_versions(errors, f"{path}.admissionReviewVersions", list(webhook.admission_review_versions))
    check_match_conditions(errors, f"{path}.matchConditions", webhook.match_conditions)


def check_client_config(errors: Errors, path: str, config: Any) -> None:
    url = config.url if config is not None else None
    service = config.service if config is not None else None
    if (url is None) == (service is None):
        errors.append(required(path, "exactly one of url or service is required"))
    elif url is not None:
        _check_url(errors, f"{path}.url", url)
    else:
        check_service_reference(errors, f"{path}.service", service)


def _check_url(errors: Errors, path: str, url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme != "https":
        errors.append(invalid(path, parts.scheme, f"'https' is the only allowed URL scheme; {URL_FORM}"))
    if not parts.netloc:
        errors.append(invalid(path, "", f"host must be specified; {URL_FORM}"))
    if "@" in parts.netloc:
        errors.append(invalid(path, parts.netloc.partition("@")[0], "user information is not permitted in the URL"))
    if parts.fragment:
        errors.append(invalid(path, parts.fragment, "fragments are not permitted in the URL"))
    if parts.query:
        errors.append(invalid(path, parts.query, "query parameters are not permitted in the URL"))


def check_service_reference(errors: Errors, path: str, service: Any) -> None:
    for value, name in ((service.name, "name"), (service.namespace, "namespace")):
        if not value:
            errors.append(required(f"{path}.{name}"))
    port = service.port
    if port is not None and not 0 < port < 65536:
        errors.append(invalid(f"{path}.port", port, f"port is not valid: {PORT_RANGE}"))
    if service.path is None:
        return
    if not service.path.startswith("/"):
        errors.append(invalid(f"{path}.path", service.path, "must start with a '/'"))
    for index, segment in enumerate(service.path[1:].rstrip("/").split("/") if service.path != "/" else ()):
        if not segment:
            errors.append(invalid(f"{path}.path", service.path, f"segment[{index}] may not be empty"))
        elif names.dns_subdomain(segment):
            for message in names.dns_subdomain(segment):
                errors.append(invalid(f"{path}.path", service.path, f"segment[{index}]: {message}"))


def check_review_versions(errors: Errors, path: str, versions: list[str]) -> None:
    if not versions:
        errors.append(required(path, "must specify one of v1, v1beta1"))
        return
    seen: set[str] = set()
    for index, version in enumerate(versions):
        if version in seen:
            errors.append(invalid(f"{path}[{index}]", version, "duplicate version"))
        seen.add(version)
        check_name(errors, f"{path}[{index}]", version, names.dns_1035_label)
    if not seen & set(REVIEW_VERSIONS):
        errors.append(invalid(path, versions, "must include at least one of v1, v1beta1"))


def check_rule(errors: Errors, path: str, rule: Any) -> None:
    """Operations and resources that a webhook or policy is for."""
    operations = list(rule.operations)
    if not operations:
        errors.append(required(f"{path}.operations"))
    elif "*" in operations and len(operations) > 1:
        errors.append(invalid(f"{path}.operations", operations, "if '*' is present, must not specify other operations"))
    for index, operation in enumerate(operations):
        if operation not in OPERATIONS:
            errors.append(unsupported(f"{path}.operations[{index}]", operation, OPERATIONS))
    for values, name in ((list(rule.api_groups), "apiGroups"), (list(rule.api_versions), "apiVersions")):
        if not values:
            errors.append(required(f"{path}.{name}"))
        elif "*" in values and len(values) > 1:
            detail = f"if '*' is present, must not specify other {_WORDS[name]}"
            errors.append(invalid(f"{path}.{name}", values, detail))
    for index, version in enumerate(rule.api_versions):
        if not version:
            errors.append(required(f"{path}.apiVersions[{index}]"))
    _check_resources(errors, f"{path}.resources", list(rule.resources))
    if rule.scope is not None:
        check_one_of(errors, f"{path}.scope", rule.scope, SCOPES)


def _check_resources(errors: Errors, path: str, resources: list[str]) -> None:
    if not resources:
        errors.append(required(path))
        return
    if "*/*" in resources:
        if len(resources) > 1:
            errors.append(invalid(path, resources, "if '*/*' is present, must not specify other resources"))
        return
    for index, resource in enumerate(resources):
        if not resource:
            errors.append(required(f"{path}[{index}]"))
            continue
        name, slash, sub = resource.partition("/")
        if slash and name != "*" and f"{name}/*" in resources and sub != "*":
            errors.append(
                invalid(f"{path}[{index}]", resource, f"if '{name}/*' is present, must not specify {resource}")
            )
        elif slash and f"*/{sub}" in resources and name != "*":
            errors.append(
                invalid(f"{path}[{index}]", resource, f"if '*/{sub}' is present, must not specify {resource}")
            )
    if "*" in resources and any("/" not in resource and resource != "*" for resource in resources):
        errors.append(
            invalid(path, resources, "if '*' is present, must not specify other resources without subresources")
        )


def check_match_resources(errors: Errors, path: str, resources: Any, *, rules_required: bool = True) -> None:
    if resources.match_policy is not None:
        check_one_of(errors, f"{path}.matchPolicy", resources.match_policy, ("Equivalent", "Exact"))
    check_label_selector(errors, f"{path}.namespaceSelector", resources.namespace_selector)
    check_label_selector(errors, f"{path}.objectSelector", resources.object_selector)
    for field, name in (("resource_rules", "resourceRules"), ("exclude_resource_rules", "excludeResourceRules")):
        for index, rule in enumerate(getattr(resources, field)):
            check_rule(errors, f"{path}.{name}[{index}]", rule)
    if rules_required and not resources.resource_rules:
        errors.append(required(f"{path}.resourceRules"))


def check_match_conditions(errors: Errors, path: str, conditions: Sequence[Any]) -> None:
    seen: set[str] = set()
    for index, condition in enumerate(conditions):
        where = f"{path}[{index}]"
        if not (condition.expression or "").strip():
            errors.append(required(f"{where}.expression"))
        name = condition.name or ""
        if not name:
            errors.append(required(f"{where}.name"))
        else:
            check_name(errors, f"{where}.name", name, names.qualified_name)
            if name in seen:
                errors.append(duplicate(f"{where}.name", name))
        seen.add(name)
