"""Rules of roles: what one allows, whether some cover others, how a missing one is written. Pure functions.

Follows the "Using RBAC Authorization" page. `*` stands for all verbs, groups, resources or paths; `*/scale` for that
subresource of everything; a path may end in `*`.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from typing import Any, NamedTuple

from kubeloop.actors.api.errors import quoted
from kubeloop.actors.apiserver.rbac.attributes import Attributes

ALL = "*"


def allows(rule: Any, asked: Attributes) -> bool:
    """Whether a PolicyRule allows what is asked."""
    if asked.path:
        return has(rule.verbs, asked.verb) and path_matches(rule.non_resource_urls, asked.path)
    return concerns(rule, asked) and (not rule.resource_names or asked.name in rule.resource_names)


def concerns(rule: Any, asked: Attributes) -> bool:
    """Whether a rule allows the verb on some object of the resource."""
    verbs = rule.verbs
    if asked.verb not in verbs and ALL not in verbs:
        return False
    return has(rule.api_groups, asked.group) and resource_matches(rule.resources, asked.resource, asked.subresource)


def has(values: Sequence[str], value: str) -> bool:
    return value in values or ALL in values


def resource_matches(resources: Sequence[str], resource: str, subresource: str) -> bool:
    if ALL in resources:
        return True
    if not subresource:
        return resource in resources
    return f"{resource}/{subresource}" in resources or f"*/{subresource}" in resources


def path_matches(urls: Sequence[str], path: str) -> bool:
    return any(url in (ALL, path) or (url.endswith("*") and path.startswith(url[:-1])) for url in urls)


# what is missing


class Right(NamedTuple):
    """One verb on one resource (of one name, if any) or path: what rules are made of."""

    verb: str
    group: str = ""
    resource: str = ""
    name: str | None = None
    url: str | None = None


def rights_of(rule: Any) -> Iterator[Right]:
    for verb in rule.verbs:
        for url in rule.non_resource_urls:
            yield Right(verb, url=url)
        for group, resource, name in product(rule.api_groups, rule.resources, rule.resource_names or (None,)):
            yield Right(verb, group, resource, name)


def covers(rule: Any, right: Right) -> bool:
    if not has(rule.verbs, right.verb):
        return False
    if right.url is not None:
        return path_matches(rule.non_resource_urls, right.url)
    if not has(rule.api_groups, right.group) or (rule.resource_names and right.name not in rule.resource_names):
        return False
    resource, _, subresource = right.resource.partition("/")
    return resource_matches(rule.resources, resource, subresource)


def missing(held: Sequence[Any], wanted: Iterable[Any]) -> list[Right]:
    """The rights in the rules `wanted` that the rules `held` do not give."""
    rights = dict.fromkeys(right for rule in wanted for right in rights_of(rule))
    return [right for right in rights if not any(covers(rule, right) for rule in held)]


def descriptions(rights: Iterable[Right]) -> list[str]:
    """Rights as a refusal lists them: the verbs of one resource together, in alphabetical order of the lines."""
    verbs: dict[Right, list[str]] = {}
    for right in rights:
        key = right if right.url is not None else right._replace(verb="")
        verbs.setdefault(key, []).append(right.verb)
    return sorted(_description(right, found) for right, found in verbs.items())


def _description(right: Right, verbs: Sequence[str]) -> str:
    parts = []
    if right.url is None:
        parts += [f"APIGroups:{go_list((right.group,))}", f"Resources:{go_list((right.resource,))}"]
        if right.name is not None:
            parts.append(f"ResourceNames:{go_list((right.name,))}")
    else:
        parts.append(f"NonResourceURLs:{go_list((right.url,))}")
    return f"{{{', '.join((*parts, f'Verbs:{go_list(verbs)}'))}}}"


def go_list(values: Iterable[str]) -> str:
    """As Go prints a list of quoted texts."""
    return f"[{' '.join(quoted(value) for value in values)}]"
