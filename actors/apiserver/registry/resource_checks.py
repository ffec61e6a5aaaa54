"""Checks of resource names and quantities: containers' requests and limits, quotas, limit ranges, overhead.

Words and order as a real API server's; where that one walks a Go map, names are walked in order here.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from kubeloop.actors.api import quantity
from kubeloop.actors.apiserver.registry import names
from kubeloop.actors.apiserver.registry.fields import NON_NEGATIVE, Errors, forbidden, invalid, required

_CONTAINER = frozenset({"cpu", "memory", "ephemeral-storage"})
_STANDARD = _CONTAINER | frozenset(
    {
        "requests.cpu",
        "requests.memory",
        "requests.ephemeral-storage",
        "limits.cpu",
        "limits.memory",
        "limits.ephemeral-storage",
        "pods",
        "resourcequotas",
        "services",
        "replicationcontrollers",
        "secrets",
        "configmaps",
        "persistentvolumeclaims",
        "storage",
        "requests.storage",
        "services.nodeports",
        "services.loadbalancers",
    }
)
_QUOTA = _STANDARD - {"storage"}
_INTEGER = frozenset(
    {
        "pods",
        "resourcequotas",
        "services",
        "replicationcontrollers",
        "secrets",
        "configmaps",
        "persistentvolumeclaims",
        "services.nodeports",
        "services.loadbalancers",
    }
)
STANDARD_MESSAGE = "must be a standard resource type or fully qualified"


def is_huge_page(name: str) -> bool:
    return name.startswith("hugepages-")


@lru_cache(1024)
def is_native(name: str) -> bool:
    return "/" not in name or "kubernetes.io/" in name


@lru_cache(1024)
def is_extended(name: str) -> bool:
    return not is_native(name) and not name.startswith("requests.") and not names.qualified_name(f"requests.{name}")


def is_overcommit_allowed(name: str) -> bool:
    return is_native(name) and not is_huge_page(name)


@lru_cache(1024)
def resource_name_messages(name: str) -> names.Messages:
    wrong = names.qualified_name(name)
    if wrong:
        return wrong
    if "/" not in name and name not in _STANDARD and not is_huge_page(name) and not name.startswith("requests.huge"):
        return (STANDARD_MESSAGE,)
    return ()


@lru_cache(1024)
def container_resource_messages(name: str) -> names.Messages:
    wrong = resource_name_messages(name)
    if "/" not in name:
        if name not in _CONTAINER and not is_huge_page(name):
            return (*wrong, "must be a standard resource for containers")
    elif not is_native(name) and not is_extended(name):
        return (*wrong, "doesn't follow extended resource name standard")
    return wrong


@lru_cache(1024)
def quota_resource_messages(name: str) -> names.Messages:
    wrong = resource_name_messages(name)
    if "/" not in name and name not in _QUOTA and not is_huge_page(name) and not name.startswith("requests.huge"):
        return (*wrong, "must be a standard resource for quota")
    return wrong


def check_quantity_value(errors: Errors, path: str, name: str, value: str) -> None:
    if value[:1] == "-" and quantity.parse(value) < 0:
        errors.append(invalid(path, value, NON_NEGATIVE))
    if (name in _INTEGER or is_extended(name)) and quantity.parse(value) % 1 != 0:
        errors.append(invalid(path, value, "must be an integer"))


def check_requirements(errors: Errors, path: str, resources: Any) -> None:
    """A container's ResourceRequirements."""
    if resources is None:
        return
    limits: Mapping[str, str] = resources.limits
    requests: Mapping[str, str] = resources.requests
    if _is_plain(limits, requests) and not resources.claims:
        return
    huge = cpu_or_memory = False
    for names_of in (limits, requests):
        for name in names_of:
            huge = huge or is_huge_page(name)
            cpu_or_memory = cpu_or_memory or name in ("cpu", "memory")
    for name in sorted(limits):
        check_container_resource(errors, f"{path}.limits[{name}]", name, limits[name])
    for name in sorted(requests):
        value = requests[name]
        check_container_resource(errors, f"{path}.requests[{name}]", name, value)
        limit = limits.get(name)
        if limit is None:
            if not is_overcommit_allowed(name):
                errors.append(required(f"{path}.limits", "Limit must be set for non overcommitable resources"))
        elif limit != value:
            check_request_within(errors, f"{path}.requests", name, value, limit)
    if huge and not cpu_or_memory:
        errors.append(forbidden(path, "HugePages require cpu or memory"))
    seen = set()
    for index, claim in enumerate(resources.claims):
        if not claim.name:
            errors.append(required(f"{path}.claims[{index}].name"))
        elif claim.name in seen:
            errors.append(invalid(f"{path}.claims[{index}]", claim.name, "must be unique"))
        seen.add(claim.name)


def _is_plain(limits: Mapping[str, str], requests: Mapping[str, str]) -> bool:
    """Nothing but cpu, memory and storage, none negative, requests equal to limits where both are given."""
    for name, value in limits.items():
        if name not in _CONTAINER or value[0] == "-":
            return False
    for name, value in requests.items():
        if name not in _CONTAINER or value[0] == "-" or limits.get(name, value) != value:
            return False
    return True


def check_request_within(errors: Errors, path: str, name: str, value: str, limit: str) -> None:
    difference = quantity.parse(value) - quantity.parse(limit)
    if difference and not is_overcommit_allowed(name):
        errors.append(invalid(path, value, f"must be equal to {name} limit of {limit}"))
    elif difference > 0:
        errors.append(invalid(path, value, f"must be less than or equal to {name} limit of {limit}"))


def check_container_resource(errors: Errors, path: str, name: str, value: str) -> None:
    if name not in _CONTAINER:
        for message in container_resource_messages(name):
            errors.append(invalid(path, name, message))
    check_quantity_value(errors, path, name, value)


def fractional_byte_warnings(path: str, resources: Any) -> list[str]:
    """Memory and storage that are no whole number of bytes: allowed, warned of."""
    found = []
    if resources is not None:
        for field in ("limits", "requests"):
            for name, value in getattr(resources, field).items():
                if name in ("memory", "ephemeral-storage") and value.endswith("m"):
                    found.append(
                        f'{path}.{field}[{name}]: fractional byte value "{value}" is invalid, must be an integer'
                    )
    return found
